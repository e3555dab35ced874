"""The smaller parts of the log process: signer client, publisher, stamps, sequencer, monitor, commands,
tokens.
"""

from __future__ import annotations

import argparse
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chain import cli
from chain.checkpoint_key import SignerClient, SoftwareSigner, sign_note
from chain.door_token import CityToken, load_door_key
from chain.errors import LogRefused, LogUnavailable, PoolFull, PublicFileError, SettingsError, SigningError
from chain.files import FileTree
from chain.http_client import check_address, send_request
from chain.log import Log, create_log
from chain.monitor import Monitor
from chain.publisher import DirectoryFiles, HttpFiles, Publisher
from chain.sequencer import Sequencer
from chain.timestamps import HttpTimestampSource, Stamper
from verifier.errors import FormatError
from verifier.formats.encoding import base64_encode, base64url_encode, sha256
from verifier.formats.jose import thumbprint
from verifier.formats.signed_note import build_vkey, format_vkey
from verifier.formats.tlog_proof import verify_tlog_proof

ORIGIN = "door.mihon.example/992011/log/1"
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
KEY = build_vkey(ORIGIN, PRIVATE.public_key().public_bytes_raw())


def entry(number: int) -> bytes:
    return number.to_bytes(32, "big")


@pytest.fixture
def log(tmp_path: Path):
    create_log(tmp_path / "log", ORIGIN)
    log = Log(tmp_path / "log", KEY, SoftwareSigner(PRIVATE), padding=1, mix=False)
    yield log
    log.close()


# -- files
# --------------------------------------------------------------------------------------------------------


def test_created_files_never_change_and_replaced_ones_do(tmp_path: Path) -> None:
    files = FileTree(tmp_path)
    files.create([("a/b/c", b"1"), ("a/d", b"2")])
    files.create([("a/b/c", b"1")])
    with pytest.raises(LogRefused, match="file-changed"):
        files.create([("a/b/c", b"3")])
    assert files.read("a/b/c") == b"1"
    files.replace("a/d", b"4")
    assert files.find("a/d") == b"4"
    files.remove("a/b")
    files.remove("nothing")
    assert files.find("a/b/c") is None
    assert not list(tmp_path.rglob("*.tmp"))


# -- signer client
# ------------------------------------------------------------------------------------------------


def serve_signer(path: Path, answers: list[bytes]) -> list[dict]:
    """A signer's socket that gives these raw answers, one a connection; answers what it was asked."""
    asked: list[dict] = []
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen()

    def run() -> None:
        for answer in answers:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as stream:
                asked.append(json.loads(stream.read(int.from_bytes(stream.read(4), "big"))))
                connection.sendall(answer)
        server.close()

    threading.Thread(target=run, daemon=True).start()
    return asked


def frame(value: object) -> bytes:
    body = json.dumps(value).encode()
    return len(body).to_bytes(4, "big") + body


def test_the_client_speaks_the_signers_frames(tmp_path: Path) -> None:
    signature = PRIVATE.sign(b"text\n")
    x = base64url_encode(PRIVATE.public_key().public_bytes_raw())
    asked = serve_signer(
        tmp_path / "s",
        [
            frame({"v": 1, "items": [{"ok": True, "signature": base64_encode(signature)}]}),
            frame({"v": 1, "items": [{"ok": True, "jwk": {"kty": "OKP", "crv": "Ed25519", "x": x}}]}),
        ],
    )
    client = SignerClient(tmp_path / "s", "secret-token", "checkpoint-1")
    assert client.sign("text\n") == signature
    assert client.public_key() == PRIVATE.public_key().public_bytes_raw()
    assert asked[0] == {
        "v": 1,
        "channel": "log",
        "token": "secret-token",
        "items": [{"op": "sign-checkpoint", "key_id": "checkpoint-1", "note": "text\n"}],
    }


@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        (
            frame({"items": [{"ok": False, "code": "checkpoint-rolled-back", "detail": "no"}]}),
            SigningError,
            "rolled-back",
        ),
        (frame({"items": []}), SigningError, "bad-signer-answer"),
        (frame({"items": [{"ok": True}]}), SigningError, "bad-signer-answer"),
        (frame({"items": [{"ok": True, "signature": "AAAA"}]}), SigningError, "bad-signer-answer"),
        (frame([]), SigningError, "bad-signer-answer"),
        (b"\x00\x00\x00\x01{", SigningError, "bad-signer-answer"),
        (b"\xff\xff\xff\xff", SigningError, "bad-signer-answer"),
        (b"\x00\x00\x00\x09{", LogUnavailable, "signer-away"),
        (b"", LogUnavailable, "signer-away"),
    ],
)
def test_answers_that_are_no_signature(tmp_path: Path, answer: bytes, error: type, code: str) -> None:
    serve_signer(tmp_path / "s", [answer])
    with pytest.raises(error, match=code) as caught:
        SignerClient(tmp_path / "s", "secret-token", "checkpoint-1").sign("text\n")
    assert "secret-token" not in str(caught.value)


def test_no_signer_is_an_outage(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable, match="signer-away"):
        SignerClient(tmp_path / "none", "secret-token", "checkpoint-1").sign("text\n")
    with pytest.raises(SigningError, match="wrong-key"):
        sign_note("text\n", KEY, SoftwareSigner(Ed25519PrivateKey.generate()))


# -- publisher
# ----------------------------------------------------------------------------------------------------


class Street:
    """A street door's public files as the specification says: create-only, authorised, sometimes away."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.order: list[str] = []
        self.status: int | None = None
        self.authorisations: list[str] = []
        street = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                data = street.files.get(self.path.removeprefix("/"))
                self.send_response(street.status or (404 if data is None else 200))
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                self.wfile.write(data or b"")

            def do_PUT(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                street.authorisations.append(self.headers["Authorization"])
                path = self.path.removeprefix("/city/public/")
                status = street.status or street.put(path, data)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def put(self, path: str, data: bytes) -> int:
        if not path.endswith("checkpoint") and self.files.get(path, data) != data:
            return 409
        self.order.append(path)
        created = path not in self.files
        self.files[path] = data
        return 201 if created else 200


@pytest.fixture
def street():
    street = Street()
    yield street
    street.server.shutdown()
    street.server.server_close()


def test_everything_reaches_the_street_in_order_and_with_a_token(log: Log, street: Street) -> None:
    seen = []

    def authorise(method: str, path: str, body: bytes) -> str:
        seen.append((method, path, sha256(body)))
        return f"Bearer {len(seen)}"

    publisher = Publisher(log, HttpFiles(street.url, authorise), "992011/log/1")
    log.append([entry(i) for i in range(300)])
    street.status = 503
    publisher.run()
    assert "503" in publisher.trouble
    street.status = None
    log.append([entry(300)])
    publisher.run()
    assert publisher.trouble == ""
    assert log.store.count_uploads() == 0
    prefix = "992011/log/1"
    assert street.files[f"{prefix}/checkpoint"] == log.published.checkpoint
    for path in log.files.directory.rglob("*"):
        if path.is_file():
            assert street.files[f"{prefix}/{path.relative_to(log.files.directory)}"] == path.read_bytes()
    # of the two that waited only the newest checkpoint goes, after the tiles of both
    assert [path for path in street.order if path.endswith("checkpoint")] == [street.order[-1]]
    assert {f"{prefix}/tile/0/001.p/44", f"{prefix}/tile/0/001.p/45"} <= set(street.order[:-1])
    assert seen[0][0] == "PUT"
    assert seen[0][1].startswith("/city/public/992011/log/1/tile/")
    assert street.authorisations[0] == "Bearer 1"


def test_other_bytes_on_the_street_are_an_alarm_and_not_overwritten(log: Log, street: Street) -> None:
    street.files["992011/log/1/tile/entries/000.p/1"] = b"other"
    publisher = Publisher(log, HttpFiles(street.url, lambda *_: "Bearer x"), "992011/log/1")
    log.append([entry(1)])
    publisher.run()
    assert "other-bytes" in publisher.trouble
    assert log.store.count_uploads() == 3
    assert street.files["992011/log/1/tile/entries/000.p/1"] == b"other"


def test_partial_tiles_dropped_before_their_upload_are_passed_over(log: Log, tmp_path: Path) -> None:
    log.append([entry(1)])
    log.append([entry(i) for i in range(2, 300)])  # drops tile/0/000.p/1, still in the queue
    publisher = Publisher(log, DirectoryFiles(tmp_path / "street"), "p")
    publisher.run()
    assert publisher.trouble == ""
    assert (tmp_path / "street" / "p" / "tile" / "0" / "000").is_file()
    with pytest.raises(PublicFileError):
        DirectoryFiles(tmp_path / "street").put("p/tile/0/000", b"other", False)


def test_the_token_is_for_one_call(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    header = CityToken(key, lambda: 1_800_000_000)("PUT", "/city/public/x", b"body")
    token = header.removeprefix("Bearer ")
    assert jwt.get_unverified_header(token)["kid"] == thumbprint(key.public_key())
    claims = jwt.decode(
        token, key.public_key(), algorithms=["ES256"], options={"verify_exp": False, "verify_iat": False}
    )
    assert claims | {"jti": ""} == {
        "htm": "PUT",
        "htu": "/city/public/x",
        "body": base64url_encode(sha256(b"body")),
        "iat": 1_800_000_000,
        "exp": 1_800_000_060,
        "jti": "",
    }
    other = CityToken(key, lambda: 1_800_000_000)("PUT", "/city/public/x", b"body")
    assert other != header
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "k.pem").write_bytes(pem)
    assert load_door_key(tmp_path / "k.pem").private_numbers() == key.private_numbers()
    (tmp_path / "k.pem").write_bytes(b"no")
    with pytest.raises(SettingsError, match="bad-door-key"):
        load_door_key(tmp_path / "k.pem")


# -- stamps
# -------------------------------------------------------------------------------------------------------


def test_checkpoints_are_stamped_newest_first_and_an_outage_delays_nothing(log: Log) -> None:
    stamped: list[bytes] = []

    class Authority:
        is_away = True

        def stamp(self, digest: bytes) -> bytes:
            if self.is_away:
                raise LogUnavailable("tsa-away", "test")
            stamped.append(digest)
            return b"token over " + digest

    authority = Authority()
    stamper = Stamper(log, authority)
    notes = []
    for number in range(3):
        log.append([entry(number)])
        notes.append(log.published.checkpoint)
        stamper.run()
        assert "tsa-away" in stamper.trouble
    authority.is_away = False
    stamper.run()
    assert stamper.trouble == ""
    assert stamped == [sha256(note) for note in reversed(notes)]
    assert log.files.read("timestamps/2") == b"token over " + sha256(notes[1])
    assert [item.path for item in log.store.next_uploads(100)][-3:] == [f"timestamps/{n}" for n in (3, 2, 1)]
    stamper.run()
    assert len(stamped) == 3


def test_an_authority_that_answers_nonsense_is_an_outage(street: Street) -> None:
    source = HttpTimestampSource(street.url)
    with pytest.raises(LogUnavailable, match="tsa-refuses"):
        source.stamp(bytes(32))  # the street has no POST
    street.server.shutdown()
    street.server.server_close()
    with pytest.raises(LogUnavailable, match="not-reachable"):
        source.stamp(bytes(32))
    street.server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    threading.Thread(target=street.server.serve_forever, daemon=True).start()


@pytest.mark.parametrize("url", ["ftp://x", "http://", "x", "http://host/?a=b", "file:///etc/passwd"])
def test_addresses_are_http_and_nothing_else(url: str) -> None:
    with pytest.raises(SettingsError):
        check_address(url)


def test_a_closed_port_is_an_outage() -> None:
    with pytest.raises(LogUnavailable):
        send_request("GET", "http://127.0.0.1:1/")


# -- sequencer and monitor
# ----------------------------------------------------------------------------------------


def test_entries_of_many_threads_share_beats(log: Log) -> None:
    sequencer = Sequencer(log, beat_seconds=0.02, max_waiting=1000)
    stop = threading.Event()
    beat = threading.Thread(target=sequencer.run, args=(stop,))
    beat.start()
    results: dict[int, int] = {}

    def send(number: int) -> None:
        sequencer.submit([entry(number)])
        logged = sequencer.wait_for(entry(number), 10)
        verify_tlog_proof(logged.proof, entry(number), KEY)
        results[number] = logged.index

    threads = [threading.Thread(target=send, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    beat.join()
    assert sorted(results.values()) == list(range(40))
    assert sequencer.waiting == 0


def test_the_pool_has_a_limit_and_waiting_an_end(log: Log) -> None:
    sequencer = Sequencer(log, beat_seconds=1, max_waiting=2)
    sequencer.submit([entry(1), entry(2)])
    with pytest.raises(PoolFull):
        sequencer.submit([entry(3)])
    with pytest.raises(FormatError):
        sequencer.submit([b"short"])
    with pytest.raises(LogUnavailable, match="not-yet"):
        sequencer.wait_for(entry(1), 0.01)
    sequencer.beat()
    assert sequencer.wait_for(entry(1), 0.01).index == 0
    sequencer.submit([entry(1), entry(2), entry(3)])
    assert sequencer.waiting == 1, "what is in the log does not wait again"
    log.refuse(LogRefused("seen-larger", "test"))
    sequencer.beat()
    with pytest.raises(LogRefused):
        sequencer.submit([entry(4)])
    with pytest.raises(LogRefused):
        sequencer.wait_for(entry(3), 1)


def test_cover_beats_look_like_busy_ones(tmp_path: Path) -> None:
    create_log(tmp_path / "covered", ORIGIN)
    log = Log(tmp_path / "covered", KEY, SoftwareSigner(PRIVATE), padding=4)
    sequencer = Sequencer(log, beat_seconds=1, max_waiting=10, cover=True)
    sizes = []
    for batch in ([], [entry(1)], [], [entry(2), entry(3)]):
        sequencer.submit(batch)
        sequencer.beat()
        sizes.append(log.published.size)
    assert sizes == [4, 8, 12, 16]
    log.close()


def test_the_monitor_tells_lag_and_reason(log: Log) -> None:
    class FakeAnchorer:
        reason = "chain-away: the node does not answer"
        anchored = None

    now = [1000]
    sequencer = Sequencer(log, beat_seconds=1, max_waiting=10)
    monitor = Monitor(log, sequencer, lambda: now[0], 60, FakeAnchorer())
    assert monitor.state().healthy
    log.append([entry(1)])
    monitor.watch()
    now[0] += 61
    state = monitor.state()
    assert (state.size, state.lag, state.lag_seconds, state.healthy) == (1, 1, 61, False)
    assert "chain-away" in state.anchoring
    FakeAnchorer.anchored = type("Head", (), {"size": 1})
    FakeAnchorer.reason = ""
    state = monitor.state()
    assert (state.lag, state.lag_seconds, state.healthy, state.anchoring) == (0, 0, True, "")
    log.refuse(LogRefused("seen-larger", "test"))
    assert not monitor.state().healthy
    json.dumps(monitor.state().as_json())


# -- commands
# -----------------------------------------------------------------------------------------------------


def run(capsys, *arguments: str) -> tuple[int, dict | str]:
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers(dest="command", required=True))
    options = parser.parse_args(["chain", *arguments])
    status = options.run(options)
    captured = capsys.readouterr()
    return status, json.loads(captured.out) if captured.out else captured.err


def test_create_and_fsck_commands(tmp_path: Path, capsys) -> None:
    directory = tmp_path / "new"
    status, answer = run(capsys, "create", "--directory", str(directory), "--origin", ORIGIN)
    assert (status, answer) == (0, {"origin": ORIGIN, "size": 0})
    status, answer = run(capsys, "create", "--directory", str(directory), "--origin", ORIGIN)
    assert status == 2
    assert "directory-in-use" in answer
    log = Log(directory, KEY, SoftwareSigner(PRIVATE))
    log.append([entry(1)])
    log.close()
    fsck = ("fsck", "--directory", str(directory / "public"), "--vkey", format_vkey(KEY))
    assert run(capsys, *fsck) == (0, {"size": 8, "tiles": 1, "receipts": 0, "findings": []})
    (directory / "public" / "tile" / "0" / "000.p" / "8").write_bytes(bytes(256))
    status, answer = run(capsys, *fsck)
    assert status == 1
    assert answer["findings"]
    assert run(capsys, *fsck[:-1], "nonsense")[0] == 2


def test_status_and_deploy_say_what_is_missing(tmp_path: Path, capsys) -> None:
    (tmp_path / "token").write_text("token-for-the-status")
    (tmp_path / "token").chmod(0o600)
    status, answer = run(
        capsys,
        "status",
        "--address",
        f"unix:{tmp_path / 'none.sock'}",
        "--token-file",
        str(tmp_path / "token"),
    )
    assert status == 2
    assert "log-away" in answer
    status, answer = run(capsys, "deploy", "--rpc", "http://127.0.0.1:1")
    assert status == 2
    assert "--accounts" in answer
