"""The city's client that reaches out to the street door: takes envelopes, puts answers, packages, nonces
and public files.

Every call carries an ES256 JWT made for exactly this call. An outage raises UnavailableError after a few
tries; every call may be repeated. What the door says is checked for form and size and believed for nothing:
envelopes open, or not, with the city's own keys.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

import jwt
import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.errors import CityError, ConflictError, SettingsError, UnavailableError
from app.zones import Guard, Zone
from verifier.errors import FormatError
from verifier.formats.encoding import base64_decode, base64url_encode, canonical_json, sha256
from verifier.formats.jose import format_jwk, thumbprint

MAX_REPLY_BYTES: Final = 8 << 20
MAX_MESSAGE_BYTES: Final = 128 << 10
MAX_QUESTION_BYTES: Final = 300 << 10
"""Of a sealed question in base64 (`exchanges.MAX_QUESTION_BYTES` inside two layers of base64)."""
TOKEN_SECONDS: Final = 50
TIMEOUT_SECONDS: Final = 15.0
ATTEMPTS: Final = 4
NONCES_A_CALL: Final = 1000
_ID: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")

Authorise = Callable[[str, str, bytes], str]
"""(method, path, body) → value of the Authorization header."""


class MailboxError(CityError):
    """The street door refused the city, or answered with something that is no answer."""


class NotThereError(MailboxError):
    """The street door does not know this name (404)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of a wallet as it lies at the door: the exchange's id there, and the package."""

    exchange: str
    body: bytes


@dataclass(frozen=True, slots=True)
class InboxMessage:
    """One envelope. `message_id` and `received` (ISO minute) are the door's words; `body` a JWE to the
    city.
    """

    message_id: str
    account: str
    received: str
    body: bytes


