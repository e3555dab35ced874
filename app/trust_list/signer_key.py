"""A trust-list signer's own key: one Ed25519 key in a file of mode 0600, with a passphrase or without.

It belongs to a person, not to the city: no process of the city reads it, and it signs nothing but trust lists.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from app.sealing.key_files import create_private_file, read_private_file
from app.trust_list.draft import DraftError


def create_signer_key(path: Path, passphrase: bytes | None) -> Ed25519PrivateKey:
    """A new key in a new file, its public half beside it in `<file>.pub`. None = without a passphrase.

    Raises: KeyUnusableError if the file exists, OSError.
    """
    key = Ed25519PrivateKey.generate()
    protection: KeySerializationEncryption = NoEncryption()
    if passphrase is not None:
        protection = BestAvailableEncryption(passphrase)
    create_private_file(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection))
    public = path.with_name(path.name + ".pub")
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return key


def is_protected(path: Path) -> bool:
    """Whether the file needs a passphrase. Raises: KeyUnusableError."""
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in read_private_file(path)


def read_signer_key(path: Path, passphrase: bytes | None) -> Ed25519PrivateKey:
    """Raises: KeyUnusableError, DraftError("unknown-key", "wrong-passphrase")."""
    try:
        key = load_pem_private_key(read_private_file(path), passphrase)
    except (ValueError, TypeError) as error:
        raise DraftError("wrong-passphrase", f"{path.name} does not open") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise DraftError("unknown-key", "a signer's key is Ed25519")
    return key


def raw_public_key(key: Ed25519PrivateKey) -> bytes:
    """32 bytes."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
