"""Where the files of a log come from: its public address, or a copy on disk. Bounded size, bounded time.

Both raise SourceError("not-found") when the file is not there (an answer), another SourceError when nobody answered
(an outage), and LimitError when there is more than there may be. What they hand out is not trusted.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from verifier.errors import FormatError, LimitError, SourceError, UsageError
from verifier.formats.checkpoint import parse_size
from verifier.formats.tiles import TILE_WIDTH
from verifier.http import MAX_DURATION, TIMEOUT, USER_AGENT

ATTEMPTS: Final = 3
PAUSE_SECONDS: Final = 0.5
MAX_LISTED: Final = 100_000
"""Names that one directory of a copy may hold."""
_CHUNK: Final = 1 << 16
NOT_FOUND: Final = "not-found"


class LogSource(Protocol):
    """The files of one log."""

    def fetch(self, path: str, max_bytes: int) -> bytes:
        """A file below the log's address. Raises: SourceError, LimitError."""

    def list_sizes(self, directory: str) -> list[int] | None:
        """The numbers that are names of files in `directory`, ascending; None if this source cannot list."""

    def list_widths(self, tile: str) -> list[int]:
        """Widths of the partial files that lie beside a tile or bundle; none if this source cannot list."""


class DirectoryLog:
    """A copy of the log's files on disk."""

    def __init__(self, directory: Path) -> None:
        """Raises: UsageError."""
        if not directory.is_dir():
            raise UsageError("no-directory", "there is no such directory")
        self._directory = directory

    def fetch(self, path: str, max_bytes: int) -> bytes:
        target = self._directory / path
        try:
            # A pipe or device in a copy from somebody else must not hold the auditor up.
            if not stat.S_ISREG(target.stat().st_mode):
                raise SourceError(NOT_FOUND, path)
            with target.open("rb") as file:
                data = file.read(max_bytes + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise SourceError(NOT_FOUND, path) from error
        except OSError as error:
            raise SourceError("unreadable", f"{path}: {error.strerror}") from error
        if len(data) > max_bytes:
            raise LimitError("file-too-large", f"{path}: more than {max_bytes} bytes")
        return data

    def list_sizes(self, directory: str) -> list[int] | None:
        return self._numbers(directory)

    def list_widths(self, tile: str) -> list[int]:
        return [width for width in self._numbers(f"{tile}.p") if 0 < width < TILE_WIDTH]

    def _numbers(self, directory: str) -> list[int]:
        numbers: list[int] = []
        try:
            for entry in (self._directory / directory).iterdir():
                with contextlib.suppress(FormatError):  # a name that is no number is none of ours
                    numbers.append(parse_size(entry.name))
                if len(numbers) > MAX_LISTED:
                    raise LimitError("too-many-files", f"{directory}: more than {MAX_LISTED} files")
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise SourceError("unreadable", f"{directory}: {error.strerror}") from error
        return sorted(numbers)


class HttpLog:
    """The log at its public address, over one connection that is kept open. No redirects, no proxies."""

    def __init__(
        self, address: str, *, timeout: float = TIMEOUT, pause: Callable[[float], None] = time.sleep
    ) -> None:
        """`address` is what `checkpoint` is appended to. Raises: UsageError."""
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError as error:
            raise UsageError("bad-address", "not an address") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise UsageError("bad-address", "a log is read at an http or https address, or in a directory")
        if parts.query or parts.fragment or any(not "!" <= char <= "~" for char in parts.path):
            raise UsageError("bad-address", "no query, no fragment and no spaces in the address of a log")
        self._is_tls = parts.scheme == "https"
        self._host, self._port = parts.hostname, port
        self._base = parts.path.rstrip("/")
        self._timeout, self._pause = timeout, pause
        self._connection: http.client.HTTPConnection | None = None

    def fetch(self, path: str, max_bytes: int) -> bytes:
        failure = SourceError("unreachable", f"{self._host} does not answer")
        for attempt in range(ATTEMPTS):
            if attempt:
                self._pause(PAUSE_SECONDS * 2 ** (attempt - 1))
            try:
                status, data = self._get(path, max_bytes)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.close()
                failure = SourceError("unreachable", f"{path}: {self._host} does not answer")
                failure.__cause__ = error
                continue
            if status == 200:
                return data
            if status in (404, 410):
                raise SourceError(NOT_FOUND, path)
            failure = SourceError(f"http-{status}", f"{path}: the answer is not the file")
            if status < 500 and status != 429:
                break
        raise failure

    def list_sizes(self, directory: str) -> list[int] | None:
        return None

    def list_widths(self, tile: str) -> list[int]:
        return []

    def close(self) -> None:
        """Let go of the connection; the next fetch makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _get(self, path: str, max_bytes: int) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = self._connect()
        deadline = time.monotonic() + MAX_DURATION
        self._connection.request("GET", f"{self._base}/{path}", headers={"User-Agent": USER_AGENT})
        response = self._connection.getresponse()
        data = bytearray()
        while len(data) <= max_bytes and (chunk := response.read1(min(_CHUNK, max_bytes + 1 - len(data)))):
            data += chunk
            if time.monotonic() > deadline:
                raise TimeoutError("too slow")
        if len(data) > max_bytes:
            self.close()  # what is left of it is not read
            if response.status == 200:
                raise LimitError("file-too-large", f"{path}: more than {max_bytes} bytes")
        else:
            response.read()  # nothing is left; only now the connection is free for the next question
            expected = response.getheader("Content-Length")
            if expected is not None and expected != str(len(data)):
                raise http.client.IncompleteRead(bytes(data))
        return int(response.status), bytes(data)

    def _connect(self) -> http.client.HTTPConnection:
        if self._is_tls:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)


def open_log(place: str) -> DirectoryLog | HttpLog:
    """The log at an address or in a directory. Raises: UsageError."""
    return HttpLog(place) if place.startswith(("http://", "https://")) else DirectoryLog(Path(place))
