"""What can go wrong in the claims room, as one small tree.

ClaimsError
├── RecordError        a taxpayer record that cannot be read; names the field
└── YearNotOffered     a fiscal year for which this city has no table

Refusals (undeclared, moved in later, ...) are results, not errors: see `refusals`.
"""

from __future__ import annotations

from collections.abc import Iterable


class ClaimsError(Exception):
    """Base of every error this room raises on purpose: `code` is a stable ASCII word, `detail` a sentence."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class RecordError(ClaimsError):
    """Not the documented shape; `field` is the path of what is wrong (`spouse.birthdate`)."""

    def __init__(self, field: str, detail: str, code: str = "bad-record") -> None:
        super().__init__(code, f"{field}: {detail}")
        self.field = field


class YearNotOffered(ClaimsError):  # noqa: N818 - reads as the plain statement it is
    """There is no table for this fiscal year; `offered` lists the years there are."""

    def __init__(self, fiscal_year: int, offered: Iterable[int]) -> None:
        self.fiscal_year = fiscal_year
        self.offered = tuple(sorted(offered))
        years = ", ".join(str(year) for year in self.offered)
        super().__init__("year-not-offered", f"fiscal_year: {fiscal_year} is not offered (offered: {years})")
