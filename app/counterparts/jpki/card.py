"""A software card (模擬/MOCK) that answers APDUs like the JPKI application of a My Number Card.

Commands (domain facts 3.2): SELECT by AID and by file id, VERIFY, CHANGE REFERENCE DATA, READ BINARY, COMPUTE
DIGITAL SIGNATURE; and, chosen here, GET CHALLENGE and RESET RETRY COUNTER under a signature of the card authority
(`reset_text`), and a picture file for the mock face check. Password counters (5 for the signature password, 3 for the
four digits) are stored before a try is compared, so that pulling the plug gives no extra try; a success resets them. Any
bytes get a status word, never an exception. The phone-borne certificates answer the same way and differ in the token
file only.

Unconfirmed about the real card, and chosen here: 6983 (not 6984) for a locked password, 6986 for a command
without its file, that the application keeps no password over a SELECT by AID, and the extended length form.
Not there: secure messaging, logical channels, short file identifiers, the other applications of the card.
"""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from app.counterparts.jpki import apdu
from app.counterparts.jpki.apdu import Command, parse_command, status
from app.counterparts.jpki.card_file import MAX_TRIES, CardFile, is_password
from app.counterparts.jpki.reset_text import CHALLENGE_BYTES, reset_text
from verifier.formats.encoding import base64_decode

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
PICTURE: Final = 0x00F0
"""Of the mock face check; the real picture lies in another application (券面確認)."""
TOKEN_TEXTS: Final = {"card": b"JPKIAPICCTOKEN".ljust(20), "phone": b"JPKIAPGPSETOKEN".ljust(20)}

SELECT: Final = (0x00, 0xA4)
VERIFY: Final = (0x00, 0x20)
CHANGE: Final = (0x00, 0x24)
READ: Final = (0x00, 0xB0)
SIGN: Final = (0x80, 0x2A)
CHALLENGE: Final = (0x00, 0x84)
RESET: Final = (0x00, 0x2C)
CLASSES: Final = (0x00, 0x80)

_PINS: Final = {SIGNATURE_PIN: "signature", AUTHENTICATION_PIN: "authentication"}
_KEYS: Final = {SIGNATURE_KEY: "signature", AUTHENTICATION_KEY: "authentication"}
_FILES: Final = {
    SIGNATURE_CERTIFICATE: ("signature", "certificate"),
    SIGNATURE_AUTHORITY: ("signature", "authority"),
    AUTHENTICATION_CERTIFICATE: ("authentication", "certificate"),
    AUTHENTICATION_AUTHORITY: ("authentication", "authority"),
}
_PARAMETERS: Final = {VERIFY: 0x0080, CHANGE: 0x0180, SIGN: 0x0080, CHALLENGE: 0x0000, RESET: 0x0080}
_SHA256_PREFIX: Final = bytes.fromhex("3031300d060960864801650304020105000420")
_SIGNATURE_BYTES: Final = 256