class CityMailbox:
    """One street door at `base_url`. Thread-safe: it keeps no state between calls."""

    def __init__(
        self,
        base_url: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        city: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
        attempts: int = ATTEMPTS,
        guard: Guard | None = None,
        zone: Zone = Zone.CITY,
        send: Callable[[urllib.request.Request, float], tuple[int, dict[str, str], bytes]] | None = None,
    ) -> None:
        if not base_url.startswith(("https://", "http://127.0.0.1", "http://localhost", "http://[::1]")):
            raise SettingsError("bad-door", "the street door is reached by https, or by http on this machine")
        self._base = base_url.rstrip("/")
        self._authorise = city_authorisation(key, clock=clock)
        self._city = city
        self._clock = clock
        self._sleep = sleep
        self._attempts = attempts
        self._guard = guard
        self._zone = zone
        self._send = send or _send_over_http

    @classmethod
    def from_key_file(cls, base_url: str, key_file: Path, *, city: str, **options: Any) -> CityMailbox:
        """With the key of a PEM file. Raises: SettingsError."""
        return cls(base_url, read_mailbox_key(key_file), city=city, **options)

    def city_authorisation(self, method: str, path: str, body: bytes) -> str:
        """The Authorization header of one call (for the log's publisher). `path` without query."""
        return self._authorise(method, path, body)

    def take(self, *, wait: int = 20, limit: int = 64) -> list[InboxMessage]:
        """The oldest envelopes, waiting up to `wait` seconds for one. They stay until acknowledged.

        Items that are not in the form are left out: a hostile door must not stop the honest ones.
        """
        body = self._call("GET", "/city/inbox", b"", f"wait={wait}&limit={limit}", timeout=wait + 15)
        self._cross("mailbox.inbox", len(body))
        items = _member(body, "messages", list)[:limit]
        return [message for item in items if (message := _inbox_message(item)) is not None]

    def acknowledge(self, message_ids: Sequence[str]) -> None:
        """The city has stored these envelopes: the door may delete them."""
        body = canonical_json({"ids": list(message_ids)})
        self._cross("mailbox.ack", len(body))
        self._call("POST", "/city/inbox/acks", body)

    def nonces_left(self) -> int:
        """How many nonces are in stock at the door."""
        left = _member(self._call("GET", "/city/nonces", b""), "left", int)
        return max(0, left)

    def put_nonces(self, nonces: Sequence[str]) -> None:
        """Hand nonces over in advance. The city has stored them before."""
        for begin in range(0, len(nonces), NONCES_A_CALL):
            body = canonical_json({"nonces": list(nonces[begin : begin + NONCES_A_CALL])})
            self._cross("mailbox.nonces", len(body))
            self._call("POST", "/city/nonces", body)

    def put_answer(self, account: str, item_id: str, body: bytes) -> None:
        """Put one sealed answer. The door keeps the first: an answer sealed anew after a crash is not put
        twice.
        """
        self._cross("mailbox.answer", len(body))
        try:
            self._call("PUT", f"/city/answers/{_id(account)}/{_id(item_id)}", body)
        except ConflictError:
            return

    def put_package(self, account: str, package_id: str, body: bytes) -> None:
        """Put one package. Raises: ConflictError when other bytes lie under this id."""
        self._cross("mailbox.package", len(body))
        self._call("PUT", f"/city/packages/{_id(account)}/{_id(package_id)}", body)

    def delete_package(self, account: str, package_id: str) -> None:
        """Take an undelivered package back."""
        self._call("DELETE", f"/city/packages/{_id(account)}/{_id(package_id)}", b"")

    def put_offer(self, grant: str, body: bytes) -> None:
        """Put an offer's hashes (JSON). Raises: ConflictError when another offer lies under this grant."""
        self._cross("mailbox.offer", len(body))
        self._call("PUT", f"/city/offers/{_id(grant)}", body)

    def delete_offer(self, grant: str) -> None:
        """End an offer and its tokens; also when the door does not know it."""
        self._cross("mailbox.offer", 0)
        with contextlib.suppress(NotThereError):
            self._call("DELETE", f"/city/offers/{_id(grant)}", b"")

    def put_wallet_nonce_key(self, body: bytes) -> None:
        """Hand over the key of the wallets' challenges (`wallet_nonce.format_nonce_key`). It was stored before."""
        self._cross("mailbox.wallet-nonce-key", len(body))
        self._call("PUT", "/city/wallet-nonce-key", body)

    def exchanges(self, *, wait: int = 20, limit: int = 16) -> list[Asked]:
        """The oldest questions of wallets without an answer, waiting up to `wait` seconds for one.

        Items that are not in the form are left out.
        """
        body = self._call("GET", "/city/exchanges", b"", f"wait={wait}&limit={limit}", timeout=wait + 15)
        self._cross("mailbox.exchanges", len(body))
        items = _member(body, "exchanges", list)[:limit]
        return [asked for item in items if (asked := _asked(item)) is not None]

    def put_exchange_answer(self, exchange: str, body: bytes) -> bool:
        """Put the answer to one question; False if nobody waits for it any more."""
        self._cross("mailbox.exchange-answer", len(body))
        try:
            self._call("PUT", f"/city/exchanges/{_id(exchange)}", body)
        except (NotThereError, ConflictError):
            return False
        return True

    def put_public(self, path: str, body: bytes) -> None:
        """Put one public file; `path` begins with the city code. Raises: ConflictError for other bytes."""
        if not path.startswith(f"{self._city}/") or ".." in path:
            raise MailboxError("bad-path", "a public path begins with the city code")
        self._cross("public.put", len(body))
        self._call("PUT", f"/city/public/{path}", body, timeout=60)

    def _cross(self, message: str, size: int) -> None:
        if self._guard is not None:
            self._guard.check(self._zone, Zone.INTERNET, message, size, now=self._clock())

    def _call(
        self, method: str, path: str, body: bytes, query: str = "", *, timeout: float = TIMEOUT_SECONDS
    ) -> bytes:
        url = self._base + path + (f"?{query}" if query else "")
        reason = "no answer"
        for attempt in range(self._attempts):
            wait = 0.25 * 2**attempt
            # A token is good for one call, so each attempt gets its own.
            headers = {"Authorization": self._authorise(method, path, body)}
            if body:
                headers["Content-Type"] = "application/octet-stream"
            request = urllib.request.Request(url, data=body or None, headers=headers, method=method)  # noqa: S310
            try:
                status, reply_headers, reply = self._send(request, timeout)
            except (OSError, HTTPException) as error:
                reason = type(error).__name__
            else:
                if 200 <= status < 300:
                    return reply
                if status == 409:
                    raise ConflictError("door-conflict", "other bytes lie under this name")
                if status == 404:
                    raise NotThereError("door-refused", f"the street door answered 404 to {method}")
                if status != 429 and status < 500:
                    raise MailboxError("door-refused", f"the street door answered {status} to {method}")
                reason = f"status {status}"
                wait = max(wait, _retry_after(reply_headers))
            if attempt + 1 < self._attempts:
                self._sleep(wait)
        raise UnavailableError("street-door", reason)


