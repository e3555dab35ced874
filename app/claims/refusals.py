"""Why somebody gets no certificate here, each as one frozen answer with a sentence in Japanese and English.

These are results, not errors. The answer for protected persons (発行抑止, 支援措置) must tell nobody
anything: it is the same object as the answer for several harmless causes, so no text, code or field differs
(walls.md section 3).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final


@dataclass(frozen=True, slots=True)
class ClaimRefusal:
    """`code` is a stable ASCII word, `ja` and `en` are for the resident, `retry`: may trying later help."""

    code: str
    ja: str
    en: str
    retry: bool = False


UNDECLARED: Final = ClaimRefusal(
    "undeclared",
    "この年度の所得の申告が確認できないため、証明書を発行できません。市民税課で所得の申告をすると発行できるようになります。",
    "No income declaration is on file for this year, so no certificate can be issued. "
    "Please declare your income at the tax office of the city; then it can be issued.",
    retry=True,
)
NOT_RESIDENT_ON_JANUARY_1: Final = ClaimRefusal(
    "not-resident-on-january-1",
    "この年度の1月1日に当市に住所がなかったため、当市では発行できません。1月1日に住所があった市区町村にお問い合わせください。",
    "You did not live in this city on 1 January of this year, so this city cannot issue the certificate. "
    "Please ask the municipality where you lived on 1 January.",
)
DECEASED: Final = ClaimRefusal(
    "deceased",
    "亡くなられた方の証明書は、この方法では発行できません。ご遺族の方は窓口にお越しください。",
    "A certificate of a person who has died cannot be issued this way. Relatives may apply at the counter.",
)
COUNTER: Final = ClaimRefusal(
    "counter",
    "この証明書は、窓口でお手続きください。",
    "Please apply for this certificate at the counter.",
)
NO_ELECTRONIC_RESIDENT_RECORD: Final = ClaimRefusal(
    "resident-record-not-electronic",
    "住民票の写しは、住民基本台帳法およびデジタル手続法の定めにより、電子データでは交付できません。窓口またはコンビニ交付をご利用ください。",
    "A copy of the resident record cannot be issued as electronic data under the Basic Resident "
    "Registration Act and the Digital Procedure Act. Please use the counter or a convenience-store kiosk.",
)


class CounterCause(Enum):
    """Why the city sends somebody to the counter without saying why. Inside the city only; every cause
    reads alike.
    """

    PROTECTED = "protected"
    DECLARATION_UNDER_REVIEW = "declaration-under-review"
    RECORD_BEING_CORRECTED = "record-being-corrected"
    NO_MATCH = "no-match"
    SEVERAL_MATCHES = "several-matches"
    INSUFFICIENT_ATTRIBUTES = "insufficient-attributes"


def refuse_to_counter(cause: CounterCause) -> ClaimRefusal:
    """The one answer for every cause."""
    if not isinstance(cause, CounterCause):
        raise TypeError("a CounterCause is required")
    return COUNTER


def refuse_year(offered: Iterable[int]) -> ClaimRefusal:
    """This fiscal year is not on offer; the answer names those that are."""
    years = sorted(offered)
    ja = "、".join(f"令和{year - 2018}年度" for year in years)
    en = ", ".join(str(year) for year in years)
    return ClaimRefusal(
        "year-not-offered",
        f"この年度の証明書は取り扱っていません。お取りいただけるのは{ja}です。",
        f"This fiscal year is not on offer. Available fiscal years: {en}.",
    )
