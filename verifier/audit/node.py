"""Asking an Ethereum node by raw JSON-RPC 2.0 over HTTP: bounded answers, bounded time, a bounded number of calls.

Every unusable answer is a SourceError: "chain-unreachable" (nobody, or not in time), "chain-bad-answer" (not what
the protocol allows). A refusal of the node is `NodeRefusalError`, so that a smaller question can be tried. What a
node says is not trusted; `events` holds it against the log.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from verifier.errors import FormatError, SourceError, UsageError
from verifier.formats.encoding import parse_json
from verifier.http import MAX_RPC_BYTES, TIMEOUT, call

MAX_CALLS: Final = 50_000
UNREACHABLE: Final = "chain-unreachable"
BAD_ANSWER: Final = "chain-bad-answer"

Ask = Callable[..., Any]


class NodeRefusalError(SourceError):
    """The node answered with an error, or with more than it may: a smaller question may do."""


class Node:
    """One node; calls are counted over its life."""

    def __init__(self, address: str, *, timeout: float = TIMEOUT) -> None:
        """Raises: UsageError."""
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise UsageError("bad-address", "a node is asked at an http or https address")
        self._address, self._timeout = address, timeout
        self._calls = 0

    def ask(self, method: str, *params: Any) -> Any:
        """The result of one call. Raises: SourceError, NodeRefusalError."""
        self._calls += 1
        if self._calls > MAX_CALLS:
            raise SourceError(BAD_ANSWER, "the node needs too many questions")
        question = {"jsonrpc": "2.0", "id": self._calls, "method": method, "params": list(params)}
        try:
            answer = call(
                "POST",
                self._address,
                body=json.dumps(question).encode("ascii"),
                headers={"Content-Type": "application/json"},
                timeout=self._timeout,
                max_bytes=MAX_RPC_BYTES,
            )
        except SourceError as error:
            if error.code == "answer-too-large":
                raise NodeRefusalError(BAD_ANSWER, f"{method}: {error.detail}") from error
            raise SourceError(UNREACHABLE, error.detail) from error
        value = _parse(answer.body)
        if isinstance(value, dict) and isinstance(value.get("error"), dict):
            # nodes send refusals with status 200 and with others
            raise NodeRefusalError(BAD_ANSWER, f"{method}: the node refuses")
        if answer.status != 200:
            raise SourceError(UNREACHABLE, f"{method}: the node answers {answer.status}")
        if not isinstance(value, dict) or value.get("id") != self._calls or "result" not in value:
            raise SourceError(BAD_ANSWER, f"{method}: no JSON-RPC answer")
        return value["result"]


def read_quantity(value: Any, *, bits: int = 64) -> int:
    """A quantity of the execution API: 0x and hexadecimal digits. Raises: SourceError."""
    if isinstance(value, str) and value.startswith("0x") and 2 < len(value) <= 2 + bits // 4:
        digits = value[2:]
        if all(char in "0123456789abcdefABCDEF" for char in digits):
            return int(digits, 16)
    raise SourceError(BAD_ANSWER, "the node's answer is not a number")


def read_bytes(value: Any, size: int) -> bytes:
    """Data of the execution API of exactly `size` bytes. Raises: SourceError."""
    if isinstance(value, str) and value.startswith("0x") and len(value) == 2 + 2 * size:
        digits = value[2:]
        if all(char in "0123456789abcdefABCDEF" for char in digits):
            return bytes.fromhex(digits)
    raise SourceError(BAD_ANSWER, f"the node's answer is not {size} bytes")


def _parse(body: bytes) -> Any:
    # Strict and of bounded depth: json.loads alone can be made to exhaust the stack.
    try:
        return parse_json(body, max_bytes=MAX_RPC_BYTES)
    except FormatError:
        return None
