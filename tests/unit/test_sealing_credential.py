"""The credential and the status list, before and after the signature."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import random
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from app.sealing.city_key import SoftwareKey
from app.sealing.credential import CredentialFrame, finish_credential, legal_day_start, prepare_credential
from app.sealing.errors import CredentialError
from app.sealing.key_files import read_private_key
from app.sealing.status_list import build_bits, finish_status_list, prepare_status_list
from tests.support.sealing_world import DATA, ISS, NOW, SAMPLE, world
from verifier.formats.encoding import base64url_decode, base64url_encode, canonical_json
from verifier.formats.jose import format_jwk, thumbprint
from verifier.formats.ladder import LADDER_CLAIMS, LADDERS
from verifier.formats.status_list import parse_status_list

HOLDER = format_jwk(ec.generate_private_key(ec.SECP256R1()).public_key())
PAGE_DIGEST = hashlib.sha256(b"page").digest()
CLAIMS_ABOUT_THE_CREDENTIAL = {"vct", "iss", "iat", "exp", "cnf", "status", "page_digest", "_sd_alg"}


def frame(**change):
    values = {
        "iss": ISS,
        "vct": "https://door.mihon.example/vct/income-certificate/1",
        "holder_jwk": HOLDER,
        "status_uri": f"{ISS}/status/1",
        "status_index": 4711,
        "page_digest": PAGE_DIGEST,
        "certificates": (world().pki.der("credential-1"), world().pki.der("issuing")),
    }
    return CredentialFrame(**(values | change))


def sign(prepared):
    key = SoftwareKey(read_private_key(world().pki.directory / "signer" / "credential-1.key.pem"))
    return finish_credential(prepared, key.sign_digest(prepared.digest))


def issued(data=SAMPLE, **change):
    return sign(prepare_credential(data, frame(**change)))


def part(text, index):
    return json.loads(base64url_decode(text.split("~")[0].split(".")[index]))


def restore(text):
    """Our own short reading of RFC 9901 section 7.1, without the verifier's."""
    _, *disclosures, empty = text.split("~")
    assert empty == ""
    by_digest = {}
    for disclosure in disclosures:
        digest = hashlib.sha256(disclosure.encode()).digest()
        by_digest[digest] = json.loads(base64url_decode(disclosure))
    decoys = []

    def open_all(value):
        if not isinstance(value, dict):
            return value
        result = {name: open_all(item) for name, item in value.items() if name != "_sd"}
        for digest in value.get("_sd", []):
            if base64url_decode(digest) not in by_digest:
                decoys.append(digest)
                continue
            _, name, item = by_digest.pop(base64url_decode(digest))
            assert name not in result
            result[name] = open_all(item)
        return result

    claims = open_all(part(text, 1))
    assert by_digest == {}
    rungs = [rung for name in LADDER_CLAIMS for rung in claims[name]]
    assert len(rungs) + len(decoys) == sum(len(ladder.thresholds) for ladder in LADDERS)
    return claims


def test_opening_everything_gives_the_data_back():
    claims = restore(issued())
    for name in LADDER_CLAIMS:
        assert set(claims.pop(name).values()) <= {True}
    about = {name: claims.pop(name) for name in CLAIMS_ABOUT_THE_CREDENTIAL}
    assert canonical_json(claims) == DATA
    assert base64url_decode(about["page_digest"]) == PAGE_DIGEST
    assert about["status"] == {"status_list": {"idx": 4711, "uri": f"{ISS}/status/1"}}
    assert about["cnf"] == {"jwk": HOLDER}


def test_a_copy_without_page_has_no_page_digest():
    assert "page_digest" not in restore(issued(page_digest=None))


def test_only_year_kind_and_authority_are_in_the_clear():
    payload = part(issued(), 1)
    clear = {"document_kind", "fiscal_year", "income_year", "issuing_authority"}
    about = {"vct", "iss", "iat", "exp", "cnf", "status", "_sd", "_sd_alg"}
    assert set(payload) == clear | about
    text = json.dumps(payload, ensure_ascii=False)
    for secret in ("吉", "花子", "課税証明書", "3560000", "7QK4"):
        assert secret not in text
    # Five plain ones, six groups, three ladders, the page digest: the number of leaves in a group stays hidden in it.
    assert len(payload["_sd"]) == 5 + 6 + 3 + 1
    assert payload["_sd"] == sorted(payload["_sd"])


