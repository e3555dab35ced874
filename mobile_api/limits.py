"""Limits on what comes in: body sizes per route, calls per account, request id or network address.

Counters live in memory, per process, and are forgotten with it; network addresses are kept only as a keyed
hash whose key dies with the process. Coarse limits belong into the reverse proxy; these protect single
accounts and requests.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from mobile_api.errors import Problem

MAX_COUNTERS: Final = 50_000


class RateLimits:
    """Fixed windows: at most `limit` calls of one subject within `seconds`."""

    def __init__(self, secret: bytes, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._secret = secret
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._counters: OrderedDict[bytes, tuple[float, int]] = OrderedDict()

    def count(self, rule: str, subject: str, limit: int, seconds: int) -> None:
        """Count one call. Raises Problem 429 with Retry-After when the window is full."""
        name = hmac.digest(self._secret, f"{rule}\x00{subject}".encode(), hashlib.sha256)
        now = self._monotonic()
        with self._lock:
            begin, calls = self._counters.pop(name, (now, 0))
            if now - begin >= seconds:
                begin, calls = now, 0
            self._counters[name] = (begin, calls + 1)
            while len(self._counters) > MAX_COUNTERS:
                self._counters.popitem(last=False)
        if calls >= limit:
            wait = max(1, int(begin + seconds - now) + 1)
            raise Problem(429, "too-many-requests", "wait before the next call", retry_after=wait)


def read_body(limit: int) -> bytes:
    """The request's body, at most `limit` bytes. Raises Problem 413, and 411 for a body of unknown length."""
    if request.content_length is None and request.headers.get("Transfer-Encoding"):
        raise Problem(411, "length-required", "send Content-Length")
    if (request.content_length or 0) > limit:
        raise Problem(413, "body-too-large", f"more than {limit} bytes")
    request.max_content_length = limit
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise Problem(413, "body-too-large", f"more than {limit} bytes") from None


def remote_address() -> str:
    """The caller's network address, for counting only; never stored or logged."""
    return request.remote_addr or ""
