"""AnchorRegistry on one node or on several at once: each call goes to all, and all must say the same.

A node is JSON-RPC: the embedded chain in this process, or anvil (`tests/support/anvil_node.py`). With two nodes every
test of the contract compares results, refusals, events and gas of two independent EVMs.
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from eth_abi import decode, encode
from eth_account import Account
from eth_utils import keccak, to_checksum_address
from py_ecc.bls import G2ProofOfPossession as Bls
from py_ecc.bls.g2_primitives import pubkey_to_G1, signature_to_G2
from py_ecc.optimized_bls12_381 import normalize
from rlp import encode as rlp_encode

from chain.devnode.blockchain import Blockchain, RpcError
from chain.devnode.rpc import Methods
from chain.tree import EMPTY_TREE, extend
from verifier.formats.tiles import TileReader

ROOT = Path(__file__).resolve().parents[2]
ARTEFACT = json.loads((ROOT / "contracts" / "build" / "AnchorRegistry.json").read_text())
CHAIN_ID = 992011
START = 1_800_000_000
ORIGIN_ID = hashlib.sha256(b"door.mihon.example/992011/log/1").digest()
ACCOUNTS = {
    name: Account.from_key(hashlib.sha256(name.encode()).digest()) for name in ("owner", "sealer", "other")
}
SECRETS = [int.from_bytes(hashlib.sha256(b"witness" + bytes([i])).digest(), "big") % 2**250 for i in range(5)]
SIGNERS = [Account.from_key(hashlib.sha256(b"account" + bytes([i])).digest()) for i in range(5)]
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
BLS, ECDSA = 0, 1
DAY = 86_400


class NodeError(Exception):
    """What a node answers instead of a result."""

    def __init__(self, code: int, message: str, data: str | None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.data = data


class Node(Protocol):
    """JSON-RPC, and the time of the next block."""

    name: str

    def request(self, method: str, *params: Any) -> Any: ...
    def set_time(self, now: int) -> None: ...
    def close(self) -> None: ...


class EmbeddedNode:
    """chain.devnode in this process."""

    name = "embedded"

    def __init__(self, *, fast: bool = True, chain_id: int = CHAIN_ID) -> None:
        self._now = START
        funded = {address(name): 10**24 for name in ACCOUNTS}
        self.blockchain = Blockchain(
            ":memory:", lambda: self._now, funded=funded, fast=fast, chain_id=chain_id
        )
        self._methods = Methods(self.blockchain)

    def request(self, method: str, *params: Any) -> Any:
        try:
            return self._methods.call(method, list(params))
        except RpcError as error:
            raise NodeError(error.code, error.message, error.data) from error

    def set_time(self, now: int) -> None:
        self._now = now

    def close(self) -> None:
        self.blockchain.close()


@dataclass(frozen=True, slots=True)
class Log:
    """An event."""

    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """What every node must agree on."""

    is_success: bool
    gas_used: int
    time: int
    logs: tuple[Log, ...]

    def find(self, name: str) -> Log | None:
        """The event of this name, if there is one."""
        topic = event_topic(name)
        return next((log for log in self.logs if log.topics[0] == topic), None)


class World:
    """The registry, freshly deployed at the same address on every node."""

    def __init__(
        self, *nodes: Node, delay: int = 0, mode: int = BLS, chain_id: int = CHAIN_ID, sealer: str = "sealer"
    ) -> None:
        self.nodes = nodes
        self.chain_id = chain_id
        self.now = START
        self.contract = b""
        self._nonces = dict.fromkeys(ACCOUNTS, 0)
        values = encode(["address", "uint256", "uint256"], [address(sealer), delay, mode])
        receipt = self._send("owner", bytes.fromhex(ARTEFACT["bytecode"][2:]) + values)
        self.deploy_gas = receipt.gas_used
        if not receipt.is_success:
            raise ValueError("not deployed")
        self.contract = keccak(rlp_encode([address("owner"), 0]))[12:]

    def send(self, sender: str, name: str, *values: Any) -> Receipt:
        """A transaction that must succeed."""
        receipt = self._send(sender, self._data(name, values))
        assert receipt.is_success, f"{name} was reverted"
        return receipt

    def call(self, name: str, *values: Any, sender: str = "other") -> Any:
        """A call on the newest state."""
        answers = [self._call(node, sender, self._data(name, values)) for node in self.nodes]
        assert len(set(answers)) == 1, answers
        if isinstance(answers[0], NodeError):
            raise answers[0]
        result = decode([item["type"] for item in function(name)["outputs"]], answers[0])
        return result[0] if len(result) == 1 else result

    def refuses(self, words: str | tuple[str, ...], sender: str, name: str, *values: Any) -> None:
        """The call is refused by every node with the same words: these, or one of these."""
        data = self._data(name, values)
        answers = set()
        for node in self.nodes:
            with pytest.raises(NodeError) as caught:
                self._request_call(node, sender, data)
            assert caught.value.code == 3, node.name
            answers.add(refusal(caught.value))
            assert refusal(caught.value) in ((words,) if isinstance(words, str) else words), node.name
        assert len(answers) == 1, answers

    def advance(self, seconds: int) -> None:
        """Let time pass; a block says so, because calls see the newest block's time."""
        self.now += seconds
        self._send("other", b"", to=address("other"))

    def close(self) -> None:
        """End the nodes; once more does nothing."""
        for node in self.nodes:
            node.close()
        self.nodes = ()

    def _data(self, name: str, values: Sequence[Any]) -> bytes:
        types = [item["type"] for item in function(name)["inputs"]]
        return bytes(keccak(f"{name}({','.join(types)})".encode())[:4] + encode(types, values))

    def _call(self, node: Node, sender: str, data: bytes) -> Any:
        try:
            return bytes.fromhex(self._request_call(node, sender, data)[2:])
        except NodeError as error:
            raise AssertionError(f"{node.name} refuses: {refusal(error)}") from error

    def _request_call(self, node: Node, sender: str, data: bytes) -> str:
        call = {
            "from": hexed(address(sender)),
            "to": hexed(self.contract),
            "data": hexed(data),
            "gas": hex(29_000_000),
        }
        return node.request("eth_call", call, "latest")

    def _send(self, sender: str, data: bytes, to: bytes | None = None) -> Receipt:
        self.now += 1
        transaction = {
            "chainId": self.chain_id,
            "nonce": self._nonces[sender],
            "gas": 10_000_000,
            "maxFeePerGas": 10**12,
            "maxPriorityFeePerGas": 0,
            "value": 0,
            "data": data,
        }
        if to or self.contract:
            transaction["to"] = to_checksum_address(to or self.contract)
        raw = bytes(ACCOUNTS[sender].sign_transaction(transaction).raw_transaction)
        receipts = [self._include(node, raw) for node in self.nodes]
        self._nonces[sender] += 1
        assert all(receipt == receipts[0] for receipt in receipts), receipts
        return receipts[0]

    def _include(self, node: Node, raw: bytes) -> Receipt:
        node.set_time(self.now)
        answer = self._await_receipt(node, node.request("eth_sendRawTransaction", hexed(raw)))
        block = node.request("eth_getBlockByHash", answer["blockHash"], False)
        logs = tuple(
            Log(tuple(bytes.fromhex(topic[2:]) for topic in log["topics"]), bytes.fromhex(log["data"][2:]))
            for log in answer["logs"]
        )
        return Receipt(
            int(answer["status"], 16) == 1, int(answer["gasUsed"], 16), int(block["timestamp"], 16), logs
        )

    @staticmethod
    def _await_receipt(node: Node, tx_hash: str) -> dict[str, Any]:
        # anvil answers before it has made the block
        for _ in range(2_000):
            answer: dict[str, Any] | None = node.request("eth_getTransactionReceipt", tx_hash)
            if answer is not None:
                return answer
            time.sleep(0.003)
        raise AssertionError(f"{node.name} makes no block")


