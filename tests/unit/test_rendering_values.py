"""Japanese calendar and figures as they stand on the page."""

from __future__ import annotations

from datetime import date

import pytest

from app.rendering.amounts import format_amount, format_count, parse_amount, parse_count
from app.rendering.errors import FormDataError
from app.rendering.wareki import (
    format_fiscal_year,
    format_income_year,
    format_wareki,
    parse_wareki,
    parse_year,
)


@pytest.mark.parametrize(
    ("day", "text"),
    [
        (date(2026, 11, 20), "令和8年11月20日"),
        (date(2019, 5, 1), "令和元年5月1日"),
        (date(2019, 4, 30), "平成31年4月30日"),
        (date(1989, 1, 8), "平成元年1月8日"),
        (date(1989, 1, 7), "昭和64年1月7日"),
        (date(1926, 12, 25), "昭和元年12月25日"),
        (date(1926, 12, 24), "大正15年12月24日"),
        (date(1912, 7, 30), "大正元年7月30日"),
        (date(1912, 7, 29), "明治45年7月29日"),
        (date(1985, 3, 15), "昭和60年3月15日"),
    ],
)
def test_eras_begin_and_end_on_their_day(day: date, text: str) -> None:
    assert format_wareki(day) == text
    assert parse_wareki(text) == day


@pytest.mark.parametrize(
    "text",
    [
        "平成31年5月1日",
        "昭和64年1月8日",
        "令和1年5月1日",
        "令和08年1月1日",
        "令和8年2月30日",
        "2026年1月1日",
        "令和8年1月1日 ",
    ],
)
def test_a_date_nobody_would_print_is_not_read(text: str) -> None:
    assert parse_wareki(text) is None


def test_a_date_before_the_gregorian_calendar_is_refused() -> None:
    with pytest.raises(FormDataError):
        format_wareki(date(1872, 12, 31))


def test_years() -> None:
    assert format_fiscal_year(2026) == "令和8年度"
    assert format_fiscal_year(2019) == "令和元年度"
    assert format_income_year(2018) == "平成30年分"
    assert format_income_year(2025) == "令和7年分"
    assert parse_year("令和8年") == 2026
    assert parse_year("令和0年") is None


def test_zero_is_a_figure_and_absence_is_not() -> None:
    assert format_amount(0) == "0"
    assert format_amount(None) == "－"
    assert format_amount(3560000) == "3,560,000"
    assert format_amount(-120000) == "△120,000"
    assert format_count(0) == "0人"
    assert format_count(None) == "－"


@pytest.mark.parametrize("value", [1.5, "1", True])
def test_only_integers_are_amounts(value: object) -> None:
    with pytest.raises(FormDataError):
        format_amount(value)


@pytest.mark.parametrize("text", ["", "-1", "1000", "1,00", "01", "0,100", "△0", "１", "1,000円"])
def test_an_amount_nobody_would_print_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match="printed"):
        parse_amount(text)


@pytest.mark.parametrize("text", ["", "0", "01人", "-1人"])
def test_a_count_nobody_would_print_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match="printed"):
        parse_count(text)
