"""The terminal side of a card: what a phone does over NFC, as calls. Works on anything with `transmit`.

Fits `mobile_api.client.Card`. A wrong password is tried once and counted by the card; nothing here tries
again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from app.counterparts.jpki import card as card_file
from app.counterparts.jpki.card import SoftwareCard, digest_info
from app.counterparts.jpki.errors import CardError, CardLocked, WrongPin
from mobile_api.client import CardSignature

_CHUNK: Final = 0xF0
_PIN_FILES: Final = {
    "signature": card_file.SIGNATURE_PIN,
    "authentication": card_file.AUTHENTICATION_PIN,
}
_KEY_FILES: Final = {
    "signature": card_file.SIGNATURE_KEY,
    "authentication": card_file.AUTHENTICATION_KEY,
}
_CERTIFICATE_FILES: Final = {
    "signature": card_file.SIGNATURE_CERTIFICATE,
    "authentication": card_file.AUTHENTICATION_CERTIFICATE,
}


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
        """Tries left for "signature" or "authentication"; costs none."""
        with self._session() as connection:
            select_file(connection, _PIN_FILES[kind])
            word = _exchange(connection, bytes.fromhex("00200080"))[1]
        return word & 0x0F if word & 0xFFF0 == 0x63C0 else 0

    def _sign(self, kind: str, password: str, data: bytes) -> CardSignature:
        with self._session() as connection:
            verify_pin(connection, kind, password)
            select_file(connection, _CERTIFICATE_FILES[kind])
            certificate = read_file(connection)
            select_file(connection, _KEY_FILES[kind])
            info = digest_info(hashlib.sha256(data).digest())
            signature = _good(connection, bytes.fromhex("802A0080") + bytes([len(info)]) + info + b"\x00")
        return CardSignature(certificate, signature)

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        with SoftwareCard(self._path) as connection:
            _good(connection, bytes.fromhex("00A4040C0A") + card_file.JPKI_AID)
            yield connection


def select_file(connection: Connection, identifier: int) -> None:
    """SELECT EF. Raises CardError."""
    _good(connection, bytes.fromhex("00A4020C02") + identifier.to_bytes(2, "big"))


def verify_pin(connection: Connection, kind: str, password: str) -> None:
    """VERIFY, once. Raises: WrongPin, CardLocked, CardError."""
    select_file(connection, _PIN_FILES[kind])
    word = _exchange(
        connection, bytes.fromhex("00200080") + bytes([len(password)]) + password.encode("ascii")
    )[1]
    if word & 0xFFF0 == 0x63C0:
        raise WrongPin(word & 0x0F)
    if word in (card_file.BLOCKED, 0x6984):
        raise CardLocked
    if word != card_file.OK:
        raise CardError("card-refused", f"VERIFY answered {word:04X}", word)


def read_file(connection: Connection) -> bytes:
    """READ BINARY of the selected file until its end. Raises CardError."""
    content = b""
    while True:
        part = _good(connection, bytes([0x00, 0xB0, len(content) >> 8, len(content) & 0xFF, _CHUNK]))
        content += part
        if len(part) < _CHUNK:
            return content


def _good(connection: Connection, command: bytes) -> bytes:
    data, word = _exchange(connection, command)
    if word != card_file.OK:
        raise CardError("card-refused", f"instruction {command[1]:02X} answered {word:04X}", word)
    return data


def _exchange(connection: Connection, command: bytes) -> tuple[bytes, int]:
    answer = connection.transmit(command)
    return answer[:-2], int.from_bytes(answer[-2:], "big")
