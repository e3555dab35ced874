"""Five witness processes, a log, the embedded chain and the contract with threshold 3: together, and with parts away.

One operator runs all of them here (模擬/MOCK). Processes are shared by the tests of this file; each test has a log of
its own, under an origin that the witnesses know. Starting them takes some seconds of imports.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chain.anchorer import Anchorer
from chain.anchoring import Rules
from chain.checkpoint_key import SoftwareSigner
from chain.cli import add_commands
from chain.cosigning import Cosigning, build_cosigning
from chain.devnode.accounts import load_accounts
from chain.errors import EthereumError, LogRefused, LogUnavailable
from chain.ethereum import EthereumClient, deploy_registry
from chain.floor import SeenHead
from chain.log import Log, create_log
from chain.transactions import Fees, Submission, compute_origin_id
from tests.support.watched_processes import watched
from verifier.formats.checkpoint import verify_bundled_checkpoint, verify_public_checkpoint
from verifier.formats.merkle import verify_consistency
from verifier.formats.signed_note import SignatureError, VerifierKey, build_vkey, format_vkey, parse_note
from verifier.formats.tlog_proof import format_tlog_proof, parse_tlog_proof, verify_tlog_proof
from verifier.formats.witness_policy import parse_witness_policy

CHAIN_ID = 992011
COUNT, QUORUM = 5, 3
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x0b" * 32)
PUBLIC = PRIVATE.public_key().public_bytes_raw()
LOGS = [build_vkey(f"door.mihon.example/992011/log/{number}", PUBLIC) for number in range(1, 10)]


def entry(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def command(*arguments: str) -> dict:
    """An `akashi chain` command in this process; its JSON answer."""
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    options = parser.parse_args(["chain", *arguments])
    answer = []
    with contextlib.redirect_stdout(_Lines(answer)):
        assert options.run(options) == 0
    return json.loads("".join(answer))


class _Lines:
    def __init__(self, parts: list[str]) -> None:
        self._parts = parts

    def write(self, text: str) -> None:
        self._parts.append(text)

    def flush(self) -> None: ...


class Witness:
    """One witness process in its own directory, on a port that stays its own."""

    def __init__(self, root: Path, number: int, anchor: str) -> None:
        self.name = f"w{number}"
        self.directory = root / self.name
        self._root, self._anchor = root, anchor
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    def launch(self) -> None:
        arguments = ["--data", str(self.directory), "--port", str(self.port), "--anchor", self._anchor]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "chain.witness", *arguments, "--logs", str(self._root / "logs")],
            env=os.environ | {"AKASHI_PROFILE": "demo"},
            stdout=subprocess.PIPE,
            stderr=(self._root / f"{self.name}.stderr").open("ab"),
            text=True,
        )

    def wait_ready(self) -> dict:
        line = self.process.stdout.readline()
        assert line, (self._root / f"{self.name}.stderr").read_text()
        return json.loads(line)

    def start(self) -> None:
        self.launch()
        self.wait_ready()

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def latest(self, key: VerifierKey) -> SeenHead:
        status, body = self.ask("GET", f"/{hashlib.sha256(key.name.encode()).hexdigest()}/checkpoint")
        if status == 404:
            return SeenHead(0, b"")
        checkpoint = verify_public_checkpoint(body, key).checkpoint
        return SeenHead(checkpoint.size, checkpoint.root)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, data


class World:
    """Chain, contract and witnesses."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.node = subprocess.Popen(
            [sys.executable, "-m", "chain.devnode", "--data", str(root / "chain"), "--port", "0"],
            env=os.environ | {"AKASHI_PROFILE": "demo"},
            stdout=subprocess.PIPE,
            text=True,
        )
        ready = json.loads(self.node.stdout.readline())
        self.rpc = ready["rpc"]
        self.accounts_file = Path(ready["accounts"])
        accounts = load_accounts(self.accounts_file)
        self.contract, _ = deploy_registry(self.rpc, accounts["owner"].key, accounts["sealer"].address)
        self.ethereum = EthereumClient(self.rpc, self.contract, accounts["sealer"].key)
        (root / "logs").write_text("".join(f"log {format_vkey(key)}\n" for key in LOGS))
        anchor = f"{CHAIN_ID}:0x{self.contract.hex()}"
        self.witnesses = [Witness(root, number, anchor) for number in range(1, COUNT + 1)]
        lines = []
        for witness in self.witnesses:
            made = command("witness-keygen", "--directory", str(witness.directory), "--name", witness.name)
            assert made["mock"] is True
            lines.append(made["policy"])
            witness.launch()
        files = [str(witness.directory / "witness.json") for witness in self.witnesses]
        registering = ["witness-register", "--rpc", self.rpc, "--contract", "0x" + self.contract.hex()]
        registering += ["--accounts", str(self.accounts_file), "--threshold", str(QUORUM)]
        registering += [item for file in files for item in ("--witness", file)]
        self.registered = command(*registering)
        again = command(*registering)
        assert [item["gas"] for item in again["witnesses"]] == [0] * COUNT, "registering twice does nothing"
        for witness in self.witnesses:
            assert "MOCK" in witness.wait_ready()["mock"]
        names = " ".join(witness.name for witness in self.witnesses)
        self.policy_text = "\n".join([*lines, f"group all-of-us {QUORUM} {names}", "quorum all-of-us", ""])
        self.policy = parse_witness_policy(self.policy_text)
        self.urls = {witness.name: witness.url for witness in self.witnesses}

    def cosigning(self, key: VerifierKey, timeout: float = 5.0) -> Cosigning:
        return build_cosigning(self.policy, self.urls, key, timeout)

    def start_all(self) -> None:
        for witness in self.witnesses:
            if witness.process is None:
                witness.launch()
                witness.wait_ready()

    def close(self) -> None:
        for witness in self.witnesses:
            witness.kill()
        self.node.kill()
        self.node.wait()
        self.node.stdout.close()


