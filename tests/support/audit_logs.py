"""Logs to be audited: files in a dictionary, signed and anchored, with a chain that can lie. All of it 模擬/MOCK."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chain.tree import EMPTY_TREE, Tree, extend
from verifier.audit.auditor import AuditRequest, AuditResult, audit
from verifier.audit.node import NodeRefusalError
from verifier.checks.chain import ANCHORED_TOPIC
from verifier.errors import LimitError, SourceError
from verifier.formats.chain_anchor import AnchorReceipt, format_receipt_text
from verifier.formats.checkpoint import Checkpoint, format_checkpoint_text
from verifier.formats.encoding import sha256
from verifier.formats.signed_note import (
    COSIGNATURE_ED25519,
    SignedNote,
    VerifierKey,
    build_signature_line,
    build_vkey,
    cosigned_bytes,
    format_note,
    format_vkey,
)
from verifier.formats.trust_list import ChainTrust, TrustContent
from verifier.trust import TrustList, build_trust_list, load_trust_list, sign_trust_list

NOW = dt.datetime(2026, 11, 20, 3, 0, tzinfo=dt.UTC)
ORIGIN = "door.mihon.example/992011/log/1"
CHAIN_ID = 992011
CONTRACT = bytes.fromhex("5fbdb2315678afecb367f032d93f642f64180aa3")
LOG_KEY = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(b"\x08" * 32)
SIGNER_KEY = Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)
CARD_KEY = ec.derive_private_key(1234567, ec.SECP256R1()).public_key()
VKEY: VerifierKey = build_vkey(ORIGIN, LOG_KEY.public_key().public_bytes_raw())
WITNESS: VerifierKey = build_vkey(
    "witness.example/1", WITNESS_KEY.public_key().public_bytes_raw(), COSIGNATURE_ED25519
)
POLICY = f"witness w1 {format_vkey(WITNESS)}\nquorum w1\n"


def entry(number: int) -> bytes:
    return hashlib.sha256(b"entry %d" % number).digest()


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey = LOG_KEY, *, witnesses: bool = False) -> bytes:
    """A signed checkpoint; its key is named like its origin."""
    text = format_checkpoint_text(checkpoint)
    name = build_vkey(checkpoint.origin, key.public_key().public_bytes_raw())
    lines = [build_signature_line(name, key.sign(text.encode()))]
    if witnesses:
        time = 1_790_000_000
        cosignature = time.to_bytes(8, "big") + WITNESS_KEY.sign(cosigned_bytes(text, time))
        lines.append(build_signature_line(WITNESS, cosignature))
    return format_note(SignedNote(text, tuple(lines)))


def block_hash(number: int) -> bytes:
    return sha256(b"block %d" % number)


class PublishedLog:
    """A log's files in memory; grows, signs, anchors."""

    def __init__(self, size: int = 0, *, salt: int = 0, can_list: bool = True) -> None:
        self.files: dict[str, bytes] = {}
        self.tree: Tree = EMPTY_TREE
        self.salt = salt
        self.can_list = can_list
        self.fetched: list[str] = []
        self.fails: Callable[[str], Exception | None] = lambda _path: None
        self.events: list[AnchorReceipt] = []
        self.grow(size)

    def grow(self, count: int, *, salt: int | None = None) -> PublishedLog:
        mark = self.salt if salt is None else salt
        entries = [entry(mark * 10**9 + self.tree.size + number) for number in range(count)]
        extension = extend(self.tree, entries)
        self.files.update(extension.files)
        self.tree = extension.tree
        for path in extension.obsolete:
            for name in [name for name in self.files if name.startswith(path + "/")]:
                del self.files[name]
        self.files["checkpoint"] = sign(self.head)
        return self

    @property
    def head(self) -> Checkpoint:
        return Checkpoint(ORIGIN, self.tree.size, self.tree.root())

    def anchor(self, *, receipt: bool = True) -> PublishedLog:
        """The head goes onto the chain, and the log keeps checkpoint and receipt."""
        number = len(self.events) * 10 + 5
        anchor = AnchorReceipt(
            chain_id=CHAIN_ID,
            contract=CONTRACT,
            origin=ORIGIN,
            size=self.head.size,
            root=self.head.root,
            block_number=number,
            block_hash=block_hash(number),
            transaction=sha256(b"transaction %d" % number),
            log_index=0,
        )
        self.events.append(anchor)
        if receipt:
            self.publish(anchor)
        return self

    def publish(self, anchor: AnchorReceipt, *, key: Ed25519PrivateKey = LOG_KEY, name: str = "") -> None:
        text = format_receipt_text(anchor)
        vkey = build_vkey(anchor.origin, key.public_key().public_bytes_raw())
        note = format_note(SignedNote(text, (build_signature_line(vkey, key.sign(text.encode())),)))
        name = name or str(anchor.size)
        self.files[f"receipts/{name}"] = note
        self.files[f"checkpoints/{name}"] = sign(anchor.checkpoint)
        self.files["anchored"] = self.files[f"checkpoints/{name}"]

    def flip(self, path: str, position: int = -1) -> PublishedLog:
        data = bytearray(self.files[path])
        data[position] ^= 1
        self.files[path] = bytes(data)
        return self

    # -- a LogSource

    def fetch(self, path: str, max_bytes: int) -> bytes:
        self.fetched.append(path)
        failure = self.fails(path)
        if failure is not None:
            raise failure
        if path not in self.files:
            raise SourceError("not-found", path)
        if len(self.files[path]) > max_bytes:
            raise LimitError("file-too-large", path)
        return self.files[path]

    def list_sizes(self, directory: str) -> list[int] | None:
        if not self.can_list:
            return None
        return sorted(int(name.split("/")[1]) for name in self.files if name.startswith(directory + "/"))

    def list_widths(self, tile: str) -> list[int]:
        prefix = f"{tile}.p/"
        return [int(name[len(prefix) :]) for name in self.files if name.startswith(prefix) and self.can_list]

    # -- on disk

    def write(self, directory: Path) -> Path:
        for path, data in self.files.items():
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        return directory


