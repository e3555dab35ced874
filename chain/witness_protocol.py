"""What a log and a witness say to each other: the bodies of C2SP tlog-witness, and of our own anchor statement.

    POST /add-checkpoint                     POST /anchor-statement
    old 20852014                             akashi/anchor-statement/v1
    PlRNCrwHpqhGrupue0L7gxbjbMiKA9te…        chain 992011
    jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5…        contract 0x5fbdb2315678afecb367f032d93f642f64180aa3
                                             previous 20852014 sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=
    door.mihon.example/992011/log/1          PlRNCrwHpqhGrupue0L7gxbjbMiKA9te…
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2…        door.mihon.example/992011/log/1
                                             …
    — door.mihon.example/992011/log/1 …

One encoding each: what a parser takes, the formatter writes again. Nothing is verified here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chain.bls_engines import G1_BYTES, G2_BYTES
from verifier.errors import FormatError, LimitError
from verifier.formats.checkpoint import parse_size
from verifier.formats.encoding import base64_decode, base64_encode, sha256
from verifier.formats.merkle import EMPTY_ROOT, HASH_BYTES
from verifier.formats.signed_note import MAX_NOTE_BYTES

ADD_CHECKPOINT: Final = "/add-checkpoint"
ANCHOR_STATEMENT: Final = "/anchor-statement"
SIZE_TYPE: Final = "text/x.tlog.size"
STATEMENT_VERSION: Final = "akashi/anchor-statement/v1"
MAX_PROOF_LINES: Final = 63
MAX_HEAD_BYTES: Final = 4096  # lines before the checkpoint
MAX_REQUEST_BYTES: Final = MAX_HEAD_BYTES + MAX_NOTE_BYTES
MAX_ANSWER_BYTES: Final = 16 << 10
_ADDRESS = re.compile(r"0x[0-9a-f]{40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A checkpoint offered for cosignature, with the proof from the size the witness has recorded."""

    old_size: int
    proof: tuple[bytes, ...]
    note: bytes  # the signed checkpoint


@dataclass(frozen=True, slots=True)
class StatementRequest:
    """A checkpoint whose anchoring the witness shall vouch for, and the contract's head that it extends."""

    chain_id: int
    contract: bytes  # 20 bytes
    previous_size: int
    previous_root: bytes  # of the empty tree when previous_size is 0
    proof: tuple[bytes, ...]  # from previous_size to the checkpoint
    note: bytes


@dataclass(frozen=True, slots=True)
class StatementAnswer:
    """A BLS key and its signature, both compressed."""

    public_key: bytes
    signature: bytes


def parse_add_checkpoint(body: bytes) -> AddCheckpoint:
    """Raises: LimitError("request-too-large"), FormatError("bad-request", "bad-number", "bad-base64")."""
    lines, note = _split(body)
    return AddCheckpoint(parse_size(_value(lines[0], "old")), _parse_proof(lines[1:]), note)


def format_add_checkpoint(request: AddCheckpoint) -> bytes:
    """Inverse of `parse_add_checkpoint`."""
    return _join([f"old {request.old_size}"], request.proof, request.note)


def parse_statement_request(body: bytes) -> StatementRequest:
    """Raises: LimitError("request-too-large"), FormatError("bad-request", "bad-number", "bad-base64")."""
    lines, note = _split(body)
    if len(lines) < 4 or lines[0] != STATEMENT_VERSION:
        raise FormatError("bad-request", f"not the lines of {STATEMENT_VERSION}")
    chain_id, contract = parse_size(_value(lines[1], "chain")), _value(lines[2], "contract")
    size, _, root = _value(lines[3], "previous").partition(" ")
    previous_size, previous_root = parse_size(size), base64_decode(root)
    if chain_id == 0 or not _ADDRESS.fullmatch(contract) or len(previous_root) != HASH_BYTES:
        raise FormatError("bad-request", "no usable chain, contract or previous checkpoint")
    if previous_size == 0 and previous_root != EMPTY_ROOT:
        raise FormatError("bad-request", "size 0 has the root of the empty tree")
    proof = _parse_proof(lines[4:])
    return StatementRequest(chain_id, bytes.fromhex(contract[2:]), previous_size, previous_root, proof, note)


