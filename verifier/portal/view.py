"""What the check page shows of a report: rows of plain text, Japanese and English. Nothing is decided here.

Claims appear only because a report holds them, and it holds them only when its verdict is VALID.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from verifier.checks.case import JAPAN
from verifier.formats.encoding import JSON
from verifier.formats.ladder import is_rung
from verifier.report import NOT_ASKED_TEXTS, TITLES, Outcome, Report

Row = tuple[str, str, str]
"""Japanese label, English label, value."""


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One check: sign, class, both titles, word for the outcome, code and detail."""

    sign: str
    outcome: str
    ja: str
    en: str
    word_ja: str
    word_en: str
    code: str
    detail: str


_OUTCOMES: Final[Mapping[Outcome, tuple[str, str, str]]] = {
    Outcome.PASS: ("✓", "確認しました", "confirmed"),
    Outcome.FAIL: ("✕", "一致しません", "failed"),
    Outcome.UNDETERMINED: ("?", "確認できていません", "not determined"),
    Outcome.NOT_APPLICABLE: ("－", "対象外", "does not apply"),
}
_LABELS: Final[Mapping[str, tuple[str, str]]] = {
    "title": ("証明書", "Certificate"),
    "document_kind": ("種類", "Kind"),
    "fiscal_year": ("年度", "Fiscal year"),
    "income_year": ("所得の年", "Income year"),
    "certificate_number": ("証明書番号", "Number"),
    "issued_on": ("発行日", "Issued on"),
    "valid_until": ("有効期限", "Valid until"),
    "remarks": ("備考", "Remarks"),
    "subject.name": ("氏名", "Name"),
    "subject.alias": ("通称", "Alias"),
    "subject.birthdate": ("生年月日", "Birth date"),
    "subject.address_jan1": ("1月1日の住所", "Address on 1 January"),
    "issuing_authority.name": ("発行元", "Issued by"),
    "issuing_authority.issuer_title": ("職名", "Title"),
    "issuing_authority.issuer_name": ("職氏名", "Issuer"),
    "income.total": ("合計所得金額", "Total income"),
    "income.gross_total": ("総所得金額等", "Gross total income"),
    "income.salary_revenue": ("給与収入", "Salary revenue"),
    "income.salary_income": ("給与所得", "Salary income"),
    "income.pension_revenue": ("公的年金等収入", "Pension revenue"),
    "income.pension_income": ("公的年金等所得", "Pension income"),
    "deductions.total": ("所得控除合計", "Total deductions"),
    "deductions.basic": ("基礎控除", "Basic deduction"),
    "deductions.social_insurance": ("社会保険料控除", "Social insurance"),
    "dependants.count": ("扶養人数", "Dependants"),
    "tax.taxable_income": ("課税標準額", "Taxable income"),
    "tax.municipal_income_levy": ("市民税 所得割", "City levy on income"),
    "tax.prefectural_income_levy": ("県民税 所得割", "Prefecture levy on income"),
    "tax.municipal_per_capita": ("市民税 均等割", "City per-capita levy"),
    "tax.prefectural_per_capita": ("県民税 均等割", "Prefecture per-capita levy"),
    "tax.forest_tax": ("森林環境税", "Forest tax"),
    "tax.annual_total": ("年税額", "Annual tax"),
    "tax.exempt": ("非課税", "Exempt"),
}
_THRESHOLDS: Final[Mapping[str, tuple[str, str]]] = {
    "income_at_least": ("合計所得金額 {}円以上", "Total income at least {} yen"),
    "income_at_most": ("合計所得金額 {}円以下", "Total income at most {} yen"),
    "levy_at_most": ("市民税 所得割 {}円以下", "City levy on income at most {} yen"),
}
_MONEY: Final = ("income.", "deductions.", "tax.")
_HEADLINE: Final = ("subject.name", "fiscal_year", "income.total", "valid_until")


def headline_rows(report: Report) -> list[Row]:
    """Name, year, main figure and last day, as far as they were disclosed."""
    values = dict(_flatten(report.certificate or {}))
    return [_row(path, values[path]) for path in _HEADLINE if path in values]


def certificate_rows(report: Report) -> list[Row]:
    """Every disclosed claim."""
    return [_row(path, value) for path, value in _flatten(report.certificate or {})]


def check_rows(report: Report) -> list[CheckRow]:
    """The findings in the order of the walk."""
    rows = []
    for finding in report.findings:
        sign, word_ja, word_en = _OUTCOMES[finding.outcome]
        ja, en = TITLES[finding.check]
        code = "" if finding.code == "ok" else finding.code
        rows.append(CheckRow(sign, finding.outcome.value, ja, en, word_ja, word_en, code, finding.detail))
    return rows


def not_asked_rows(report: Report) -> list[tuple[str, str]]:
    """What this policy did not ask, Japanese and English."""
    return [NOT_ASKED_TEXTS[word] for word in report.not_asked]


def japanese_moment(moment: dt.datetime) -> str:
    """2026年11月20日 9時05分 (Japan)."""
    local = moment.astimezone(JAPAN)
    return f"{local.year}年{local.month}月{local.day}日 {local.hour}時{local.minute:02d}分"


def _flatten(value: Mapping[str, JSON], prefix: str = "") -> list[tuple[str, JSON]]:
    rows: list[tuple[str, JSON]] = []
    for name, item in value.items():
        path = prefix + name
        rows.extend(_flatten(item, path + ".") if isinstance(item, Mapping) else [(path, item)])
    return rows


def _row(path: str, value: JSON) -> Row:
    ja, en = _LABELS.get(path, (path, path))
    if is_rung(tuple(path.split("."))):
        ladder, _, threshold = path.partition(".")
        ja, en = (words.format(f"{int(threshold):,}") for words in _THRESHOLDS[ladder])
    if isinstance(value, bool):
        return ja, en, "はい / yes" if value else "いいえ / no"
    if isinstance(value, int) and path.startswith(_MONEY):
        return ja, en, f"{value:,}円"
    if path == "fiscal_year" and isinstance(value, int) and value >= 2019:
        return ja, en, f"令和{value - 2018}年度 ({value})"
    return ja, en, str(value)
