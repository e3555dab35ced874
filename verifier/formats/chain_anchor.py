"""Anchor receipts: the log key's signed word that a checkpoint stands in a block of an Ethereum chain.

    akashi/anchor-receipt/v1
    chain 992011
    contract 0x5fbdb2315678afecb367f032d93f642f64180aa3
    origin door.mihon.example/992011/log/1
    size 109482
    root sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=
    block 1234 0x…64 hexadecimal digits…
    transaction 0x…64 hexadecimal digits…
    log 0

    — door.mihon.example/992011/log/1 hI2DJw…roloI=

A signed note with exactly these lines and exactly one signature. Its second line is no number, so that no
reader of checkpoints can take it for one. Offline a receipt is the log's word; the chain's own word needs
asking the chain for that transaction (`submit` of the contract, event `Anchored`). This module asks nobody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from verifier.errors import FormatError
from verifier.formats.checkpoint import Checkpoint, format_checkpoint_text, parse_checkpoint_text, parse_size
from verifier.formats.encoding import base64_encode
from verifier.formats.names import ANCHOR_RECEIPT_LABEL
from verifier.formats.signed_note import SignatureError, VerifierKey, parse_note, verify_exact

ADDRESS_BYTES: Final = 20
BLOCK_HASH_BYTES: Final = 32
_FIELDS: Final = ("chain", "contract", "origin", "size", "root", "block", "transaction", "log")
_HEX = re.compile(r"0x[0-9a-f]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class AnchorReceipt:
    """Where on which chain a checkpoint was anchored."""

    chain_id: int
    contract: bytes  # 20 bytes, the AnchorRegistry
    origin: str
    size: int
    root: bytes  # 32 bytes
    block_number: int
    block_hash: bytes  # 32 bytes
    transaction: bytes  # 32 bytes, hash of the transaction
    log_index: int  # number of the event in its block

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint that was anchored."""
        return Checkpoint(self.origin, self.size, self.root)


def parse_receipt_text(text: str) -> AnchorReceipt:
    """Parse the lines of a receipt, the text of its note.

    Raises: FormatError("bad-anchor-receipt", "bad-number", "bad-base64", "bad-checkpoint").
    """
    label = ANCHOR_RECEIPT_LABEL.decode("ascii")
    lines = text[len(label) :].split("\n")
    if not text.startswith(label) or len(lines) != len(_FIELDS) + 1 or lines.pop():
        raise FormatError("bad-anchor-receipt", "not the lines of an anchor receipt")
    values = []
    for name, line in zip(_FIELDS, lines, strict=True):
        found, separator, value = line.partition(" ")
        if found != name or not separator:
            raise FormatError("bad-anchor-receipt", f"no line {name}")
        values.append(value)
    chain, contract, origin, size, root, block, transaction, log = values
    checkpoint = parse_checkpoint_text(f"{origin}\n{size}\n{root}\n")
    block_number, _, block_hash = block.partition(" ")
    return AnchorReceipt(
        chain_id=parse_size(chain),
        contract=_parse_hex(contract, ADDRESS_BYTES),
        origin=checkpoint.origin,
        size=checkpoint.size,
        root=checkpoint.root,
        block_number=parse_size(block_number),
        block_hash=_parse_hex(block_hash, BLOCK_HASH_BYTES),
        transaction=_parse_hex(transaction, BLOCK_HASH_BYTES),
        log_index=parse_size(log),
    )


def format_receipt_text(receipt: AnchorReceipt) -> str:
    """The note text of a receipt: what the log key signs, as UTF-8.

    Raises: FormatError, if it could not be read back.
    """
    format_checkpoint_text(receipt.checkpoint)
    values = (
        str(receipt.chain_id),
        f"0x{receipt.contract.hex()}",
        receipt.origin,
        str(receipt.size),
        base64_encode(receipt.root),
        f"{receipt.block_number} 0x{receipt.block_hash.hex()}",
        f"0x{receipt.transaction.hex()}",
        str(receipt.log_index),
    )
    lines = "".join(f"{name} {value}\n" for name, value in zip(_FIELDS, values, strict=True))
    text = ANCHOR_RECEIPT_LABEL.decode("ascii") + lines
    if parse_receipt_text(text) != receipt:
        raise FormatError("bad-anchor-receipt", "this receipt has no encoding")
    return text


def peek_anchor_receipt(data: bytes) -> AnchorReceipt:
    """The receipt in a signed note **without verifying the signature**.

    Raises: FormatError.
    """
    return parse_receipt_text(parse_note(data).text)


def verify_anchor_receipt(data: bytes, log_key: VerifierKey, chain_id: int, contract: bytes) -> AnchorReceipt:
    """Read a receipt signed by the log key alone, for the chain and contract that the trust list names.

    Raises: FormatError, SignatureError("bad-signature", "signature-missing", "signature-unexpected",
    "other-origin", "other-chain").
    """
    note = parse_note(data)
    verify_exact(note, [log_key])
    receipt = parse_receipt_text(note.text)
    if receipt.origin != log_key.name:
        raise SignatureError("other-origin", f"a receipt of another log than {log_key.name}")
    if (receipt.chain_id, receipt.contract) != (chain_id, contract):
        raise SignatureError(
            "other-chain", "a receipt of another chain or contract than the trust list names"
        )
    return receipt


def _parse_hex(text: str, size: int) -> bytes:
    if not _HEX.fullmatch(text) or len(text) != 2 + 2 * size:
        raise FormatError("bad-anchor-receipt", f"not 0x and {2 * size} lower-case digits")
    return bytes.fromhex(text[2:])
