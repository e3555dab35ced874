"""Transactions in our own words: what goes to an Ethereum node and what comes back, without any library of
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from verifier.formats.encoding import sha256


@dataclass(frozen=True, slots=True)
class Identity:
    """Which chain a node serves: its id, and the hash of block 0 (another one is another, or a reset,
    chain).
    """

    chain_id: int
    genesis: bytes


@dataclass(frozen=True, slots=True)
class Fees:
    """EIP-1559 fees in wei."""

    max_fee: int
    priority_fee: int


@dataclass(frozen=True, slots=True)
class Inclusion:
    """What the chain says of one of our transactions that is in a block."""

    is_success: bool
    block_number: int
    block_hash: bytes
    log_index: int | None  # of the Anchored event; None if there is none, whatever the status says
    size: int | None  # from the event
    root: bytes | None


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction ready to be sent, again and again, byte for byte."""

    raw: bytes
    tx_hash: bytes


@dataclass(frozen=True, slots=True)
class Submission:
    """The arguments of `AnchorRegistry.submit`."""

    origin_id: bytes
    size: int
    root: bytes
    consistency_path: Sequence[bytes]
    signer_bitmap: int = 0
    aggregate_signature: bytes = b""


def compute_origin_id(origin: str) -> bytes:
    """The contract's name for a log: SHA-256 of its origin."""
    return sha256(origin.encode("utf-8"))
