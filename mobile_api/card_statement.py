"""The one text a card signs: which city, what for, which device keys, which request, which nonce, when.

Canonical JSON, so that phone, card and city hash the same bytes. What it must say in a given case is
checked by the city (`app.identity`); this module only reads and writes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import (
    JSON,
    base64url_decode,
    base64url_encode,
    canonical_json,
    parse_canonical_json,
    sha256,
)
from verifier.formats.jose import parse_thumbprint

MAX_STATEMENT_BYTES: Final = 2048
PURPOSES: Final = frozenset({"register", "request", "mandate", "request_by_mandate"})
"""`mandate`: the giver signs a mandate's record; `request_by_mandate`: the agent asks under one."""
NO_REQUEST: Final = base64url_encode(sha256(b""))
"""`request_digest` of a statement that goes with no request."""

_MEMBERS: Final = {
    "city", "purpose", "signing_key", "encryption_key", "request_digest", "nonce", "time",
}  # fmt: skip
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{22,64}")
_CITY: Final = re.compile(r"[0-9]{6}")
TIME_FORM: Final = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class CardStatement:
    """city: six digits; purpose: one of PURPOSES; signing_key, encryption_key: RFC 7638 thumbprints of the
    device's keys; request_digest: base64url SHA-256; nonce: the city's; time: UTC, whole seconds, by the
    phone's clock.
    """

    city: str
    purpose: str
    signing_key: str
    encryption_key: str
    request_digest: str
    nonce: str
    time: datetime


def format_statement(statement: CardStatement) -> str:
    """The canonical JSON text; its UTF-8 bytes are what the card signs."""
    return canonical_json(
        {
            "city": statement.city,
            "encryption_key": statement.encryption_key,
            "nonce": statement.nonce,
            "purpose": statement.purpose,
            "request_digest": statement.request_digest,
            "signing_key": statement.signing_key,
            "time": format_instant(statement.time),
        }
    ).decode("utf-8")


def parse_statement(text: str) -> CardStatement:
    """Read a statement; only the text that `format_statement` writes. Raises: FormatError, LimitError."""
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FormatError("bad-statement", "text that is not valid Unicode") from error
    if len(data) > MAX_STATEMENT_BYTES:
        raise LimitError("statement-too-large", f"more than {MAX_STATEMENT_BYTES} bytes")
    value = parse_canonical_json(data)
    if not isinstance(value, dict) or set(value) != _MEMBERS:
        raise FormatError("bad-statement", "wrong members")
    if not all(isinstance(member, str) for member in value.values()):
        raise FormatError("bad-statement", "every member is text")
    if value["purpose"] not in PURPOSES:
        raise FormatError("bad-statement", "unknown purpose")
    if _CITY.fullmatch(value["city"]) is None or _NONCE.fullmatch(value["nonce"]) is None:
        raise FormatError("bad-statement", "city or nonce")
    if len(base64url_decode(value["request_digest"])) != 32:
        raise FormatError("bad-statement", "request_digest is a SHA-256")
    return CardStatement(
        value["city"],
        value["purpose"],
        parse_thumbprint(value["signing_key"]),
        parse_thumbprint(value["encryption_key"]),
        value["request_digest"],
        value["nonce"],
        parse_instant(value["time"]),
    )


def format_instant(instant: datetime) -> str:
    """ISO text in UTC, whole seconds, `Z`."""
    return instant.astimezone(UTC).strftime(TIME_FORM)


def parse_instant(value: JSON) -> datetime:
    """Inverse of `format_instant`. Raises: FormatError("bad-instant")."""
    try:
        if not isinstance(value, str):
            raise ValueError
        instant = datetime.strptime(value, TIME_FORM).replace(tzinfo=UTC)
    except ValueError as error:
        raise FormatError("bad-instant", "like 2026-11-20T01:02:03Z") from error
    if instant.year < 1970 or format_instant(instant) != value:
        raise FormatError("bad-instant", "like 2026-11-20T01:02:03Z")
    return instant
