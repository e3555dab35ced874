"""Asking over HTTP with the standard library: bounded size and time, no redirects, only allowed addresses.

`HttpSources` asks only what lies below the public_url, the status lists and the nodes of the given trust
lists. An address may be mapped to another base (a mirror, a test server):
`base_urls={"https://door.mihon.example": "http://127.0.0.1:8000"}`. Every failure is a SourceError: outages
are never verdicts.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import orjson

from verifier.errors import FormatError, SourceError
from verifier.formats.encoding import JSON
from verifier.formats.trust_list import ChainTrust
from verifier.trust import TrustList

TIMEOUT: Final = 10.0
"""Seconds for each answer to begin and for each pause in it."""
MAX_DURATION: Final = 60.0
"""Seconds for a whole answer."""
MAX_FILE_BYTES: Final = 2 << 20
MAX_RPC_BYTES: Final = 2 << 20
USER_AGENT: Final = "akashi-verifier"
_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (lower-case names) and body of an HTTP answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None


def call(
    method: str,
    address: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
    max_bytes: int = MAX_FILE_BYTES,
) -> Answer:
    """One HTTP call; a redirect is an answer like any other, never followed.

    Raises: SourceError("unreachable" | "answer-too-large" | "bad-address").
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise SourceError("bad-address", "only http and https addresses are asked")
    request = urllib.request.Request(  # noqa: S310  (scheme checked above)
        address, data=body, method=method, headers={"User-Agent": USER_AGENT, **(headers or {})}
    )
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        try:
            response = opener.open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            data = _read(response, max_bytes, time.monotonic() + MAX_DURATION)
            status = int(response.status)
            names = {name.lower(): value for name, value in response.headers.items()}
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SourceError("unreachable", f"{parts.hostname} does not answer") from error
    if len(data) > max_bytes:
        raise SourceError("answer-too-large", f"more than {max_bytes} bytes")
    return Answer(status, names, data)


def _read(response: http.client.HTTPResponse | urllib.error.HTTPError, limit: int, deadline: float) -> bytes:
    # Time-outs of the socket count pauses; a server that drips bytes is stopped by the deadline.
    data = bytearray()
    while len(data) <= limit and (chunk := response.read1(min(_CHUNK, limit + 1 - len(data)))):
        data += chunk
        if time.monotonic() > deadline:
            raise TimeoutError("too slow")
    return bytes(data)


@dataclass(frozen=True, slots=True)
class HttpSources:
    """`sources.Sources` over HTTP for the cities of `trust`."""

    trust: Sequence[TrustList]
    base_urls: Mapping[str, str] = field(default_factory=dict)
    timeout: float = TIMEOUT

    def status_list(self, uri: str) -> bytes:
        if not any(trust.content.names_status_list(uri) for trust in self.trust):
            raise SourceError("not-in-trust-list", "the status list is not in the trust list")
        return self._get(uri)

    def public_file(self, public_url: str, path: str) -> bytes:
        if not any(public_url == trust.content.public_url for trust in self.trust):
            raise SourceError("not-in-trust-list", "the address is not in the trust list")
        return self._get(public_url + path)

    def chain(self, chain: ChainTrust, method: str, params: Sequence[JSON]) -> JSON:
        if not any(chain == trust.content.chain for trust in self.trust):
            raise SourceError("not-in-trust-list", "the chain is not in the trust list")
        failure = SourceError("unreachable", "no node answers")
        for node in chain.rpc:
            try:
                return self._rpc(node, method, params)
            except SourceError as error:
                failure = error
        raise failure

    def _get(self, address: str) -> bytes:
        answer = call("GET", self._mapped(address), timeout=self.timeout)
        if answer.status != 200:
            raise SourceError(f"http-{answer.status}", "the answer is not the file")
        return answer.body

    def _rpc(self, node: str, method: str, params: Sequence[JSON]) -> JSON:
        question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        answer = call(
            "POST",
            self._mapped(node),
            body=json.dumps(question).encode("ascii"),
            headers={"Content-Type": "application/json"},
            timeout=self.timeout,
            max_bytes=MAX_RPC_BYTES,
        )
        if answer.status != 200:
            raise SourceError(f"http-{answer.status}", "the node does not answer")
        try:
            # orjson bounds the depth by itself; a lying node could drive the standard parser into the ground.
            value = orjson.loads(answer.body)
        except ValueError as error:
            raise SourceError("bad-answer", "the node's answer is not JSON") from error
        if not isinstance(value, dict) or "result" not in value or value.get("error") is not None:
            raise SourceError("bad-answer", "the node answers with an error")
        return value["result"]

    def _mapped(self, address: str) -> str:
        for public, base in self.base_urls.items():
            if address == public or address.startswith(public.rstrip("/") + "/"):
                return base.rstrip("/") + address[len(public.rstrip("/")) :]
        return address


def parse_base_urls(texts: Sequence[str]) -> dict[str, str]:
    """`PUBLIC=BASE` options. Raises: FormatError("bad-base-url")."""
    pairs: dict[str, str] = {}
    for text in texts:
        public, separator, base = text.partition("=")
        if not separator or not public.startswith("http") or not base.startswith("http"):
            raise FormatError("bad-base-url", "expected https://public=http://base")
        pairs[public.rstrip("/")] = base
    return pairs
