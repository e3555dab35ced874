"""A node that lies, stalls, answers garbage or is another chain: the anchoring client says which, nothing is sent, nothing
is believed, and when the node is honest again everything is anchored.

The node is the embedded chain; its answers are changed on the way out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from hexbytes import HexBytes
from web3 import Web3

from chain import ethereum
from chain.anchorer import Anchorer
from chain.anchoring import Rules
from chain.checkpoint_key import SoftwareSigner
from chain.devnode.blockchain import Blockchain, RpcError
from chain.devnode.rpc import Methods
from chain.errors import EthereumError, EthereumUnavailable, LogRefused, LogUnavailable
from chain.ethereum import ContractHead, EthereumClient, deploy_registry
from chain.floor import SeenHead
from chain.log import Log, create_log
from chain.transactions import Fees, Submission, compute_origin_id
from verifier.formats.signed_note import build_vkey

ORIGIN = "door.mihon.example/992011/log/1"
CHAIN_ID = 992011
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
KEY = build_vkey(ORIGIN, PRIVATE.public_key().public_bytes_raw())
OWNER, SEALER = (Account.from_key(hashlib.sha256(name).digest()) for name in (b"owner", b"sealer"))
RULES = Rules(interval=0, confirmations=1, resend_after=1, replace_after=100, lost_after=2)
READS = (
    "eth_chainId",
    "eth_getBlockByNumber",
    "eth_getCode",
    "eth_call",
    "eth_getTransactionCount",
    "eth_blockNumber",
)


class Lair:
    """The node: `lie(method, result)` may change a result, `raw(body)` the bytes of an answer."""

    def __init__(self) -> None:
        funded = {bytes.fromhex(account.address[2:]): 10**24 for account in (OWNER, SEALER)}
        self.methods = Methods(
            Blockchain(":memory:", lambda: 1_800_000_000, chain_id=CHAIN_ID, funded=funded)
        )
        self.be_honest()
        self.asked: list[str] = []

    def be_honest(self) -> None:
        self.lie: Callable[[str, Any], Any] = lambda _method, result: result
        self.raw: Callable[[bytes], bytes] = lambda body: body
        self.status = 200
        self.pause: threading.Event | None = None
        self.drip = False

    def answer(self, request: dict) -> dict:
        self.asked.append(request["method"])
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            result = self.methods.call(request["method"], request.get("params") or [])
        except RpcError as error:
            return answer | {"error": {"code": error.code, "message": error.message, "data": error.data}}
        return answer | {"result": self.lie(request["method"], result)}


class Handler(BaseHTTPRequestHandler):
    lair: Lair

    def do_POST(self) -> None:
        lair = self.lair
        body = json.dumps(
            lair.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        ).encode()
        body = lair.raw(body)
        if lair.pause is not None:
            lair.pause.wait(20)
        with contextlib.suppress(OSError):
            self.send_response(lair.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if lair.drip:
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.05)
            else:
                self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what this file is about."""


class World:
    def __init__(self, directory: Path, url: str, lair: Lair) -> None:
        self.lair, self.url = lair, url
        self.contract, _ = deploy_registry(url, bytes(OWNER.key), bytes.fromhex(SEALER.address[2:]))
        self.client = EthereumClient(url, self.contract, bytes(SEALER.key))
        create_log(directory, ORIGIN)
        self.signer = SoftwareSigner(PRIVATE)
        self.log = Log(directory, KEY, self.signer, padding=1)
        self.now = 1_800_000_000
        self.anchorer = Anchorer(self.log, self.client, CHAIN_ID, self.signer, lambda: self.now, RULES)
        self.append(0)

    def append(self, number: int) -> None:
        self.log.append([hashlib.sha256(bytes([number, i])).digest() for i in range(3)])

    def settle(self) -> None:
        for _ in range(20):
            self.now += 3
            self.anchorer.run()
            if self.anchorer.reason == "":
                break
        published = self.log.published
        assert self.anchorer.reason == ""
        assert self.client.head(compute_origin_id(ORIGIN)) == SeenHead(published.size, published.root)
        assert self.log.files.find(f"receipts/{published.size}") is not None

    def assert_waits(self, code: str) -> None:
        """The anchorer says `code`, and has sent nothing."""
        sent = self.lair.asked.count("eth_sendRawTransaction")
        self.anchorer.run()
        assert self.anchorer.reason.partition(":")[0] == code
        assert self.lair.asked.count("eth_sendRawTransaction") == sent
        assert self.log.refusal is None


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    lair = Lair()
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"lair": lair}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    world = World(tmp_path / "log", f"http://127.0.0.1:{server.server_port}", lair)
    yield world
    server.shutdown()
    thread.join()
    server.server_close()
    world.log.close()


