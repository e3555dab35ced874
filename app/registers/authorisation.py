"""The gate-side maker of single-use authorisations: a pure function and an Ed25519 key.

Whether a digest *may* be authorised (card evidence seen, request open, serial not sealed for another digest)
is decided by the gate, before it calls here. Format and checks: `app.sealing.authorisation`.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.sealing.authorisation import JTI_BYTES, Authorisation, signing_input
from app.sealing.errors import KeyUnusableError
from app.sealing.key_files import read_private_key
from verifier.formats.encoding import base64url_encode

LIFETIME_SECONDS: Final = 120


def build_authorisation(
    key: Ed25519PrivateKey,
    *,
    purpose: str,
    digest: bytes,
    request_id: str,
    serial: str,
    now: datetime,
    random: bytes,
    lifetime: int = LIFETIME_SECONDS,
) -> Authorisation:
    """Authorise one signature over `digest` (SHA-256, 32 bytes) for one use until `now` + `lifetime` seconds.

    `random`: 16 fresh random bytes (the jti); store the jti before handing the result out. `.as_json()` is
    what travels.
    Raises: SignerError("bad-authorisation") for fields without a form.
    """
    if len(random) != JTI_BYTES:
        raise ValueError("a jti has 16 random bytes")
    jti = base64url_encode(random)
    exp = int(now.timestamp()) + lifetime
    signed = signing_input(
        jti=jti, purpose=purpose, digest=digest, request_id=request_id, serial=serial, exp=exp
    )
    return Authorisation(jti, purpose, digest, request_id, serial, exp, key.sign(signed))


def read_gate_key(path: Path) -> Ed25519PrivateKey:
    """The gate's signing key from its 0600 file. Raises: KeyUnusableError."""
    key = read_private_key(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusableError("bad-key-file", path.name)
    return key
