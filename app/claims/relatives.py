"""Spouse and dependants: who counts, as what, and with which amounts, under one fiscal year's limits.

"Sharing spouse" is 同一生計配偶者 (counts for the exemption limits and the disability deduction, whatever
the taxpayer earns); whether there is a 配偶者控除 depends on the taxpayer's own income and is decided in
`deductions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from app.claims.employment_income import employment_income
from app.claims.pension_income import pension_income
from app.claims.record import Earnings, Relative, TaxpayerRecord
from app.claims.salary_adjustment import pension_adjustment
from app.claims.tables import Rules


@dataclass(frozen=True, slots=True)
class Dependant:
    """A dependant who counts. `age` may be unknown when only the kind was given."""

    kind: str
    disability: str
    age: int | None


@dataclass(frozen=True, slots=True)
class Household:
    """The taxpayer's family as the tax sees it; `spouse_kind` is None without a sharing spouse.

    `spouse_income` is None without any spouse (or one employed in the family business); disability kinds
    are none, general, special, special_living_together. `specific_special` are the incomes of relatives of
    19 to 22 over the limit. `over_limit` counts dependants in the record who do not count.
    """

    spouse_kind: str | None
    spouse_income: int | None
    spouse_elderly: bool
    spouse_disability: str
    spouse_abroad: bool
    dependants: tuple[Dependant, ...]
    specific_special: tuple[int, ...]
    over_limit: int

    @property
    def size(self) -> int:
        """人数 of the exemption limits: the taxpayer, the sharing spouse, every dependant."""
        return 1 + (self.spouse_kind is not None) + len(self.dependants)

    def count(self, kind: str) -> int:
        return sum(dependant.kind == kind for dependant in self.dependants)

    @property
    def disabilities(self) -> tuple[str, ...]:
        """Disability kinds of the sharing spouse and the dependants, without `none`."""
        kinds = [dependant.disability for dependant in self.dependants]
        if self.spouse_kind is not None:
            kinds.append(self.spouse_disability)
        return tuple(kind for kind in kinds if kind != "none")

    @property
    def has_under_23_or_special_disability(self) -> bool:
        """The condition of the household kind of 所得金額調整控除, as far as the relatives go."""
        young = any(
            dependant.kind in ("under16", "specific") or (dependant.age is not None and dependant.age < 23)
            for dependant in self.dependants
        )
        return young or any(kind.startswith("special") for kind in self.disabilities)


def household(record: TaxpayerRecord, rules: Rules) -> Household:
    """Sort the relatives of a record by the limits of `rules`."""
    year_end = date(rules.income_year, 12, 31)
    counted: list[Dependant] = []
    specific_special: list[int] = []
    for relative in record.dependants:
        kind = _dependant_kind(relative, year_end)
        income = relative_income(relative.earnings, relative.age_at(year_end), rules)
        if relative.business_employee or _excluded_abroad(relative, kind, year_end, rules):
            continue
        if income <= rules.relative_income_limit:
            counted.append(Dependant(kind, _disability_kind(relative), relative.age_at(year_end)))
        elif kind == "specific" and rules.specific_relative_special:
            specific_special.append(income)
    spouse = record.spouse
    if spouse is None or spouse.business_employee:
        shared, income_of_spouse, elderly = None, None, False
    else:
        age = spouse.age_at(year_end)
        income_of_spouse = relative_income(spouse.earnings, age, rules)
        elderly = spouse.kind == "elderly" if spouse.kind else (age or 0) >= 70
        shared = ("elderly" if elderly else "general") if _shares(income_of_spouse, rules) else None
    return Household(
        spouse_kind=shared,
        spouse_income=income_of_spouse,
        spouse_elderly=elderly,
        spouse_disability=_disability_kind(spouse) if spouse else "none",
        spouse_abroad=bool(spouse and spouse.lives_abroad),
        dependants=tuple(counted),
        specific_special=tuple(specific_special),
        over_limit=len(record.dependants) - len(counted),
    )


def relative_income(earnings: Earnings, age: int | None, rules: Rules) -> int:
    """合計所得金額 of a relative: as stated, or from salary and pension revenue."""
    if earnings.total_income is not None:
        return earnings.total_income
    salary = employment_income(earnings.salary_revenue, rules.employment)
    pension = pension_income(earnings.pension_revenue, age or 0, salary, rules.pension)
    return salary + pension - pension_adjustment(salary, pension)


def _shares(income: int, rules: Rules) -> bool:
    return income <= rules.relative_income_limit


def _dependant_kind(relative: Relative, year_end: date) -> str:
    if relative.kind is not None:
        return relative.kind
    age = relative.age_at(year_end) or 0
    if age < 16:
        return "under16"
    if 19 <= age <= 22:
        return "specific"
    if age >= 70:
        return "elderly_living_together" if relative.ascendant and relative.living_together else "elderly"
    return "general"


def _disability_kind(relative: Relative) -> str:
    if relative.disability == "special" and relative.living_together:
        return "special_living_together"
    return relative.disability


def _excluded_abroad(relative: Relative, kind: str, year_end: date, rules: Rules) -> bool:
    """From fiscal 2024 a relative of 30 to 69 abroad counts only as a student, disabled, or with 380,000
    yen sent.
    """
    if not (rules.abroad_rule and relative.lives_abroad) or relative.abroad_qualifies:
        return False
    age = relative.age_at(year_end)
    return kind == "general" and relative.disability == "none" and (age is None or age >= 30)