def refusal(error: NodeError) -> str:
    """The contract's words, empty if it gave none."""
    raw = bytes.fromhex((error.data or "0x")[2:])
    return str(decode(["string"], raw[4:])[0]) if raw[:4] == bytes.fromhex("08c379a0") else ""


def function(name: str) -> dict[str, Any]:
    """A function's entry in the ABI."""
    return next(item for item in ARTEFACT["abi"] if item.get("name") == name and item["type"] == "function")


def event_topic(name: str) -> bytes:
    """The first topic of an event."""
    event = next(item for item in ARTEFACT["abi"] if item.get("name") == name and item["type"] == "event")
    return bytes(keccak(f"{name}({','.join(item['type'] for item in event['inputs'])})".encode()))


def address(name: str) -> bytes:
    """20 bytes of one of `ACCOUNTS`."""
    return bytes.fromhex(ACCOUNTS[name].address[2:])


def hexed(data: bytes) -> str:
    """0x…"""
    return "0x" + data.hex()


@pytest.fixture(scope="module")
def new_world() -> Iterator[Any]:
    """Makes worlds on the embedded chain alone; tests/interop/test_chain_anvil.py has its own, with anvil beside it."""
    nodes: list[Node] = []

    def make(**options: Any) -> World:
        nodes.append(EmbeddedNode(chain_id=options.get("chain_id", CHAIN_ID)))
        return World(nodes[-1], **options)

    yield make
    for node in nodes:
        node.close()


