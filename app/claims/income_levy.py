"""所得割: taxable income, the gross levy of city and prefecture, credits, and the cut to whole hundreds.

City and prefecture are cut separately, each below 100 yen, as on real certificates (domain facts 1.4 (7)).
"""

from __future__ import annotations

from dataclasses import dataclass

from app.claims.income import Income
from app.claims.record import Credit
from app.claims.tables import FlatCredit, Rules


@dataclass(frozen=True, slots=True)
class Taxable:
    """課税標準額 (yen, whole thousands): general income and each separate kind."""

    general: int
    separate: tuple[tuple[str, int], ...]

    @property
    def separate_total(self) -> int:
        return sum(amount for _, amount in self.separate)

    @property
    def for_adjustment_credit(self) -> int:
        """合計課税所得金額: general and forestry income."""
        return self.general + sum(amount for kind, amount in self.separate if kind == "forestry")


@dataclass(frozen=True, slots=True)
class Levy:
    """City and prefecture parts in yen."""

    city: int
    prefecture: int

    @property
    def total(self) -> int:
        return self.city + self.prefecture

    def less(self, city: int, prefecture: int) -> Levy:
        return Levy(max(0, self.city - city), max(0, self.prefecture - prefecture))

    def floored(self) -> Levy:
        return Levy(self.city // 100 * 100, self.prefecture // 100 * 100)


def taxable(earned: Income, deductions_total: int) -> Taxable:
    """Deductions meet general income first, then the separate kinds in the law's order; each is cut to
    thousands.
    """
    left = max(0, deductions_total - earned.general)
    general = max(0, earned.general - deductions_total) // 1000 * 1000
    separate = []
    for kind, amount in earned.separate:
        met = min(amount, left)
        left -= met
        separate.append((kind, (amount - met) // 1000 * 1000))
    return Taxable(general, tuple(separate))


def gross_levy(base: Taxable, rules: Rules) -> Levy:
    """Rates on taxable income; bases are whole thousands and rates per mille, so nothing is rounded."""
    city_rate, prefecture_rate = rules.income_levy_per_mille
    city = base.general // 1000 * city_rate
    prefecture = base.general // 1000 * prefecture_rate
    rates = {item.kind: item.tiers for item in rules.separate}
    for kind, amount in base.separate:
        lower = 0
        for upper, tier_city, tier_prefecture in rates[kind]:
            part = (amount if upper is None else min(amount, upper)) - lower
            if part <= 0:
                break
            city += part // 1000 * tier_city
            prefecture += part // 1000 * tier_prefecture
            lower += part
    return Levy(city, prefecture)


def stated_credits(credits: tuple[Credit, ...]) -> Levy:
    """The credits of a record, added: three fifths city and two fifths prefecture unless stated apart.

    A fraction of a yen counts as one on each side (unconfirmed).
    """
    city = prefecture = 0
    for credit in credits:
        if credit.total is None:
            city, prefecture = city + credit.city, prefecture + credit.prefecture
        else:
            city += -(-credit.total * 3 // 5)
            prefecture += -(-credit.total * 2 // 5)
    return Levy(city, prefecture)


def split_credit(amount: int, levy: Levy) -> tuple[int, int]:
    """Split `amount` (at most the levy) as the levy is split; the prefecture's fraction of a yen counts as
    one.
    """
    amount = min(amount, levy.total)
    if amount <= 0:
        return 0, 0
    prefecture = -(-amount * levy.prefecture // levy.total)
    return amount - prefecture, prefecture


def flat_credit(rule: FlatCredit | None, total_income: int, has_qualifying_spouse: bool) -> int:
    """令和7年度 定額減税 in yen before it is limited to the levy; unconfirmed beyond the municipalities'
    pages.
    """
    if rule is None or not has_qualifying_spouse:
        return 0
    return rule.amount if rule.income_over < total_income <= rule.income_up_to else 0
