"""The terminal side of a card: what a phone does over NFC, as calls. It speaks APDUs and nothing else.

Fits `mobile_api.client.Card`; works on anything with `transmit`. A wrong password is tried once and counted
by the card; nothing here tries again. What no card would take as a password is not sent, so that it costs no
try; what a broken card answers becomes a CardError.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from app.counterparts.jpki import apdu, card
from app.counterparts.jpki.apdu import build_command
from app.counterparts.jpki.card import SoftwareCard, digest_info
from app.counterparts.jpki.errors import CardError, CardLocked, JpkiError, WrongPin
from app.counterparts.jpki.reset_text import CHALLENGE_BYTES
from mobile_api.client import CardSignature

MAX_FILE: Final = 16 << 10
"""Bytes of the largest file on a card; a certificate has about 2000."""
MAX_PASSWORD: Final = 16
_CHUNK: Final = 0xF0
_SIGNATURE_BYTES: Final = 256
_PIN_FILES: Final = {
    "signature": card.SIGNATURE_PIN,
    "authentication": card.AUTHENTICATION_PIN,
}
_KEY_FILES: Final = {
    "signature": card.SIGNATURE_KEY,
    "authentication": card.AUTHENTICATION_KEY,
}
_CERTIFICATE_FILES: Final = {
    "signature": card.SIGNATURE_CERTIFICATE,
    "authentication": card.AUTHENTICATION_CERTIFICATE,
}
_LOCKED: Final = (apdu.BLOCKED, 0x6984)
"""Which of the two a real card says is unconfirmed; both are understood."""


class Connection(Protocol):
    """One connection to a card."""

    def transmit(self, command: bytes) -> bytes:
        """Command APDU in, data ‖ SW1 SW2 out."""
        ...


class CardReader:
    """A card file in a reader. Each call selects the application anew, as a phone does with every touch."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def sign_document(self, password: str, data: bytes) -> CardSignature:
        """Sign with the 署名用 key. Raises: WrongPin, CardLocked, CardError, JpkiError."""
        return self._sign("signature", password, data)

    def authenticate(self, pin: str, data: bytes) -> CardSignature:
        """Sign with the 利用者証明用 key. Raises: WrongPin, CardLocked, CardError, JpkiError."""
        return self._sign("authentication", pin, data)

    def tries_left(self, kind: str) -> int:
        """Tries left for "signature" or "authentication"; costs none. Raises: CardError, JpkiError."""
        with self._session() as connection:
            select_file(connection, _PIN_FILES[kind])
            word = _exchange(connection, build_command(*card.VERIFY, 0x0080))[1]
        if word & 0xFFF0 == apdu.TRIES:
            return word & 0x0F
        if word not in _LOCKED:
            raise CardError("card-refused", f"VERIFY answered {word:04X}", word)
        return 0

    def change_password(self, kind: str, old: str, new: str) -> None:
        """Give the password and change it, as at the counter. Raises: WrongPin, CardLocked, CardError, JpkiError.

        A new password that the card does not take costs nothing: CardError with status word 6A80.
        """
        with self._session() as connection:
            verify_pin(connection, kind, old)
            _good(connection, build_command(*card.CHANGE, 0x0180, _password(new)))

    def read_picture(self, kind: str, password: str) -> tuple[str, bytes]:
        """(the mock's id of this card, its picture of 32 bytes), after one of its passwords. Raises as `authenticate`."""
        with SoftwareCard(self._path) as connection:
            _good(connection, build_command(*card.SELECT, 0x040C, card.JPKI_AID))
            verify_pin(connection, kind, password)
            select_file(connection, card.PICTURE)
            return connection.card_id, read_file(connection)

    def card_id(self) -> str:
        """The mock's own id of this card."""
        with SoftwareCard(self._path) as connection:
            return connection.card_id

    def reset_password(self, kind: str, new: str, authorise: Callable[[bytes], bytes]) -> None:
        """Set a password without the old one. `authorise`: the card's challenge (8 bytes) → signature (256 bytes).

        Raises: what `authorise` raises, and CardError when the card does not take it (then nothing has changed).
        """
        word = _password(new)
        with self._session() as connection:
            select_file(connection, _PIN_FILES[kind])
            challenge = _good(connection, build_command(*card.CHALLENGE, 0, expected=CHALLENGE_BYTES))
            signature = authorise(challenge)
            data = bytes([len(word)]) + word + signature
            _good(connection, build_command(*card.RESET, 0x0080, data))

    def _sign(self, kind: str, password: str, data: bytes) -> CardSignature:
        with self._session() as connection:
            verify_pin(connection, kind, password)
            select_file(connection, _CERTIFICATE_FILES[kind])
            certificate = read_file(connection)
            select_file(connection, _KEY_FILES[kind])
            info = digest_info(hashlib.sha256(data).digest())
            command = build_command(*card.SIGN, 0x0080, info, _SIGNATURE_BYTES)
            signature = _good(connection, command)
        return CardSignature(certificate, signature)

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        with SoftwareCard(self._path) as connection:
            _good(connection, build_command(*card.SELECT, 0x040C, card.JPKI_AID))
            yield connection


def select_file(connection: Connection, identifier: int) -> None:
    """SELECT EF. Raises CardError."""
    _good(connection, build_command(*card.SELECT, 0x020C, identifier.to_bytes(2, "big")))


def verify_pin(connection: Connection, kind: str, password: str) -> None:
    """VERIFY, once. Raises: WrongPin, CardLocked, CardError, JpkiError("bad-password") before it is sent."""
    data = _password(password)
    select_file(connection, _PIN_FILES[kind])
    word = _exchange(connection, build_command(*card.VERIFY, 0x0080, data))[1]
    if word & 0xFFF0 == apdu.TRIES:
        raise WrongPin(word & 0x0F)
    if word in _LOCKED:
        raise CardLocked
    if word != apdu.OK:
        raise CardError("card-refused", f"VERIFY answered {word:04X}", word)


def read_file(connection: Connection) -> bytes:
    """READ BINARY of the selected file, piece by piece until its end. Raises CardError."""
    content = b""
    while len(content) < MAX_FILE:
        part = _good(connection, build_command(*card.READ, len(content), expected=_CHUNK))
        content += part
        if len(part) < _CHUNK:
            return content
    raise CardError("card-file-too-large", "the file on the card has no end", apdu.OK)


def _password(word: str) -> bytes:
    # An empty VERIFY would only ask for the tries left, and look like a wrong password.
    if not word.isascii() or not 1 <= len(word) <= MAX_PASSWORD:
        raise JpkiError("bad-password", "1 to 16 ASCII characters")
    return word.encode("ascii")


def _good(connection: Connection, command: bytes) -> bytes:
    data, word = _exchange(connection, command)
    if word != apdu.OK:
        raise CardError("card-refused", f"instruction {command[1]:02X} answered {word:04X}", word)
    return data


def _exchange(connection: Connection, command: bytes) -> tuple[bytes, int]:
    answer = connection.transmit(command)
    if not 2 <= len(answer) <= 2 + _SIGNATURE_BYTES:
        raise CardError("card-answer", "the card's answer has no possible length", 0)
    return answer[:-2], int.from_bytes(answer[-2:], "big")
