"""From the registers to the claims room: the full taxpayer record of a resident, and what stands for or
against it.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from app.claims.decision import Circumstances
from app.claims.record import TaxpayerRecord
from app.claims.record_json import parse_record
from app.claims.refusals import CounterCause
from app.registers.resident import CITY_CODE, Resident, TaxRecord


def taxpayer_json(resident: Resident, record: TaxRecord) -> dict[str, Any]:
    """The taxpayer record in the shape of docs/formats/taxpayer-record.md, with what the resident register
    knows.

    The address is the one of 1 January of the fiscal year; it is left out if there was none in the register.
    """
    person: dict[str, Any] = dict(record.data.get("person", {}))
    person |= {"birthdate": resident.birthdate.isoformat(), "name": resident.name}
    for key in ("family_name", "given_name", "family_name_kana", "given_name_kana", "alias"):
        # A foreign resident may have no kana, most people no alias: absent, not empty.
        if getattr(resident, key):
            person[key] = getattr(resident, key)
    address = resident.address_on(date(record.fiscal_year, 1, 1))
    if address is not None:
        person["address_jan1"] = address.text
    return dict(record.data) | {
        "fiscal_year": record.fiscal_year,
        "declared": record.declared,
        "person": person,
    }


def taxpayer_record(resident: Resident, record: TaxRecord) -> TaxpayerRecord:
    """`taxpayer_json`, parsed. Raises: app.claims.errors.RecordError."""
    return parse_record(taxpayer_json(resident, record))


def circumstances(
    resident: Resident, record: TaxRecord | None, fiscal_year: int, *, city_code: str = CITY_CODE
) -> Circumstances:
    """What `app.claims.decision` needs to know; `record` is that of `fiscal_year`, if there is one."""
    counter = None
    if resident.protected:
        counter = CounterCause.PROTECTED
    elif resident.under_review:
        counter = CounterCause.RECORD_BEING_CORRECTED
    return Circumstances(
        resident_on_january_1=resident.is_resident_on(date(fiscal_year, 1, 1), city_code),
        declared=record is not None and record.declared,
        deceased=resident.deceased_on is not None,
        counter=counter,
    )
