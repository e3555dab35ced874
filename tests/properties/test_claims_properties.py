"""What must hold for every record: no crash, no figure out of shape, no jump the wrong way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from app.claims.certificate_number import certificate_number
from app.claims.errors import ClaimsError
from app.claims.figures import compute_figures
from app.claims.record_json import parse_record
from app.claims.tables import load_rules, offered_years

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "verifier/formats/schema/income-certificate-1.schema.json").read_text(
        encoding="utf-8"
    )
)
KEYS = ["fiscal_year", "person", "income", "spouse", "dependants", "credits", "age", "x"]
YEN = st.integers(0, 40_000_000)
SIGNED = st.integers(-5_000_000, 40_000_000)
RELATIVES = st.lists(
    st.fixed_dictionaries(
        {"age": st.integers(0, 99)},
        optional={
            "total_income": st.integers(0, 2_000_000),
            "disability": st.sampled_from(["none", "general", "special"]),
            "living_together": st.booleans(),
            "relation": st.sampled_from(["child", "parent"]),
        },
    ),
    max_size=4,
)
RECORDS = st.fixed_dictionaries(
    {"fiscal_year": st.sampled_from([2021, 2025, 2026])},
    optional={
        "person": st.fixed_dictionaries(
            {"age": st.integers(15, 99)},
            optional={
                "disability": st.sampled_from(["none", "general", "special"]),
                "working_student": st.booleans(),
            },
        ),
        "income": st.fixed_dictionaries(
            {},
            optional={
                "salary_revenue": YEN,
                "business": SIGNED,
                "real_estate": SIGNED,
                "dividends": YEN,
                "capital_gains_long": SIGNED,
                "temporary_revenue": YEN,
                "loss_carried_forward": YEN,
                "separate": st.fixed_dictionaries(
                    {}, optional={"land_short": YEN, "stocks_listed": YEN, "forestry": YEN}
                ),
            },
        ),
        "deductions": st.fixed_dictionaries(
            {}, optional={"social_insurance": YEN, "medical": YEN, "life_insurance": YEN}
        ),
        "dependants": RELATIVES,
        "credits": st.fixed_dictionaries({}, optional={"housing_loan": YEN, "donation": YEN}),
    },
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=12,
)


@given(RECORDS)
@settings(max_examples=150, deadline=None)
def test_figures_of_any_record_are_consistent(data: dict[str, Any]) -> None:
    figures = compute_figures(parse_record(data))
    tax = figures.tax
    for group in ("income", "deductions", "dependants", "person_status"):
        jsonschema.validate(getattr(figures, group), SCHEMA["properties"][group])
    jsonschema.validate(tax, SCHEMA["properties"]["tax"])
    assert figures.income["gross_total"] <= figures.income["total"]
    parts = [amount for key, amount in figures.deductions.items() if key != "total"]
    assert figures.deductions["total"] == sum(parts)
    assert tax["taxable_income"] % 1000 == 0
    assert tax["municipal_income_levy"] % 100 == tax["prefectural_income_levy"] % 100 == 0
    flat = tax["municipal_per_capita"] + tax["prefectural_per_capita"] + tax.get("forest_tax", 0)
    levy = tax["municipal_income_levy"] + tax["prefectural_income_levy"]
    assert tax["annual_total"] == flat + levy
    assert (tax["annual_total"] == 0) == tax["exempt"] == (figures.title == "非課税証明書")
    assert levy == 0 or flat == 5_500


@given(st.sampled_from([2021, 2025, 2026]), st.integers(0, 30_000_000), st.integers(1, 100_000))
@settings(max_examples=200, deadline=None)
def test_more_salary_is_never_less_income_and_the_deduction_never_above_the_revenue(
    year: int, revenue: int, more: int
) -> None:
    def total(amount: int) -> int:
        record = {"fiscal_year": year, "income": {"salary_revenue": amount}}
        return compute_figures(parse_record(record)).income["total"]

    assert 0 <= total(revenue) <= total(revenue + more)
    assert total(revenue) <= revenue


@given(ANY_JSON)
@settings(max_examples=200, deadline=None)
def test_any_json_is_read_or_refused_by_our_own_error(data: Any) -> None:
    try:
        compute_figures(parse_record(data))
    except ClaimsError as error:
        assert error.code in ("bad-record", "year-not-offered")


@given(st.binary(min_size=16, max_size=16))
def test_certificate_numbers_keep_60_bits(certificate_id: bytes) -> None:
    text = certificate_number(certificate_id).replace("-", "")
    value = 0
    for char in text:
        value = value << 5 | "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(char)
    assert value == int.from_bytes(certificate_id, "big") >> 68


def test_tables_are_complete_and_ascending() -> None:
    for year in offered_years():
        rules = load_rules(year)
        assert rules.fiscal_year == year
        assert rules.employment[-1].below is None
        uppers = [band.below or 0 for band in rules.employment[:-1]]
        assert uppers == sorted(set(uppers))
        for steps in (rules.basic, rules.specific_relative_special):
            assert [step.up_to for step in steps] == sorted(step.up_to for step in steps)
        assert set(rules.dependants) == {
            "general",
            "specific",
            "elderly",
            "elderly_living_together",
            "under16",
        }
