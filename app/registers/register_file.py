"""The register file: a whole city as JSON lines, in one documented, versioned shape, read strictly.

docs/formats/resident-register.md. First line the header, then one line a resident, last line the count, so
that a file cut short is noticed. Each line is canonical JSON (`verifier.formats.encoding`), so export of an
import gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any, BinaryIO, Final

import orjson

from app.claims.errors import RecordError
from app.claims.fields import Fields
from app.claims.record_json import parse_record
from app.registers.errors import RegisterFileError, RegisterFileLimit
from app.registers.resident import CITY_CODE, Address, RegisterEntry, Resident, TaxRecord
from verifier.errors import FormatError
from verifier.formats.encoding import parse_json

FORMAT: Final = "akashi-resident-register"
VERSION: Final = 1
MAX_LINE_BYTES: Final = 64 * 1024
MAX_RESIDENTS: Final = 1_000_000
MAX_ADDRESSES: Final = 60
MAX_TAX_RECORDS: Final = 20
RELATIONS: Final = ("head", "spouse", "child", "parent", "other")


def format_entry(entry: RegisterEntry) -> dict[str, Any]:
    """The JSON object of one resident line; absent values are left out, false flags too."""
    person = entry.resident
    resident: dict[str, Any] = {
        "resident_id": person.resident_id,
        "household_id": person.household_id,
        "relation": person.relation,
        "name": person.name,
        "family_name": person.family_name,
        "given_name": person.given_name,
        "sex": person.sex,
        "birthdate": person.birthdate.isoformat(),
        "addresses": [_format_address(address) for address in person.addresses],
    }
    optional = {
        "family_name_kana": person.family_name_kana,
        "given_name_kana": person.given_name_kana,
        "former_family_name": person.former_family_name,
        "alias": person.alias,
        "deceased_on": person.deceased_on.isoformat() if person.deceased_on else None,
        "protected": person.protected,
        "under_review": person.under_review,
        "dummy": person.dummy,
    }
    resident |= {key: value for key, value in optional.items() if value}
    taxes = [
        {"fiscal_year": record.fiscal_year, "declared": record.declared, "data": record.data}
        for record in entry.tax_records
    ]
    return {"resident": resident, "tax_records": taxes}


def write_register(stream: BinaryIO, entries: Iterable[RegisterEntry], city_code: str = CITY_CODE) -> int:
    """Write header, residents and count; returns how many residents."""
    _write(stream, {"format": FORMAT, "version": VERSION, "city_code": city_code, "mock": True})
    total = 0
    for entry in entries:
        _write(stream, format_entry(entry))
        total += 1
    _write(stream, {"residents": total})
    return total


def read_register(stream: BinaryIO, city_code: str = CITY_CODE) -> Iterator[RegisterEntry]:
    """Read a register file as a stream of entries. Raises: RegisterFileError, RegisterFileLimit (with the
    line).

    An error may come after many good entries: take nothing as imported before the iterator ends.
    """
    number, total, last_id, ended = 0, 0, "", False
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise RegisterFileLimit(number, f"a line of more than {MAX_LINE_BYTES} bytes")
        if ended:
            raise RegisterFileError(number, "file", "goes on after the count")
        try:
            value = parse_json(line, max_bytes=MAX_LINE_BYTES)
            if number == 1:
                _check_header(value, city_code)
                continue
            if isinstance(value, dict) and "residents" in value:
                _check_count(Fields(value), total)
                ended = True
                continue
            entry = parse_entry(value)
        except FormatError as error:
            raise RegisterFileError(number, "line", error.detail or error.code) from error
        except RecordError as error:
            raise RegisterFileError(number, error.field, error.detail.partition(": ")[2]) from error
        if entry.resident.resident_id <= last_id:
            raise RegisterFileError(number, "resident.resident_id", "ids must ascend and be different")
        last_id, total = entry.resident.resident_id, total + 1
        if total > MAX_RESIDENTS:
            raise RegisterFileLimit(number, f"more than {MAX_RESIDENTS} residents")
        yield entry
    if not ended:
        raise RegisterFileError(number + 1, "file", "ends without the count: it is not complete")


def parse_entry(value: Any) -> RegisterEntry:
    """One resident line. Raises: RecordError (names the field)."""
    fields = Fields(value)
    resident = _parse_resident(fields.child("resident"))
    taxes = fields.raw("tax_records")
    if not isinstance(taxes, list) or len(taxes) > MAX_TAX_RECORDS:
        raise RecordError("tax_records", f"must be a list of at most {MAX_TAX_RECORDS}")
    fields.done()
    records = tuple(
        _parse_tax(Fields(item, f"tax_records[{index}]"), resident.resident_id)
        for index, item in enumerate(taxes)
    )
    years = [record.fiscal_year for record in records]
    if years != sorted(set(years)):
        raise RecordError("tax_records", "fiscal years must ascend and be different")
    return RegisterEntry(resident, records)


def _write(stream: BinaryIO, value: dict[str, Any]) -> None:
    stream.write(orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE))


def _format_address(address: Address) -> dict[str, Any]:
    found: dict[str, Any] = {
        "text": address.text,
        "city_code": address.city_code,
        "from": address.from_date.isoformat(),
    }
    if address.to_date is not None:
        found["to"] = address.to_date.isoformat()
    if address.machiaza_id is not None:
        found["machiaza_id"] = address.machiaza_id
    return found


def _check_header(value: Any, city_code: str) -> None:
    header = Fields(value)
    if header.raw("format") != FORMAT:
        raise RecordError("format", f"must be {FORMAT}")
    if type(header.raw("version")) is not int or header.raw("version") != VERSION:
        raise RecordError("version", f"must be {VERSION}")
    if header.raw("city_code") != city_code:
        raise RecordError("city_code", f"must be {city_code}")
    if header.raw("mock") is not True:
        raise RecordError("mock", "must be true: this product reads 模擬/MOCK registers only")
    header.done()


def _check_count(fields: Fields, total: int) -> None:
    if fields.integer("residents", 0, MAX_RESIDENTS) != total:
        raise RecordError("residents", f"the file has {total} residents")
    fields.done()


def _parse_resident(fields: Fields) -> Resident:
    resident = Resident(
        resident_id=_word(fields, "resident_id"),
        household_id=_word(fields, "household_id"),
        relation=_required(fields, "relation", fields.choice("relation", RELATIONS)),
        name=_required(fields, "name", fields.text("name")),
        family_name=_required(fields, "family_name", fields.text("family_name")),
        given_name=_required(fields, "given_name", fields.text("given_name")),
        family_name_kana=fields.text("family_name_kana") or "",
        given_name_kana=fields.text("given_name_kana") or "",
        sex=_required(fields, "sex", fields.integer("sex", 1, 3)),
        birthdate=_required(fields, "birthdate", fields.day("birthdate")),
        addresses=_addresses(fields),
        former_family_name=fields.text("former_family_name"),
        alias=fields.text("alias"),
        deceased_on=fields.day("deceased_on"),
        protected=fields.flag("protected"),
        under_review=fields.flag("under_review"),
        dummy=fields.flag("dummy"),
    )
    fields.done()
    return resident


def _addresses(fields: Fields) -> tuple[Address, ...]:
    items = fields.raw("addresses")
    path = fields.path("addresses")
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_ADDRESSES:
        raise RecordError(path, f"must be a list of 1 to {MAX_ADDRESSES}")
    found: list[Address] = []
    for index, item in enumerate(items):
        part = Fields(item, f"{path}[{index}]")
        first: date = _required(part, "from", part.day("from"))
        end = part.day("to")
        if (end is None) != (index == len(items) - 1) or (end is not None and end <= first):
            raise RecordError(part.path("to"), "each entry but the last ends, after it began")
        if found and found[-1].to_date != first:
            raise RecordError(part.path("from"), "must be the day on which the entry before ends")
        code, machiaza = part.text("city_code"), part.text("machiaza_id")
        if code is None or len(code) != 6 or not (code.isascii() and code.isdigit()):
            raise RecordError(part.path("city_code"), "must be six digits")
        if machiaza is not None and (len(machiaza) != 7 or not (machiaza.isascii() and machiaza.isdigit())):
            raise RecordError(part.path("machiaza_id"), "must be seven digits")
        found.append(Address(_required(part, "text", part.text("text")), code, first, end, machiaza))
        part.done()
    return tuple(found)


def _parse_tax(fields: Fields, resident_id: str) -> TaxRecord:
    year = _required(fields, "fiscal_year", fields.integer("fiscal_year", 1950, 2200))
    declared = fields.flag("declared", True)
    data = fields.raw("data")
    fields.done()
    if not isinstance(data, dict):
        raise RecordError(fields.path("data"), "must be an object")
    for name in ("fiscal_year", "declared"):
        if name in data:
            raise RecordError(fields.path(f"data.{name}"), "stands beside data, not in it")
    # A pension needs an age, which the resident register knows: any age serves to check the shape.
    person = data.get("person", {})
    checked = data | {"person": person | {"age": 0}} if isinstance(person, dict) else data
    try:
        parse_record(checked | {"fiscal_year": year})
    except RecordError as error:
        raise RecordError(fields.path(f"data.{error.field}"), error.detail.partition(": ")[2]) from error
    return TaxRecord(resident_id, year, declared, data)


def _word(fields: Fields, name: str) -> str:
    text = _required(fields, name, fields.text(name))
    if len(text) > 32 or not text.isascii() or not text.replace("-", "").isalnum():
        raise RecordError(fields.path(name), "must be at most 32 letters, digits and dashes")
    return text


def _required(fields: Fields, name: str, value: Any) -> Any:
    if value is None:
        raise RecordError(fields.path(name), "is required")
    return value