def city_authorisation(
    key: ec.EllipticCurvePrivateKey, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Authorise:
    """A callable that makes the Authorization header of one call, good for 50 s and for one use."""
    kid = thumbprint(key.public_key())

    def authorise(method: str, path: str, body: bytes) -> str:
        issued = int(clock().timestamp())
        claims = {
            "body": base64url_encode(sha256(body)),
            "exp": issued + TOKEN_SECONDS,
            "htm": method,
            "htu": path,
            "iat": issued,
            "jti": secrets.token_urlsafe(16),
        }
        return "Bearer " + jwt.encode(claims, key, algorithm="ES256", headers={"kid": kid})

    return authorise


def read_mailbox_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The P-256 key of a PEM file. Raises: SettingsError."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError) as error:
        raise SettingsError("mailbox-key", "the mailbox key cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SettingsError("mailbox-key", "the mailbox key is not a P-256 key")
    return key


def write_mailbox_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Make a new key file (0600); an existing one is not replaced. Raises: FileExistsError."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    return key


def format_door_keys(keys: Sequence[tuple[ec.EllipticCurvePublicKey, Sequence[str]]]) -> bytes:
    """The file AKASHI_DOOR_CITY_KEYS: (public key, scopes "mailbox" and/or "public") of each client of the
    city.
    """
    return canonical_json({"keys": [{**format_jwk(key), "scope": sorted(scope)} for key, scope in keys]})


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: object) -> None:
        return None


def _send_over_http(request: urllib.request.Request, timeout: float) -> tuple[int, dict[str, str], bytes]:
    opener = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as response:
            status, headers, body = response.status, response.headers, response.read(MAX_REPLY_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            status, headers, body = error.code, error.headers, error.read(64 << 10)
    if len(body) > MAX_REPLY_BYTES:
        raise OSError("answer too large")
    return status, {name.lower(): value for name, value in headers.items()}, body


def _member(body: bytes, name: str, kind: type) -> Any:
    # Not `parse_json`: a full inbox would take it half a second, and every item is checked below. orjson bounds the
    # depth by itself; the standard library's parser would follow a hostile door down until the process dies.
    try:
        value = orjson.loads(body)
        found = value[name]
    except (ValueError, KeyError, TypeError) as error:
        raise MailboxError("bad-door-answer", f"{name} is missing") from error
    if type(found) is not kind:
        raise MailboxError("bad-door-answer", f"{name} has another type")
    return found


def _inbox_message(item: Any) -> InboxMessage | None:
    if not isinstance(item, dict):
        return None
    fields = [item.get(name) for name in ("id", "account", "received", "body")]
    if not all(isinstance(field, str) for field in fields):
        return None
    identifier, account, received, body = fields
    if not _ID.fullmatch(identifier) or not _ID.fullmatch(account) or len(body) > MAX_MESSAGE_BYTES:
        return None
    try:
        return InboxMessage(identifier, account, received[:20], base64_decode(body))
    except FormatError:
        return None


def _asked(item: Any) -> Asked | None:
    if not isinstance(item, dict):
        return None
    exchange, body = item.get("id"), item.get("body")
    if not isinstance(exchange, str) or not isinstance(body, str):
        return None
    if not _ID.fullmatch(exchange) or len(body) > MAX_QUESTION_BYTES:
        return None
    try:
        return Asked(exchange, base64_decode(body))
    except FormatError:
        return None


def _id(value: str) -> str:
    # Into a path only what the door's own form allows: an id never climbs out of its place.
    if _ID.fullmatch(value) is None:
        raise MailboxError("bad-id", "an id has 16 to 64 characters of base64url")
    return value


def _retry_after(headers: dict[str, str]) -> float:
    text = headers.get("retry-after", "")
    return min(float(text), 20.0) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0
