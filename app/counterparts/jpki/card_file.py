"""The file of a software card (模擬/MOCK): what is on the card, held by one reader at a time, stored whole.

One JSON object, 0600: `card` (the mock's own id), `carrier` ("card" or "phone"; a card if absent), `mock`, `v` 1,
and for each kind of certificate `authority`, `certificate` and `key` (DER, base64), `password` and `tries`. The
file stands for the chip, so the keys and passwords lie in it openly: it never holds anybody's real ones.

Storing replaces the file and syncs file and directory before it returns: neither a killed process nor a
pulled plug brings a try back. The lock goes over to the new file, so that a second reader waits until the
first one is closed.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization

from app.counterparts.jpki.authority import IssuedCard
from app.counterparts.jpki.errors import JpkiError
from app.counterparts.jpki.profiles import CARRIERS
from verifier.errors import FormatError
from verifier.formats.encoding import base64_decode, base64_encode, canonical_json, parse_json

MAX_FILE: Final = 64 << 10
PICTURE_BYTES: Final = 32
MAX_TRIES: Final = {"signature": 5, "authentication": 3}


class CardFile:
    """The open file. `content` is what is stored; it is changed by `store_entry` only."""

    def __init__(self, path: Path) -> None:
        """Wait for the card and open it. Raises: JpkiError("no-card"), JpkiError("bad-card")."""
        self._path = path
        try:
            self._descriptor = _open_locked(path)
        except OSError as error:
            raise JpkiError("no-card", "the card file cannot be opened") from error
        try:
            raw = os.pread(self._descriptor, MAX_FILE + 1, 0)
            self.content: dict[str, Any] = _checked(raw)
        except (FormatError, OSError, KeyError, TypeError, ValueError) as error:
            self.close()
            raise JpkiError("bad-card", "not a card file") from error

    def close(self) -> None:
        """Let the next reader have it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def store_entry(self, kind: str, **changes: object) -> None:
        """Change members of one kind's entry, on the disk first. Raises: OSError, and nothing has changed."""
        if self._descriptor < 0:
            raise OSError("the card is not in the reader")
        content = self.content | {kind: self.content[kind] | changes}
        try:
            descriptor = write_whole(self._path, content)
        except OSError:
            # Whether the new file took the old one's place is not known: this reader stores nothing more.
            self.close()
            raise
        os.close(self._descriptor)
        self._descriptor = descriptor
        self.content = content


def write_card(
    path: Path, issued: IssuedCard, authorities: dict[str, bytes], *, signature_password: str | None, pin: str
) -> None:
    """Make the card file. `authorities`: DER by kind. Raises: JpkiError for passwords no card would take."""
    if issued.signature is not None and not is_password("signature", signature_password or ""):
        raise JpkiError("bad-password", "6 to 16 characters A-Z and 0-9, at least one of each")
    if not is_password("authentication", pin):
        raise JpkiError("bad-password", "four digits")
    content: dict[str, Any] = {"card": issued.card, "carrier": issued.carrier, "mock": "模擬/MOCK", "v": 1}
    if issued.carrier == "card":
        # The mock face check compares pictures of 32 bytes: nobody's face is ever here.
        content["picture"] = base64_encode(os.urandom(PICTURE_BYTES))
    for kind, entry, word in (
        ("signature", issued.signature, signature_password),
        ("authentication", issued.authentication, pin),
    ):
        if entry is None:
            continue
        der = entry.key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        content[kind] = {
            "authority": base64_encode(authorities[kind]),
            "certificate": base64_encode(entry.certificate.public_bytes(serialization.Encoding.DER)),
            "key": base64_encode(der),
            "password": word,
            "tries": MAX_TRIES[kind],
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(write_whole(path, content))


def is_password(kind: str, word: str) -> bool:
    """What a card takes: four digits, or 6 to 16 of A-Z and 0-9 with at least one of each."""
    if kind == "authentication":
        return len(word) == 4 and word.isascii() and word.isdigit()
    allowed = word.isascii() and word.isalnum() and word == word.upper() and 6 <= len(word) <= 16
    return allowed and any(c.isdigit() for c in word) and any(c.isalpha() for c in word)


def write_whole(path: Path, content: dict[str, Any]) -> int:
    """Replace the file and sync it; returns the new file's descriptor, locked. Raises: OSError."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        data = canonical_json(content)
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
        temporary.replace(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open_locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Whoever held the lock may have replaced the file: then this one is the old card.
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _checked(raw: bytes) -> dict[str, Any]:
    """The content, if every member has the form that the card relies on."""
    if len(raw) > MAX_FILE:
        raise ValueError("too large")
    content = parse_json(raw)
    if not isinstance(content, dict) or content["v"] != 1 or not isinstance(content["card"], str):
        raise ValueError("not version 1")
    if "authentication" not in content or content.get("carrier", "card") not in CARRIERS:
        raise ValueError("no authentication entry, or no known carrier")
    # Cards made before there was a face check have no picture.
    if "picture" in content and len(base64_decode(content["picture"])) != PICTURE_BYTES:
        raise ValueError("picture")
    for kind, most in MAX_TRIES.items():
        if kind not in content:
            continue
        entry = content[kind]
        for name in ("authority", "certificate", "key"):
            if not isinstance(entry[name], str):
                raise ValueError(name)
            base64_decode(entry[name])
        if not isinstance(entry["password"], str) or not entry["password"].isascii():
            raise ValueError("password")
        if type(entry["tries"]) is not int or not 0 <= entry["tries"] <= most:
            raise ValueError("tries")
    return content
