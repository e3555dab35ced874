"""What the members of one mock household declare: each person's tax record of each fiscal year, consistent
with the others (who is whose dependant, what the spouse earns)."""

from __future__ import annotations

from datetime import date
from typing import Any

from app.claims.ages import age_on
from app.registers.city.earnings import FISCAL_YEARS, Livelihood, relative_data, tax_data
from app.registers.city.member import YEAR_END, Member
from app.registers.resident import Address, TaxRecord


def household_tax_records(
    members: list[Member], ids: list[str], addresses: tuple[Address, ...]
) -> dict[str, list[TaxRecord]]:
    """Records of everybody of 16 or more, in each year in which the household lived in the city on 1
    January.
    """
    found: dict[str, list[TaxRecord]] = {resident_id: [] for resident_id in ids}
    own_city = next(item.city_code for item in addresses if item.machiaza_id is not None)
    for year in FISCAL_YEARS:
        if not any(item.covers(date(year, 1, 1)) and item.city_code == own_city for item in addresses):
            continue
        year_end = date(year - 1, 12, 31)
        born = [
            (member, resident_id)
            for member, resident_id in zip(members, ids, strict=True)
            if member.birthdate <= year_end
        ]
        for member, resident_id in born:
            age = age_on(member.birthdate, year_end)
            if age < 16:
                continue
            if age < 22 and age_on(member.birthdate, YEAR_END) >= 24:
                livelihood = Livelihood(declared=member.livelihood.declared)
            else:
                livelihood = member.livelihood
            spouse, dependants, status = _relatives(member, [other for other, _ in born], year)
            data = tax_data(livelihood, year, status=status, spouse=spouse, dependants=dependants)
            found[resident_id].append(TaxRecord(resident_id, year, livelihood.declared, data))
    return found


def _relatives(
    member: Member, household: list[Member], year: int
) -> tuple[dict[str, Any] | None, list[dict[str, Any]], dict[str, Any]]:
    """Spouse and dependants that this member declares; children and parents are the head's alone."""
    partner = {"head": "spouse", "spouse": "head"}.get(member.relation)
    other = next((person for person in household if person.relation == partner), None)
    spouse = None
    if other is not None and not member.livelihood.is_dependant(year):
        spouse = relative_data(other.birthdate, other.livelihood, year, None)
    dependants = [
        relative_data(person.birthdate, person.livelihood, year, person.relation)
        for person in household
        if member.relation == "head"
        and person.relation in ("child", "parent")
        and person.livelihood.is_dependant(year)
    ]
    status: dict[str, Any] = {}
    children = any(item["relation"] == "child" for item in dependants)
    if member.relation == "head" and other is None and children:
        status["single_parent"] = "mother" if member.female else "father"
    return spouse, dependants, status
