"""The taxpayer record: what the tax office holds on one person for one fiscal year, as frozen data.

The JSON shape is in docs/formats/taxpayer-record.md; `parse_record` reads it. Amounts are integer yen of
the income year. A record never carries 個人番号. Nothing is computed here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from app.claims.ages import age_on


@dataclass(frozen=True, slots=True)
class Person:
    """The taxpayer. `age` is the age on 31 December of the income year, used where no birth date is known."""

    birthdate: date | None = None
    age: int | None = None
    name: str | None = None
    family_name: str | None = None
    given_name: str | None = None
    family_name_kana: str | None = None
    given_name_kana: str | None = None
    alias: str | None = None
    address_jan1: str | None = None
    disability: str = "none"
    widow: bool = False
    single_parent: str | None = None
    working_student: bool = False
    minor: bool | None = None
    public_assistance: bool = False

    def age_at(self, day: date) -> int | None:
        """Age at the end of `day`, or the stated age, or None."""
        return self.age if self.birthdate is None else age_on(self.birthdate, day)


@dataclass(frozen=True, slots=True)
class Earnings:
    """What a relative earned: the total if it is stated, else what it is computed from (yen)."""

    total_income: int | None = None
    salary_revenue: int = 0
    pension_revenue: int = 0


@dataclass(frozen=True, slots=True)
class Relative:
    """A spouse or a dependant. `kind` overrides the age; for a spouse it is general or elderly."""

    birthdate: date | None = None
    age: int | None = None
    kind: str | None = None
    earnings: Earnings = field(default_factory=Earnings)
    disability: str = "none"
    living_together: bool = True
    ascendant: bool = False
    business_employee: bool = False
    lives_abroad: bool = False
    abroad_qualifies: bool = False

    def age_at(self, day: date) -> int | None:
        return self.age if self.birthdate is None else age_on(self.birthdate, day)


@dataclass(frozen=True, slots=True)
class SeparateIncome:
    """One kind of separately taxed income: gain, special deduction of land, loss carried from earlier years
    (yen).
    """

    kind: str
    amount: int
    special_deduction: int = 0
    carried_loss: int = 0


@dataclass(frozen=True, slots=True)
class IncomeItems:
    """Revenue of salary and pension; all others are income after expenses (yen). Losses are negative where
    allowed.
    """

    salary_revenue: int = 0
    pension_revenue: int = 0
    business: int = 0
    agriculture: int = 0
    real_estate: int = 0
    interest: int = 0
    dividends: int = 0
    miscellaneous: int = 0
    capital_gains_and_temporary: int = 0
    capital_gains_short: int = 0
    capital_gains_long: int = 0
    temporary_gain: int = 0
    separate: tuple[SeparateIncome, ...] = ()
    loss_carried_forward: int = 0
    casualty_loss_carried_forward: int = 0
    household_adjustment: bool | None = None


@dataclass(frozen=True, slots=True)
class LifePremiums:
    """Premiums paid (yen): contracts from 2012 on (new) and before (old)."""

    general_new: int = 0
    general_old: int = 0
    care_medical: int = 0
    pension_new: int = 0
    pension_old: int = 0


@dataclass(frozen=True, slots=True)
class EarthquakePremiums:
    """Premiums paid (yen): earthquake cover, and old long-term cover from before 2007."""

    earthquake: int = 0
    old_long_term: int = 0


@dataclass(frozen=True, slots=True)
class MedicalExpenses:
    """Paid and made good by insurance (yen)."""

    paid: int = 0
    reimbursed: int = 0


@dataclass(frozen=True, slots=True)
class DeductionItems:
    """Deduction amounts (控除額, yen); life and earthquake insurance and medical may be stated as payments
    instead.
    """

    social_insurance: int = 0
    small_enterprise_mutual_aid: int = 0
    casualty: int = 0
    medical: int = 0
    life_insurance: int = 0
    earthquake_insurance: int = 0
    life_premiums: LifePremiums | None = None
    earthquake_premiums: EarthquakePremiums | None = None
    medical_expenses: MedicalExpenses | None = None


@dataclass(frozen=True, slots=True)
class Credit:
    """A tax credit as granted: one sum to be split 3:2, or the two parts (yen)."""

    name: str
    total: int | None = None
    city: int = 0
    prefecture: int = 0


@dataclass(frozen=True, slots=True)
class TaxpayerRecord:
    """Everything the computation needs. `declared` False means 未申告: no figures may be given out."""

    fiscal_year: int
    declared: bool = True
    person: Person = field(default_factory=Person)
    income: IncomeItems = field(default_factory=IncomeItems)
    deductions: DeductionItems = field(default_factory=DeductionItems)
    spouse: Relative | None = None
    dependants: tuple[Relative, ...] = ()
    credits: tuple[Credit, ...] = ()

    @property
    def income_year(self) -> int:
        return self.fiscal_year - 1
