"""The desk's side of the street door for wallets of others: leave a signed request, fetch the encrypted answer, clear up.

The proof of every call is by the key that signed the request. The door reads the request (a wallet must be able to), never
the answer. Every failure to get one is a SourceError.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from verifier.door import call_door, read_object
from verifier.errors import FormatError, SourceError
from verifier.formats.names import AUTHORIZATION_REQUEST_TYPE
from verifier.formats.presentation_request import parse_presentation_request
from verifier.formats.presentation_response import MAX_RESPONSE_BYTES
from verifier.formats.submission_request import parse_instant
from verifier.http import TIMEOUT

RECEIVED_HEADER: Final = "Akashi-Received"
RESPONSE_CODE_HEADER: Final = "Akashi-Response-Code"
MAX_WAIT: Final = 20
"""Seconds that one call may wait at the door."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What lies at the door: the JWE, and the minute in which it came (the door's word)."""

    response: bytes
    received: dt.datetime


def post_presentation(base: str, request: bytes, key: ec.EllipticCurvePrivateKey, now: dt.datetime) -> None:
    """Leave the signed request object at the door. Raises: SourceError."""
    asked = parse_presentation_request(request)
    answer = read_object(
        call_door(
            base, "POST", "/v1/presentations", key, now, request, content_type=AUTHORIZATION_REQUEST_TYPE
        )
    )
    if answer.get("id") != asked.id:
        raise SourceError("bad-answer", "the door gave another id")


def fetch_presentation(
    base: str,
    identifier: str,
    key: ec.EllipticCurvePrivateKey,
    now: dt.datetime,
    *,
    wait: int = 0,
    response_code: str | None = None,
) -> Answered | None:
    """The answer, or None while there is none; the door may hold the call for `wait` seconds. Raises: SourceError."""
    answer = call_door(
        base,
        "GET",
        f"/v1/presentations/{identifier}",
        key,
        now,
        query=f"?wait={min(wait, MAX_WAIT)}" if wait else "",
        headers={} if response_code is None else {RESPONSE_CODE_HEADER: response_code},
        timeout=TIMEOUT + min(wait, MAX_WAIT),
        max_bytes=MAX_RESPONSE_BYTES,
    )
    if answer.status == 204:
        return None
    try:
        return Answered(answer.body, parse_instant(answer.headers.get(RECEIVED_HEADER.lower(), "")))
    except FormatError as error:
        raise SourceError("bad-answer", "the door does not say when the answer came") from error


def delete_presentation(
    base: str, identifier: str, key: ec.EllipticCurvePrivateKey, now: dt.datetime
) -> None:
    """Let the door forget request and answer. Raises: SourceError."""
    call_door(base, "DELETE", f"/v1/presentations/{identifier}", key, now)
