"""parse_record: from the JSON shape of docs/formats/taxpayer-record.md to a TaxpayerRecord, strictly.

Every refusal is a RecordError that names the field. Short forms are accepted where they are unmistakable:
`"spouse": true`, and `"dependants": {"general": 1, "under16": 1}` as counts.
"""

from __future__ import annotations

from typing import Any, Final

from app.claims.errors import RecordError
from app.claims.fields import MAX_AGE, Fields
from app.claims.record import (
    Credit,
    DeductionItems,
    Earnings,
    EarthquakePremiums,
    IncomeItems,
    LifePremiums,
    MedicalExpenses,
    Person,
    Relative,
    SeparateIncome,
    TaxpayerRecord,
)

DISABILITIES: Final = ("none", "general", "special")
DEPENDANT_KINDS: Final = ("general", "specific", "elderly", "elderly_living_together", "under16")
RELATIONS: Final = ("child", "parent", "grandparent", "grandchild", "sibling", "other")
SEPARATE_KINDS: Final = (
    "land_short",
    "land_short_reduced",
    "land_long",
    "land_long_preferred",
    "land_long_residential",
    "dividends_listed",
    "stocks_unlisted",
    "stocks_listed",
    "futures",
    "forestry",
)
CREDIT_NAMES: Final = ("dividend", "housing_loan", "donation", "foreign_tax", "other", "dividend_levy")
MAX_DEPENDANTS: Final = 30


def parse_record(data: Any) -> TaxpayerRecord:
    """Read a decoded JSON value. Raises: RecordError (names the field)."""
    fields = Fields(data)
    fields.raw("note")  # free text for people, never read
    year = fields.integer("fiscal_year", 1950, 2200)
    if year is None:
        raise RecordError("fiscal_year", "is required (Common Era, 2026 for 令和8年度)")
    record = TaxpayerRecord(
        fiscal_year=year,
        declared=fields.flag("declared", True),
        person=_person(fields.child("person")),
        income=_income(fields.child("income")),
        deductions=_deductions(fields.child("deductions")),
        spouse=_spouse(fields),
        dependants=_dependants(fields),
        credits=_credits(fields.child("credits")),
    )
    fields.done()
    _check_together(record)
    return record


def _person(fields: Fields) -> Person:
    person = Person(
        birthdate=fields.day("birthdate"),
        age=fields.integer("age", 0, MAX_AGE),
        name=fields.text("name"),
        family_name=fields.text("family_name"),
        given_name=fields.text("given_name"),
        family_name_kana=fields.text("family_name_kana"),
        given_name_kana=fields.text("given_name_kana"),
        alias=fields.text("alias"),
        address_jan1=fields.text("address_jan1"),
        disability=fields.choice("disability", DISABILITIES, "none") or "none",
        widow=fields.flag("widow"),
        single_parent=_single_parent(fields),
        working_student=fields.flag("working_student"),
        minor=fields.optional_flag("minor"),
        public_assistance=fields.flag("public_assistance"),
    )
    fields.done()
    return person


def _single_parent(fields: Fields) -> str | None:
    sex = fields.choice("sex", ("male", "female", "unknown"))
    value = fields.raw("single_parent")
    if value is None or value is False:
        return None
    if value is True and sex in ("male", "female"):
        return "mother" if sex == "female" else "father"
    if value not in ("mother", "father"):
        # The adjustment credit differs (50,000 and 10,000 yen), so a bare true would be a guess.
        raise RecordError(
            fields.path("single_parent"), 'must be "mother", "father" or false (or true beside sex)'
        )
    return str(value)


