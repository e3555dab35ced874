"""certificate.json: what is built matches the schema, the sample and the rules on absent values."""

from __future__ import annotations

import copy
import json
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from app.claims.certificate_data import DEMO_AUTHORITY, build_certificate_data
from app.claims.certificate_number import certificate_number
from app.claims.errors import RecordError
from app.claims.figures import compute_figures
from app.claims.record_json import parse_record
from verifier.formats.encoding import canonical_json, parse_canonical_json

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads(
    (ROOT / "verifier/formats/schema/income-certificate-1.schema.json").read_text(encoding="utf-8")
)
SAMPLE = json.loads((ROOT / "tests/vectors/good/certificate-sample.json").read_text(encoding="utf-8"))
PERSON = {
    "name": "𠮷塚　花子",
    "family_name": "𠮷塚",
    "given_name": "花子",
    "family_name_kana": "ヨシヅカ",
    "given_name_kana": "ハナコ",
    "birthdate": "1985-03-15",
    "address_jan1": "見本県見本市中央区本町一丁目2番3号",
}
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


def build(record: dict[str, Any], purpose: str = "住居手当の確認のため") -> dict[str, Any]:
    parsed = parse_record({"person": PERSON} | record)
    certificate_id = bytes(range(16))
    return build_certificate_data(
        parsed, compute_figures(parsed), certificate_id, date(2026, 11, 20), purpose, DEMO_AUTHORITY
    )


CASE_A = {
    "fiscal_year": 2026,
    "income": {"salary_revenue": 5_000_000},
    "deductions": {"social_insurance": 750_000},
}


def test_the_sample_is_what_is_built_for_case_a() -> None:
    built = build(CASE_A)
    assert built | {"certificate_number": SAMPLE["certificate_number"]} == SAMPLE


def test_the_sample_fits_the_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    VALIDATOR.validate(SAMPLE)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests/vectors/good/tax").glob("*.json")), ids=lambda path: path.stem
)
def test_what_is_built_from_every_vector_fits_the_schema_and_has_one_encoding(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))["record"]
    data = build(record | {"person": PERSON | record.get("person", {})})
    VALIDATOR.validate(data)
    assert parse_canonical_json(canonical_json(data)) == data
    for group, kept in (("income", {"total", "gross_total"}), ("deductions", {"total", "basic"})):
        assert all(amount for key, amount in data[group].items() if key not in kept)


def test_every_property_names_its_gif_property() -> None:
    def walk(schema: dict[str, Any]) -> None:
        assert schema["x-gif"]["property"].startswith("ad:")
        assert schema.get("type") != "object" or schema["additionalProperties"] is False
        for part in schema.get("properties", {}).values():
            walk(part)

    walk(SCHEMA)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.update(extra=1),
        lambda data: data["tax"].update(bonus=1),
        lambda data: data["income"].pop("total"),
        lambda data: data["income"].update(total=1.5),
        lambda data: data["income"].update(total="1"),
        lambda data: data.update(certificate_number="7QK4-9MZT-2HXU"),
        lambda data: data.update(issued_on="2026-02-30"),
        lambda data: data.update(title="証明書"),
        lambda data: data["dependants"].update(spouse="maybe"),
        lambda data: data["issuing_authority"].pop("mock"),
        lambda data: data["subject"].update(individual_number="000000000000"),
    ],
)
def test_the_schema_refuses_other_shapes(spoil: Any) -> None:
    data = copy.deepcopy(SAMPLE)
    spoil(data)
    assert not VALIDATOR.is_valid(data)


def test_text_is_not_normalised() -> None:
    person = PERSON | {"name": "塚\U000e0100　花子", "alias": "葛\U000e0102"}
    data = build(CASE_A | {"person": person})
    assert data["subject"]["name"] == "塚\U000e0100　花子"
    assert data["subject"]["alias"] == "葛\U000e0102"
    assert "family_name" in data["subject"]


@pytest.mark.parametrize("missing", ["name", "birthdate", "address_jan1"])
def test_a_certificate_names_its_person(missing: str) -> None:
    person = {key: value for key, value in PERSON.items() if key != missing}
    with pytest.raises(RecordError) as caught:
        build(CASE_A | {"person": person})
    assert caught.value.field == f"person.{missing}"


def test_no_certificate_of_an_undeclared_year_or_of_mixed_years() -> None:
    with pytest.raises(RecordError, match="declared"):
        build(CASE_A | {"declared": False})
    record = parse_record({"fiscal_year": 2026, "person": PERSON})
    other = compute_figures(parse_record({"fiscal_year": 2025}))
    with pytest.raises(ValueError, match="fiscal year"):
        build_certificate_data(record, other, bytes(16), date(2026, 11, 20), "", DEMO_AUTHORITY)


def test_the_purpose_is_one_short_line() -> None:
    assert build(CASE_A, "")["remarks"] == ""
    for purpose in ("二行\nにわたる", "あ" * 101):
        with pytest.raises(RecordError, match="purpose"):
            build(CASE_A, purpose)


def test_certificate_numbers() -> None:
    assert certificate_number(bytes(16)) == "0000-0000-0000"
    assert certificate_number(b"\xff" * 16) == "ZZZZ-ZZZZ-ZZZZ"
    # 00001 00010 00011 ... : the digits in order, first five bits first
    bits = "".join(f"{value:05b}" for value in range(1, 13)) + "0" * 4
    assert certificate_number(int(bits, 2).to_bytes(8, "big") + bytes(8)) == "1234-5678-9ABC"
    assert certificate_number(bytes(7) + b"\x0f" + b"\xff" * 8) == "0000-0000-0000"
    with pytest.raises(ValueError, match="16 bytes"):
        certificate_number(bytes(15))
