"""How the city's worker speaks to the log process: append entries, read its state and its public files.

    client = LogClient("http://127.0.0.1:port", token)    # or "unix:/path/of/the/socket"
    logged = client.append([entry])[0]          # blocks for a beat; safe to repeat
    logged.index, logged.proof                  # proof: bytes of a tlog-proof with the signed checkpoint

The answer is not verified here: whoever uses a proof verifies it with `verifier.formats.tlog_proof`.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from chain.errors import ChainError, LogUnavailable
from verifier.errors import FormatError
from verifier.formats.encoding import parse_json

MAX_ANSWER: Final = 16 << 20
ENTRIES_A_REQUEST: Final = 256


@dataclass(frozen=True, slots=True)
class LoggedEntry:
    """What the log answers for one entry."""

    index: int
    proof: bytes  # a tlog-proof file


class LogClient:
    """Client of one log process; a connection a call."""

    def __init__(self, address: str, token: str, timeout: float = 30.0) -> None:
        """`address`: `http://127.0.0.1:port` or `unix:/path`."""
        self._unix = address.removeprefix("unix:") if address.startswith("unix:") else ""
        self._parts = urlsplit(address)
        self._token = token
        self._timeout = timeout

    def append(self, entries: Sequence[bytes]) -> list[LoggedEntry]:
        """Log entries of 32 bytes; answers in their order. The same entry again answers its first index.

        Raises: LogUnavailable (try again later), ChainError (the request is wrong).
        """
        logged: list[LoggedEntry] = []
        for start in range(0, len(entries), ENTRIES_A_REQUEST):
            portion = entries[start : start + ENTRIES_A_REQUEST]
            body = json.dumps({"entries": [entry.hex() for entry in portion]}).encode()
            answer = self._ask("POST", "/append", body)
            try:
                found = [LoggedEntry(int(item["index"]), str(item["proof"]).encode()) for item in answer]
            except (TypeError, KeyError, ValueError) as error:
                raise LogUnavailable("bad-answer", "the log's answer cannot be used") from error
            if len(found) != len(portion):
                raise LogUnavailable("bad-answer", "the log answered another number of entries")
            logged += found
        return logged

    def state(self) -> dict[str, Any]:
        """The members of `monitor.LogState`."""
        state: dict[str, Any] = self._ask("GET", "/state", None)
        return state

    def find_public(self, path: str) -> bytes | None:
        """A public file of the log (`receipts/1024`, `timestamps/1024`, `checkpoint`), None if there is none
        yet.

        Raises: LogUnavailable.
        """
        status, data = self._send("GET", f"/public/{path}", None)
        if status == 404:
            return None
        if status != 200:
            raise LogUnavailable("bad-answer", f"the log answers {status}")
        return data

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        status, data = self._send(method, path, body)
        try:
            value = parse_json(data, max_bytes=MAX_ANSWER)
        except FormatError as error:
            raise LogUnavailable("bad-answer", "the log's answer is not JSON") from error
        if status == 200:
            return value
        problem = value if isinstance(value, dict) else {}
        kind = LogUnavailable if status >= 500 else ChainError
        raise kind(str(problem.get("code", "refused")), str(problem.get("detail", f"status {status}")))

    def _send(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        connection = self._connect()
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {self._token}"})
            answer = connection.getresponse()
            data = answer.read(MAX_ANSWER + 1)
        except (OSError, http.client.HTTPException) as error:
            raise LogUnavailable("log-away", f"the log does not answer: {type(error).__name__}") from error
        finally:
            connection.close()
        return answer.status, data

    def _connect(self) -> http.client.HTTPConnection:
        if not self._unix:
            host = self._parts.hostname or "127.0.0.1"
            return http.client.HTTPConnection(host, self._parts.port, timeout=self._timeout)
        connection = http.client.HTTPConnection("localhost", timeout=self._timeout)
        unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        unix.settimeout(self._timeout)
        try:
            unix.connect(self._unix)
        except OSError as error:
            unix.close()
            raise LogUnavailable("log-away", f"the log does not answer: {type(error).__name__}") from error
        connection.sock = unix
        return connection
