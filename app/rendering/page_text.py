"""The release gate for the print: reads a drawn page back into data and compares it with the certificate.

Nothing here uses the functions that put the values on the page: amounts, counts, dates and words are parsed
from what is printed. `－` reads as absent. The corridor calls `check_page_text` before a page leaves the
city; one difference stops it. What the eye sees beyond the text (glyph shapes, overlaps) is checked in tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.rendering import form_items as items
from app.rendering.amounts import ABSENT, parse_amount, parse_count
from app.rendering.errors import PageError
from app.rendering.form_items import Row, leaves
from app.rendering.tagged_text import Element, TaggedPage, read_tagged_page
from app.rendering.wareki import parse_wareki, parse_year
from verifier.formats.encoding import canonical_json

NOT_PRINTED: Final = frozenset(("document_kind", "subject.family_name", "subject.given_name"))
"""A kind chose the form; the parts of the name are inside `subject.name`."""
_YEARS: Final = re.compile(r"(.+年)度（(.+年)分）")
_AUTHORITY: Final = re.compile(r"発行　(.+)　団体コード ([0-9]+)　法人番号 ([0-9]+)")
_ADDRESS: Final = re.compile(rf"{items.ADDRESS}（(.+)）")


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where page and data differ. Holds personal data: never write it to a log, only `path`."""

    path: str
    expected: Any
    """The value in the data, None if absent."""
    printed: Any
    """The value read from the page, None if absent."""


def check_page_text(pdf: bytes, data: Mapping[str, Any]) -> list[Difference]:
    """Every difference between the printed page (drawn or sealed) and `data`; an empty list lets it pass.

    Also that `certificate.json` is the only embedded file and is the canonical encoding of `data`.
    Raises: PageError when the file cannot be read as a page of ours.
    """
    page = read_tagged_page(pdf)
    printed = read_values(page)
    expected = {path: value for path, value in leaves(data).items() if path not in NOT_PRINTED}
    _combine(expected)
    differences = [
        Difference(path, expected.get(path), printed.get(path))
        for path in sorted(expected.keys() | printed.keys())
        if expected.get(path) != printed.get(path) or type(expected.get(path)) is not type(printed.get(path))
    ]
    attachment = ("certificate.json", "/Data", canonical_json(dict(data)))
    if page.attachments != (attachment,):
        differences.append(Difference("certificate.json", "the only attachment", "something else"))
    return differences


def read_values(page: TaggedPage) -> dict[str, Any]:
    """What the page says, as leaves of certificate.json by dotted path.

    Two values that are printed as one text come under a path of their own: `subject.kana`,
    `issuing_authority.issuer`. Raises: PageError when the page is not this form.
    """
    paragraphs = [element.text for element in page.root.find_all("P")]
    headings = [element.text for element in page.root.find_all("H1")]
    tables = _tables(page.root)
    if len(headings) != 1 or items.STATEMENT not in paragraphs or items.FORM_NAME not in paragraphs:
        raise PageError("not-this-form", "the title or the statement of the form is missing")
    try:
        values = _head(paragraphs)
        values["title"] = headings[0]
        values |= _subject(tables[items.SUBJECT], values["fiscal_year"])
        for name, rows in (
            (items.INCOME, items.INCOME_ROWS),
            (items.DEDUCTIONS, items.DEDUCTION_ROWS),
            (items.TAX, items.TAX_ROWS),
        ):
            values |= _amounts(tables[name], rows)
        values |= _dependants(tables[items.DEPENDANTS])
        values |= _person_status(tables[items.PERSON_STATUS])
        values |= _remarks(tables[items.REMARKS])
    except (KeyError, IndexError, ValueError, StopIteration) as error:
        raise PageError("not-this-form", "a line of the form is missing or unreadable") from error
    return {path: value for path, value in values.items() if value is not None}


def _combine(expected: dict[str, Any]) -> None:
    kana = [expected.pop(f"subject.{part}_name_kana", None) for part in ("family", "given")]
    if any(kana):
        expected["subject.kana"] = "　".join(part for part in kana if part)
    issuer = [expected.pop(f"issuing_authority.issuer_{part}", None) for part in ("title", "name")]
    expected["issuing_authority.issuer"] = "　".join(part or "" for part in issuer)
    if expected.get("remarks") == "":
        expected["remarks"] = None


def _tables(root: Element) -> dict[str, list[list[str]]]:
    tables: dict[str, list[list[str]]] = {}
    for table in root.find_all("Table"):
        rows = [
            [cell.text for cell in row.children if cell.role in ("TH", "TD")] for row in table.find_all("TR")
        ]
        if not rows or not rows[0] or rows[0][0] in tables:
            raise PageError("not-this-form", "a table without a name of its own")
        tables[rows[0][0]] = rows
    return tables


