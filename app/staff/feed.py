"""The issuance worker's client of the console: pushes events and a snapshot, waits for commands, acknowledges
them.

The worker reaches out; nothing here listens. It holds no queue and no retry: it raises, the worker keeps what
was not taken and comes back. Repeating a call is always safe.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import Final
from urllib.parse import urlsplit

from app.staff.errors import FeedRefusedError, FeedUnavailableError, StaffFormatError
from app.staff.messages import (
    MAX_EVENTS,
    MAX_MESSAGE_BYTES,
    Ack,
    Command,
    Event,
    Snapshot,
    format_acks,
    format_events,
    format_snapshot,
    parse_commands,
)

TIMEOUT_SECONDS: Final = 10
MAX_WAIT_SECONDS: Final = 20


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: object) -> None:
        # A token must not follow a redirection to another host.
        return None


class StaffFeed:
    """One console at `base_url` (`http://127.0.0.1:8084`), with the worker's token."""

    def __init__(self, base_url: str, token: str, *, timeout: float = TIMEOUT_SECONDS) -> None:
        if urlsplit(base_url).scheme not in ("http", "https"):
            raise FeedRefusedError("bad-address", "http or https only")
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._timeout = timeout
        # No proxy from the environment: the console is inside the city.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)

    def __repr__(self) -> str:
        return f"StaffFeed({self._base_url!r})"

    def push_events(self, events: list[Event]) -> None:
        """Hand over events in batches of at most 500, in order. Raises: FeedUnavailableError,
        FeedRefusedError.

        If it raises, a first part may have been taken; sending everything again records nothing twice.
        """
        for start in range(0, len(events), MAX_EVENTS):
            self._call("POST", "/city/events", format_events(events[start : start + MAX_EVENTS]))

    def put_snapshot(self, snapshot: Snapshot) -> None:
        """Replace the console's snapshot. Raises: FeedUnavailableError, FeedRefusedError."""
        self._call("PUT", "/city/snapshot", format_snapshot(snapshot))

    def wait_commands(self, wait: int = MAX_WAIT_SECONDS) -> list[Command]:
        """Commands not acknowledged yet, waiting up to `wait` ≤ 20 seconds.

        Raises: FeedUnavailableError, FeedRefusedError.
        """
        wait = max(0, min(wait, MAX_WAIT_SECONDS))
        body = self._call("GET", f"/city/commands?wait={wait}", None, extra=wait)
        try:
            return parse_commands(body)
        except StaffFormatError as error:
            raise FeedRefusedError("bad-answer", error.code) from error

    def acknowledge(self, acks: list[Ack]) -> None:
        """Say what became of commands. Raises: FeedUnavailableError, FeedRefusedError."""
        if acks:
            self._call("POST", "/city/commands/acks", format_acks(acks))

    def _call(self, method: str, path: str, body: bytes | None, *, extra: float = 0) -> bytes:
        # The scheme was checked when this client was made.
        request = urllib.request.Request(self._base_url + path, data=body, method=method)  # noqa: S310
        request.add_header("Authorization", f"Bearer {self._token}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with self._opener.open(request, timeout=self._timeout + extra) as response:
                answer = response.read(MAX_MESSAGE_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error.code, error.headers.get("Retry-After", "")) from None
        except (OSError, http.client.HTTPException) as error:
            raise FeedUnavailableError("no-answer", type(error).__name__) from None
        if len(answer) > MAX_MESSAGE_BYTES:
            raise FeedRefusedError("bad-answer", "too large")
        return bytes(answer)


def _refusal(status: int, retry_after: str) -> FeedUnavailableError | FeedRefusedError:
    if status in (429, 502, 503, 504) or status == 500:
        seconds = (
            int(retry_after)
            if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 5
            else 5
        )
        return FeedUnavailableError("busy", str(status), retry_after=seconds)
    return FeedRefusedError("bad-token" if status == 401 else "refused", str(status))
