"""What must be true of a log and its anchors after any fault; each broken rule is a line of words.

    examine(Evidence(…)) == []

Nothing here trusts the log's own arithmetic: entries are read from the published files, every root is computed again from
them, and every checkpoint, proof, receipt and event that anybody has seen is compared with that. Lines begin with the kind
of fault: `lost`, `twice`, `fork`, `back`, `proof`, `chain`, `files`.
"""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from chain.fsck import check_log
from chain.transactions import compute_origin_id
from verifier.errors import FormatError
from verifier.formats.chain_anchor import verify_anchor_receipt
from verifier.formats.checkpoint import peek_checkpoint, verify_public_checkpoint
from verifier.formats.merkle import leaf_hash, node_hash, verify_consistency
from verifier.formats.signed_note import VerifierKey
from verifier.formats.tiles import TileReader, entries_path, format_entries, list_tiles, parse_entries
from verifier.formats.tlog_proof import TlogProof, parse_tlog_proof, verify_tlog_proof

_WORD: Final = 64
_BLOCKS_A_QUERY: Final = 50_000


@dataclass(frozen=True, slots=True)
class Anchored:
    """One event of the contract about our origin, in the order of the chain."""

    size: int
    root: bytes
    previous_size: int
    previous_root: bytes
    block_number: int
    block_hash: bytes
    transaction: bytes
    log_index: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was seen of a log, from everybody's side."""

    key: VerifierKey
    public: Path  # the log's own public files
    street: Path  # the copy that everybody reads
    entries: Sequence[bytes]  # what was sent until it was acknowledged
    acknowledged: Mapping[bytes, Iterable[tuple[int, bytes]]]  # entry → every (index, proof) it was answered
    seen: Iterable[bytes]  # checkpoints as they stood in any public place at any time
    signed: Mapping[int, bytes]  # size → root, the signer's memory
    violations: Sequence[str]  # what the signer refused as a fork
    went_back: Sequence[str] = ()  # public places that showed an older checkpoint after a newer one
    chain: Chain | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """The contract's history of our origin."""

    chain_id: int
    contract: bytes
    events: Sequence[Anchored]
    submissions: int  # transactions of the sealer


def examine(evidence: Evidence, *, has_answered_proofs: bool = True) -> list[str]:
    """Every rule that does not hold, in words; nothing of it names an entry's content.

    `has_answered_proofs`: the acknowledged answers hold proofs; without, only their indices are looked at.
    """
    faults = _examine_files(evidence)
    if faults:
        return faults
    files = _Files(evidence.street)
    newest = verify_public_checkpoint(files.read("checkpoint"), evidence.key).checkpoint
    leaves = _read_entries(files, newest.size)
    roots = compute_roots(leaves)
    if roots[newest.size] != newest.root:
        return ["fork: the published root is not that of the published entries"]
    faults += [f"fork: the signer was asked for a second history: {note!r}" for note in evidence.violations]
    faults += [f"back: {words}" for words in evidence.went_back]
    faults += _examine_entries(evidence, leaves)
    reader = TileReader(newest.size, files.read)
    for entry in evidence.entries:
        answers = list(evidence.acknowledged.get(entry, ()))
        faults += _examine_inclusion(
            evidence, entry, answers, leaves, reader, files.read("checkpoint"), has_answered_proofs
        )
    for size, root in evidence.signed.items():
        if size > newest.size:
            faults.append(f"lost: size {size} was signed, {newest.size} is published")
        elif roots[size] != root:
            faults.append(f"fork: another root was signed for size {size}")
    faults += _examine_seen(evidence, roots, reader)
    if evidence.chain is not None:
        faults += examine_events(evidence.chain.events, roots, reader)
        if len(evidence.chain.events) != evidence.chain.submissions:
            faults.append(
                f"chain: {evidence.chain.submissions} transactions for {len(evidence.chain.events)} anchors"
            )
        faults += _examine_receipts(evidence, evidence.chain)
    return faults


def count_repeats(directory: Path) -> int:
    """How many entries of the published files stand there more than once."""
    files = _Files(directory)
    counts = Counter(_read_entries(files, peek_checkpoint(files.read("checkpoint")).size))
    return sum(1 for count in counts.values() if count > 1)


