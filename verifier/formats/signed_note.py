"""Signed notes and their keys (C2SP signed-note v1): text, blank line, one signature line for each signer.

    door.mihon.example/992011/log/1
    109482
    sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

    — door.mihon.example/992011/log/1 hI2DJw…roloI=

Two readings, never mixed. `verify_exact`, for what travels in a bundle: exactly the lines the policy expects,
in its order, nothing that nobody has checked. `verify_known`, for what is fetched from a public log: lines by
unknown keys are passed over, as C2SP asks. In both a bad signature under a known key refuses the note.
Algorithms: 0x01 Ed25519 and 0x04 timestamped Ed25519 cosignature (C2SP tlog-cosignature v1). No private keys
here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import base64_decode, base64_encode, hex_decode, sha256

MAX_NOTE_BYTES: Final = 64 * 1024
MAX_SIGNATURES: Final = 64
MAX_KEY_NAME_CHARS: Final = 255
MAX_COSIGNATURE_TIME: Final = (1 << 63) - 1

ED25519: Final = 0x01
COSIGNATURE_ED25519: Final = 0x04

_SIGNATURE_PREFIX: Final = "— "
_ED25519_KEY_BYTES: Final = 32
_ED25519_SIGNATURE_BYTES: Final = 64
_KEY_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class SignatureError(FormatError):
    """A signature line is missing, unexpected, out of order or wrong."""


@dataclass(frozen=True, slots=True)
class SignatureLine:
    """One signature line: who claims to have signed, with which key, and the raw bytes."""

    name: str
    key_id: bytes  # 4 bytes
    signature: bytes  # everything after the key id


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A parsed note. Nothing in it is verified yet."""

    text: str  # ends in a newline; the bytes that are signed are its UTF-8 form
    signatures: tuple[SignatureLine, ...]


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key of a log or witness ("vkey")."""

    name: str
    algorithm: int  # ED25519 or COSIGNATURE_ED25519
    public_key: bytes  # 32 bytes

    @property
    def key_id(self) -> bytes:
        """First 4 bytes of SHA-256(name ‖ 0x0A ‖ algorithm ‖ public key)."""
        encoded = bytes([self.algorithm]) + self.public_key
        return sha256(self.name.encode("utf-8") + b"\n" + encoded)[:_KEY_ID_BYTES]


@dataclass(frozen=True, slots=True)
class VerifiedSignature:
    """A signature that was checked, by one of the keys the caller named."""

    key: VerifierKey
    time: int | None  # POSIX seconds claimed by a cosigner; None for a plain signature


def parse_vkey(text: str) -> VerifierKey:
    """Parse `name+hex(key id)+base64(algorithm ‖ public key)`.

    Raises: FormatError("bad-vkey").
    """
    fields = text.split("+", 2)
    if len(fields) != 3:
        raise FormatError("bad-vkey", "not name+id+key")
    name, key_id, encoded = fields
    _check_name(name)
    raw = base64_decode(encoded)
    if len(raw) != 1 + _ED25519_KEY_BYTES or raw[0] not in (ED25519, COSIGNATURE_ED25519):
        raise FormatError("bad-vkey", "not an Ed25519 key of a known kind")
    key = VerifierKey(name, raw[0], raw[1:])
    if key.key_id != hex_decode(key_id, _KEY_ID_BYTES):
        raise FormatError("bad-vkey", "the key id does not belong to the key")
    return key


def format_vkey(key: VerifierKey) -> str:
    """Inverse of `parse_vkey`."""
    encoded = bytes([key.algorithm]) + key.public_key
    return f"{key.name}+{key.key_id.hex()}+{base64_encode(encoded)}"


def build_vkey(name: str, public_key: bytes, algorithm: int = ED25519) -> VerifierKey:
    """The verifier key of a raw 32-byte Ed25519 public key.

    Raises: FormatError("bad-key-name", "bad-vkey").
    """
    _check_name(name)
    if len(public_key) != _ED25519_KEY_BYTES or algorithm not in (ED25519, COSIGNATURE_ED25519):
        raise FormatError("bad-vkey", "not an Ed25519 key of a known kind")
    return VerifierKey(name, algorithm, public_key)


def parse_note(data: bytes) -> SignedNote:
    """Parse a signed note strictly; verifies nothing.

    Raises: LimitError("note-too-large", "too-many-signatures"), FormatError("bad-note", "bad-base64", …).
    """
    if len(data) > MAX_NOTE_BYTES:
        raise LimitError("note-too-large", f"more than {MAX_NOTE_BYTES} bytes")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("bad-note", "not UTF-8") from error
    if _CONTROL.search(whole):
        raise FormatError("bad-note", "a control character")
    split = whole.rfind("\n\n")
    if split < 0:
        raise FormatError("bad-note", "no blank line before the signatures")
    text, block = whole[: split + 1], whole[split + 2 :]
    if text == "\n" or not block.endswith("\n"):
        raise FormatError("bad-note", "no text, or the last line does not end")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise LimitError("too-many-signatures", f"more than {MAX_SIGNATURES} signature lines")
    return SignedNote(text, tuple(_parse_line(line) for line in lines))


def format_note(note: SignedNote) -> bytes:
    """Inverse of `parse_note`.

    Raises: FormatError, if the note could not be read back.
    """
    lines = "".join(
        f"{_SIGNATURE_PREFIX}{line.name} {base64_encode(line.key_id + line.signature)}\n"
        for line in note.signatures
    )
    data = (note.text + "\n" + lines).encode("utf-8", "surrogatepass")
    if parse_note(data) != note:
        raise FormatError("bad-note", "this note has no encoding")
    return data


def build_signature_line(key: VerifierKey, signature: bytes) -> SignatureLine:
    """The line for raw signature bytes made elsewhere with the private half of `key`."""
    return SignatureLine(key.name, key.key_id, signature)


def cosigned_bytes(text: str, time: int) -> bytes:
    """What a timestamped Ed25519 cosignature signs (C2SP tlog-cosignature, "cosignature/v1")."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def verify_exact(
    note: SignedNote, required: Sequence[VerifierKey], optional: Sequence[VerifierKey] = ()
) -> tuple[VerifiedSignature, ...]:
    """The reading for bundles: the `required` lines in their order, then any of the `optional` ones in
    theirs.

    Nothing else may be there, and every line is verified. The caller decides whether the optional ones are
    enough.
    Raises: SignatureError("signature-missing", "signature-unexpected", "bad-signature").
    """
    if len(note.signatures) < len(required):
        raise SignatureError("signature-missing", "fewer signature lines than the policy requires")
    found = []
    for key, line in zip(required, note.signatures, strict=False):
        if not _is_by(line, key):
            raise SignatureError("signature-missing", f"the next line is not by {key.name}")
        found.append(_verify_line(note.text, line, key))
    remaining = iter(optional)
    for line in note.signatures[len(required) :]:
        # the iterator is shared between lines: a key that was passed over or used cannot come again
        match = next((key for key in remaining if _is_by(line, key)), None)
        if match is None:
            raise SignatureError(
                "signature-unexpected", "a line by a key outside the policy, twice or out of order"
            )
        found.append(_verify_line(note.text, line, match))
    return tuple(found)


