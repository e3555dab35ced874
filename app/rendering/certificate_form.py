"""From the data of a certificate to what stands on the page: pure, without drawing.

Every leaf of the data is either printed or listed in NOT_PRINTED with its reason; anything else is refused,
so that no value can be in the certificate and not on its page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final

from app.rendering import form_items as items
from app.rendering.amounts import ABSENT, format_amount, format_count
from app.rendering.errors import FormDataError
from app.rendering.fit import Field, fit_text
from app.rendering.font_set import FontSet
from app.rendering.form_items import Row, find_value
from app.rendering.layout import BOXES, COLUMNS, HEADER_MM, POINTS_PER_MM, boxes_for_template
from app.rendering.wareki import format_fiscal_year, format_income_year, format_wareki

NOT_PRINTED: Final = {
    "document_kind": "it chose the form",
    "subject.family_name": "a part of subject.name, which is printed",
    "subject.given_name": "a part of subject.name, which is printed",
}
_HEAD_PATHS: Final = frozenset(
    (
        "title",
        "fiscal_year",
        "income_year",
        "certificate_number",
        "issued_on",
        "valid_until",
        "remarks",
        "issuing_authority.code",
        "issuing_authority.name",
        "issuing_authority.corporate_number",
        "issuing_authority.issuer_title",
        "issuing_authority.issuer_name",
        "issuing_authority.mock",
        "subject.name",
        "subject.family_name_kana",
        "subject.given_name_kana",
        "subject.alias",
        "subject.birthdate",
        "subject.address_jan1",
        "tax.exempt",
    )
)
_CELL_INSET_MM: Final = 1.6
_CELL_PADDING_MM: Final = 0.8
_EXEMPT_MM: Final = 4.4


def printed_paths(fiscal_year: int) -> frozenset[str]:
    """Every place in the data that the form of this year prints."""
    rows: Iterable[Row] = (
        *items.INCOME_ROWS,
        *items.DEDUCTION_ROWS,
        *items.TAX_ROWS,
        *(row for pair in items.DEPENDANT_ROWS for row in pair),
        *items.PERSON_STATUS_COLUMNS,
    )
    return _HEAD_PATHS | {path for row in rows if row.since <= fiscal_year for path in row.paths}


def build_certificate_form(data: Mapping[str, Any], fonts: FontSet) -> dict[str, Any]:
    """What the template prints (JSON values), without code and seal.

    Raises: FormDataError, UnprintableError, NoRoomError.
    """
    year = _integer(data, "fiscal_year")
    unknown = set(items.leaves(data)) - printed_paths(year) - NOT_PRINTED.keys()
    if unknown:
        raise FormDataError(min(unknown), "the form does not print this")
    if find_value(data, "issuing_authority.mock") is not True:
        raise FormDataError("issuing_authority.mock", "this form is for mock certificates only (模擬/MOCK)")
    title = _text(data, "title")
    if title not in items.TITLES or (title == items.TITLES[1]) is not find_value(data, "tax.exempt"):
        raise FormDataError("title", "not the title that belongs to tax.exempt")
    issued_on = _date(data, "issued_on")
    return {
        "boxes": boxes_for_template(),
        "document_title": f"{title}（模擬/MOCK）",
        "author": _plain(data, "issuing_authority.name", fonts),
        "date": [issued_on.year, issued_on.month, issued_on.day],
        "mock_band": items.MOCK_BAND,
        "form_name": items.FORM_NAME,
        "title": title,
        "number_label": items.NUMBER,
        "number": _plain(data, "certificate_number", fonts),
        "year": f"{format_fiscal_year(year)}（{format_income_year(_integer(data, 'income_year'))}）",
        "headers": {
            "subject": items.SUBJECT,
            "income": items.INCOME,
            "deductions": items.DEDUCTIONS,
            "tax": items.TAX,
            "dependants": items.DEPENDANTS,
            "person_status": items.PERSON_STATUS,
            "remarks": items.REMARKS,
        },
        "subject": _subject(data, fonts, year),
        "income": _amounts(data, items.INCOME_ROWS, year),
        "deductions": _amounts(data, items.DEDUCTION_ROWS, year),
        "tax": _amounts(data, items.TAX_ROWS, year),
        "dependants": [[_dependants(data, row) for row in pair] for pair in items.DEPENDANT_ROWS],
        "person_status": [
            {"label": row.label, "value": _status(data, row.paths[0])} for row in items.PERSON_STATUS_COLUMNS
        ],
        "remarks": _remarks(data, fonts),
        "statement": items.STATEMENT,
        "issued_on": format_wareki(issued_on),
        "valid_until": f"{items.VALID_UNTIL}　{format_wareki(_date(data, 'valid_until'))}",
        "issuer": _issuer(data, fonts),
        "qr_text": items.QR_TEXT,
        "notes": _notes(data, fonts),
    }


def _subject(data: Mapping[str, Any], fonts: FontSet, year: int) -> list[dict[str, Any]]:
    kana = [find_value(data, f"subject.{part}_name_kana") for part in ("family", "given")]
    alias = find_value(data, "subject.alias")
    rows = [(_address_label(year), _text(data, "subject.address_jan1"), 10.0, 10.5)]
    if any(kana):
        rows.append(((items.KANA,), "　".join(part for part in kana if part), 8.0, 5.0))
    rows.append(((items.NAME,), _text(data, "subject.name"), 14.0, 10.0))
    if alias is not None:
        rows.append(((items.ALIAS,), alias, 10.5, 7.0))
    rows.append(((items.BIRTHDATE,), format_wareki(_date(data, "subject.birthdate")), 10.0, 6.5))
    total = sum(weight for *_, weight in rows)
    free = BOXES["subject"].height - HEADER_MM
    width = COLUMNS["subject_columns"][1] - 2 * _CELL_INSET_MM
    return [
        {
            "label": label,
            "value": _fit(fonts, text, label[0], width, free * weight / total - _CELL_PADDING_MM, size),
            "weight": weight,
        }
        for label, text, size, weight in rows
    ]


def _address_label(fiscal_year: int) -> tuple[str, str]:
    # The address printed is that of the 賦課期日, 1 January of the year, not today's.
    return items.ADDRESS, f"（{format_wareki(date(fiscal_year, 1, 1))}）"


def _amounts(data: Mapping[str, Any], rows: Iterable[Row], year: int) -> list[dict[str, Any]]:
    return [
        {
            "label": row.label,
            "values": [format_amount(find_value(data, path)) for path in row.paths],
            "total": row.total,
        }
        for row in rows
        if row.since <= year
    ]


def _dependants(data: Mapping[str, Any], row: Row) -> dict[str, str]:
    path = row.paths[0]
    value = find_value(data, path)
    if path == "dependants.spouse":
        return {"label": row.label, "value": _word(items.SPOUSE_WORDS, value, path)}
    text = format_count(value)
    if len(row.paths) > 1 and find_value(data, row.paths[1]):
        text += items.NO_DEPENDANTS
    return {"label": row.label, "value": text}


def _status(data: Mapping[str, Any], path: str) -> str:
    words = items.DISABILITY_WORDS if path == "person_status.disability" else items.FLAG_WORDS
    return _word(words, find_value(data, path), path)


def _word(words: Mapping[Any, str], value: Any, path: str) -> str:
    if value is None:
        return ABSENT
    if value not in words:
        raise FormDataError(path, "an unknown word")
    return words[value]


def _remarks(data: Mapping[str, Any], fonts: FontSet) -> list[dict[str, Any]]:
    lines = [
        (f"{items.PURPOSE}　{find_value(data, 'remarks') or ABSENT}", BOXES["remarks"].height - HEADER_MM)
    ]
    if find_value(data, "tax.exempt"):
        lines = [(lines[0][0], lines[0][1] - _EXEMPT_MM), (items.EXEMPT_REMARK, _EXEMPT_MM)]
    width = BOXES["remarks"].width - 2 * _CELL_INSET_MM
    return [
        {"value": _fit(fonts, text, items.REMARKS, width, height - _CELL_PADDING_MM, 9), "weight": height}
        for text, height in lines
    ]


def _issuer(data: Mapping[str, Any], fonts: FontSet) -> dict[str, Any]:
    title, name = (_text(data, f"issuing_authority.issuer_{part}") for part in ("title", "name"))
    box = BOXES["issuer"]
    return _fit(fonts, f"{title}　{name}", "issuer", box.width, box.height, 14)


def _notes(data: Mapping[str, Any], fonts: FontSet) -> list[str]:
    name, code, corporate = (
        _plain(data, f"issuing_authority.{key}", fonts) for key in ("name", "code", "corporate_number")
    )
    return [
        f"発行　{name}　団体コード {code}　法人番号 {corporate}",
        "印影は模擬の画像です。本物かどうかは、電子ファイルの電子印（eシール）か、左上のQRコードで確かめてください。",
        "－ は該当がないことを示します。",
    ]


def _fit(fonts: FontSet, text: str, name: str, width: float, height: float, size: float) -> dict[str, Any]:
    return fit_text(fonts, text, Field(name, width * POINTS_PER_MM, height * POINTS_PER_MM, size)).as_json()


def _text(data: Mapping[str, Any], path: str) -> str:
    value = find_value(data, path)
    if not isinstance(value, str) or not value:
        raise FormDataError(path, "a text is missing")
    return value


def _plain(data: Mapping[str, Any], path: str, fonts: FontSet) -> str:
    text = _text(data, path)
    fonts.check_plain(text)
    return text


def _integer(data: Mapping[str, Any], path: str) -> int:
    value = find_value(data, path)
    if type(value) is not int or not 1900 <= value <= 9998:
        raise FormDataError(path, "a year is missing")
    return value


def _date(data: Mapping[str, Any], path: str) -> date:
    text = _text(data, path)
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise FormDataError(path, "not an ISO date") from error
    if day.isoformat() != text:
        raise FormDataError(path, "not an ISO date with hyphens")
    return day
