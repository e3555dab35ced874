"""Deductions, relatives, adjustment credit, exemption and credits, at and beside their thresholds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.claims.adjustment_credit import adjustment_credit
from app.claims.figures import Figures, compute_figures
from app.claims.insurance import (
    earthquake_insurance_deduction,
    life_insurance_deduction,
)
from app.claims.record import EarthquakePremiums, LifePremiums
from app.claims.record_json import parse_record
from app.claims.tables import load_rules


def figures(year: int = 2026, **record: Any) -> Figures:
    return compute_figures(parse_record({"fiscal_year": year, **record}))


@pytest.mark.parametrize(
    ("total", "basic"),
    [(24_000_000, 430_000), (24_000_001, 290_000), (24_500_001, 150_000), (25_000_001, 0)],
)
def test_basic_deduction_by_total_income(total: int, basic: int) -> None:
    assert figures(income={"business": total}).deductions["basic"] == basic


@pytest.mark.parametrize(
    ("total", "young", "old"),
    [
        (9_000_000, 330_000, 380_000),
        (9_000_001, 220_000, 260_000),
        (9_500_001, 110_000, 130_000),
        (10_000_001, None, None),
    ],
)
def test_spouse_deduction_by_tier(total: int, young: int | None, old: int | None) -> None:
    assert figures(income={"business": total}, spouse=True).deductions.get("spouse") == young
    elderly = figures(income={"business": total}, spouse={"birthdate": "1956-01-01"})
    assert elderly.deductions.get("spouse") == old
    assert elderly.dependants["spouse"] == ("elderly" if old else "none")
    assert elderly.intermediate["household_size"] == 2  # 同一生計配偶者 counts whatever the taxpayer earns


@pytest.mark.parametrize(("year", "limit"), [(2021, 480_000), (2025, 480_000), (2026, 580_000)])
def test_income_limit_of_spouse_and_dependants(year: int, limit: int) -> None:
    at = figures(
        year,
        income={"business": 4_000_000},
        spouse={"total_income": limit},
        dependants=[{"age": 40, "total_income": limit}],
    )
    assert (at.deductions["spouse"], at.deductions["dependants"]) == (330_000, 330_000)
    above = figures(
        year,
        income={"business": 4_000_000},
        spouse={"total_income": limit + 1},
        dependants=[{"age": 40, "total_income": limit + 1}],
    )
    assert "spouse" not in above.deductions and "dependants" not in above.deductions
    assert above.deductions["spouse_special"] == 330_000
    assert above.intermediate["household_size"] == 1


def test_spouse_income_is_computed_from_salary() -> None:
    assert figures(income={"business": 4_000_000}, spouse={"salary_revenue": 1_230_000}).deductions["spouse"]
    over = figures(income={"business": 4_000_000}, spouse={"salary_revenue": 1_230_001})
    assert over.deductions["spouse_special"] == 330_000


@pytest.mark.parametrize(
    ("income", "amounts"),
    [
        (1_000_000, (330_000, 220_000, 110_000)),
        (1_000_001, (310_000, 210_000, 110_000)),
        (1_050_001, (260_000, 180_000, 90_000)),
        (1_100_001, (210_000, 140_000, 70_000)),
        (1_150_001, (160_000, 110_000, 60_000)),
        (1_200_001, (110_000, 80_000, 40_000)),
        (1_250_001, (60_000, 40_000, 20_000)),
        (1_300_001, (30_000, 20_000, 10_000)),
        (1_330_000, (30_000, 20_000, 10_000)),
        (1_330_001, (None, None, None)),
    ],
)
def test_special_spouse_deduction(income: int, amounts: tuple[int | None, ...]) -> None:
    for total, amount in zip((9_000_000, 9_500_000, 10_000_000), amounts, strict=True):
        result = figures(income={"business": total}, spouse={"total_income": income})
        assert result.deductions.get("spouse_special") == amount


def test_difference_of_the_special_spouse_deduction_ends_at_550_000() -> None:
    for income, difference in ((480_001, 50_000), (500_000, 30_000), (550_000, 0)):
        result = figures(2025, income={"business": 3_000_000}, spouse={"total_income": income})
        assert result.intermediate["personal_deduction_difference"] == 50_000 + difference
    later = figures(2026, income={"business": 3_000_000}, spouse={"total_income": 580_001})
    assert later.intermediate["personal_deduction_difference"] == 50_000


@pytest.mark.parametrize(
    ("birthdate", "kind"),
    [
        ("2010-01-01", "general"),
        ("2010-01-02", "under16"),
        ("2007-01-01", "specific"),
        ("2007-01-02", "general"),
        ("2003-01-02", "specific"),
        ("2003-01-01", "general"),
        ("1956-01-01", "elderly"),
        ("1956-01-02", "general"),
    ],
)
def test_kinds_of_dependants_by_age(birthdate: str, kind: str) -> None:
    result = figures(dependants=[{"birthdate": birthdate}])
    assert [key for key in ("general", "specific", "elderly", "under16") if result.dependants[key]] == [kind]


def test_parents_of_70_living_together_or_not() -> None:
    for together, kind, amount in (
        (True, "elderly_living_together", 450_000),
        (False, "elderly", 380_000),
    ):
        result = figures(dependants=[{"age": 72, "relation": "parent", "living_together": together}])
        assert result.dependants[kind] == 1
        assert result.deductions["dependants"] == amount


@pytest.mark.parametrize(
    ("income", "amount"),
    [
        (580_001, 450_000),
        (950_000, 450_000),
        (950_001, 410_000),
        (1_000_001, 310_000),
        (1_050_001, 210_000),
        (1_100_001, 110_000),
        (1_150_001, 60_000),
        (1_200_001, 30_000),
        (1_230_000, 30_000),
        (1_230_001, None),
    ],
)
def test_special_deduction_for_specific_relatives(income: int, amount: int | None) -> None:
    student = [{"age": 20, "total_income": income}]
    assert figures(dependants=student).deductions.get("specific_relative_special") == amount
    assert "specific_relative_special" not in figures(2025, dependants=student).deductions


def test_disabilities_of_person_spouse_and_a_child_under_16() -> None:
    result = figures(
        person={"disability": "special"},
        income={"business": 11_000_000},
        spouse={"disability": "general"},
        dependants=[
            {"age": 9, "disability": "special"},
            {"age": 40, "disability": "special", "living_together": False},
        ],
    )
    # the taxpayer earns too much for a 配偶者控除, the spouse's disability deduction stays
    assert result.deductions["disability"] == 300_000 + 260_000 + 530_000 + 300_000
    assert result.dependants["special_disabled_living_together"] == 1
    assert result.dependants["special_disabled"] == 1
    assert result.dependants["disabled"] == 1


def test_a_relative_over_the_limit_brings_no_disability_deduction() -> None:
    result = figures(dependants=[{"age": 40, "disability": "special", "total_income": 580_001}])
    assert "disability" not in result.deductions


def test_relatives_abroad_from_2024_on() -> None:
    abroad = [{"age": 40, "lives_abroad": True}]
    assert figures(2021, dependants=abroad).dependants["general"] == 1
    assert figures(2026, dependants=abroad).dependants["count"] == 0
    assert figures(2026, dependants=[abroad[0] | {"abroad_qualifies": True}]).dependants["count"] == 1
    assert figures(2026, dependants=[{"age": 29, "lives_abroad": True}]).dependants["count"] == 1


def test_single_parent_and_widow_end_at_five_million() -> None:
    for status, amount, difference in (
        ({"single_parent": "mother"}, 300_000, 50_000),
        ({"single_parent": "father"}, 300_000, 10_000),
        ({"single_parent": True, "sex": "male"}, 300_000, 10_000),
        ({"widow": True}, 260_000, 10_000),
    ):
        key = "widow" if "widow" in status else "single_parent"
        at = figures(person=status, income={"business": 5_000_000})
        assert at.deductions[key] == amount and at.person_status[key]
        assert at.intermediate["personal_deduction_difference"] == 50_000 + difference
        above = figures(person=status, income={"business": 5_000_001})
        assert key not in above.deductions and not above.person_status[key]


@pytest.mark.parametrize(("year", "limit"), [(2025, 750_000), (2026, 850_000)])
def test_working_student(year: int, limit: int) -> None:
    def student(salary_income: int, other: int = 0) -> Figures:
        revenue = salary_income + (650_000 if year == 2026 else 550_000)
        items = {"salary_revenue": revenue, "miscellaneous": other}
        return figures(year, person={"age": 21, "working_student": True}, income=items)

    assert student(limit).deductions["working_student"] == 260_000
    assert "working_student" not in student(limit + 1).deductions
    assert "working_student" in student(limit - 100_000, 100_000).deductions
    assert "working_student" not in student(limit - 200_000, 100_001).deductions


def test_insurance_from_premiums() -> None:
    assert life_insurance_deduction(LifePremiums(general_new=12_000)) == 12_000
    assert life_insurance_deduction(LifePremiums(general_new=32_001)) == 22_001
    assert life_insurance_deduction(LifePremiums(general_new=60_000)) == 28_000
    assert life_insurance_deduction(LifePremiums(general_old=80_000)) == 35_000
    assert life_insurance_deduction(LifePremiums(general_new=56_000, general_old=15_000)) == 28_000
    assert earthquake_insurance_deduction(EarthquakePremiums(earthquake=20_001)) == 10_001
    assert earthquake_insurance_deduction(EarthquakePremiums(old_long_term=20_000)) == 10_000


def test_caps_of_stated_amounts() -> None:
    stated = {"life_insurance": 84_000, "earthquake_insurance": 30_000, "medical": 3_000_000}
    result = figures(deductions=stated)
    assert result.deductions["life_insurance"] == 70_000
    assert result.deductions["earthquake_insurance"] == 25_000
    assert result.deductions["medical"] == 2_000_000


def test_medical_expenses_beyond_five_percent_or_100_000() -> None:
    expenses = {"medical_expenses": {"paid": 150_000, "reimbursed": 20_000}}
    assert figures(income={"business": 1_000_000}, deductions=expenses).deductions["medical"] == 80_000
    assert figures(income={"business": 9_000_000}, deductions=expenses).deductions["medical"] == 30_000


def test_adjustment_credit_around_two_million_and_twenty_five_million() -> None:
    assert adjustment_credit(280_000, 2_000_000, 5_000_000).base == 280_000
    assert adjustment_credit(280_000, 2_100_000, 5_000_000).base == 180_000
    assert adjustment_credit(280_000, 2_230_000, 5_000_000).base == 50_000
    assert adjustment_credit(280_000, 2_231_000, 5_000_000).base == 50_000
    assert adjustment_credit(280_000, 30_000, 5_000_000).base == 30_000
    assert adjustment_credit(280_000, 1_000_000, 25_000_000).city == 8_400
    assert adjustment_credit(280_000, 1_000_000, 25_000_001).city == 0


@pytest.mark.parametrize(
    ("family", "size"),
    [({}, 1), ({"spouse": True}, 2), ({"spouse": True, "dependants": {"under16": 2}}, 4)],
)
def test_exemption_limits_are_inclusive(family: dict[str, Any], size: int) -> None:
    extra = (189_000, 320_000) if size > 1 else (0, 0)
    per_capita_limit = 315_000 * size + 100_000 + extra[0]
    income_levy_limit = 350_000 * size + 100_000 + extra[1]
    assert figures(income={"business": per_capita_limit}, **family).levy_kind == "exempt"
    assert figures(income={"business": per_capita_limit + 1}, **family).tax["municipal_per_capita"] == 3_000
    assert figures(income={"business": income_levy_limit}, **family).intermediate["income_levy_exempt"]
    assert not figures(income={"business": income_levy_limit + 1}, **family).intermediate[
        "income_levy_exempt"
    ]


@pytest.mark.parametrize(
    "status",
    [{"disability": "general"}, {"age": 17}, {"widow": True}, {"single_parent": "father"}],
)
def test_special_status_is_exempt_up_to_1_350_000(status: dict[str, Any]) -> None:
    assert figures(person=status, income={"business": 1_350_000}).exempt
    assert not figures(person=status, income={"business": 1_350_001}).exempt


def test_public_assistance_exempts_from_everything() -> None:
    result = figures(person={"public_assistance": True}, income={"business": 9_000_000})
    assert result.exempt and result.tax["annual_total"] == 0 and result.title == "非課税証明書"


def test_no_forest_tax_before_2024() -> None:
    tax = figures(2021, income={"business": 3_000_000}).tax
    assert "forest_tax" not in tax
    assert (tax["municipal_per_capita"], tax["prefectural_per_capita"]) == (3_500, 2_000)
    assert figures(2025, income={"business": 3_000_000}).tax["forest_tax"] == 1_000


def test_credits_are_split_and_stop_at_the_levy() -> None:
    base = {"income": {"salary_revenue": 5_000_000}, "deductions": {"social_insurance": 750_000}}
    housing = figures(**base, credits={"housing_loan": 97_500})
    assert housing.tax["municipal_income_levy"] == 141_300 // 100 * 100 - 58_500
    assert housing.tax["prefectural_income_levy"] == (94_200 - 39_000) // 100 * 100
    assert (housing.tax["other_credits_city"], housing.tax["other_credits_prefecture"]) == (58_500, 39_000)
    apart = figures(**base, credits={"donation": {"city": 1, "prefecture": 200_000}})
    assert apart.tax["municipal_income_levy"] == 141_200
    assert apart.tax["prefectural_income_levy"] == 0
    assert apart.tax["other_credits_prefecture"] == 94_200
    assert apart.levy_kind == "taxed"


@pytest.mark.parametrize(
    ("year", "total", "spouse", "credit"),
    [
        (2025, 10_000_000, {}, 0),
        (2025, 10_000_001, {}, 10_000),
        (2025, 18_050_000, {}, 10_000),
        (2025, 18_050_001, {}, 0),
        (2025, 12_000_000, {"total_income": 480_001}, 0),
        (2025, 12_000_000, {"lives_abroad": True}, 0),
        (2026, 12_000_000, {}, 0),
    ],
)
def test_flat_credit_of_2025(year: int, total: int, spouse: dict[str, Any], credit: int) -> None:
    tax = figures(year, income={"business": total}, spouse=spouse or True).tax
    assert tax.get("other_credits_city", 0) + tax.get("other_credits_prefecture", 0) == credit
    if credit:
        assert tax["other_credits_city"] == 6_000


def test_threshold_relief_is_known_but_applied_only_by_the_table() -> None:
    record = parse_record({"fiscal_year": 2026, "income": {"business": 450_001}})
    plain = compute_figures(record)
    assert plain.tax["municipal_income_levy"] == 600
    assert plain.intermediate["threshold_relief"] == 999
    relieved = compute_figures(record, replace(load_rules(2026), threshold_relief=True))
    assert relieved.tax["municipal_income_levy"] == 0
