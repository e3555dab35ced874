"""Employment income, pension income, adjustments, losses: each at and beside its thresholds."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from app.claims.ages import age_on
from app.claims.employment_income import employment_income
from app.claims.errors import YearNotOffered
from app.claims.figures import Figures, compute_figures
from app.claims.pension_income import pension_income
from app.claims.record_json import parse_record
from app.claims.salary_adjustment import household_adjustment, pension_adjustment
from app.claims.tables import load_rules, offered_years


def figures(year: int = 2026, **record: Any) -> Figures:
    return compute_figures(parse_record({"fiscal_year": year, **record}))


@pytest.mark.parametrize(
    ("year", "revenue", "expected"),
    [
        (2025, 550_999, 0),
        (2025, 551_000, 1_000),
        (2025, 1_618_999, 1_068_999),
        (2025, 1_619_000, 1_069_000),
        (2025, 1_620_000, 1_070_000),
        (2025, 1_622_000, 1_072_000),
        (2025, 1_624_000, 1_074_000),
        (2025, 1_627_999, 1_074_000),
        (2025, 1_628_000, 1_076_800),
        (2025, 1_799_999, 1_177_600),
        (2025, 1_800_000, 1_180_000),
        (2021, 1_803_999, 1_180_000),
        (2021, 1_804_000, 1_182_800),
        (2026, 650_999, 0),
        (2026, 651_000, 1_000),
        (2026, 1_899_999, 1_249_999),
        (2026, 1_900_000, 1_250_000),
        (2026, 3_599_999, 2_437_200),
        (2026, 3_600_000, 2_440_000),
        (2026, 6_599_999, 4_836_800),
        (2026, 6_600_000, 4_840_000),
        (2026, 8_499_999, 6_549_999),
        (2026, 8_500_000, 6_550_000),
        (2026, 20_000_000, 18_050_000),
    ],
)
def test_employment_income(year: int, revenue: int, expected: int) -> None:
    assert employment_income(revenue, load_rules(year).employment) == expected


@pytest.mark.parametrize(
    ("revenue", "age", "other", "expected"),
    [
        (1_100_000, 65, 0, 0),
        (1_100_001, 65, 0, 1),
        (3_300_000, 65, 0, 2_200_000),
        (3_400_000, 65, 0, 2_275_000),
        (600_001, 64, 0, 1),
        (1_300_000, 64, 0, 700_000),
        (1_300_001, 64, 0, 700_000),
        (4_100_000, 70, 0, 2_800_000),
        (7_700_000, 70, 0, 5_860_000),
        (10_000_000, 70, 0, 8_045_000),
        (10_000_001, 70, 0, 8_045_001),
        (2_000_000, 70, 10_000_000, 900_000),
        (2_000_000, 70, 10_000_001, 1_000_000),
        (2_000_000, 70, 20_000_001, 1_100_000),
    ],
)
def test_pension_income(revenue: int, age: int, other: int, expected: int) -> None:
    assert pension_income(revenue, age, other, load_rules(2026).pension) == expected


def test_salary_adjustments_at_their_edges() -> None:
    assert household_adjustment(8_500_000, True) == 0
    assert household_adjustment(8_500_001, True) == 1
    assert household_adjustment(9_000_000, True) == 50_000
    assert household_adjustment(12_000_000, True) == 150_000
    assert household_adjustment(12_000_000, False) == 0
    assert pension_adjustment(100_000, 0) == 0
    assert pension_adjustment(50_000, 50_000) == 0
    assert pension_adjustment(50_000, 60_000) == 10_000
    assert pension_adjustment(500_000, 600_000) == 100_000


def test_both_adjustments_are_taken_off_employment_income() -> None:
    result = figures(
        person={"birthdate": "1955-01-01", "disability": "special"},
        income={"salary_revenue": 9_000_000, "pension_revenue": 1_500_000},
    )
    assert result.income["salary_income"] == 7_050_000 - 50_000 - 100_000
    assert result.income["pension_income"] == 400_000


def test_the_other_parent_may_say_that_there_is_a_child() -> None:
    assert figures(income={"salary_revenue": 9_000_000}).income["total"] == 7_050_000
    told = figures(income={"salary_revenue": 9_000_000, "household_adjustment": True})
    assert told.income["total"] == 7_000_000


def test_ages_count_the_day_before_the_birthday() -> None:
    assert age_on(date(1961, 1, 1), date(2025, 12, 31)) == 65
    assert age_on(date(1961, 1, 2), date(2025, 12, 31)) == 64
    assert age_on(date(2004, 2, 29), date(2025, 2, 28)) == 21
    assert age_on(date(2004, 2, 29), date(2025, 2, 27)) == 20


@pytest.mark.parametrize(
    ("year", "birthdate", "minor"),
    [
        (2026, "2008-01-02", False),
        (2026, "2008-01-03", True),
        (2025, "2006-06-01", False),
        (2021, "2001-01-02", False),
        (2021, "2001-01-03", True),
    ],
)
def test_minor_on_the_first_of_january(year: int, birthdate: str, minor: bool) -> None:
    assert figures(year, person={"birthdate": birthdate}).person_status["minor"] is minor


def test_a_married_person_of_19_was_no_minor_in_2021() -> None:
    assert not figures(2021, person={"birthdate": "2001-06-01"}, spouse=True).person_status["minor"]


def test_a_business_loss_meets_salary_but_not_below_zero() -> None:
    result = figures(income={"salary_revenue": 3_000_000, "business": -500_000})
    assert result.income["total"] == 2_020_000 - 500_000
    assert result.income["business"] == -500_000
    assert figures(income={"salary_revenue": 1_000_000, "business": -900_000}).income["total"] == 0


def test_a_loss_meets_temporary_income_before_it_is_halved() -> None:
    result = figures(
        income={"business": -400_000, "temporary_revenue": 2_000_000, "temporary_expenses": 500_000}
    )
    assert result.income["total"] == (1_500_000 - 500_000 - 400_000) // 2
    assert result.income["capital_gains_and_temporary"] == 500_000


def test_short_gains_take_the_special_deduction_first_and_long_gains_are_halved() -> None:
    result = figures(income={"capital_gains_short": 300_000, "capital_gains_long": 900_000})
    assert result.income["total"] == (900_000 - 200_000) // 2
    loss = figures(income={"salary_revenue": 3_000_000, "capital_gains_long": -100_000})
    assert loss.income["total"] == 1_920_000


def test_carried_losses_lower_gross_total_but_not_total() -> None:
    result = figures(income={"business": 3_000_000, "loss_carried_forward": 2_600_000})
    assert (result.income["total"], result.income["gross_total"]) == (3_000_000, 400_000)
    # 総所得金額等 400,000 is below the income levy limit, 合計所得金額 is far above the per-capita limit.
    assert result.levy_kind == "per-capita-only"


def test_separate_income_has_its_own_rates_and_takes_left_over_deductions() -> None:
    result = figures(
        income={"separate": {"land_long": {"amount": 40_000_000, "special_deduction": 30_000_000}}}
    )
    # above 25 million: no basic deduction, no adjustment credit; the special deduction lowers the tax base
    assert result.income["total"] == result.income["gross_total"] == 40_000_000
    assert result.tax["taxable_income"] == 0
    assert result.tax["taxable_income_separate"] == 10_000_000
    assert result.tax["municipal_income_levy"] == 300_000
    assert result.tax["prefectural_income_levy"] == 200_000
    assert result.tax["adjustment_credit_city"] == 0
    small = figures(income={"separate": {"stocks_listed": 1_000_000}})
    assert small.tax["taxable_income_separate"] == 570_000
    assert small.tax["municipal_income_levy"] == 17_100


def test_carried_losses_of_stocks_stay_with_the_stocks() -> None:
    result = figures(
        income={
            "salary_revenue": 5_000_000,
            "separate": {"stocks_listed": {"amount": 500_000, "carried_loss": 800_000}},
        }
    )
    assert (result.income["total"], result.income["gross_total"]) == (4_060_000, 3_560_000)
    assert result.tax["taxable_income_separate"] == 0


def test_reduced_rates_of_residential_land_have_two_tiers() -> None:
    result = figures(income={"separate": {"land_long_residential": 61_000_000}})
    assert result.tax["municipal_income_levy"] == 60_000 * 24 + 1_000 * 30


def test_only_years_with_a_table_are_offered() -> None:
    assert offered_years() == (2021, 2025, 2026)
    with pytest.raises(YearNotOffered) as caught:
        figures(2024)
    assert caught.value.offered == (2021, 2025, 2026)
