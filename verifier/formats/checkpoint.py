"""Checkpoints of a log (C2SP tlog-checkpoint): a signed note over origin, tree size and root hash.

    door.mihon.example/992011/log/1
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

Exactly these three lines: extension lines cannot be audited and are refused. The origin is also the log key's
name. This module does not compare checkpoints with each other (`merkle` does) and fetches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from verifier.errors import FormatError
from verifier.formats.encoding import base64_decode, base64_encode
from verifier.formats.merkle import HASH_BYTES, MAX_TREE_SIZE
from verifier.formats.signed_note import (
    SignatureError,
    SignedNote,
    VerifiedSignature,
    VerifierKey,
    parse_note,
    verify_exact,
    verify_known,
)

MAX_ORIGIN_CHARS: Final = 255
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Origin, number of leaves and 32-byte root hash of a log at one moment."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """A checkpoint whose log signature was checked, and every signature that was checked with it."""

    checkpoint: Checkpoint
    signatures: tuple[VerifiedSignature, ...]


def parse_checkpoint_text(text: str) -> Checkpoint:
    """Parse the three lines of a checkpoint, the text of its note.

    Raises: FormatError("bad-checkpoint", "bad-base64").
    """
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise FormatError("bad-checkpoint", "not three lines")
    origin, size, root = lines[0], parse_size(lines[1]), base64_decode(lines[2])
    if not _is_origin(origin) or len(root) != HASH_BYTES:
        raise FormatError("bad-checkpoint", "no usable origin, or a root that has not 32 bytes")
    return Checkpoint(origin, size, root)


def format_checkpoint_text(checkpoint: Checkpoint) -> str:
    """The note text of a checkpoint: what the log key signs, as UTF-8.

    Raises: FormatError("bad-checkpoint"), if it could not be read back.
    """
    text = f"{checkpoint.origin}\n{checkpoint.size}\n{base64_encode(checkpoint.root)}\n"
    if parse_checkpoint_text(text) != checkpoint:
        raise FormatError("bad-checkpoint", "this checkpoint has no encoding")
    return text


def peek_checkpoint(data: bytes) -> Checkpoint:
    """The checkpoint in a signed note **without verifying any signature**.

    Raises: FormatError.
    """
    return parse_checkpoint_text(parse_note(data).text)


def verify_bundled_checkpoint(
    data: bytes, log_key: VerifierKey, witnesses: Sequence[VerifierKey] = ()
) -> VerifiedCheckpoint:
    """Read a checkpoint that travels in a bundle: the log's line first, then witnesses in policy order,
    nothing else.

    Raises: FormatError, SignatureError("other-origin" and those of `verify_exact`).
    """
    note = parse_note(data)
    return _named_by(log_key, note, verify_exact(note, [log_key], witnesses))


def verify_public_checkpoint(
    data: bytes, log_key: VerifierKey, witnesses: Sequence[VerifierKey] = ()
) -> VerifiedCheckpoint:
    """Read a checkpoint fetched from a public log: lines by unknown keys are passed over, the log's line must
    be there.

    Raises: FormatError, SignatureError("other-origin", "signature-missing", "bad-signature").
    """
    note = parse_note(data)
    verified = _named_by(log_key, note, verify_known(note, [log_key, *witnesses]))
    if all(signature.key != log_key for signature in verified.signatures):
        raise SignatureError("signature-missing", "the log has not signed this checkpoint")
    return verified


def parse_size(text: str) -> int:
    """A tree size or index: ASCII decimal without leading zeros, below 2**63.

    Raises: FormatError("bad-number").
    """
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_TREE_SIZE:
        raise FormatError("bad-number", "not a decimal number of this format")
    return int(text)


def _named_by(
    log_key: VerifierKey, note: SignedNote, signatures: tuple[VerifiedSignature, ...]
) -> VerifiedCheckpoint:
    checkpoint = parse_checkpoint_text(note.text)
    if checkpoint.origin != log_key.name:
        raise SignatureError("other-origin", f"a checkpoint of another log than {log_key.name}")
    return VerifiedCheckpoint(checkpoint, signatures)


def _is_origin(origin: str) -> bool:
    bad = any(char.isspace() or char < " " or char == "+" or "\ud800" <= char <= "\udfff" for char in origin)
    return not bad and 0 < len(origin) <= MAX_ORIGIN_CHARS
