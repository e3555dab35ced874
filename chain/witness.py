"""`python -m chain.witness --data DIR --port P --logs FILE`: a witness as a process of its own.

It is meant to be run by another organisation than the log. Five of them on one machine are five processes of one
operator (模擬/MOCK): they show how witnessing works and vouch for nothing. Settings: `chain.witness_settings`.

    POST <prefix>/add-checkpoint                        C2SP tlog-witness → 200 with the cosignature line
    POST <prefix>/anchor-statement                      our own (docs/formats/witness.md) → 200 with a BLS signature
    GET  <prefix>/<hex of SHA-256(origin)>/checkpoint   the newest checkpoint it cosigned
    GET  <prefix>/healthz                               200

No authentication: the log's signature on each checkpoint is the right to ask. Errors are problem details (RFC 9457),
except 409, which answers the recorded size alone as C2SP asks (text/x.tlog.size).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

from chain.errors import ChainError, LogUnavailable, SettingsError
from chain.witness_keys import load_keys
from chain.witness_protocol import (
    ADD_CHECKPOINT,
    ANCHOR_STATEMENT,
    MAX_REQUEST_BYTES,
    SIZE_TYPE,
    format_recorded_size,
    format_statement_answer,
)
from chain.witness_rules import Witness, WitnessRefusal
from chain.witness_settings import WitnessSettings, add_arguments, read_settings
from chain.witness_store import WitnessStore
from verifier.fault import describe_fault, quiet_uncaught
from verifier.formats.encoding import base64_encode
from verifier.formats.signed_note import SignatureLine, format_vkey

SOCKET_SECONDS: Final = 15
RETRY_SECONDS: Final = 1
BODY_SECONDS: Final = 15.0
PART_BYTES: Final = 16 << 10
CONNECTIONS_A_REQUEST: Final = 4
MOCK_WORDS: Final = "模擬/MOCK: one operator runs all witnesses of this demo; they vouch for nothing"


class WitnessDoor(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """The HTTP door of one witness."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, witness: Witness, settings: WitnessSettings) -> None:
        self.witness = witness
        self.prefix = settings.prefix
        self.is_mock = settings.profile == "demo"
        self.places = threading.BoundedSemaphore(settings.max_requests)
        self._connections = threading.BoundedSemaphore(settings.max_requests * CONNECTIONS_A_REQUEST)
        super().__init__((settings.host, settings.port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """One thread a connection, up to the limit; more are closed at once."""
        if self._connections.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is nobody's business but its own."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = SOCKET_SECONDS
    wbufsize = -1
    disable_nagle_algorithm = True
    server: WitnessDoor

    def version_string(self) -> str:
        return "akashi-witness"

    def do_GET(self) -> None:
        self._guarded(self._get)

    def do_POST(self) -> None:
        self._guarded(self._post)

    def _get(self) -> None:
        path = self._path()
        if path == "/healthz":
            self._answer(200, "application/json", b'{"healthy":true}')
            return
        note = self.server.witness.shown(path)
        if note is None:
            raise WitnessRefusal(404, "not-found", "no such door, or no checkpoint of that log yet")
        self._answer(200, "text/plain; charset=utf-8", note)

    def _post(self) -> None:
        path, witness = self._path(), self.server.witness
        if path not in (ADD_CHECKPOINT, ANCHOR_STATEMENT):
            raise WitnessRefusal(404, "not-found", "no such door")
        body = self._body()
        if path == ADD_CHECKPOINT:
            answer = format_cosignature(witness.add_checkpoint(body))
        else:
            answer = format_statement_answer(witness.sign_statement(body))
        self._answer(200, "text/plain; charset=utf-8", answer)

    def _path(self) -> str:
        prefix = self.server.prefix
        if not self.path.startswith(prefix + "/"):
            raise WitnessRefusal(404, "not-found", "no such door")
        return self.path[len(prefix) :]

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not length.isascii() or not length.isdigit():
            raise WitnessRefusal(411, "length-required", "a body with Content-Length is needed")
        if len(length) > 9 or int(length) > MAX_REQUEST_BYTES:
            raise WitnessRefusal(413, "too-large", f"more than {MAX_REQUEST_BYTES} bytes")
        left, deadline, parts = int(length), time.monotonic() + BODY_SECONDS, []
        while left:
            # one part at a time: a sender that drips must not hold a place for ever
            part = self.rfile.read1(min(left, PART_BYTES))
            if not part or time.monotonic() > deadline:
                raise WitnessRefusal(400, "body-cut", "the body did not come")
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _guarded(self, handle: Callable[[], None]) -> None:
        if not self.server.places.acquire(blocking=False):
            self._refuse(WitnessRefusal(503, "busy", "too many requests are under way"))
            return
        try:
            handle()
        except WitnessRefusal as refusal:
            self._refuse(refusal)
        except LogUnavailable as error:
            self._refuse(WitnessRefusal(503, error.code, error.detail))
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception as error:  # the witness outlives a fault of its own and tells nobody the details
            print(f"witness: {describe_fault(error)}", file=sys.stderr)
            self._refuse(WitnessRefusal(500, "internal", "the witness has a fault"))
        finally:
            self.server.places.release()

    def _refuse(self, refusal: WitnessRefusal) -> None:
        # what was not read of a refused request must not be taken for the next one
        self.close_connection = True
        if refusal.recorded is not None:
            self._answer(refusal.status, SIZE_TYPE, format_recorded_size(refusal.recorded))
            return
        body = {
            "type": f"urn:akashi:problem:{refusal.code}",
            "title": refusal.code,
            "status": refusal.status,
            "detail": refusal.detail,
            "code": refusal.code,
        }
        headers = {"Retry-After": str(RETRY_SECONDS)} if refusal.status == 503 else {}
        self._answer(refusal.status, "application/problem+json", json.dumps(body).encode(), headers)

    def _answer(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if self.server.is_mock:
            self.send_header("Akashi-Mock", "one operator runs all witnesses of this demo")
        if self.close_connection:
            self.send_header("Connection", "close")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: who asked when is nobody's business."""


def format_cosignature(line: SignatureLine) -> bytes:
    """One signature line as C2SP writes it."""
    return f"— {line.name} {base64_encode(line.key_id + line.signature)}\n".encode()


def run(settings: WitnessSettings) -> int:
    """Serve until SIGTERM or SIGINT. Raises: SettingsError."""
    is_mock = settings.profile == "demo"
    keys = load_keys(settings.directory, is_mock=is_mock)
    store = WitnessStore(settings.directory)
    witness = Witness(keys, store, settings.logs, lambda: int(time.time()), settings.targets)
    try:
        door = WitnessDoor(witness, settings)
    except OSError as error:
        store.close()
        raise SettingsError("port-in-use", f"port {settings.port} cannot be had: {error.strerror}") from error

    def stop(_signal: int, _frame: object) -> None:
        threading.Thread(target=door.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    line: dict[str, Any] = {
        "witness": keys.name,
        "url": f"http://{settings.host}:{door.server_address[1]}{settings.prefix}",
        "vkey": format_vkey(keys.vkey),
        "profile": settings.profile,
    }
    if is_mock:
        line["mock"] = MOCK_WORDS
    print(json.dumps(line, ensure_ascii=False), flush=True)
    door.serve_forever(poll_interval=0.1)
    door.server_close()
    store.close()
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run a witness; 2 for settings, keys or a memory that cannot be used."""
    quiet_uncaught("witness")
    parser = argparse.ArgumentParser(prog="chain.witness", description="a witness of transparency logs")
    add_arguments(parser)
    try:
        return run(read_settings(parser.parse_args(arguments), os.environ))
    except ChainError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
