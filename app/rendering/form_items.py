"""The rows of the income certificate: which label stands for which place in the data, in the form's order.

Drawing and reading back share the labels of this table, not the way a value becomes text: the gate parses
what is printed with functions of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

FORM_NAME: Final = "所得（課税）証明書"
TITLES: Final = ("課税証明書", "非課税証明書")
MOCK_BAND: Final = "模擬 / MOCK　これは見本です。市・人・証明書は実在しません。"
NUMBER: Final = "証明書番号"
PURPOSE: Final = "使用目的"
VALID_UNTIL: Final = "有効期限"
EXEMPT_REMARK: Final = "市民税・県民税は非課税です。"
STATEMENT: Final = "上記のとおり相違ないことを証明します。"

QR_TEXT: Final = (
    "左のQRコードをカメラで読むと、この紙の主な内容が市の発行したものか",
    "確かめられます。読み取った内容は送信されません。",
)

# The first header cell of each table of the page.
SUBJECT: Final = "証明を受ける方"
INCOME: Final = "所得の内訳"
DEDUCTIONS: Final = "所得控除の内訳"
TAX: Final = "税額の内訳"
DEPENDANTS: Final = "扶養の内訳"
PERSON_STATUS: Final = "本人該当"
REMARKS: Final = "備考"

ADDRESS: Final = "賦課期日の住所"
KANA: Final = "フリガナ"
NAME: Final = "氏名"
ALIAS: Final = "通称"
BIRTHDATE: Final = "生年月日"

FIRST_FOREST_TAX_YEAR: Final = 2024
FIRST_SPECIFIC_RELATIVE_YEAR: Final = 2026


@dataclass(frozen=True, slots=True)
class Row:
    """One printed line: `label` in the first column, then the value at each of `paths`."""

    label: str
    paths: tuple[str, ...]
    since: int = 0
    """First fiscal year whose form has this line."""
    total: bool = False


INCOME_ROWS: Final = (
    Row("給与収入金額", ("income.salary_revenue",)),
    Row("給与所得", ("income.salary_income",)),
    Row("公的年金等収入金額", ("income.pension_revenue",)),
    Row("雑所得（公的年金等）", ("income.pension_income",)),
    Row("雑所得（その他）", ("income.miscellaneous",)),
    Row("営業等所得", ("income.business",)),
    Row("農業所得", ("income.agriculture",)),
    Row("不動産所得", ("income.real_estate",)),
    Row("利子所得", ("income.interest",)),
    Row("配当所得", ("income.dividends",)),
    Row("総合譲渡・一時所得", ("income.capital_gains_and_temporary",)),
    Row("分離課税所得", ("income.separate",)),
    Row("合計所得金額", ("income.total",), total=True),
    Row("総所得金額等", ("income.gross_total",), total=True),
    Row("課税標準額（総所得分）", ("tax.taxable_income",)),
    Row("課税標準額（分離課税分）", ("tax.taxable_income_separate",)),
)
DEDUCTION_ROWS: Final = (
    Row("雑損", ("deductions.casualty",)),
    Row("医療費", ("deductions.medical",)),
    Row("社会保険料", ("deductions.social_insurance",)),
    Row("小規模企業共済等掛金", ("deductions.small_enterprise_mutual_aid",)),
    Row("生命保険料", ("deductions.life_insurance",)),
    Row("地震保険料", ("deductions.earthquake_insurance",)),
    Row("障害者", ("deductions.disability",)),
    Row("寡婦", ("deductions.widow",)),
    Row("ひとり親", ("deductions.single_parent",)),
    Row("勤労学生", ("deductions.working_student",)),
    Row("配偶者", ("deductions.spouse",)),
    Row("配偶者特別", ("deductions.spouse_special",)),
    Row("特定親族特別", ("deductions.specific_relative_special",), since=FIRST_SPECIFIC_RELATIVE_YEAR),
    Row("扶養", ("deductions.dependants",)),
    Row("基礎", ("deductions.basic",)),
    Row("所得控除合計", ("deductions.total",), total=True),
)
TAX_ROWS: Final = (
    Row("調整控除額", ("tax.adjustment_credit_city", "tax.adjustment_credit_prefecture")),
    Row("その他の税額控除額", ("tax.other_credits_city", "tax.other_credits_prefecture")),
    Row("所得割額", ("tax.municipal_income_levy", "tax.prefectural_income_levy")),
    Row("均等割額", ("tax.municipal_per_capita", "tax.prefectural_per_capita")),
    Row("森林環境税額（国税）", ("tax.forest_tax",), since=FIRST_FOREST_TAX_YEAR),
    Row("年税額", ("tax.annual_total",), total=True),
)
# Two label/value pairs a line.
DEPENDANT_ROWS: Final = (
    (Row("控除対象配偶者", ("dependants.spouse",)), Row("16歳未満", ("dependants.under16",))),
    (Row("一般扶養", ("dependants.general",)), Row("障害者（普通）", ("dependants.disabled",))),
    (Row("特定扶養", ("dependants.specific",)), Row("障害者（特別）", ("dependants.special_disabled",))),
    (
        Row("老人扶養", ("dependants.elderly",)),
        Row("　うち同居特別", ("dependants.special_disabled_living_together",)),
    ),
    (
        Row("　うち同居老親等", ("dependants.elderly_living_together",)),
        Row("扶養人数合計", ("dependants.count", "dependants.none"), total=True),
    ),
)
PERSON_STATUS_COLUMNS: Final = (
    Row("障害者", ("person_status.disability",)),
    Row("寡婦", ("person_status.widow",)),
    Row("ひとり親", ("person_status.single_parent",)),
    Row("勤労学生", ("person_status.working_student",)),
    Row("未成年", ("person_status.minor",)),
)

SPOUSE_WORDS: Final = {"none": "無", "general": "有", "elderly": "有（老人）"}
DISABILITY_WORDS: Final = {"none": "－", "general": "普通", "special": "特別"}
FLAG_WORDS: Final = {False: "－", True: "該当"}
NO_DEPENDANTS: Final = "（なし）"


def find_value(data: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, None if a step is absent."""
    value: Any = data
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def leaves(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every leaf of the data by its dotted path."""
    result: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            result.update(leaves(value, f"{prefix}{key}."))
        else:
            result[prefix + key] = value
    return result
