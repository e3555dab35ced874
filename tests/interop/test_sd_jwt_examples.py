"""The examples of RFC 9901: published digests and signatures, and every input specification with its broken twins.

The specifications are read where they lie (`../shared/vectors/sd-jwt`: oauth-selective-disclosure-jwt, MIT); the
issuer here is a short one of the tests, so that nothing of ours is on both sides. Published values are those
printed in RFC 9901 (sections 4.2, 5, 6.3 and A.5); the two examples they belong to are written out below, so
that they run where the folder is absent too.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec

from verifier.errors import FormatError
from verifier.formats.credential import parse_credential, parse_disclosure, peek_processed
from verifier.formats.dcql import ClaimQuery, CredentialQuery, select_for_query
from verifier.formats.jose import build_jws, es256_signer, parse_jwk, parse_jws
from verifier.formats.key_binding import presentation_hash

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "sd-jwt"
needs_vectors = pytest.mark.skipif(
    not VECTORS.is_dir(), reason="foreign vectors absent: ../shared/vectors/sd-jwt beside the project"
)
NAMES = sorted(path.name for path in VECTORS.glob("*")) if VECTORS.is_dir() else []
KEY = ec.derive_private_key(9901, ec.SECP256R1())
VCT = "https://issuer.example.com/type"


@dataclass(frozen=True)
class Hidden:
    """What `!sd` marks: a claim name, or an element of an array."""

    value: Any


class Loader(yaml.SafeLoader):
    """YAML with `!sd`."""


def _hidden(loader: yaml.SafeLoader, node: yaml.Node) -> Hidden:
    if isinstance(node, yaml.MappingNode):
        return Hidden(loader.construct_mapping(node, deep=True))
    assert isinstance(node, yaml.ScalarNode)
    return Hidden(loader.construct_scalar(node))


Loader.add_constructor("!sd", _hidden)


def hidden(**claims: Any) -> dict[Any, Any]:
    return {Hidden(name): value for name, value in claims.items()}


PRINTED: dict[str, dict[str, Any]] = {
    "section 5.1": {
        "user_claims": {
            "sub": "user_42",
            **hidden(
                given_name="John",
                family_name="Doe",
                email="johndoe@example.com",
                phone_number="+1-202-555-0101",
                phone_number_verified=True,
                address={
                    "street_address": "123 Main St",
                    "locality": "Anytown",
                    "region": "Anystate",
                    "country": "US",
                },
                birthdate="1940-01-01",
                updated_at=1570000000,
            ),
            "nationalities": [Hidden("US"), Hidden("DE")],
        },
        "holder_disclosed_claims": {
            "given_name": True,
            "family_name": True,
            "address": True,
            "nationalities": [True, False],
        },
    },
    "section 6.3": {
        "user_claims": {
            "sub": "6c5c0a49-b589-431d-bae7-219122a9ec2c",
            **hidden(
                address=hidden(
                    street_address="Schulstr. 12",
                    locality="Schulpforta",
                    region="Sachsen-Anhalt",
                    country="DE",
                )
            ),
        },
        "holder_disclosed_claims": {},
    },
}
EXAMPLES = [*PRINTED, *NAMES]


def read(name: str) -> dict[str, Any]:
    if name in PRINTED:
        return PRINTED[name]
    text = (VECTORS / name / "specification.yml").read_text(encoding="utf-8")
    return yaml.load(text, Loader)


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def digest_of(text: str) -> str:
    return encode(hashlib.sha256(text.encode("ascii")).digest())


def disclosure(*parts: Any) -> str:
    # The spelling of the examples: json.dumps with its spaces.
    return encode(json.dumps(list(parts)).encode())


class Issuer:
    """Hides what is marked, children first, as the examples do (RFC 9901 section 6.3)."""

    def __init__(self, salts: list[str] | None = None, *, decoys: bool = False) -> None:
        self.disclosures: list[str] = []
        self._salts = iter(salts) if salts else (encode(bytes([n] * 16)) for n in itertools.count(1))
        self._decoys = decoys

    def hide(self, value: Any) -> Any:
        if isinstance(value, list):
            return [
                {"...": self._disclose(self.hide(item.value))}
                if isinstance(item, Hidden)
                else self.hide(item)
                for item in value
            ]
        if not isinstance(value, dict):
            return value
        clear, digests = {}, []
        for key, item in value.items():
            inner = self.hide(item)
            if isinstance(key, Hidden):
                digests.append(self._disclose(key.value, inner))
            else:
                clear[key] = inner
        if digests and self._decoys:
            digests.append(digest_of(f"decoy {len(self.disclosures)}"))
        return {"_sd": sorted(digests), **clear} if digests else clear

    def _disclose(self, *parts: Any) -> str:
        text = disclosure(next(self._salts), *parts)
        self.disclosures.append(text)
        return digest_of(text)


def plain(value: Any) -> Any:
    """The claims without marks."""
    if isinstance(value, Hidden):
        return plain(value.value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    return value


def shown(value: Any, chosen: Any) -> Any:
    """What is left of marked claims when only `chosen` (holder_disclosed_claims) is disclosed."""
    if chosen is True:
        return plain(value)
    if isinstance(value, list):
        picks = list(chosen or []) + [False] * len(value)
        pairs = zip(value, picks, strict=False)
        return [
            shown(item.value if isinstance(item, Hidden) else item, pick)
            for item, pick in pairs
            if pick or not isinstance(item, Hidden)
        ]
    if not isinstance(value, dict):
        return value
    chosen = chosen or {}
    return {
        plain(key): shown(item, chosen.get(plain(key)))
        for key, item in value.items()
        if not isinstance(key, Hidden) or chosen.get(key.value)
    }


def paths(value: Any, chosen: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """`chosen` as claim paths of DCQL."""
    if chosen is True:
        return [way]
    if isinstance(chosen, dict):
        by_name = {plain(key): item for key, item in value.items()}
        return [path for key, pick in chosen.items() for path in paths(by_name[key], pick, (*way, key))]
    if isinstance(chosen, list):
        parts = enumerate(zip(value, chosen, strict=False))
        return [path for n, (item, pick) in parts for path in paths(inner(item), pick, (*way, n))]
    return []


def inner(item: Any) -> Any:
    return item.value if isinstance(item, Hidden) else item


def sd_jwt(payload: dict[str, Any], disclosures: list[str]) -> bytes:
    jwt = build_jws({"typ": "dc+sd-jwt"}, json.dumps(payload).encode(), es256_signer(KEY))
    return b"~".join([jwt, *(text.encode() for text in disclosures), b""])


def processed(payload: dict[str, Any], disclosures: list[str]) -> dict[str, Any]:
    return peek_processed(parse_credential(sd_jwt(payload, disclosures)))


def issue(name: str) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """(specification, payload, disclosures); vct is in the clear where the example has none."""
    specification = read(name)
    issuer = Issuer(decoys=bool(specification.get("add_decoy_claims")))
    payload = {"vct": VCT, **issuer.hide(specification["user_claims"]), "_sd_alg": "sha-256"}
    return specification, payload, issuer.disclosures


@needs_vectors
def test_the_folder_holds_the_examples() -> None:
    assert set(NAMES) == {"simple", "simple_structured", "complex_ekyc", "address_only_recursive", "arf-pid"}
    for printed, name in (("section 5.1", "simple"), ("section 6.3", "address_only_recursive")):
        for part in ("user_claims", "holder_disclosed_claims"):
            assert PRINTED[printed][part] == read(name)[part]


@pytest.mark.parametrize("name", EXAMPLES)
def test_with_every_disclosure_the_claims_come_back(name: str) -> None:
    specification, payload, disclosures = issue(name)
    assert processed(payload, disclosures) == {"vct": VCT, **plain(specification["user_claims"])}
    assert disclosures
    assert processed(payload, disclosures[::-1]) == processed(payload, disclosures)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_holders_choice_shows_what_the_example_shows(name: str) -> None:
    specification, payload, disclosures = issue(name)
    chosen = specification["holder_disclosed_claims"]
    claims = tuple(ClaimQuery(path) for path in paths(specification["user_claims"], chosen))
    whole = parse_credential(sd_jwt(payload, disclosures))
    query = CredentialQuery("x", (payload["vct"],), claims)
    presented = select_for_query(whole, query)
    expected = {"vct": VCT, **shown(specification["user_claims"], chosen)}
    assert peek_processed(presented) == expected
    assert len(presented.disclosures) < len(disclosures)


Twin = Callable[[dict[str, Any], list[str]], tuple[dict[str, Any], list[str]]]


def added(*parts: Any) -> Twin:
    """One more disclosure, named by the payload."""

    def twin(payload: dict[str, Any], disclosures: list[str]) -> tuple[dict[str, Any], list[str]]:
        text = disclosure("salt", *parts)
        return {**payload, "_sd": [*payload.get("_sd", []), digest_of(text)]}, [*disclosures, text]

    return twin


def changed(**members: Any) -> Twin:
    """Other members in the payload."""
    return lambda payload, disclosures: ({**payload, **members}, disclosures)


ELEMENT = disclosure("salt", "an element")
CLAIM = disclosure("salt", "a_claim", 1)
TWINS: dict[str, tuple[str, Twin]] = {
    "digest twice": (
        "duplicate-digest",
        lambda p, d: ({**p, "again": {"_sd": [digest_of(d[0])]}}, d),
    ),
    "decoy twice": ("duplicate-digest", changed(again={"_sd": ["decoy"]}, more={"_sd": ["decoy"]})),
    "unreferenced": ("unreferenced-disclosure", lambda p, d: (p, [*d, CLAIM])),
    "salt changed": ("unreferenced-disclosure", lambda p, d: (p, [_resalted(d[0]), *d[1:]])),
    "disclosure twice": ("duplicate-disclosure", lambda p, d: (p, [*d, d[0]])),
    "claim named _sd": ("bad-disclosure", added("_sd", ["x"])),
    "claim named ...": ("bad-disclosure", added("...", "x")),
    "claim without name": ("bad-disclosure", added(1, "x")),
    "four parts": ("bad-disclosure", added("name", "x", "y")),
    "element as claim": ("bad-disclosure", added("an element")),
    "claim as element": (
        "bad-disclosure",
        lambda p, d: ({**p, "list": [{"...": digest_of(CLAIM)}]}, [*d, CLAIM]),
    ),
    "... beside a claim": (
        "bad-sd",
        lambda p, d: ({**p, "list": [{"...": digest_of(ELEMENT), "x": 1}]}, [*d, ELEMENT]),
    ),
    "... outside an array": (
        "reserved-name",
        lambda p, d: ({**p, "object": {"...": digest_of(ELEMENT)}}, [*d, ELEMENT]),
    ),
    "... without text": ("bad-sd", changed(list=[{"...": 1}])),
    "_sd is no array": ("bad-sd", changed(object={"_sd": "x"})),
    "_sd with a number": ("bad-sd", changed(object={"_sd": [1]})),
    "_sd in a disclosed value is no array": ("bad-sd", added("object", {"_sd": {"a": 1}})),
    "_sd_alg in a disclosed value": ("reserved-name", added("object", {"_sd_alg": "sha-256"})),
    "_sd_alg unknown": ("bad-sd-alg", changed(_sd_alg="sha-1024")),
    "_sd_alg known to others": ("bad-sd-alg", changed(_sd_alg="sha-512")),
    "_sd_alg no text": ("bad-sd-alg", changed(_sd_alg=256)),
    "overwrites": (
        "duplicate-claim",
        lambda p, d: added("taken", 2)({**p, "taken": 1}, d),
    ),
    "overwrites a disclosed one": (
        "duplicate-claim",
        lambda p, d: added("taken", 2)(*added("taken", 1)(p, d)),
    ),
} | {
    f"{name} disclosed": ("forbidden-disclosure", lambda p, d, name=name: _disclosed(p, d, name))
    for name in ("iss", "nbf", "exp", "cnf", "vct", "vct#integrity", "aka_vcts", "status", "iat")
}  # fmt: skip


def _resalted(text: str) -> str:
    parts = json.loads(base64.urlsafe_b64decode(text + "=="))
    return disclosure(parts[0] + "x", *parts[1:])


def _disclosed(
    payload: dict[str, Any], disclosures: list[str], name: str
) -> tuple[dict[str, Any], list[str]]:
    rest = {key: item for key, item in payload.items() if key != name}
    return added(name, payload.get(name, 1))(rest, disclosures)


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_broken_twin_is_refused_for_its_own_reason(name: str, twin: str) -> None:
    _, payload, disclosures = issue(name)
    code, spoil = TWINS[twin]
    processed(payload, disclosures)
    with pytest.raises(FormatError) as caught:
        processed(*spoil(payload, disclosures))
    assert caught.value.code == code


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_the_twins_change_is_fine_where_it_is_allowed(name: str) -> None:
    """The ways of spoiling above do not refuse by themselves: an allowed claim, decoy and element pass."""
    _, payload, disclosures = issue(name)
    claims = processed(payload, disclosures)
    assert processed(*added("stranger", 1)(payload, disclosures)) == {**claims, "stranger": 1}
    assert processed(*changed(object={"_sd": ["decoy"]})(payload, disclosures)) == {**claims, "object": {}}
    listed = {**payload, "list": [{"...": digest_of(ELEMENT)}, {"...": "decoy"}]}
    assert processed(listed, [*disclosures, ELEMENT]) == {**claims, "list": ["an element"]}
    # Below the top the name is an ordinary one, and `iss` itself may stand in the clear.
    assert processed(*added("object", {"iss": 1})(payload, disclosures))["object"] == {"iss": 1}


@pytest.mark.parametrize("salt", ["", "s", "x" * 22, "x" * 200])
def test_how_long_a_salt_is_is_no_question_of_the_reader(salt: str) -> None:
    """RFC 9901 section 9.3 asks the issuer for 128 bits; the reader refuses only what is no text."""
    text = disclosure(salt, "name", "Doe")
    assert processed({"_sd": [digest_of(text)]}, [text]) == {"name": "Doe"}
    with pytest.raises(FormatError, match="bad-disclosure"):
        parse_disclosure(disclosure(len(salt), "name", "Doe").encode())


# --- published values -------------------------------------------------------------------------------------

# Section 4.2.1: one content in four spellings; section 4.2.3: the digest of the first.
SPELLINGS = (
    "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0",
    "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNXHUwMGY2Yml1cyJd",
    "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsImZhbWlseV9uYW1lIiwiTcO2Yml1cyJd",
    "WwoiXzI2YmM0TFQtYWM2cTJLSTZjQlc1ZXMiLAoiZmFtaWx5X25hbWUiLAoiTcO2Yml1cyIKXQ",
)
# Salts of the examples, in the order in which they are used.
SALTS = [
    "2GLC42sKQveCfGfryNRN9w", "eluV5Og3gSNII8EYnsxA_A", "6Ij7tM-a5iVPGboS5tmvVA", "eI8ZWm9QnKPpNPeNenHdhQ",
    "Qg_O64zqAxe412a108iroA", "AJx-095VPrpTtN4QMOqROA", "Pc33JM2LchcU_lHggv_ufQ", "G02NSrQfjFXQ7Io09syajA",
    "lklxF5jMYlGTPUovMNIvCA", "nPuoQnkRFq3BIeAm7AnXFA",
]  # fmt: skip
# Section 5.1: digests of given_name … updated_at, then of the two nationalities.
SIMPLE = [
    "jsu9yVulwQQlhFlM_3JlzMaSFzglhQG0DpfayQwLUK4", "TGf4oLbgwd5JQaHyKVQZU9UdGE0w5rtDsrZzfUaomLo",
    "JzYjH4svliH0R3PyEMfeZu6Jt69u5qehZo7F7EPYlSE", "PorFbpKuVu6xymJagvkFsFXAbRoc2JGlAUA2BA4o7cI",
    "XQ_3kPKt1XyX7KANkqVR6yZ2Va5NrPIvPYbyMvRKBMM", "XzFrzwscM6Gn6CJDc6vVK8BkMnfG8vOSKfpPIZdAfdE",
    "gbOsI4Edq2x2Kw-w5wPEzakob9hV1cRD0ATN3oQL9JM", "CrQe7S5kqBAHt-nMYXgc6bdt2SH5aTY1sU_M-PgkjPI",
    "pFndjkZ_VCzmyTa6UjlZo3dh-ko8aIKQc9DlGzhaVYo", "7Cf6JkPudry3lcbwHgeZ8khAv1U1OSlerP0VkBJrWZ0",
]  # fmt: skip
SIMPLE_SIGNATURE = "zjhXTlVnC9cFuDlL7JuR2TK7DCo0XtlMpbuNVNZJhWOkCPsRHn9oHNQkI02D6YziRYsapgbA_tV4-0LmAfA53Q"
SIMPLE_SD_HASH = "1-Lcf6CiBmP72JDFuBF0bvalS-FzIlXyiCkJXp7pJmc"
# Section 6.3: street, locality, region, country, then the address that holds them.
RECURSIVE = [
    "9gjVuXtdFROCgRrtNcGUXmF65rdezi_6Er_j76kmYyM", "6vh9bq-zS4GKM_7GpggVbYzzu6oOGXrmNVGPHP75Ud0",
    "KURDPh4ZC19-3tiz-Df39V8eidy1oV3a3H1Da2N0g88", "WN9r9dCBJ8HTCsS2jKASxTjEyW5m5x65_Z_2ro2jfXM",
    "HvrKX6fPV0v9K_yCVFBiLFHsMaxcD_114Em6VT8x1lg",
]  # fmt: skip
# Section A.5 (the issuer's key) and section 5.1 (the holder's, in cnf).
ISSUER_JWK = {
    "kty": "EC",
    "crv": "P-256",
    "x": "b28d4MwZMjw8-00CG4xfnn9SLMVMM19SlqZpVb_uNtQ",
    "y": "Xv5zWwuoaTgdS6hV43yI6gBwTnjukmFQQnJ_kCxzqk8",
}
HOLDER_JWK = {
    "kty": "EC",
    "crv": "P-256",
    "x": "TCAER19Zvu3OHF4j4W4vfSVoHIP1ILilDls7vCeGemc",
    "y": "ZxjiWWbZMQGHVWKVQ4hbSIirsVfuecCE6t4jT9F2HZQ",
}
TIMES = {"iss": "https://issuer.example.com", "iat": 1683000000, "exp": 1883000000}


def test_digests_are_over_the_text_as_it_is_spelled() -> None:
    parsed = [parse_disclosure(text.encode()) for text in SPELLINGS]
    assert {(item.salt, item.name, item.value) for item in parsed} == {
        ("_26bc4LT-ac6q2KI6cBW5es", "family_name", "Möbius")
    }
    assert len({item.digest for item in parsed}) == 4
    assert parsed[0].digest == "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"


def test_an_element_of_an_array_has_its_published_digest() -> None:
    parsed = parse_disclosure(b"WyJsa2x4RjVqTVlsR1RQVW92TU5JdkNBIiwgIkZSIl0")
    assert (parsed.salt, parsed.name, parsed.value) == ("lklxF5jMYlGTPUovMNIvCA", None, "FR")
    assert parsed.digest == "w0I8EKcdCtUPkGCNUrfwVp2xEgNjtoIDlOxc9-PlOhs"


@pytest.mark.parametrize(("name", "digests"), [("section 5.1", SIMPLE), ("section 6.3", RECURSIVE)])
def test_disclosures_of_the_examples_have_their_published_digests(name: str, digests: list[str]) -> None:
    issuer = Issuer(SALTS)
    issuer.hide(read(name)["user_claims"])
    assert [parse_disclosure(text.encode()).digest for text in issuer.disclosures] == digests


def published() -> tuple[bytes, list[str]]:
    """The Issuer-signed JWT of section 5.1, put together from its parts, and its disclosures."""
    issuer = Issuer(SALTS)
    signed_claims = issuer.hide(read("section 5.1")["user_claims"])
    payload = {
        "_sd": signed_claims["_sd"],
        **TIMES,
        "sub": signed_claims["sub"],
        "nationalities": signed_claims["nationalities"],
    }
    payload |= {"_sd_alg": "sha-256", "cnf": {"jwk": HOLDER_JWK}}
    header = {"alg": "ES256", "typ": "example+sd-jwt"}
    signed = ".".join(encode(json.dumps(part).encode()) for part in (header, payload))
    return f"{signed}.{SIMPLE_SIGNATURE}".encode(), issuer.disclosures


def test_the_published_signature_verifies_and_a_changed_one_does_not() -> None:
    jwt, disclosures = published()
    data = b"~".join([jwt, *(text.encode() for text in disclosures), b""])
    credential = parse_credential(data, typ="example+sd-jwt")
    credential.jws.verify(parse_jwk(ISSUER_JWK))
    expected = plain(read("section 5.1")["user_claims"]) | TIMES | {"cnf": {"jwk": HOLDER_JWK}}
    assert peek_processed(credential) == expected
    with pytest.raises(FormatError, match="bad-signature"):
        credential.jws.verify(parse_jwk(HOLDER_JWK))
    with pytest.raises(FormatError, match="bad-signature"):
        parse_jws(jwt.replace(b".zjhX", b".zjhY"), typ="example+sd-jwt").verify(parse_jwk(ISSUER_JWK))


def test_the_published_presentation_has_its_payload_and_its_hash() -> None:
    """Section 5.2: family name, address, given name and one nationality, bound by a hash over all of it."""
    jwt, disclosures = published()
    family, address, given, nationality = (disclosures[n] for n in (1, 5, 0, 8))
    data = b"~".join([jwt, *(text.encode() for text in (family, address, given, nationality)), b""])
    assert presentation_hash(data) == SIMPLE_SD_HASH
    claims = plain(read("section 5.1")["user_claims"])
    shown_names = ("sub", "family_name", "address", "given_name")
    assert peek_processed(parse_credential(data, typ="example+sd-jwt")) == {
        **TIMES,
        **{name: claims[name] for name in shown_names},
        "nationalities": ["US"],
        "cnf": {"jwk": HOLDER_JWK},
    }
    assert presentation_hash(data.replace(given.encode() + b"~", b"")) != SIMPLE_SD_HASH