class Signer(SoftwareSigner):
    """Counts what it was asked to sign."""

    def __init__(self) -> None:
        super().__init__(PRIVATE)
        self.texts: list[str] = []

    def sign(self, note_text: str) -> bytes:
        self.texts.append(note_text)
        return super().sign(note_text)


class City:
    """A log with witnesses, in this process."""

    def __init__(self, world: World, root: Path, key: VerifierKey, *, sources=()) -> None:
        self.world, self.key = world, key
        self.directory = root / "log"
        if not self.directory.exists():
            create_log(self.directory, key.name)
        self.signer = Signer()
        self.cosigning = world.cosigning(key)
        self.log = Log(
            self.directory, key, self.signer, sources=sources, cosigning=self.cosigning, padding=1, mix=False
        )

    def anchorer(self) -> Anchorer:
        rules = Rules(interval=0, confirmations=1, resend_after=1, replace_after=60, lost_after=5)
        clock = lambda: int(time.time())  # noqa: E731
        return Anchorer(self.log, self.world.ethereum, CHAIN_ID, self.signer, clock, rules, self.cosigning)

    def check_published(self) -> int:
        """The published checkpoint as a verifier reads it; answers how many witnesses have cosigned."""
        data = (self.directory / "public" / "checkpoint").read_bytes()
        keys = self.world.policy.keys
        verified = verify_bundled_checkpoint(data, self.key, keys)
        assert self.world.policy.is_met_by({item.key for item in verified.signatures})
        assert verified.checkpoint.size == self.log.published.size
        return len(verified.signatures) - 1


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AKASHI_PROFILE", "demo")
        root = tmp_path_factory.mktemp("world")
        with watched(root):
            world = World(root)
            yield world
            world.close()


