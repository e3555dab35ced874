"""Private keys and channel tokens in files that only their process may read: written once, 0600, in a 0700
directory.

A file that lies open to others is refused, and none is ever written over: a key changes on purpose or not at
all. This module knows no purposes: `pki` and the signer's settings do.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from app.sealing.errors import KeyUnusableError

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def create_key_directory(path: Path) -> None:
    """Make `path` (and its parents) with mode 0700. Raises: KeyUnusableError if it is open to others."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_open(path)


def create_private_file(path: Path, content: bytes) -> None:
    """Write a new file with mode 0600, durably. Raises: KeyUnusableError if it exists."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError as error:
        raise KeyUnusableError("file-exists", path.name) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_private_key(path: Path, key: PrivateKey) -> None:
    """A key as unencrypted PKCS#8 PEM in a new 0600 file. Raises: KeyUnusableError."""
    create_private_file(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def read_private_key(path: Path) -> PrivateKey:
    """A P-256 or Ed25519 key from its file. Raises: KeyUnusableError."""
    content = read_private_file(path)
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise KeyUnusableError("bad-key-file", path.name) from error
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    raise KeyUnusableError("bad-key-file", path.name)


def read_private_file(path: Path) -> bytes:
    """The content of a file that only its owner may read. Raises: KeyUnusableError."""
    try:
        _refuse_open(path)
        return path.read_bytes()
    except OSError as error:
        raise KeyUnusableError("no-key-file", path.name) from error


def create_token(path: Path) -> None:
    """A new channel token (256 random bits, base64url) in a 0600 file. Raises: KeyUnusableError."""
    create_private_file(path, secrets.token_urlsafe(32).encode("ascii") + b"\n")


def _refuse_open(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        raise KeyUnusableError("file-open-to-others", path.name)
