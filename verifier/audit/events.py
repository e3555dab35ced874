"""The chain's own record of a log: the events `Anchored` of AnchorRegistry for its origin, as one line.

Asked by eth_getLogs in windows of blocks that shrink when a node finds them too wide. The line must grow, each event
must name the one before it as previous, and the contract's `head` must be the last one: a node that leaves one out
or puts one in breaks it. Whether the roots are the log's is `auditor`'s question. Source: contracts/AnchorRegistry.vy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from verifier.audit.node import BAD_ANSWER, Node, NodeRefusalError, read_bytes, read_quantity
from verifier.audit.state import ChainMark
from verifier.checks.chain import ANCHORED_TOPIC
from verifier.errors import SourceError
from verifier.formats.encoding import sha256
from verifier.formats.merkle import HASH_BYTES, MAX_TREE_SIZE
from verifier.formats.trust_list import ChainTrust

FIRST_WINDOW: Final = 5_000
"""Blocks a question; Besu's `--rpc-max-logs-range` is this by default."""
MAX_WINDOW: Final = 50_000
MAX_BLOCKS: Final = 200_000_000
MAX_EVENTS: Final = 100_000
HEAD_SELECTOR: Final = "0xf339e3b2"
"""First four bytes of Keccak-256 of head(bytes32); tests compute it with web3."""
_DATA_WORDS: Final = 5
_WORD: Final = 32


