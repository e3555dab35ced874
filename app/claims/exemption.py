"""非課税: who pays no 均等割, who pays no 所得割, and why (地方税法295条, 附則3条の3; 級地 factors in the
tables).
"""

from __future__ import annotations

from dataclasses import dataclass

from app.claims.tables import ExemptionRules


@dataclass(frozen=True, slots=True)
class Exemption:
    """`reason` is one of `none`, `public-assistance`, `personal-status`, `income`; limits in yen."""

    per_capita: bool
    income_levy: bool
    reason: str
    per_capita_limit: int
    income_levy_limit: int


def exemption(
    rules: ExemptionRules,
    *,
    household_size: int,
    total_income: int,
    gross_total_income: int,
    has_special_status: bool,
    on_public_assistance: bool,
) -> Exemption:
    """Decide both exemptions; every limit is inclusive ("up to").

    `household_size` counts the person, the spouse sharing the livelihood and all dependants including those
    under 16. `total_income` is 合計所得金額 (before losses carried forward), `gross_total_income`
    総所得金額等 (after them). `has_special_status`: disability, minor, widow or single parent.
    """
    has_family = household_size > 1
    per_capita_limit = (
        rules.per_capita_each * household_size + rules.base + (rules.per_capita_family if has_family else 0)
    )
    income_levy_limit = (
        rules.income_levy_each * household_size + rules.base + (rules.income_levy_family if has_family else 0)
    )
    if on_public_assistance:
        reason = "public-assistance"
    elif has_special_status and total_income <= rules.special_status_limit:
        reason = "personal-status"
    elif total_income <= per_capita_limit:
        reason = "income"
    else:
        reason = "none"
    exempt = reason != "none"
    return Exemption(
        per_capita=exempt,
        income_levy=exempt or gross_total_income <= income_levy_limit,
        reason=reason,
        per_capita_limit=per_capita_limit,
        income_levy_limit=income_levy_limit,
    )