class SoftwareCard:
    """One card in a reader: `transmit` takes a command APDU and returns the response with its status word.

    Open it, use it, close it; while it is open no other reader gets the card. Being opened anew is a card
    reset.
    """

    def __init__(self, path: Path) -> None:
        """Raises: JpkiError("no-card"), JpkiError("bad-card")."""
        self._file = CardFile(path)
        self._application = False
        self._selected: int | None = None
        self._verified: set[str] = set()
        self._challenge: bytes | None = None

    def __enter__(self) -> SoftwareCard:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the card out."""
        self._file.close()

    @property
    def card_id(self) -> str:
        """The mock's own id of this card (for revoking it)."""
        return str(self._file.content["card"])

    def transmit(self, command: bytes) -> bytes:
        """One APDU: data ‖ SW1 SW2. A change that could not be stored is answered 6581 and has not happened."""
        parsed = parse_command(command)
        if parsed is None:
            return status(apdu.WRONG_LENGTH)
        try:
            return self._answer(parsed)
        except OSError:
            self._verified.clear()
            return status(apdu.NOT_STORED)

    def _answer(self, command: Command) -> bytes:
        name = command.cla, command.instruction
        if command.cla not in CLASSES:
            return status(apdu.UNKNOWN_CLASS)
        if name == SELECT:
            return status(self._select(command))
        if name not in (VERIFY, CHANGE, READ, SIGN, CHALLENGE, RESET):
            return status(apdu.UNKNOWN_INSTRUCTION)
        if not self._application:
            return status(apdu.NOT_ALLOWED)
        if name == READ:
            return self._read(command)
        if command.parameters != _PARAMETERS[name]:
            return status(apdu.WRONG_PARAMETERS)
        if name == VERIFY:
            return status(self._verify(command.data))
        if name == CHALLENGE:
            return self._give_challenge(command)
        if name == RESET:
            return status(self._reset(command.data))
        return status(self._change(command.data)) if name == CHANGE else self._sign(command)

    def _select(self, command: Command) -> int:
        if command.parameters == 0x040C:
            self._application = command.data == JPKI_AID
            self._selected = None
            self._verified.clear()
            return apdu.OK if self._application else apdu.NOT_FOUND
        if command.parameters != 0x020C or len(command.data) != 2:
            return apdu.WRONG_PARAMETERS
        if not self._application:
            return apdu.NOT_ALLOWED
        identifier = int.from_bytes(command.data, "big")
        kind = _PINS.get(identifier) or _KEYS.get(identifier) or _FILES.get(identifier, ("",))[0]
        if identifier == PICTURE and "picture" in self._file.content:
            self._selected = identifier
            return apdu.OK
        if identifier != TOKEN and (not kind or kind not in self._file.content):
            return apdu.NOT_FOUND
        self._selected = identifier
        return apdu.OK

    def _verify(self, data: bytes) -> int:
        kind = _PINS.get(self._selected or 0)
        if kind is None:
            return apdu.NOT_ALLOWED
        tries: int = self._file.content[kind]["tries"]
        if not data:
            return apdu.TRIES | tries if tries else apdu.BLOCKED
        self._verified.discard(kind)
        if tries == 0:
            return apdu.BLOCKED
        self._file.store_entry(kind, tries=tries - 1)
        if not hmac.compare_digest(data, self._file.content[kind]["password"].encode("ascii")):
            return apdu.TRIES | tries - 1 if tries > 1 else apdu.BLOCKED
        self._file.store_entry(kind, tries=MAX_TRIES[kind])
        self._verified.add(kind)
        return apdu.OK

    def _change(self, data: bytes) -> int:
        kind = _PINS.get(self._selected or 0)
        if kind is None or kind not in self._verified:
            return apdu.SECURITY_STATUS
        word = data.decode("ascii", "replace")
        if not is_password(kind, word):
            return apdu.WRONG_DATA
        self._file.store_entry(kind, password=word)
        return apdu.OK

    def _give_challenge(self, command: Command) -> bytes:
        if command.data or command.expected != CHALLENGE_BYTES:
            return status(apdu.WRONG_LENGTH)
        self._challenge = secrets.token_bytes(CHALLENGE_BYTES)
        return self._challenge + status(apdu.OK)

    def _reset(self, data: bytes) -> int:
        """Data: length of the new password ‖ password ‖ signature. The challenge is used up by any try."""
        kind = _PINS.get(self._selected or 0)
        challenge, self._challenge = self._challenge, None
        if kind is None or challenge is None:
            return apdu.NOT_ALLOWED
        length = data[0] if data else 0
        if len(data) != 1 + length + _SIGNATURE_BYTES:
            return apdu.WRONG_DATA
        word = data[1 : 1 + length].decode("ascii", "replace")
        if not is_password(kind, word):
            return apdu.WRONG_DATA
        try:
            authority = x509.load_der_x509_certificate(
                base64_decode(self._file.content["authentication"]["authority"])
            )
            key = authority.public_key()
            if not isinstance(key, rsa.RSAPublicKey):
                return apdu.BROKEN
            text = reset_text(kind, self.card_id, challenge, word)
            key.verify(data[1 + length :], text, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return apdu.SECURITY_STATUS
        except (ValueError, UnsupportedAlgorithm):
            return apdu.BROKEN
        self._file.store_entry(kind, password=word, tries=MAX_TRIES[kind])
        return apdu.OK

    def _read(self, command: Command) -> bytes:
        if self._selected == PICTURE:
            if not self._verified:
                return status(apdu.SECURITY_STATUS)
            content = base64_decode(self._file.content["picture"])
        elif self._selected == TOKEN:
            content = TOKEN_TEXTS[self._file.content.get("carrier", "card")]
        elif self._selected in _FILES:
            kind, what = _FILES[self._selected]
            if self._selected == SIGNATURE_CERTIFICATE and "signature" not in self._verified:
                # The signature certificate holds the four attributes: not without the password.
                return status(apdu.SECURITY_STATUS)
            content = base64_decode(self._file.content[kind][what])
        else:
            return status(apdu.NOT_ALLOWED)
        if command.data or not command.expected:
            return status(apdu.WRONG_LENGTH)
        # An offset has 15 bits; the sixteenth would name a short file identifier, which nothing here has.
        if command.parameters > min(len(content), 0x7FFF):
            return status(apdu.WRONG_OFFSET)
        return content[command.parameters :][: command.expected] + status(apdu.OK)

    def _sign(self, command: Command) -> bytes:
        kind = _KEYS.get(self._selected or 0)
        if kind is None:
            return status(apdu.NOT_ALLOWED)
        if kind not in self._verified:
            return status(apdu.SECURITY_STATUS)
        if len(command.data) != len(_SHA256_PREFIX) + 32 or not command.data.startswith(_SHA256_PREFIX):
            return status(apdu.WRONG_DATA)
        if command.expected < _SIGNATURE_BYTES:
            return status(apdu.EXPECTED_256)
        try:
            key = serialization.load_der_private_key(base64_decode(self._file.content[kind]["key"]), None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            return status(apdu.BROKEN)
        if not isinstance(key, rsa.RSAPrivateKey) or key.key_size != 8 * _SIGNATURE_BYTES:
            return status(apdu.BROKEN)
        # Signing the digest inside a checked DigestInfo gives the same bytes as padding the DigestInfo here.
        digest = command.data[len(_SHA256_PREFIX) :]
        return key.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256())) + status(apdu.OK)


def digest_info(digest: bytes) -> bytes:
    """The DigestInfo (RFC 8017 section 9.2) of a SHA-256 digest: what COMPUTE DIGITAL SIGNATURE takes."""
    return _SHA256_PREFIX + digest
