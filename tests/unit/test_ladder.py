"""The threshold ladders: derived from the data by one function, read strictly, measured against what is beside them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.sealing_world import SAMPLE
from verifier.errors import FormatError
from verifier.formats.credential import MAX_DISCLOSURES
from verifier.formats.ladder import LADDERS, check_ladders, derive_ladders, is_rung, read_ladders

ROOT = Path(__file__).parents[2]
BY_NAME = {ladder.name: ladder for ladder in LADDERS}


def data(total: object, levy: object = 0) -> dict:
    return {"income": {"total": total}, "tax": {"municipal_income_levy": levy}}


@pytest.mark.parametrize("ladder", LADDERS, ids=lambda ladder: ladder.name)
def test_the_threshold_itself_is_inside_and_one_yen_further_is_not(ladder):
    outside = -1 if ladder.at_least else 1
    for threshold in ladder.thresholds:
        for amount, there in ((threshold, True), (threshold + outside, False)):
            made = derive_ladders(data(amount, amount))[ladder.name]
            assert (str(threshold) in made) is there
            assert set(made.values()) <= {True}


def test_the_sample_counted_by_hand():
    assert derive_ladders(SAMPLE) == {
        "income_at_least": {"1000000": True, "2000000": True, "3000000": True},
        "income_at_most": {"5000000": True, "9000000": True, "9500000": True, "10000000": True},
        "levy_at_most": {"169000": True, "301000": True, "397000": True},
    }


@pytest.mark.parametrize(
    "spoilt", [{}, {"income": 3}, {"income": {}}, data(True, True), data("1", None), data(1.5)]
)
def test_an_amount_that_is_no_number_holds_no_rung(spoilt):
    made = derive_ladders(spoilt)
    assert made["income_at_least"] == made["income_at_most"] == {}


def test_the_table_is_in_order_and_small():
    for ladder in LADDERS:
        assert list(ladder.thresholds) == sorted(set(ladder.thresholds))
    assert [ladder.name for ladder in LADDERS] == sorted(BY_NAME)
    # All of certificate.json, every rung and every ladder fit into one credential.
    assert sum(len(ladder.thresholds) + 1 for ladder in LADDERS) + 100 < MAX_DISCLOSURES


def test_the_format_page_has_the_same_table():
    text = (ROOT / "docs/formats/credential.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \| .+ \| (unconfirmed|ours) \|$", text, re.MULTILINE)
    told = {
        name: tuple(int(amount.replace(",", "")) for n, amount, _ in rows if n == name) for name, _, _ in rows
    }
    assert told == {ladder.name: ladder.thresholds for ladder in LADDERS}


def test_only_rungs_of_the_table_are_rungs():
    assert is_rung(("income_at_most", "1300000"))
    for path in (
        ("income_at_most", "1300001"),
        ("income_at_most",),
        ("levy_at_most", "1300000"),
        ("income", "total"),
    ):
        assert not is_rung(path)


@pytest.mark.parametrize(
    "rungs",
    [
        {"1300000": False},
        {"1300000": 1},
        {"1300000": "true"},
        {"1300000": None},
        {"1300001": True},
        {"01300000": True},
        {"": True},
        {"1300000": True, "more": True},
        [],
        True,
        None,
        "1300000",
    ],
)
def test_anything_but_true_for_a_rung_of_the_table_is_refused(rungs):
    assert read_ladders({"income_at_most": {"1300000": True}}) == {"income_at_most": {"1300000": True}}
    for certificate in (None, data(1)):
        with pytest.raises(FormatError, match="bad-ladder"):
            check_ladders({"income_at_most": rungs}, certificate)


def test_with_the_data_each_rung_is_there_and_no_other():
    made = derive_ladders(SAMPLE)
    check_ladders(SAMPLE | made, SAMPLE)
    for name, rungs in made.items():
        for rung in rungs:
            fewer = {key: value for key, value in rungs.items() if key != rung}
            with pytest.raises(FormatError, match="ladder-differs"):
                check_ladders(SAMPLE | made | {name: fewer}, SAMPLE)
        for rung in set(BY_NAME[name].keys) - set(rungs):
            with pytest.raises(FormatError, match="ladder-differs"):
                check_ladders(SAMPLE | made | {name: rungs | {rung: True}}, SAMPLE)
        without = {key: value for key, value in made.items() if key != name}
        with pytest.raises(FormatError, match="ladder-differs"):
            check_ladders(SAMPLE | without, SAMPLE)


def test_without_the_data_a_rung_is_measured_against_the_amount_beside_it():
    claims = data(1_300_000)
    check_ladders(claims | {"income_at_most": {"1300000": True}}, None)
    check_ladders({"income_at_most": {"1030000": True}}, None)
    with pytest.raises(FormatError, match="ladder-differs"):
        check_ladders(claims | {"income_at_most": {"1030000": True}}, None)
    # What was merely withheld is not against the amount.
    check_ladders(claims | {"income_at_most": {}}, None)


def test_rungs_that_contradict_each_other_are_refused():
    check_ladders({"income_at_least": {"5000000": True}, "income_at_most": {"5000000": True}}, None)
    with pytest.raises(FormatError, match="ladder-differs"):
        check_ladders({"income_at_least": {"6000000": True}, "income_at_most": {"5000000": True}}, None)
    # Other amounts have nothing to do with each other.
    check_ladders({"income_at_least": {"6000000": True}, "levy_at_most": {"48600": True}}, None)