def _income(fields: Fields) -> IncomeItems:
    revenue, expenses = fields.yen("temporary_revenue"), fields.yen("temporary_expenses")
    items = IncomeItems(
        salary_revenue=fields.yen("salary_revenue"),
        pension_revenue=fields.yen("pension_revenue"),
        business=fields.yen("business", signed=True),
        agriculture=fields.yen("agriculture", signed=True),
        real_estate=fields.yen("real_estate", signed=True),
        interest=fields.yen("interest"),
        dividends=fields.yen("dividends"),
        miscellaneous=fields.yen("miscellaneous"),
        capital_gains_and_temporary=fields.yen("capital_gains_and_temporary"),
        capital_gains_short=fields.yen("capital_gains_short", signed=True),
        capital_gains_long=fields.yen("capital_gains_long", signed=True),
        temporary_gain=max(0, revenue - expenses),
        separate=_separate(fields),
        loss_carried_forward=fields.yen("loss_carried_forward"),
        casualty_loss_carried_forward=fields.yen("casualty_loss_carried_forward"),
        household_adjustment=fields.optional_flag("household_adjustment"),
    )
    fields.done()
    if items.capital_gains_and_temporary and (
        items.capital_gains_short or items.capital_gains_long or items.temporary_gain
    ):
        raise RecordError(
            fields.path("capital_gains_and_temporary"),
            "is the finished amount: leave out capital_gains_short, capital_gains_long and temporary_revenue",
        )
    return items


def _separate(fields: Fields) -> tuple[SeparateIncome, ...]:
    path = fields.path("separate")
    kinds = fields.child("separate")
    items = []
    for kind in SEPARATE_KINDS:
        if not kinds.has(kind):
            continue
        if isinstance(kinds.raw(kind), dict):
            parts = kinds.child(kind)
            item = SeparateIncome(
                kind, parts.yen("amount"), parts.yen("special_deduction"), parts.yen("carried_loss")
            )
            parts.done()
            if item.special_deduction and not kind.startswith("land_"):
                raise RecordError(f"{path}.{kind}.special_deduction", "exists for land and buildings only")
        else:
            item = SeparateIncome(kind, kinds.yen(kind))
        items.append(item)
    kinds.done()
    return tuple(items)


def _deductions(fields: Fields) -> DeductionItems:
    items = DeductionItems(
        social_insurance=fields.yen("social_insurance"),
        small_enterprise_mutual_aid=fields.yen("small_enterprise_mutual_aid"),
        casualty=fields.yen("casualty"),
        medical=fields.yen("medical"),
        life_insurance=fields.yen("life_insurance"),
        earthquake_insurance=fields.yen("earthquake_insurance"),
        life_premiums=_life_premiums(fields),
        earthquake_premiums=_earthquake_premiums(fields),
        medical_expenses=_medical_expenses(fields),
    )
    fields.done()
    for amount, payments in (
        ("life_insurance", "life_insurance_premiums"),
        ("earthquake_insurance", "earthquake_insurance_premiums"),
        ("medical", "medical_expenses"),
    ):
        if fields.has(amount) and fields.has(payments):
            raise RecordError(fields.path(amount), f"give either the deduction or {payments}, not both")
    return items


def _life_premiums(fields: Fields) -> LifePremiums | None:
    if not fields.has("life_insurance_premiums"):
        return None
    parts = fields.child("life_insurance_premiums")
    names = ("general_new", "general_old", "care_medical", "pension_new", "pension_old")
    premiums = LifePremiums(**{name: parts.yen(name) for name in names})
    parts.done()
    return premiums


def _earthquake_premiums(fields: Fields) -> EarthquakePremiums | None:
    if not fields.has("earthquake_insurance_premiums"):
        return None
    parts = fields.child("earthquake_insurance_premiums")
    premiums = EarthquakePremiums(parts.yen("earthquake"), parts.yen("old_long_term"))
    parts.done()
    return premiums


def _medical_expenses(fields: Fields) -> MedicalExpenses | None:
    if not fields.has("medical_expenses"):
        return None
    parts = fields.child("medical_expenses")
    expenses = MedicalExpenses(parts.yen("paid"), parts.yen("reimbursed"))
    parts.done()
    return expenses