def test_cosigned_published_and_taken_by_the_contract(world: World, tmp_path: Path) -> None:
    city = City(world, tmp_path, LOGS[0])
    anchorer = city.anchorer()
    gas = []
    for number in range(3):
        city.log.append([entry(number, i) for i in range(3)])
        assert city.check_published() >= QUORUM
        anchorer.run()
        assert anchorer.reason == ""
        head = world.ethereum.head(compute_origin_id(LOGS[0].name))
        assert (head.size, head.root) == (city.log.published.size, city.log.published.root)
        receipt = anchorer._outbox.newest_final()
        gas.append(_gas(world, receipt.transaction.tx_hash))
    print(f"gas of submit with {QUORUM} to {COUNT} witnesses: {gas}; registering: {world.registered}")
    assert max(gas) < 400_000
    proof = parse_tlog_proof(format_tlog_proof(city.log.prove(4)))
    verify_tlog_proof(proof, entry(1, 1), LOGS[0], world.policy.keys)
    with pytest.raises(SignatureError, match="signature-unexpected"):
        verify_tlog_proof(proof, entry(1, 1), LOGS[0])  # a reader whose trust list names no witnesses
    assert (city.directory / "public" / "checkpoints" / "9").read_bytes() == city.log.published.checkpoint
    city.log.close()
    assert not any((city.directory / "staging").iterdir())


def _gas(world: World, tx_hash: bytes) -> int:
    return int(world.ethereum.parts()[0].eth.get_transaction_receipt(tx_hash)["gasUsed"])


def test_a_fork_is_refused_by_witnesses_and_contract(world: World, tmp_path: Path) -> None:
    key = LOGS[1]
    city = City(world, tmp_path, key)
    city.log.append([entry("honest", i) for i in range(5)])
    city.anchorer().run()
    city.log.append([entry("honest", 5)])

    for entries, code in ((6, "seen-fork"), (9, "seen-unknown"), (4, "seen-larger")):
        # the same origin and key, another history: no memory but the witnesses' stands in its way
        forked = City(world, tmp_path / f"fork {entries}", key)
        forked.log._is_cleared = True  # a dishonest log would not ask either
        with pytest.raises((LogRefused, LogUnavailable)) as caught:
            forked.log.append([entry("fork", i) for i in range(entries)])
        assert caught.value.code == code
        assert not (forked.directory / "public" / "checkpoint").exists()
        with pytest.raises(LogRefused):
            forked.log.append([entry("fork", "more")])
        forked.log.close()
    for witness in world.witnesses:
        assert witness.latest(key).root == city.log.published.root
    submission = Submission(compute_origin_id(key.name), 9, entry("other root"), [entry("path")] * 3)
    with pytest.raises(EthereumError, match="consistency proof"):
        world.ethereum.sign_submission(submission, world.ethereum.nonce(), Fees(10**10, 0))
    published, path = city.log.consistency_path(5)
    honest = Submission(compute_origin_id(key.name), published.size, published.root, path)
    with pytest.raises(EthereumError, match="too few witnesses"):
        world.ethereum.sign_submission(honest, world.ethereum.nonce(), Fees(10**10, 0))
    city.anchorer().run()
    assert world.ethereum.head(compute_origin_id(key.name)).size == 6
    city.log.close()


def test_one_two_and_three_witnesses_down(world: World, tmp_path: Path) -> None:
    city = City(world, tmp_path, LOGS[2])
    city.log.append([entry(0)])
    anchorer = city.anchorer()
    for number in (1, 2):
        world.witnesses[number].kill()
        city.log.append([entry(number)])
        assert city.check_published() == COUNT - number
        anchorer.run()
        assert anchorer.reason == ""
    world.witnesses[3].kill()
    before = city.log.published
    with pytest.raises(LogUnavailable, match="quorum-missing: 2 of 5"):
        city.log.append([entry(3)])
    signed = len(city.signer.texts)
    for _ in range(3):
        # the chain is no source here and the quorum is away: nobody to ask, so nothing more is signed
        with pytest.raises(LogUnavailable, match="nobody-to-ask"):
            city.log.append([entry(3), entry(4)])
    assert len(city.signer.texts) == signed
    assert city.log.published == before
    assert city.log.refusal is None
    # a crash in between changes nothing
    city.log.close()
    city = City(world, tmp_path, LOGS[2])
    assert city.log.resume() is False
    assert city.signer.texts == [], "without chain and quorum it starts and signs nothing"
    world.start_all()
    city.log.append([entry(3), entry(4)])
    assert city.check_published() >= QUORUM
    assert city.log.published.size == 5
    anchorer = city.anchorer()
    anchorer.run()
    assert anchorer.reason == ""
    # those that were away are brought up to date by the next checkpoint
    city.log.append([entry(5)])
    _until(lambda: all(witness.latest(LOGS[2]).size == 6 for witness in world.witnesses))
    city.log.close()