def _head(paragraphs: list[str]) -> dict[str, Any]:
    years = next(match for text in paragraphs if (match := _YEARS.fullmatch(text)))
    authority = next(match for text in paragraphs if (match := _AUTHORITY.fullmatch(text)))
    statement = paragraphs.index(items.STATEMENT)
    issued_on = next(day for text in paragraphs[statement:] if (day := parse_wareki(text)))
    valid_until = parse_wareki(_after(paragraphs, items.VALID_UNTIL))
    return {
        "fiscal_year": parse_year(years[1]),
        "income_year": parse_year(years[2]),
        "certificate_number": _after(paragraphs, items.NUMBER),
        "issued_on": issued_on.isoformat(),
        "valid_until": valid_until.isoformat() if valid_until else None,
        "issuing_authority.name": authority[1],
        "issuing_authority.code": authority[2],
        "issuing_authority.corporate_number": authority[3],
        "issuing_authority.mock": items.MOCK_BAND in paragraphs,
        "issuing_authority.issuer": paragraphs[
            paragraphs.index(_with_prefix(paragraphs, items.VALID_UNTIL)) + 1
        ],
    }


def _subject(rows: list[list[str]], fiscal_year: int) -> dict[str, Any]:
    cells = {row[0]: row[1] for row in rows[1:]}
    label = next(match for text in cells if (match := _ADDRESS.fullmatch(text)))
    day = parse_wareki(label[1])
    birthdate = parse_wareki(cells[items.BIRTHDATE])
    if day is None or (day.year, day.month, day.day) != (fiscal_year, 1, 1) or birthdate is None:
        raise ValueError("dates")
    return {
        "subject.address_jan1": cells[label[0]],
        "subject.kana": cells.get(items.KANA),
        "subject.name": cells[items.NAME],
        "subject.alias": cells.get(items.ALIAS),
        "subject.birthdate": birthdate.isoformat(),
    }


def _amounts(printed: list[list[str]], rows: Iterable[Row]) -> dict[str, Any]:
    cells = {row[0]: row[1:] for row in printed[1:]}
    known = {row.label: row for row in rows}
    if len(cells) != len(printed) - 1 or not cells.keys() <= known.keys():
        raise ValueError("labels")
    return {
        path: parse_amount(text)
        for label, texts in cells.items()
        for path, text in zip(known[label].paths, texts, strict=True)
    }


def _dependants(printed: list[list[str]]) -> dict[str, Any]:
    cells = {row[i]: row[i + 1] for row in printed[1:] for i in (0, 2)}
    values: dict[str, Any] = {}
    for row in (row for pair in items.DEPENDANT_ROWS for row in pair):
        text = cells[row.label]
        if row.paths[0] == "dependants.spouse":
            values[row.paths[0]] = _unword(items.SPOUSE_WORDS, text)
            continue
        if len(row.paths) > 1:
            values[row.paths[1]] = text.endswith(items.NO_DEPENDANTS)
            text = text.removesuffix(items.NO_DEPENDANTS)
        values[row.paths[0]] = parse_count(text)
    return values


def _person_status(printed: list[list[str]]) -> dict[str, Any]:
    _, header, line = printed
    values: dict[str, Any] = {}
    for row, label, text in zip(items.PERSON_STATUS_COLUMNS, header, line, strict=True):
        if label != row.label:
            raise ValueError("labels")
        words = items.DISABILITY_WORDS if row.paths[0] == "person_status.disability" else items.FLAG_WORDS
        values[row.paths[0]] = _unword(words, text)
    return values


def _remarks(printed: list[list[str]]) -> dict[str, Any]:
    lines = [row[0] for row in printed[1:]]
    purpose = lines[0].removeprefix(f"{items.PURPOSE}　")
    if purpose == lines[0] or lines[1:] not in ([], [items.EXEMPT_REMARK]):
        raise ValueError("remarks")
    return {"remarks": None if purpose == ABSENT else purpose, "tax.exempt": len(lines) == 2}


def _unword(words: Mapping[Any, str], text: str) -> Any:
    return next(value for value, word in words.items() if word == text)


def _with_prefix(paragraphs: list[str], label: str) -> str:
    return next(text for text in paragraphs if text.startswith(f"{label}　"))


def _after(paragraphs: list[str], label: str) -> str:
    return _with_prefix(paragraphs, label).removeprefix(f"{label}　")
