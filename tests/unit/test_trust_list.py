"""Trust lists: k of n, one version after another, never back; mock and real never mix."""

import datetime as dt
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.verifier_bundles import DAY, NOW, mini_city, raw_public
from verifier.errors import FormatError, TrustError
from verifier.formats.trust_list import ROLES, canonical_olpc, parse_trust_list
from verifier.trust import (
    accept_trust_list,
    build_trust_list,
    load_trust_list,
    normalise_fingerprint,
    sign_trust_list,
    verify_trust_list,
)


@pytest.fixture(scope="module")
def city():
    return mini_city()


def altered(data, change):
    value = json.loads(data)
    change(value)
    return json.dumps(value).encode()


def test_two_of_three_signatures_are_enough_and_one_is_not(city):
    assert load_trust_list(city.trust_data(signers=2)).threshold == 2
    with pytest.raises(TrustError) as error:
        load_trust_list(city.trust_data(signers=1))
    assert error.value.code == "threshold"


def test_one_signer_signing_twice_counts_once(city):
    data = city.trust_data(signers=1)
    again = sign_trust_list(data, city.signers[0])
    with pytest.raises(TrustError, match="threshold"):
        load_trust_list(again)


def test_a_signer_that_lives_elsewhere(city):
    key = city.signers[2]
    data = sign_trust_list(city.trust_data(signers=1), (raw_public(key), key.sign))
    assert load_trust_list(data).version == 1


def test_strangers_do_not_count(city):
    data = city.trust_data(signers=1)
    for _ in range(3):
        data = sign_trust_list(data, Ed25519PrivateKey.generate())
    with pytest.raises(TrustError, match="threshold"):
        load_trust_list(data)


def test_first_contact_compares_the_fingerprint(city):
    data = city.trust_data()
    printed = load_trust_list(data).fingerprint
    assert len(printed) == 39
    typed = printed.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert accept_trust_list(data, typed).fingerprint == printed
    with pytest.raises(TrustError) as error:
        accept_trust_list(data, ("Z" if printed[0] != "Z" else "Y") + printed[1:])
    assert error.value.code == "other-fingerprint"
    with pytest.raises(TrustError):
        accept_trust_list(data, printed[:20])


def test_the_fingerprint_stays_with_the_keys_and_changes_with_them(city):
    first = city.trust()
    assert city.trust(version=2).fingerprint == first.fingerprint
    others = [raw_public(Ed25519PrivateKey.generate()) for _ in range(3)]
    data = build_trust_list(city.content(), version=1, expires=NOW + DAY, keys=others, threshold=2)
    document = parse_trust_list(data)
    assert set(document.keys.values()) == set(others)
    assert city.trust(mock=False).fingerprint != first.fingerprint


def test_versions_follow_one_by_one(city):
    first = city.trust()
    second = verify_trust_list(city.trust_data(version=2, name="新しい名前"), first)
    assert second.content.name == "新しい名前"
    assert verify_trust_list(city.trust_data(version=3), second).version == 3


def test_the_same_version_again_is_the_same_list(city):
    data = city.trust_data(envelope_key=city.desk.public_key(), statement_key=city.desk.public_key())
    first = load_trust_list(data)
    assert verify_trust_list(sign_trust_list(data, city.signers[2]), first) == first


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("rollback", {"version": 1}),
        ("version-gap", {"version": 4}),
        ("equivocation", {"version": 2, "name": "別の名前"}),
        ("threshold", {"version": 3, "signers": 1}),
        ("mock-mix", {"version": 3, "mock": False}),
        ("other-city", {"version": 3, "city": "131016"}),
    ],
)
def test_what_may_not_follow(city, code, options):
    known = load_trust_list(city.trust_data(version=2))
    with pytest.raises(TrustError) as error:
        verify_trust_list(city.trust_data(**options), known)
    assert error.value.code == code


def test_new_keys_need_the_old_ones_too(city):
    known = city.trust()
    fresh = [Ed25519PrivateKey.generate() for _ in range(3)]
    data = build_trust_list(
        city.content(),
        version=2,
        expires=NOW + 30 * DAY,
        keys=[raw_public(key) for key in fresh],
        threshold=2,
    )
    only_new = sign_trust_list(sign_trust_list(data, fresh[0]), fresh[1])
    with pytest.raises(TrustError, match="threshold"):
        verify_trust_list(only_new, known)
    both = sign_trust_list(sign_trust_list(only_new, city.signers[0]), city.signers[1])
    assert set(verify_trust_list(both, known).keys.values()) == {raw_public(key) for key in fresh}
    only_old = sign_trust_list(sign_trust_list(data, city.signers[0]), city.signers[1])
    with pytest.raises(TrustError, match="threshold"):
        verify_trust_list(only_old, known)


def test_expiry_is_a_question(city):
    trust = city.trust(expires=NOW)
    assert trust.is_expired(NOW)
    assert not trust.is_expired(NOW - dt.timedelta(seconds=1))


