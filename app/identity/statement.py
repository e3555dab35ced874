"""What the card's statement must say in a given case. Reading and writing it: `mobile_api.messages`.

The nonce is not looked at here: the caller has consumed it in the city's database before anything else.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.identity.refusals import StatementRefused
from mobile_api.messages import CardStatement, format_statement, parse_statement
from verifier.errors import FormatError

__all__ = ["CardStatement", "ExpectedStatement", "check_statement", "format_statement", "parse_statement"]

MAX_CLOCK_DIFFERENCE: Final = timedelta(hours=1)
"""Between the phone's clock and the city's; the nonce's age is the real limit."""


@dataclass(frozen=True, slots=True)
class ExpectedStatement:
    """city, purpose ("register" or "request"), request_digest; the device keys' thumbprints where they are
    known.

    The register gate does not know device keys and leaves them None; the worker always gives them.
    """

    city: str
    purpose: str
    request_digest: str
    signing_key: str | None = None
    encryption_key: str | None = None


def check_statement(text: str, expected: ExpectedStatement, *, now: datetime) -> CardStatement:
    """The statement, if it is for exactly this case. Raises: StatementRefused with the member as reason."""
    try:
        statement = parse_statement(text)
    except FormatError:
        raise StatementRefused("form") from None
    pairs = (
        ("city", statement.city, expected.city),
        ("purpose", statement.purpose, expected.purpose),
        ("request", statement.request_digest, expected.request_digest),
        ("device", statement.signing_key, expected.signing_key),
        ("device", statement.encryption_key, expected.encryption_key),
    )
    for name, said, wanted in pairs:
        if wanted is not None and not hmac.compare_digest(said.encode(), wanted.encode()):
            raise StatementRefused(name)
    if abs(now - statement.time) > MAX_CLOCK_DIFFERENCE:
        raise StatementRefused("time")
    return statement
