"""Residents for the story: who is chosen from the mock city, their mock card, their command-line phone. 模擬/MOCK."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final

from app.claims.decision import decide_income_certificate
from app.claims.figures import Figures, compute_figures
from app.counterparts.jpki.authority import MockJpki
from app.counterparts.jpki.issuing import issue_card
from app.counterparts.jpki.reader import CardReader
from app.errors import CityError
from app.registers.card_attributes import card_attributes
from app.registers.resident import Resident, TaxRecord
from app.registers.store import RegisterStore
from app.registers.taxpayer import circumstances, taxpayer_record
from mobile_api.client import CardPasswords

FISCAL_YEAR: Final = 2026
PASSWORDS: Final = CardPasswords("DEMO2026", "1234")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One resident, what the tax office has, and what would be issued (None: refused with `refusal`)."""

    resident: Resident
    figures: Figures | None
    refusal: str | None


Wanted = Callable[[Candidate], bool]


def find_people(registers: RegisterStore, wanted: dict[str, Wanted]) -> dict[str, Resident]:
    """The first resident that fits each wish; nobody twice. Raises CityError if the city is too small."""
    found: dict[str, Resident] = {}
    for entry in registers.entries():
        if not _is_adult(entry.resident):
            continue
        record = next((t for t in entry.tax_records if t.fiscal_year == FISCAL_YEAR), None)
        candidate = _candidate(entry.resident, record)
        for name, fits in wanted.items():
            if name not in found and fits(candidate):
                found[name] = entry.resident
                break
        if len(found) == len(wanted):
            return found
    missing = ", ".join(name for name in wanted if name not in found)
    raise CityError("city-too-small", f"nobody in this city is: {missing}")


def make_card(authority: MockJpki, resident: Resident, path: Path, *, now: datetime) -> CardReader:
    """A fresh mock card of this resident in a reader."""
    issue_card(
        authority,
        card_attributes(resident),
        path,
        PASSWORDS.signature,
        PASSWORDS.authentication,
        now=now,
        holder=resident.resident_id,
    )
    return CardReader(path)


def is_taxed(candidate: Candidate) -> bool:
    """Income levy is charged, and the name has a character outside the common ones."""
    figures = candidate.figures
    rare = any(ord(char) > 0xFFFF or char in "髙﨑\ufa10" for char in candidate.resident.name)
    return (
        figures is not None
        and not figures.tax["exempt"]
        and figures.tax["municipal_income_levy"] > 0
        and rare
    )


def is_per_capita_only(candidate: Candidate) -> bool:
    """均等割のみ."""
    figures = candidate.figures
    return (
        figures is not None
        and not figures.tax["exempt"]
        and figures.tax["municipal_income_levy"] == 0
        and figures.tax["municipal_per_capita"] > 0
    )


def is_exempt(candidate: Candidate) -> bool:
    """非課税."""
    return candidate.figures is not None and bool(candidate.figures.tax["exempt"])


def is_refused(code: str) -> Wanted:
    """Refused with this code, and not protected."""
    return lambda candidate: candidate.refusal == code and not candidate.resident.protected


def is_protected(candidate: Candidate) -> bool:
    """発行抑止."""
    return candidate.resident.protected


def _is_adult(resident: Resident) -> bool:
    return resident.birthdate < date(2000, 1, 1) and resident.deceased_on is None


def _candidate(resident: Resident, record: TaxRecord | None) -> Candidate:
    refusal = decide_income_certificate(circumstances(resident, record, FISCAL_YEAR), FISCAL_YEAR)
    if refusal is not None or record is None:
        return Candidate(resident, None, "none" if refusal is None else refusal.code)
    return Candidate(resident, compute_figures(taxpayer_record(resident, record)), None)
