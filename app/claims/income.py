"""Income: from the items of a record to 合計所得金額, 総所得金額等 and what there is to tax.

損益通算 follows 所得税法69条 as far as a certificate needs it: losses of business, agriculture and real
estate meet the other ordinary income first, then gains, then temporary income (before it is halved); losses
of transfers meet temporary income first. 合計所得金額 is before losses carried forward, 総所得金額等 after
them; the special deduction of land sales lowers neither, only what is taxed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from app.claims.employment_income import employment_income
from app.claims.pension_income import pension_income
from app.claims.record import IncomeItems
from app.claims.salary_adjustment import household_adjustment, pension_adjustment
from app.claims.tables import Rules

GAINS_SPECIAL_DEDUCTION: Final = 500_000
TEMPORARY_SPECIAL_DEDUCTION: Final = 500_000


@dataclass(frozen=True, slots=True)
class Income:
    """Yen. `general` and `separate` (kind, amount) are what deductions are taken from, after all losses."""

    salary_income: int
    pension_income: int
    capital_gains_and_temporary: int
    separate_total: int
    total: int
    gross_total: int
    general: int
    separate: tuple[tuple[str, int], ...]
    salary_before_adjustment: int
    household_adjustment: int
    pension_adjustment: int
    income_besides_pension: int


def income(
    items: IncomeItems, rules: Rules, *, age: int | None, household_adjustment_qualifies: bool
) -> Income:
    """Add up one person's income. `age` is that of 31 December and needed only with a pension."""
    before = employment_income(items.salary_revenue, rules.employment)
    for_household = household_adjustment(items.salary_revenue, household_adjustment_qualifies)
    salary = before - for_household
    separate_total = sum(item.amount for item in items.separate)

    besides_pension = _general(items, salary, 0) + separate_total
    pension = pension_income(items.pension_revenue, age or 0, besides_pension, rules.pension)
    for_pension = pension_adjustment(before, pension)
    salary -= for_pension

    general_before_losses = _general(items, salary, pension)
    general, separate, gross_separate = _after_losses(items, general_before_losses)
    return Income(
        salary_income=salary,
        pension_income=pension,
        capital_gains_and_temporary=_halved(*_gains(items)) + items.capital_gains_and_temporary,
        separate_total=separate_total,
        total=general_before_losses + separate_total,
        gross_total=general + gross_separate,
        general=general,
        separate=separate,
        salary_before_adjustment=before,
        household_adjustment=for_household,
        pension_adjustment=for_pension,
        income_besides_pension=besides_pension,
    )


def _general(items: IncomeItems, salary: int, pension: int) -> int:
    """総所得金額 before losses carried forward; a year that ends in a loss counts as 0."""
    ordinary = salary + pension + items.interest + items.dividends + items.miscellaneous
    ordinary += items.business + items.agriculture + items.real_estate
    gains = list(_gains(items))
    if ordinary < 0:
        for index, gain in enumerate(gains):
            met = min(max(gain, 0), -ordinary)
            gains[index], ordinary = gain - met, ordinary + met
    return max(0, ordinary + _halved(*gains) + items.capital_gains_and_temporary)


def _gains(items: IncomeItems) -> tuple[int, int, int]:
    """Short gains, long gains, temporary income, after special deductions and losses among each other."""
    short, long = items.capital_gains_short, items.capital_gains_long
    temporary = max(0, items.temporary_gain - TEMPORARY_SPECIAL_DEDUCTION)
    if short < 0 < long or long < 0 < short:
        both = short + long
        short, long = (both, 0) if (short > 0) == (both > 0) else (0, both)
    left = GAINS_SPECIAL_DEDUCTION
    if short > 0:
        used = min(short, left)
        short, left = short - used, left - used
    if long > 0:
        long -= min(long, left)
    loss = -min(short, 0) - min(long, 0)
    if loss:
        met = min(temporary, loss)
        return met - loss, 0, temporary - met
    return short, long, temporary


def _halved(short: int, long: int, temporary: int) -> int:
    return short + (long + temporary) // 2


def _after_losses(items: IncomeItems, general: int) -> tuple[int, tuple[tuple[str, int], ...], int]:
    """General income, separate income to tax, and separate income as 総所得金額等 counts it."""
    general = max(0, general - items.loss_carried_forward)
    casualty = items.casualty_loss_carried_forward
    met = min(general, casualty)
    general, casualty = general - met, casualty - met
    separate, gross = [], 0
    for item in items.separate:
        amount = max(0, item.amount - item.carried_loss)
        met = min(amount, casualty)
        amount, casualty = amount - met, casualty - met
        gross += amount
        separate.append((item.kind, max(0, amount - item.special_deduction)))
    return general, tuple(separate), gross
