"""The status list token: one bit for each credential, signed by the city.

Source: draft-ietf-oauth-status-list (JWT form). Reader: `verifier.formats.status_list`. 0 = valid, 1 =
invalid; no reasons. The bits are compressed with a fixed level, so that the same list at the same time is the
same text. Two halves, like the credential: prepare, authorise and sign the digest, finish.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.sealing.credential import build_x5c_header
from app.sealing.errors import CredentialError
from verifier.formats.encoding import base64url_encode, canonical_json, sha256
from verifier.formats.names import STATUS_LIST_TYP
from verifier.formats.status_list import MAX_LIST_BYTES

COMPRESSION_LEVEL: Final = 6


@dataclass(frozen=True, slots=True)
class PreparedStatusList:
    """A token that lacks only its signature. `digest`: SHA-256 of `signing_input` (32 bytes)."""

    signing_input: str
    digest: bytes


def build_bits(size: int, invalid: Iterable[int]) -> bytes:
    """A list of `size` entries (a multiple of 8), least significant bit first; those in `invalid` are set.

    Raises: CredentialError("bad-status-index").
    """
    if size % 8 or not 0 < size <= MAX_LIST_BYTES * 8:
        raise CredentialError("bad-status-index", "a list holds a multiple of eight entries")
    bits = bytearray(size // 8)
    for index in invalid:
        if not 0 <= index < size:
            raise CredentialError("bad-status-index", "outside the list")
        bits[index >> 3] |= 1 << (index & 7)
    return bytes(bits)


def prepare_status_list(
    bits: bytes,
    *,
    uri: str,
    issued: datetime,
    lifetime: timedelta,
    ttl: timedelta,
    certificates: Sequence[bytes],
) -> PreparedStatusList:
    """Everything but the signature. `certificates`: DER, the status-list certificate, then the issuing
    authority.

    Raises: CredentialError.
    """
    if not timedelta(0) < ttl < lifetime or not 0 < len(bits) <= MAX_LIST_BYTES:
        raise CredentialError("bad-frame", "the list must live longer than its ttl, and have a usable size")
    start = int(issued.timestamp())
    payload = {
        "sub": uri,
        "iat": start,
        "exp": start + int(lifetime.total_seconds()),
        "ttl": int(ttl.total_seconds()),
        "status_list": {"bits": 1, "lst": base64url_encode(zlib.compress(bits, COMPRESSION_LEVEL))},
    }
    header = build_x5c_header(certificates, STATUS_LIST_TYP)
    text = f"{base64url_encode(canonical_json(header))}.{base64url_encode(canonical_json(payload))}"
    return PreparedStatusList(text, sha256(text.encode("ascii")))


def finish_status_list(prepared: PreparedStatusList, signature: bytes) -> str:
    """The compact JWS with `signature` (r ‖ s, 64 bytes). Raises: CredentialError("bad-signature-form")."""
    if len(signature) != 64:
        raise CredentialError("bad-signature-form", "an ES256 signature has 64 bytes")
    return f"{prepared.signing_input}.{base64url_encode(signature)}"
