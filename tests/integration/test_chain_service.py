"""The log process as it runs in a city: through its door, with the signer's socket, killed at any time.

The twenty kills take 15 to 20 s: each life of the log is a new interpreter.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from chain.client import LogClient
from chain.devnode.accounts import load_accounts
from chain.errors import ChainError, LogUnavailable
from chain.ethereum import EthereumClient, deploy_registry
from chain.fsck import check_log
from chain.log import create_log
from chain.transactions import compute_origin_id
from tests.support.log_signer import KEY, ORIGIN, SIGNER_TOKEN, Signer
from tests.support.watched_processes import watched
from verifier.formats.chain_anchor import verify_anchor_receipt
from verifier.formats.checkpoint import verify_public_checkpoint
from verifier.formats.encoding import base64_encode
from verifier.formats.merkle import verify_consistency
from verifier.formats.tiles import TileReader
from verifier.formats.tlog_proof import parse_tlog_proof, upgrade_tlog_proof, verify_tlog_proof

CHAIN_ID = 992011
TOKEN = "door-token-for-tests-only"


class City:
    """Settings, signer and, when started, the log process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        create_log(root / "log", ORIGIN)
        self.signer = Signer(root / "signer.sock")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        for name, text in (("signer.token", SIGNER_TOKEN), ("door.token", TOKEN)):
            (root / name).write_text(text)
            (root / name).chmod(0o600)
        self.environment = os.environ | {
            "AKASHI_PROFILE": "demo",
            "AKASHI_LOG_DIRECTORY": str(root / "log"),
            "AKASHI_LOG_ORIGIN": ORIGIN,
            "AKASHI_LOG_SIGNER_SOCKET": str(root / "signer.sock"),
            "AKASHI_LOG_SIGNER_TOKEN_FILE": str(root / "signer.token"),
            "AKASHI_LOG_TOKEN_FILE": str(root / "door.token"),
            "AKASHI_LOG_PORT": str(self.port),
            "AKASHI_LOG_BEAT": "0.03",
            "AKASHI_LOG_APPEND_SECONDS": "3",
            "AKASHI_LOG_ANCHORING": "off",
            "AKASHI_LOG_PUBLIC_DIRECTORY": str(root / "street"),
        }
        self.client = LogClient(f"http://127.0.0.1:{self.port}", TOKEN, timeout=5)
        self.process: subprocess.Popen | None = None

    @property
    def public(self) -> Path:
        return self.root / "log" / "public"

    @property
    def street(self) -> Path:
        return self.root / "street" / "992011" / "log" / "1"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "chain.service"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=(self.root / "stderr").open("ab"),
            text=True,
        )
        line = self.process.stdout.readline()
        assert line, (self.root / "stderr").read_text()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self) -> int:
        self.process.terminate()
        status = self.process.wait(timeout=15)
        self.process.stdout.close()
        return status

    def wait_until(self, condition, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return
            time.sleep(0.05)
        raise AssertionError(f"not in time: {self.client.state()}")


@pytest.fixture
def city(tmp_path: Path):
    with watched(tmp_path):
        city = City(tmp_path)
        yield city
        _stop(city)


def _stop(city: City) -> None:
    if city.process is not None and city.process.poll() is None:
        city.kill()
    city.signer.shutdown()
    city.signer.server_close()


def entry(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def ask(city: City, method: str, path: str, body: bytes | None = None, token: str | None = TOKEN):
    connection = http.client.HTTPConnection("127.0.0.1", city.port, timeout=5)
    connection.request(method, path, body, {} if token is None else {"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer, data


def test_the_door_answers_proofs_state_and_files_and_refuses_the_rest(city: City) -> None:
    city.start()
    entries = [entry(i) for i in range(5)]
    logged = city.client.append(entries)
    for item, one in zip(logged, entries, strict=True):
        proof = parse_tlog_proof(item.proof)
        assert proof.index == item.index
        verify_tlog_proof(proof, one, KEY)
    assert [item.index for item in city.client.append(entries)] == [item.index for item in logged]
    state = city.client.state()
    assert (state["size"], state["waiting"], state["healthy"]) == (8, 0, True)
    assert city.client.find_public("checkpoint").decode() == state["published"]
    assert city.client.find_public("receipts/8") is None
    city.wait_until(lambda: city.client.state()["uploads"] == 0)
    assert (city.street / "checkpoint").read_bytes() == (city.public / "checkpoint").read_bytes()
    for method, path, body, token, status in (
        ("POST", "/append", b'{"entries":["00"]}', TOKEN, 400),
        ("POST", "/append", b'{"entries":[]}', TOKEN, 400),
        ("POST", "/append", b'{"entries":[1]}', TOKEN, 400),
        ("POST", "/append", b"[", TOKEN, 400),
        ("POST", "/append", json.dumps({"entries": ["00" * 32] * 513}).encode(), TOKEN, 400),
        ("POST", "/append", b" " * 70_000, TOKEN, 413),
        ("POST", "/append", b'{"entries":["' + b"00" * 32 + b'"]}', "x" * 20, 401),
        ("GET", "/state", None, None, 401),
        ("GET", "/public/../log.sqlite", None, TOKEN, 404),
        ("GET", "/public/tile/../../log.sqlite", None, TOKEN, 404),
        ("GET", "/elsewhere", None, TOKEN, 404),
    ):
        answer, data = ask(city, method, path, body, token)
        assert answer.status == status, path
        problem = json.loads(data)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert {"type", "title", "status", "detail", "code"} == set(problem)
        assert TOKEN not in data.decode()
    answer, data = ask(city, "GET", "/healthz", None, None)
    assert (answer.status, json.loads(data)) == (200, {"healthy": True})
    with pytest.raises(ChainError, match="unauthorised"):
        LogClient(f"http://127.0.0.1:{city.port}", "x" * 20).state()
    assert city.stop() == 0
    with pytest.raises(LogUnavailable, match="log-away"):
        city.client.state()


def test_an_absent_signer_means_wait_and_nothing_is_lost(city: City) -> None:
    city.environment["AKASHI_LOG_APPEND_SECONDS"] = "1"
    city.environment["AKASHI_LOG_SIGNER_SOCKET"] = str(city.root / "later.sock")
    city.environment["AKASHI_LOG_VKEY"] = (
        f"{KEY.name}+{KEY.key_id.hex()}+{base64_encode(b'%c' % 1 + KEY.public_key)}"
    )
    city.start()
    with pytest.raises(LogUnavailable, match="signer-away"):
        city.client.append([entry(1)])
    answer, _ = ask(city, "POST", "/append", json.dumps({"entries": [entry(2).hex()]}).encode())
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert city.client.state()["healthy"] is False
    later = Signer(city.root / "later.sock")
    logged = city.client.append([entry(1), entry(2)])
    verify_tlog_proof(parse_tlog_proof(logged[0].proof), entry(1), KEY)
    assert later.violations == []
    later.shutdown()
    later.server_close()


def test_twenty_kills_while_entries_go_in(city: City) -> None:
    """SIGKILL at random moments, twenty times: nothing acknowledged is lost, changed or doubled, and nothing
    forks.

    Takes about 15 s: every kill is a new interpreter.
    """
    rng = random.Random(20)
    stop = threading.Event()
    acknowledged: dict[bytes, tuple[int, bytes]] = {}
    contradictions: list[bytes] = []
    lock = threading.Lock()

    def send(worker: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            entries = [entry(worker, number, i) for i in range(3)]
            while not stop.is_set():
                try:
                    logged = city.client.append(entries)
                    break
                except ChainError:
                    time.sleep(0.02)
            else:
                return
            with lock:
                for one, item in zip(entries, logged, strict=True):
                    if acknowledged.setdefault(one, (item.index, item.proof))[0] != item.index:
                        contradictions.append(one)
            if number % 5 == 0:
                with contextlib.suppress(ChainError):
                    again = city.client.append(entries[:1])[0]
                    if again.index != acknowledged[entries[0]][0]:
                        contradictions.append(entries[0])

    city.start()
    senders = [threading.Thread(target=send, args=(worker,)) for worker in range(3)]
    for sender in senders:
        sender.start()
    for _ in range(20):
        time.sleep(rng.uniform(0.02, 0.35))
        city.kill()
        city.start()
    time.sleep(0.5)
    stop.set()
    for sender in senders:
        sender.join()
    city.wait_until(lambda: city.client.state()["uploads"] == 0)
    assert city.stop() == 0

    assert len(acknowledged) > 60
    assert contradictions == []
    assert city.signer.violations == []
    report = check_log(city.public, KEY)
    assert report.findings == ()
    assert check_log(city.street, KEY) == report, "the street door has the whole log"
    indices = [index for index, _ in acknowledged.values()]
    assert len(indices) == len(set(indices))
    newest = verify_public_checkpoint((city.public / "checkpoint").read_bytes(), KEY).checkpoint
    tiles = TileReader(newest.size, lambda path: (city.public / path).read_bytes())
    roots = {}
    for one, (index, data) in acknowledged.items():
        proof = parse_tlog_proof(data)
        head = verify_tlog_proof(proof, one, KEY).checkpoint
        assert proof.index == index
        assert roots.setdefault(head.size, head.root) == head.root
    for size, root in roots.items():
        verify_consistency(size, root, newest.size, newest.root, tiles.consistency_path(size))


@pytest.fixture
def node(tmp_path: Path):
    command = [sys.executable, "-m", "chain.devnode", "--data", str(tmp_path / "chain"), "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"AKASHI_PROFILE": "demo"}
    )
    ready = json.loads(process.stdout.readline())
    yield ready
    process.kill()
    process.wait()
    process.stdout.close()


def test_from_append_to_anchored_receipt_with_a_kill_and_a_fork_refused(city: City, node: dict) -> None:
    """Log, signer, chain and street directory together; then a restored backup that must not sign."""
    accounts = load_accounts(Path(node["accounts"]))
    contract, _ = deploy_registry(node["rpc"], accounts["owner"].key, accounts["sealer"].address)
    city.environment |= {
        "AKASHI_LOG_ANCHORING": "ethereum",
        "AKASHI_LOG_RPC": node["rpc"],
        "AKASHI_LOG_CHAIN_ID": str(CHAIN_ID),
        "AKASHI_LOG_CONTRACT": "0x" + contract.hex(),
        "AKASHI_LOG_ACCOUNTS": node["accounts"],
        "AKASHI_LOG_ANCHOR_SECONDS": "1",
    }
    ethereum = EthereumClient(node["rpc"], contract)
    city.start()
    city.client.append([entry("backup")])
    city.stop()
    for path in (city.root / "log").rglob("*"):
        if path.is_file():
            target = city.root / "backup" / path.relative_to(city.root / "log")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    city.start()
    first = city.client.append([entry("first")])[0]
    city.kill()
    city.start()
    city.client.append([entry("more")])

    def is_anchored() -> bool:
        state = city.client.state()
        return state["lag"] == 0 and state["uploads"] == 0 and not state["anchoring"]

    city.wait_until(is_anchored)
    size = city.client.state()["size"]
    head = ethereum.head(compute_origin_id(ORIGIN))
    assert head.size == size
    receipt = verify_anchor_receipt(
        (city.street / "receipts" / str(size)).read_bytes(), KEY, CHAIN_ID, contract
    )
    assert receipt.root == head.root
    inclusion = ethereum.find_inclusion(receipt.transaction)
    assert (inclusion.block_hash, inclusion.log_index) == (receipt.block_hash, receipt.log_index)
    # the phone's upgrade: the proof of issuance, carried to the anchored size from public files alone
    proof = upgrade_tlog_proof(
        parse_tlog_proof(first.proof),
        entry("first"),
        (city.street / "checkpoint").read_bytes(),
        lambda path: (city.street / path).read_bytes(),
        KEY,
    )
    assert verify_tlog_proof(proof, entry("first"), KEY).checkpoint == receipt.checkpoint
    assert city.stop() == 0

    signed = len(city.signer.signed)
    (city.root / "log").rename(city.root / "lost")
    (city.root / "backup").rename(city.root / "log")
    city.start()
    with pytest.raises(LogUnavailable, match="seen-larger"):
        city.client.append([entry("after the restore")])
    state = city.client.state()
    assert "seen-larger" in state["refusal"]
    assert state["healthy"] is False
    assert len(city.signer.signed) == signed, "the restored log has asked for no signature"
    assert ethereum.head(compute_origin_id(ORIGIN)) == head


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"AKASHI_PROFILE": ""}, 2, "AKASHI_PROFILE"),
        ({"AKASHI_PROFILE": "test"}, 2, "AKASHI_PROFILE"),
        ({"AKASHI_LOG_PORT": ""}, 2, "AKASHI_LOG_PORT"),
        ({"AKASHI_LOG_DIRECTORY": "nowhere"}, 3, "database-missing"),
    ],
)
def test_it_does_not_start_with_settings_it_cannot_use(
    city: City, change: dict, status: int, words: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chain.service"],
        env=city.environment | change,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr
