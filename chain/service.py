"""`python -m chain.service`: the log and its anchorer as one process. Settings: `chain.settings`.

Threads, each doing one thing: the beat (sequencer), anchoring, uploading, time stamps, and the door's
requests. The door is for the city's own processes, on loopback or a Unix socket, with a bearer token:

    POST /append {"entries": [hex of 32 bytes, …]}  → 200 [{"index", "proof"}, …] once they are published;
    `proof` is
                                                      the text of a tlog-proof with the signed checkpoint
    GET /state                                      → `monitor.LogState`
    GET /public/<path>                              → a public file of the log (checkpoint, receipts/<size>,
    …) GET /healthz                                    → 200, or 503 when unhealthy; no token needed, says
    nothing more

Errors are problem details (RFC 9457). 503 carries Retry-After: nothing is lost, the same request may come
again.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import signal
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

from chain.anchorer import Anchorer
from chain.checkpoint_key import CheckpointSigner, SignerClient
from chain.cosigning import build_cosigning
from chain.door_token import CityToken, load_door_key
from chain.errors import ChainError, LogRefused, LogUnavailable, SettingsError
from chain.floor import HeadSource, PublicCopy
from chain.http_client import send_request
from chain.log import Log
from chain.monitor import Monitor
from chain.publisher import DirectoryFiles, HttpFiles, PublicFiles, Publisher
from chain.sequencer import Sequencer
from chain.settings import Settings, read_settings
from chain.timestamps import HttpTimestampSource, Stamper
from verifier.errors import FormatError, SourceError
from verifier.fault import ToldByPlace, describe_fault, quiet_uncaught
from verifier.formats.encoding import hex_decode, parse_json
from verifier.formats.signed_note import VerifierKey, build_vkey
from verifier.formats.tlog_proof import format_tlog_proof

MAX_BODY: Final = 64 * 1024
RETRY_SECONDS: Final = 2
ANCHOR_ROUND_SECONDS: Final = 1.0
UPLOAD_ROUND_SECONDS: Final = 0.1
STAMP_ROUND_SECONDS: Final = 0.2
SIGNER_WAIT_SECONDS: Final = 1.0
_PUBLIC_PATH = re.compile(
    r"checkpoint|anchored|(?:checkpoints|receipts|timestamps)/[0-9]{1,19}|tile/[0-9a-z/.]{1,80}", re.ASCII
)


class LogService:
    """The parts of one log process, put together from settings."""

    def __init__(self, settings: Settings, signer: CheckpointSigner, key: VerifierKey) -> None:
        self.settings = settings
        sources: list[HeadSource] = []
        client = None
        if settings.anchoring is not None:
            from chain.ethereum import ContractHead, EthereumClient  # web3 takes long to import

            anchoring = settings.anchoring
            client = EthereumClient(
                anchoring.rpc, anchoring.contract, anchoring.sealer_key, anchoring.chain_id
            )
            sources.append(ContractHead(client, settings.origin, anchoring.chain_id))
        target = self._build_target(settings)
        if settings.door_url:
            sources.append(PublicCopy(self._fetch_public, key))
        witnessing, cosigning = settings.witnessing, None
        if witnessing is not None:
            cosigning = build_cosigning(witnessing.policy, witnessing.urls, key, witnessing.timeout)
        self.log = Log(
            settings.directory,
            key,
            signer,
            sources=sources,
            cosigning=cosigning,
            padding=settings.padding,
            mix=settings.mix,
        )
        self.sequencer = Sequencer(
            self.log,
            beat_seconds=settings.beat_seconds,
            max_waiting=settings.max_waiting,
            cover=settings.cover,
        )
        self.anchorer = None
        if settings.anchoring is not None and client is not None:
            anchoring = settings.anchoring
            self.anchorer = Anchorer(
                self.log, client, anchoring.chain_id, signer, unix_time, anchoring.rules, cosigning
            )
        self.publisher = None if target is None else Publisher(self.log, target, settings.public_prefix)
        self.stamper = Stamper(self.log, HttpTimestampSource(settings.tsa_url)) if settings.tsa_url else None
        self.monitor = Monitor(
            self.log,
            self.sequencer,
            unix_time,
            settings.max_lag_seconds,
            self.anchorer,
            self.publisher,
            self.stamper,
        )
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the background threads."""
        self._spawn("beat", lambda: self.sequencer.run(self._stop))
        for name, part, seconds in (
            ("anchor", self.anchorer, ANCHOR_ROUND_SECONDS),
            ("upload", self.publisher, UPLOAD_ROUND_SECONDS),
            ("stamp", self.stamper, STAMP_ROUND_SECONDS),
        ):
            if part is not None:
                self._spawn(name, partial(self._repeat, part.run, seconds))

    def stop(self) -> None:
        """Stop after the steps under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)
        self.log.close()

    def _spawn(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _repeat(self, run: Callable[[], None], seconds: float) -> None:
        while not self._stop.is_set():
            try:
                run()
                self.monitor.watch()
            except LogRefused:
                return  # the log knows and shows it; nothing more to anchor
            except (
                Exception
            ) as error:  # a fault in one round must not end the thread: the next round tries again
                print(f"log: {threading.current_thread().name}: {describe_fault(error)}", file=sys.stderr)
            self._stop.wait(seconds)

    def _fetch_public(self, path: str) -> bytes:
        url = f"{self.settings.door_url}/{self.settings.public_prefix}/{path}"
        try:
            status, data = send_request("GET", url)
        except LogUnavailable as error:
            raise SourceError("door-away", str(error)) from error
        if status != 200:
            raise SourceError("not-found", path)
        return data

    @staticmethod
    def _build_target(settings: Settings) -> PublicFiles | None:
        if settings.public_directory is not None:
            return DirectoryFiles(settings.public_directory)
        if settings.door_key_file is not None:
            return HttpFiles(settings.door_url, CityToken(load_door_key(settings.door_key_file), unix_time))
        return None


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it a problem
    """An answer that is not the one asked for."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail


class Door(ToldByPlace, socketserver.ThreadingMixIn, socketserver.TCPServer):
    """HTTP door on loopback or a Unix socket."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, service: LogService) -> None:
        self.service = service
        kind, _, address = service.settings.listen.partition(":")
        if kind == "unix":
            self.address_family = socket.AF_UNIX
            Path(address).unlink(missing_ok=True)
            super().__init__(address, _Handler)  # type: ignore[arg-type]  # a path, for a Unix socket
            Path(address).chmod(0o600)
        else:
            super().__init__((kind, int(address)), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    wbufsize = -1
    server: Door

    def setup(self) -> None:
        super().setup()
        if self.server.address_family != socket.AF_UNIX:
            # Nagle's algorithm delays keep-alive answers on TCP
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def address_string(self) -> str:
        return "local"

    def do_GET(self) -> None:
        self._guarded(self._get)

    def do_POST(self) -> None:
        self._guarded(self._post)

    def _get(self) -> None:
        service = self.server.service
        if self.path == "/healthz":
            is_healthy = service.monitor.state().healthy
            self._answer(200 if is_healthy else 503, {"healthy": is_healthy})
            return
        self._authorise()
        if self.path == "/state":
            self._answer(200, service.monitor.state().as_json())
            return
        path = self.path.removeprefix("/public/")
        data = None
        if path != self.path and _PUBLIC_PATH.fullmatch(path) and ".." not in path:
            data = service.log.files.find(path)
        if data is None:
            raise Problem(404, "not-found", "no such door or file")
        self._send(200, "application/octet-stream", data)

    def _post(self) -> None:
        self._authorise()
        if self.path != "/append":
            raise Problem(404, "not-found", "no such door")
        service = self.server.service
        entries = _parse_append(self._body(), service.settings.max_entries)
        service.sequencer.submit(entries)
        deadline = time.monotonic() + service.settings.append_seconds
        answer = []
        for entry in entries:
            logged = service.sequencer.wait_for(entry, deadline - time.monotonic())
            answer.append({"index": logged.index, "proof": format_tlog_proof(logged.proof).decode("utf-8")})
        self._answer(200, answer)

    def _authorise(self) -> None:
        expected = f"Bearer {self.server.service.settings.token}".encode()
        if not hmac.compare_digest(self.headers.get("Authorization", "").encode(), expected):
            raise Problem(401, "unauthorised", "a token is needed")

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            raise Problem(411, "length-required", "a body with Content-Length is needed")
        if int(length) > MAX_BODY:
            raise Problem(413, "too-large", f"more than {MAX_BODY} bytes")
        return self.rfile.read(int(length))

    def _guarded(self, handle: Callable[[], None]) -> None:
        try:
            handle()
            return
        except Problem as error:
            problem = error
        except FormatError as error:
            problem = Problem(400, error.code, error.detail)
        except LogRefused as error:
            problem = Problem(503, error.code, "the log signs nothing until its operator has looked")
        except LogUnavailable as error:
            problem = Problem(503, error.code, error.detail)
        except ChainError as error:
            problem = Problem(500, error.code, error.detail)
        # what was not read of a refused request must not be taken for the next one
        self.close_connection = True
        body = {
            "type": f"urn:akashi:problem:{problem.code}",
            "title": problem.code,
            "status": problem.status,
            "detail": problem.detail,
            "code": problem.code,
        }
        headers = {"Retry-After": str(RETRY_SECONDS)} if problem.status == 503 else {}
        self._send(problem.status, "application/problem+json", json.dumps(body).encode(), headers)

    def _answer(self, status: int, value: Any) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: who asked when is nobody's business."""


