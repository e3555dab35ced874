"""Residents, their addresses and their tax records, as frozen data (模擬/MOCK; never a 個人番号).

What the base systems know of one person, and nothing computed. Text is kept code point for code point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

CITY_CODE: Final = "992011"
MALE: Final = 1
FEMALE: Final = 2
SEX_UNKNOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Address:
    """One entry of the address history, from `from_date` to the day before `to_date` (None: until now).

    `city_code` is the municipality's; `machiaza_id` a dummy 町字ID of seven digits, or None outside the city.
    """

    text: str
    city_code: str
    from_date: date
    to_date: date | None = None
    machiaza_id: str | None = None

    def covers(self, day: date) -> bool:
        return self.from_date <= day and (self.to_date is None or day < self.to_date)


@dataclass(frozen=True, slots=True)
class Resident:
    """One person. `name` is as printed: family U+3000 given, or the romaji name of a foreign resident.

    `former_family_name` is the registered 旧氏, `alias` the registered 通称. `addresses` ascend in time;
    the last one may lie in another municipality (moved out). `protected` is 発行抑止, `under_review` any
    harmless reason why the city wants to see the person. `dummy` marks the demonstration residents for whom
    even a 住民票の写し may be shown as a 見本 (every resident here is mock data).
    """

    resident_id: str
    household_id: str
    relation: str
    name: str
    family_name: str
    given_name: str
    family_name_kana: str
    given_name_kana: str
    sex: int
    birthdate: date
    addresses: tuple[Address, ...]
    former_family_name: str | None = None
    alias: str | None = None
    deceased_on: date | None = None
    protected: bool = False
    under_review: bool = False
    dummy: bool = False

    def address_on(self, day: date) -> Address | None:
        """The entry that covers `day`, wherever it lies."""
        return next((address for address in self.addresses if address.covers(day)), None)

    def is_resident_on(self, day: date, city_code: str = CITY_CODE) -> bool:
        """True if the person lived in the municipality on `day`: born, alive, address there."""
        if self.birthdate > day or (self.deceased_on is not None and self.deceased_on < day):
            return False
        address = self.address_on(day)
        return address is not None and address.city_code == city_code


@dataclass(frozen=True, slots=True)
class TaxRecord:
    """One person and fiscal year. `data` is the taxpayer record (docs/formats/taxpayer-record.md) without
    the year and without what the resident register knows (names, birth date, address)."""

    resident_id: str
    fiscal_year: int
    declared: bool
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RegisterEntry:
    """A resident with every tax record: what is generated, imported and exported."""

    resident: Resident
    tax_records: tuple[TaxRecord, ...]
