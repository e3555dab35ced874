"""住民票の写し, DEMO_ONLY: shows how a second kind of certificate would look; it certifies nothing.

A 住民票の写し must not be issued electronically (facts of the pilot), so this page carries the watermark
「見本・ダミーデータ」, has no code, no seal and no attachment, and is refused for anybody but dummy subjects.

Data: {"dummy": true, "issued_on": ISO date, "issuer": text, "records": [{"label": text, "value": text}, …]}
with 1 to 20 records in the order of the sheet (氏名, フリガナ, 生年月日, 性別, 住所, …).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from typing import Any, Final

from app.rendering.errors import FormDataError
from app.rendering.fit import Field, fit_text
from app.rendering.font_set import FontSet
from app.rendering.form_items import MOCK_BAND
from app.rendering.layout import POINTS_PER_MM, Box
from app.rendering.wareki import format_wareki

WATERMARK: Final = "見本・ダミーデータ"
LEGAL_STATUS: Final = "DEMO_ONLY"
MAX_RECORDS: Final = 20
_LABEL_MM: Final = 44.0
_ROW_MM: Final = 10.0
_HEADER_MM: Final = 6.0
_INSET_MM: Final = 1.6
_TABLE: Final = Box(16, 50, 178, 0)


def build_demo_resident_record_form(data: Mapping[str, Any], fonts: FontSet) -> dict[str, Any]:
    """What the template prints. Raises: FormDataError, UnprintableError, NoRoomError."""
    if data.get("dummy") is not True:
        raise FormDataError("dummy", "a resident record is drawn for dummy subjects only")
    records = data.get("records")
    if not isinstance(records, list) or not 1 <= len(records) <= MAX_RECORDS:
        raise FormDataError("records", f"1 to {MAX_RECORDS} lines are needed")
    try:
        day = date.fromisoformat(data["issued_on"])
        texts = [(record["label"], record["value"]) for record in records]
    except (KeyError, TypeError, ValueError) as error:
        raise FormDataError("records", "a line, or the date of issue, is missing") from error
    if not all(isinstance(text, str) and text for pair in texts for text in pair):
        raise FormDataError("records", "a label and a value are texts")
    table = Box(_TABLE.x, _TABLE.y, _TABLE.width, _HEADER_MM + _ROW_MM * len(texts))
    return {
        "boxes": {"table": asdict(table), "columns": [_LABEL_MM, _TABLE.width - _LABEL_MM]},
        "document_title": "住民票の写し（見本・ダミーデータ・模擬/MOCK）",
        "date": [day.year, day.month, day.day],
        "mock_band": MOCK_BAND,
        "watermark": WATERMARK,
        "title": "住民票の写し（見本）",
        "header": "住民票に記載されている事項",
        "records": [
            {
                "label": _fit(fonts, label, "label", _LABEL_MM, 9),
                "value": _fit(fonts, value, label, _TABLE.width - _LABEL_MM, 11),
            }
            for label, value in texts
        ],
        "statement": "この紙は見本です。住民票の写しとしての効力はありません。",
        "issued_on": format_wareki(day),
        "issuer": _fit(fonts, _issuer(data), "issuer", _TABLE.width / 2, 13),
    }


def _issuer(data: Mapping[str, Any]) -> str:
    issuer = data.get("issuer")
    if not isinstance(issuer, str) or not issuer:
        raise FormDataError("issuer", "a text is missing")
    return issuer


def _fit(fonts: FontSet, text: str, name: str, width: float, size: float) -> dict[str, Any]:
    field = Field(name, (width - 2 * _INSET_MM) * POINTS_PER_MM, (_ROW_MM - 1) * POINTS_PER_MM, size)
    return fit_text(fonts, text, field).as_json()
