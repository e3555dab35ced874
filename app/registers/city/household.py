"""One household of the mock city: who lives together, since when and where, and whose dependant each of
them is.
"""

from __future__ import annotations

from datetime import date, timedelta
from random import Random
from typing import Any, Final

from app.claims.ages import age_on
from app.registers.city.declarations import household_tax_records
from app.registers.city.earnings import draw_livelihood
from app.registers.city.member import YEAR_END, Member
from app.registers.city.mock_names import Name, family_name, foreign_name, given_name
from app.registers.city.places import place_elsewhere, place_in_city
from app.registers.resident import FEMALE, MALE, Address, RegisterEntry, Resident

KINDS: Final = (
    (0.30, "single"),
    (0.42, "old"),
    (0.55, "old couple"),
    (0.65, "couple"),
    (0.87, "family"),
    (0.93, "one parent"),
    (0.98, "three generations"),
    (1.01, "foreign"),
)


def draw_household(rng: Random, room: int) -> tuple[list[Member], tuple[Address, ...]]:
    """Members (at most `room`) and their common address history."""
    draw = rng.random()
    kind = next(name for upper, name in KINDS if draw < upper)
    members = _members(rng, kind)
    if len(members) > room:
        members = _members(rng, "single")
    for member in members:
        _mark(rng, member)
    return members, draw_addresses(rng)


def household_entries(
    members: list[Member], addresses: tuple[Address, ...], household_id: str, first_number: int
) -> list[RegisterEntry]:
    """Residents and tax records of one household; numbers count up from `first_number`."""
    ids = [f"M-{first_number + index:07d}" for index in range(len(members))]
    taxes = household_tax_records(members, ids, addresses)
    return [
        RegisterEntry(_resident(member, addresses, household_id, resident_id), tuple(taxes[resident_id]))
        for member, resident_id in zip(members, ids, strict=True)
    ]


def draw_addresses(rng: Random) -> tuple[Address, ...]:
    """A history: most people stay, some moved within the city, some came or left (also since 1 January
    2026).
    """
    start = date(1990, 1, 1) + timedelta(days=int(rng.random() * 11_000))
    draw = rng.random()
    if draw < 0.60:
        steps = [(start, place_in_city(rng))]
    elif draw < 0.83:
        moved = start + timedelta(days=200 + int(rng.random() * 2_000))
        steps = [(start, place_in_city(rng)), (moved, place_in_city(rng))]
    elif draw < 0.95:
        came = date(2012, 1, 1) + timedelta(days=int(rng.random() * 5_000))
        came = max(came, start + timedelta(days=30))
        steps = [(start, place_elsewhere(rng)), (came, place_in_city(rng))]
    elif draw < 0.97:
        came = date(2026, 1, 2) + timedelta(days=int(rng.random() * 300))
        steps = [(start, place_elsewhere(rng)), (came, place_in_city(rng))]
    else:
        left = date(2026, 1, 2) + timedelta(days=int(rng.random() * 300))
        steps = [(start, place_in_city(rng)), (left, place_elsewhere(rng))]
    return history(steps)


def history(steps: list[tuple[date, Any]]) -> tuple[Address, ...]:
    """Address entries from (first day, place) steps; each ends where the next begins."""
    ends = [first for first, _ in steps[1:]] + [None]
    return tuple(
        Address(place.text, place.city_code, first, end, place.machiaza_id)
        for (first, place), end in zip(steps, ends, strict=True)
    )


def _birthdate(rng: Random, low: int, high: int) -> date:
    """Somebody of `low` to `high` years at the end of 2025."""
    age = low + int(rng.random() * (high - low + 1))
    return date(2025 - age, 1, 2) + timedelta(days=int(rng.random() * 363))


def _person(
    rng: Random, relation: str, low: int, high: int, family: Name, female: bool | None = None
) -> Member:
    is_female = rng.random() < 0.5 if female is None else female
    birthdate = _birthdate(rng, low, high)
    livelihood = draw_livelihood(rng, age_on(birthdate, YEAR_END))
    return Member(relation, birthdate, is_female, family, given_name(rng, is_female), livelihood)