def verify_known(note: SignedNote, keys: Sequence[VerifierKey]) -> tuple[VerifiedSignature, ...]:
    """The reading for public logs: verify each line by one of `keys`, pass over the others; at least one must
    count.

    A second line by the same key is passed over, as other readers do.
    Raises: SignatureError("signature-missing", "bad-signature").
    """
    found: dict[VerifierKey, VerifiedSignature] = {}
    for line in note.signatures:
        for key in keys:
            if key not in found and _is_by(line, key):
                found[key] = _verify_line(note.text, line, key)
    if not found:
        raise SignatureError("signature-missing", "no line by a known key")
    return tuple(found.values())


def _is_by(line: SignatureLine, key: VerifierKey) -> bool:
    return line.name == key.name and line.key_id == key.key_id


def _verify_line(text: str, line: SignatureLine, key: VerifierKey) -> VerifiedSignature:
    signature, time, signed = line.signature, None, text.encode("utf-8")
    if key.algorithm == COSIGNATURE_ED25519:
        time = int.from_bytes(signature[:_TIME_BYTES], "big")
        signature = signature[_TIME_BYTES:]
        if time > MAX_COSIGNATURE_TIME:
            raise SignatureError("bad-signature", f"the time of {key.name} is out of range")
        signed = cosigned_bytes(text, time)
    try:
        if len(signature) != _ED25519_SIGNATURE_BYTES:
            raise InvalidSignature
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, signed)
    except (InvalidSignature, ValueError) as error:
        raise SignatureError("bad-signature", f"the signature of {key.name} is wrong") from error
    return VerifiedSignature(key, time)


def _parse_line(line: str) -> SignatureLine:
    if not line.startswith(_SIGNATURE_PREFIX):
        raise FormatError("bad-note", "a signature line does not start with an em dash")
    name, separator, encoded = line[len(_SIGNATURE_PREFIX) :].partition(" ")
    if not separator:
        raise FormatError("bad-note", "a signature line without a signature")
    _check_name(name)
    raw = base64_decode(encoded)
    if len(raw) <= _KEY_ID_BYTES:
        raise FormatError("bad-note", "a signature without bytes")
    return SignatureLine(name, raw[:_KEY_ID_BYTES], raw[_KEY_ID_BYTES:])


def _check_name(name: str) -> None:
    bad = any(char.isspace() or char < " " or char == "+" or "\ud800" <= char <= "\udfff" for char in name)
    if bad or not 0 < len(name) <= MAX_KEY_NAME_CHARS:
        raise FormatError("bad-key-name", "a key name is empty, too long, or has a space or a plus sign")