def test_the_contract_waits_for_its_threshold(world: World, tmp_path: Path) -> None:
    city = City(world, tmp_path, LOGS[3])
    city.log.append([entry(0)])
    anchorer = city.anchorer()
    for witness in world.witnesses[:3]:
        witness.kill()
    anchorer.run()
    assert "too-few-witnesses" in anchorer.reason
    assert world.ethereum.head(compute_origin_id(LOGS[3].name)).size == 0
    world.start_all()
    anchorer.run()
    assert anchorer.reason == ""
    assert world.ethereum.head(compute_origin_id(LOGS[3].name)).size == 1
    city.log.close()


def test_a_restored_log_signs_nothing(world: World, tmp_path: Path) -> None:
    city = City(world, tmp_path, LOGS[4])
    city.log.append([entry(0)])
    city.log.close()
    shutil.copytree(city.directory, tmp_path / "backup")
    city = City(world, tmp_path, LOGS[4])
    city.log.append([entry(1)])
    city.log.close()
    shutil.rmtree(city.directory)
    (tmp_path / "backup").rename(city.directory)
    restored = City(world, tmp_path, LOGS[4])
    with pytest.raises(LogRefused, match="seen-larger"):
        restored.log.append([entry("another history")])
    assert restored.signer.texts == []
    restored.log.close()


def test_a_restored_witness_catches_up_and_alone_makes_no_quorum(world: World, tmp_path: Path) -> None:
    key = LOGS[5]
    city = City(world, tmp_path, key)
    city.log.append([entry(0), entry(1)])
    witness = world.witnesses[0]
    _until(lambda: witness.latest(key).size == 2)
    witness.kill()
    backup = tmp_path / "backup"
    shutil.copytree(witness.directory, backup)
    witness.start()
    city.log.append([entry(2)])
    _until(lambda: witness.latest(key).size == 3)
    witness.kill()
    shutil.rmtree(witness.directory)
    backup.rename(witness.directory)
    witness.start()
    assert witness.latest(key).size == 2
    # a fork from where the backup was made: this one witness could be deceived, the quorum cannot
    forked = City(world, tmp_path / "fork", key)
    forked.log._is_cleared = True
    with pytest.raises(LogRefused):
        forked.log.append([entry(0), entry(1), entry("fork")])
    assert not (forked.directory / "public" / "checkpoint").exists()
    forked.log.close()
    if witness.latest(key).size == 2:
        city.log.append([entry(3)])
        assert city.check_published() >= QUORUM
        _until(lambda: witness.latest(key).size == 4)
        assert witness.latest(key).root == city.log.published.root
    city.log.close()


def test_witnesses_killed_at_random_never_go_back_or_aside(world: World, tmp_path: Path) -> None:
    key, chance, stop = LOGS[6], random.Random(11), threading.Event()
    city = City(world, tmp_path, key)

    def kill_some() -> None:
        while not stop.wait(chance.uniform(0.05, 0.3)):
            witness = chance.choice(world.witnesses[:3])
            witness.kill()
            stop.wait(0.1)
            witness.start()

    killer = threading.Thread(target=kill_some)
    killer.start()
    published, seen = [], {witness.name: SeenHead(0, b"") for witness in world.witnesses}
    deadline = time.monotonic() + 8
    try:
        while time.monotonic() < deadline or len(published) < 20:
            with contextlib.suppress(LogUnavailable):
                city.log.append([entry(len(published), i) for i in range(2)])
                city.check_published()
                published.append(city.log.published)
            for witness in world.witnesses:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    head = witness.latest(key)
                    assert head.size >= seen[witness.name].size, f"{witness.name} has gone back"
                    seen[witness.name] = head
    finally:
        stop.set()
        killer.join()
    world.start_all()
    city.log.append([entry("last")])
    city.check_published()
    _until(lambda: all(witness.latest(key).size == city.log.published.size for witness in world.witnesses))
    last, _ = city.log.consistency_path(1)
    for item in published:
        newest, path = city.log.consistency_path(item.size)
        verify_consistency(item.size, item.root, newest.size, newest.root, path)
    assert {witness.latest(key).root for witness in world.witnesses} == {last.root}
    assert city.log.refusal is None
    city.log.close()