def _couple(rng: Random, low: int, high: int, family: Name) -> list[Member]:
    head = _person(rng, "head", low, high, family, female=rng.random() < 0.2)
    age = age_on(head.birthdate, YEAR_END)
    spouse = _person(rng, "spouse", max(20, age - 6), max(20, age + 4), family, female=not head.female)
    if rng.random() < 0.02:
        (spouse if rng.random() < 0.9 else head).former = family_name(rng).kanji
    return [head, spouse]


def _children(rng: Random, parents_age: int, family: Name, count: int) -> list[Member]:
    oldest = max(0, min(24, parents_age - 24))
    children = [_person(rng, "child", 0, oldest, family) for _ in range(count)]
    if count > 1 and rng.random() < 0.03:
        children[1].birthdate = children[0].birthdate
        children[1].livelihood = children[0].livelihood
        if children[1].given == children[0].given:  # twins do not share their given name
            children[1].female = not children[0].female
            children[1].given = given_name(rng, children[1].female)
    return children


def _members(rng: Random, kind: str) -> list[Member]:
    if kind == "foreign":
        return [_foreign(rng)]
    family = family_name(rng)
    if kind == "single":
        return [_person(rng, "head", 20, 64, family)]
    if kind == "old":
        return [_person(rng, "head", 65, 96, family, female=rng.random() < 0.7)]
    if kind == "old couple":
        return _couple(rng, 66, 90, family)
    if kind == "couple":
        return _couple(rng, 24, 63, family)
    if kind == "one parent":
        parent = _person(rng, "head", 26, 52, family, female=rng.random() < 0.85)
        age = age_on(parent.birthdate, YEAR_END)
        return [parent, *_children(rng, age, family, 1 + (rng.random() < 0.4))]
    couple = _couple(rng, 27, 55, family)
    age = age_on(couple[0].birthdate, YEAR_END)
    members = [*couple, *_children(rng, age, family, 1 + int(rng.random() * 3))]
    if kind == "three generations":
        members.append(
            _person(rng, "parent", min(95, age + 22), min(98, age + 32), family, female=rng.random() < 0.8)
        )
    return members


def _foreign(rng: Random) -> Member:
    female = rng.random() < 0.5
    family, given = foreign_name(rng, female)
    person = _person(rng, "head", 19, 60, Name(family, ""), female)
    person.given = (given, "")
    person.romaji = f"{family} {given}"
    if rng.random() < 0.5:
        person.alias = f"{family_name(rng).kanji}\u3000{given_name(rng, female).kanji}"
    return person


def _mark(rng: Random, member: Member) -> None:
    """Rare circumstances: protection, review, death since 1 January."""
    draw = rng.random()
    if draw < 0.001:
        member.protected = True
    elif draw < 0.002:
        member.under_review = True
    elif draw < 0.006 and member.relation == "head" and member.birthdate.year < 1961:
        member.deceased_on = date(2026, 1, 2) + timedelta(days=int(rng.random() * 300))


def _resident(
    member: Member, addresses: tuple[Address, ...], household_id: str, resident_id: str
) -> Resident:
    own = addresses
    if own[0].from_date < member.birthdate or len(own) > 1:
        own = tuple(
            Address(
                item.text,
                item.city_code,
                max(item.from_date, member.birthdate),
                item.to_date,
                item.machiaza_id,
            )
            for item in addresses
            if item.to_date is None or item.to_date > member.birthdate
        )
    return Resident(
        resident_id=resident_id,
        household_id=household_id,
        relation=member.relation,
        name=member.romaji or f"{member.family.kanji}\u3000{member.given[0]}",
        family_name=member.family.kanji,
        given_name=member.given[0],
        family_name_kana=member.family.kana,
        given_name_kana=member.given[1],
        sex=FEMALE if member.female else MALE,
        birthdate=member.birthdate,
        addresses=own,
        former_family_name=member.former,
        alias=member.alias,
        deceased_on=member.deceased_on,
        protected=member.protected,
        under_review=member.under_review,
    )
