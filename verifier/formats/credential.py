"""The credential: SD-JWT VC, taken apart and processed as RFC 9901 section 7.1 demands.

Sources: RFC 9901 (SD-JWT), draft-ietf-oauth-sd-jwt-vc (typ, vct, claims that are never selectively
disclosable), RFC 7800 (cnf). Unreferenced or doubled disclosures, doubled digests, reserved names and
claims that overwrite others are refused. Only sha-256 is understood. Nothing here is trusted: the
signature, the issuer and the time are questions of `verifier.checks`. That is why the functions that read
claims are called `peek_`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import (
    JSON,
    base64_decode,
    base64url_decode,
    base64url_digest,
    parse_json,
)
from verifier.formats.jose import Jws, parse_jwk, parse_jws
from verifier.formats.ladder import LADDER_CLAIMS
from verifier.formats.names import CREDENTIAL_TYP

MAX_CREDENTIAL_BYTES: Final = 128 << 10
MAX_DISCLOSURES: Final = 256
MAX_DEPTH: Final = 16
"""Of the processed claims: disclosures may hold disclosures, and each is limited only by itself."""
MAX_CHAIN_LENGTH: Final = 4
MAX_CERTIFICATE_BYTES: Final = 8 << 10

_DIGESTS: Final = "_sd"
_ALGORITHM: Final = "_sd_alg"
_ARRAY_DIGEST: Final = "..."
_RESERVED: Final = frozenset({_DIGESTS, _ALGORITHM, _ARRAY_DIGEST})
_NEVER_DISCLOSED: Final = frozenset(
    {"iss", "nbf", "exp", "cnf", "vct", "vct#integrity", "aka_vcts", "status", "iat"}
)
ENVELOPE_CLAIMS: Final = frozenset({"vct", "iss", "iat", "exp", "cnf", "status", "page_digest"})
"""Claims about the credential itself; without them and the ladders the claims are exactly certificate.json."""


@dataclass(frozen=True, slots=True)
class Disclosure:
    """One disclosure: its text, its digest (base64url), salt, claim name (None = array element) and value."""

    encoded: str
    digest: str
    salt: str
    name: str | None
    value: JSON


@dataclass(frozen=True, slots=True)
class Credential:
    """An SD-JWT taken apart, unverified.

    issuer_jwt    the bytes before the first "~": what the leaf commits to
    jws           the same, taken apart
    disclosures   in the order of the file
    """

    issuer_jwt: bytes
    jws: Jws
    disclosures: tuple[Disclosure, ...]

    def serialise(self) -> bytes:
        """`<jwt>~<disclosure>~…~`, without key binding (RFC 9901 section 4)."""
        return b"~".join([self.issuer_jwt, *(d.encoded.encode("ascii") for d in self.disclosures), b""])


@dataclass(frozen=True, slots=True)
class StatusReference:
    """Where the status of a credential stands: list address and index."""

    uri: str
    index: int


@dataclass(frozen=True, slots=True)
class CredentialClaims:
    """The processed claims of a credential, unverified.

    issuer, vct, issued (`iat`) and expires (`exp`) in Unix seconds, holder_key (`cnf.jwk`), status,
    page_digest (32 bytes; None = not disclosed or no page), and `all`: every processed claim.
    """

    issuer: str
    vct: str
    issued: int
    expires: int
    holder_key: ec.EllipticCurvePublicKey
    status: StatusReference
    page_digest: bytes | None
    all: Mapping[str, JSON]

    def certificate(self) -> dict[str, JSON]:
        """What was disclosed of certificate.json (all of it if every disclosure is there)."""
        return {name: value for name, value in self.disclosed().items() if name not in LADDER_CLAIMS}

    def disclosed(self) -> dict[str, JSON]:
        """What was disclosed of the person: certificate.json and the ladders (`verifier.formats.ladder`)."""
        return {name: value for name, value in self.all.items() if name not in ENVELOPE_CLAIMS}


def parse_credential(data: bytes, *, typ: str | None = CREDENTIAL_TYP) -> Credential:
    """Take an SD-JWT without key binding apart. Raises: LimitError, FormatError."""
    if len(data) > MAX_CREDENTIAL_BYTES:
        raise LimitError("credential-too-large", f"more than {MAX_CREDENTIAL_BYTES} bytes")
    parts = data.split(b"~")
    if len(parts) < 2 or parts[-1]:
        raise FormatError("bad-credential", "an SD-JWT without key binding ends with ~")
    if len(parts) - 2 > MAX_DISCLOSURES:
        raise LimitError("too-many-disclosures", f"more than {MAX_DISCLOSURES} disclosures")
    disclosures = tuple(parse_disclosure(part) for part in parts[1:-1])
    if len({disclosure.digest for disclosure in disclosures}) != len(disclosures):
        raise FormatError("duplicate-disclosure", "a disclosure appears twice")
    return Credential(parts[0], parse_jws(parts[0], typ=typ), disclosures)


def parse_disclosure(data: bytes) -> Disclosure:
    """One disclosure: base64url of [salt, name, value] or [salt, value]. Raises: LimitError, FormatError."""
    try:
        encoded = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise FormatError("bad-disclosure", "not base64url") from error
    value = parse_json(base64url_decode(encoded))
    if not isinstance(value, list) or len(value) not in (2, 3) or not isinstance(value[0], str):
        raise FormatError("bad-disclosure", "not an array of salt, name and value")
    name: JSON = value[1] if len(value) == 3 else None
    if len(value) == 3 and (not isinstance(name, str) or name in _RESERVED):
        raise FormatError("bad-disclosure", "a reserved or missing claim name")
    return Disclosure(encoded, base64url_digest(data), value[0], name, value[-1])


def has_canonical_order(credential: Credential) -> bool:
    """Whether the disclosures stand in the order of their digests (one credential, one file)."""
    digests = [disclosure.digest for disclosure in credential.disclosures]
    return digests == sorted(digests)


def peek_processed(credential: Credential) -> dict[str, JSON]:
    """The payload with all disclosures put in (RFC 9901 section 7.1 step 3); still without any trust.

    Raises: FormatError.
    """
    payload = credential.jws.payload_object()
    if payload.pop(_ALGORITHM, "sha-256") != "sha-256":
        raise FormatError("bad-sd-alg", "only sha-256 is understood")
    walk = _Walk({disclosure.digest: disclosure for disclosure in credential.disclosures})
    claims = walk.object(payload)
    if walk.unused:
        raise FormatError("unreferenced-disclosure", "a disclosure that the issuer did not sign")
    return claims


def peek_claims(credential: Credential) -> CredentialClaims:
    """The processed claims in the shape of our credential type. Raises: FormatError."""
    claims = peek_processed(credential)
    cnf, status, digest = claims.get("cnf"), claims.get("status"), claims.get("page_digest")
    if not isinstance(cnf, dict) or set(cnf) != {"jwk"}:
        raise FormatError("bad-cnf", "cnf holds exactly one jwk")
    if digest is not None and (not isinstance(digest, str) or len(base64url_decode(digest)) != 32):
        raise FormatError("bad-page-digest", "page_digest is a SHA-256")
    return CredentialClaims(
        issuer=_text(claims, "iss"),
        vct=_text(claims, "vct"),
        issued=_instant(claims, "iat"),
        expires=_instant(claims, "exp"),
        holder_key=parse_jwk(cnf["jwk"]),
        status=_status(status),
        page_digest=None if digest is None else base64url_decode(digest),
        all=claims,
    )


def peek_x5c(jws: Jws) -> tuple[bytes, ...]:
    """The certificates (DER) of the header `x5c` (RFC 7515 section 4.1.6), leaf first.

    Raises: FormatError.
    """
    chain = jws.header.get("x5c")
    if not isinstance(chain, list) or not 1 <= len(chain) <= MAX_CHAIN_LENGTH:
        raise FormatError("bad-x5c", f"x5c holds 1 to {MAX_CHAIN_LENGTH} certificates")
    if not all(isinstance(item, str) for item in chain):
        raise FormatError("bad-x5c", "x5c holds text")
    certificates = tuple(base64_decode(item) for item in chain)
    if any(len(item) > MAX_CERTIFICATE_BYTES for item in certificates):
        raise LimitError("certificate-too-large", f"more than {MAX_CERTIFICATE_BYTES} bytes")
    return certificates


def select_disclosures(credential: Credential, paths: Iterable[tuple[str, ...]]) -> Credential:
    """The credential with only the disclosures that `paths` need, e.g. [("subject", "name"), ("tax",)].

    A path opens every object on its way; a path that ends at an object opens all that is in it. Order is
    kept.
    Raises: FormatError("no-such-claim").
    """
    by_digest = {disclosure.digest: disclosure for disclosure in credential.disclosures}
    keep: set[str] = set()
    for path in paths:
        node: JSON = credential.jws.payload_object()
        for name in path:
            node = _descend(node, name, by_digest, keep)
        _open_all(node, by_digest, keep)
    kept = tuple(disclosure for disclosure in credential.disclosures if disclosure.digest in keep)
    return Credential(credential.issuer_jwt, credential.jws, kept)


class _Walk:
    """One processing of one payload: replaces digests by disclosures and remembers what it met."""

    def __init__(self, disclosures: dict[str, Disclosure]) -> None:
        self.unused = dict(disclosures)
        self._seen: set[str] = set()

    def value(self, value: JSON, depth: int) -> JSON:
        if depth > MAX_DEPTH:
            raise LimitError("claims-too-deep", f"deeper than {MAX_DEPTH} levels")
        if isinstance(value, dict):
            return self.object(value, depth)
        if isinstance(value, list):
            return self._array(value, depth)
        return value

    def object(self, value: dict[str, JSON], depth: int = 0) -> dict[str, JSON]:
        if _ARRAY_DIGEST in value or _ALGORITHM in value:
            raise FormatError("reserved-name", "a reserved name in the wrong place")
        result = {name: self.value(item, depth + 1) for name, item in value.items() if name != _DIGESTS}
        digests = value.get(_DIGESTS, [])
        if not isinstance(digests, list):
            raise FormatError("bad-sd", "_sd is an array of digests")
        for digest in digests:
            disclosure = self._take(digest)
            if disclosure is None:
                continue
            if disclosure.name is None:
                raise FormatError("bad-disclosure", "an array element disclosed as a claim")
            if disclosure.name in result:
                raise FormatError("duplicate-claim", "a disclosure overwrites a claim")
            if depth == 0 and disclosure.name in _NEVER_DISCLOSED:
                raise FormatError("forbidden-disclosure", f"{disclosure.name} must be in the clear")
            result[disclosure.name] = self.value(disclosure.value, depth + 1)
        return result

    def _array(self, value: list[JSON], depth: int) -> list[JSON]:
        result: list[JSON] = []
        for item in value:
            if not isinstance(item, dict) or _ARRAY_DIGEST not in item:
                result.append(self.value(item, depth + 1))
                continue
            if len(item) != 1:
                raise FormatError("bad-sd", "a digest of an array element stands alone")
            disclosure = self._take(item[_ARRAY_DIGEST])
            if disclosure is None:
                continue
            if disclosure.name is not None:
                raise FormatError("bad-disclosure", "a claim disclosed as an array element")
            result.append(self.value(disclosure.value, depth + 1))
        return result

    def _take(self, digest: JSON) -> Disclosure | None:
        if not isinstance(digest, str):
            raise FormatError("bad-sd", "a digest is text")
        if digest in self._seen:
            raise FormatError("duplicate-digest", "a digest appears twice")
        self._seen.add(digest)
        return self.unused.pop(digest, None)


def _descend(node: JSON, name: str, by_digest: dict[str, Disclosure], keep: set[str]) -> JSON:
    if isinstance(node, dict):
        if name in node and name not in _RESERVED:
            return node[name]
        for digest in node.get(_DIGESTS, []):
            disclosure = by_digest.get(digest)
            if disclosure is not None and disclosure.name == name:
                keep.add(digest)
                return disclosure.value
    raise FormatError("no-such-claim", f"the credential does not have {name}")


def _open_all(node: JSON, by_digest: dict[str, Disclosure], keep: set[str]) -> None:
    if isinstance(node, dict):
        for digest in node.get(_DIGESTS, []):
            if digest in by_digest:
                keep.add(digest)
                _open_all(by_digest[digest].value, by_digest, keep)
        for name, item in node.items():
            if name != _DIGESTS:
                _open_all(item, by_digest, keep)


def _text(claims: Mapping[str, JSON], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise FormatError("bad-claim", f"{name} is missing")
    return value


def _instant(claims: Mapping[str, JSON], name: str) -> int:
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 40:
        raise FormatError("bad-claim", f"{name} is not a time")
    return value


def _status(value: JSON) -> StatusReference:
    if not isinstance(value, dict) or set(value) != {"status_list"}:
        raise FormatError("bad-status-reference", "status holds exactly one status_list")
    reference = value["status_list"]
    if not isinstance(reference, dict) or set(reference) != {"idx", "uri"}:
        raise FormatError("bad-status-reference", "status_list holds idx and uri")
    index, uri = reference["idx"], reference["uri"]
    if not isinstance(index, int) or isinstance(index, bool) or index < 0 or not isinstance(uri, str):
        raise FormatError("bad-status-reference", "idx is a number, uri is text")
    return StatusReference(uri, index)