def compute_roots(entries: Sequence[bytes]) -> list[bytes]:
    """Root of every size from 0 to all entries (RFC 9162 section 2.1.1), without any code of the log."""
    roots, peaks = [sha256(b"").digest()], []
    for number, entry in enumerate(entries, 1):
        peak = leaf_hash(entry)
        count = number
        while count % 2 == 0:
            peak = node_hash(peaks.pop(), peak)
            count //= 2
        peaks.append(peak)
        root = peaks[-1]
        for higher in reversed(peaks[:-1]):
            root = node_hash(higher, root)
        roots.append(root)
    return roots


def examine_events(events: Sequence[Anchored], roots: Sequence[bytes], reader: TileReader) -> list[str]:
    """Whether the contract's history is one line of growing sizes of this very log."""
    faults = []
    size, root = 0, bytes(32)
    for event in events:
        if event.size <= size:
            faults.append(f"chain: size {event.size} stands after {size}")
        if (event.previous_size, event.previous_root) != (size, root):
            faults.append(f"chain: size {event.size} names another predecessor than {size}")
        if event.size >= len(roots) or roots[event.size] != event.root:
            faults.append(f"chain: size {event.size} has a root that our log never had")
        elif event.size < len(roots) - 1:
            verify_consistency(
                event.size, event.root, len(roots) - 1, roots[-1], reader.consistency_path(event.size)
            )
        size, root = event.size, event.root
    return faults


def read_events(rpc: str, contract: bytes, origin: str) -> list[Anchored]:
    """Every Anchored event of this origin since block 0, from the node itself."""
    newest = int(call_node(rpc, "eth_blockNumber", []), 16)
    events = []
    for first in range(0, newest + 1, _BLOCKS_A_QUERY):
        query = {
            "fromBlock": hex(first),
            "toBlock": hex(min(newest, first + _BLOCKS_A_QUERY - 1)),
            "address": "0x" + contract.hex(),
            "topics": [None, "0x" + compute_origin_id(origin).hex()],
        }
        for log in call_node(rpc, "eth_getLogs", [query]):
            words = [
                bytes.fromhex(log["data"][2:][i : i + _WORD]) for i in range(0, len(log["data"]) - 2, _WORD)
            ]
            if len(words) != 5:
                raise AssertionError("another event with our origin")
            events.append(
                Anchored(
                    size=int.from_bytes(words[0]),
                    root=words[1],
                    previous_size=int.from_bytes(words[2]),
                    previous_root=words[3],
                    block_number=int(log["blockNumber"], 16),
                    block_hash=bytes.fromhex(log["blockHash"][2:]),
                    transaction=bytes.fromhex(log["transactionHash"][2:]),
                    log_index=int(log["logIndex"], 16),
                )
            )
    return events


def call_node(rpc: str, method: str, params: list[Any]) -> Any:
    """One JSON-RPC call, without any code of ours.

    Raises: OSError, AssertionError on an error answer.
    """
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(rpc, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        value = json.load(answer)
    assert "error" not in value, value["error"]
    return value["result"]


class _Files:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, path: str) -> bytes:
        return (self._directory / path).read_bytes()


def _examine_files(evidence: Evidence) -> list[str]:
    own, street = check_log(evidence.public, evidence.key), check_log(evidence.street, evidence.key)
    faults = [f"files: log: {finding}" for finding in own.findings]
    faults += [f"files: street: {finding}" for finding in street.findings]
    if own != street:
        faults.append(f"files: the street has {street.size} entries, the log {own.size}")
    return faults or _examine_partials(evidence.public) + _examine_partials(evidence.street)


def _examine_partials(directory: Path) -> list[str]:
    """Partial tiles and bundles that newer ones have replaced: somebody may have fetched them."""
    faults = []
    for path in (directory / "tile").rglob("*.p/*"):
        if path.name.endswith(".tmp"):
            continue
        data, width = path.read_bytes(), int(path.name)
        full = path.parent.with_suffix("")
        wider = full if full.exists() else max(path.parent.glob("[0-9]*"), key=_width_of)
        unit = len(format_entries([bytes(32)])) if "entries" in path.parts else 32
        if len(data) != width * unit or not wider.read_bytes().startswith(data):
            faults.append(f"files: {path.relative_to(directory)} is not the beginning of {wider.name}")
    return faults


