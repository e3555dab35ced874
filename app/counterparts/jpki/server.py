"""OCSP and CRL of the mock JPKI over HTTP (模擬/MOCK). POST /<kind>/ocsp, GET /<kind>/crl; kind signature,
authentication.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from app.counterparts.jpki.authority import MockJpki
from app.counterparts.jpki.profiles import KINDS
from app.errors import SettingsError
from verifier.fault import ToldByPlace

MAX_REQUEST_BYTES: Final = 8192
log = logging.getLogger("akashi.mock-jpki")


def refuse_production(profile: str | None) -> None:
    """Raises: SettingsError unless the profile is demo."""
    if profile != "demo":
        raise SettingsError("mock-refused", "模擬/MOCK JPKI runs with AKASHI_PROFILE=demo only")


class JpkiServer(ToldByPlace, ThreadingHTTPServer):
    """The running server; `authority` answers, `clock` says when."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self,
        address: tuple[str, int],
        authority: MockJpki,
        *,
        profile: str | None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        refuse_production(profile)
        self.authority = authority
        self.clock = clock
        super().__init__(address, _Handler)

    @property
    def base_url(self) -> str:
        """http://host:port"""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"


class _Handler(BaseHTTPRequestHandler):
    server: JpkiServer
    server_version = "mock-jpki"
    sys_version = ""
    timeout = 10

    def do_GET(self) -> None:
        kind = self._kind("crl")
        if kind is None:
            self._send(404, "text/plain", b"not found\n")
            return
        self._send(
            200, "application/pkix-crl", self.server.authority.build_crl(kind, now=self.server.clock())
        )

    def do_POST(self) -> None:
        kind = self._kind("ocsp")
        length = self.headers.get("Content-Length", "")
        # isdigit alone also takes "²", which int refuses; eight digits are more than anybody may send.
        known = length.isascii() and length.isdigit() and len(length) <= 8
        if kind is None or not known or int(length) > MAX_REQUEST_BYTES:
            self._send(404 if kind is None else 413, "text/plain", b"no\n")
            return
        answer = self.server.authority.answer_ocsp(
            kind, self.rfile.read(int(length)), now=self.server.clock()
        )
        self._send(200, "application/ocsp-response", answer)

    def log_message(self, format: str, *args: object) -> None:
        """Only what was asked, never by whom or about which serial."""
        log.info("%s %s", self.command, self.path.split("?")[0][:40])

    def _kind(self, what: str) -> str | None:
        return next((kind for kind in KINDS if self.path == f"/{kind}/{what}"), None)

    def _send(self, status: int, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Akashi-Mock", "MOCK JPKI")
        self.end_headers()
        self.wfile.write(body)
