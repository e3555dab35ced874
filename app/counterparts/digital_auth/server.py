"""The HTTP front of the mock provider (模擬/MOCK): bounded requests, one log line each without query, body or peer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from app.counterparts.digital_auth.provider import PATHS, REALM, Provider, Reply
from app.errors import SettingsError
from verifier.fault import ToldByPlace

MAX_BODY_BYTES: Final = 32 << 10
MAX_TARGET_BYTES: Final = 20 << 10
log = logging.getLogger("akashi.mock-digital-auth")


def refuse_production(profile: str | None) -> None:
    """Raises: SettingsError unless the profile is demo."""
    if profile != "demo":
        raise SettingsError("mock-refused", "模擬/MOCK デジタル認証アプリ runs with AKASHI_PROFILE=demo only")


class DigitalAuthServer(ToldByPlace, ThreadingHTTPServer):
    """The running server. `build` makes the provider for the issuer, which is known once the port is bound."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self,
        address: tuple[str, int],
        build: Callable[[str], Provider],
        *,
        profile: str | None,
        issuer: str | None = None,
    ) -> None:
        refuse_production(profile)
        super().__init__(address, _Handler)
        host, port = self.server_address[:2]
        self.provider = build(issuer or f"http://{host!s}:{port}{REALM}")


class _Handler(BaseHTTPRequestHandler):
    server: DigitalAuthServer
    server_version = "mock-digital-auth"
    sys_version = ""
    timeout = 10

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if len(self.path) > MAX_TARGET_BYTES:
            self._send(Reply(414, "text/plain", b"too long\n"))
            return
        self._send(self.server.provider.get(path, query, self.headers.get("Authorization", "")))

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > MAX_BODY_BYTES:
            self._send(Reply(413, "text/plain", b"too large\n"))
            return
        media_type = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        # A form is ASCII; any other byte becomes a character that no value of the protocol has.
        body = self.rfile.read(int(length)).decode("ascii", "replace")
        self._send(self.server.provider.post(self.path.partition("?")[0], media_type, body))

    def log_message(self, format: str, *args: object) -> None:
        """Only which end point was asked: codes, tickets and states stand in the query."""
        path = getattr(self, "path", "").partition("?")[0]
        log.info("%s %s", getattr(self, "command", None), path if path in PATHS else "other")

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.media_type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Pragma", "no-cache")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Akashi-Mock", "MOCK digital-auth")
        for name, value in reply.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)
