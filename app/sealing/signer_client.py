"""How the city's other processes ask the signer. Usable from several threads; a broken connection is opened
anew.

The client knows no key, only key ids by purpose. A refusal is a SignerError with the signer's code, an outage
an UnavailableError. An authorisation works once: after an outage in the middle of a call ask the gate for a
new one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from app.frames import FrameClient, read_token
from app.sealing.authorisation import Authorisation
from app.sealing.errors import SignerError
from app.sealing.signer_rules import MAX_ITEMS
from verifier.errors import FormatError
from verifier.formats.encoding import base64_decode
from verifier.formats.jose import format_jwk

DEFAULT_KEYS: Final[Mapping[str, str]] = {
    "page_seal": "page-seal-1",
    "credential": "credential-1",
    "status_list": "status-list-1",
    "statement": "statement-1",
    "login": "login-1",
    "envelope": "envelope-1",
    "checkpoint": "checkpoint-1",
}


@dataclass(frozen=True, slots=True)
class SignRequest:
    """One signature wanted: `digest` is SHA-256, `authorisation` as the gate gave it (object or its JSON
    form)."""

    purpose: str
    digest: bytes
    request_id: str
    serial: str
    authorisation: Authorisation | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PublicKeyInfo:
    """The public side of a city key: JWK (EC P-256 or OKP Ed25519) and certificates in DER, own first, no
    root."""

    purpose: str
    jwk: Mapping[str, Any]
    certificates: tuple[bytes, ...]


class SignerClient:
    """The signer at the Unix socket `path`, on one channel."""

    def __init__(
        self,
        path: Path,
        token: str,
        *,
        channel: str = "worker",
        keys: Mapping[str, str] = DEFAULT_KEYS,
        timeout: float = 20.0,
    ) -> None:
        self._frames = FrameClient(path, timeout=timeout)
        self._token = token
        self._channel = channel
        self._keys = keys

    @classmethod
    def from_token_file(cls, path: Path, token_file: Path, *, channel: str = "worker") -> SignerClient:
        """A client whose channel token lies in a 0600 file."""
        return cls(path, read_token(token_file), channel=channel)

    def sign(
        self,
        purpose: str,
        digest: bytes,
        *,
        request_id: str,
        serial: str,
        authorisation: Authorisation | Mapping[str, Any],
    ) -> bytes:
        """One signature, r ‖ s, 64 bytes. Raises: SignerError, UnavailableError."""
        (result,) = self.sign_batch([SignRequest(purpose, digest, request_id, serial, authorisation)])
        if isinstance(result, SignerError):
            raise result
        return result

    def sign_batch(self, requests: Sequence[SignRequest]) -> list[bytes | SignerError]:
        """Up to 256 signatures in one batch, in order; a refusal stands in the place of its signature.

        Raises: UnavailableError; SignerError("bad-request") for more than 256.
        """
        items = [
            {
                "op": "sign",
                "key_id": self._key_id(request.purpose),
                "purpose": request.purpose,
                "digest": request.digest.hex(),
                "request_id": request.request_id,
                "serial": request.serial,
                "authorisation": _as_json(request.authorisation),
            }
            for request in requests
        ]
        return [_result(answer, "signature", 64) for answer in self._ask(items)]

    def agree(self, peer: ec.EllipticCurvePublicKey) -> bytes:
        """ECDH of the envelope key with `peer`: the shared x coordinate, 32 bytes. Raises: SignerError,
        UnavailableError."""
        item = {"op": "agree", "key_id": self._key_id("envelope"), "epk": format_jwk(peer)}
        return _raised(_result(self._ask([item])[0], "z", 32))

    def sign_checkpoint(self, note: str) -> bytes:
        """Ed25519 over a note of the log, 64 bytes (channel log). Raises: SignerError, UnavailableError."""
        item = {"op": "sign-checkpoint", "key_id": self._key_id("checkpoint"), "note": note}
        return _raised(_result(self._ask([item])[0], "signature", 64))

    def public(self, purpose: str) -> PublicKeyInfo:
        """The public key and certificates for a purpose. Raises: SignerError, UnavailableError."""
        answer = self._ask([{"op": "public", "key_id": self._key_id(purpose)}])[0]
        if answer.get("ok") is not True:
            raise _error(answer)
        try:
            certificates = tuple(base64_decode(text) for text in answer["certificates"])
            return PublicKeyInfo(answer["purpose"], dict(answer["jwk"]), certificates)
        except (KeyError, TypeError, ValueError, AttributeError, FormatError) as error:
            raise SignerError("bad-signer-answer", "the answer has not its form") from error

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        self._frames.close()

    def _key_id(self, purpose: str) -> str:
        if purpose not in self._keys:
            raise SignerError("bad-purpose", "no key for this purpose")
        return self._keys[purpose]

    def _ask(self, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not 0 < len(items) <= MAX_ITEMS:
            raise SignerError("bad-request", f"1 to {MAX_ITEMS} items")
        message = {"v": 1, "channel": self._channel, "token": self._token, "items": items}
        answers = self._frames.call(message).get("items")
        if not isinstance(answers, list) or len(answers) != len(items):
            raise SignerError("bad-signer-answer", "not one answer for each item")
        if not all(isinstance(answer, dict) for answer in answers):
            raise SignerError("bad-signer-answer", "an answer is not an object")
        return answers


def _as_json(authorisation: Authorisation | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(authorisation, Authorisation):
        return authorisation.as_json()
    return dict(authorisation)


def _result(answer: dict[str, Any], member: str, size: int) -> bytes | SignerError:
    if answer.get("ok") is not True:
        return _error(answer)
    try:
        value = base64_decode(str(answer.get(member)))
    except FormatError:
        value = b""
    return value if len(value) == size else SignerError("bad-signer-answer", f"no usable {member}")


def _error(answer: dict[str, Any]) -> SignerError:
    return SignerError(str(answer.get("code", "refused"))[:64], str(answer.get("detail", ""))[:200])


def _raised(result: bytes | SignerError) -> bytes:
    if isinstance(result, SignerError):
        raise result
    return result
