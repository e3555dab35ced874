"""The embedded chain as a process: JSON-RPC as web3.py speaks it, and kill -9 at any time."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from eth_account import Account

from chain.devnode.accounts import load_accounts, load_or_create_accounts
from chain.devnode.blockchain import Blockchain
from chain.errors import EthereumError, SettingsError
from chain.ethereum import EthereumClient, deploy_registry
from chain.transactions import Fees, Submission
from tests.support.watched_processes import watched

CHAIN_ID = 992011


class Node:
    """`python -m chain.devnode` on a free port."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.start()

    def start(self, port: int = 0) -> None:
        command = [sys.executable, "-m", "chain.devnode", "--data", str(self.data), "--port", str(port)]
        environment = os.environ | {"AKASHI_PROFILE": "demo"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self.ready = json.loads(self.process.stdout.readline())
        self.url = self.ready["rpc"]
        self.port = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def rpc(self, method: str, *params):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})
        connection.request("POST", "/", body)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    data = tmp_path_factory.mktemp("devnode")
    with watched(data):
        node = Node(data)
        yield node
        node.process.terminate()
        assert node.process.wait(timeout=10) == 0
        node.process.stdout.close()


@pytest.fixture(scope="module")
def registry(node: Node):
    accounts = load_accounts(Path(node.ready["accounts"]))
    contract, gas = deploy_registry(node.url, accounts["owner"].key, accounts["sealer"].address)
    assert gas > 1_000_000
    return contract


def client(node: Node, contract: bytes) -> EthereumClient:
    key = load_accounts(Path(node.ready["accounts"]))["sealer"].key
    return EthereumClient(node.url, contract, key)


def test_the_client_sees_chain_contract_and_blocks(node: Node, registry: bytes) -> None:
    ethereum = client(node, registry)
    identity = ethereum.identity()
    assert identity.chain_id == CHAIN_ID
    assert identity.genesis == ethereum.block_hash(0)
    assert ethereum.has_contract()
    assert not client(node, b"\x01" * 20).has_contract()
    assert ethereum.block_hash(10_000) is None
    assert ethereum.fees().max_fee > 0


def test_a_submission_goes_through_and_its_refusals_have_words(node: Node, registry: bytes) -> None:
    ethereum = client(node, registry)
    origin = b"\x21" * 32
    nonce = ethereum.nonce()
    signed = ethereum.sign_submission(Submission(origin, 3, b"\x02" * 32, []), nonce, ethereum.fees())
    assert ethereum.find_inclusion(signed.tx_hash) is None
    ethereum.broadcast(signed)
    ethereum.broadcast(signed)  # already known
    inclusion = ethereum.find_inclusion(signed.tx_hash)
    assert (inclusion.is_success, inclusion.size, inclusion.root) == (True, 3, b"\x02" * 32)
    assert ethereum.block_hash(inclusion.block_number) == inclusion.block_hash
    assert ethereum.head(origin).size == 3
    assert ethereum.nonce() == nonce + 1
    with pytest.raises(EthereumError, match="size does not grow"):
        ethereum.sign_submission(Submission(origin, 3, b"\x02" * 32, []), nonce + 1, ethereum.fees())
    with pytest.raises(EthereumError, match="consistency proof too short"):
        ethereum.sign_submission(Submission(origin, 4, b"\x02" * 32, []), nonce + 1, ethereum.fees())
    other = Submission(b"\x22" * 32, 3, b"\x02" * 32, [])
    late = ethereum.sign_submission(other, nonce, ethereum.fees())
    with pytest.raises(EthereumError, match="nonce too low"):
        ethereum.broadcast(late)
    early = ethereum.sign_submission(other, nonce + 5, ethereum.fees())
    with pytest.raises(EthereumError, match="nonce too high"):
        ethereum.broadcast(early)
    poor = ethereum.sign_submission(other, nonce + 1, Fees(1, 1))
    with pytest.raises(EthereumError, match="not-sent"):
        ethereum.broadcast(poor)
    ethereum.broadcast(ethereum.sign_submission(other, nonce + 1, ethereum.fees()))
    assert ethereum.head(b"\x22" * 32).size == 3


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("eth_nothing", [], -32601),
        ("eth_sendRawTransaction", ["0x"], -32602),
        ("eth_sendRawTransaction", ["0x02c0"], -32602),
        ("eth_sendRawTransaction", ["0xzz"], -32602),
        ("eth_getBalance", ["0x01", "latest"], -32602),
        ("eth_getBalance", ["0x" + "11" * 20, "0xffffff"], -39001),
        ("eth_getBalance", [], -32602),
        ("eth_call", [{"to": "0x" + "00" * 19 + "0f", "data": "0x00"}, "latest"], -32000),
        ("eth_call", ["text", "latest"], -32602),
    ],
)
def test_bad_requests_get_their_code(node: Node, method: str, params: list, code: int) -> None:
    assert node.rpc(method, *params)["error"]["code"] == code


def test_unknown_things_are_null_and_batches_are_answered(node: Node) -> None:
    assert node.rpc("eth_getTransactionReceipt", "0x" + "11" * 32)["result"] is None
    assert node.rpc("eth_getTransactionByHash", "0x" + "11" * 32)["result"] is None
    assert node.rpc("eth_getBlockByNumber", "0xffffff", False)["result"] is None
    assert node.rpc("eth_getBlockByHash", "0x" + "11" * 32, False)["result"] is None
    assert "MOCK" in node.rpc("web3_clientVersion")["result"]
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
    connection.request("POST", "/", json.dumps([{"id": 1, "method": "eth_chainId"}, {"id": 2}]))
    first, second = json.loads(connection.getresponse().read())
    assert first["result"] == hex(CHAIN_ID)
    assert second["error"]["code"] == -32600
    connection.request("POST", "/", "{")
    assert json.loads(connection.getresponse().read())["error"]["code"] == -32700
    connection.close()


