"""`akashi-verify audit` as a person runs it: over HTTP and on a copy, with real files, a real node and bad ones."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from chain.anchorer import Anchorer
from chain.anchoring import Rules
from chain.checkpoint_key import SoftwareSigner
from chain.devnode.accounts import load_accounts
from chain.ethereum import EthereumClient, deploy_registry
from chain.log import Log, create_log
from tests.support.audit_logs import (
    CHAIN_ID,
    LOG_KEY,
    ORIGIN,
    VKEY,
    FakeNode,
    PublishedLog,
    entry,
    run_audit,
    trust_data,
)
from tests.support.watched_processes import watched
from verifier.audit.log_source import DirectoryLog, HttpLog
from verifier.audit.node import Node
from verifier.cli import main
from verifier.errors import LimitError, SourceError, UsageError
from verifier.formats.trust_list import ChainTrust

AT = ("--at", "2026-11-20T03:00:00Z")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args: object) -> None:
        pass


@contextlib.contextmanager
def serving(handler: Callable[..., http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def rpc(
    node: FakeNode | None = None, *, raw: bytes = b"", status: int = 200, stall: threading.Event | None = None
):
    """A handler that serves a fake node, or fixed bytes, or nothing."""

    class Handler(_Quiet):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if stall is not None:
                stall.wait(20)
            body = raw
            if node is not None:
                result = node.ask(asked["method"], *asked["params"])
                body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}).encode()
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

    return Handler


@pytest.fixture
def trust_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "trust"
    directory.mkdir()
    (directory / "992011.root.json").write_bytes(trust_data())
    return directory


@pytest.fixture
def run(trust_dir: Path, capsys: pytest.CaptureFixture[str]):
    def run_command(log: object, *more: object) -> tuple[int, str, str]:
        words = ["audit", "--log", str(log), "--trust", str(trust_dir), *AT, *(str(word) for word in more)]
        code = main(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_command


def anchored(size: int = 400) -> PublishedLog:
    return PublishedLog(size).anchor().grow(30).anchor().grow(7)


# -- answers and exit codes ----------------------------------------------------------------------------------------


def test_a_copy_and_the_log_itself_give_the_same_report(run, tmp_path: Path) -> None:
    directory = anchored().write(tmp_path / "log")
    code, copy, _ = run(directory, "--json")
    assert code == 0
    with serving(partial(_Quiet, directory=str(directory))) as url:
        code, answer, error = run(url + "/", "--json")
    assert code == 0 and error == ""
    copy, answer = json.loads(copy), json.loads(answer)
    assert answer["anchors"].pop("compared") == 1 and copy["anchors"].pop("compared") == 2
    assert answer == copy
    assert answer["outcome"] == "clean" and answer["checkpoint"]["size"] == 437


def test_people_are_told_what_was_found_and_where(run, tmp_path: Path) -> None:
    log = anchored()
    code, out, err = run(log.write(tmp_path / "good"))
    assert code == 0 and "one history" in out and "模擬 / MOCK" in out and "was not asked" in err
    code, out, err = run(log.flip("tile/0/000", 0).write(tmp_path / "bad"))
    assert code == 1 and "[tile-mismatch] tile/0/000" in out and "evidence" in err


def test_an_outage_is_exit_code_three(run, tmp_path: Path) -> None:
    code, out, err = run("http://127.0.0.1:9/992011/log/1")
    assert code == 3 and "[log-unreachable]" in out and "no accusation" in out and "later" in err
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty")[0] == 3


@pytest.mark.parametrize(
    "words",
    [
        ("--confirmations", "0"), ("--city", "123456"), ("--rpc", "file:///etc/hosts"), ("--state", "missing/state"),
        ("--seen", "missing"), ("--seen", "garbage"), ("--state", "garbage"), ("--at", "yesterday"),
    ],
)  # fmt: skip
def test_wrong_use_is_exit_code_two(run, tmp_path: Path, words: tuple[str, str], monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "garbage").write_bytes(b"garbage")
    code, out, err = run(PublishedLog(3).write(tmp_path / "log"), *words)
    assert (code, out) == (2, "") and err.startswith("akashi-verify: ")


@pytest.mark.parametrize(
    "place", ["nowhere", "http://", "http://user@host/", "http://host/?q", "http://host/a b"]
)
def test_a_place_that_is_none_is_wrong_use(run, place: str) -> None:
    assert run(place)[0] == 2


def test_a_trust_list_without_a_chain_asks_no_node(run, trust_dir: Path, tmp_path: Path) -> None:
    (trust_dir / "992011.root.json").write_bytes(trust_data(chain=None))
    directory = PublishedLog(3).write(tmp_path / "log")
    assert run(directory)[0] == 0
    assert run(directory, "--rpc", "http://127.0.0.1:9")[0] == 2


# -- remembering ---------------------------------------------------------------------------------------------------


def test_two_audits_with_a_state_find_fork_and_rollback(run, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    assert run(PublishedLog(300).write(tmp_path / "1"), "--state", state)[0] == 0
    remembered = state.read_bytes()
    code, out, _ = run(PublishedLog(300, salt=1).write(tmp_path / "2"), "--state", state)
    assert code == 1 and "[fork] state" in out
    code, out, _ = run(PublishedLog(299).write(tmp_path / "3"), "--state", state)
    assert code == 1 and "[rollback]" in out
    assert state.read_bytes() == remembered  # evidence is kept
    code, out, _ = run(PublishedLog(300).grow(400).write(tmp_path / "4"), "--state", state, "--json")
    assert code == 0 and json.loads(out)["walked"]["from"] == 300
    assert state.read_bytes() != remembered


def test_a_checkpoint_of_somebody_else_is_compared(run, tmp_path: Path) -> None:
    directory = PublishedLog(300).write(tmp_path / "log")
    for salt, expected in ((0, 0), (1, 1)):
        (tmp_path / "note").write_bytes(PublishedLog(77, salt=salt).files["checkpoint"])
        assert run(directory, "--seen", tmp_path / "note")[0] == expected


# -- bad nodes -----------------------------------------------------------------------------------------------------


def test_an_honest_and_a_lying_node(run, tmp_path: Path) -> None:
    log = anchored()
    directory, node = log.write(tmp_path / "log"), FakeNode(log)
    with serving(rpc(node)) as url:
        code, out, _ = run(directory, "--rpc", url, "--json")
        assert code == 0 and json.loads(out)["anchors"] == {"compared": 2, "on_chain": 2, "pending": 0}
        del node.events[0]
        code, out, _ = run(directory, "--rpc", url)
        assert code == 1 and "[chain-gap] chain" in out
        node.chain_id = 1
        code, out, _ = run(directory, "--rpc", url)
        assert code == 3 and "[chain-other-chain] chain" in out


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"", 200, "chain-bad-answer"), (b"not json", 200, "chain-bad-answer"), (b"[" * 100_000, 200, "chain-bad-answer"),
        (b"{}", 200, "chain-bad-answer"), (b'{"id":1,"result":"0xf230b"', 200, "chain-bad-answer"),
        (b'{"jsonrpc":"2.0","id":99,"result":"0xf230b"}', 200, "chain-bad-answer"),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":-32005}}', 200, "chain-bad-answer"),
        (b"x" * 3_000_000, 200, "chain-bad-answer"), (b"", 500, "chain-unreachable"), (b"gone", 302, "chain-unreachable"),
    ],
)  # fmt: skip
def test_garbage_from_a_node_is_exit_code_three(
    run, tmp_path: Path, raw: bytes, status: int, code: str
) -> None:
    directory = PublishedLog(3).write(tmp_path / "log")
    with serving(rpc(raw=raw, status=status)) as url:
        result, out, _ = run(directory, "--rpc", url)
    assert result == 3 and f"[{code}]" in out


def test_a_node_that_stalls_is_left() -> None:
    log, stalled = PublishedLog(3), threading.Event()
    with serving(rpc(stall=stalled)) as url:
        result = run_audit(log, node=Node(url, timeout=0.2))
        stalled.set()
    assert [finding.code for finding in result.report.findings] == ["chain-unreachable"]


# -- bad servers ---------------------------------------------------------------------------------------------------


def test_an_answer_that_fails_once_is_asked_for_again() -> None:
    left = [503, 200, 429, 200]

    class Handler(_Quiet):
        def do_GET(self) -> None:
            status = left.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

    pauses: list[float] = []
    with serving(Handler) as url:
        source = HttpLog(url, pause=pauses.append)
        assert source.fetch("a", 10) == source.fetch("b", 10) == b"ok"
        source.close()
    assert pauses == [0.5, 0.5] and not left


@pytest.mark.parametrize(
    ("status", "headers", "body", "error", "code"),
    [
        (404, {}, b"", SourceError, "not-found"), (410, {}, b"", SourceError, "not-found"),
        (500, {}, b"", SourceError, "http-500"), (301, {"Location": "/x"}, b"", SourceError, "http-301"),
        (403, {}, b"x" * 100_000, SourceError, "http-403"), (200, {}, b"x" * 11, LimitError, "file-too-large"),
        (200, {"Content-Length": "9"}, b"short", SourceError, "unreachable"),
    ],
)  # fmt: skip
def test_each_answer_has_its_meaning(status: int, headers: dict, body: bytes, error: type, code: str) -> None:
    class Handler(_Quiet):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)
            self.close_connection = True

    with serving(Handler) as url:
        source = HttpLog(url, pause=lambda _seconds: None)
        with pytest.raises(error) as caught:
            source.fetch("file", 10)
        source.close()
    assert caught.value.code == code


def test_a_copy_with_a_pipe_and_odd_names_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "receipts").mkdir()
    for name in ("7", "007", "x", "8.tmp", "9" * 30, "٣"):
        (tmp_path / "receipts" / name).write_bytes(b"")
    source = DirectoryLog(tmp_path)
    assert source.list_sizes("receipts") == [7] and source.list_sizes("checkpoints") == []
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "checkpoint")
        with pytest.raises(SourceError):
            source.fetch("checkpoint", 10)
    with pytest.raises(UsageError):
        DirectoryLog(tmp_path / "nowhere")


# -- the real log, the real chain ----------------------------------------------------------------------------------


@pytest.fixture
def devnode(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    command = [sys.executable, "-m", "chain.devnode", "--data", str(tmp_path / "devnode"), "--port", "0"]
    with watched(tmp_path):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"AKASHI_PROFILE": "demo"}
        )
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield ready["rpc"], Path(ready["accounts"])
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)
        process.stdout.close()


def test_log_anchorer_and_embedded_chain_are_clean_until_somebody_anchors_something_else(
    run, trust_dir: Path, tmp_path: Path, devnode: tuple[str, Path]
) -> None:
    """A whole small city: a log that grows in batches, the real anchorer, the real contract."""
    url, accounts = devnode
    keys = load_accounts(accounts)
    contract, _ = deploy_registry(url, keys["owner"].key, keys["sealer"].address)
    chain = ChainTrust(CHAIN_ID, contract, (url,))
    (trust_dir / "992011.root.json").write_bytes(trust_data(chain=chain))
    create_log(tmp_path / "log", ORIGIN)
    log = Log(tmp_path / "log", VKEY, SoftwareSigner(LOG_KEY), padding=8)
    client = EthereumClient(url, contract, keys["sealer"].key)
    rules = Rules(interval=0, confirmations=1, resend_after=5, replace_after=20, lost_after=10)
    anchorer = Anchorer(log, client, CHAIN_ID, SoftwareSigner(LOG_KEY), lambda: int(time.time()), rules)
    public, state = tmp_path / "log" / "public", tmp_path / "state.json"
    try:
        for batch in range(3):
            log.append([entry(batch * 1000 + number) for number in range(100 + batch)])
            anchorer.run()
            code, out, _ = run(public, "--rpc", url, "--state", state, "--confirmations", "1", "--json")
            report = json.loads(out)
            assert code == 0 and report["findings"] == []
        code, out, _ = run(public, "--rpc", url, "--json")
        assert code == 0 and json.loads(out)["anchors"]["on_chain"] == 3
        assert report["walked"]["from"] > 0 and report["anchors"]["on_chain"] < 3
        # the sealer's key in other hands: a tree that the log never had, which the contract must take
        _, path = log.consistency_path(log.published.size)
        assert path == ()
        grown = _foreign_extension(log)
        fees = client.fees()
        client.broadcast(client.sign_submission(grown, client.nonce(), fees))
        log.append([entry(9000 + number) for number in range(100)])
        code, out, _ = run(public, "--rpc", url, "--state", state, "--json")
        found = {finding["code"] for finding in json.loads(out)["findings"]}
        assert code == 1 and "chain-fork" in found
    finally:
        log.close()


def _foreign_extension(log: Log):
    from chain.transactions import Submission, compute_origin_id
    from chain.tree import extend, load_tree
    from verifier.formats.tiles import TileReader

    tree = load_tree(log.published.size, log.files.read)
    extension = extend(tree, [entry(777)])
    new_files = dict(extension.files)

    def fetch(path: str) -> bytes:
        return new_files[path] if path in new_files else log.files.read(path)

    reader = TileReader(extension.tree.size, fetch)
    path = reader.consistency_path(tree.size)
    return Submission(compute_origin_id(ORIGIN), extension.tree.size, extension.tree.root(), path)