def test_each_leaf_is_a_disclosure_of_its_own():
    names = [json.loads(base64url_decode(d))[1] for d in issued().split("~")[1:-1]]
    leaves = [leaf for group in SAMPLE.values() if isinstance(group, dict) for leaf in group]
    authority = list(SAMPLE["issuing_authority"])
    assert sorted(set(leaves) - set(authority) - set(names)) == []
    assert names.count("disabled") == 1
    rungs = [name for name in names if name.isdigit()]
    assert len(names) - len(rungs) == 12 + 3 + len(leaves) - len(authority)
    # 3,560,000 of income and 141,300 of levy, counted by hand.
    at_least, at_most = ["1000000", "2000000", "3000000"], ["5000000", "9000000", "9500000", "10000000"]
    assert sorted(rungs) == sorted([*at_least, *at_most, "169000", "301000", "397000"])


def test_times_are_whole_legal_days():
    payload = part(issued(), 1)
    assert datetime.fromtimestamp(payload["iat"], UTC).isoformat() == "2026-11-19T15:00:00+00:00"
    assert datetime.fromtimestamp(payload["exp"], UTC).isoformat() == "2027-02-20T15:00:00+00:00"
    assert legal_day_start(datetime(1970, 1, 2, tzinfo=UTC).date()) == 15 * 3600


def test_the_header_names_the_key_and_carries_no_root():
    header = part(issued(), 0)
    key = world().certificate("credential-1").public_key()
    assert (header["alg"], header["typ"], header["kid"]) == ("ES256", "dc+sd-jwt", thumbprint(key))
    assert len(header["x5c"]) == 2
    with pytest.raises(CredentialError, match="bad-frame"):
        issued(certificates=(world().pki.der("credential-1"), world().pki.der("root")))
    with pytest.raises(CredentialError, match="bad-frame"):
        issued(certificates=())


def test_salts_are_fresh_and_disclosures_in_the_order_of_their_digests():
    one, two = issued(), issued()
    assert not set(one.split("~")[1:-1]) & set(two.split("~")[1:-1])
    digests = [hashlib.sha256(d.encode()).digest() for d in one.split("~")[1:-1]]
    encoded = [base64url_encode(digest) for digest in digests]
    assert encoded == sorted(encoded)
    salts = {json.loads(base64url_decode(d))[0] for d in one.split("~")[1:-1]}
    assert {len(base64url_decode(salt)) for salt in salts} == {16}


def test_with_given_randomness_the_preparation_is_repeatable():
    one, two, other = (
        prepare_credential(SAMPLE, frame(), random=random.Random(seed).randbytes) for seed in (7, 7, 8)
    )
    assert one == two != other


def test_salts_that_repeat_are_refused():
    twins = changed(tax={"total": 1}, income={"total": 1})
    prepare_credential(twins, frame())
    with pytest.raises(CredentialError, match="salts repeat"):
        prepare_credential(twins, frame(), random=bytes)


def test_decoys_that_repeat_are_refused(monkeypatch):
    monkeypatch.setattr("app.sealing.credential.DECOY_BYTES", 0)
    with pytest.raises(CredentialError, match="two decoys"):
        prepare_credential(SAMPLE, frame())


def test_no_random_byte_is_used_twice():
    """Salts and decoys are cut from blocks: each cut lies behind the one before it."""
    blocks = []

    def draw(size):
        blocks.append(random.Random(len(blocks)).randbytes(size))
        return blocks[-1]

    prepared = prepare_credential(SAMPLE, frame(), random=draw)
    salts = [base64url_decode(json.loads(base64url_decode(d))[0]) for d in prepared.disclosures]
    places = sorted(next((n, b.index(salt)) for n, b in enumerate(blocks) if salt in b) for salt in salts)
    assert all(b[0] > a[0] or b[1] >= a[1] + 16 for a, b in itertools.pairwise(places))
    assert len(places) == len(prepared.disclosures)


def digest_counts(text):
    """Of every object with digests: how many it has (all groups and ladders are opened here)."""
    opened = [json.loads(base64url_decode(d)) for d in text.split("~")[1:-1]]
    return {name: len(value["_sd"]) for _, name, value in opened if isinstance(value, dict)}


