"""What happens to a resident after the city was created: protection, death, moves, names, a new tax record.

`apply_event` is pure; `RegisterStore.record_event` stores its result and appends `kind` to the change feed.
The feed says that something happened and what kind, never the content.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import ClassVar

from app.registers.resident import Address, Resident, TaxRecord


@dataclass(frozen=True, slots=True)
class ProtectionSet:
    """発行抑止 from now on."""

    kind: ClassVar[str] = "protected"
    resident_id: str


@dataclass(frozen=True, slots=True)
class ProtectionLifted:
    kind: ClassVar[str] = "protection-lifted"
    resident_id: str


@dataclass(frozen=True, slots=True)
class ReviewSet:
    """The city wants to see the person for a harmless reason."""

    kind: ClassVar[str] = "review-set"
    resident_id: str


@dataclass(frozen=True, slots=True)
class ReviewLifted:
    kind: ClassVar[str] = "review-lifted"
    resident_id: str


@dataclass(frozen=True, slots=True)
class Death:
    kind: ClassVar[str] = "deceased"
    resident_id: str
    on: date


@dataclass(frozen=True, slots=True)
class Move:
    """A new address from its `from_date` on; another municipality's code means moving out."""

    kind: ClassVar[str] = "move"
    resident_id: str
    address: Address


@dataclass(frozen=True, slots=True)
class NameChange:
    """A new family name, as by marriage; `former_family_name` only if it was registered as 旧氏."""

    kind: ClassVar[str] = "name-change"
    resident_id: str
    family_name: str
    family_name_kana: str
    former_family_name: str | None = None


@dataclass(frozen=True, slots=True)
class TaxRecordChanged:
    """A new or corrected (更正) tax record of one fiscal year. The feed names the year, never the figures."""

    record: TaxRecord

    @property
    def kind(self) -> str:
        return tax_record_kind(self.record.fiscal_year)

    @property
    def resident_id(self) -> str:
        return self.record.resident_id


def tax_record_kind(fiscal_year: int) -> str:
    """The word of the feed for "the tax record of this fiscal year is another one now"."""
    return f"tax-record-{fiscal_year}"


Event = (
    ProtectionSet | ProtectionLifted | ReviewSet | ReviewLifted | Death | Move | NameChange | TaxRecordChanged
)


def apply_event(resident: Resident, event: Event) -> Resident:
    """The resident after `event`. Raises ValueError for a move that begins before the present address."""
    match event:
        case ProtectionSet() | ProtectionLifted():
            return replace(resident, protected=isinstance(event, ProtectionSet))
        case ReviewSet() | ReviewLifted():
            return replace(resident, under_review=isinstance(event, ReviewSet))
        case Death():
            return replace(resident, deceased_on=event.on)
        case Move():
            last = resident.addresses[-1]
            if event.address.from_date <= last.from_date or event.address.to_date is not None:
                raise ValueError("a move begins after the present address and has no end")
            left = replace(last, to_date=event.address.from_date)
            return replace(resident, addresses=(*resident.addresses[:-1], left, event.address))
        case NameChange():
            return replace(
                resident,
                name=f"{event.family_name}\u3000{resident.given_name}",
                family_name=event.family_name,
                family_name_kana=event.family_name_kana,
                former_family_name=event.former_family_name,
            )
        case TaxRecordChanged():
            return resident