def test_a_transaction_for_another_chain_is_refused(node: Node) -> None:
    key = load_accounts(Path(node.ready["accounts"]))["owner"].key
    transaction = {
        "chainId": 1,
        "nonce": 1,
        "gas": 21000,
        "maxFeePerGas": 10**10,
        "maxPriorityFeePerGas": 1,
        "to": "0x" + "11" * 20,
        "value": 1,
    }
    raw = Account.from_key(key).sign_transaction(transaction).raw_transaction
    assert node.rpc("eth_sendRawTransaction", "0x" + bytes(raw).hex())["error"]["code"] == -32602


def test_killed_at_any_time_the_chain_has_every_block_it_answered_for(tmp_path: Path) -> None:
    """SIGKILL while transactions go in, four times: each answered one is in a block, with receipt, log and old
    state.
    """
    with watched(tmp_path):
        _kill_and_count(Node(tmp_path))


def _kill_when(node: Node, busy: threading.Event, seconds: float) -> None:
    # after something was answered: on a busy machine a fixed time would kill it before
    busy.wait(30)
    time.sleep(seconds)
    node.kill()


def _kill_and_count(node: Node) -> None:
    accounts = load_accounts(Path(node.ready["accounts"]))
    contract, _ = deploy_registry(node.url, accounts["owner"].key, accounts["sealer"].address)
    answered: dict[bytes, int] = {}
    number = 0
    for round_number in range(4):
        ethereum = client(node, contract)
        busy = threading.Event()
        killer = threading.Thread(target=_kill_when, args=(node, busy, 0.08 * round_number))
        killer.start()
        at_first = len(answered)
        try:
            while True:
                number += 1
                origin = number.to_bytes(32, "big")
                signed = ethereum.sign_submission(
                    Submission(origin, number, b"\x02" * 32, []), ethereum.nonce(), Fees(10**10, 10**9)
                )
                ethereum.broadcast(signed)
                answered[signed.tx_hash] = number
                if len(answered) - at_first >= 2:
                    busy.set()
        except EthereumError:
            killer.join()
        node.start(node.port)
    ethereum = client(node, contract)
    assert len(answered) >= 8
    for tx_hash, size in answered.items():
        inclusion = ethereum.find_inclusion(tx_hash)
        assert inclusion is not None
        assert inclusion.size == size
        assert ethereum.head(size.to_bytes(32, "big")).size == size
    # at most the transaction whose answer was cut off is there besides
    assert len(answered) <= ethereum.nonce() <= len(answered) + 4
    first = ethereum.find_inclusion(next(iter(answered)))
    old = node.rpc(
        "eth_getTransactionCount", "0x" + accounts["sealer"].address.hex(), hex(first.block_number)
    )
    assert old["result"] == "0x1"
    logs = node.rpc(
        "eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest", "address": "0x" + contract.hex()}
    )
    assert len(logs["result"]) >= len(answered)
    node.kill()


def test_the_embedded_chain_runs_in_the_demo_only(tmp_path: Path) -> None:
    for profile in ("production", ""):
        command = [sys.executable, "-m", "chain.devnode", "--data", str(tmp_path), "--port", "0"]
        environment = {**os.environ, "AKASHI_PROFILE": profile}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 2
        assert "demo" in done.stderr
    assert not (tmp_path / "chain.sqlite").exists()


def test_one_process_owns_a_chain(node: Node, tmp_path: Path) -> None:
    for data, port, words in ((node.data, 0, "chain-in-use"), (tmp_path, node.port, "port-in-use")):
        command = [sys.executable, "-m", "chain.devnode", "--data", str(data), "--port", str(port)]
        environment = os.environ | {"AKASHI_PROFILE": "demo"}
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, timeout=30
        )
        assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (2, True, False)


def test_demo_accounts_are_made_once_and_kept_to_oneself(tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    accounts = load_or_create_accounts(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_create_accounts(path) == accounts
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="readable by others"):
        load_accounts(path)
    path.chmod(0o600)
    path.write_text(path.read_text().replace("true", "false"))
    with pytest.raises(SettingsError, match="not a file of demo accounts"):
        load_accounts(path)


def test_a_failed_block_leaves_no_trace(tmp_path: Path, monkeypatch) -> None:
    account = Account.from_key(b"\x11" * 32)
    address = bytes.fromhex(account.address[2:])
    chain = Blockchain(tmp_path / "c.sqlite", lambda: 1_800_000_000, funded={address: 10**20})
    transaction = {
        "chainId": CHAIN_ID,
        "nonce": 0,
        "gas": 21000,
        "maxFeePerGas": 10**10,
        "maxPriorityFeePerGas": 1,
        "to": "0x" + "22" * 20,
        "value": 5,
    }
    raw = bytes(account.sign_transaction(transaction).raw_transaction)

    class InjectedError(Exception):
        pass

    def fail(*_arguments, **_options):
        raise InjectedError

    with monkeypatch.context() as patch:
        patch.setattr(type(chain._chain), "mine_block", fail)
        with pytest.raises(InjectedError):
            chain.send(raw)
    assert chain.head().block_number == 0
    chain.send(raw)
    assert chain.head().block_number == 1
    assert chain.state(chain.head()).get_balance(b"\x22" * 20) == 5
    chain.close()
    again = Blockchain(tmp_path / "c.sqlite", lambda: 1_800_000_000)
    assert again.head().block_number == 1
    assert again.state(again.header(0)).get_balance(b"\x22" * 20) == 0
    again.close()
