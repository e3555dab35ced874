"""Reading the members of a message's body: exact members, limits, forms. One refusal each, never a guess.

`Codec` is how a module of bodies (message_bodies, and those it collects) says what it can write and read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import JSON, base64_decode

MAX_X509_BYTES: Final = 8192
CARD_SIGNATURE_BYTES: Final = 256
MAX_SENTENCE: Final = 1000

IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
CODE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Codec:
    """One kind of body: its word in the message, its class, to JSON and back (raises FormatError, LimitError)."""

    kind: str
    body: type
    format: Callable[[Any], JSON]
    parse: Callable[[JSON], Any]


def members(value: JSON, required: set[str], optional: set[str] | None = None) -> dict[str, JSON]:
    """An object with exactly these members. Raises: FormatError."""
    allowed = required | (optional or set())
    if not isinstance(value, dict) or not required <= set(value) <= allowed:
        raise FormatError("bad-body", "members are " + ", ".join(sorted(allowed)))
    return value


def text(value: JSON, limit: int) -> str:
    """Text of at most `limit` characters. Raises: FormatError, LimitError."""
    if not isinstance(value, str):
        raise FormatError("bad-body", "text expected")
    if len(value) > limit:
        raise LimitError("text-too-long", f"more than {limit} characters")
    return value


def sentence(value: JSON, limit: int, *, empty: bool = False) -> str:
    """One line for people. Raises: FormatError, LimitError."""
    # Shown to people: no control or direction-changing characters, so that a line cannot be faked.
    line = text(value, limit)
    if _CONTROL.search(line) or not (line or empty):
        raise FormatError("bad-body", "text without control characters expected")
    return line


def matching(pattern: re.Pattern[str], value: JSON, what: str) -> str:
    """Text of this form; `what` names it in the refusal. Raises: FormatError."""
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise FormatError("bad-body", f"{what} has another form")
    return value


def x509(value: JSON) -> bytes:
    """A certificate (DER) in base64. Raises: FormatError, LimitError."""
    data = base64_decode(text(value, MAX_X509_BYTES * 4 // 3 + 4))
    if not 0 < len(data) <= MAX_X509_BYTES:
        raise LimitError("x509-too-large", f"more than {MAX_X509_BYTES} bytes")
    return data


def card_signature(value: JSON) -> bytes:
    """A signature by a card in base64: 256 bytes. Raises: FormatError."""
    data = base64_decode(text(value, 400))
    if len(data) != CARD_SIGNATURE_BYTES:
        raise FormatError("bad-body", "a card signature has 256 bytes (RSA-2048)")
    return data