class LineError(Exception):
    """The record is not one line: `code` "chain-gap", "chain-line" or "no-contract"."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


@dataclass(frozen=True, slots=True)
class AnchorEvent:
    """One event `Anchored`, and where it stands."""

    size: int
    root: bytes
    previous_size: int
    previous_root: bytes
    block: int
    block_hash: bytes
    transaction: bytes
    log_index: int


@dataclass(frozen=True, slots=True)
class ChainRecord:
    """The events after `since` (None: all of them), oldest first, as one line up to block `latest`."""

    events: tuple[AnchorEvent, ...]
    since: ChainMark | None
    latest: int


def read_chain(node: Node, chain: ChainTrust, origin: str, since: ChainMark | None = None) -> ChainRecord:
    """Read the record; what does not fit is read a second time before it is called so (a reorganisation may pass).

    `since` is used only if the chain still holds its block.
    Raises: SourceError (codes of findings), LineError.
    """
    if read_quantity(node.ask("eth_chainId"), bits=256) != chain.chain_id:
        raise SourceError("chain-other-chain", "the node serves another chain than the trust list names")
    try:
        return _read_once(node, chain, origin, since)
    except LineError:
        return _read_once(node, chain, origin, None)


def _read_once(node: Node, chain: ChainTrust, origin: str, since: ChainMark | None) -> ChainRecord:
    latest = read_quantity(node.ask("eth_blockNumber"))
    if latest > MAX_BLOCKS:
        raise SourceError(BAD_ANSWER, f"more than {MAX_BLOCKS} blocks")
    code = node.ask("eth_getCode", "0x" + chain.contract.hex(), "latest")
    if not isinstance(code, str) or not code.startswith("0x"):
        raise SourceError(BAD_ANSWER, "the node's answer is not code")
    if code == "0x":
        raise LineError("no-contract", f"chain {chain.chain_id}")
    if since is not None and not _is_held(node, chain, since, latest):
        since = None
    origin_id = sha256(origin.encode("utf-8"))
    events = _read_events(node, chain, origin_id, 0 if since is None else since.block + 1, latest)
    _check_line(events, since)
    _check_head(node, chain, origin_id, (events, since), latest)
    return ChainRecord(tuple(events), since, latest)


def _is_held(node: Node, chain: ChainTrust, since: ChainMark, latest: int) -> bool:
    if (since.chain_id, since.contract) != (chain.chain_id, chain.contract) or since.block > latest:
        return False
    block = node.ask("eth_getBlockByNumber", hex(since.block), False)
    return isinstance(block, dict) and block.get("hash") == "0x" + since.block_hash.hex()


def _read_events(
    node: Node, chain: ChainTrust, origin_id: bytes, first: int, latest: int
) -> list[AnchorEvent]:
    events: list[AnchorEvent] = []
    window = FIRST_WINDOW
    while first <= latest:
        last = min(latest, first + window - 1)
        query = {
            "address": "0x" + chain.contract.hex(),
            "topics": [ANCHORED_TOPIC, "0x" + origin_id.hex()],
            "fromBlock": hex(first),
            "toBlock": hex(last),
        }
        try:
            found = node.ask("eth_getLogs", query)
        except NodeRefusalError:
            if window == 1:
                raise
            window //= 2
            continue
        if not isinstance(found, list):
            raise SourceError(BAD_ANSWER, "the node's answer is not a list of events")
        if len(events) + len(found) > MAX_EVENTS:
            raise SourceError("too-many-anchors", f"more than {MAX_EVENTS} events")
        events += sorted(
            (_parse_event(item, chain, origin_id, first, last) for item in found),
            key=lambda event: (event.block, event.log_index),
        )
        first = last + 1
        window = min(MAX_WINDOW, window * 2) if window < FIRST_WINDOW else window
    return events


def _parse_event(value: Any, chain: ChainTrust, origin_id: bytes, first: int, last: int) -> AnchorEvent:
    if not isinstance(value, dict) or value.get("removed") not in (None, False):
        raise SourceError(BAD_ANSWER, "not an event of the chain")
    topics = value.get("topics")
    if (
        read_bytes(value.get("address"), len(chain.contract)) != chain.contract
        or not isinstance(topics, list)
        or [read_bytes(topic, HASH_BYTES) for topic in topics[:3]]
        != [bytes.fromhex(ANCHORED_TOPIC[2:]), origin_id]
    ):
        raise SourceError(BAD_ANSWER, "an event that was not asked for")
    data = read_bytes(value.get("data"), _DATA_WORDS * _WORD)
    size, root, previous_size, previous_root, _ = (
        data[start : start + _WORD] for start in range(0, len(data), _WORD)
    )
    event = AnchorEvent(
        size=int.from_bytes(size, "big"),
        root=root,
        previous_size=int.from_bytes(previous_size, "big"),
        previous_root=previous_root,
        block=read_quantity(value.get("blockNumber")),
        block_hash=read_bytes(value.get("blockHash"), HASH_BYTES),
        transaction=read_bytes(value.get("transactionHash"), HASH_BYTES),
        log_index=read_quantity(value.get("logIndex")),
    )
    if not first <= event.block <= last or max(event.size, event.previous_size) > MAX_TREE_SIZE:
        raise SourceError(BAD_ANSWER, "an event that was not asked for")
    return event


def _check_line(events: list[AnchorEvent], since: ChainMark | None) -> None:
    size, root = (0, bytes(HASH_BYTES)) if since is None else (since.size, since.root)
    for event in events:
        if event.size <= event.previous_size or event.previous_size < size:
            raise LineError("chain-line", f"size {event.size} in block {event.block} does not extend {size}")
        if event.previous_size > size:
            raise LineError(
                "chain-gap", f"size {event.previous_size}, which size {event.size} names, is not there"
            )
        if event.previous_root != root:
            raise LineError("chain-line", f"size {event.size} names another root for size {size}")
        size, root = event.size, event.root


def _check_head(
    node: Node,
    chain: ChainTrust,
    origin_id: bytes,
    line: tuple[list[AnchorEvent], ChainMark | None],
    latest: int,
) -> None:
    events, since = line
    question = {"to": "0x" + chain.contract.hex(), "data": HEAD_SELECTOR + origin_id.hex()}
    answer = read_bytes(node.ask("eth_call", question, hex(latest)), 2 * _WORD)
    size, root = int.from_bytes(answer[:_WORD], "big"), answer[_WORD:]
    last = (0, bytes(HASH_BYTES)) if since is None else (since.size, since.root)
    if events:
        last = (events[-1].size, events[-1].root)
    if size > last[0]:
        raise LineError("chain-gap", f"the contract is at size {size}, and no event says so")
    if (size, root) != last:
        raise LineError("chain-line", f"the contract is at size {size}, and the last event at {last[0]}")
