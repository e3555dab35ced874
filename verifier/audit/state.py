"""What an auditor remembers between two audits, as a file of its owner: one log, its last checkpoint, the edge.

    {"anchored":1024,"chain":{…}?,"checkpoint":"door.mihon.example/…\\n…","frontier":["base64"…],"origin":…,"v":1,
     "walked":109482}

`checkpoint` is the signed note itself: whoever sees another root for its size holds a proof of the fork. `frontier`
are the roots of the perfect subtrees of the first `walked` leaves, largest first: enough to go on, and to show by
recomputation that the newer tree extends the older one. `walked` is larger than the checkpoint's size after an
audit that an outage cut short. The file is trusted: it is the auditor's own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from verifier.errors import FormatError, UsageError
from verifier.formats.checkpoint import Checkpoint, peek_checkpoint
from verifier.formats.encoding import (
    base64_decode,
    base64_encode,
    canonical_json,
    hex_decode,
    parse_canonical_json,
)
from verifier.formats.merkle import HASH_BYTES
from verifier.formats.tiles import fold

MAX_STATE_BYTES: Final = 256 << 10
_MEMBERS: Final = frozenset({"anchored", "checkpoint", "frontier", "origin", "v", "walked"})
_CHAIN_MEMBERS: Final = frozenset({"block", "block_hash", "chain_id", "contract", "events", "root", "size"})


@dataclass(frozen=True, slots=True)
class ChainMark:
    """The last anchor on the chain that is final and was compared.

    block, block_hash   where it stands (32 bytes); events = how many there were up to it
    """

    chain_id: int
    contract: bytes
    block: int
    block_hash: bytes
    size: int
    root: bytes
    events: int


@dataclass(frozen=True, slots=True)
class AuditState:
    """See the module.

    checkpoint   the last note that was found sound, b"" if there was none yet
    anchored     up to this size receipts and kept checkpoints were compared
    """

    origin: str
    checkpoint: bytes
    walked: int
    frontier: tuple[bytes, ...]
    anchored: int = 0
    chain: ChainMark | None = None

    @property
    def head(self) -> Checkpoint | None:
        """The remembered checkpoint (its signature was checked when it was remembered)."""
        return peek_checkpoint(self.checkpoint) if self.checkpoint else None


def format_state(state: AuditState) -> bytes:
    """Canonical JSON. Raises: FormatError, if it could not be read back."""
    value: dict[str, Any] = {
        "v": 1,
        "origin": state.origin,
        "checkpoint": state.checkpoint.decode("utf-8"),
        "walked": state.walked,
        "frontier": [base64_encode(item) for item in state.frontier],
        "anchored": state.anchored,
    }
    if state.chain is not None:
        value["chain"] = {
            "chain_id": state.chain.chain_id,
            "contract": state.chain.contract.hex(),
            "block": state.chain.block,
            "block_hash": state.chain.block_hash.hex(),
            "size": state.chain.size,
            "root": base64_encode(state.chain.root),
            "events": state.chain.events,
        }
    data = canonical_json(value)
    if parse_state(data) != state:
        raise FormatError("bad-audit-state", "this state has no encoding")
    return data


def parse_state(data: bytes) -> AuditState:
    """Parse strictly. Raises: LimitError, FormatError("bad-audit-state", …)."""
    value = parse_canonical_json(data, max_bytes=MAX_STATE_BYTES)
    if not isinstance(value, dict) or not _MEMBERS <= set(value) <= _MEMBERS | {"chain"} or value["v"] != 1:
        raise FormatError("bad-audit-state", "not a state of an auditor")
    frontier = value["frontier"]
    if not isinstance(frontier, list) or not isinstance(value["checkpoint"], str):
        raise FormatError("bad-audit-state", "no frontier, or no checkpoint")
    state = AuditState(
        origin=_text(value["origin"]),
        checkpoint=value["checkpoint"].encode("utf-8"),
        walked=_number(value["walked"]),
        frontier=tuple(_hash(item) for item in frontier),
        anchored=_number(value["anchored"]),
        chain=_parse_chain(value["chain"]) if "chain" in value else None,
    )
    if len(state.frontier) != state.walked.bit_count():
        raise FormatError("bad-audit-state", "a frontier of another size")
    head = state.head
    if head is not None:
        if head.origin != state.origin or head.size > state.walked:
            raise FormatError("bad-audit-state", "the checkpoint does not belong to the rest")
        if head.size == state.walked and fold(state.frontier) != head.root:
            raise FormatError("bad-audit-state", "the frontier does not lead to the checkpoint")
    return state


def load_state(path: Path) -> AuditState | None:
    """The remembered state, None if the file does not exist yet. Raises: UsageError."""
    try:
        with path.open("rb") as file:
            return parse_state(file.read(MAX_STATE_BYTES + 1))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError("cannot-read", f"{path.name}: {error.strerror}") from error
    except FormatError as error:
        # Never begun anew in silence: what was remembered is the evidence against a rollback.
        raise UsageError(error.code, f"{path.name}: {error.detail}") from error


def save_state(path: Path, state: AuditState) -> None:
    """Replace the file in one step. Raises: UsageError."""
    fresh = path.with_name(path.name + ".new")
    try:
        with fresh.open("wb") as file:
            file.write(format_state(state))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise UsageError("cannot-write", f"{path.name}: {error.strerror}") from error


def _parse_chain(value: Any) -> ChainMark:
    if not isinstance(value, dict) or set(value) != _CHAIN_MEMBERS:
        raise FormatError("bad-audit-state", "not a mark on a chain")
    return ChainMark(
        chain_id=_number(value["chain_id"]),
        contract=hex_decode(_text(value["contract"]), 20),
        block=_number(value["block"]),
        block_hash=hex_decode(_text(value["block_hash"]), HASH_BYTES),
        size=_number(value["size"]),
        root=_hash(value["root"]),
        events=_number(value["events"]),
    )


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise FormatError("bad-audit-state", "not a number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise FormatError("bad-audit-state", "not text")
    return value


def _hash(value: Any) -> bytes:
    data = base64_decode(_text(value))
    if len(data) != HASH_BYTES:
        raise FormatError("bad-audit-state", "not a hash")
    return data
