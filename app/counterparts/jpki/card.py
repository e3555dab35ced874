"""A software card (模擬/MOCK): a file (0600) that answers APDUs like the JPKI application of a My Number
Card.

Commands (facts: JPKI AP): SELECT by AID and by file id, VERIFY, CHANGE REFERENCE DATA, READ BINARY, COMPUTE
DIGITAL SIGNATURE. Password counters (5 for the signature password, 3 for the four digits) are written to
the file before a try is compared, so that pulling the plug gives no extra try; a success resets them.
"""

from __future__ import annotations

import fcntl
import hmac
import os
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from app.counterparts.jpki.authority import IssuedCard
from app.counterparts.jpki.errors import JpkiError
from verifier.errors import FormatError
from verifier.formats.encoding import base64_decode, base64_encode, canonical_json, parse_json

JPKI_AID: Final = bytes.fromhex("D392F000260100000001")
SIGNATURE_CERTIFICATE: Final = 0x0001
SIGNATURE_AUTHORITY: Final = 0x0002
AUTHENTICATION_CERTIFICATE: Final = 0x000A
AUTHENTICATION_AUTHORITY: Final = 0x000B
SIGNATURE_KEY: Final = 0x001A
SIGNATURE_PIN: Final = 0x001B
AUTHENTICATION_KEY: Final = 0x0017
AUTHENTICATION_PIN: Final = 0x0018
TOKEN: Final = 0x0006
TRIES: Final = {"signature": 5, "authentication": 3}

OK: Final = 0x9000
WRONG_LENGTH: Final = 0x6700
SECURITY_STATUS: Final = 0x6982
BLOCKED: Final = 0x6983
NOT_ALLOWED: Final = 0x6986
WRONG_DATA: Final = 0x6A80
NOT_FOUND: Final = 0x6A82
WRONG_PARAMETERS: Final = 0x6A86
UNKNOWN_INSTRUCTION: Final = 0x6D00

_PINS: Final = {SIGNATURE_PIN: "signature", AUTHENTICATION_PIN: "authentication"}
_KEYS: Final = {SIGNATURE_KEY: "signature", AUTHENTICATION_KEY: "authentication"}
_FILES: Final = {
    SIGNATURE_CERTIFICATE: ("signature", "certificate"),
    SIGNATURE_AUTHORITY: ("signature", "authority"),
    AUTHENTICATION_CERTIFICATE: ("authentication", "certificate"),
    AUTHENTICATION_AUTHORITY: ("authentication", "authority"),
}
_SHA256_PREFIX: Final = bytes.fromhex("3031300d060960864801650304020105000420")


def write_card(
    path: Path, issued: IssuedCard, authorities: dict[str, bytes], *, signature_password: str | None, pin: str
) -> None:
    """Make the card file. `authorities`: DER by kind. Raises: JpkiError for passwords no card would take."""
    if issued.signature is not None and not _is_password(signature_password or ""):
        raise JpkiError("bad-password", "6 to 16 characters A-Z and 0-9, at least one of each")
    if len(pin) != 4 or not (pin.isascii() and pin.isdigit()):
        raise JpkiError("bad-password", "four digits")
    content: dict[str, Any] = {"card": issued.card, "mock": "模擬/MOCK", "v": 1}
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
            "tries": TRIES[kind],
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, content)


