"""Whole yen and head counts in print: 3,560,000, △120,000, 2人, and － for what the data does not state."""

from __future__ import annotations

import re
from typing import Final

from app.rendering.errors import FormDataError

ABSENT: Final = "－"
NEGATIVE: Final = "△"
_AMOUNT: Final = re.compile(r"(△?)(0|[1-9][0-9]{0,2}(?:,[0-9]{3})*)")
_COUNT: Final = re.compile(r"(0|[1-9][0-9]*)人")


def format_amount(value: int | None) -> str:
    """Yen with thousands separators; zero prints 0, a loss △, an absent value －."""
    if value is None:
        return ABSENT
    if type(value) is not int:
        raise FormDataError("amount", "not an integer")
    return f"{NEGATIVE if value < 0 else ''}{abs(value):,}"


def parse_amount(text: str) -> int | None:
    """Inverse of `format_amount`. Raises: ValueError for anything it would not write."""
    if text == ABSENT:
        return None
    match = _AMOUNT.fullmatch(text)
    if not match or text == f"{NEGATIVE}0":
        raise ValueError("not a printed amount")
    number = int(match[2].replace(",", ""))
    return -number if match[1] else number


def format_count(value: int | None) -> str:
    """A number of persons; an absent value is －."""
    if value is None:
        return ABSENT
    if type(value) is not int or value < 0:
        raise FormDataError("count", "not a number of persons")
    return f"{value}人"


def parse_count(text: str) -> int | None:
    """Inverse of `format_count`. Raises: ValueError."""
    if text == ABSENT:
        return None
    match = _COUNT.fullmatch(text)
    if not match:
        raise ValueError("not a printed count")
    return int(match[1])
