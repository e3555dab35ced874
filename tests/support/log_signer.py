"""A signer for one log (模擬/MOCK): the rule of the signer process for checkpoints and receipts, behind the same socket.

It lives in the process of the test and is never killed with the log: what it has signed is a memory that no fork gets
round.
"""

from __future__ import annotations

import json
import socketserver
import sys
import threading
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from verifier.errors import FormatError
from verifier.formats.chain_anchor import parse_receipt_text
from verifier.formats.checkpoint import parse_checkpoint_text
from verifier.formats.encoding import base64_encode, base64url_encode
from verifier.formats.signed_note import build_vkey

ORIGIN = "door.mihon.example/992011/log/1"
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)
KEY = build_vkey(ORIGIN, PRIVATE.public_key().public_bytes_raw())
SIGNER_TOKEN = "signer-token-for-tests"


class Signer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """The signer's rule: a larger size, or the same size with the same root; receipts of those. `signed` is size → root."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.signed: dict[int, bytes] = {}
        self.violations: list[str] = []
        self._lock = threading.Lock()
        super().__init__(str(path), _SignerHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A log that was killed does not wait for its answer."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """What the socket answers to one request."""
        with self._lock:
            return self._answer(request)

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        assert request["channel"] == "log"
        if request["token"] != SIGNER_TOKEN:
            return {"ok": False, "code": "unauthenticated", "detail": "wrong token"}
        item = request["items"][0]
        if item["op"] == "public":
            x = base64url_encode(PRIVATE.public_key().public_bytes_raw())
            return {"ok": True, "jwk": {"kty": "OKP", "crv": "Ed25519", "x": x}}
        note = item["note"]
        try:
            head = parse_checkpoint_text(note)
            if head.size < max(self.signed, default=0) or self.signed.get(head.size, head.root) != head.root:
                self.violations.append(note)
                return {"ok": False, "code": "checkpoint-rolled-back", "detail": "a fork"}
            self.signed[head.size] = head.root
        except FormatError:
            receipt = parse_receipt_text(note)
            if self.signed.get(receipt.size) != receipt.root:
                return {"ok": False, "code": "unknown-checkpoint", "detail": "never signed"}
        return {"ok": True, "signature": base64_encode(PRIVATE.sign(note.encode()))}


class _SignerHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        length = int.from_bytes(self.rfile.read(4), "big")
        body = self.rfile.read(length)
        if body:
            answer = json.dumps({"v": 1, "items": [self.server.answer(json.loads(body))]}).encode()
            self.wfile.write(len(answer).to_bytes(4, "big") + answer)
