"""Which resident: exactly one or nobody, for every way a card and the register may differ in spelling."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from app.registers.address_key import WILDCARD, address_fits, address_key
from app.registers.card_attributes import (
    CardAttributes,
    card_attributes,
    era_date,
    parse_era_date,
    print_on_card,
)
from app.registers.characters import fold, search_key
from app.registers.city.cases import case_entries, case_ids
from app.registers.match import Matched, MatchRefusal, match_resident
from app.registers.resident import Resident

PEOPLE = {entry.resident.resident_id: entry.resident for entry in case_entries()}
EVERYBODY = tuple(PEOPLE.values())


def person(key: str) -> Resident:
    return PEOPLE[case_ids()[key]]


def match(card: CardAttributes) -> Matched | MatchRefusal:
    return match_resident(card, EVERYBODY)


AMBIGUOUS = {"same-everything-first", "same-everything-second", "rare-hashigo", "everyday-hashigo"}


@pytest.mark.parametrize("key", sorted(set(case_ids()) - AMBIGUOUS))
def test_every_case_is_found_by_its_own_card(key: str) -> None:
    assert match(card_attributes(person(key))) == Matched(person(key).resident_id)


@pytest.mark.parametrize("key", sorted(AMBIGUOUS))
def test_two_records_that_both_fit_are_refused(key: str) -> None:
    assert match(card_attributes(person(key))) is MatchRefusal.SEVERAL


def test_the_rare_and_the_everyday_character_are_told_apart_by_the_address() -> None:
    rare = person("rare-hashigo")
    elsewhere = replace(rare.addresses[0], text="見本県見本市本町一丁目9番9号")
    people = [replace(rare, addresses=(elsewhere,)), person("everyday-hashigo")]
    card = card_attributes(people[0])
    assert card.name == "〓橋　文子"
    assert card.name_substitutes == "10000"
    assert match_resident(card, people) == Matched(rare.resident_id)
    # a certificate that prints the everyday form unflagged is the same person
    plain = replace(card, name="\u9ad8橋　文子", name_substitutes="00000")
    assert match_resident(plain, people) == Matched(rare.resident_id)


PLAIN = replace(card_attributes(person("family-head")), name_substitutes="", address_substitutes="")


def test_the_plain_card_of_the_next_test_is_found() -> None:
    assert (PLAIN.name, PLAIN.sex, PLAIN.birthdate) == ("見本田　健", "1", "319840702")
    assert PLAIN.address == "見本県見本市見本台四丁目11番7号"
    assert match(PLAIN) == Matched(person("family-head").resident_id)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"sex": "2"}, "sex"),
        ({"sex": "3"}, "unknown sex is not a wildcard"),
        ({"birthdate": "319840703"}, "a day later"),
        ({"name": "見本田　健太"}, "one character more"),
        ({"name": "見本田　誠"}, "another given name"),
        ({"name": "見本田健"}, "no space between the names"),
        ({"name": "見本　田健"}, "the space elsewhere"),
        ({"address": "見本県見本市見本台四丁目11番8号"}, "another house"),
        ({"address": "見本県見本市見本台四丁目1番17号"}, "other house numbers with the same digits"),
        ({"address": "見本県見本市見本台11番7号"}, "no 丁目"),
        ({"address": "見本県見本市本町四丁目11番7号"}, "another town"),
    ],
)
def test_one_attribute_that_differs_is_enough_for_nobody(change: dict[str, str], why: str) -> None:
    assert match(replace(PLAIN, **change)) is MatchRefusal.NONE, why


@pytest.mark.parametrize(
    "address",
    [
        "見本県見本市中央区本町１丁目２番３号",
        "見本県見本市中央区本町1-2-3",
        "見本県見本市中央区本町１－２－３",
        "見本県見本市中央区本町１\u22122\u20103",
        "見本県見本市中央区本町一丁目二番三号",
        "見本県見本市中央区本町1丁目2番地の3",
        "見本県 見本市 中央区 本町1丁目2番地3",
    ],
)
def test_other_ways_to_write_one_address(address: str) -> None:
    card = replace(card_attributes(person("taxed")), address=address, address_substitutes="")
    assert match(card) == Matched("M-0000001")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("本町1番23号", "本町12番3号"),
        ("花の木町1番1号", "花木町1番1号"),
        ("十日町一丁目1番", "10日町一丁目1番"),
        ("センター町1番1号", "センタ-町1番1号"),
        ("本町二十一丁目1番", "本町二十二丁目1番"),
    ],
)
def test_different_addresses_stay_different(left: str, right: str) -> None:
    assert address_key(left) != address_key(right)


def test_a_wildcard_is_one_character_and_the_rest_must_be_equal() -> None:
    assert address_fits(f"大{WILDCARD}1-1", "大塚1-1")
    assert not address_fits(f"大{WILDCARD}1-1", "大塚1-12")
    assert not address_fits(f"大{WILDCARD}1-1", "大塚塚1-1")
    assert not address_fits(f"大{WILDCARD}-1", "大1-1")


def test_numerals_and_the_small_words_of_addresses() -> None:
    assert address_key("見本県見本市大字例田字試123番地の4") == "見本県見本市例田試123-4"
    assert address_key("本町二十一丁目10番1号　見本ハイツ203号室") == "本町21-10-1見本ハイツ203"
    assert address_key("本町百二丁目〇番") == "本町102-0"


def test_addresses_at_any_date_of_the_history() -> None:
    mover = person("mover")
    for address in mover.addresses:
        assert match(card_attributes(mover, on=address.from_date)) == Matched(mover.resident_id)
    never = replace(card_attributes(mover), address="見本県見本市十日町一丁目5番2号", address_substitutes="")
    assert match(never) is MatchRefusal.NONE


def test_moved_out_since_the_first_of_january_is_found_by_the_new_address() -> None:
    gone = person("moved-out-since")
    card = card_attributes(gone)
    assert card.address.startswith("架空県")
    assert match(card) == Matched(gone.resident_id)


def test_former_name_and_alias() -> None:
    former = person("former-name")
    assert match(card_attributes(former, with_former_name=True)) == Matched(former.resident_id)
    alone = replace(card_attributes(former), name="模森　美咲", name_substitutes="")
    assert match(alone) == Matched(former.resident_id)
    foreign = person("foreign-with-alias")
    assert match(card_attributes(foreign, with_alias=True)) == Matched(foreign.resident_id)
    assert card_attributes(foreign).name == "ＳＡＭＰＬＥ　ＡＬＩＣＥ　ＭＡＹ"
    bracketed = replace(
        card_attributes(foreign), name="SAMPLE ALICE MAY（例部\u3000有子）", name_substitutes=""
    )
    assert match(bracketed) == Matched(foreign.resident_id)


def test_a_name_that_was_never_registered_as_former_is_nobody() -> None:
    renamed = person("renamed-without-former-name")
    card = replace(card_attributes(renamed), name="旧姓　桃子", name_substitutes="")
    assert match(card) is MatchRefusal.NONE
    with pytest.raises(ValueError, match="former"):
        card_attributes(renamed, with_former_name=True)


def test_substitutes_fit_one_character_each_and_only_where_flagged() -> None:
    card = card_attributes(person("taxed"))
    assert (card.name, card.name_substitutes) == ("〓\u585a　花子", "10000")
    assert match(replace(card, name="＊\u585a　花子")) == Matched("M-0000001")
    assert match(replace(card, name_substitutes="00000")) is MatchRefusal.NONE
    assert match(replace(card, name="〓〓\u585a　花子", name_substitutes="110000")) is MatchRefusal.NONE
    assert match(replace(card, name="〓\u585a〓花子", name_substitutes="10100")) is MatchRefusal.NONE


def test_substitutes_in_an_address_are_never_digits() -> None:
    card = card_attributes(person("compatibility-tsuka"))
    assert "〓" in card.address
    assert match(card) == Matched(person("compatibility-tsuka").resident_id)
    taxed = card_attributes(person("taxed"))
    flagged = "0" * (len(taxed.address) - 2) + "10"
    assert match(replace(taxed, address_substitutes=flagged)) is MatchRefusal.NONE


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "　"},
        {"name": "〓〓　〓〓", "name_substitutes": "11011"},
        {"name_substitutes": "1000"},
        {"name_substitutes": "10002"},
        {"address": ""},
        {"address": "見本県見本市"},
        {"address_substitutes": "1"},
        {"address": "〓〓〓〓〓1", "address_substitutes": "111110"},
        {"sex": "0"},
        {"sex": ""},
        {"birthdate": "019850315"},
        {"birthdate": "419850315"},
        {"birthdate": "319850230"},
        {"birthdate": "3198503"},
        {"birthdate": "３19850315"},
        {"name": "あ" * 101, "name_substitutes": ""},
    ],
)
def test_too_little_or_malformed_is_insufficient(change: dict[str, str]) -> None:
    card = card_attributes(person("taxed"))
    assert match(replace(card, **change)) is MatchRefusal.INSUFFICIENT


def test_nobody_among_no_candidates() -> None:
    assert match_resident(card_attributes(person("taxed")), ()) is MatchRefusal.NONE


def test_eras() -> None:
    for day, text in (
        (date(1989, 1, 7), "319890107"),
        (date(1989, 1, 8), "419890108"),
        (date(2019, 4, 30), "420190430"),
        (date(2019, 5, 1), "520190501"),
        (date(1926, 12, 25), "319261225"),
        (date(1912, 7, 30), "219120730"),
        (date(1900, 1, 1), "119000101"),
    ):
        assert era_date(day) == text
        assert parse_era_date(text) == day


def test_what_a_card_prints() -> None:
    assert print_on_card("\u9ad9橋\U00020bb7") == ("〓橋〓", "101")
    assert print_on_card("葛\U000e0102西") == ("葛西", "00")
    assert print_on_card("\u6ff5\u908a\u9089") == ("\u6ff5\u908a\u9089", "000")


def test_search_forms() -> None:
    assert fold("\ufa10") == "\u585a"
    assert fold("葛\U000e0100") == "葛"
    assert fold("\u908a") != fold("\u9089")
    assert search_key("ｓａｍｐｌｅ　 alice ") == "SAMPLE ALICE"
    assert search_key("か\u3099") == search_key("が")
