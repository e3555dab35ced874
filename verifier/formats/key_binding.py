"""The key binding JWT: the holder's phone binds a credential to one request of one recipient.

Source: RFC 9901 section 4.3 (form) and 7.3 (check). aud = "urn:akashi:recipient:" + thumbprint of the
recipient's first encryption key; nonce = base64url SHA-256 of the request descriptor; sd_hash over the SD-JWT
up to its last "~".
Wallets of others write the same four members and perhaps more (`parse_foreign_key_binding`); their `aud` and `nonce` are
those of OpenID4VP.
This module compares nothing with a request or a clock: `verifier.checks.holder` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from verifier.errors import FormatError
from verifier.formats.encoding import JSON, base64url_encode, canonical_json, sha256
from verifier.formats.jose import Jws, SignDigest, build_jws, parse_jws, thumbprint
from verifier.formats.names import KEY_BINDING_TYP

AUDIENCE_PREFIX: Final = "urn:akashi:recipient:"
MAX_KEY_BINDING_BYTES: Final = 16 << 10
_MEMBERS: Final = frozenset({"iat", "aud", "nonce", "sd_hash"})


@dataclass(frozen=True, slots=True)
class KeyBinding:
    """A KB-JWT taken apart, unverified; times in Unix seconds, `sd_hash` base64url.

    not_before, expires   only in bindings by wallets of others, else None
    """

    jws: Jws
    issued: int
    audience: str
    nonce: str
    sd_hash: str
    not_before: int | None = None
    expires: int | None = None


def audience(key: ec.EllipticCurvePublicKey) -> str:
    """The `aud` of submissions to the recipient whose first encryption key is `key`."""
    return AUDIENCE_PREFIX + thumbprint(key)


def presentation_hash(credential: bytes) -> str:
    """`sd_hash` of an SD-JWT without key binding (`<jwt>~…~`), base64url SHA-256."""
    return base64url_encode(sha256(credential))


def build_key_binding(
    credential: bytes, *, audience: str, nonce: str, issued: int, sign: SignDigest
) -> bytes:
    """The KB-JWT over `credential` (`<jwt>~…~`), signed with the holder's `cnf` key."""
    payload = {"aud": audience, "iat": issued, "nonce": nonce, "sd_hash": presentation_hash(credential)}
    return build_jws({"typ": KEY_BINDING_TYP}, canonical_json(payload), sign)


def parse_key_binding(data: bytes) -> KeyBinding:
    """Take a KB-JWT apart; exactly iat, aud, nonce and sd_hash. Raises: LimitError, FormatError."""
    jws, payload = _parse(data)
    if set(payload) != _MEMBERS:
        raise FormatError("bad-key-binding", "a key binding has exactly iat, aud, nonce and sd_hash")
    return _binding(jws, payload)


def parse_foreign_key_binding(data: bytes) -> KeyBinding:
    """The same by a wallet of others: more members are ignored, but `nbf` and `exp` are read.

    Raises: LimitError, FormatError.
    """
    jws, payload = _parse(data)
    if not set(payload) >= _MEMBERS:
        raise FormatError("bad-key-binding", "a key binding has iat, aud, nonce and sd_hash")
    times = (_instant(payload[name]) if name in payload else None for name in ("nbf", "exp"))
    return _binding(jws, payload, next(times), next(times))


def _parse(data: bytes) -> tuple[Jws, dict[str, JSON]]:
    jws = parse_jws(data, typ=KEY_BINDING_TYP, max_bytes=MAX_KEY_BINDING_BYTES)
    return jws, jws.payload_object()


def _binding(
    jws: Jws, payload: dict[str, JSON], not_before: int | None = None, expires: int | None = None
) -> KeyBinding:
    issued = _instant(payload["iat"])
    texts = [payload[name] for name in ("aud", "nonce", "sd_hash")]
    if not all(isinstance(text, str) and text and text.isascii() for text in texts):
        raise FormatError("bad-key-binding", "aud, nonce and sd_hash are ASCII text")
    audience, nonce, digest = texts
    return KeyBinding(jws, issued, audience, nonce, digest, not_before, expires)


def _instant(value: JSON) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 40:
        raise FormatError("bad-key-binding", "iat, nbf and exp are times")
    return value