def test_a_hostile_witness_gains_only_delay(world: World, tmp_path: Path) -> None:
    """It claims a huge size, answers nonsense, or never ends; our own signature is what it cannot make."""
    import socketserver

    answers = {"claims": b"", "nonsense": b"", "drips": b""}
    mode = "claims"

    class Liar(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline()
            if mode == "drips":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
                with contextlib.suppress(OSError):
                    for _ in range(40):
                        self.wfile.write(b"x")
                        time.sleep(0.1)
                return
            if mode == "nonsense":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\xff\n\n")
                return
            if line.startswith(b"POST"):
                self.wfile.write(b"HTTP/1.1 409 Conflict\r\nContent-Length: 7\r\n\r\n999999\n")
            else:
                note = parse_note(city.log.published.checkpoint)
                text = note.text.replace("\n3\n", "\n999999\n").replace("\n1\n", "\n999999\n")
                body = text.encode() + city.log.published.checkpoint[len(note.text.encode()) :]
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Liar) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        urls = world.urls | {"w2": f"http://127.0.0.1:{server.server_address[1]}"}
        city = City(world, tmp_path, LOGS[7])
        city.log.append([entry(0)])
        city.log.close()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(world, "urls", urls)
            city = City(world, tmp_path, LOGS[7])
        for mode in answers:
            city.log.append([entry(mode)])
            assert city.check_published() >= QUORUM
        assert city.log.refusal is None
        city.log.close()
        server.shutdown()


def test_the_door_of_a_witness(world: World) -> None:
    witness = world.witnesses[4]
    world.start_all()
    for method, path, body, headers, status in (
        ("GET", "/healthz", None, {}, 200),
        ("GET", "/", None, {}, 404),
        ("GET", "/" + "0" * 64 + "/checkpoint", None, {}, 404),
        ("GET", "/../keys.json", None, {}, 404),
        ("POST", "/healthz", b"x", {}, 404),
        ("POST", "/add-checkpoint", b"", {}, 400),
        ("POST", "/add-checkpoint", b"\xff" * 100, {}, 400),
        ("POST", "/add-checkpoint", b"old 0\n\n", {}, 400),
        ("POST", "/add-checkpoint", None, {"Content-Length": "99999999"}, 413),
        ("POST", "/add-checkpoint", None, {"Content-Length": "x"}, 411),
        ("POST", "/anchor-statement", b"x\n\ny", {}, 400),
    ):
        assert witness.ask(method, path, body, **headers)[0] == status, (method, path, status)
    assert json.loads(witness.ask("POST", "/add-checkpoint", b"x")[1])["status"] == 400


@pytest.mark.parametrize(
    ("environment", "arguments", "words"),
    [
        ({"AKASHI_PROFILE": ""}, [], "AKASHI_PROFILE"),
        ({"AKASHI_PROFILE": "production"}, [], "other-profile"),
        ({}, ["--data", "nowhere"], "keys-missing"),
        ({}, ["--logs", "nowhere"], "bad-logs"),
        ({}, ["--port", "99999"], "PORT"),
    ],
)
def test_it_does_not_start_with_settings_it_cannot_use(
    world: World, environment: dict, arguments: list[str], words: str
) -> None:
    good = ["--data", str(world.witnesses[0].directory), "--port", "0", "--logs", str(world.root / "logs")]
    done = subprocess.run(
        [sys.executable, "-m", "chain.witness", *good, *arguments],
        env=os.environ | {"AKASHI_PROFILE": "demo"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def _until(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)