CHANGES = {
    "no signatures": lambda v: v.pop("signatures"),
    "extra member": lambda v: v.update(extra=1),
    "other type": lambda v: v["signed"].update(_type="targets"),
    "other tuf": lambda v: v["signed"].update(spec_version="2.0.0"),
    "extra signed member": lambda v: v["signed"].update(more=1),
    "no content": lambda v: v["signed"].pop("x-akashi"),
    "version zero": lambda v: v["signed"].update(version=0),
    "version true": lambda v: v["signed"].update(version=True),
    "expires without zone": lambda v: v["signed"].update(expires="2027-01-01T00:00:00"),
    "roles differ": lambda v: v["signed"]["roles"]["targets"].update(threshold=1),
    "role missing": lambda v: v["signed"]["roles"].pop("snapshot"),
    "threshold zero": lambda v: [v["signed"]["roles"][role].update(threshold=0) for role in ROLES],
    "threshold too high": lambda v: [v["signed"]["roles"][role].update(threshold=4) for role in ROLES],
    "keyid false": lambda v: v["signed"]["keys"].update({"0" * 64: v["signed"]["keys"].popitem()[1]}),
    "rsa key": lambda v: next(iter(v["signed"]["keys"].values())).update(keytype="rsa"),
    "mock is text": lambda v: v["signed"]["x-akashi"].update(mock="true"),
    "unknown content": lambda v: v["signed"]["x-akashi"].update(extra=1),
    "city": lambda v: v["signed"]["x-akashi"].update(city="99201"),
    "log key of another log": lambda v: v["signed"]["x-akashi"]["log"].update(origin="other"),
    "contract": lambda v: v["signed"]["x-akashi"]["chain"].update(contract="0x00"),
    "file address": lambda v: v["signed"]["x-akashi"].update(status_lists=["file:///etc/passwd"]),
    "witness policy": lambda v: v["signed"]["x-akashi"].update(witnesses="quorum nobody\n"),
    "duplicate signature": lambda v: v["signatures"].append(v["signatures"][0]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_other_files_are_refused(city, name):
    with pytest.raises(FormatError):
        parse_trust_list(altered(city.trust_data(), CHANGES[name]))


def test_every_signed_word_counts(city):
    data = altered(city.trust_data(), lambda v: v["signed"]["x-akashi"].update(name="偽市"))
    with pytest.raises(TrustError, match="threshold"):
        load_trust_list(data)


def test_layout_and_line_ends_do_not_matter(city):
    data = city.trust_data()
    assert load_trust_list(data.replace(b"\n", b"\r\n")).version == 1
    assert load_trust_list(json.dumps(json.loads(data)).encode()).version == 1


def test_olpc_differs_from_rfc_8785_only_in_control_characters():
    assert (
        canonical_olpc({"b": 'a\n"\\é', "a": [None, True, -1]})
        == b'{"a":[null,true,-1],"b":"a\n\\"\\\\\xc3\xa9"}'
    )


@pytest.mark.parametrize("text", ["abcd efgh", "ABCD-EFGH", "abcdefgh", "ＡＢ"])
def test_normalising_never_fails(text):
    assert isinstance(normalise_fingerprint(text), str)


ISSUER = "https://door.mihon.example/992011"


@pytest.mark.parametrize(
    ("uri", "exact", "below"),
    [
        (f"{ISSUER}/status/1", True, True),
        (f"{ISSUER}/status/2", False, True),
        (f"{ISSUER}/status/0", False, True),
        (f"{ISSUER}/status/999999999", False, True),
        (f"{ISSUER}/status/1000000000", False, False),
        (f"{ISSUER}/status/01", False, False),
        (f"{ISSUER}/status/1/", False, False),
        (f"{ISSUER}/status/", False, False),
        (f"{ISSUER}/status", False, False),
        (f"{ISSUER}/status/１", False, False),
        (f"{ISSUER}/status/1\n", False, False),
        (f"{ISSUER}/status/1?a=1", False, False),
        (f"{ISSUER}/status/1#1", False, False),
        (f"{ISSUER}/status/%31", False, False),
        (f"{ISSUER}/status/x/1", False, False),
        (f"{ISSUER}/status/../992020/status/1", False, False),
        (f"{ISSUER}/status//1", False, False),
        (f"{ISSUER}/1", False, False),
        ("https://door.mihon.example/992020/status/1", False, False),
        ("https://other.example/992011/status/1", False, False),
        ("http://door.mihon.example/992011/status/1", False, False),
        ("", False, False),
    ],
)
def test_which_status_lists_are_the_citys(city, uri, exact, below):
    assert city.trust(status_lists=(f"{ISSUER}/status/1",)).content.names_status_list(uri) is exact
    assert city.trust(status_lists=(f"{ISSUER}/status/",)).content.names_status_list(uri) is below


@pytest.mark.parametrize(
    "address",
    [
        "https://door.mihon.example/",
        "https://",
        "https:///status/",
        "https://door.mihon.example//",
        f"{ISSUER}/../992020/status/",
        f"{ISSUER}/./status/",
        f"{ISSUER}/%2e%2e/status/",
        f"{ISSUER}/status/?a=/",
        f"{ISSUER}/status/#/",
        "https://city@other.example/status/",
        "file:///etc/",
    ],
)
def test_a_directory_of_lists_is_a_host_and_a_plain_path(city, address):
    data = altered(city.trust_data(), lambda v: v["signed"]["x-akashi"].update(status_lists=[address]))
    with pytest.raises(FormatError, match="bad-trust-list"):
        parse_trust_list(data)
