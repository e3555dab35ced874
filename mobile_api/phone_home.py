"""The phone's own directory: two device keys, one state file, packages. Every write is whole or not there.

One process at a time (a lock file). Files are 0600, directories 0700. Keys lie there in the clear: this is
the reference phone, not a product; a real phone keeps them in its keystore.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from mobile_api.errors import StateError
from verifier.errors import FormatError
from verifier.formats.encoding import canonical_json, parse_json

VERSION: Final = 1
MAX_STATE_BYTES: Final = 8 << 20


class PhoneHome:
    """An opened state directory. `state` is plain JSON data; `save` writes it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory = directory
        self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise StateError("in-use", "another process uses this phone") from error
        try:
            for name in ("outbox", "packages"):
                (directory / name).mkdir(exist_ok=True, mode=0o700)
            self.state: dict[str, Any] = self._load()
            self.signing_key = self._key("signing")
            self.encryption_key = self._key("encryption")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let another process use the directory."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def save(self) -> None:
        """Write the state durably."""
        self.write("state.json", canonical_json(self.state))

    def write(self, name: str, content: bytes) -> Path:
        """Write a file below the directory whole and durably."""
        path = self.directory / name
        temporary = path.with_name(path.name + ".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return path

    def read(self, name: str) -> bytes | None:
        """A file below the directory; None when it is not there."""
        try:
            return (self.directory / name).read_bytes()
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Delete a file if it is there."""
        (self.directory / name).unlink(missing_ok=True)

    def _load(self) -> dict[str, Any]:
        data = self.read("state.json")
        if data is None:
            return {
                "account": None,
                "cursor": 0,
                "distrusted": [],
                "history": [],
                "messages": {},
                "notices": [],
                "registration": None,
                "requests": {},
                "seen": [],
                "submissions": {},
                "v": VERSION,
            }
        try:
            value = parse_json(data, max_bytes=MAX_STATE_BYTES)
        except FormatError as error:
            raise StateError("damaged", "state.json is not readable") from error
        if not isinstance(value, dict) or value.get("v") != VERSION:
            raise StateError("other-version", "state.json is of another version")
        return value

    def _key(self, purpose: str) -> ec.EllipticCurvePrivateKey:
        name = f"{purpose}-key.pem"
        data = self.read(name)
        if data is None:
            if self.state["account"] is not None:
                raise StateError("key-missing", f"{name} is gone; this account can no longer be used")
            key = ec.generate_private_key(ec.SECP256R1())
            self.write(name, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            return key
        try:
            loaded = load_pem_private_key(data, None)
        except ValueError as error:
            raise StateError("damaged", f"{name} is not readable") from error
        if not isinstance(loaded, ec.EllipticCurvePrivateKey) or not isinstance(loaded.curve, ec.SECP256R1):
            raise StateError("damaged", f"{name} is no P-256 key")
        return loaded
