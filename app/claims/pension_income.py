"""公的年金等に係る雑所得: income from public pensions, by age and by the person's other income.

Source: 所得税法35条4項 and 租税特別措置法41条の15の3, as tabled in app/claims/tables. The tiers of other
income over 10 and 20 million yen are unconfirmed (no primary source was checked).
"""

from __future__ import annotations

from app.claims.tables import PensionTable


def pension_income(revenue: int, age: int, other_income: int, table: PensionTable) -> int:
    """Income (yen) of a pension revenue (yen); never below 0; a fraction of a yen is cut from the income.

    `age` is the age at 31 December of the income year. `other_income` is 合計所得金額 as if there were no
    pension.
    """
    bands = table.from_65 if age >= 65 else table.under_65
    band = next(band for band in bands if band.up_to is None or revenue <= band.up_to)
    less = next(tier.less for tier in table.other_income if tier.up_to is None or other_income <= tier.up_to)
    return max(0, revenue * (100 - band.percent) // 100 - band.plus + less)
