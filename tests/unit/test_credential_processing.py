"""SD-JWT processing by RFC 9901 section 7.1: what is put in, and everything that is refused."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from verifier.errors import FormatError, LimitError
from verifier.formats.credential import (
    Credential,
    has_canonical_order,
    parse_credential,
    parse_disclosure,
    peek_claims,
    peek_processed,
    peek_x5c,
    select_disclosures,
)
from verifier.formats.encoding import base64url_encode, canonical_json, sha256
from verifier.formats.jose import build_jws, es256_signer, format_jwk

KEY = ec.derive_private_key(11, ec.SECP256R1())


def disclosure(*parts):
    encoded = base64url_encode(canonical_json(list(parts)))
    return encoded, base64url_encode(sha256(encoded.encode()))


def sd_jwt(payload, *disclosures, header=None):
    jwt = build_jws({"typ": "dc+sd-jwt", **(header or {})}, canonical_json(payload), es256_signer(KEY))
    return b"~".join([jwt, *(d.encode() for d in disclosures), b""])


def processed(payload, *disclosures):
    return peek_processed(parse_credential(sd_jwt(payload, *disclosures)))


NAME, NAME_DIGEST = disclosure("salt", "name", "佐藤")
OTHER, OTHER_DIGEST = disclosure("salt", "other", 1)


def test_a_disclosure_is_put_where_its_digest_stood():
    assert processed({"_sd": [NAME_DIGEST], "_sd_alg": "sha-256", "a": 1}, NAME) == {"a": 1, "name": "佐藤"}


def test_what_is_not_disclosed_stays_out():
    assert processed({"_sd": [NAME_DIGEST, OTHER_DIGEST]}, OTHER) == {"other": 1}


def test_decoys_and_missing_algorithm_are_fine():
    assert processed({"_sd": ["decoy"], "a": {"_sd": []}}) == {"a": {}}


def test_disclosures_hold_disclosures():
    group, group_digest = disclosure("s", "subject", {"_sd": [NAME_DIGEST]})
    assert processed({"_sd": [group_digest]}, group, NAME) == {"subject": {"name": "佐藤"}}
    assert processed({"_sd": [group_digest]}, group) == {"subject": {}}


def test_array_elements():
    element, digest = disclosure("s", "JP")
    assert processed({"list": [{"...": digest}, "x", {"...": "decoy"}]}, element) == {"list": ["JP", "x"]}


ARRAY, ARRAY_DIGEST = disclosure("s", "JP")
REFUSED = {
    "unreferenced": ({"_sd": []}, [NAME]),
    "in a disclosure that is not there": ({"_sd": [OTHER_DIGEST]}, [NAME]),
    "twice": ({"_sd": [NAME_DIGEST]}, [NAME, NAME]),
    "digest twice": ({"_sd": [NAME_DIGEST, NAME_DIGEST]}, [NAME]),
    "digest twice in different places": ({"_sd": [NAME_DIGEST], "a": {"_sd": [NAME_DIGEST]}}, [NAME]),
    "overwrites": ({"name": "x", "_sd": [NAME_DIGEST]}, [NAME]),
    "array element as claim": ({"_sd": [ARRAY_DIGEST]}, [ARRAY]),
    "claim as array element": ({"a": [{"...": NAME_DIGEST}]}, [NAME]),
    "array digest with company": ({"a": [{"...": ARRAY_DIGEST, "b": 1}]}, [ARRAY]),
    "array digest outside an array": ({"a": {"...": ARRAY_DIGEST}}, [ARRAY]),
    "_sd no list": ({"_sd": NAME_DIGEST}, [NAME]),
    "digest no text": ({"_sd": [1]}, []),
    "other hash": ({"_sd": [NAME_DIGEST], "_sd_alg": "sha-512"}, [NAME]),
    "_sd_alg below the top": ({"a": {"_sd_alg": "sha-256"}}, []),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    payload, disclosures = REFUSED[name]
    with pytest.raises(FormatError):
        processed(payload, *disclosures)


@pytest.mark.parametrize("name", ["iss", "nbf", "exp", "iat", "cnf", "vct", "vct#integrity", "status"])
def test_claims_about_the_credential_are_never_disclosures(name):
    encoded, digest = disclosure("s", name, 1)
    with pytest.raises(FormatError, match="forbidden-disclosure"):
        processed({"_sd": [digest]}, encoded)
    # deeper down the name means something else
    assert processed({"a": {"_sd": [digest]}}, encoded) == {"a": {name: 1}}


@pytest.mark.parametrize(
    "parts", [("s",), ("s", "n", 1, 2), (1, "n", 1), ("s", 1, 1), ("s", "_sd", []), ("s", "...", 1), ()]
)
def test_disclosures_have_two_shapes(parts):
    with pytest.raises(FormatError):
        parse_disclosure(disclosure(*parts)[0].encode())


def test_nesting_is_limited_over_all_disclosures():
    encoded, digest = disclosure("s", "x", 1)
    chain = [encoded]
    for _ in range(40):
        encoded, digest = disclosure("s", "x", {"_sd": [digest]})
        chain.append(encoded)
    with pytest.raises(LimitError, match="claims-too-deep"):
        processed({"_sd": [digest]}, *chain)


def test_number_and_size_are_limited():
    many = [disclosure("s", f"n{n}", n)[0] for n in range(257)]
    with pytest.raises(LimitError):
        parse_credential(sd_jwt({}, *many))
    with pytest.raises(LimitError):
        parse_credential(b"a" * (129 << 10))


@pytest.mark.parametrize(
    "spoil", [lambda d: d[:-1], lambda d: d + b"~", lambda d: d + b"x", lambda d: b"~" + d]
)
def test_the_serialisation_has_one_form(spoil):
    with pytest.raises(FormatError):
        parse_credential(spoil(sd_jwt({"_sd": [NAME_DIGEST]}, NAME)))


def test_canonical_order():
    first, second = sorted([(NAME_DIGEST, NAME), (OTHER_DIGEST, OTHER)])
    payload = {"_sd": [NAME_DIGEST, OTHER_DIGEST]}
    assert has_canonical_order(parse_credential(sd_jwt(payload, first[1], second[1])))
    assert not has_canonical_order(parse_credential(sd_jwt(payload, second[1], first[1])))


def full_payload(**changes):
    value = {
        "iss": "https://i",
        "vct": "https://v",
        "iat": 1,
        "exp": 2,
        "cnf": {"jwk": format_jwk(KEY.public_key())},
        "status": {"status_list": {"idx": 3, "uri": "https://s"}},
        "fiscal_year": 2026,
    }
    value.update(changes)
    return {name: item for name, item in value.items() if item is not None}


def test_claims_of_our_type():
    digest, digest_hash = disclosure("s", "page_digest", base64url_encode(bytes(32)))
    claims = peek_claims(parse_credential(sd_jwt(full_payload(_sd=[digest_hash]), digest)))
    assert (claims.issuer, claims.status.index, claims.page_digest) == ("https://i", 3, bytes(32))
    assert claims.certificate() == {"fiscal_year": 2026}


@pytest.mark.parametrize(
    "change",
    [
        {"iss": None},
        {"vct": 1},
        {"iat": True},
        {"exp": -1},
        {"exp": 1 << 41},
        {"cnf": None},
        {"cnf": {"kid": "x"}},
        {"status": None},
        {"status": {"status_list": {"idx": -1, "uri": "x"}}},
        {"status": {"status_list": {"idx": True, "uri": "x"}}},
        {"status": {"status_list": {"idx": 1, "uri": "x"}, "other": 1}},
        {"page_digest": "AA"},
    ],
)
def test_other_claims_are_refused(change):
    with pytest.raises(FormatError):
        peek_claims(parse_credential(sd_jwt(full_payload(**change))))


@pytest.mark.parametrize("x5c", [None, [], "AA==", [1], ["A"], ["AA=="] * 5])
def test_x5c_has_one_form(x5c):
    header = {} if x5c is None else {"x5c": x5c}
    with pytest.raises(FormatError):
        peek_x5c(parse_credential(sd_jwt({}, header=header)).jws)


class TestSelection:
    def select(self, *paths) -> Credential:
        group, digest = disclosure("s", "subject", {"_sd": [NAME_DIGEST, OTHER_DIGEST]})
        payload = {"_sd": [digest], "clear": {"x": 1}}
        whole = parse_credential(sd_jwt(payload, group, NAME, OTHER))
        return select_disclosures(whole, paths)

    def test_a_leaf_opens_its_way_only(self):
        assert peek_processed(self.select(("subject", "name"))) == {
            "clear": {"x": 1},
            "subject": {"name": "佐藤"},
        }

    def test_a_group_opens_all_in_it(self):
        assert peek_processed(self.select(("subject",)))["subject"] == {"name": "佐藤", "other": 1}

    def test_nothing_opens_nothing(self):
        assert self.select().serialise().count(b"~") == 1

    def test_clear_claims_need_no_disclosure(self):
        assert self.select(("clear", "x")).disclosures == ()

    def test_an_unknown_path_is_an_error(self):
        with pytest.raises(FormatError, match="no-such-claim"):
            self.select(("subject", "salary"))
