"""The bearer token with which the log's publisher speaks to the street door: an ES256 JWT made for one call.

Claims htm, htu (path), body (base64url SHA-256 of the body), iat, exp (60 s), jti; `kid` is the RFC 7638
thumbprint of the key. The key needs only the scope `public` there.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from chain.errors import SettingsError
from verifier.formats.encoding import base64url_encode, sha256
from verifier.formats.jose import thumbprint

TOKEN_SECONDS: Final = 60


class CityToken:
    """Makes the Authorization header for one call (a `publisher.Authorization`)."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, clock: Callable[[], int]) -> None:
        self._key = key
        self._kid = thumbprint(key.public_key())
        self._clock = clock

    def __call__(self, method: str, path: str, body: bytes) -> str:
        now = self._clock()
        claims = {
            "htm": method,
            "htu": path,
            "body": base64url_encode(sha256(body)),
            "iat": now,
            "exp": now + TOKEN_SECONDS,
            "jti": secrets.token_urlsafe(16),
        }
        return "Bearer " + jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._kid})


def load_door_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A P-256 private key in PEM (PKCS#8, no password).

    Raises: SettingsError("bad-door-key").
    """
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError("bad-door-key", f"{path.name} is not a readable PEM key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise SettingsError("bad-door-key", f"{path.name} is not a P-256 key")
    return key
