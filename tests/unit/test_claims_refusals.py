"""Who gets no certificate and what they read; the counter's answer tells nothing."""

from __future__ import annotations

import pytest

from app.claims.decision import (
    DUMMY_WATERMARK,
    LEGAL_STATUS,
    Circumstances,
    decide_income_certificate,
    decide_resident_record,
)
from app.claims.refusals import COUNTER, CounterCause, refuse_to_counter

FINE = Circumstances(resident_on_january_1=True, declared=True)


def test_nothing_stands_against_an_ordinary_certificate() -> None:
    assert decide_income_certificate(FINE, 2026) is None


@pytest.mark.parametrize(
    ("circumstances", "year", "code", "word"),
    [
        (Circumstances(True, False), 2026, "undeclared", "申告"),
        (Circumstances(False, True), 2026, "not-resident-on-january-1", "1月1日に住所があった市区町村"),
        (Circumstances(True, True, deceased=True), 2026, "deceased", "窓口"),
        (FINE, 2024, "year-not-offered", "令和8年度"),
        (Circumstances(True, True, counter=CounterCause.PROTECTED), 2026, "counter", "窓口"),
    ],
)
def test_each_refusal_has_a_sentence_in_both_languages(
    circumstances: Circumstances, year: int, code: str, word: str
) -> None:
    refusal = decide_income_certificate(circumstances, year)
    assert refusal is not None
    assert refusal.code == code
    assert word in refusal.ja
    assert refusal.en.isascii() and refusal.en.endswith(".")


def test_every_cause_of_the_counter_reads_alike() -> None:
    answers = {refuse_to_counter(cause) for cause in CounterCause}
    assert answers == {COUNTER}
    for word in ("抑止", "保護", "支援", "DV", "protect", "suspen", "restrict"):
        assert word not in COUNTER.ja + COUNTER.en + COUNTER.code


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("deceased", [True, False])
def test_nothing_else_shows_through_the_counter(declared: bool, resident: bool, deceased: bool) -> None:
    for cause in CounterCause:
        there = Circumstances(resident, declared, deceased, cause)
        assert decide_income_certificate(there, 2026) is COUNTER


def test_resident_records_exist_as_dummies_only() -> None:
    assert LEGAL_STATUS["resident_record"] == "DEMO_ONLY"
    assert DUMMY_WATERMARK == "見本・ダミーデータ"
    assert decide_resident_record(dummy=True) is None
    real = decide_resident_record(dummy=False)
    assert real is not None
    assert "住民基本台帳法" in real.ja and "デジタル手続法" in real.ja
    assert decide_resident_record(dummy=False, counter=CounterCause.PROTECTED) == real
    assert decide_resident_record(dummy=True, counter=CounterCause.PROTECTED) is COUNTER