def _width_of(path: Path) -> int:
    return int(path.name) if path.name.isdigit() else 0


def _read_entries(files: _Files, size: int) -> list[bytes]:
    found: list[bytes] = []
    for level, number, width in list_tiles(size):
        if level == 0:
            found += parse_entries(files.read(entries_path(number, width)), width)
    return found


def _examine_entries(evidence: Evidence, leaves: Sequence[bytes]) -> list[str]:
    counts = Counter(leaves)
    faults = [f"twice: an entry stands in the log {count} times" for count in counts.values() if count > 1]
    missing = sum(1 for entry in evidence.entries if entry not in counts)
    if missing:
        faults.append(f"lost: {missing} of {len(evidence.entries)} entries are not in the log")
    unanswered = sum(1 for entry in evidence.entries if entry not in evidence.acknowledged)
    if unanswered:
        faults.append(f"lost: {unanswered} of {len(evidence.entries)} entries were never acknowledged")
    for entry, answers in evidence.acknowledged.items():
        for index, _ in answers:
            if index >= len(leaves) or leaves[index] != entry:
                faults.append(f"lost: index {index} was acknowledged and holds another entry")
        if len({index for index, _ in answers}) > 1:
            faults.append("twice: an entry was acknowledged with two indices")
    return faults


def _examine_inclusion(
    evidence: Evidence,
    entry: bytes,
    answers: Sequence[tuple[int, bytes]],
    leaves: Sequence[bytes],
    reader: TileReader,
    checkpoint: bytes,
    has_answered_proofs: bool,
) -> list[str]:
    """Every proof the log has answered, and one made now from the street's tiles."""
    faults = []
    try:
        for index, _ in answers[:1]:
            verify_tlog_proof(TlogProof(index, reader.inclusion_path(index), checkpoint), entry, evidence.key)
        for index, data in answers if has_answered_proofs else ():
            proof = parse_tlog_proof(data)
            head = verify_tlog_proof(proof, entry, evidence.key).checkpoint
            if proof.index != index or head.size > len(leaves):
                faults.append(f"proof: the proof of index {index} is of another index or size")
    except FormatError as error:
        faults.append(f"proof: {error}")
    return faults


def _examine_seen(evidence: Evidence, roots: Sequence[bytes], reader: TileReader) -> list[str]:
    notes = set(evidence.seen)
    for answers in evidence.acknowledged.values():
        notes |= {parse_tlog_proof(data).checkpoint for _, data in answers if data}
    for directory in (evidence.public, evidence.street):
        notes |= {path.read_bytes() for path in (directory / "checkpoints").glob("[0-9]*")}
    faults = []
    for note in notes:
        try:
            seen = verify_public_checkpoint(note, evidence.key).checkpoint
            if seen.size >= len(roots):
                faults.append(f"lost: a checkpoint of size {seen.size} was seen")
            elif roots[seen.size] != seen.root:
                faults.append(f"fork: another checkpoint of size {seen.size} was seen")
            elif seen.size < len(roots) - 1:
                path = reader.consistency_path(seen.size)
                verify_consistency(seen.size, seen.root, len(roots) - 1, roots[-1], path)
        except FormatError as error:
            faults.append(f"fork: a checkpoint was seen that is not of this log: {error}")
    return faults


def _examine_receipts(evidence: Evidence, chain: Chain) -> list[str]:
    by_size = {event.size: event for event in chain.events}
    faults = []
    names = {path.name for path in (evidence.street / "receipts").glob("[0-9]*")}
    if names != {str(size) for size in by_size}:
        faults.append(f"chain: receipts of {len(names)} sizes for {len(by_size)} anchors")
    for name in names:
        data = (evidence.street / "receipts" / name).read_bytes()
        try:
            receipt = verify_anchor_receipt(data, evidence.key, chain.chain_id, chain.contract)
        except FormatError as error:
            faults.append(f"chain: the receipt of size {name}: {error}")
            continue
        event = by_size.get(receipt.size)
        told = (
            receipt.root,
            receipt.block_number,
            receipt.block_hash,
            receipt.transaction,
            receipt.log_index,
        )
        if event is None or told != (
            event.root,
            event.block_number,
            event.block_hash,
            event.transaction,
            event.log_index,
        ):
            faults.append(f"chain: the receipt of size {name} is not what the contract has")
    return faults