@pytest.mark.parametrize("total", [0, 1, 480_000, 480_001, 3_560_000, 10_000_000, 99_999_999])
def test_the_number_of_digests_tells_no_bracket(total):
    """Ladders open to everybody, rungs to nobody: the same numbers for every income and levy."""
    data = changed(
        income={**SAMPLE["income"], "total": total},
        tax={**SAMPLE["tax"], "municipal_income_levy": total // 20 // 100 * 100},
    )
    counts = digest_counts(issued(data))
    assert counts == digest_counts(issued())
    assert {name: counts[name] for name in sorted(LADDER_CLAIMS)} == {
        "income_at_least": 8,
        "income_at_most": 11,
        "levy_at_most": 6,
    }


def test_the_count_of_digests_is_what_would_tell(monkeypatch):
    """Positive control: without decoys the same look does see a difference."""
    monkeypatch.setattr(
        "app.sealing.credential._Discloser.disclose_ladder",
        lambda self, name, rungs, size: self.disclose(
            name, {"_sd": sorted(self.disclose(rung, value) for rung, value in rungs.items())}
        ),
    )
    poor = changed(income={**SAMPLE["income"], "total": 0})
    assert digest_counts(issued(poor)) != digest_counts(issued())


def changed(**members):
    data = copy.deepcopy(SAMPLE)
    for name, value in members.items():
        if value is None:
            data.pop(name)
        else:
            data[name] = value
    return data


@pytest.mark.parametrize(
    "data",
    [
        changed(remarks=None),
        changed(extra="x"),
        changed(tax={}),
        changed(tax=7),
        changed(tax={"a": {"b": 1}}),
        changed(tax={"annual_total": 1.5}),
        changed(tax={"見": 1}),
        changed(valid_until="2026-11-19"),
        changed(issued_on="令和8年"),
    ],
)
def test_other_data_is_refused(data):
    with pytest.raises(CredentialError, match="bad-data"):
        prepare_credential(data, frame())


@pytest.mark.parametrize(
    "change",
    [{"iss": ""}, {"status_index": -1}, {"page_digest": b"short"}, {"holder_jwk": {**HOLDER, "d": "x"}}],
)
def test_an_unusable_frame_is_refused(change):
    with pytest.raises(CredentialError):
        prepare_credential(SAMPLE, frame(**change))


def test_a_signature_has_64_bytes():
    with pytest.raises(CredentialError, match="bad-signature-form"):
        finish_credential(prepare_credential(SAMPLE, frame()), bytes(63))


# Status list


def prepared_list(bits, **change):
    values = {
        "uri": f"{ISS}/status/1",
        "issued": NOW,
        "lifetime": timedelta(days=7),
        "ttl": timedelta(hours=12),
        "certificates": (world().pki.der("status-list-1"), world().pki.der("issuing")),
    }
    return prepare_status_list(bits, **(values | change))


def test_a_status_list_is_read_back_by_the_verifier():
    bits = build_bits(1 << 17, [0, 9, (1 << 17) - 1])
    prepared = prepared_list(bits)
    key = SoftwareKey(read_private_key(world().pki.directory / "signer" / "status-list-1.key.pem"))
    token = finish_status_list(prepared, key.sign_digest(prepared.digest))
    status = parse_status_list(token.encode())
    status.jws.verify(world().certificate("status-list-1").public_key())
    assert [status.status(index) for index in (0, 1, 8, 9, (1 << 17) - 1)] == [1, 0, 0, 1, 1]
    assert status.uri == f"{ISS}/status/1"
    assert (status.issued, status.expires) == (int(NOW.timestamp()), int(NOW.timestamp()) + 7 * 86400)
    assert status.ttl == 12 * 3600
    assert len(token) < 3000


def test_the_drafts_own_example_has_these_bits():
    """Entries 0, 3, 4, 5, 7, 8, 9, 13, 15 set: bytes b9 a3 (the draft's section 4.1)."""
    bits = build_bits(16, [0, 3, 4, 5, 7, 8, 9, 13, 15])
    assert bits == bytes.fromhex("b9a3")
    assert zlib.decompress(zlib.compress(bits)) == bits


def test_the_same_list_at_the_same_time_is_the_same_text():
    bits = build_bits(1 << 12, range(0, 4096, 97))
    assert prepared_list(bits) == prepared_list(bits)


def test_unusable_lists_are_refused():
    for size, invalid in ((0, []), (7, []), (8, [8]), (8, [-1]), (1 << 30, [])):
        with pytest.raises(CredentialError):
            build_bits(size, invalid)
    with pytest.raises(CredentialError):
        prepared_list(b"\x00", ttl=timedelta(days=8))
    with pytest.raises(CredentialError):
        prepared_list(b"")
    with pytest.raises(CredentialError):
        finish_status_list(prepared_list(b"\x00"), b"")