class SoftwareCard:
    """One card in a reader: `transmit` takes a command APDU and returns the response with its status word.

    Open it, use it, close it; while it is open no other process can use the file. Being opened anew is a
    card reset.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_RDWR)
        except OSError as error:
            raise JpkiError("no-card", "the card file cannot be opened") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._content: dict[str, Any] = parse_json(path.read_bytes())
            if self._content["v"] != 1 or not isinstance(self._content["authentication"], dict):
                raise KeyError("v")
        except (FormatError, KeyError, TypeError) as error:
            os.close(self._file)
            raise JpkiError("bad-card", "not a card file") from error
        self._application = False
        self._selected: int | None = None
        self._verified: set[str] = set()

    def __enter__(self) -> SoftwareCard:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the card out."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @property
    def card_id(self) -> str:
        """The mock's own id of this card (for revoking it)."""
        return self._content["card"]

    def transmit(self, command: bytes) -> bytes:
        """One APDU (ISO 7816-4, short form): data ‖ SW1 SW2."""
        if len(command) < 4:
            return _status(WRONG_LENGTH)
        instruction, p1, p2 = command[1], command[2], command[3]
        data, expected, good = _body(command[4:])
        if not good:
            return _status(WRONG_LENGTH)
        if instruction == 0xA4:
            return _status(self._select(p1, data))
        if not self._application:
            return _status(NOT_ALLOWED)
        if instruction == 0x20 and (p1, p2) == (0x00, 0x80):
            return _status(self._verify(data))
        if instruction == 0x24 and (p1, p2) == (0x01, 0x80):
            return _status(self._change(data))
        if instruction == 0xB0:
            return self._read(p1 << 8 | p2, expected)
        if command[0] == 0x80 and instruction == 0x2A and (p1, p2) == (0x00, 0x80):
            return self._sign(data)
        return _status(UNKNOWN_INSTRUCTION)

    def _select(self, p1: int, data: bytes) -> int:
        if p1 == 0x04:
            self._application = data == JPKI_AID
            self._selected = None
            self._verified.clear()
            return OK if self._application else NOT_FOUND
        if p1 != 0x02 or len(data) != 2:
            return WRONG_PARAMETERS
        if not self._application:
            return NOT_ALLOWED
        identifier = int.from_bytes(data, "big")
        kind = _PINS.get(identifier) or _KEYS.get(identifier) or _FILES.get(identifier, ("",))[0]
        if identifier != TOKEN and kind not in self._content:
            return NOT_FOUND
        self._selected = identifier
        return OK

    def _verify(self, data: bytes) -> int:
        kind = _PINS.get(self._selected or 0)
        if kind is None:
            return NOT_ALLOWED
        entry = self._content[kind]
        if not data:
            return 0x63C0 | entry["tries"] if entry["tries"] else BLOCKED
        self._verified.discard(kind)
        if entry["tries"] == 0:
            return BLOCKED
        entry["tries"] -= 1
        self._save()
        if not hmac.compare_digest(data, entry["password"].encode("ascii")):
            return 0x63C0 | entry["tries"] if entry["tries"] else BLOCKED
        entry["tries"] = TRIES[kind]
        self._save()
        self._verified.add(kind)
        return OK

    def _change(self, data: bytes) -> int:
        kind = _PINS.get(self._selected or 0)
        if kind is None or kind not in self._verified:
            return SECURITY_STATUS
        word = data.decode("ascii", "replace")
        good = (
            _is_password(word)
            if kind == "signature"
            else len(word) == 4 and word.isascii() and word.isdigit()
        )
        if not good:
            return WRONG_DATA
        self._content[kind]["password"] = word
        self._save()
        return OK

    def _read(self, offset: int, expected: int) -> bytes:
        if self._selected == TOKEN:
            content = b"JPKIAPICCTOKEN".ljust(20)
        elif self._selected in _FILES:
            kind, what = _FILES[self._selected]
            if self._selected == SIGNATURE_CERTIFICATE and "signature" not in self._verified:
                # The signature certificate holds the four attributes: not without the password.
                return _status(SECURITY_STATUS)
            content = base64_decode(self._content[kind][what])
        else:
            return _status(NOT_ALLOWED)
        if offset > len(content):
            return _status(0x6B00)
        return content[offset : offset + expected] + _status(OK)

    def _sign(self, data: bytes) -> bytes:
        kind = _KEYS.get(self._selected or 0)
        if kind is None:
            return _status(NOT_ALLOWED)
        if kind not in self._verified:
            return _status(SECURITY_STATUS)
        if len(data) != len(_SHA256_PREFIX) + 32 or not data.startswith(_SHA256_PREFIX):
            return _status(WRONG_DATA)
        key = serialization.load_der_private_key(base64_decode(self._content[kind]["key"]), None)
        if not isinstance(key, rsa.RSAPrivateKey):
            return _status(NOT_ALLOWED)
        return _raw_pkcs1(key, data) + _status(OK)

    def _save(self) -> None:
        _write(self._path, self._content)


def digest_info(digest: bytes) -> bytes:
    """The DigestInfo (RFC 8017 section 9.2) of a SHA-256 digest: what COMPUTE DIGITAL SIGNATURE takes."""
    return _SHA256_PREFIX + digest


def _raw_pkcs1(key: rsa.RSAPrivateKey, info: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

    # Signing the digest inside a checked DigestInfo gives the same bytes as padding the DigestInfo ourselves.
    return key.sign(info[len(_SHA256_PREFIX) :], padding.PKCS1v15(), Prehashed(hashes.SHA256()))


def _is_password(word: str) -> bool:
    allowed = word.isascii() and word.isalnum() and word == word.upper() and 6 <= len(word) <= 16
    return allowed and any(c.isdigit() for c in word) and any(c.isalpha() for c in word)


def _body(rest: bytes) -> tuple[bytes, int, bool]:
    """(command data, expected length, well-formed) of a short APDU after its four header bytes."""
    if not rest:
        return b"", 0, True
    if len(rest) == 1:
        return b"", rest[0] or 256, True
    size = rest[0]
    if len(rest) not in (1 + size, 2 + size) or size == 0:
        return b"", 0, False
    return rest[1 : 1 + size], (rest[-1] or 256) if len(rest) == 2 + size else 0, True


def _status(word: int) -> bytes:
    return word.to_bytes(2, "big")


def _write(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(canonical_json(content))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