# -- a log ---------------------------------------------------------------------------------------------------


@functools.cache
def _reader(size: int) -> TileReader:
    extension = extend(EMPTY_TREE, [i.to_bytes(32, "big") for i in range(size)])
    return TileReader(size, dict(extension.files).__getitem__)


def root(size: int) -> bytes:
    """Root of the log at a size."""
    return _reader(size).root()


def path(old: int, new: int) -> list[bytes]:
    """Consistency path of the log between two sizes."""
    return list(_reader(new).consistency_path(old))


# -- witnesses -----------------------------------------------------------------------------------------------


def g1(point: Any) -> bytes:
    """A point of G1 in EIP-2537 encoding."""
    x, y = normalize(point)
    return b"".join(int(value).to_bytes(64, "big") for value in (x.n, y.n))


def g2(signature: bytes) -> bytes:
    """A compressed point of G2 in EIP-2537 encoding."""
    x, y = normalize(signature_to_G2(signature))
    return b"".join(int(value).to_bytes(64, "big") for value in (*x.coeffs, *y.coeffs))


@functools.cache
def public_key(secret: int) -> bytes:
    """A witness's BLS key in EIP-2537 encoding."""
    return g1(pubkey_to_G1(Bls.SkToPk(secret)))


@functools.cache
def possession(secret: int) -> bytes:
    """Its proof of possession."""
    return g2(Bls.PopProve(secret))


@functools.cache
def _signature(secret: int, message: bytes) -> bytes:
    return Bls.Sign(secret, message)


def aggregate(message: bytes, numbers: Sequence[int]) -> bytes:
    """The sum of the signatures of these witnesses."""
    return g2(Bls.Aggregate([_signature(SECRETS[number], message) for number in numbers]))


def ecdsa(message: bytes, numbers: Sequence[int]) -> bytes:
    """The signatures of these ECDSA witnesses, one after the other."""
    return b"".join(bytes(SIGNERS[number].unsafe_sign_hash(message).signature) for number in numbers)


def statement(contract: bytes, origin_id: bytes, new: int, old: int, *, chain_id: int = CHAIN_ID) -> bytes:
    """The anchor statement, computed beside the contract."""
    return hashlib.sha256(
        b"akashi/anchor-statement/v1\x00"
        + chain_id.to_bytes(32, "big")
        + bytes(12)
        + contract
        + origin_id
        + new.to_bytes(32, "big")
        + root(new)
        + old.to_bytes(32, "big")
        + (root(old) if old else bytes(32))
    ).digest()