def format_statement_request(request: StatementRequest) -> bytes:
    """Inverse of `parse_statement_request`."""
    head = [
        STATEMENT_VERSION,
        f"chain {request.chain_id}",
        f"contract 0x{request.contract.hex()}",
        f"previous {request.previous_size} {base64_encode(request.previous_root)}",
    ]
    return _join(head, request.proof, request.note)


def parse_statement_answer(body: bytes) -> StatementAnswer:
    """Raises: LimitError, FormatError("bad-answer", "bad-base64")."""
    lines = _text(body, MAX_ANSWER_BYTES).split("\n")
    if len(lines) != 3 or lines[2]:
        raise FormatError("bad-answer", "not the two lines of an answer")
    key, signature = base64_decode(_value(lines[0], "key")), base64_decode(_value(lines[1], "signature"))
    if len(key) != G1_BYTES or len(signature) != G2_BYTES:
        raise FormatError("bad-answer", "a key or signature of another length")
    return StatementAnswer(key, signature)


def format_statement_answer(answer: StatementAnswer) -> bytes:
    """Inverse of `parse_statement_answer`."""
    key, signature = base64_encode(answer.public_key), base64_encode(answer.signature)
    return f"key {key}\nsignature {signature}\n".encode()


def parse_recorded_size(body: bytes) -> int:
    """The body of a 409. Raises: LimitError, FormatError("bad-answer", "bad-number")."""
    text = _text(body, MAX_ANSWER_BYTES)
    if not text.endswith("\n"):
        raise FormatError("bad-answer", "the line does not end")
    return parse_size(text[:-1])


def format_recorded_size(size: int) -> bytes:
    """Inverse of `parse_recorded_size`."""
    return f"{size}\n".encode()


def checkpoint_path(origin: str) -> str:
    """Where a witness shows the newest checkpoint that it cosigned: /<hex of SHA-256(origin)>/checkpoint."""
    return f"/{sha256(origin.encode('utf-8')).hex()}/checkpoint"


def _split(body: bytes) -> tuple[list[str], bytes]:
    # the first empty line ends the head; the note has its own empty line further down
    if len(body) > MAX_REQUEST_BYTES:
        raise LimitError("request-too-large", f"more than {MAX_REQUEST_BYTES} bytes")
    head, separator, note = body.partition(b"\n\n")
    if not separator or not head or not note:
        raise FormatError("bad-request", "no empty line before the checkpoint")
    return _text(head, MAX_HEAD_BYTES).split("\n"), note


def _text(data: bytes, most: int) -> str:
    if len(data) > most:
        raise LimitError("request-too-large", f"more than {most} bytes of lines")
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        raise FormatError("bad-request", "not ASCII") from error


def _join(head: Sequence[str], proof: Sequence[bytes], note: bytes) -> bytes:
    lines = [*head, *(base64_encode(item) for item in proof), "", ""]
    return "\n".join(lines).encode() + note


def _value(line: str, name: str) -> str:
    found, separator, value = line.partition(" ")
    if found != name or not separator:
        raise FormatError("bad-request", f"no line {name}")
    return value


def _parse_proof(lines: Sequence[str]) -> tuple[bytes, ...]:
    if len(lines) > MAX_PROOF_LINES:
        raise LimitError("proof-too-long", f"more than {MAX_PROOF_LINES} proof lines")
    proof = tuple(base64_decode(line) for line in lines)
    if any(len(item) != HASH_BYTES for item in proof):
        raise FormatError("bad-request", "a proof line that is no hash")
    return proof
