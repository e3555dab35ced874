"""所得金額調整控除: the two amounts taken off employment income (租税特別措置法41条の3の11).

Household kind: salary over 8.5 million yen and a relative under 23 or a special disability in the household.
Pension kind: both employment income and pension income.
"""

from __future__ import annotations

from typing import Final

HOUSEHOLD_FROM: Final = 8_500_000
HOUSEHOLD_UP_TO: Final = 10_000_000
PENSION_CAP: Final = 100_000


def household_adjustment(salary_revenue: int, qualifies: bool) -> int:
    """10 % of the revenue between 8.5 and 10 million yen, a fraction of a yen counting as one; 0 if not
    qualified.
    """
    if not qualifies or salary_revenue <= HOUSEHOLD_FROM:
        return 0
    return -(-(min(salary_revenue, HOUSEHOLD_UP_TO) - HOUSEHOLD_FROM) // 10)


def pension_adjustment(salary_income: int, pension_income: int) -> int:
    """min(salary, 100,000) + min(pension, 100,000) − 100,000, for persons who have both; never below 0.

    `salary_income` is employment income before the household kind is taken off.
    """
    if salary_income <= 0 or pension_income <= 0:
        return 0
    return max(0, min(salary_income, PENSION_CAP) + min(pension_income, PENSION_CAP) - PENSION_CAP)
