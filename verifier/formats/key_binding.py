"""The key binding JWT: the holder's phone binds a credential to one request of one recipient.

Source: RFC 9901 section 4.3 (form) and 7.3 (check). aud = "urn:akashi:recipient:" + thumbprint of the
recipient's first encryption key; nonce = base64url SHA-256 of the request descriptor; sd_hash over the SD-JWT
up to its last "~".
This module compares nothing with a request or a clock: `verifier.checks.holder` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from verifier.errors import FormatError
from verifier.formats.encoding import base64url_encode, canonical_json, sha256
from verifier.formats.jose import Jws, SignDigest, build_jws, parse_jws, thumbprint
from verifier.formats.names import KEY_BINDING_TYP

AUDIENCE_PREFIX: Final = "urn:akashi:recipient:"
MAX_KEY_BINDING_BYTES: Final = 16 << 10


@dataclass(frozen=True, slots=True)
class KeyBinding:
    """A KB-JWT taken apart, unverified; `issued` in Unix seconds, `sd_hash` base64url."""

    jws: Jws
    issued: int
    audience: str
    nonce: str
    sd_hash: str


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
    jws = parse_jws(data, typ=KEY_BINDING_TYP, max_bytes=MAX_KEY_BINDING_BYTES)
    payload = jws.payload_object()
    if set(payload) != {"iat", "aud", "nonce", "sd_hash"}:
        raise FormatError("bad-key-binding", "a key binding has exactly iat, aud, nonce and sd_hash")
    issued = payload["iat"]
    texts = [payload[name] for name in ("aud", "nonce", "sd_hash")]
    if not isinstance(issued, int) or isinstance(issued, bool) or not 0 <= issued < 1 << 40:
        raise FormatError("bad-key-binding", "iat is not a time")
    if not all(isinstance(text, str) and text and text.isascii() for text in texts):
        raise FormatError("bad-key-binding", "aud, nonce and sd_hash are ASCII text")
    return KeyBinding(jws, issued, *texts)
