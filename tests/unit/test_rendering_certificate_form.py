"""What the form prints for which data, and what it refuses to print."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from app.rendering.certificate_form import NOT_PRINTED, build_certificate_form, printed_paths
from app.rendering.errors import FormDataError, NoRoomError, UnprintableError
from app.rendering.font_set import FontSet
from app.rendering.form_items import leaves

SAMPLE = Path(__file__).parents[1] / "vectors" / "good" / "certificate-sample.json"


@pytest.fixture(scope="module")
def fonts() -> FontSet:
    return FontSet.load()


@pytest.fixture
def data() -> dict:
    return copy.deepcopy(json.loads(SAMPLE.read_bytes()))


def rows(form: dict, table: str) -> dict[str, list[str]]:
    return {row["label"]: row["values"] for row in form[table]}


def texts(fitted: dict) -> str:
    return "".join(run[1] for line in fitted["lines"] for run in line)


def test_amounts_zero_and_absence(data: dict, fonts: FontSet) -> None:
    data["tax"]["other_credits_city"] = 0
    form = build_certificate_form(data, fonts)
    income = rows(form, "income")
    assert income["給与収入金額"] == ["5,000,000"]
    assert income["公的年金等収入金額"] == ["－"]
    assert rows(form, "deductions")["基礎"] == ["430,000"]
    assert rows(form, "tax")["その他の税額控除額"] == ["0", "－"]
    assert rows(form, "tax")["所得割額"] == ["141,300", "94,200"]


def test_the_head_of_the_form(data: dict, fonts: FontSet) -> None:
    form = build_certificate_form(data, fonts)
    assert form["year"] == "令和8年度（令和7年分）"
    assert form["title"] == "課税証明書"
    assert form["issued_on"] == "令和8年11月20日"
    assert form["valid_until"] == "有効期限　令和9年2月20日"
    assert texts(form["issuer"]) == "見本市長　見本 一郎"
    assert "模擬" in form["mock_band"]
    assert "実在しません" in form["mock_band"]
    assert "模擬/MOCK" in form["document_title"]
    labels = ["".join(row["label"]) for row in form["subject"]]
    assert labels == ["賦課期日の住所（令和8年1月1日）", "フリガナ", "氏名", "生年月日"]
    assert texts(form["subject"][3]["value"]) == "昭和60年3月15日"


def test_lines_that_a_year_does_not_have_are_left_out(data: dict, fonts: FontSet) -> None:
    data["fiscal_year"], data["income_year"] = 2025, 2024
    assert "特定親族特別" not in rows(build_certificate_form(data, fonts), "deductions")
    data["fiscal_year"], data["income_year"] = 2023, 2022
    with pytest.raises(FormDataError) as caught:
        build_certificate_form(data, fonts)
    assert caught.value.path == "tax.forest_tax"
    del data["tax"]["forest_tax"]
    assert "森林環境税額（国税）" not in rows(build_certificate_form(data, fonts), "tax")


def test_alias_and_kana_have_a_line_only_if_they_exist(data: dict, fonts: FontSet) -> None:
    data["subject"]["alias"] = "山田　花"
    del data["subject"]["family_name_kana"]
    del data["subject"]["given_name_kana"]
    labels = ["".join(row["label"]) for row in build_certificate_form(data, fonts)["subject"]]
    assert labels == ["賦課期日の住所（令和8年1月1日）", "氏名", "通称", "生年月日"]


def test_every_leaf_of_the_data_is_printed_or_excused(data: dict) -> None:
    assert set(leaves(data)) <= printed_paths(2026) | NOT_PRINTED.keys()


@pytest.mark.parametrize("path", ["income.secret", "subject.my_number", "extra"])
def test_data_that_the_form_does_not_print_is_refused(data: dict, fonts: FontSet, path: str) -> None:
    *groups, key = path.split(".")
    target = data
    for group in groups:
        target = target[group]
    target[key] = "x"
    with pytest.raises(FormDataError) as caught:
        build_certificate_form(data, fonts)
    assert caught.value.path == path


def test_the_title_must_belong_to_the_result(data: dict, fonts: FontSet) -> None:
    data["title"] = "非課税証明書"
    with pytest.raises(FormDataError):
        build_certificate_form(data, fonts)
    data["tax"]["exempt"] = True
    form = build_certificate_form(data, fonts)
    assert texts(form["remarks"][1]["value"]) == "市民税・県民税は非課税です。"
    data["title"] = "所得証明書"
    with pytest.raises(FormDataError):
        build_certificate_form(data, fonts)


def test_only_mock_certificates_are_drawn(data: dict, fonts: FontSet) -> None:
    data["issuing_authority"]["mock"] = False
    with pytest.raises(FormDataError):
        build_certificate_form(data, fonts)
    del data["issuing_authority"]["mock"]
    with pytest.raises(FormDataError):
        build_certificate_form(data, fonts)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("issued_on", "20261120"),
        ("issued_on", "2026-11-31"),
        ("issued_on", None),
        ("fiscal_year", "2026"),
        ("fiscal_year", True),
        ("income.total", 1.5),
        ("dependants.count", -1),
        ("dependants.spouse", "two"),
        ("person_status.disability", "unknown"),
        ("subject.name", ""),
        ("subject.birthdate", "1985-02-30"),
    ],
)
def test_values_without_a_printed_form_are_refused(
    data: dict, fonts: FontSet, path: str, value: object
) -> None:
    group, _, key = path.rpartition(".")
    (data[group] if group else data)[key] = value
    with pytest.raises(FormDataError):
        build_certificate_form(data, fonts)


@pytest.mark.parametrize("key", ["name", "alias", "address_jan1"])
def test_a_character_without_a_glyph_stops_the_page(data: dict, fonts: FontSet, key: str) -> None:
    data["subject"][key] = "渡邉\U000e0110"
    with pytest.raises(UnprintableError):
        build_certificate_form(data, fonts)


@pytest.mark.parametrize("path", ["certificate_number", "issuing_authority.code", "remarks"])
def test_so_it_does_outside_the_name(data: dict, fonts: FontSet, path: str) -> None:
    group, _, key = path.rpartition(".")
    (data[group] if group else data)[key] = "가"
    with pytest.raises(UnprintableError):
        build_certificate_form(data, fonts)


def test_room_for_the_longest_texts_of_the_registers(data: dict, fonts: FontSet) -> None:
    data["subject"]["name"] = data["subject"]["alias"] = "MARIA FERNANDEZ " * 6 + "DIAZ"
    data["subject"]["address_jan1"] = "見本県見本市中央区本町" + "東" * 189  # 200, the limit on the card
    data["remarks"] = "奨" * 150
    build_certificate_form(data, fonts)
    data["remarks"] = "奨" * 1000
    with pytest.raises(NoRoomError) as caught:
        build_certificate_form(data, fonts)
    assert caught.value.field == "備考"
