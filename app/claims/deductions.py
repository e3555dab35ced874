"""所得控除: every deduction of one person, and the 人的控除差 of the personal ones.

Which relatives there are comes from `relatives`, the amounts from the year's table. Source:
地方税法34条・314条の2.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.claims.income import Income
from app.claims.insurance import (
    earthquake_insurance_deduction,
    life_insurance_deduction,
    medical_deduction,
)
from app.claims.record import DeductionItems, TaxpayerRecord
from app.claims.relatives import Household
from app.claims.tables import Rules, TieredStep


@dataclass(frozen=True, slots=True)
class Deductions:
    """`amounts` has the keys of certificate.json (zeros included), yen; `difference` is D (人的控除差の合計).

    `spouse` is none, general or elderly: whether there is a 控除対象配偶者. The last four say which status
    of the person holds under this year's income limits.
    """

    amounts: dict[str, int]
    difference: int
    spouse: str
    widow: bool
    single_parent: bool
    working_student: bool

    @property
    def total(self) -> int:
        return sum(self.amounts.values())


def deductions(record: TaxpayerRecord, family: Household, earned: Income, rules: Rules) -> Deductions:
    """All deductions under the limits of `rules`."""
    person = record.person
    difference = rules.basic_difference
    amounts = _stated(record.deductions, earned, rules)
    amounts["basic"] = next((step.amount for step in rules.basic if earned.total <= step.up_to), 0)

    amounts["disability"] = 0
    for kind in (person.disability, *family.disabilities):
        if kind != "none":
            amounts["disability"] += rules.disability[kind].amount
            difference += rules.disability[kind].difference

    within_limit = earned.total <= rules.widow_income_limit
    single_parent = bool(person.single_parent) and within_limit
    widow = person.widow and within_limit and not single_parent
    amounts["widow"] = amounts["single_parent"] = amounts["working_student"] = 0
    if person.single_parent and single_parent:
        allowance = rules.single_parent[person.single_parent]
        amounts["single_parent"], difference = allowance.amount, difference + allowance.difference
    if widow:
        amounts["widow"], difference = rules.widow.amount, difference + rules.widow.difference
    student = person.working_student and _is_working_student(earned, rules)
    if student:
        rule = rules.working_student
        amounts["working_student"], difference = rule.amount, difference + rule.difference

    spouse, of_spouse, of_special, spouse_difference = _spouse(family, earned.total, rules)
    amounts["spouse"], amounts["spouse_special"] = of_spouse, of_special
    difference += spouse_difference

    amounts["specific_relative_special"] = sum(
        next((step.amount for step in rules.specific_relative_special if income <= step.up_to), 0)
        for income in family.specific_special
    )
    allowances = [rules.dependants[dependant.kind] for dependant in family.dependants]
    amounts["dependants"] = sum(allowance.amount for allowance in allowances)
    difference += sum(allowance.difference for allowance in allowances)
    return Deductions(amounts, difference, spouse, widow, single_parent, student)


def _stated(items: DeductionItems, earned: Income, rules: Rules) -> dict[str, int]:
    life, quake, medical = items.life_insurance, items.earthquake_insurance, items.medical
    if items.life_premiums is not None:
        life = life_insurance_deduction(items.life_premiums)
    if items.earthquake_premiums is not None:
        quake = earthquake_insurance_deduction(items.earthquake_premiums)
    if items.medical_expenses is not None:
        medical = medical_deduction(items.medical_expenses, earned.gross_total)
    return {
        "casualty": items.casualty,
        "medical": min(medical, rules.caps["medical"]),
        "social_insurance": items.social_insurance,
        "small_enterprise_mutual_aid": items.small_enterprise_mutual_aid,
        "life_insurance": min(life, rules.caps["life_insurance"]),
        "earthquake_insurance": min(quake, rules.caps["earthquake_insurance"]),
    }


def _is_working_student(earned: Income, rules: Rules) -> bool:
    other_income = earned.total - earned.salary_income
    rule = rules.working_student
    return earned.total <= rule.income_limit and other_income <= rule.other_income_limit


def _spouse(family: Household, total_income: int, rules: Rules) -> tuple[str, int, int, int]:
    """(certificate word, 配偶者控除, 配偶者特別控除, difference) by the taxpayer's tier; none above the
    last tier.
    """
    tier = next((index for index, upper in enumerate(rules.taxpayer_tiers) if total_income <= upper), None)
    if tier is None or family.spouse_income is None:
        return "none", 0, 0, 0
    if family.spouse_kind is not None:
        allowance = rules.spouse[family.spouse_kind]
        return family.spouse_kind, allowance.amounts[tier], 0, allowance.differences[tier]
    income = family.spouse_income
    special = next((step for step in rules.spouse_special if income <= step.limit), None)
    if special is None:
        return "none", 0, 0, 0
    return (
        "none",
        0,
        special.amounts[tier],
        _special_difference(income, tier, rules.spouse_special_differences),
    )


def _special_difference(income: int, tier: int, steps: tuple[TieredStep, ...]) -> int:
    return next((step.amounts[tier] for step in steps if income < step.limit), 0)