class FakeNode:
    """A node that serves the events of a log; each way to lie is a member to be changed."""

    def __init__(self, log: PublishedLog, *, blocks: int = 1000) -> None:
        self.chain_id = CHAIN_ID
        self.blocks = blocks
        self.code: Any = "0x6001"
        self.asked: list[tuple[str, tuple[Any, ...]]] = []
        self.answers: dict[str, Callable[..., Any]] = {}
        self.max_window = 10**9
        self.hashes: dict[int, bytes] = {}
        self.sync(log)

    def sync(self, log: PublishedLog) -> FakeNode:
        """Take over the anchors of the log as events."""
        self.events: list[dict[str, Any]] = []
        previous = (0, bytes(32))
        for anchor in log.events:
            self.events.append(event(anchor, previous))
            previous = (anchor.size, anchor.root)
        self.head = previous
        return self

    def ask(self, method: str, *params: Any) -> Any:
        self.asked.append((method, params))
        if method in self.answers:
            return self.answers[method](*params)
        return getattr(self, method)(*params)

    def eth_chainId(self) -> str:
        return hex(self.chain_id)

    def eth_blockNumber(self) -> str:
        return hex(self.blocks)

    def eth_getCode(self, _address: str, _block: str) -> Any:
        return self.code

    def eth_getBlockByNumber(self, number: str, _full: bool) -> Any:
        found = self.hashes.get(int(number, 16), block_hash(int(number, 16)))
        return {"hash": "0x" + found.hex()}

    def eth_call(self, call: dict[str, str], _block: str) -> str:
        assert call["data"] == "0xf339e3b2" + sha256(ORIGIN.encode()).hex()
        return f"0x{self.head[0]:064x}{self.head[1].hex()}"

    def eth_getLogs(self, query: dict[str, Any]) -> Any:
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        if last - first >= self.max_window:
            raise NodeRefusalError("chain-bad-answer", "too wide")
        return [item for item in self.events if first <= int(item["blockNumber"], 16) <= last]


def event(anchor: AnchorReceipt, previous: tuple[int, bytes]) -> dict[str, Any]:
    """An event `Anchored` as a node tells it."""
    data = f"{anchor.size:064x}{anchor.root.hex()}{previous[0]:064x}{previous[1].hex()}{0:064x}"
    return {
        "address": "0x" + CONTRACT.hex(),
        "topics": [ANCHORED_TOPIC, "0x" + sha256(ORIGIN.encode()).hex()],
        "data": "0x" + data,
        "blockNumber": hex(anchor.block_number),
        "blockHash": "0x" + anchor.block_hash.hex(),
        "transactionHash": "0x" + anchor.transaction.hex(),
        "transactionIndex": "0x0",
        "logIndex": hex(anchor.log_index),
        "removed": False,
    }


def trust_content(**changes: Any) -> TrustContent:
    content = TrustContent(
        city="992011",
        name="見本市",
        public_url="https://door.mihon.example",
        iss="https://door.mihon.example/992011",
        vct=("https://door.mihon.example/vct/income-certificate/1",),
        seal_cas=(b"0",),
        credential_cas=(b"0",),
        tsa_cas=(b"0",),
        credential_keys=(),
        log=VKEY,
        envelope_key=CARD_KEY,
        statement_key=CARD_KEY,
        status_lists=("https://door.mihon.example/992011/status/1",),
        max_status_age=604800,
        mock=True,
        chain=ChainTrust(CHAIN_ID, CONTRACT, ("http://node.mihon.example:8545",)),
    )
    return dataclasses.replace(content, **changes)


def trust_data(**changes: Any) -> bytes:
    raw = SIGNER_KEY.public_key().public_bytes_raw()
    expires = changes.pop("expires", NOW + dt.timedelta(days=3650))
    data = build_trust_list(trust_content(**changes), version=1, expires=expires, keys=[raw], threshold=1)
    return sign_trust_list(data, SIGNER_KEY)


def trust(**changes: Any) -> TrustList:
    return load_trust_list(trust_data(**changes))


def run_audit(source: Any, **options: Any) -> AuditResult:
    """An audit with the defaults of these tests."""
    options.setdefault("trust", trust())
    return audit(AuditRequest(source=source, now=options.pop("now", NOW), **options))


def codes(result: AuditResult) -> list[str]:
    return [finding.code for finding in result.report.findings]
