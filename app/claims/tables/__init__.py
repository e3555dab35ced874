"""The tax tables: one JSON file for each fiscal year, each complete so that it can be laid beside the
ordinance.

A figure that is law or ordinance stands here and nowhere else. `load_rules(2026)` reads tables/2026.json
once. Amounts are yen, rates per mille (60 = 6 %), `up_to` is inclusive, `below` exclusive, null means "no
upper end".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from app.claims.errors import YearNotOffered


@dataclass(frozen=True, slots=True)
class EmploymentBand:
    """Revenue below `below`: a fixed `income`, or a quarter in steps times `quarter_tenths`/10, or
    `percent`; `plus`.
    """

    below: int | None
    income: int | None = None
    quarter_tenths: int | None = None
    percent: int = 100
    plus: int = 0


@dataclass(frozen=True, slots=True)
class PensionBand:
    """Revenue up to `up_to`: the deduction is `percent` % of it and `plus` yen."""

    up_to: int | None
    percent: int
    plus: int


@dataclass(frozen=True, slots=True)
class OtherIncomeTier:
    """Other income up to `up_to`: the pension deduction is `less` yen smaller."""

    up_to: int | None
    less: int


@dataclass(frozen=True, slots=True)
class PensionTable:
    from_65: tuple[PensionBand, ...]
    under_65: tuple[PensionBand, ...]
    other_income: tuple[OtherIncomeTier, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """An `amount` that holds for an income up to `up_to`."""

    up_to: int
    amount: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """A personal deduction and the 人的控除差 that the adjustment credit counts for it."""

    amount: int
    difference: int


@dataclass(frozen=True, slots=True)
class TieredAllowance:
    """The same by the taxpayer's own income (three tiers, `Rules.taxpayer_tiers`)."""

    amounts: tuple[int, ...]
    differences: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TieredStep:
    """For a spouse's income up to (or below) `limit`: amounts by the taxpayer's tier."""

    limit: int
    amounts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WorkingStudentRule:
    amount: int
    difference: int
    income_limit: int
    other_income_limit: int


@dataclass(frozen=True, slots=True)
class SeparateRates:
    """One kind of separately taxed income: tiers of (up to, city per mille, prefecture per mille)."""

    kind: str
    tiers: tuple[tuple[int | None, int, int], ...]


@dataclass(frozen=True, slots=True)
class PerCapitaRates:
    municipal: int
    prefectural: int
    forest: int | None


@dataclass(frozen=True, slots=True)
class ExemptionRules:
    base: int
    per_capita_each: int
    per_capita_family: int
    income_levy_each: int
    income_levy_family: int
    special_status_limit: int


@dataclass(frozen=True, slots=True)
class FlatCredit:
    """令和7年度の定額減税 (同一生計配偶者 of a high earner): for a total income over .. up to."""

    amount: int
    income_over: int
    income_up_to: int


@dataclass(frozen=True, slots=True)
class Rules:
    """All figures of one fiscal year; the field names are the keys of the JSON file."""

    fiscal_year: int
    employment: tuple[EmploymentBand, ...]
    pension: PensionTable
    basic: tuple[Step, ...]
    basic_difference: int
    relative_income_limit: int
    taxpayer_tiers: tuple[int, ...]
    spouse: dict[str, TieredAllowance]
    spouse_special: tuple[TieredStep, ...]
    spouse_special_differences: tuple[TieredStep, ...]
    dependants: dict[str, Allowance]
    specific_relative_special: tuple[Step, ...]
    disability: dict[str, Allowance]
    widow: Allowance
    single_parent: dict[str, Allowance]
    widow_income_limit: int
    working_student: WorkingStudentRule
    abroad_rule: bool
    adult_age: int
    caps: dict[str, int]
    income_levy_per_mille: tuple[int, int]
    separate: tuple[SeparateRates, ...]
    per_capita: PerCapitaRates
    exemption: ExemptionRules
    threshold_relief: bool
    flat_credit: FlatCredit | None

    @property
    def income_year(self) -> int:
        """The calendar year whose income is taxed: 令和8年度 (2026) taxes the income of 2025."""
        return self.fiscal_year - 1


@cache
def offered_years() -> tuple[int, ...]:
    """The fiscal years that have a table, ascending."""
    names = (item.name for item in resources.files(__name__).iterdir())
    return tuple(sorted(int(name[:4]) for name in names if name.endswith(".json")))


@cache
def load_rules(fiscal_year: int) -> Rules:
    """The table of a fiscal year. Raises: YearNotOffered."""
    if fiscal_year not in offered_years():
        raise YearNotOffered(fiscal_year, offered_years())
    text = resources.files(__name__).joinpath(f"{fiscal_year}.json").read_text(encoding="utf-8")
    return _rules(json.loads(text))


def _rules(data: dict[str, Any]) -> Rules:
    pension, flat = data["pension"], data["flat_credit"]
    city, prefecture = data["income_levy_per_mille"]
    built: dict[str, Any] = {
        "employment": tuple(EmploymentBand(**band) for band in data["employment"]),
        "pension": PensionTable(
            from_65=tuple(PensionBand(**band) for band in pension["from_65"]),
            under_65=tuple(PensionBand(**band) for band in pension["under_65"]),
            other_income=tuple(OtherIncomeTier(**tier) for tier in pension["other_income"]),
        ),
        "basic": tuple(Step(**step) for step in data["basic"]),
        "taxpayer_tiers": tuple(data["taxpayer_tiers"]),
        "spouse": {
            kind: TieredAllowance(tuple(item["amounts"]), tuple(item["differences"]))
            for kind, item in data["spouse"].items()
        },
        "spouse_special": tuple(
            TieredStep(item["up_to"], tuple(item["amounts"])) for item in data["spouse_special"]
        ),
        "spouse_special_differences": tuple(
            TieredStep(item["below"], tuple(item["amounts"])) for item in data["spouse_special_differences"]
        ),
        "dependants": {kind: Allowance(**item) for kind, item in data["dependants"].items()},
        "specific_relative_special": tuple(Step(**step) for step in data["specific_relative_special"]),
        "disability": {kind: Allowance(**item) for kind, item in data["disability"].items()},
        "widow": Allowance(**data["widow"]),
        "single_parent": {kind: Allowance(**item) for kind, item in data["single_parent"].items()},
        "working_student": WorkingStudentRule(**data["working_student"]),
        "income_levy_per_mille": (city, prefecture),
        "separate": tuple(
            SeparateRates(item["kind"], tuple((upper, city, pref) for upper, city, pref in item["tiers"]))
            for item in data["separate"]
        ),
        "per_capita": PerCapitaRates(**data["per_capita"]),
        "exemption": ExemptionRules(**data["exemption"]),
        "flat_credit": None if flat is None else FlatCredit(**flat),
    }
    return Rules(**(data | built))
