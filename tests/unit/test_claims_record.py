"""Reading a taxpayer record: every refusal names its field; the schema and the parser agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from app.claims.errors import RecordError
from app.claims.record_json import parse_record

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "app/claims/taxpayer-record-1.schema.json").read_text(encoding="utf-8"))

BAD: list[tuple[Any, str]] = [
    ([], "record"),
    ({}, "fiscal_year"),
    ({"fiscal_year": "2026"}, "fiscal_year"),
    ({"fiscal_year": True}, "fiscal_year"),
    ({"fiscal_year": 2026, "incom": {}}, "incom"),
    ({"fiscal_year": 2026, "income": []}, "income"),
    ({"fiscal_year": 2026, "income": {"salary_revenue": -1}}, "income.salary_revenue"),
    ({"fiscal_year": 2026, "income": {"salary_revenue": 1.5}}, "income.salary_revenue"),
    ({"fiscal_year": 2026, "income": {"salary_revenue": "5000000"}}, "income.salary_revenue"),
    ({"fiscal_year": 2026, "income": {"salary_revenue": True}}, "income.salary_revenue"),
    ({"fiscal_year": 2026, "income": {"business": 10**12}}, "income.business"),
    ({"fiscal_year": 2026, "income": {"separate": {"yacht": 1}}}, "income.separate.yacht"),
    (
        {"fiscal_year": 2026, "income": {"separate": {"land_long": {"amount": -1}}}},
        "income.separate.land_long.amount",
    ),
    ({"fiscal_year": 2026, "person": {"birthdate": "1985-3-15"}}, "person.birthdate"),
    ({"fiscal_year": 2026, "person": {"birthdate": "2025-02-30"}}, "person.birthdate"),
    ({"fiscal_year": 2026, "person": {"single_parent": True}}, "person.single_parent"),
    ({"fiscal_year": 2026, "person": {"disability": "severe"}}, "person.disability"),
    ({"fiscal_year": 2026, "person": {"name": "a\nb"}}, "person.name"),
    ({"fiscal_year": 2026, "spouse": {"salary": 1}}, "spouse.salary"),
    ({"fiscal_year": 2026, "dependants": 3}, "dependants"),
    ({"fiscal_year": 2026, "dependants": [{"relation": "child"}]}, "dependants[0].birthdate"),
    ({"fiscal_year": 2026, "dependants": [{"age": 3}, {"age": 200}]}, "dependants[1].age"),
    ({"fiscal_year": 2026, "dependants": {"general": -1}}, "dependants.general"),
    ({"fiscal_year": 2026, "credits": {"housing_loan": {"town": 1}}}, "credits.housing_loan.town"),
]
TOGETHER: list[tuple[Any, str]] = [
    ({"fiscal_year": 2026, "income": {"pension_revenue": 1}}, "person.birthdate"),
    ({"fiscal_year": 2026, "spouse": {"pension_revenue": 1}}, "spouse.birthdate"),
    ({"fiscal_year": 2026, "spouse": True, "person": {"widow": True}}, "person.widow"),
    ({"fiscal_year": 2026, "spouse": {"total_income": 1, "salary_revenue": 1}}, "spouse.total_income"),
    (
        {"fiscal_year": 2026, "deductions": {"life_insurance": 1, "life_insurance_premiums": {}}},
        "deductions.life_insurance",
    ),
    (
        {"fiscal_year": 2026, "income": {"capital_gains_and_temporary": 1, "capital_gains_long": 1}},
        "income.capital_gains_and_temporary",
    ),
]


@pytest.mark.parametrize(("data", "field"), [*BAD, *TOGETHER], ids=lambda value: None)
def test_the_error_names_the_field(data: Any, field: str) -> None:
    with pytest.raises(RecordError) as caught:
        parse_record(data)
    assert caught.value.field == field


def test_the_nearest_known_field_is_named() -> None:
    with pytest.raises(RecordError, match="did you mean salary_revenue"):
        parse_record({"fiscal_year": 2026, "income": {"salary_revenu": 1}})


@pytest.mark.parametrize(("data", "field"), BAD[:-2], ids=lambda value: None)
def test_the_schema_refuses_the_same_shapes(data: Any, field: str) -> None:
    known_to_parser_only = {"person.single_parent", "person.name", "dependants[0].birthdate"}
    if field in known_to_parser_only or data == {"fiscal_year": 2026, "person": {"birthdate": "2025-02-30"}}:
        return
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(data)


def test_the_schema_accepts_every_vector_and_the_document() -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    records = [
        json.loads(path.read_text(encoding="utf-8"))["record"]
        for path in (ROOT / "tests/vectors/good/tax").glob("*.json")
    ]
    text = (ROOT / "docs/formats/taxpayer-record.md").read_text(encoding="utf-8")
    records.append(json.loads(text.split("```json\n")[1].split("```")[0]))
    for record in records:
        parse_record(record)
        validator.validate(record)


def test_short_forms() -> None:
    record = parse_record({"fiscal_year": 2026, "spouse": True, "dependants": {"under16": 2, "general": 1}})
    assert record.spouse is not None
    assert [relative.kind for relative in record.dependants] == ["general", "under16", "under16"]
    assert (
        parse_record({"fiscal_year": 2026, "spouse": None, "dependants": None, "person": None}).spouse is None
    )


def test_every_field_of_the_parser_is_in_the_document() -> None:
    text = (ROOT / "docs/formats/taxpayer-record.md").read_text(encoding="utf-8")
    properties = SCHEMA["properties"]
    names = set(properties) | {
        name
        for group in ("person", "income", "deductions", "credits")
        for name in properties[group]["properties"]
    }
    assert not [name for name in sorted(names) if name not in text]
