"""Challenges for the key proofs of wallets (`c_nonce`, OpenID4VCI 1.0 section 7), made without writing anything down.

A challenge says until when it counts, and a MAC by the city's key of the day says who made it: the street door hands it
out, the city believes it. That it counts once is not decided here: who accepts one stores `nonce_digest` in a table of
its own, in one statement, until the challenge is over. This module is pure: no clock, no store, no random source.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from verifier.errors import FormatError
from verifier.formats.encoding import (
    JSON,
    base64url_decode,
    base64url_encode,
    canonical_json,
    parse_json,
    sha256,
)

KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 4
RANDOM_BYTES: Final = 16
NONCE_CHARACTERS: Final = 80
MAX_LIFE: Final = 3600
MAX_KEY_LIFE: Final = 7 * 86400
MAX_DOCUMENT: Final = 1024
DPOP_LABEL: Final = b"akashi/dpop-nonce/v1"

_MAC_BYTES: Final = 32
_SIGNED_BYTES: Final = 8 + RANDOM_BYTES + KEY_ID_BYTES
_MAX_SECONDS: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class NonceKey:
    """One of the city's MAC keys. Challenges are made with it from `begin` to `end` (Unix seconds)."""

    key_id: bytes
    key: bytes
    begin: int
    end: int

    def __repr__(self) -> str:
        # The key is a secret: it must not get into a log by way of a printed object.
        return f"NonceKey(key_id={self.key_id.hex()}, begin={self.begin}, end={self.end})"

    def for_dpop(self) -> NonceKey:
        """The key for challenges of DPoP proofs (RFC 9449 section 8), so that neither kind passes as the other."""
        return NonceKey(self.key_id, hmac.digest(self.key, DPOP_LABEL, hashlib.sha256), self.begin, self.end)


def make_nonce(key: NonceKey, now: int, life: int, random: Callable[[int], bytes]) -> str:
    """A challenge that counts for `life` seconds (1 to MAX_LIFE) from `now` (Unix seconds): 80 characters."""
    if not 0 < life <= MAX_LIFE:
        raise FormatError("bad-nonce-life", f"1 to {MAX_LIFE} seconds")
    signed = (now + life).to_bytes(8, "big") + random(RANDOM_BYTES) + key.key_id
    return base64url_encode(signed + hmac.digest(key.key, signed, hashlib.sha256))


def check_nonce(text: str, keys: Iterable[NonceKey], now: int) -> int:
    """Until when this challenge counts, if one of `keys` made it and it is not over.

    Raises: FormatError("bad-nonce" | "unknown-nonce-key" | "nonce-expired"): all three are `invalid_nonce`.
    """
    if len(text) != NONCE_CHARACTERS:
        raise FormatError("bad-nonce", "not a challenge of this house")
    data = base64url_decode(text)
    signed, mac = data[:_SIGNED_BYTES], data[_SIGNED_BYTES:]
    key_id = signed[-KEY_ID_BYTES:]
    known = [key for key in keys if key.key_id == key_id]
    if not known:
        raise FormatError("unknown-nonce-key", "made with a key that is not used any more")
    if not any(hmac.compare_digest(hmac.digest(key.key, signed, hashlib.sha256), mac) for key in known):
        raise FormatError("bad-nonce", "not made by this house")
    expiry = int.from_bytes(signed[:8], "big")
    if not now < expiry <= now + MAX_LIFE:
        raise FormatError("nonce-expired", "the challenge is over")
    return expiry


def nonce_digest(text: str) -> str:
    """What is stored of a used challenge: SHA-256, base64url. Only after `check_nonce`, which knows one form."""
    return base64url_encode(sha256(b"akashi/wallet-nonce\x00" + text.encode("utf-8")))


def newest_key(keys: Iterable[NonceKey], now: int) -> NonceKey | None:
    """The key to make challenges with now: of those of today the one that began last. None: there is none."""
    current = [key for key in keys if key.begin <= now < key.end]
    return max(current, key=lambda key: key.begin, default=None)


def format_nonce_key(key: NonceKey) -> bytes:
    """The document {"from","key","key_id","until"} by which the city tells the street door."""
    return canonical_json(
        {
            "from": key.begin,
            "key": base64url_encode(key.key),
            "key_id": base64url_encode(key.key_id),
            "until": key.end,
        }
    )


def parse_nonce_key(data: bytes) -> NonceKey:
    """Inverse of `format_nonce_key`. Raises: FormatError, LimitError."""
    value = parse_json(data, max_bytes=MAX_DOCUMENT)
    if not isinstance(value, dict) or set(value) != {"from", "key", "key_id", "until"}:
        raise FormatError("bad-nonce-key", "members are from, key, key_id, until")
    begin, end = (_seconds(value[name]) for name in ("from", "until"))
    if not begin < end <= begin + MAX_KEY_LIFE:
        raise FormatError("bad-nonce-key", f"a key is used for at most {MAX_KEY_LIFE} seconds")
    key_id, key = _bytes(value["key_id"], KEY_ID_BYTES), _bytes(value["key"], KEY_BYTES)
    return NonceKey(key_id, key, begin, end)


def _bytes(value: JSON, size: int) -> bytes:
    if not isinstance(value, str) or len(data := base64url_decode(value)) != size:
        raise FormatError("bad-nonce-key", f"{size} bytes in base64url expected")
    return data


def _seconds(value: JSON) -> int:
    if type(value) is not int or not 0 <= value < _MAX_SECONDS:
        raise FormatError("bad-nonce-key", "Unix seconds expected")
    return value
