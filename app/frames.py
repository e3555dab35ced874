"""Length-prefixed JSON over a Unix socket: how the city's own processes speak to each other.

One frame = 4-byte big-endian length ‖ JSON. Used by the signer's and the register gate's doors. This module knows
nothing of what is said: it only bounds it. A peer that sends too much, too little or no JSON is disconnected.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import socket
import socketserver
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson

from app.errors import UnavailableError
from verifier.fault import ToldByPlace

MAX_FRAME_BYTES: Final = 1 << 20
TIMEOUT_SECONDS: Final = 30.0


class FrameError(Exception):
    """The peer did not keep to the framing; the connection is of no more use."""


def write_frame(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send one frame. Raises FrameError if the message is larger than a frame may be."""
    body = orjson.dumps(message)
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError("frame too large")
    connection.sendall(len(body).to_bytes(4, "big") + body)


def read_frame(connection: socket.socket) -> dict[str, Any] | None:
    """Receive one frame; None when the peer closed between frames. Raises FrameError."""
    head = _read_exactly(connection, 4, at_start=True)
    if head is None:
        return None
    size = int.from_bytes(head, "big")
    if size > MAX_FRAME_BYTES:
        raise FrameError("frame too large")
    body = _read_exactly(connection, size)
    try:
        message = orjson.loads(body or b"")
    except orjson.JSONDecodeError as error:
        raise FrameError("not JSON") from error
    if not isinstance(message, dict):
        raise FrameError("not an object")
    return message


def _read_exactly(connection: socket.socket, size: int, *, at_start: bool = False) -> bytes | None:
    parts: list[bytes] = []
    missing = size
    while missing:
        part = connection.recv(missing)
        if not part:
            if at_start and missing == size:
                return None
            raise FrameError("the peer closed in the middle of a frame")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


class FrameClient:
    """One connection to a door, shared by threads, re-opened when it breaks.

    A call that fails after it was sent is repeated once on a new connection: every door's operations are idempotent
    or guarded by single-use values, so a repetition is safe.
    """

    def __init__(self, path: Path, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self._path = path
        self._timeout = timeout
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None

    def call(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send `message`, return the answer. Raises UnavailableError when the door cannot be reached."""
        with self._lock:
            for last_try in (False, True):
                try:
                    connection = self._connection or self._open()
                    write_frame(connection, message)
                    answer = read_frame(connection)
                    if answer is None:
                        raise FrameError("closed")
                    return answer
                except (OSError, FrameError) as error:
                    self._close()
                    if last_try:
                        raise UnavailableError("door-unreachable", self._path.name) from error
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        with self._lock:
            self._close()

    def _open(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout)
        try:
            connection.connect(str(self._path))
        except OSError:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None


class FrameServer(ToldByPlace, socketserver.ThreadingUnixStreamServer):
    """Answers frames at `path` (mode 0600) with `handle(message) -> answer`; exceptions become `internal`."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, path: Path, handle: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A socket file left by a killed predecessor would make bind fail; a live one is not there: one process a door.
        path.unlink(missing_ok=True)
        self.handle_message = handle
        old = os.umask(0o177)
        try:
            super().__init__(str(path), _FrameHandler)
        finally:
            os.umask(old)


class _FrameHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        connection: socket.socket = self.request
        server: FrameServer = self.server  # type: ignore[assignment]
        with contextlib.suppress(OSError, FrameError):
            while (message := read_frame(connection)) is not None:
                write_frame(connection, server.handle_message(message))


def read_token(path: Path) -> str:
    """A channel token from its 0600 file."""
    return path.read_text(encoding="ascii").strip()


def is_token(given: object, expected: str) -> bool:
    """Constant-time comparison of a channel token."""
    return isinstance(given, str) and hmac.compare_digest(given.encode(), expected.encode())
