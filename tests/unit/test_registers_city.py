"""The mock city: deterministic, consistent, and with every case in it."""

from __future__ import annotations

from collections import Counter
from datetime import date
from itertools import islice, pairwise

import pytest

from app.claims.decision import decide_income_certificate
from app.claims.figures import compute_figures
from app.registers.characters import is_on_card, is_variation_selector
from app.registers.city.cases import case_entries, case_ids
from app.registers.city.generator import generate_city
from app.registers.resident import CITY_CODE
from app.registers.taxpayer import circumstances, taxpayer_record

SIZE = 1_500
CITY = tuple(generate_city(SIZE, 7))


def test_exactly_as_many_as_asked_for_with_ascending_ids() -> None:
    ids = [entry.resident.resident_id for entry in CITY]
    assert len(ids) == len(set(ids)) == SIZE
    assert ids == sorted(ids)
    for size in (100, 101, 102, 103):
        assert sum(1 for _ in generate_city(size, 1)) == size


def test_the_same_seed_gives_the_same_city_and_a_small_one_begins_a_large_one() -> None:
    again = tuple(islice(generate_city(130_000, 7), SIZE - 10))
    assert again == CITY[: SIZE - 10]
    assert tuple(generate_city(300, 8)) != CITY[:300]
    assert tuple(generate_city(300, 8))[:40] == CITY[:40]  # the hand-made cases do not depend on the seed


@pytest.mark.parametrize(("size", "seed"), [(99, 1), (130_001, 1), (100, -1)])
def test_sizes_and_seeds_out_of_range(size: int, seed: int) -> None:
    with pytest.raises(ValueError, match="must"):
        generate_city(size, seed)


def test_the_hand_made_cases_come_first() -> None:
    assert [entry.resident for entry in CITY[: len(case_ids())]] == [
        entry.resident for entry in case_entries()
    ]


def test_every_tax_record_can_be_computed_and_every_result_occurs() -> None:
    kinds: Counter[str] = Counter()
    for entry in CITY:
        for record in entry.tax_records:
            figures = compute_figures(taxpayer_record(entry.resident, record))
            kinds[figures.levy_kind] += 1
            assert record.fiscal_year in (2021, 2025, 2026)
    assert set(kinds) == {"taxed", "per-capita-only", "exempt"}
    assert min(kinds.values()) > SIZE // 50


def test_every_refusal_occurs() -> None:
    codes: Counter[str | None] = Counter()
    for entry in CITY:
        record = next((item for item in entry.tax_records if item.fiscal_year == 2026), None)
        refusal = decide_income_certificate(circumstances(entry.resident, record, 2026), 2026)
        codes[refusal.code if refusal else None] += 1
    assert set(codes) == {None, "undeclared", "not-resident-on-january-1", "deceased", "counter"}
    assert codes[None] > SIZE // 2


def test_spouses_declare_each_other_and_children_are_in_the_household() -> None:
    households: dict[str, list[date]] = {}
    for entry in CITY:
        households.setdefault(entry.resident.household_id, []).append(entry.resident.birthdate)
    for entry in CITY[len(case_ids()) :]:
        there = {day.isoformat() for day in households[entry.resident.household_id]}
        for record in entry.tax_records:
            relatives = list(record.data.get("dependants", []))
            relatives += [record.data["spouse"]] if "spouse" in record.data else []
            assert {relative["birthdate"] for relative in relatives} <= there


def test_address_histories_have_no_gaps_and_dummy_ids() -> None:
    for entry in CITY:
        addresses = entry.resident.addresses
        assert addresses[-1].to_date is None
        assert all(a.to_date == b.from_date for a, b in pairwise(addresses))
        for address in addresses:
            assert (address.city_code == CITY_CODE) == (address.machiaza_id is not None)
            assert address.machiaza_id is None or address.machiaza_id.startswith("99")
            assert address.text.startswith(("見本県見本市", "架空県架空市"))


def test_rare_characters_occur() -> None:
    text = "".join(entry.resident.name for entry in CITY)
    for char in ("\U00020bb7", "\u9ad9", "\ufa11", "\ufa10", "\U000e0100", "\U000e0102", "\U000e0110"):
        assert char in text
    assert any(not is_on_card(char) and not is_variation_selector(char) for char in text)


def test_twins_namesakes_foreigners_and_movers_occur() -> None:
    people = [entry.resident for entry in CITY]
    births = Counter((person.household_id, person.birthdate) for person in people)
    assert max(births.values()) >= 2
    names = Counter((person.name, person.birthdate) for person in people)
    assert max(names.values()) >= 2
    assert any(person.alias for person in people)
    assert any(person.former_family_name for person in people)
    assert any(len(person.addresses) > 1 for person in people)


def test_minors_and_the_dead_are_no_residents() -> None:
    people = {entry.resident.resident_id: entry.resident for entry in CITY}
    child = people[case_ids()["single-parent-child"]]
    assert not child.is_resident_on(date(2017, 4, 30))
    assert child.is_resident_on(date(2017, 5, 1))
    dead = people[case_ids()["deceased"]]
    assert dead.is_resident_on(date(2026, 1, 1))
    assert not dead.is_resident_on(date(2026, 3, 4))
