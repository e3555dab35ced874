"""What mock residents earn and deduct, and the tax record that follows from it.

Amounts are plausible, not statistics. Nothing is computed here that `app.claims` computes; only the income
limit of dependants is respected when a household decides who is whose dependant.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from random import Random
from typing import Any, Final

FISCAL_YEARS: Final = (2021, 2025, 2026)
# Revenue up to which somebody is a dependant (income 480,000 and 580,000); earlier years per mille.
DEPENDANT_SALARY: Final = {2021: 1_030_000, 2025: 1_030_000, 2026: 1_230_000}
DEPENDANT_PENSION: Final = {2021: 1_580_000, 2025: 1_580_000, 2026: 1_680_000}
LEVEL_PER_MILLE: Final = {2021: 920, 2025: 980, 2026: 1_000}


@dataclass(frozen=True, slots=True)
class Livelihood:
    """Yearly revenue at the level of fiscal 2026 (yen); `business` is income and may be negative."""

    salary: int = 0
    pension: int = 0
    business: int = 0
    rent: int = 0
    declared: bool = True
    disability: str = "none"
    life_insurance: int = 0
    earthquake_insurance: int = 0
    housing_loan: int = 0

    def at(self, amount: int, year: int) -> int:
        return amount * LEVEL_PER_MILLE[year] // 1_000

    def is_dependant(self, year: int) -> bool:
        """Low enough to be somebody's dependant, and nothing but salary or pension."""
        return (
            not self.business
            and not self.rent
            and self.at(self.salary, year) <= DEPENDANT_SALARY[year]
            and self.at(self.pension, year) <= DEPENDANT_PENSION[year]
            and not (self.salary and self.pension)
        )


def draw_livelihood(rng: Random, age: int) -> Livelihood:
    """A plausible livelihood for somebody of `age` at the end of 2025."""
    disability = "none"
    draw = rng.random()
    if draw < 0.03:
        disability = "special" if draw < 0.01 else "general"
    declared = rng.random() >= 0.015
    spread = rng.random()
    if age < 16:
        return Livelihood(disability=disability)
    if age < 23:
        salary = 0 if spread < 0.45 else int(300_000 + 1_900_000 * (spread - 0.45)) // 1_000 * 1_000
        return Livelihood(salary=salary, declared=declared, disability=disability)
    if age >= 65:
        pension = int(600_000 + 2_600_000 * spread * rng.random() + 300_000 * spread) // 100 * 100
        salary = int(2_400_000 * rng.random()) // 1_000 * 1_000 if age < 75 and spread > 0.7 else 0
        rent = int(1_500_000 * rng.random()) if spread > 0.96 else 0
        return Livelihood(salary, pension, 0, rent, declared, disability)
    if spread < 0.08:
        business = int(-300_000 + 9_000_000 * rng.random() * rng.random())
        return Livelihood(0, 0, business, 0, declared, disability, 40_000)
    if spread < 0.20:
        return Livelihood(int(1_230_000 * rng.random()) // 1_000 * 1_000, 0, 0, 0, declared, disability)
    top = 14_000_000 if spread > 0.97 else 6_500_000
    salary = int(1_400_000 + top * rng.random() * rng.random()) // 1_000 * 1_000
    life = int(rng.random() * 5) * 14_000
    quake = 10_000 if spread > 0.6 else 0
    loan = int(rng.random() * 97_500) // 100 * 100 if 0.75 < spread < 0.82 else 0
    return Livelihood(salary, 0, 0, 0, declared, disability, life, quake, loan)


def tax_data(
    livelihood: Livelihood,
    year: int,
    *,
    status: dict[str, Any] | None = None,
    spouse: dict[str, Any] | None = None,
    dependants: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The taxpayer record of one year (docs/formats/taxpayer-record.md) without what the resident register
    knows.
    """
    data: dict[str, Any] = {}
    person = dict(status or {})
    if livelihood.disability != "none":
        person["disability"] = livelihood.disability
    if person:
        data["person"] = person
    revenue = {
        "salary_revenue": livelihood.at(livelihood.salary, year),
        "pension_revenue": livelihood.at(livelihood.pension, year),
        "business": livelihood.at(livelihood.business, year),
        "real_estate": livelihood.at(livelihood.rent, year),
    }
    income = {key: amount for key, amount in revenue.items() if amount}
    if income:
        data["income"] = income
    insured = revenue["salary_revenue"] * 15 // 100 + revenue["pension_revenue"] * 6 // 100
    insured += max(0, revenue["business"]) * 9 // 100
    amounts = {
        "social_insurance": insured,
        "life_insurance": livelihood.life_insurance,
        "earthquake_insurance": livelihood.earthquake_insurance,
    }
    deductions = {key: amount for key, amount in amounts.items() if amount}
    if deductions:
        data["deductions"] = deductions
    if spouse is not None:
        data["spouse"] = spouse
    if dependants:
        data["dependants"] = dependants
    if livelihood.housing_loan:
        data["credits"] = {"housing_loan": livelihood.housing_loan}
    return data


def relative_data(birthdate: date, livelihood: Livelihood, year: int, relation: str | None) -> dict[str, Any]:
    """A spouse (`relation` None) or dependant as the declaration of another person states it."""
    data: dict[str, Any] = {"birthdate": birthdate.isoformat()}
    if relation is not None:
        data["relation"] = relation
    if livelihood.salary:
        data["salary_revenue"] = livelihood.at(livelihood.salary, year)
    if livelihood.pension:
        data["pension_revenue"] = livelihood.at(livelihood.pension, year)
    if livelihood.business > 0 or livelihood.rent:
        # Income besides salary and pension is stated as a total; it is far above every limit here.
        return {key: data[key] for key in ("birthdate", "relation") if key in data} | {
            "total_income": 2_000_000
        }
    if livelihood.disability != "none":
        data["disability"] = livelihood.disability
    return data
