"""Inclusion proofs as files (C2SP tlog-proof v1): index, path and the signed checkpoint they lead to.

    c2sp.org/tlog-proof@v1
    index 73894
    gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
    AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=

    door.mihon.example/992011/log/1
    109482
    sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

    — door.mihon.example/992011/log/1 hI2DJw…roloI=

One proof has exactly one encoding. The optional `extra` line is authenticated by nothing: bundles of ours
have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from verifier.errors import FormatError, LimitError
from verifier.formats.checkpoint import (
    VerifiedCheckpoint,
    parse_size,
    peek_checkpoint,
    verify_bundled_checkpoint,
)
from verifier.formats.encoding import base64_decode, base64_encode
from verifier.formats.merkle import HASH_BYTES, MAX_PATH, leaf_hash, verify_inclusion
from verifier.formats.signed_note import VerifierKey
from verifier.formats.tiles import Fetch, TileReader

MAX_PROOF_BYTES: Final = 96 * 1024
_HEADER: Final = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class TlogProof:
    """An inclusion proof as it stands in a file; nothing in it is verified yet."""

    index: int  # zero-based number of the entry
    path: tuple[bytes, ...]  # 32-byte hashes, the leaf's sibling first
    checkpoint: bytes  # the signed note, verbatim
    extra: bytes | None = None  # authenticated by nothing


def parse_tlog_proof(data: bytes) -> TlogProof:
    """Parse strictly; whatever it accepts, `format_tlog_proof` writes back byte for byte.

    Raises: LimitError("proof-too-large"), FormatError("bad-tlog-proof", …).
    """
    if len(data) > MAX_PROOF_BYTES:
        raise LimitError("proof-too-large", f"more than {MAX_PROOF_BYTES} bytes")
    head, separator, checkpoint = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise FormatError("bad-tlog-proof", "not ASCII before the checkpoint") from error
    if not separator or lines.pop(0) != _HEADER:
        raise FormatError("bad-tlog-proof", f"does not start with {_HEADER}, or has no checkpoint")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = base64_decode(lines.pop(0)[len("extra ") :])
    if not lines or not lines[0].startswith("index "):
        raise FormatError("bad-tlog-proof", "no index line")
    index = parse_size(lines.pop(0)[len("index ") :])
    if len(lines) > MAX_PATH:
        raise LimitError("path-too-long", f"more than {MAX_PATH} hashes")
    path = tuple(base64_decode(line) for line in lines)
    if any(len(item) != HASH_BYTES for item in path):
        raise FormatError("bad-tlog-proof", "a hash that has not 32 bytes")
    peek_checkpoint(checkpoint)
    return TlogProof(index, path, checkpoint, extra)


def format_tlog_proof(proof: TlogProof) -> bytes:
    """The one encoding of a proof.

    Raises: FormatError, if the proof could not be read back.
    """
    lines = [_HEADER]
    if proof.extra is not None:
        lines.append(f"extra {base64_encode(proof.extra)}")
    lines.append(f"index {proof.index}")
    lines.extend(base64_encode(item) for item in proof.path)
    data = "\n".join(lines).encode("ascii") + b"\n\n" + proof.checkpoint
    if parse_tlog_proof(data) != proof:
        raise FormatError("bad-tlog-proof", "this proof has no encoding")
    return data


def verify_tlog_proof(
    proof: TlogProof, entry: bytes, log_key: VerifierKey, witnesses: Sequence[VerifierKey] = ()
) -> VerifiedCheckpoint:
    """Check that `entry` is in the log of `log_key`; answers the checkpoint that says so.

    The checkpoint is read as in a bundle: the log's signature, then witnesses in policy order, nothing
    unknown. Whether the witnesses found are a quorum is the caller's question. An `extra` line is refused.
    Raises: FormatError("extra-in-bundle"), SignatureError, InclusionError.
    """
    if proof.extra is not None:
        raise FormatError("extra-in-bundle", "unauthenticated extra data has no place in a bundle")
    verified = verify_bundled_checkpoint(proof.checkpoint, log_key, witnesses)
    head = verified.checkpoint
    verify_inclusion(leaf_hash(entry), proof.index, head.size, proof.path, head.root)
    return verified


def upgrade_tlog_proof(
    proof: TlogProof,
    entry: bytes,
    checkpoint: bytes,
    fetch: Fetch,
    log_key: VerifierKey,
    witnesses: Sequence[VerifierKey] = (),
) -> TlogProof:
    """The same entry's proof under another checkpoint of the log, computed from its public tiles.

    `fetch` gets paths below the log's address (`tile/0/x001/234`) and answers the bytes or raises
    SourceError. Tiles are not trusted: the new path is checked against the root in the signed `checkpoint`
    before it is handed out.
    Raises: FormatError, SignatureError, InclusionError, SourceError.
    """
    head = verify_bundled_checkpoint(checkpoint, log_key, witnesses).checkpoint
    if proof.index >= head.size:
        raise FormatError("checkpoint-too-old", "the entry is younger than this checkpoint")
    path = TileReader(head.size, fetch).inclusion_path(proof.index)
    verify_inclusion(leaf_hash(entry), proof.index, head.size, path, head.root)
    return TlogProof(proof.index, path, checkpoint)
