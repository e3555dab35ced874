"""給与所得: employment income from salary revenue, by the bands of one fiscal year.

Source: 所得税法28条 and 別表第五 as tabled in app/claims/tables. The 所得金額調整控除 is in
`salary_adjustment`.
"""

from __future__ import annotations

from app.claims.tables import EmploymentBand


def employment_income(revenue: int, bands: tuple[EmploymentBand, ...]) -> int:
    """Income (yen) of a salary revenue (yen, not negative); never below 0.

    Between 1,628,000 and 6,599,999 the law's table advances in steps of 4,000 yen: a quarter of the revenue
    is cut to whole thousands first. Fractions of a yen are cut.
    """
    band = next(band for band in bands if band.below is None or revenue < band.below)
    if band.income is not None:
        return band.income
    if band.quarter_tenths is not None:
        quarter = revenue // 4 // 1000 * 1000
        return quarter * band.quarter_tenths // 10 + band.plus
    return revenue * band.percent // 100 + band.plus
