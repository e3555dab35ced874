"""The log's signature over note texts: asked from the signer process, or made in software for tests and
drills.

The log process has no private key. It sends the text of a note (a checkpoint, or an anchor receipt) to the
signer's Unix socket (channel "log", operation "sign-checkpoint") and gets 64 bytes of Ed25519. The signer
parses the text and keeps its own memory of the last size it signed, so that it is a second guard against two
roots for one size.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chain.errors import LogUnavailable, SigningError
from verifier.errors import FormatError
from verifier.formats.encoding import base64_decode, base64url_decode, parse_json
from verifier.formats.signed_note import (
    SignedNote,
    VerifierKey,
    build_signature_line,
    format_note,
    verify_exact,
)

MAX_FRAME_BYTES: Final = 1 << 20
SIGNER_TIMEOUT_SECONDS: Final = 20.0
_SIGNATURE_BYTES: Final = 64


class CheckpointSigner(Protocol):
    """Who signs for the log."""

    def sign(self, note_text: str) -> bytes:
        """64 bytes of Ed25519 over the UTF-8 text.

        Raises: LogUnavailable (not now), SigningError (refused).
        """


class SoftwareSigner:
    """A key in this process: for tests and drills, never for a city's log."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key

    def sign(self, note_text: str) -> bytes:
        return self._private_key.sign(note_text.encode("utf-8"))


class SignerClient:
    """Client of the signer's Unix socket; one connection a signature."""

    def __init__(self, address: Path, token: str, key_id: str) -> None:
        self._address = address
        self._token = token
        self._key_id = key_id

    def sign(self, note_text: str) -> bytes:
        item = {"op": "sign-checkpoint", "key_id": self._key_id, "note": note_text}
        answer = self._ask(item)
        try:
            signature = base64_decode(str(answer.get("signature", "")))
        except FormatError as error:
            raise SigningError("bad-signer-answer", "the signature is not base64") from error
        if len(signature) != _SIGNATURE_BYTES:
            raise SigningError("bad-signer-answer", "the signature has not 64 bytes")
        return signature

    def public_key(self) -> bytes:
        """The raw 32-byte Ed25519 public key of the log.

        Raises: LogUnavailable, SigningError.
        """
        jwk = self._ask({"op": "public", "key_id": self._key_id}).get("jwk")
        try:
            if not isinstance(jwk, dict) or jwk.get("crv") != "Ed25519":
                raise FormatError("bad-jwk", "not an Ed25519 key")
            return base64url_decode(str(jwk.get("x", "")))
        except FormatError as error:
            raise SigningError("bad-signer-answer", "no usable public key") from error

    def _ask(self, item: dict[str, Any]) -> dict[str, Any]:
        request = json.dumps({"v": 1, "channel": "log", "token": self._token, "items": [item]}).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(SIGNER_TIMEOUT_SECONDS)
                connection.connect(str(self._address))
                connection.sendall(len(request).to_bytes(4, "big") + request)
                length = int.from_bytes(_receive(connection, 4), "big")
                if length > MAX_FRAME_BYTES:
                    raise SigningError("bad-signer-answer", "the signer's answer is too long")
                body = _receive(connection, length)
        except OSError as error:
            raise LogUnavailable("signer-away", "the signer does not answer") from error
        try:
            answer = parse_json(body, max_bytes=MAX_FRAME_BYTES)
        except FormatError as error:
            raise SigningError("bad-signer-answer", "the signer's answer is not JSON") from error
        items = answer.get("items") if isinstance(answer, dict) else answer
        if not isinstance(items, list) or len(items) != 1 or not isinstance(items[0], dict):
            raise SigningError("bad-signer-answer", "the signer did not answer this one question")
        if items[0].get("ok") is not True:
            code, detail = items[0].get("code", "refused"), items[0].get("detail", "")
            raise SigningError(str(code)[:64], f"the signer refused: {str(detail)[:200]}")
        return items[0]


def sign_note(text: str, key: VerifierKey, signer: CheckpointSigner) -> bytes:
    """The signed note over `text`, checked against the public key before anybody gets to see it.

    Raises: LogUnavailable, SigningError("wrong-key").
    """
    return build_signed_note(text, key, signer.sign(text))


def build_signed_note(text: str, key: VerifierKey, signature: bytes) -> bytes:
    """The signed note from a stored signature, checked.

    Raises: SigningError("wrong-key").
    """
    note = SignedNote(text, (build_signature_line(key, signature),))
    try:
        verify_exact(note, [key])
    except FormatError as error:
        raise SigningError("wrong-key", "the signature is not by the configured log key") from error
    return format_note(note)


def _receive(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionError("the signer closed the connection")
        data += part
    return data
