"""May this certificate be issued? One pure decision from what the registers say; the answer is None or a
refusal.

The order is deliberate: what does not depend on the person comes first, then the counter (so that no later
answer can differ between a protected person and others), then the person's own circumstances.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from app.claims.refusals import (
    DECEASED,
    NO_ELECTRONIC_RESIDENT_RECORD,
    NOT_RESIDENT_ON_JANUARY_1,
    UNDECLARED,
    ClaimRefusal,
    CounterCause,
    refuse_to_counter,
    refuse_year,
)
from app.claims.tables import offered_years

INCOME_CERTIFICATE: Final = "income_certificate"
RESIDENT_RECORD: Final = "resident_record"
DUMMY_WATERMARK: Final = "見本・ダミーデータ"

LEGAL_STATUS: Final = {INCOME_CERTIFICATE: "E_ISSUABLE", RESIDENT_RECORD: "DEMO_ONLY"}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the registers say about one person and one fiscal year.

    `counter` is set if the city wants to see the person (protection is one cause of several). `declared` is
    False without a tax record or with one marked 未申告.
    """

    resident_on_january_1: bool
    declared: bool
    deceased: bool = False
    counter: CounterCause | None = None


def decide_income_certificate(
    circumstances: Circumstances, fiscal_year: int, years: Collection[int] | None = None
) -> ClaimRefusal | None:
    """None: it may be issued. `years` are the fiscal years on offer (default: those with a table)."""
    offered = offered_years() if years is None else years
    if fiscal_year not in offered:
        return refuse_year(offered)
    if circumstances.counter is not None:
        return refuse_to_counter(circumstances.counter)
    if circumstances.deceased:
        return DECEASED
    if not circumstances.resident_on_january_1:
        return NOT_RESIDENT_ON_JANUARY_1
    if not circumstances.declared:
        return UNDECLARED
    return None


def decide_resident_record(*, dummy: bool, counter: CounterCause | None = None) -> ClaimRefusal | None:
    """住民票の写し exists for records flagged dummy only, always with DUMMY_WATERMARK; all others get the
    legal reason.

    The law's answer is the same for everybody, so it comes before the counter.
    """
    if not dummy:
        return NO_ELECTRONIC_RESIDENT_RECORD
    return None if counter is None else refuse_to_counter(counter)
