"""The mock provider's own secrets (模擬/MOCK): the ES256 key of its ID tokens and the key of its pairwise subjects.

Both are made at the first start, in files that only the provider may read, and never changed afterwards: a changed
pairwise key would make every person a stranger to every service.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from app.sealing.errors import KeyUnusableError
from app.sealing.key_files import (
    create_key_directory,
    create_private_file,
    read_private_file,
    read_private_key,
    write_private_key,
)
from verifier.formats.encoding import JSON, base64url_encode
from verifier.formats.jose import format_jwk, thumbprint

SIGNING_FILE: Final = "id-token.key.pem"
PAIRWISE_FILE: Final = "pairwise.key"
PAIRWISE_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class ProviderKeys:
    """signing: P-256; pairwise: 32 bytes. `key_id` is the RFC 7638 thumbprint."""

    signing: ec.EllipticCurvePrivateKey = field(repr=False)
    pairwise: bytes = field(repr=False)

    @property
    def key_id(self) -> str:
        """43 characters."""
        return thumbprint(self.signing.public_key())

    def jwks(self) -> dict[str, JSON]:
        """The public key as a JWK set (RFC 7517)."""
        jwk = format_jwk(self.signing.public_key())
        return {"keys": [{**jwk, "alg": "ES256", "kid": self.key_id, "use": "sig"}]}

    def subject(self, sector: str, person: str) -> str:
        """The pairwise `sub` (43 characters): a person's key is no help to link two sectors."""
        text = f"{sector}\0{person}".encode("ascii")
        return base64url_encode(hmac.new(self.pairwise, text, hashlib.sha256).digest())


def open_keys(directory: Path) -> ProviderKeys:
    """Read the keys, or make them at the first start. Raises: KeyUnusableError."""
    create_key_directory(directory)
    signing_file, pairwise_file = directory / SIGNING_FILE, directory / PAIRWISE_FILE
    if not signing_file.exists():
        write_private_key(signing_file, ec.generate_private_key(ec.SECP256R1()))
    if not pairwise_file.exists():
        create_private_file(pairwise_file, os.urandom(PAIRWISE_BYTES))
    signing, pairwise = read_private_key(signing_file), read_private_file(pairwise_file)
    if not isinstance(signing, ec.EllipticCurvePrivateKey) or len(pairwise) != PAIRWISE_BYTES:
        raise KeyUnusableError("bad-key-file", "a key of the provider is of another kind")
    return ProviderKeys(signing, pairwise)
