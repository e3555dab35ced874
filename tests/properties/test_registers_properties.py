"""What must hold for any card and any text: never a wrong person, never an exception, stable keys."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from app.registers.address_key import WILDCARD, address_fits, address_key
from app.registers.card_attributes import CardAttributes, card_attributes, print_on_card
from app.registers.characters import clusters, folded, search_key
from app.registers.city.generator import generate_city
from app.registers.match import Matched, MatchRefusal, match_resident
from app.registers.resident import Resident

PEOPLE = [entry.resident for entry in generate_city(600, 11)]
SOME = st.sampled_from(PEOPLE)


@given(SOME)
@settings(max_examples=200, deadline=None)
def test_a_card_finds_its_own_resident_or_nobody(resident: Resident) -> None:
    found = match_resident(card_attributes(resident), PEOPLE)
    assert found == Matched(resident.resident_id) or found is MatchRefusal.SEVERAL


@given(SOME, st.data())
@settings(max_examples=300, deadline=None)
def test_a_card_with_more_substitutes_never_finds_somebody_else(
    resident: Resident, data: st.DataObject
) -> None:
    card = card_attributes(resident)
    flags = list(card.name_substitutes)
    for index in data.draw(st.sets(st.integers(0, len(flags) - 1), max_size=3)):
        if card.name[index] not in " \u3000":
            flags[index] = "1"
    found = match_resident(replace(card, name_substitutes="".join(flags)), PEOPLE)
    assert found in (Matched(resident.resident_id), *MatchRefusal)


@given(SOME, SOME, st.sampled_from(["name", "birthdate", "address", "sex"]))
@settings(max_examples=300, deadline=None)
def test_an_attribute_of_somebody_else_never_finds_the_first(
    one: Resident, other: Resident, which: str
) -> None:
    mine, theirs = card_attributes(one), card_attributes(other)
    changes = {which: getattr(theirs, which)}
    if which in ("name", "address"):
        changes[f"{which}_substitutes"] = getattr(theirs, f"{which}_substitutes")
    card = replace(mine, **changes)
    found = match_resident(card, PEOPLE)
    if isinstance(found, Matched):
        fitting = next(p for p in PEOPLE if p.resident_id == found.resident_id)
        again = [card_attributes(fitting, on=address.from_date) for address in fitting.addresses]
        assert card in again


@given(st.builds(CardAttributes, *([st.text(max_size=30)] * 6)))
@settings(max_examples=300, deadline=None)
def test_any_strings_give_an_answer(card: CardAttributes) -> None:
    assert match_resident(card, PEOPLE[:20]) in list(MatchRefusal)


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_keys_of_any_text(text: str) -> None:
    assert "".join(clusters(text)) == text
    assert search_key(text) == "".join(folded(text))
    assert address_fits(address_key(text), address_key(text))
    printed, positions = print_on_card(text)
    assert len(printed) == len(positions)


@given(SOME)
@settings(max_examples=100, deadline=None)
def test_keys_of_real_addresses_are_stable(resident: Resident) -> None:
    for address in resident.addresses:
        key = address_key(address.text)
        assert address_key(key) == key
        assert WILDCARD not in key
