"""The reset service and the vendor's face check over HTTP (模擬/MOCK): JSON in, JSON out, bounded, problem details for no.

    POST /nonces                {}                                                     → 201 {nonce}
    POST /vendor/face-checks    {card, picture, camera}                                → 201 {result}
    POST /reservations          {target, nonce, certificate, signature, face}          → 201 {reservation, expires}
    POST /kiosk/resets          {target, nonce, certificate, signature, challenge, digest}  → 201 {authorisation}
    POST /counter/resets        {target, card, challenge, digest, staff, documents, copy_reason?, copy_consent?}
                                with Authorization: Bearer <the counter's token>       → 201 {authorisation}

Bytes are base64. One log line a call without body or peer.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from app.counterparts.jpki.server import refuse_production
from app.counterparts.pin_reset.errors import ResetRefused
from app.counterparts.pin_reset.face_vendor import FaceVendor
from app.counterparts.pin_reset.service import CardWord, NewPassword, ResetService
from verifier.errors import FormatError
from verifier.fault import ToldByPlace
from verifier.formats.encoding import base64_decode, base64_encode, canonical_json, parse_json

MAX_BODY_BYTES: Final = 16 << 10
log = logging.getLogger("akashi.mock-pin-reset")

Answer = Mapping[str, Any]


class PinResetServer(ToldByPlace, ThreadingHTTPServer):
    """The running server; `counter_token` is what a counter's reader shows."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self,
        address: tuple[str, int],
        service: ResetService,
        vendor: FaceVendor,
        *,
        counter_token: str,
        profile: str | None,
    ) -> None:
        refuse_production(profile)
        self.service = service
        self.vendor = vendor
        self.counter_token = counter_token
        super().__init__(address, _Handler)

    @property
    def base_url(self) -> str:
        """http://host:port"""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"


class _Handler(BaseHTTPRequestHandler):
    server: PinResetServer
    server_version = "mock-pin-reset"
    sys_version = ""
    timeout = 10

    def do_POST(self) -> None:
        action = _ACTIONS.get(self.path)
        length = self.headers.get("Content-Length", "")
        known = length.isascii() and length.isdigit() and len(length) <= 6
        if action is None:
            self._problem(404, "not-found", "", "")
        elif not known or int(length) > MAX_BODY_BYTES:
            self._problem(413, "too-large", "", "")
        elif self.path.startswith("/counter/") and not self._is_counter():
            self._problem(401, "no-counter", "窓口の端末ではありません。", "This is not a counter.")
        else:
            self._act(action, self.rfile.read(int(length)))

    def _act(self, action: Callable[[PinResetServer, dict[str, Any]], Answer], body: bytes) -> None:
        try:
            form = parse_json(body, max_bytes=MAX_BODY_BYTES)
            if not isinstance(form, dict):
                raise TypeError("not an object")
            answer = action(self.server, form)
        except ResetRefused as no:
            self._problem(409, no.code, no.ja, no.en, rule=no.rule)
        except (FormatError, KeyError, TypeError, ValueError):
            self._problem(400, "bad-form", "", "members are missing or of another form")
        else:
            self._send(201, "application/json", canonical_json(dict(answer)))

    def log_message(self, format: str, *args: object) -> None:
        """Only which end point was asked."""
        path = getattr(self, "path", "")
        log.info("%s %s", getattr(self, "command", None), path if path in _ACTIONS else "other")

    def _is_counter(self) -> bool:
        given = self.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {self.server.counter_token}".encode())

    def _problem(self, status: int, code: str, ja: str, en: str, rule: str = "") -> None:
        document = {
            "code": code,
            "detail": en,
            "message_ja": ja,
            "message_en": en,
            "rule": rule,
            "status": status,
            "title": "模擬/MOCK",
            "type": f"urn:akashi:problem:{code}",
        }
        self._send(status, "application/problem+json", canonical_json(document))

    def _send(self, status: int, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Akashi-Mock", "MOCK pin reset")
        self.end_headers()
        self.wfile.write(body)


def _nonce(server: PinResetServer, _form: dict[str, Any]) -> Answer:
    return {"nonce": server.service.new_nonce()}


def _face_check(server: PinResetServer, form: dict[str, Any]) -> Answer:
    pictures = (base64_decode(form["picture"]), base64_decode(form["camera"]))
    return {"result": server.vendor.compare(_text(form, "card"), *pictures, now=server.service.now())}


def _reservation(server: PinResetServer, form: dict[str, Any]) -> Answer:
    made, expires = server.service.reserve(_text(form, "target"), _word(form), _text(form, "face"))
    return {"expires": expires, "reservation": made}


def _kiosk_reset(server: PinResetServer, form: dict[str, Any]) -> Answer:
    signature = server.service.reset_at_kiosk(_text(form, "target"), _word(form), _new(form))
    return {"authorisation": base64_encode(signature)}


def _counter_reset(server: PinResetServer, form: dict[str, Any]) -> Answer:
    documents, consent = form["documents"], form.get("copy_consent", False)
    if not isinstance(documents, list) or not all(isinstance(kind, str) for kind in documents):
        raise TypeError("documents")
    if not isinstance(consent, bool):
        raise TypeError("copy_consent")
    signature = server.service.reset_at_counter(
        _text(form, "target"),
        _text(form, "card"),
        _new(form),
        staff=_text(form, "staff"),
        documents=documents,
        copy_reason=_text(form, "copy_reason") if form.get("copy_reason") is not None else None,
        copy_consent=consent,
    )
    return {"authorisation": base64_encode(signature)}


_ACTIONS: Final[Mapping[str, Callable[[PinResetServer, dict[str, Any]], Answer]]] = {
    "/nonces": _nonce,
    "/vendor/face-checks": _face_check,
    "/reservations": _reservation,
    "/kiosk/resets": _kiosk_reset,
    "/counter/resets": _counter_reset,
}


def _word(form: dict[str, Any]) -> CardWord:
    return CardWord(
        _text(form, "nonce"), base64_decode(form["certificate"]), base64_decode(form["signature"])
    )


def _new(form: dict[str, Any]) -> NewPassword:
    return NewPassword(base64_decode(form["challenge"]), _text(form, "digest"))


def _text(form: dict[str, Any], name: str) -> str:
    value = form[name]
    if not isinstance(value, str) or not 0 < len(value) <= 4096:
        raise TypeError(name)
    return value
