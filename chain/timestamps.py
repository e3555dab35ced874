"""Time stamps over published checkpoints: `timestamps/<size>` holds an RFC 3161 token over SHA-256 of the
note.

The newest checkpoint first, because its proofs are being waited for. A time-stamping authority that is away
delays nothing: the log signs, publishes and anchors without it, and the stamp follows.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final, Protocol

from chain.errors import LogUnavailable
from chain.http_client import check_address, send_request
from chain.log import Log
from verifier.errors import FormatError
from verifier.formats.timestamp import build_query, parse_response, verify_token

STAMPS_A_ROUND: Final = 20
_NONCE_BITS: Final = 64


class TimestampSource(Protocol):
    """A time-stamping authority."""

    def stamp(self, digest: bytes) -> bytes:
        """RFC 3161 token (DER) over a SHA-256 digest.

        Raises: LogUnavailable.
        """


class HttpTimestampSource:
    """An authority that speaks RFC 3161 over HTTP."""

    def __init__(self, url: str, random: Callable[[int], int] = secrets.randbits) -> None:
        self._url = check_address(url)
        self._random = random

    def stamp(self, digest: bytes) -> bytes:
        nonce = self._random(_NONCE_BITS)
        headers = {"Content-Type": "application/timestamp-query"}
        status, body = send_request("POST", self._url, build_query(digest, nonce), headers)
        if status != 200:
            raise LogUnavailable("tsa-refuses", f"the time-stamping authority answers {status}")
        try:
            token = parse_response(body)
            # signature and imprint; whether its certificate may be trusted is the verifier's question
            verify_token(token, digest=digest, nonce=nonce)
        except FormatError as error:
            raise LogUnavailable("tsa-unusable", f"the token cannot be used: {error.code}") from error
        return token.encoded


class Stamper:
    """Stamps what is waiting for a stamp."""

    def __init__(self, log: Log, source: TimestampSource) -> None:
        self._log = log
        self._source = source
        self.trouble = ""

    def run(self) -> None:
        """Stamp some; what failed is in `trouble`."""
        try:
            for _ in range(STAMPS_A_ROUND):
                waiting = self._log.store.next_stamp()
                if waiting is None:
                    break
                size, digest = waiting
                path = f"timestamps/{size}"
                if self._log.files.find(path) is None:
                    self._log.files.create([(path, self._source.stamp(digest))])
                self._log.store.queue_upload(path)
                self._log.store.finish_stamp(size)
            self.trouble = ""
        except LogUnavailable as error:
            self.trouble = str(error)
