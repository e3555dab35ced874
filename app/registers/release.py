"""What leaves the registers: whether a card fits exactly one resident, and one record for one authorised
request.

The decision whether a certificate may be issued is made here, before the record leaves: a protected
person's data never reaches the worker, and the answer reads like many others.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from app.claims.decision import INCOME_CERTIFICATE, decide_income_certificate, decide_resident_record
from app.claims.refusals import COUNTER, ClaimRefusal
from app.errors import Refusal
from app.registers.card_attributes import CardAttributes
from app.registers.match import Matched, match_resident, wanted_birthdate
from app.registers.resident import Resident
from app.registers.store import RegisterStore
from app.registers.subject import subject_digest
from app.registers.taxpayer import circumstances, taxpayer_json


@dataclass(frozen=True, slots=True)
class Released:
    """One taxpayer record (docs/formats/taxpayer-record.md), and whom it is about
    (`subject.subject_digest`).

    position   number of the newest change of the registers before the record was read
    """

    record: dict[str, Any]
    subject_digest: bytes
    position: int


class RecordRelease:
    """The registers' own door, used by the gate only."""

    def __init__(self, registers: RegisterStore, city: str) -> None:
        self._registers = registers
        self._city = city

    def match(self, attributes: CardAttributes, *, today: datetime) -> str:
        """The resident id of exactly one resident, or the counter. Raises Refusal."""
        birthdate = wanted_birthdate(attributes)
        if birthdate is None:
            raise _refusal(COUNTER)
        found = match_resident(attributes, self._registers.candidates(birthdate))
        if not isinstance(found, Matched):
            raise _refusal(COUNTER)
        return found.resident_id

    def release(self, resident_id: str, document_kind: str, fiscal_year: int) -> Released:
        """The record, if nothing speaks against the certificate. Raises Refusal."""
        # Before the record: of a change in between the reader is told twice, not never.
        position = self._registers.position()
        resident = self._registers.find_resident(resident_id)
        if resident is None:
            raise _refusal(COUNTER)
        if document_kind != INCOME_CERTIFICATE:
            no = decide_resident_record(dummy=False)
            raise _refusal(COUNTER if no is None else no)
        record = self._registers.find_tax_record(resident_id, fiscal_year)
        no = decide_income_certificate(
            circumstances(resident, record, fiscal_year, city_code=self._city), fiscal_year
        )
        if no is not None:
            raise _refusal(no)
        if record is None:
            raise _refusal(COUNTER)
        address = resident.address_on(date(fiscal_year, 1, 1))
        digest = subject_digest(
            resident.name, resident.birthdate.isoformat(), "" if address is None else address.text
        )
        return Released(taxpayer_json(resident, record), digest, position)

    def is_corrected(self, resident_id: str, fiscal_year: int, *, since: int) -> bool:
        """Whether the figures of that year were corrected after change number `since`."""
        return self._registers.is_corrected(resident_id, fiscal_year, since=since)

    def check_standing(self, resident_id: str) -> None:
        """Whether this resident may give or hold a mandate. Raises Refusal: the counter, for every cause alike."""
        resident = self._registers.find_resident(resident_id)
        if (
            resident is None
            or resident.deceased_on is not None
            or resident.protected
            or resident.under_review
        ):
            raise _refusal(COUNTER)

    def find_dummy(self, resident_id: str) -> Resident | None:
        """The resident, if marked as a demonstration one; None for everybody else."""
        resident = self._registers.find_resident(resident_id)
        return resident if resident is not None and resident.dummy else None

    def is_known(self, resident_id: str) -> bool:
        """Whether there is such a resident."""
        return self._registers.find_resident(resident_id) is not None

    def postal_address(self, resident_id: str) -> tuple[str, str]:
        """(name, present address) for a letter of the city. Raises Refusal when there is none in this city."""
        resident = self._registers.find_resident(resident_id)
        if resident is None or resident.addresses[-1].city_code != self._city:
            raise _refusal(COUNTER)
        return resident.name, resident.addresses[-1].text

    def changes_since(self, number: int) -> list[tuple[int, str, str]]:
        """(number, resident id, kind of event) after `number`."""
        return [(c.number, c.resident_id, c.kind) for c in self._registers.changes_since(number)]


def _refusal(no: ClaimRefusal) -> Refusal:
    return Refusal(no.code, no.ja, no.en, retry=no.retry)
