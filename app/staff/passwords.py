"""Passwords of staff by scrypt (RFC 7914) and one-time codes by time (TOTP, RFC 6238). Pure: no store, no
clock, no file.

A stored hash names its own cost, so that the cost can rise later without locking anybody out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from typing import Final

# 32 MiB and about 0.1 s a try on one core (N·r·128 bytes).
SCRYPT_N: Final = 1 << 15
SCRYPT_R: Final = 8
SCRYPT_P: Final = 1
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
MIN_PASSWORD: Final = 12
MAX_PASSWORD: Final = 256
TOTP_STEP_SECONDS: Final = 30
TOTP_DIGITS: Final = 6
TOTP_SECRET_BYTES: Final = 20


def format_password_hash(password: str, salt: bytes) -> str:
    """`scrypt$n$r$p$salt$hash` with base64; `salt` is 16 random bytes."""
    digest = _scrypt(password, salt, SCRYPT_N, SCRYPT_R, SCRYPT_P)
    encoded = (base64.b64encode(part).decode("ascii") for part in (salt, digest))
    return "$".join(("scrypt", str(SCRYPT_N), str(SCRYPT_R), str(SCRYPT_P), *encoded))


def is_password(password: str, stored: str) -> bool:
    """Whether `password` is the one behind `stored`; a damaged hash matches nothing. Constant-time
    comparison.
    """
    if len(password) > MAX_PASSWORD:
        return False
    try:
        kind, n, r, p, salt, digest = stored.split("$")
        expected = base64.b64decode(digest, validate=True)
        made = _scrypt(password, base64.b64decode(salt, validate=True), int(n), int(r), int(p))
    except (ValueError, binascii.Error):
        return False
    return kind == "scrypt" and hmac.compare_digest(made, expected)


def is_good_password(password: str) -> bool:
    """Length only: long enough, not absurdly long (NIST SP 800-63B: no composition rules)."""
    return MIN_PASSWORD <= len(password) <= MAX_PASSWORD


def build_totp(secret: bytes, step: int) -> str:
    """The six-digit code of time step `step` (Unix seconds // 30), HMAC-SHA-1 as apps expect."""
    mac = hmac.new(secret, struct.pack(">Q", step), hashlib.sha1).digest()
    start = mac[-1] & 0x0F
    (number,) = struct.unpack(">I", mac[start : start + 4])
    return str((number & 0x7FFFFFFF) % 10**TOTP_DIGITS).zfill(TOTP_DIGITS)


def find_totp_step(secret: bytes, code: str, now: int) -> int | None:
    """The step `code` belongs to, one step of clock drift each way allowed, or None."""
    found = None
    current = now // TOTP_STEP_SECONDS
    for step in (current - 1, current, current + 1):
        # No early exit: the time taken does not tell which step matched.
        if hmac.compare_digest(build_totp(secret, step).encode(), code.encode()):
            found = step
    return found


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    if min(n, r, p) < 1 or n * r * p > SCRYPT_N * SCRYPT_R * 8:
        raise ValueError("cost out of range")
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"),
        salt=salt,
        n=n,
        r=r,
        p=p,
        maxmem=256 << 20,
        dklen=HASH_BYTES,
    )
