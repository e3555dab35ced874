"""The whole city of 130,000: every card finds its own resident or goes to the counter, and the store holds
it all.

Slow (about 30 s): "0 wrong bindings" is a statement about a city of this size, with its twins, namesakes,
former names, aliases, substitute characters and movers; a sample would not show it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from app.registers.card_attributes import CardAttributes, card_attributes
from app.registers.city.cases import case_ids
from app.registers.city.generator import generate_city
from app.registers.match import Matched, MatchRefusal, match_resident, wanted_birthdate
from app.registers.migrations import upgrade
from app.registers.resident import Resident
from app.registers.store import RegisterStore
from app.storage.engine import open_store

SIZE = 130_000


def _cards(person: Resident) -> Iterator[tuple[str, CardAttributes]]:
    yield "present", card_attributes(person)
    if person.former_family_name is not None:
        yield "former name", card_attributes(person, with_former_name=True)
    if person.alias is not None:
        yield "alias", card_attributes(person, with_alias=True)
    if len(person.addresses) > 1:
        yield "earlier address", card_attributes(person, on=person.addresses[0].from_date)


@pytest.mark.slow
def test_no_card_of_130_000_residents_is_bound_to_somebody_else() -> None:
    by_birthdate: dict[date, list[Resident]] = defaultdict(list)
    for entry in generate_city(SIZE, 7):
        by_birthdate[entry.resident.birthdate].append(entry.resident)
    outcomes: Counter[str] = Counter()
    refused: set[str] = set()
    for people in by_birthdate.values():
        for person in people:
            for form, card in _cards(person):
                found = match_resident(card, people)
                if isinstance(found, Matched):
                    assert found.resident_id == person.resident_id
                    outcomes[form] += 1
                    outcomes["with substitutes"] += "1" in card.name_substitutes + card.address_substitutes
                else:
                    assert found is MatchRefusal.SEVERAL
                    refused.add(person.resident_id)
            if "1" not in card_attributes(person).name_substitutes:
                continue
            # Without the position string a substitute is just a wrong character.
            unflagged = replace(card_attributes(person), name_substitutes="")
            assert match_resident(unflagged, people) is MatchRefusal.NONE
    ids = case_ids()
    planted = {"same-everything-first", "same-everything-second", "rare-hashigo", "everyday-hashigo"}
    assert {ids[key] for key in planted} <= refused
    assert len(refused) <= len(planted) + SIZE // 10_000
    assert outcomes["present"] == SIZE - len(refused)
    assert outcomes["former name"] > 100
    assert outcomes["alias"] > 100
    assert outcomes["earlier address"] > 10_000
    assert outcomes["with substitutes"] > 1_000


def test_cards_are_bound_through_the_store(tmp_path: Path) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'registers.sqlite'}")
    upgrade(engine)
    store = RegisterStore(engine)
    people = [entry.resident for entry in generate_city(2_000, 3)]
    store.add_city(generate_city(2_000, 3), "test")
    for person in people[::7]:
        card = card_attributes(person)
        day = wanted_birthdate(card)
        assert day == person.birthdate
        found = match_resident(card, store.candidates(day))
        assert found in (Matched(person.resident_id), MatchRefusal.SEVERAL)
    engine.dispose()
