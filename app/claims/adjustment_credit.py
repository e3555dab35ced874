"""調整控除: the credit for the difference between the personal deductions of income tax and of resident tax.

Source: 地方税法37条・314条の6. The differences themselves come with the deductions (`deductions`,
`relatives`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TURNING_POINT: Final = 2_000_000
LEAST_BASE: Final = 50_000
NO_CREDIT_ABOVE: Final = 25_000_000
CITY_PERCENT: Final = 3
PREFECTURE_PERCENT: Final = 2


@dataclass(frozen=True, slots=True)
class AdjustmentCredit:
    """`difference` is D (人的控除差の合計), `base` what 3 % and 2 % are taken of; yen."""

    difference: int
    base: int
    city: int
    prefecture: int


def adjustment_credit(difference: int, taxable: int, total_income: int) -> AdjustmentCredit:
    """The credit for D = `difference`.

    `taxable` is 合計課税所得金額 (general and forestry income, not what is taxed separately),
    `total_income` is 合計所得金額: above 25 million yen there is no credit.
    """
    if total_income > NO_CREDIT_ABOVE:
        base = 0
    elif taxable <= TURNING_POINT:
        base = min(difference, taxable)
    else:
        base = max(difference - (taxable - TURNING_POINT), LEAST_BASE)
    return AdjustmentCredit(difference, base, base * CITY_PERCENT // 100, base * PREFECTURE_PERCENT // 100)
