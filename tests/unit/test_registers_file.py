"""The register file: what is written comes back byte for byte, anything else is refused with line and
field.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.registers import register_file
from app.registers.city.cases import case_entries, case_ids
from app.registers.city.generator import generate_city
from app.registers.errors import RegisterFileError, RegisterFileLimit
from app.registers.register_file import read_register, write_register

DOCUMENT = Path(__file__).parents[2] / "docs/formats/resident-register.md"


def written(count: int = 150) -> bytes:
    stream = io.BytesIO()
    write_register(stream, generate_city(count, 3))
    return stream.getvalue()


def test_a_round_trip_gives_the_same_entries_and_the_same_bytes() -> None:
    data = written()
    entries = list(read_register(io.BytesIO(data)))
    assert entries == list(generate_city(150, 3))
    again = io.BytesIO()
    write_register(again, entries)
    assert again.getvalue() == data


def test_the_document_begins_with_a_file_that_can_be_read() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    example = text.split("```jsonl\n")[1].split("```")[0]
    entries = list(read_register(io.BytesIO(example.encode("utf-8"))))
    stream = io.BytesIO()
    write_register(stream, entries)
    assert stream.getvalue() == example.encode("utf-8")
    assert [key for key in case_ids() if f"`{key}`" not in text] == []


def _lines() -> list[dict[str, Any]]:
    stream = io.BytesIO()
    write_register(stream, list(case_entries())[:2])
    return [json.loads(line) for line in stream.getvalue().splitlines()]


Spoil = Callable[[list[dict[str, Any]]], object]
HOME, TAXES = "resident.addresses[0]", "tax_records"
SPOILED: list[tuple[Spoil, int, str]] = [
    (lambda lines: lines[0].update(version=2), 1, "version"),
    (lambda lines: lines[0].update(version=True), 1, "version"),
    (lambda lines: lines[0].update(mock=False), 1, "mock"),
    (lambda lines: lines[0].update(city_code="402052"), 1, "city_code"),
    (lambda lines: lines[0].update(format="other"), 1, "format"),
    (lambda lines: lines[0].update(extra=1), 1, "extra"),
    (lambda lines: lines[1]["resident"].pop("name"), 2, "resident.name"),
    (lambda lines: lines[1]["resident"].update(sex=4), 2, "resident.sex"),
    (lambda lines: lines[1]["resident"].update(birthdate="1985-02-30"), 2, "resident.birthdate"),
    (lambda lines: lines[1]["resident"].update(my_number="1"), 2, "resident.my_number"),
    (lambda lines: lines[1]["resident"].update(addresses=[]), 2, "resident.addresses"),
    (lambda lines: lines[1]["resident"].update(resident_id="a b"), 2, "resident.resident_id"),
    (
        lambda lines: lines[1]["resident"]["addresses"][0].update(to="2026-01-01"),
        2,
        "resident.addresses[0].to",
    ),
    (
        lambda lines: lines[1]["resident"]["addresses"][0].update(city_code="1"),
        2,
        "resident.addresses[0].city_code",
    ),
    (lambda lines: lines[1]["tax_records"][0].update(fiscal_year=2026), 2, "tax_records"),
    (lambda lines: lines[1]["tax_records"][2]["data"].update(x=1), 2, "tax_records[2].data.x"),
    (
        lambda lines: lines[1]["tax_records"][0]["data"].update(declared=True),
        2,
        "tax_records[0].data.declared",
    ),
    (lambda lines: lines[2]["resident"].update(resident_id="M-0000001"), 3, "resident.resident_id"),
    (lambda lines: lines[3].update(residents=3), 4, "residents"),
    (lambda lines: lines.pop(), 4, "file"),
    (lambda lines: lines.append(lines[1]), 5, "file"),
    (lambda lines: lines.clear(), 1, "file"),
]


@pytest.mark.parametrize(("spoil", "line", "field"), SPOILED, ids=[item[2] for item in SPOILED])
def test_an_error_names_line_and_field(spoil: Spoil, line: int, field: str) -> None:
    lines = _lines()
    spoil(lines)
    data = b"".join(json.dumps(value).encode() + b"\n" for value in lines)
    with pytest.raises(RegisterFileError) as caught:
        list(read_register(io.BytesIO(data)))
    assert (caught.value.line, caught.value.field) == (line, field)


@pytest.mark.parametrize(
    "data", [b"\xff\n", b"{\n", b"[]\n", b'{"a":1,"a":2}\n', b'{"version":1.0}\n', b"null\n"]
)
def test_bytes_that_are_no_register(data: bytes) -> None:
    with pytest.raises(RegisterFileError) as caught:
        list(read_register(io.BytesIO(data)))
    assert caught.value.line == 1


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RegisterFileLimit):
        list(read_register(io.BytesIO(b"x" * (register_file.MAX_LINE_BYTES + 1))))
    monkeypatch.setattr(register_file, "MAX_RESIDENTS", 5)
    with pytest.raises(RegisterFileLimit, match="5 residents"):
        list(read_register(io.BytesIO(written())))


def test_errors_repeat_no_personal_data() -> None:
    lines = _lines()
    lines[1]["resident"]["birthdate"] = "19850315"
    data = b"".join(json.dumps(value).encode() + b"\n" for value in lines)
    with pytest.raises(RegisterFileError) as caught:
        list(read_register(io.BytesIO(data)))
    assert "19850315" not in str(caught.value) and "花子" not in str(caught.value)
