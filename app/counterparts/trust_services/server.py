"""The HTTP front of the trust services (模擬/MOCK): POST /tsa, GET and POST /ocsp, GET /crl/<authority>.crl.

Media types after RFC 3161 section 3.4, RFC 6960 appendix A and RFC 2585. Requests are bounded, served on
loopback, logged as one line without content.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import unquote

from cryptography.hazmat.primitives.asymmetric import ec

from app.counterparts.trust_services.authority import AUTHORITIES, answer_ocsp, build_crl
from app.counterparts.trust_services.tsa import DemoTsa
from app.sealing.errors import PkiError, SettingsInvalidError
from app.sealing.key_files import read_private_key
from app.sealing.pki import DemoPki
from verifier.fault import ToldByPlace

MAX_REQUEST_BYTES: Final = 8 << 10
REQUEST_TIMEOUT_SECONDS: Final = 10
PROFILES: Final = ("demo", "production")
MOCK_HEADER: Final = ("Akashi-Mock", "MOCK; moji*=UTF-8''%E6%A8%A1%E6%93%AC")

_log = logging.getLogger("akashi.trust_services")


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, media type, body."""

    status: int
    media_type: str
    body: bytes


class TrustServices:
    """All answers of the counterpart, without sockets: `handle` takes a request apart and calls the right
    service."""

    def __init__(self, pki: DemoPki, clock: Callable[[], datetime]) -> None:
        key = read_private_key(pki.directory / "ca" / "tsa.key.pem")
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise PkiError("bad-pki", "the time-stamping key is of another kind")
        self._pki = pki
        self._clock = clock
        self._tsa = DemoTsa(pki.certificates["tsa"], key)

    def handle(self, method: str, path: str, media_type: str, body: bytes) -> Reply:
        """Answer one request. Unknown paths 404, wrong media types 415."""
        if (method, path) == ("POST", "/tsa"):
            if media_type != "application/timestamp-query":
                return _plain(415, "expected application/timestamp-query")
            return Reply(200, "application/timestamp-reply", self._tsa.answer(body, self._clock()))
        if (method, path) == ("POST", "/ocsp"):
            if media_type != "application/ocsp-request":
                return _plain(415, "expected application/ocsp-request")
            return self._ocsp(body)
        if method == "GET" and path.startswith("/ocsp/"):
            try:
                return self._ocsp(base64.b64decode(unquote(path[6:]), validate=True))
            except (binascii.Error, ValueError):
                return self._ocsp(b"")
        if method == "GET" and path in {f"/crl/{stem}.crl" for stem in AUTHORITIES}:
            return Reply(200, "application/pkix-crl", build_crl(self._pki, path[5:-4], self._clock()))
        if (method, path) == ("GET", "/healthz"):
            return _plain(200, "ok (MOCK/模擬)")
        return _plain(404, "no such service")

    def _ocsp(self, request: bytes) -> Reply:
        return Reply(200, "application/ocsp-response", answer_ocsp(self._pki, request, self._clock()))


def build_server(
    pki: DemoPki,
    *,
    profile: str | None,
    host: str = "127.0.0.1",
    port: int = 0,
    clock: Callable[[], datetime] | None = None,
) -> ThreadingHTTPServer:
    """The server, bound but not yet serving (`serve_forever`); its address is `server.server_address`.

    `profile`: the value of AKASHI_PROFILE. `clock` gives UTC; the machine's by default.
    Raises: SettingsInvalidError unless the profile is demo.
    """
    if profile not in PROFILES:
        raise SettingsInvalidError("no-profile", "AKASHI_PROFILE must be demo or production")
    if profile != "demo":
        raise SettingsInvalidError("mock-in-production", "the trust services counterpart is a mock (模擬)")
    services = TrustServices(pki, clock or _utc_now)

    class Handler(_Handler):
        pass

    Handler.services = services
    return _Server((host, port), Handler)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _plain(status: int, text: str) -> Reply:
    return Reply(status, "text/plain; charset=utf-8", text.encode())


class _Server(ToldByPlace, ThreadingHTTPServer):
    pass


class _Handler(BaseHTTPRequestHandler):
    services: TrustServices
    protocol_version = "HTTP/1.1"
    server_version = "akashi-trust-services-MOCK"
    sys_version = ""
    timeout = REQUEST_TIMEOUT_SECONDS
    # One write a response, and no waiting for a second one: otherwise each call costs 40 ms (Nagle and
    # delayed ACK).
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._reply(self.services.handle("GET", self.path, "", b""))

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > MAX_REQUEST_BYTES:
            self.close_connection = True
            self._reply(_plain(413, f"at most {MAX_REQUEST_BYTES} bytes"))
            return
        media_type = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        self._reply(self.services.handle("POST", self.path, media_type, self.rfile.read(int(length))))

    def _reply(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.media_type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header(*MOCK_HEADER)
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:
        # Path without what follows /ocsp/: it names a certificate; the counterpart's log need not.
        service = self.path.split("/")[1] if self.path.count("/") else ""
        _log.info("MOCK/模擬 %s /%s", self.command, service)
