"""OCSP and CRL of the mock JPKI over HTTP (模擬/MOCK). POST /<kind>/ocsp, GET /<kind>/crl; kind signature,
authentication.

Only registered bodies are answered (`bodies`): `Authorization: Bearer <credential>`, and `Mock-Jpki-For: <body>` where the
asker was delegated. 401 who is not known, 403 who may not ask this; the body is `{"error": code}`. Both stand in for the
closed network and the certificates of the world outside.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from app.counterparts.jpki.authority import MockJpki
from app.counterparts.jpki.bodies import Asker, BodyMeter, BodyRegistry
from app.counterparts.jpki.errors import BodyRefused, JpkiError
from app.counterparts.jpki.profiles import KINDS
from app.errors import SettingsError
from verifier.fault import ToldByPlace
from verifier.formats.encoding import canonical_json

MAX_REQUEST_BYTES: Final = 8192
BEHALF_HEADER: Final = "Mock-Jpki-For"
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
        self.bodies = BodyRegistry(authority.directory)
        self.meter = BodyMeter(authority.directory / "queries.sqlite")
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
        asker = self._asker(kind)
        if asker is not None:
            now = self.server.clock()
            self.server.meter.count(asker, kind, "crl", now=now)
            self._send(200, "application/pkix-crl", self.server.authority.build_crl(kind, now=now))

    def do_POST(self) -> None:
        kind = self._kind("ocsp")
        length = self.headers.get("Content-Length", "")
        # isdigit alone also takes "²", which int refuses; eight digits are more than anybody may send.
        known = length.isascii() and length.isdigit() and len(length) <= 8
        if kind is None or not known or int(length) > MAX_REQUEST_BYTES:
            self._send(404 if kind is None else 413, "text/plain", b"no\n")
            return
        question = self.rfile.read(int(length))
        asker = self._asker(kind)
        if asker is not None:
            now = self.server.clock()
            self.server.meter.count(asker, kind, "ocsp", now=now)
            answer = self.server.authority.answer_ocsp(kind, question, now=now)
            self._send(200, "application/ocsp-response", answer)

    def _asker(self, kind: str) -> Asker | None:
        """Who asks; None when the refusal was sent."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        behalf = self.headers.get(BEHALF_HEADER, "").strip()
        try:
            return self.server.bodies.check(token, kind, behalf=behalf, now=self.server.clock())
        except BodyRefused as error:
            status, code = (401 if error.code == "unregistered" else 403), error.code
        except JpkiError as error:
            # The register itself cannot be read: nobody is answered.
            status, code = 503, error.code
        log.warning("refused: %s", code)
        self._send(status, "application/json", canonical_json({"error": code}))
        return None

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
