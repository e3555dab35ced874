"""What the signer may be asked: the items of a batch read strictly, and who may ask for what. Pure.

    channel worker  sign (page_seal, credential, status_list, statement, login: each with an authorisation), agree,
    public channel log     sign-checkpoint (a checkpoint, or an anchor receipt of one), public

A note of the log is one of two texts, told apart by their first lines; nothing else is signed with that key.
This module opens no key and no store: `signer_service` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec

from app.sealing.authorisation import PURPOSES, Authorisation, is_identifier, parse_authorisation
from app.sealing.errors import SignerError
from verifier.errors import FormatError
from verifier.formats.chain_anchor import parse_receipt_text
from verifier.formats.checkpoint import Checkpoint, parse_checkpoint_text
from verifier.formats.encoding import hex_decode
from verifier.formats.jose import parse_jwk
from verifier.formats.names import ANCHOR_RECEIPT_LABEL

MAX_ITEMS: Final = 256
MAX_NOTE_CHARS: Final = 4 << 10
CHANNELS: Final = ("worker", "log")

_OPERATIONS: Final = {
    "worker": frozenset({"sign", "agree", "public"}),
    "log": frozenset({"sign-checkpoint", "public"}),
}
_FIELDS: Final = {
    "sign": {"op", "key_id", "purpose", "digest", "request_id", "serial", "authorisation"},
    "agree": {"op", "key_id", "epk"},
    "sign-checkpoint": {"op", "key_id", "note"},
    "public": {"op", "key_id"},
}


@dataclass(frozen=True, slots=True)
class SignWish:
    """Sign `authorisation.digest` with a key of `authorisation.purpose`."""

    key_id: str
    authorisation: Authorisation


@dataclass(frozen=True, slots=True)
class AgreeWish:
    """Agree with the peer's ephemeral key."""

    key_id: str
    peer: ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class NoteWish:
    """Sign a note of the log; `is_receipt`: it says where `checkpoint` was anchored."""

    key_id: str
    note: str
    checkpoint: Checkpoint
    is_receipt: bool


@dataclass(frozen=True, slots=True)
class PublicWish:
    """Tell the public key and its certificates."""

    key_id: str


Wish: TypeAlias = SignWish | AgreeWish | NoteWish | PublicWish


def parse_wish(channel: str, item: object) -> Wish:
    """One item of a batch. Raises: SignerError (bad-item, wrong-channel, bad-purpose, bad-authorisation,
    bad-note, …)."""
    if not isinstance(item, Mapping) or not isinstance(operation := item.get("op"), str):
        raise SignerError("bad-item", "an item is an object with op")
    if operation not in _FIELDS:
        raise SignerError("bad-item", "unknown op")
    if operation not in _OPERATIONS[channel]:
        raise SignerError("wrong-channel", "this channel may not ask for that")
    if set(item) != _FIELDS[operation] or not is_identifier(item["key_id"]):
        raise SignerError("bad-item", "not the fields of this op")
    try:
        if operation == "sign":
            return _parse_sign(item)
        if operation == "agree":
            return AgreeWish(item["key_id"], parse_jwk(item["epk"]))
        if operation == "sign-checkpoint":
            return _parse_note(item)
    except FormatError as error:
        raise SignerError("bad-item", f"a field has not its form ({error.code})") from error
    return PublicWish(item["key_id"])


def _parse_sign(item: Mapping[str, Any]) -> SignWish:
    if not isinstance(item["purpose"], str) or item["purpose"] not in PURPOSES:
        raise SignerError("bad-purpose", "no such purpose, or not signed this way")
    if not isinstance(item["digest"], str) or not all(
        is_identifier(item[k]) for k in ("request_id", "serial")
    ):
        raise SignerError("bad-item", "a field has not its form")
    digest = hex_decode(item["digest"], 32)
    authorisation = parse_authorisation(item["authorisation"])
    asked = (item["purpose"], digest, item["request_id"], item["serial"])
    allowed = (
        authorisation.purpose,
        authorisation.digest,
        authorisation.request_id,
        authorisation.serial,
    )
    if asked != allowed:
        raise SignerError("authorisation-mismatch", "the authorisation is for something else")
    return SignWish(item["key_id"], authorisation)


def _parse_note(item: Mapping[str, Any]) -> NoteWish:
    note = item["note"]
    if not isinstance(note, str) or len(note) > MAX_NOTE_CHARS:
        raise SignerError("bad-note", "not a note of the log")
    is_receipt = note.startswith(ANCHOR_RECEIPT_LABEL.decode("ascii"))
    try:
        checkpoint = parse_receipt_text(note).checkpoint if is_receipt else parse_checkpoint_text(note)
    except FormatError as error:
        raise SignerError("bad-note", "not a note of the log") from error
    return NoteWish(item["key_id"], note, checkpoint, is_receipt)
