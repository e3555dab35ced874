"""One HTTP request to a configured address: bounded, timed, no redirects, no proxies, only our own errors
come out.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
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
    method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Status and body of the answer.

    Raises: LogUnavailable("not-reachable").
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(host, parts.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request(method, parts.path or "/", body, dict(headers or {}))
        answer = connection.getresponse()
        data = answer.read(MAX_ANSWER + 1)
        if len(data) > MAX_ANSWER:
            raise LogUnavailable("not-reachable", f"{host} answers too much")
        return answer.status, data
    except (OSError, http.client.HTTPException) as error:
        raise LogUnavailable("not-reachable", f"{host} does not answer: {type(error).__name__}") from error
    finally:
        connection.close()
