"""A single-use authorisation: the register gate's word that one digest of one request may be signed, once.

    {"jti":…,"purpose":"page_seal","digest":hex32,"request_id":…,"serial":…,"exp":…,"signature":base64}

Ed25519 over `akashi/authorisation/v1␊` and the canonical JSON of the other fields. The gate makes them
(`app.registers.authorisation`), the signer checks them with the gate's pinned key and consumes the jti in its
store. This module has no clock, no key of its own and no store.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from app.sealing.errors import SignerError
from verifier.errors import FormatError
from verifier.formats.encoding import (
    base64_decode,
    base64_encode,
    base64url_decode,
    canonical_json,
    hex_decode,
)

LABEL: Final = b"akashi/authorisation/v1\n"
PURPOSES: Final = frozenset({"page_seal", "credential", "status_list", "statement", "login"})
JTI_BYTES: Final = 16
MAX_LIFETIME_SECONDS: Final = 600

_FIELDS: Final = frozenset({"jti", "purpose", "digest", "request_id", "serial", "exp", "signature"})
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Authorisation:
    """What may be signed.

    jti         base64url of 16 random bytes, never used twice
    purpose     one of PURPOSES; digest: SHA-256, 32 bytes
    request_id  of the request in the city; serial: of the certificate, copy, list or answer that is signed
    exp         Unix seconds after which it is void
    signature   the gate's, 64 bytes
    """

    jti: str
    purpose: str
    digest: bytes
    request_id: str
    serial: str
    exp: int
    signature: bytes

    def signing_input(self) -> bytes:
        """What the gate signs."""
        return signing_input(
            jti=self.jti,
            purpose=self.purpose,
            digest=self.digest,
            request_id=self.request_id,
            serial=self.serial,
            exp=self.exp,
        )

    def as_json(self) -> dict[str, Any]:
        """The object that travels in a signer request."""
        return {
            "jti": self.jti,
            "purpose": self.purpose,
            "digest": self.digest.hex(),
            "request_id": self.request_id,
            "serial": self.serial,
            "exp": self.exp,
            "signature": base64_encode(self.signature),
        }


def signing_input(*, jti: str, purpose: str, digest: bytes, request_id: str, serial: str, exp: int) -> bytes:
    """Label and canonical JSON of the fields. Raises: SignerError("bad-authorisation") for fields without a
    form."""
    ids_ok = all(is_identifier(value) for value in (request_id, serial))
    if purpose not in PURPOSES or not ids_ok or len(digest) != 32 or not _is_jti(jti):
        raise SignerError("bad-authorisation", "a field has not the form of an authorisation")
    fields = {
        "jti": jti,
        "purpose": purpose,
        "digest": digest.hex(),
        "request_id": request_id,
        "serial": serial,
        "exp": exp,
    }
    return LABEL + canonical_json(fields)


def parse_authorisation(value: object) -> Authorisation:
    """The object of a signer request. Raises: SignerError("bad-authorisation")."""
    if not isinstance(value, Mapping) or set(value) != _FIELDS:
        raise SignerError("bad-authorisation", "not the fields of an authorisation")
    texts = {name: value[name] for name in _FIELDS - {"exp"}}
    if not all(isinstance(text, str) for text in texts.values()):
        raise SignerError("bad-authorisation", "a field is not text")
    if type(value["exp"]) is not int or not 0 < value["exp"] < 1 << 40:
        raise SignerError("bad-authorisation", "exp is not a time")
    try:
        parsed = Authorisation(
            jti=value["jti"],
            purpose=value["purpose"],
            digest=hex_decode(value["digest"], 32),
            request_id=value["request_id"],
            serial=value["serial"],
            exp=value["exp"],
            signature=base64_decode(value["signature"]),
        )
        parsed.signing_input()
    except FormatError as error:
        raise SignerError("bad-authorisation", "a field has not the form of an authorisation") from error
    return parsed


def verify_authorisation(authorisation: Authorisation, gate_key: Ed25519PublicKey, now: datetime) -> None:
    """Check the gate's signature and the time. That the jti is unused is the store's question.

    Raises: SignerError("authorisation-forged" | "authorisation-expired" | "authorisation-too-long").
    """
    try:
        gate_key.verify(authorisation.signature, authorisation.signing_input())
    except InvalidSignature as error:
        raise SignerError("authorisation-forged", "not signed by the register gate") from error
    left = authorisation.exp - now.timestamp()
    if left <= 0:
        raise SignerError("authorisation-expired", "ask the register gate again")
    if left > MAX_LIFETIME_SECONDS:
        raise SignerError("authorisation-too-long", f"valid for more than {MAX_LIFETIME_SECONDS} s")


def is_identifier(value: object) -> bool:
    """Whether `value` is an id of ours: short ASCII without spaces, so that no name or address fits into the
    audit."""
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


def _is_jti(value: str) -> bool:
    try:
        return len(base64url_decode(value)) == JTI_BYTES
    except FormatError:
        return False
