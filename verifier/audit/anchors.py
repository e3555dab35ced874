"""The files that a log keeps of its anchored checkpoints: `checkpoints/<size>`, `receipts/<size>`, `anchored`.

Each is read, its signature checked, and what it claims (this root at this size) handed to the caller, who compares
it with the recomputed tree. Sizes come from the chain, from the listing of a copy, and from `anchored`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from verifier.audit.events import AnchorEvent
from verifier.audit.findings import Findings
from verifier.audit.log_source import MAX_LISTED, NOT_FOUND, LogSource
from verifier.errors import FormatError, SourceError
from verifier.formats.chain_anchor import AnchorReceipt, verify_anchor_receipt
from verifier.formats.checkpoint import Checkpoint, verify_public_checkpoint
from verifier.formats.signed_note import MAX_NOTE_BYTES, SignatureError
from verifier.formats.trust_list import TrustContent

ANCHORED: Final = "anchored"


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody says that the log had this root at this size; `code` is the finding if it had another."""

    size: int
    root: bytes
    where: str
    code: str


@dataclass(frozen=True, slots=True)
class AnchorFiles:
    """What was found for one size."""

    size: int
    claims: tuple[Claim, ...]
    receipt: AnchorReceipt | None


def list_anchors(source: LogSource, trust: TrustContent, findings: Findings) -> tuple[list[int], list[int]]:
    """Sizes that have a receipt as far as the log itself shows, and sizes that have a kept checkpoint.

    Raises: SourceError, LimitError.
    """
    receipts, checkpoints = source.list_sizes("receipts"), source.list_sizes("checkpoints")
    if receipts is not None and checkpoints is not None:
        return receipts, checkpoints
    try:
        note = source.fetch(ANCHORED, MAX_NOTE_BYTES)
        head = verify_public_checkpoint(note, trust.log, trust.witness_policy.keys).checkpoint
    except FormatError as error:
        findings.add("anchor-refused", ANCHORED, error.detail)
        return [], []
    except SourceError as error:
        if error.code != NOT_FOUND:
            raise
        return [], []  # nothing is anchored yet
    return [head.size], [head.size]


def read_anchor(
    source: LogSource, trust: TrustContent, size: int, findings: Findings, *, is_due: bool
) -> AnchorFiles:
    """Both files of one size; missing ones are findings if `is_due`. Raises: SourceError."""
    claims: list[Claim] = []
    checkpoint = _read_checkpoint(source, trust, size, findings, is_due=is_due)
    if checkpoint is not None:
        claims.append(Claim(size, checkpoint.root, f"checkpoints/{size}", "anchor-fork"))
    receipt = _read_receipt(source, trust, size, findings, is_due=is_due)
    if receipt is not None:
        claims.append(Claim(size, receipt.root, f"receipts/{size}", "receipt-fork"))
    return AnchorFiles(size, tuple(claims), receipt)


def compare_with_chain(
    receipts: Sequence[AnchorReceipt], events: Sequence[AnchorEvent], latest: int, findings: Findings
) -> None:
    """Each receipt against the event of its size; `events` is the whole record for these sizes."""
    by_size = {event.size: event for event in events}
    for receipt in receipts:
        where, event = f"receipts/{receipt.size}", by_size.get(receipt.size)
        if event is None and receipt.block_number > latest:
            findings.add("node-behind", where, f"block {receipt.block_number}, the node is at {latest}")
        elif event is None:
            findings.add("anchor-missing", where, f"no event for size {receipt.size}")
        elif (event.block, event.block_hash, event.transaction, event.log_index) != (
            receipt.block_number,
            receipt.block_hash,
            receipt.transaction,
            receipt.log_index,
        ):
            findings.add("receipt-contradicted", where, f"the chain holds it in block {event.block}")


def limit_anchors(sizes: Sequence[int], findings: Findings) -> list[int]:
    """The first `MAX_LISTED` of `sizes`; a finding if there are more."""
    if len(sizes) > MAX_LISTED:
        findings.add("too-many-anchors", "receipts", f"{len(sizes)}, checked {MAX_LISTED}")
    return list(sizes[:MAX_LISTED])


def _read_checkpoint(
    source: LogSource, trust: TrustContent, size: int, findings: Findings, *, is_due: bool
) -> Checkpoint | None:
    where = f"checkpoints/{size}"
    try:
        note = source.fetch(where, MAX_NOTE_BYTES)
        checkpoint = verify_public_checkpoint(note, trust.log, trust.witness_policy.keys).checkpoint
    except FormatError as error:
        findings.add("anchor-refused", where, error.detail)
        return None
    except SourceError as error:
        if error.code != NOT_FOUND:
            raise
        if is_due:
            findings.add("anchor-unpublished", where)
        return None
    if checkpoint.size != size:
        findings.add("anchor-refused", where, f"it is of size {checkpoint.size}")
        return None
    return checkpoint


def _read_receipt(
    source: LogSource, trust: TrustContent, size: int, findings: Findings, *, is_due: bool
) -> AnchorReceipt | None:
    where, chain = f"receipts/{size}", trust.chain
    try:
        data = source.fetch(where, MAX_NOTE_BYTES)
        if chain is None:
            findings.add("receipt-other-chain", where, "the trust list names no chain")
            return None
        receipt = verify_anchor_receipt(data, trust.log, chain.chain_id, chain.contract)
    except SignatureError as error:
        code = "receipt-other-chain" if error.code == "other-chain" else "receipt-refused"
        findings.add(code, where, error.detail)
        return None
    except FormatError as error:
        findings.add("receipt-refused", where, error.detail)
        return None
    except SourceError as error:
        if error.code != NOT_FOUND:
            raise
        if is_due:
            findings.add("receipt-missing", where)
        return None
    if receipt.size != size:
        findings.add("receipt-refused", where, f"it is of size {receipt.size}")
        return None
    return receipt
