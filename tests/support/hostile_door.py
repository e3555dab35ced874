"""The street door as its operator may run it: an HTTP proxy in front of the real one that sees and changes everything.

Phones, employers, the city's worker and the log's publisher all speak to it; honest it hands each call on unchanged. A
`Behaviour` gets every call and decides: hand on, change, invent, swallow. What passed is kept while `recording()`.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from verifier.formats.encoding import base64_decode, base64_encode, canonical_json, parse_json

UPSTREAM_TIMEOUT = 75.0
_NOT_HANDED_ON = {"connection", "transfer-encoding", "keep-alive", "content-length"}


@dataclass(frozen=True)
class Call:
    """What somebody wants of the door. Header names in lower case; `path` without the query."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Said:
    """What the door says."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        return parse_json(self.body, max_bytes=16 << 20)

    def with_json(self, value: Any) -> Said:
        return replace(self, body=canonical_json(value))


Forward = Callable[[Call], Said]
Behaviour = Callable[[Call, Forward], Said]
"""Raising ConnectionError closes the connection without a word."""


def honest(call: Call, forward: Forward) -> Said:
    """Hand it on."""
    return forward(call)


class HostileDoor:
    """The proxy, in threads of this process. `inside` is the port of the real door."""

    def __init__(self, inside: int) -> None:
        self._inside = inside
        self._behaviour: Behaviour = honest
        self._lock = threading.Lock()
        self._records: list[tuple[Call, Said]] | None = None
        door = self

        class Handler(_Handler):
            owner = door

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def behaving(self, behaviour: Behaviour) -> Iterator[None]:
        """For a while, act like this."""
        before, self._behaviour = self._behaviour, behaviour
        try:
            yield
        finally:
            self._behaviour = before

    @contextmanager
    def recording(self) -> Iterator[list[tuple[Call, Said]]]:
        """Keep everything that passes."""
        records: list[tuple[Call, Said]] = []
        self._records = records
        try:
            yield records
        finally:
            self._records = None

    def handle(self, call: Call) -> Said:
        said = self._behaviour(call, self.forward)
        records = self._records
        if records is not None:
            with self._lock:
                records.append((call, said))
        return said

    def forward(self, call: Call) -> Said:
        """The real door's answer. Raises OSError, HTTPException when it is away."""
        connection = http.client.HTTPConnection("127.0.0.1", self._inside, timeout=UPSTREAM_TIMEOUT)
        try:
            # The city's long poll is cut short, so that a door that turns hostile is heard at once.
            query = call.query.replace("wait=20", "wait=2") if is_inbox(call) else call.query
            target = call.path + (f"?{query}" if query else "")
            headers = {name: value for name, value in call.headers.items() if name not in _NOT_HANDED_ON}
            body = call.body if call.body or call.method in ("POST", "PUT") else None
            connection.request(call.method, target, body=body, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
            kept = {n.lower(): v for n, v in answer.getheaders() if n.lower() not in _NOT_HANDED_ON}
            return Said(answer.status, content, kept)
        finally:
            connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Somebody hung up: nothing to tell."""


class _Handler(BaseHTTPRequestHandler):
    owner: HostileDoor

    def _any(self) -> None:
        self.close_connection = True
        parts = urlsplit(self.path)
        size = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(self.command, parts.path, parts.query, headers, self.rfile.read(size) if size else b"")
        try:
            said = self.owner.handle(call)
        except (OSError, http.client.HTTPException):
            return
        with suppress(OSError):
            self.send_response(said.status)
            for name, value in said.headers.items():
                if name not in ("date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


for _method in ("GET", "POST", "PUT", "DELETE", "HEAD"):
    setattr(_Handler, f"do_{_method}", _Handler._any)


def is_answers(call: Call) -> bool:
    """A phone's poll for answers."""
    return call.method == "GET" and call.path.startswith("/v1/accounts/") and call.path.endswith("/answers")


def is_envelope(call: Call) -> bool:
    """A phone posts an envelope."""
    return (
        call.method == "POST" and call.path.startswith("/v1/accounts/") and call.path.endswith("/envelopes")
    )


def is_inbox(call: Call) -> bool:
    """The city takes envelopes."""
    return call.method == "GET" and call.path == "/city/inbox"


def is_package(call: Call) -> bool:
    """A phone fetches a package."""
    return call.method == "GET" and "/packages/" in call.path and call.path.startswith("/v1/accounts/")


def account_of(call: Call) -> str:
    """The account a phone's call names."""
    return call.path.split("/")[3]


def change_list(said: Said, name: str, change: Callable[[list[Any]], list[Any]]) -> Said:
    """The same answer with another list under `name`."""
    if said.status != 200:
        return said
    value = said.json()
    return said.with_json({**value, name: change(list(value[name]))})


def body_of(item: Mapping[str, Any]) -> bytes:
    """The ciphertext of an item of a list."""
    return base64_decode(item["body"])


def with_body(item: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    """An item with another ciphertext."""
    return {**item, "body": base64_encode(body)}
