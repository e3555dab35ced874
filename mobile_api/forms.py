"""The small shapes of the street door's calls: ids, JSON objects with exact members, JSON answers."""

from __future__ import annotations

import re
from collections.abc import Set
from datetime import UTC, datetime
from typing import Final

from flask import Response, request

from mobile_api.errors import Problem
from verifier.formats.encoding import JSON, base64url_encode, canonical_json, parse_json

_ACCOUNT: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
_REQUEST: Final = re.compile(r"[a-z2-7]{10}")
_HASH: Final = re.compile(r"[A-Za-z0-9_-]{43}")
BASE32: Final = "abcdefghijklmnopqrstuvwxyz234567"


def json_object(body: bytes, required: Set[str], optional: Set[str] = frozenset()) -> dict[str, JSON]:
    """The body as a JSON object with exactly these members. Raises Problem 400, FormatError."""
    value = parse_json(body, max_bytes=len(body))
    if not isinstance(value, dict) or not required <= set(value) <= required | optional:
        raise Problem(400, "bad-form", "members: " + ", ".join(sorted(required | optional)))
    return value


def json_answer(value: JSON, status: int) -> Response:
    """A JSON answer that no cache keeps."""
    response = Response(canonical_json(value), status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def bytes_answer(body: bytes, media_type: str) -> Response:
    """Ciphertext as it lies there."""
    response = Response(body, status=200, content_type=media_type)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def account_id(value: JSON) -> str:
    """An account id: 16 random bytes, base64url."""
    return _matching(_ACCOUNT, value, "account")


def item_id(value: JSON) -> str:
    """A message, package or receipt id: 16 to 64 characters of base64url."""
    return _matching(_ID, value, "id")


def request_id(value: JSON) -> str:
    """The id of a submission request: ten characters of base32 (RFC 4648, lower case)."""
    return _matching(_REQUEST, value, "request id")


def hash_text(value: JSON) -> str:
    """A SHA-256 in base64url."""
    return _matching(_HASH, value, "hash")


def new_request_id(random: bytes) -> str:
    """Ten base32 characters from ten random bytes (256 is a multiple of 32: no bias)."""
    return "".join(BASE32[byte % 32] for byte in random[:10])


def query_integer(name: str, default: int, low: int, high: int) -> int:
    """An integer of the query string, cut to its range. Raises Problem 400."""
    text = request.args.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise Problem(400, "bad-query", f"{name} must be an integer")
    return min(max(int(text), low), high)


def iso_minute(minute: int) -> str:
    """A stored minute as ISO text in UTC."""
    return datetime.fromtimestamp(minute, UTC).strftime("%Y-%m-%dT%H:%MZ")


def random_id(random: bytes) -> str:
    """An id of ours from 16 random bytes."""
    # Somebody types it on a command line, where a leading "-" would read as an option: its first bit stays 0.
    return base64url_encode(bytes([random[0] & 0x7F]) + random[1:])


def _matching(pattern: re.Pattern[str], value: JSON, what: str) -> str:
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise Problem(404 if what != "hash" else 400, "bad-id", f"not a {what}")
    return value
