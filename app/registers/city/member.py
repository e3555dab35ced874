"""A member of a mock household while it is being put together, and the days everything is measured from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

from app.registers.city.earnings import Livelihood
from app.registers.city.mock_names import Name

YEAR_END: Final = date(2025, 12, 31)
"""Ages are drawn as of this day."""


@dataclass(slots=True)
class Member:
    """A person being put together; becomes a Resident at the end."""

    relation: str
    birthdate: date
    female: bool
    family: Name
    given: tuple[str, str]
    livelihood: Livelihood
    romaji: str | None = None
    alias: str | None = None
    former: str | None = None
    deceased_on: date | None = None
    protected: bool = False
    under_review: bool = False