def _parse_append(body: bytes, max_entries: int) -> list[bytes]:
    value = parse_json(body, max_bytes=MAX_BODY)
    if not isinstance(value, dict) or set(value) != {"entries"} or not isinstance(value["entries"], list):
        raise Problem(400, "bad-request", 'the body is {"entries": […]}')
    if not 0 < len(value["entries"]) <= max_entries:
        raise Problem(400, "bad-request", f"1 to {max_entries} entries a request")
    if not all(isinstance(entry, str) for entry in value["entries"]):
        raise Problem(400, "bad-request", "entries are hexadecimal text")
    return [hex_decode(entry, 32) for entry in value["entries"]]


def unix_time() -> int:
    """Seconds since 1970, UTC: the one clock of this process."""
    return int(time.time())


def main() -> int:
    """Run until SIGTERM or SIGINT; 1: its disk fails now, 2: unusable settings, 3: the log refuses to start."""
    quiet_uncaught("log")
    try:
        settings = read_settings(os.environ)
        client = SignerClient(settings.signer, settings.signer_token, settings.signer_key_id)
        service = LogService(settings, client, settings.vkey or _ask_key(settings, client))
        door = Door(service)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except LogRefused as error:
        print(f"error: the log refuses to start: {error}", file=sys.stderr)
        return 3
    except LogUnavailable as error:
        print(f"error: the log cannot be opened now: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {settings.listen} cannot be had: {error.strerror}", file=sys.stderr)
        return 2

    def stop(_signal: int, _frame: object) -> None:
        threading.Thread(target=door.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    service.start()
    print(
        json.dumps({"listen": settings.listen, "origin": settings.origin, "profile": settings.profile}),
        flush=True,
    )
    door.serve_forever(poll_interval=0.1)
    door.server_close()
    service.stop()
    return 0


def _ask_key(settings: Settings, client: SignerClient) -> VerifierKey:
    # the processes of a city start in any order: wait for the signer rather than fail
    while True:
        try:
            return build_vkey(settings.origin, client.public_key())
        except LogUnavailable as error:
            print(f"log: waiting for the signer: {error}", file=sys.stderr)
            time.sleep(SIGNER_WAIT_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
