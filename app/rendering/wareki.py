"""Dates and years in the Japanese calendar, for print only; data keeps ISO dates.

Eras start on the days below (facts from the era ordinances; 明治 counted from 1868-01-25, and no date before
1873-01-01, when Japan took the Gregorian calendar, is accepted). Year 1 is 元年.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from app.rendering.errors import FormDataError

ERAS: Final[tuple[tuple[str, date], ...]] = (
    ("令和", date(2019, 5, 1)),
    ("平成", date(1989, 1, 8)),
    ("昭和", date(1926, 12, 25)),
    ("大正", date(1912, 7, 30)),
    ("明治", date(1868, 1, 25)),
)
_EARLIEST: Final = date(1873, 1, 1)
_DATE: Final = re.compile(
    r"(令和|平成|昭和|大正|明治)(元|[1-9][0-9]?)年(1[0-2]|[1-9])月([12][0-9]|3[01]|[1-9])日"
)
_YEAR: Final = re.compile(r"(令和|平成|昭和|大正|明治)(元|[1-9][0-9]?)年")


def format_wareki(day: date) -> str:
    """`2026-11-20` → `令和8年11月20日`. Raises: FormDataError."""
    return f"{_era_year(day)}年{day.month}月{day.day}日"


def parse_wareki(text: str) -> date | None:
    """Inverse of `format_wareki`; None for anything it would not write."""
    match = _DATE.fullmatch(text)
    if not match:
        return None
    era, year, month, day = match.groups()
    try:
        result = date(_first_year(era) + _number(year) - 1, int(month), int(day))
        return result if format_wareki(result) == text else None
    except (ValueError, FormDataError):
        return None


def format_fiscal_year(year: int) -> str:
    """`2026` → `令和8年度`: the era of 1 June, when the year's tax begins to be collected."""
    return f"{_era_year(date(year, 6, 1))}年度"


def format_income_year(year: int) -> str:
    """`2025` → `令和7年分`: the era of 31 December."""
    return f"{_era_year(date(year, 12, 31))}年分"


def parse_year(text: str) -> int | None:
    """`令和8年` → 2026; None for anything else."""
    match = _YEAR.fullmatch(text)
    return _first_year(match[1]) + _number(match[2]) - 1 if match else None


def _era_year(day: date) -> str:
    if day < _EARLIEST:
        raise FormDataError("date", "before the Gregorian calendar in Japan")
    era, start = next((name, first) for name, first in ERAS if day >= first)
    year = day.year - start.year + 1
    return f"{era}{'元' if year == 1 else year}"


def _first_year(era: str) -> int:
    return next(first.year for name, first in ERAS if name == era)


def _number(text: str) -> int:
    return 1 if text == "元" else int(text)
