"""Compact JWE with direct key agreement: how wallets of others encrypt to us, and we to them.

Sources: RFC 7516 section 7.1 (five parts), RFC 7518 section 4.6 (ECDH-ES on P-256, direct), section 5.3 (A128GCM,
A256GCM); OpenID4VP 1.0 section 8.3 (`direct_post.jwt`), OpenID4VCI 1.0 section 10. Nothing else is accepted: no other
algorithm, no `zip`, no `crit`, no key by address. apu and apv are taken into the derivation where a sender gives them.
Unlike our own package (`package`) these texts come from programs of others, so unknown header members are ignored.
This module opens nothing by itself: the caller lends the key agreement, so a key may stay in a signer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash

from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import (
    JSON,
    base64url_decode,
    base64url_encode,
    canonical_json,
    parse_json,
)
from verifier.formats.jose import format_jwk, parse_jwk
from verifier.formats.package import KeyAgreement

ALGORITHM: Final = "ECDH-ES"
ENCRYPTIONS: Final[Mapping[str, int]] = {"A128GCM": 16, "A256GCM": 32}
"""Content encryption → size of its key in bytes."""
MAX_JWE_BYTES: Final = 1 << 20
MAX_HEADER_BYTES: Final = 8 << 10
MAX_PARTY_INFO: Final = 512

_IV_SIZE: Final = 12
_TAG_SIZE: Final = 16
_JWK_MEMBERS: Final = ("crv", "kty", "x", "y")
_PARTIES: Final = ("apu", "apv")
_FORBIDDEN_HEADERS: Final = ("crit", "zip", "jku", "x5u", "p2c", "p2s")


@dataclass(frozen=True, slots=True)
class CompactJwe:
    """A compact JWE taken apart, still closed. header: parsed, authenticated only when it opens; kid may be None."""

    header: Mapping[str, JSON]
    protected: bytes
    enc: str
    kid: str | None
    epk: ec.EllipticCurvePublicKey
    iv: bytes
    ciphertext: bytes
    tag: bytes


def encrypt_compact(
    plaintext: bytes,
    key: ec.EllipticCurvePublicKey,
    *,
    enc: str = "A256GCM",
    header: Mapping[str, JSON] | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """`plaintext` to one P-256 key with a fresh ephemeral one. `header`: more members, such as kid, typ or cty.

    Raises: FormatError("bad-enc" | "bad-jwk" | "bad-jwe-header"), LimitError("jwe-too-large").
    """
    if enc not in ENCRYPTIONS:
        raise FormatError("bad-enc", "A128GCM or A256GCM")
    if not isinstance(key.curve, ec.SECP256R1):
        raise FormatError("bad-jwk", "not a P-256 key")
    if refused := [name for name in (*_FORBIDDEN_HEADERS, *_PARTIES) if name in (header or {})]:
        # What we would not open, or what would have to go into the derivation.
        raise FormatError("bad-jwe-header", f"header {refused[0]} is not written")
    ephemeral = ec.generate_private_key(ec.SECP256R1())
    protected_header = {
        **(header or {}),
        "alg": ALGORITHM,
        "enc": enc,
        "epk": format_jwk(ephemeral.public_key()),
    }
    protected = base64url_encode(canonical_json(protected_header)).encode("ascii")
    content_key = _content_key(ephemeral.exchange(ec.ECDH(), key), enc, b"", b"")
    iv = random(_IV_SIZE)
    sealed = AESGCM(content_key).encrypt(iv, plaintext, protected)
    parts = (iv, sealed[:-_TAG_SIZE], sealed[-_TAG_SIZE:])
    data = b".".join([protected, b"", *(base64url_encode(part).encode("ascii") for part in parts)])
    if len(data) > MAX_JWE_BYTES:
        raise LimitError("jwe-too-large", f"more than {MAX_JWE_BYTES} bytes")
    return data


def parse_compact_jwe(data: bytes | str, *, max_bytes: int = MAX_JWE_BYTES) -> CompactJwe:
    """Take a compact JWE apart. Raises: LimitError, FormatError."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else bytes(data)
    if len(raw) > max_bytes:
        raise LimitError("jwe-too-large", f"more than {max_bytes} bytes")
    parts = raw.split(b".")
    if len(parts) != 5 or not raw.isascii():
        raise FormatError("bad-jwe", "a compact JWE has five parts")
    if parts[1]:
        raise FormatError("bad-jwe", "with direct key agreement there is no encrypted key")
    if len(parts[0]) > MAX_HEADER_BYTES:
        raise LimitError("jwe-header-too-large", f"more than {MAX_HEADER_BYTES} bytes")
    header_raw, iv, ciphertext, tag = (
        base64url_decode(parts[place].decode("ascii")) for place in (0, 2, 3, 4)
    )
    header = parse_json(header_raw)
    if not isinstance(header, dict):
        raise FormatError("bad-jwe-header", "the header is not a JSON object")
    if header.get("alg") != ALGORITHM:
        raise FormatError("bad-alg", "only ECDH-ES is accepted")
    enc, kid, epk = header.get("enc"), header.get("kid"), header.get("epk")
    if not isinstance(enc, str) or enc not in ENCRYPTIONS:
        raise FormatError("bad-enc", "only A128GCM and A256GCM are accepted")
    if forbidden := [name for name in _FORBIDDEN_HEADERS if name in header]:
        raise FormatError("bad-jwe-header", f"header {forbidden[0]} is not accepted")
    if kid is not None and (not isinstance(kid, str) or not 1 <= len(kid) <= 256):
        raise FormatError("bad-jwe-header", "kid is a short text")
    if not isinstance(epk, dict) or "d" in epk:
        raise FormatError("bad-jwk", "epk is a public key")
    if len(iv) != _IV_SIZE or len(tag) != _TAG_SIZE:
        raise FormatError("bad-jwe", "iv has 12 bytes, tag 16")
    key = parse_jwk({name: epk[name] for name in _JWK_MEMBERS if name in epk})
    return CompactJwe(header, parts[0], enc, kid, key, iv, ciphertext, tag)


def open_compact(data: bytes | str, agree: KeyAgreement, *, max_bytes: int = MAX_JWE_BYTES) -> bytes:
    """The plaintext; `agree` performs the ECDH with our key. Which key that is, `parse_compact_jwe` tells by kid.

    Raises: LimitError, FormatError, FormatError("decryption-failed"). What `agree` raises goes through.
    """
    jwe = parse_compact_jwe(data, max_bytes=max_bytes)
    apu, apv = (_party(jwe.header.get(name)) for name in _PARTIES)
    content_key = _content_key(agree(jwe.epk), jwe.enc, apu, apv)
    try:
        return AESGCM(content_key).decrypt(jwe.iv, jwe.ciphertext + jwe.tag, jwe.protected)
    except (InvalidTag, ValueError) as error:
        raise FormatError("decryption-failed", "the text was altered, or the key is another one") from error


def _content_key(shared: bytes, enc: str, apu: bytes, apv: bytes) -> bytes:
    # RFC 7518 section 4.6.2: with direct agreement the AlgorithmID is the content encryption.
    size = ENCRYPTIONS[enc]
    fields = (enc.encode("ascii"), apu, apv)
    info = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    info += (size * 8).to_bytes(4, "big")
    return ConcatKDFHash(hashes.SHA256(), length=size, otherinfo=info).derive(shared)


def _party(value: JSON) -> bytes:
    if value is None:
        return b""
    if not isinstance(value, str) or len(value) > MAX_PARTY_INFO:
        raise FormatError("bad-jwe-header", "apu and apv are short base64url texts")
    return base64url_decode(value)
