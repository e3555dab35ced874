"""HTTP to the street door, with the standard library only: time-outs, limited answers, no redirects,
retries with proofs.

Only `PhoneError`s come out. What the door says is its own word: callers decide what it is worth.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException
from typing import Final, Protocol
from urllib.parse import urlsplit

from mobile_api.errors import DoorRefused, DoorUnavailable, StateError
from mobile_api.proofs import PROOF_HEADER, build_proof
from verifier.errors import FormatError
from verifier.formats.encoding import parse_json
from verifier.formats.jose import SignDigest

MAX_REPLY_BYTES: Final = 7 << 20
MAX_RETRY_AFTER: Final = 20.0
TIMEOUT_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer. Header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """One HTTP exchange; raises OSError when there was none."""

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> Reply:
        """Send and return the answer, whatever its status."""
        ...


@dataclass(frozen=True, slots=True)
class ProofKey:
    """Who signs the proofs of a call: thumbprint and signing function of a device or desk key."""

    kid: str
    sign: SignDigest


class UrllibTransport:
    """The real one. Redirects are not followed: a door that points elsewhere is not this door."""

    def __init__(self) -> None:
        self._opener = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> Reply:
        """See `Transport`."""
        request = urllib.request.Request(url, data=body, headers=dict(headers), method=method)  # noqa: S310
        try:
            with self._opener.open(request, timeout=timeout) as response:
                return _reply(response.status, response.headers, response.read(MAX_REPLY_BYTES + 1))
        except urllib.error.HTTPError as error:
            with error:
                return _reply(error.code, error.headers, error.read(MAX_REPLY_BYTES + 1))
        except HTTPException as error:
            raise OSError("broken answer") from error


class DoorClient:
    """Calls to one street door at `base_url` (https, or http on this machine)."""

    def __init__(
        self,
        base_url: str,
        *,
        transport: Transport,
        clock: Callable[[], datetime],
        random: Callable[[int], bytes],
        sleep: Callable[[float], None] = time.sleep,
        attempts: int = 4,
    ) -> None:
        parts = urlsplit(base_url)
        local = parts.hostname in ("127.0.0.1", "localhost", "::1")
        if not (parts.scheme == "https" or (parts.scheme == "http" and local)) or parts.path not in ("", "/"):
            raise StateError("bad-door", "the door's address is https://host")
        self._base = base_url.rstrip("/")
        self._transport = transport
        self._clock = clock
        self._random = random
        self._sleep = sleep
        self._attempts = attempts

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        query: str = "",
        proof: ProofKey | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> Reply:
        """One call with retries; every call of this API may be repeated. A fresh proof goes with each
        attempt.

        Returns a 2xx answer. Raises: DoorRefused for 4xx, DoorUnavailable after the last attempt.
        """
        reason = "no answer"
        for attempt in range(self._attempts):
            wait = 0.25 * 2**attempt
            try:
                reply = self._once(method, path, body, query, proof, headers or {}, timeout)
            except (TimeoutError, OSError) as error:
                reason = type(error).__name__
            else:
                if 200 <= reply.status < 300:
                    return reply
                if reply.status != 429 and reply.status < 500:
                    code, detail = _problem(reply)
                    raise DoorRefused(reply.status, code, detail)
                reason = f"status {reply.status}"
                wait = max(wait, min(_retry_after(reply), MAX_RETRY_AFTER))
            if attempt + 1 < self._attempts:
                self._sleep(wait)
        raise DoorUnavailable("door-unavailable", reason)

    def _once(
        self,
        method: str,
        path: str,
        body: bytes | None,
        query: str,
        proof: ProofKey | None,
        headers: Mapping[str, str],
        timeout: float,
    ) -> Reply:
        sent = {"Accept": "*/*", "User-Agent": "akashi-phone", **headers}
        if body is not None:
            sent.setdefault("Content-Type", "application/octet-stream")
        if proof is not None:
            sent[PROOF_HEADER] = build_proof(
                proof.kid,
                proof.sign,
                method=method,
                path=path,
                body=body or b"",
                now=self._clock(),
                random=self._random,
            )
        url = self._base + path + (f"?{query}" if query else "")
        reply = self._transport.send(method, url, sent, body, timeout)
        if len(reply.body) > MAX_REPLY_BYTES:
            raise OSError("answer too large")
        return reply


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: object) -> None:
        return None


def _reply(status: int, headers: Mapping[str, str] | None, body: bytes) -> Reply:
    return Reply(status, {name.lower(): value for name, value in (headers or {}).items()}, body)


def _problem(reply: Reply) -> tuple[str, str]:
    # The door's words are kept short and ASCII: they may end up on a screen beside the city's.
    try:
        value = parse_json(reply.body, max_bytes=16 << 10)
        code = value.get("code", "") if isinstance(value, dict) else ""
    except FormatError:
        code = ""
    if not isinstance(code, str) or not code.replace("-", "").isalnum() or not code.isascii():
        code = "door-refused"
    return code[:64], f"the street door answered {reply.status}"


def _retry_after(reply: Reply) -> float:
    text = reply.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0
