"""生命保険料控除・地震保険料控除 (resident tax) from the premiums paid, and 医療費控除 from the expenses.

Source: 地方税法34条・314条の2 as tabled by the municipalities; the formulas from premiums are unconfirmed
(the caps are confirmed). A fraction of a yen counts as one. Whoever has the deduction amounts does not need
this module.
"""

from __future__ import annotations

from app.claims.record import EarthquakePremiums, LifePremiums, MedicalExpenses

_NEW = ((12_000, 1, 0), (32_000, 2, 6_000), (56_000, 4, 14_000))
_OLD = ((15_000, 1, 0), (40_000, 2, 7_500), (70_000, 4, 17_500))
_NEW_CAP, _OLD_CAP = 28_000, 35_000


def life_insurance_deduction(premiums: LifePremiums) -> int:
    """Sum of the three classes before the overall cap. Old contracts alone may be better than old and new
    together.
    """
    general = _class_deduction(premiums.general_new, premiums.general_old)
    pension = _class_deduction(premiums.pension_new, premiums.pension_old)
    return general + pension + _stepped(premiums.care_medical, _NEW, _NEW_CAP)


def earthquake_insurance_deduction(premiums: EarthquakePremiums) -> int:
    """Half of the earthquake premiums up to 25,000, and old long-term premiums up to 10,000, before the
    cap.
    """
    half = min(25_000, -(-premiums.earthquake // 2))
    return half + _stepped(premiums.old_long_term, ((5_000, 1, 0), (15_000, 2, 2_500)), 10_000)


def medical_deduction(expenses: MedicalExpenses, gross_total_income: int) -> int:
    """What was paid and not made good, beyond the smaller of 100,000 yen and 5 % of 総所得金額等."""
    threshold = min(100_000, gross_total_income * 5 // 100)
    return max(0, expenses.paid - expenses.reimbursed - threshold)


def _class_deduction(new: int, old: int) -> int:
    by_new, by_old = _stepped(new, _NEW, _NEW_CAP), _stepped(old, _OLD, _OLD_CAP)
    return max(by_old, min(_NEW_CAP, by_new + by_old))


def _stepped(premium: int, steps: tuple[tuple[int, int, int], ...], cap: int) -> int:
    for up_to, divisor, plus in steps:
        if premium <= up_to:
            return -(-premium // divisor) + plus
    return cap
