"""The desk's key file: two P-256 private keys as PKCS#8 PEM, for decryption first, then for signing.

Both blocks may be protected by one passphrase. A file with one block opens packages but signs no requests.
Line ends of Windows and text around the blocks are tolerated; other key types are not.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from verifier.errors import FormatError, LimitError, UsageError
from verifier.formats.jose import thumbprint

MAX_KEY_FILE_BYTES: Final = 16 << 10
SCALAR_SIZE: Final = 32
_BLOCK: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]+-----END [A-Z ]*PRIVATE KEY-----")


@dataclass(frozen=True, slots=True)
class DeskKeys:
    """The keys of an employer's desk; `signing` None = the file holds only the key that opens packages."""

    encryption: ec.EllipticCurvePrivateKey
    signing: ec.EllipticCurvePrivateKey | None = None

    @property
    def kid(self) -> str:
        """Thumbprint of the encryption key."""
        return thumbprint(self.encryption.public_key())

    def for_signing(self) -> ec.EllipticCurvePrivateKey:
        """Raises: UsageError("no-signing-key")."""
        if self.signing is None:
            raise UsageError("no-signing-key", "the key file holds no key that signs; make one with `keygen`")
        return self.signing


def generate_desk_keys() -> DeskKeys:
    """Two fresh keys."""
    return DeskKeys(ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1()))


def format_desk_keys(keys: DeskKeys, passphrase: bytes | None = None) -> bytes:
    """The key file; encrypted if there is a passphrase."""
    protection: KeySerializationEncryption = (
        BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    )
    present = [keys.encryption] if keys.signing is None else [keys.encryption, keys.signing]
    return b"".join(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection) for key in present)


def is_encrypted(data: bytes) -> bool:
    """Whether a passphrase is needed."""
    return b"BEGIN ENCRYPTED PRIVATE KEY" in data


def parse_desk_keys(data: bytes, passphrase: bytes | None = None) -> DeskKeys:
    """Raises: LimitError, FormatError("bad-key-file" | "passphrase")."""
    if len(data) > MAX_KEY_FILE_BYTES:
        raise LimitError("key-file-too-large", f"more than {MAX_KEY_FILE_BYTES} bytes")
    blocks = _BLOCK.findall(data.replace(b"\r\n", b"\n"))
    if not 1 <= len(blocks) <= 2:
        raise FormatError("bad-key-file", "a key file holds one or two private keys")
    keys = [_load(block, passphrase) for block in blocks]
    return DeskKeys(keys[0], keys[1] if len(keys) == 2 else None)


def private_key_scalar(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A P-256 private key as 32 bytes, for sealing it into something else."""
    return key.private_numbers().private_value.to_bytes(SCALAR_SIZE, "big")


def load_private_key_scalar(scalar: bytes) -> ec.EllipticCurvePrivateKey:
    """Inverse of `private_key_scalar`. Raises: FormatError("bad-key")."""
    if len(scalar) != SCALAR_SIZE:
        raise FormatError("bad-key", "a P-256 private key has 32 bytes")
    try:
        return ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())
    except ValueError as error:
        raise FormatError("bad-key", "not a private key of P-256") from error


def write_key_file(path: Path, data: bytes) -> None:
    """Write a new key file, readable by its owner only where the system knows that; never overwrites.

    Raises: UsageError("file-exists" | "cannot-write").
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # a request that was posted and whose key was lost could not be answered
        with contextlib.suppress(OSError, NotImplementedError):
            path.chmod(0o600)
    except FileExistsError as error:
        raise UsageError("file-exists", f"{path.name} exists and is not overwritten") from error
    except OSError as error:
        raise UsageError("cannot-write", f"{path.name}: {error.strerror}") from error


def _load(block: bytes, passphrase: bytes | None) -> ec.EllipticCurvePrivateKey:
    encrypted = is_encrypted(block)
    try:
        key = load_pem_private_key(block, passphrase if encrypted else None)
    except (ValueError, TypeError) as error:
        if encrypted:
            raise FormatError("passphrase", "the passphrase is missing or wrong") from error
        raise FormatError("bad-key-file", "not a PKCS#8 private key") from error
    except Exception as error:  # the backend's own unsupported-algorithm errors
        raise FormatError("bad-key-file", "not a key that this program knows") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise FormatError("bad-key-file", "not a P-256 key")
    return key
