"""One HTTP request to a configured address: bounded, timed, no redirects, no proxies, only our own errors
come out.

The time is that of the whole exchange: a peer that sends a byte now and then is cut off like one that is silent.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from chain.errors import LogUnavailable, SettingsError

TIMEOUT_SECONDS: Final = 15.0
MAX_ANSWER: Final = 1 << 20


def check_address(url: str) -> str:
    """The address without a slash at its end.

    Raises: SettingsError("bad-address").
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise SettingsError("bad-address", "an address is http(s)://host[:port][/path]")
    return url.rstrip("/")


def send_request(
    method: str,
    url: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    seconds: float = TIMEOUT_SECONDS,
    max_answer: int = MAX_ANSWER,
) -> tuple[int, bytes]:
    """Status and body of the answer, had within `seconds` of the connection.

    Raises: LogUnavailable("not-reachable").
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(host, parts.port, timeout=seconds)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.connect()
        with _cut_off(connection.sock, seconds):
            connection.request(method, target, body, dict(headers or {}))
            answer = connection.getresponse()
            data = answer.read(max_answer + 1)
        if len(data) > max_answer:
            raise LogUnavailable("not-reachable", f"{host} answers too much")
        # a body that was cut off is shorter than its header says: http.client tells only for reads without limit
        if answer.length:
            raise LogUnavailable("not-reachable", f"{host} does not answer to the end")
        return answer.status, data
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise LogUnavailable("not-reachable", f"{host} does not answer: {type(error).__name__}") from error
    finally:
        connection.close()


@contextlib.contextmanager
def _cut_off(sock: socket.socket, seconds: float) -> Iterator[None]:
    # the time-out of a socket counts one pause only
    is_late = threading.Event()

    def cut() -> None:
        is_late.set()
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if is_late.is_set():
        raise TimeoutError
