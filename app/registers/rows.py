"""Rows of the register store to frozen data and back. Nothing else is done here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

import orjson
from sqlalchemy import Row

from app.registers.characters import search_key
from app.registers.resident import Address, Resident, TaxRecord


def resident_row(resident: Resident, city_code: str) -> dict[str, Any]:
    """Column values of one resident."""
    return {
        "city_code": city_code,
        "resident_id": resident.resident_id,
        "household_id": resident.household_id,
        "relation": resident.relation,
        "name": resident.name,
        "family_name": resident.family_name,
        "given_name": resident.given_name,
        "family_name_kana": resident.family_name_kana,
        "given_name_kana": resident.given_name_kana,
        "search_key": search_key(resident.name),
        "sex": resident.sex,
        "birthdate": resident.birthdate.isoformat(),
        "former_family_name": resident.former_family_name,
        "alias": resident.alias,
        "deceased_on": None if resident.deceased_on is None else resident.deceased_on.isoformat(),
        "protected": int(resident.protected),
        "under_review": int(resident.under_review),
        "dummy": int(resident.dummy),
    }


def address_rows(resident: Resident, city_code: str) -> list[dict[str, Any]]:
    """Column values of the whole address history."""
    return [
        {
            "city_code": city_code,
            "resident_id": resident.resident_id,
            "position": position,
            "address": address.text,
            "address_city_code": address.city_code,
            "machiaza_id": address.machiaza_id,
            "from_date": address.from_date.isoformat(),
            "to_date": None if address.to_date is None else address.to_date.isoformat(),
        }
        for position, address in enumerate(resident.addresses)
    ]


def tax_row(record: TaxRecord, city_code: str) -> dict[str, Any]:
    """Column values of one tax record."""
    return {
        "city_code": city_code,
        "resident_id": record.resident_id,
        "fiscal_year": record.fiscal_year,
        "declared": int(record.declared),
        "data": orjson.dumps(record.data, option=orjson.OPT_SORT_KEYS).decode("utf-8"),
    }


def resident_of(row: Row[Any], history: Iterable[Row[Any]]) -> Resident:
    """Inverse of `resident_row` and `address_rows`; `history` ascends by position."""
    return Resident(
        resident_id=row.resident_id,
        household_id=row.household_id,
        relation=row.relation,
        name=row.name,
        family_name=row.family_name,
        given_name=row.given_name,
        family_name_kana=row.family_name_kana,
        given_name_kana=row.given_name_kana,
        sex=row.sex,
        birthdate=date.fromisoformat(row.birthdate),
        addresses=tuple(
            Address(
                text=item.address,
                city_code=item.address_city_code,
                from_date=date.fromisoformat(item.from_date),
                to_date=None if item.to_date is None else date.fromisoformat(item.to_date),
                machiaza_id=item.machiaza_id,
            )
            for item in history
        ),
        former_family_name=row.former_family_name,
        alias=row.alias,
        deceased_on=None if row.deceased_on is None else date.fromisoformat(row.deceased_on),
        protected=bool(row.protected),
        under_review=bool(row.under_review),
        dummy=bool(row.dummy),
    )


def tax_record_of(row: Row[Any]) -> TaxRecord:
    """Inverse of `tax_row`."""
    return TaxRecord(row.resident_id, row.fiscal_year, bool(row.declared), orjson.loads(row.data))
