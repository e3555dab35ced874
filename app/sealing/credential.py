"""The credential: SD-JWT VC built from certificate.json, page digest, holder key and status index.

Sources: RFC 9901 (SD-JWT), draft-ietf-oauth-sd-jwt-vc, draft-ietf-oauth-status-list (status claim). Reader:
`verifier.formats.credential`. In the clear stand year, kind and authority; everything else of the data is a
disclosure, the six groups as a whole and each of their leaves by itself (RFC 9901 section 4.2.6). Disclosing
all and removing the claims about the credential and the ladders gives back exactly certificate.json.

The ladders (`verifier.formats.ladder`) follow from the data: a disclosure for each threshold that holds, a decoy digest
(section 4.2.5) for each that does not.

Two halves, like the page seal: `prepare_credential` makes the digest to be authorised and signed,
`finish_credential` takes the signature. No clock: the times come from the data (issued_on, valid_until: legal
days in Japan).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from app.sealing.errors import CredentialError
from verifier.errors import FormatError
from verifier.formats.encoding import (
    base64_encode,
    base64url_digest,
    base64url_encode,
    canonical_json,
    sha256,
)
from verifier.formats.jose import parse_jwk, thumbprint
from verifier.formats.ladder import LADDERS, derive_ladders
from verifier.formats.names import CREDENTIAL_TYP

JAPAN: Final = timezone(timedelta(hours=9))
SALT_BYTES: Final = 16
DECOY_BYTES: Final = 32
POOL_BYTES: Final = 1024
CLEAR: Final = ("document_kind", "fiscal_year", "income_year", "issuing_authority")
PLAIN: Final = ("certificate_number", "issued_on", "remarks", "title", "valid_until")
GROUPS: Final = ("deductions", "dependants", "income", "person_status", "subject", "tax")

Random = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class CredentialFrame:
    """What a credential says beside the data of the certificate.

    iss, vct      issuer and credential type
    holder_jwk    the phone's signing key: exactly crv, kty, x, y
    status_uri    address of the status list; status_index: position in it
    page_digest   SHA-256 of the sealed page (32 bytes); None for a copy without page
    certificates  DER: the credential's certificate, then the issuing authority; no root
    """

    iss: str
    vct: str
    holder_jwk: Mapping[str, Any]
    status_uri: str
    status_index: int
    page_digest: bytes | None
    certificates: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class PreparedCredential:
    """A credential that lacks only its signature; plain text, so that it can be stored and finished after a
    crash.

    signing_input  header and payload of the JWS, ASCII
    digest         SHA-256 of it: what the signer signs (32 bytes)
    disclosures    in the order of their digests
    """

    signing_input: str
    digest: bytes
    disclosures: tuple[str, ...]


def prepare_credential(
    data: Mapping[str, Any], frame: CredentialFrame, *, random: Random = os.urandom
) -> PreparedCredential:
    """Build everything but the signature. `data`: certificate.json, parsed; `random`: makes salts and decoys.

    Raises: CredentialError("bad-data" | "bad-frame").
    """
    _check_data(data)
    maker = _Discloser(random)
    try:
        claims: dict[str, Any] = {name: data[name] for name in CLEAR}
        digests = [maker.disclose(name, data[name]) for name in PLAIN]
        digests += [maker.disclose_group(name, data[name]) for name in GROUPS]
        rungs = derive_ladders(data)
        digests += [
            maker.disclose_ladder(item.name, rungs[item.name], len(item.thresholds)) for item in LADDERS
        ]
        if frame.page_digest is not None:
            digests.append(maker.disclose("page_digest", _digest_text(frame.page_digest)))
        claims |= _frame_claims(frame, data)
        claims |= {"_sd": sorted(digests), "_sd_alg": "sha-256"}
        text = f"{_header(tuple(frame.certificates))}.{base64url_encode(canonical_json(claims))}"
    except FormatError as error:
        raise CredentialError("bad-data", error.code) from error
    return PreparedCredential(text, sha256(text.encode("ascii")), maker.in_order())


def finish_credential(prepared: PreparedCredential, signature: bytes) -> str:
    """`<jwt>~<disclosure>~…~` with `signature` (r ‖ s, 64 bytes). Raises:
    CredentialError("bad-signature-form")."""
    if len(signature) != 64:
        raise CredentialError("bad-signature-form", "an ES256 signature has 64 bytes")
    jwt = f"{prepared.signing_input}.{base64url_encode(signature)}"
    return "~".join((jwt, *prepared.disclosures, ""))


def build_x5c_header(certificates: Sequence[bytes], typ: str) -> dict[str, Any]:
    """The JOSE header of a city token: ES256, the certificates without the root, kid = thumbprint of the
    signing key.

    Raises: CredentialError("bad-frame").
    """
    kid, x5c = _x5c(tuple(certificates))
    return {"alg": "ES256", "kid": kid, "typ": typ, "x5c": list(x5c)}


def legal_day_start(day: date) -> int:
    """Unix seconds of the first instant of a legal day in Japan."""
    return int(datetime.combine(day, time.min, JAPAN).astimezone(UTC).timestamp())


@functools.lru_cache(maxsize=16)
def _x5c(certificates: tuple[bytes, ...]) -> tuple[str, tuple[str, ...]]:
    # The same two certificates stand in front of every credential; reading them costs more than all its disclosures.
    try:
        parsed = [x509.load_der_x509_certificate(certificate) for certificate in certificates]
        key = parsed[0].public_key()
    except (ValueError, IndexError) as error:
        raise CredentialError("bad-frame", "certificates are missing or unreadable") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or any(c.subject == c.issuer for c in parsed):
        raise CredentialError("bad-frame", "not a P-256 key, or a root among the certificates")
    return thumbprint(key), tuple(map(base64_encode, certificates))


@functools.lru_cache(maxsize=16)
def _header(certificates: tuple[bytes, ...]) -> str:
    return base64url_encode(canonical_json(build_x5c_header(certificates, CREDENTIAL_TYP)))


def _frame_claims(frame: CredentialFrame, data: Mapping[str, Any]) -> dict[str, Any]:
    if not frame.iss or not frame.vct or not frame.status_uri or frame.status_index < 0:
        raise CredentialError("bad-frame", "issuer, type or status are missing")
    holder = dict(frame.holder_jwk)
    parse_jwk(holder)  # which takes a key in one form only
    issued, last = (_day(data[name]) for name in ("issued_on", "valid_until"))
    if last < issued:
        raise CredentialError("bad-data", "valid_until lies before issued_on")
    return {
        "iss": frame.iss,
        "vct": frame.vct,
        # Whole days: a finer time would tell copies, and requests, apart.
        "iat": legal_day_start(issued),
        "exp": legal_day_start(last + timedelta(days=1)),
        "cnf": {"jwk": holder},
        "status": {"status_list": {"idx": frame.status_index, "uri": frame.status_uri}},
    }


def _day(value: object) -> date:
    try:
        return date.fromisoformat(str(value))
    except ValueError as error:
        raise CredentialError("bad-data", "a date is not ISO 8601") from error


def _digest_text(digest: bytes) -> str:
    if len(digest) != 32:
        raise CredentialError("bad-frame", "a page digest has 32 bytes")
    return base64url_encode(digest)


def _check_data(data: Mapping[str, Any]) -> None:
    expected = {*CLEAR, *PLAIN, *GROUPS}
    if set(data) != expected:
        raise CredentialError("bad-data", "other members than those of certificate.json")
    if not all(isinstance(data[name], Mapping) and data[name] for name in GROUPS):
        raise CredentialError("bad-data", "a group is not an object, or empty")
    # By type: the canonical form refuses every other kind of value.
    if any(type(value) in (dict, list) for name in GROUPS for value in data[name].values()):
        raise CredentialError("bad-data", "groups are one level deep")


class _Discloser:
    """Makes disclosures and remembers them by digest."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._pool, self._used = b"", 0
        self._by_digest: dict[str, str] = {}
        self._decoys: set[str] = set()

    def disclose(self, name: str, value: Any) -> str:
        if not name.isascii():
            raise CredentialError("bad-data", "claim names are ASCII")
        salt = base64url_encode(self._fresh(SALT_BYTES))
        encoded = base64url_encode(canonical_json([salt, name, value]))
        digest = base64url_digest(encoded.encode("ascii"))
        if self._by_digest.setdefault(digest, encoded) is not encoded:
            raise CredentialError("bad-data", "two disclosures are the same: the salts repeat")
        return digest

    def disclose_group(self, name: str, group: Mapping[str, Any]) -> str:
        # The group is itself a disclosure that holds only digests: who gets no leaf does not learn how many
        # there are.
        leaves = [self.disclose(leaf, value) for leaf, value in group.items()]
        return self.disclose(name, {"_sd": sorted(leaves)})

    def disclose_ladder(self, name: str, rungs: Mapping[str, bool], size: int) -> str:
        # As many digests as there are thresholds, whatever the amount: their number would tell the bracket.
        digests = [self.disclose(rung, value) for rung, value in rungs.items()]
        digests += [self._decoy() for _ in range(size - len(digests))]
        return self.disclose(name, {"_sd": sorted(digests)})

    def _decoy(self) -> str:
        digest = base64url_digest(self._fresh(DECOY_BYTES))
        if digest in self._decoys:
            raise CredentialError("bad-data", "two decoys are the same: the randomness repeats")
        self._decoys.add(digest)
        return digest

    def _fresh(self, size: int) -> bytes:
        # In blocks: a hundred small questions to the system are a tenth of a credential's time. Each byte is used once.
        if len(self._pool) - self._used < size:
            self._pool, self._used = self._random(POOL_BYTES), 0
        self._used += size
        return self._pool[self._used - size : self._used]

    def in_order(self) -> tuple[str, ...]:
        return tuple(self._by_digest[digest] for digest in sorted(self._by_digest))