def _earnings(fields: Fields) -> Earnings:
    earnings = Earnings(
        total_income=fields.optional_yen("total_income"),
        salary_revenue=fields.yen("salary_revenue"),
        pension_revenue=fields.yen("pension_revenue"),
    )
    if earnings.total_income is not None and (earnings.salary_revenue or earnings.pension_revenue):
        raise RecordError(fields.path("total_income"), "give either the total or the revenues, not both")
    return earnings


def _spouse(fields: Fields) -> Relative | None:
    value = fields.raw("spouse")
    if value is None or value is False:
        return None
    spouse = Fields({} if value is True else value, "spouse")
    relative = Relative(
        birthdate=spouse.day("birthdate"),
        age=spouse.integer("age", 0, MAX_AGE),
        kind=spouse.choice("kind", ("general", "elderly")),
        earnings=_earnings(spouse),
        disability=spouse.choice("disability", DISABILITIES, "none") or "none",
        living_together=spouse.flag("living_together", True),
        business_employee=spouse.flag("business_employee"),
        lives_abroad=spouse.flag("lives_abroad"),
    )
    spouse.done()
    return relative


def _dependants(fields: Fields) -> tuple[Relative, ...]:
    value = fields.raw("dependants")
    if value is None:
        return ()
    if isinstance(value, dict):
        counts = Fields(value, "dependants")
        found: list[Relative] = []
        for kind in DEPENDANT_KINDS:
            found += [Relative(kind=kind)] * (counts.integer(kind, 0, MAX_DEPENDANTS) or 0)
        counts.done()
    elif isinstance(value, list):
        found = [_dependant(Fields(item, f"dependants[{index}]")) for index, item in enumerate(value)]
    else:
        raise RecordError("dependants", "must be a list of persons or an object of counts")
    if len(found) > MAX_DEPENDANTS:
        raise RecordError("dependants", f"more than {MAX_DEPENDANTS} persons")
    return tuple(found)


def _dependant(fields: Fields) -> Relative:
    relation = fields.choice("relation", RELATIONS)
    relative = Relative(
        birthdate=fields.day("birthdate"),
        age=fields.integer("age", 0, MAX_AGE),
        kind=fields.choice("kind", DEPENDANT_KINDS),
        earnings=_earnings(fields),
        disability=fields.choice("disability", DISABILITIES, "none") or "none",
        living_together=fields.flag("living_together", True),
        ascendant=relation in ("parent", "grandparent"),
        business_employee=fields.flag("business_employee"),
        lives_abroad=fields.flag("lives_abroad"),
        abroad_qualifies=fields.flag("abroad_qualifies"),
    )
    fields.done()
    if relative.birthdate is None and relative.age is None and relative.kind is None:
        raise RecordError(fields.path("birthdate"), "one of birthdate, age or kind is required")
    return relative


def _credits(fields: Fields) -> tuple[Credit, ...]:
    found = []
    for name in CREDIT_NAMES:
        if not fields.has(name):
            continue
        if isinstance(fields.raw(name), dict):
            parts = fields.child(name)
            found.append(Credit(name, None, parts.yen("city"), parts.yen("prefecture")))
            parts.done()
        else:
            found.append(Credit(name, fields.yen(name)))
    fields.done()
    return tuple(found)


def _check_together(record: TaxpayerRecord) -> None:
    person = record.person
    if record.spouse is not None and (person.widow or person.single_parent):
        name = "person.widow" if person.widow else "person.single_parent"
        raise RecordError(name, "cannot be set beside a spouse")
    if record.income.pension_revenue and person.birthdate is None and person.age is None:
        raise RecordError("person.birthdate", "or person.age is needed to compute pension income")
    relatives = [("spouse", record.spouse)] if record.spouse else []
    relatives += [(f"dependants[{index}]", item) for index, item in enumerate(record.dependants)]
    for path, relative in relatives:
        if relative.earnings.pension_revenue and relative.birthdate is None and relative.age is None:
            raise RecordError(f"{path}.birthdate", "or age is needed to compute pension income")