@pytest.mark.parametrize(
    ("what", "raw", "status", "code"),
    [
        ("nothing", lambda _: b"", 200, "bad-answer"),
        ("text", lambda _: b"<html>welcome</html>", 200, "bad-answer"),
        ("cut off", lambda body: body[: len(body) // 2], 200, "bad-answer"),
        ("not an object", lambda _: b"[]", 200, "bad-answer"),
        ("neither result nor error", lambda _: b'{"jsonrpc":"2.0","id":1}', 200, "bad-answer"),
        ("no text at all", lambda _: b"\xff\xfe\x00", 200, "bad-answer"),
        ("deep", lambda _: b"[" * 100_000, 200, "bad-answer"),
        ("too much", lambda _: b" " * (ethereum.MAX_RPC_ANSWER + 1), 200, "chain-away"),
        ("an error page", lambda _: b"busy", 503, "chain-away"),
        ("elsewhere", lambda _: b"", 302, "chain-away"),
    ],
)
def test_garbage_is_named_and_outlived(world: World, what: str, raw, status: int, code: str) -> None:
    world.lair.raw, world.lair.status = raw, status
    world.assert_waits(code)
    with pytest.raises(EthereumError) as caught:
        world.client.identity()
    assert caught.value.code == code, what
    assert isinstance(caught.value, EthereumUnavailable) == (code == "chain-away")
    world.lair.be_honest()
    world.settle()


@pytest.mark.parametrize("method", READS)
@pytest.mark.parametrize("value", [None, "0x", "0xzz", 7, {"hash": 5}, "0x" + "ff" * 40])
def test_each_answer_may_be_wrong_and_none_is_believed(world: World, method: str, value: Any) -> None:
    """Whatever one method answers: no fault but our own errors; what is anchored is so in truth; and then peace."""
    world.lair.lie = lambda name, result: value if name == method else result
    with contextlib.suppress(LogRefused):
        world.anchorer.run()
    if not world.anchorer.reason:
        world.lair.be_honest()  # the lie did not matter
        assert world.client.head(compute_origin_id(ORIGIN)).root == world.log.published.root
    if world.log.refusal is not None:
        # a head that is larger than our log is what a restored log would see: it stops, as it must
        assert (method, world.log.refusal.code) == ("eth_call", "seen-larger")
        return
    world.lair.be_honest()
    world.settle()


def test_the_answer_of_somebody_else_is_not_ours(world: World) -> None:
    world.lair.lie = lambda name, result: hex(CHAIN_ID + 1) if name == "eth_chainId" else result
    world.assert_waits("other-chain")
    with pytest.raises(LogUnavailable, match="other-chain"):
        ContractHead(world.client, ORIGIN, CHAIN_ID).seen_head()
    world.lair.lie = lambda name, result: "0x" if name == "eth_getCode" else result
    world.assert_waits("contract-missing")
    with pytest.raises(LogUnavailable, match="contract-missing"):
        ContractHead(world.client, ORIGIN, CHAIN_ID).seen_head()
    world.lair.be_honest()
    assert ContractHead(world.client, ORIGIN, CHAIN_ID).seen_head() == SeenHead(0, bytes(32))
    world.settle()


@pytest.mark.parametrize("drip", [False, True], ids=["silent", "a byte now and then"])
def test_a_node_that_stalls_is_left(world: World, monkeypatch, drip: bool) -> None:
    """A dripping node would hold a client for ever that counts the pauses between bytes."""
    monkeypatch.setattr(ethereum, "RPC_TIMEOUT_SECONDS", 0.5)
    world.lair.drip = drip
    world.lair.pause = None if drip else threading.Event()
    world.lair.raw = lambda body: body + b" " * 1000
    done = threading.Event()

    def ask() -> None:
        with pytest.raises(EthereumUnavailable, match="chain-away"):
            world.client.identity()
        done.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    assert done.wait(15), "the client hangs"
    thread.join()
    world.assert_waits("chain-away")
    if world.lair.pause is not None:
        world.lair.pause.set()
    world.lair.be_honest()
    monkeypatch.undo()
    world.settle()


def test_a_lie_about_the_block_is_undone_by_the_truth(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node tells of an inclusion, and then of another block at that height: nothing is final on the first word."""
    # each of its words is followed by a denial, so a round ends only at its limit
    monkeypatch.setattr("chain.anchorer.MAX_ACTIONS_A_ROUND", 12)

    def lie(name: str, result: Any) -> Any:
        if name == "eth_getTransactionReceipt" and result is not None:
            return result | {"blockHash": "0x" + "ab" * 32}
        return result

    world.lair.lie = lie
    for _ in range(3):
        world.now += 3
        world.anchorer.run()
        assert world.anchorer.reason
    assert world.log.files.find(f"receipts/{world.log.published.size}") is None
    world.lair.be_honest()
    world.settle()


@pytest.mark.parametrize("pinned", [CHAIN_ID, None])
def test_nothing_is_signed_for_the_chain_that_a_node_names_at_the_last_moment(
    world: World, pinned: int | None
) -> None:
    """With the chain of the settings; without one (control) the node decides."""
    client = EthereumClient(world.url, world.contract, bytes(SEALER.key), pinned)
    submission = Submission(b"\x05" * 32, 3, b"\x02" * 32, [])
    world.lair.lie = lambda name, result: "0x1" if name == "eth_chainId" else result
    signed = client.sign_submission(submission, 0, Fees(10**10, 10**9))
    fields = TypedTransaction.from_bytes(HexBytes(signed.raw)).as_dict()
    assert fields["chainId"] == (pinned or 1)


@pytest.mark.parametrize("change", ["another contract", "another root", "no event", "reverted"])
def test_an_event_that_is_not_ours_is_no_anchor(world: World, change: str) -> None:
    def lie(name: str, result: Any) -> Any:
        if name != "eth_getTransactionReceipt" or result is None:
            return result
        (log,) = result["logs"]
        if change == "reverted":
            return result | {"status": "0x0"}
        if change == "no event":
            return result | {"logs": []}
        if change == "another contract":
            return result | {"logs": [log | {"address": "0x" + "11" * 20}]}
        return result | {"logs": [log | {"data": log["data"][:66] + "00" * 32 + log["data"][130:]}]}

    world.lair.lie = lie
    for _ in range(3):
        world.now += 3
        world.anchorer.run()
    assert world.log.files.find(f"receipts/{world.log.published.size}") is None
    world.lair.be_honest()
    world.append(1)
    world.settle()


@pytest.mark.parametrize(
    ("count", "limit", "asked"),
    [(3, 16, 3), (16, 16, 16), (17, 16, 0), (2**255, 16, 0), (250, 250, 250)],
    ids=["few", "all", "one more", "without end", "control: another limit"],
)
def test_a_node_cannot_have_us_ask_for_witnesses_without_end(
    world: World, monkeypatch: pytest.MonkeyPatch, count: int, limit: int, asked: int
) -> None:
    """The node says that so many are registered and active, and has no key of any."""
    call, keys_asked = world.lair.methods.call, []
    words = {_selector("witness_count()"): count, _selector("active_witnesses()"): 2**256 - 1}

    def lie(method: str, params: list[Any]) -> Any:
        data = (params[0].get("data") or params[0]["input"])[:10] if method == "eth_call" else ""
        if data == _selector("witness_key(uint256)"):
            keys_asked.append(data)
        return f"0x{words[data]:064x}" if data in words else call(method, params)

    monkeypatch.setattr(world.lair.methods, "call", lie)
    monkeypatch.setattr(ethereum, "MAX_WITNESSES", limit)
    with pytest.raises(EthereumError, match="bad-answer: " + ("a registered" if asked else "more witnesses")):
        world.client.witnesses()
    assert len(keys_asked) == asked


def _selector(signature: str) -> str:
    return "0x" + bytes(Web3.keccak(text=signature)[:4]).hex()
