"""compute_figures: one walk from a taxpayer record to every figure of its certificate.

Raises YearNotOffered and nothing else. It does not ask whether a certificate may be issued (`decision`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from app.claims.adjustment_credit import AdjustmentCredit, adjustment_credit
from app.claims.deductions import Deductions, deductions
from app.claims.exemption import Exemption, exemption
from app.claims.income import Income, income
from app.claims.income_levy import (
    Levy,
    Taxable,
    flat_credit,
    gross_levy,
    split_credit,
    stated_credits,
    taxable,
)
from app.claims.per_capita import PerCapita, per_capita
from app.claims.record import TaxpayerRecord
from app.claims.relatives import Household, household
from app.claims.tables import Rules, load_rules

TAXED_TITLE: Final = "課税証明書"
EXEMPT_TITLE: Final = "非課税証明書"


@dataclass(frozen=True, slots=True)
class Figures:
    """The groups of certificate.json as plain dicts (same keys), the title, and intermediate figures;
    integer yen.

    `levy_kind`: `taxed`, `per-capita-only` (均等割のみ; still a 課税証明書) or `exempt`.
    """

    fiscal_year: int
    income_year: int
    title: str
    levy_kind: str
    income: dict[str, int]
    deductions: dict[str, int]
    dependants: dict[str, Any]
    person_status: dict[str, Any]
    tax: dict[str, Any]
    intermediate: dict[str, Any]

    @property
    def exempt(self) -> bool:
        return self.levy_kind == "exempt"

    def as_json(self) -> dict[str, Any]:
        """The answer of `akashi claims compute`."""
        return {
            "fiscal_year": self.fiscal_year,
            "income_year": self.income_year,
            "title": self.title,
            "exempt": self.exempt,
            "levy_kind": self.levy_kind,
            "income": self.income,
            "deductions": self.deductions,
            "dependants": self.dependants,
            "person_status": self.person_status,
            "tax": self.tax,
            "intermediate": self.intermediate,
        }


def compute_figures(record: TaxpayerRecord, rules: Rules | None = None) -> Figures:
    """All figures of `record`, by the table of its fiscal year or by `rules`. Raises: YearNotOffered."""
    rules = rules or load_rules(record.fiscal_year)
    person, year_end = record.person, date(rules.income_year, 12, 31)

    # 1. The family, then income (a child or a special disability in it lowers a high salary's income).
    family = household(record, rules)
    wanted = record.income.household_adjustment
    qualifies = family.has_under_23_or_special_disability or person.disability == "special"
    earned = income(
        record.income,
        rules,
        age=person.age_at(year_end),
        household_adjustment_qualifies=qualifies if wanted is None else wanted,
    )

    # 2. Deductions, taxable income, adjustment credit.
    deducted = deductions(record, family, earned, rules)
    base = taxable(earned, deducted.total)
    credit = adjustment_credit(deducted.difference, base.for_adjustment_credit, earned.total)

    # 3. Who is exempt from what.
    minor = is_minor(record, rules)
    free = exemption(
        rules.exemption,
        household_size=family.size,
        total_income=earned.total,
        gross_total_income=earned.gross_total,
        has_special_status=person.disability != "none" or minor or deducted.widow or deducted.single_parent,
        on_public_assistance=person.public_assistance,
    )

    # 4. The levy after credits, and the flat amounts.
    gross = gross_levy(base, rules)
    levy, other = _levy_after_credits(record, family, earned, gross, credit, free, rules)
    flat = per_capita(rules.per_capita, free.per_capita)
    tax = _tax(base, credit, levy, other, flat, record)

    exempt = free.per_capita and levy.total == 0
    kind = "exempt" if exempt else "taxed" if levy.total else "per-capita-only"
    return Figures(
        fiscal_year=rules.fiscal_year,
        income_year=rules.income_year,
        title=EXEMPT_TITLE if exempt else TAXED_TITLE,
        levy_kind=kind,
        income=_income_group(record, earned),
        deductions={"total": deducted.total, "basic": deducted.amounts["basic"]}
        | {key: amount for key, amount in deducted.amounts.items() if amount},
        dependants=_dependants_group(family, deducted),
        person_status={
            "disability": person.disability,
            "widow": deducted.widow,
            "single_parent": deducted.single_parent,
            "working_student": deducted.working_student,
            "minor": minor,
        },
        tax=tax | {"exempt": exempt},
        intermediate=_intermediate(family, earned, deducted, base, gross, credit, free, rules),
    )


def is_minor(record: TaxpayerRecord, rules: Rules) -> bool:
    """未成年 on 1 January of the fiscal year. While the age was 20, marriage made an adult (民法旧753条)."""
    person = record.person
    if person.minor is not None:
        return person.minor
    age = person.age_at(date(rules.fiscal_year, 1, 1))
    married_adult = rules.adult_age == 20 and record.spouse is not None
    return age is not None and age < rules.adult_age and not married_adult


def _levy_after_credits(
    record: TaxpayerRecord,
    family: Household,
    earned: Income,
    gross: Levy,
    credit: AdjustmentCredit,
    free: Exemption,
    rules: Rules,
) -> tuple[Levy, Levy]:
    """The levy in whole hundreds, and the other credits that were used up to the levy."""
    if free.income_levy:
        return Levy(0, 0), Levy(0, 0)
    adjusted = gross.less(credit.city, credit.prefecture)
    stated = stated_credits(record.credits)
    levy = adjusted.less(stated.city, stated.prefecture)
    if rules.threshold_relief:
        levy = levy.less(*split_credit(threshold_relief(earned, levy, free), levy))
    qualifies = family.spouse_kind is not None and not family.spouse_abroad
    levy = levy.less(*split_credit(flat_credit(rules.flat_credit, earned.total, qualifies), levy))
    used = Levy(adjusted.city - levy.city, adjusted.prefecture - levy.prefecture)
    return levy.floored(), used


def threshold_relief(earned: Income, levy: Levy, free: Exemption) -> int:
    """所得割の調整措置 (地方税法附則3条の3): what the levy would push the income below the exemption limit.

    Applied only where the table says so: see docs/formats/taxpayer-record.md, "What is not confirmed".
    """
    return max(0, free.income_levy_limit - (earned.gross_total - levy.total))


def _tax(
    base: Taxable,
    credit: AdjustmentCredit,
    levy: Levy,
    other: Levy,
    flat: PerCapita,
    record: TaxpayerRecord,
) -> dict[str, Any]:
    tax: dict[str, Any] = {"taxable_income": base.general}
    if record.income.separate:
        tax["taxable_income_separate"] = base.separate_total
    tax["adjustment_credit_city"] = credit.city
    tax["adjustment_credit_prefecture"] = credit.prefecture
    if other.total:
        tax["other_credits_city"] = other.city
        tax["other_credits_prefecture"] = other.prefecture
    tax["municipal_income_levy"] = levy.city
    tax["prefectural_income_levy"] = levy.prefecture
    tax["municipal_per_capita"] = flat.municipal
    tax["prefectural_per_capita"] = flat.prefectural
    if flat.forest is not None:
        tax["forest_tax"] = flat.forest
    tax["annual_total"] = levy.total + flat.total
    return tax


def _income_group(record: TaxpayerRecord, earned: Income) -> dict[str, int]:
    items = record.income
    optional = {
        "salary_revenue": items.salary_revenue,
        "salary_income": earned.salary_income,
        "pension_revenue": items.pension_revenue,
        "pension_income": earned.pension_income,
        "business": items.business,
        "agriculture": items.agriculture,
        "real_estate": items.real_estate,
        "interest": items.interest,
        "dividends": items.dividends,
        "miscellaneous": items.miscellaneous,
        "capital_gains_and_temporary": earned.capital_gains_and_temporary,
        "separate": earned.separate_total,
    }
    present = {key: amount for key, amount in optional.items() if amount}
    return {"total": earned.total, "gross_total": earned.gross_total} | present


def _dependants_group(family: Household, deducted: Deductions) -> dict[str, Any]:
    kinds = ("general", "specific", "elderly", "elderly_living_together", "under16")
    count = len(family.dependants)
    disabilities = family.disabilities
    return {
        "count": count,
        "none": count == 0 and deducted.spouse == "none",
        "spouse": deducted.spouse,
        **{kind: family.count(kind) for kind in kinds},
        "disabled": disabilities.count("general"),
        "special_disabled": disabilities.count("special"),
        "special_disabled_living_together": disabilities.count("special_living_together"),
    }


def _intermediate(
    family: Household,
    earned: Income,
    deducted: Deductions,
    base: Taxable,
    gross: Levy,
    credit: AdjustmentCredit,
    free: Exemption,
    rules: Rules,
) -> dict[str, Any]:
    after_credit = gross.less(credit.city, credit.prefecture)
    return {
        "household_size": family.size,
        "dependants_over_limit": family.over_limit,
        "spouse_income": family.spouse_income,
        "salary_income_before_adjustment": earned.salary_before_adjustment,
        "salary_adjustment_household": earned.household_adjustment,
        "salary_adjustment_pension": earned.pension_adjustment,
        "income_besides_pension": earned.income_besides_pension,
        "personal_deduction_difference": deducted.difference,
        "adjustment_credit_base": credit.base,
        "taxable_separate": dict(base.separate),
        "gross_levy_city": gross.city,
        "gross_levy_prefecture": gross.prefecture,
        "threshold_relief": 0 if free.income_levy else threshold_relief(earned, after_credit, free),
        "threshold_relief_applied": rules.threshold_relief,
        "per_capita_exempt": free.per_capita,
        "income_levy_exempt": free.income_levy,
        "exemption_reason": free.reason,
        "per_capita_exemption_limit": free.per_capita_limit,
        "income_levy_exemption_limit": free.income_levy_limit,
    }
