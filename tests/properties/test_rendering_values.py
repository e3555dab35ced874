"""What is printed reads back: dates, amounts, counts, and texts broken into lines."""

from __future__ import annotations

from datetime import date

from hypothesis import assume, given
from hypothesis import strategies as st

from app.rendering.amounts import format_amount, format_count, parse_amount, parse_count
from app.rendering.errors import NoRoomError
from app.rendering.fit import Field, fit_text
from app.rendering.font_set import FontSet, split_clusters
from app.rendering.wareki import format_wareki, parse_wareki

FONTS = FontSet.load()
words = st.text(st.sampled_from("見本市葛󠄂𠮷塚﨑、。ー「」 　ABCxyz-12,.é"), max_size=60)


@given(st.dates(date(1873, 1, 1), date(2100, 12, 31)))
def test_a_date_in_the_japanese_calendar_reads_back(day: date) -> None:
    assert parse_wareki(format_wareki(day)) == day


@given(st.one_of(st.none(), st.integers(-(2**53) + 1, 2**53 - 1)))
def test_an_amount_reads_back(value: int | None) -> None:
    assert parse_amount(format_amount(value)) == value


@given(st.one_of(st.none(), st.integers(0, 1000)))
def test_a_count_reads_back(value: int | None) -> None:
    assert parse_count(format_count(value)) == value


@given(words)
def test_clusters_joined_are_the_text(text: str) -> None:
    assert "".join(split_clusters(text)) == text


@given(words, st.floats(40, 400), st.floats(8, 60))
def test_lines_hold_the_whole_text_and_stay_inside(text: str, width: float, height: float) -> None:
    plain = text.replace("\U000e0102", "")
    assume(plain)
    try:
        fitted = fit_text(FONTS, plain, Field("x", width, height, 12))
    except NoRoomError:
        return
    assert "".join(run.text for line in fitted.lines for run in line) == plain
    assert len(fitted.lines) * fitted.size <= height
    for line in fitted.lines:
        assert FONTS.width(line) * fitted.size <= width
