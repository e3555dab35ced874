"""Mandates in the gate's store: every step is one compare-and-set, and writes its lines in the same transaction.

    offered ─▶ accepted ─▶ confirmed            ended: from any of them, once, for ever

Confirmed and within its dates is "in force". Who may do what is decided in `mandates`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, and_, func, insert, or_, select, update

from app.registers.gate_events import note_event
from app.registers.mandate_tables import mandate_codes, mandate_uses, mandates

OFFERED: Final = "offered"
ACCEPTED: Final = "accepted"
CONFIRMED: Final = "confirmed"
ENDED: Final = "ended"

# Why a mandate ended, in full.
BY_GIVER: Final = "revoked"
BY_AGENT: Final = "returned"
EXPIRED: Final = "expired"
PROTECTION: Final = "protection"
HOUSEHOLD: Final = "household"
DEATH: Final = "death"

# What each side's line says: (giver, agent). Who ended it or let it run out reads so; to the other side that reads like
# protection, a death, a move and a new name: nobody learns which it was.
_END_LINES: Final = {
    BY_GIVER: ("mandate-revoked", "mandate-ended"),
    BY_AGENT: ("mandate-ended", "mandate-given-back"),
    EXPIRED: ("mandate-expired", "mandate-expired"),
}
_ENDED_SOMEHOW: Final = ("mandate-ended", "mandate-ended")


@dataclass(frozen=True, slots=True)
class Mandate:
    """One mandate. `fiscal_years` ascending, comma between; days ISO."""

    mandate: str
    giver: str
    agent: str
    document_kind: str
    fiscal_years: str
    purpose: str
    valid_from: str
    valid_until: str
    record_digest: str
    state: str
    cause: str | None
    offered_at: int

    @property
    def years(self) -> tuple[int, ...]:
        """The fiscal years."""
        return tuple(int(year) for year in self.fiscal_years.split(","))

    def is_in_force(self, today: date) -> bool:
        """Confirmed, and `today` (Asia/Tokyo) lies within its days."""
        return self.state == CONFIRMED and self.valid_from <= today.isoformat() <= self.valid_until


_COLUMNS = tuple(mandates.c[name] for name in Mandate.__slots__)


def _mandate(row: Row[Any]) -> Mandate:
    return Mandate(*row)


def find_mandate(connection: Connection, mandate: str) -> Mandate | None:
    """The mandate, in whatever state."""
    row = connection.execute(select(*_COLUMNS).where(mandates.c.mandate == mandate)).first()
    return None if row is None else _mandate(row)


def find_mandates_of(connection: Connection, binding: str, limit: int) -> list[Mandate]:
    """The newest mandates given or held by a binding, oldest first."""
    rows = connection.execute(
        select(*_COLUMNS)
        .where(or_(mandates.c.giver == binding, mandates.c.agent == binding))
        .order_by(mandates.c.offered_at.desc(), mandates.c.mandate)
        .limit(limit)
    )
    return [_mandate(row) for row in rows][::-1]


def count_open(connection: Connection, giver: str) -> int:
    """How many mandates of a giver have not ended."""
    query = select(func.count()).select_from(mandates)
    return int(
        connection.execute(query.where(mandates.c.giver == giver, mandates.c.state != ENDED)).scalar_one()
    )


def store_offer(connection: Connection, mandate: Mandate, evidence: str) -> None:
    """Insert an offered mandate with its proof."""
    values = {name: getattr(mandate, name) for name in Mandate.__slots__}
    connection.execute(insert(mandates).values(**values, evidence=evidence))
    at = mandate.offered_at
    note_event(connection, binding=mandate.giver, what="mandate-given", mandate=mandate.mandate, at=at)
    note_event(connection, binding=mandate.agent, what="mandate-offered", mandate=mandate.mandate, at=at)


def accept(connection: Connection, mandate: Mandate, *, at: int) -> bool:
    """offered ─▶ accepted, in one statement."""
    result = connection.execute(
        update(mandates)
        .where(mandates.c.mandate == mandate.mandate, mandates.c.state == OFFERED)
        .values(state=ACCEPTED, accepted_at=at)
    )
    if result.rowcount != 1:
        return False
    note_event(connection, binding=mandate.giver, what="mandate-accepted", mandate=mandate.mandate, at=at)
    note_event(connection, binding=mandate.agent, what="mandate-taken-on", mandate=mandate.mandate, at=at)
    return True


def confirm(
    connection: Connection, mandate: Mandate, *, at: int, letter_hash: str | None, max_attempts: int
) -> bool:
    """accepted ─▶ confirmed, in one statement; with `letter_hash` only if it is the letter's and tries are left."""
    where: list[ColumnElement[bool]] = [
        mandates.c.mandate == mandate.mandate,
        mandates.c.state == ACCEPTED,
    ]
    if letter_hash is not None:
        connection.execute(
            update(mandates)
            .where(mandates.c.mandate == mandate.mandate)
            .values(letter_attempts=mandates.c.letter_attempts + 1)
        )
        where += [mandates.c.letter_hash == letter_hash, mandates.c.letter_attempts <= max_attempts]
    result = connection.execute(
        update(mandates)
        .where(*where)
        .values(
            state=CONFIRMED,
            confirmed_at=at,
            confirmed_by="device" if letter_hash is None else "letter",
            letter_hash=None,
        )
    )
    if result.rowcount != 1:
        return False
    note_event(connection, binding=mandate.giver, what="mandate-confirmed", mandate=mandate.mandate, at=at)
    note_event(connection, binding=mandate.agent, what="mandate-in-force", mandate=mandate.mandate, at=at)
    return True


def put_letter(connection: Connection, mandate: Mandate, letter_hash: str, *, at: int) -> bool:
    """Remember a letter's code, the first one only. False if there was one or the mandate is not accepted."""
    result = connection.execute(
        update(mandates)
        .where(
            mandates.c.mandate == mandate.mandate,
            mandates.c.state == ACCEPTED,
            mandates.c.letter_at.is_(None),
        )
        .values(letter_hash=letter_hash, letter_at=at)
    )
    return result.rowcount == 1


def end(connection: Connection, where: ColumnElement[bool], cause: str, *, at: int) -> int:
    """End every mandate that fits and has not ended, in one statement; how many. Lines go to both sides."""
    rows = connection.execute(
        update(mandates)
        .where(where, mandates.c.state != ENDED)
        .values(state=ENDED, cause=cause, ended_at=at, letter_hash=None)
        .returning(mandates.c.mandate, mandates.c.giver, mandates.c.agent)
    ).all()
    lines = _END_LINES.get(cause, _ENDED_SOMEHOW)
    for row in rows:
        note_event(connection, binding=row.giver, what=lines[0], mandate=row.mandate, at=at)
        note_event(connection, binding=row.agent, what=lines[1], mandate=row.mandate, at=at)
    return len(rows)


def end_one(connection: Connection, mandate: str, cause: str, *, at: int) -> int:
    """End one mandate; 0 if it had ended."""
    return end(connection, mandates.c.mandate == mandate, cause, at=at)


def end_of_binding(connection: Connection, binding: str, cause: str, *, as_agent: bool, at: int) -> int:
    """End what a binding gave and, if `as_agent`, what it holds; how many."""
    mine = mandates.c.giver == binding
    return end(connection, or_(mine, mandates.c.agent == binding) if as_agent else mine, cause, at=at)


def end_expired(connection: Connection, *, today: date, offers_before: int, at: int) -> int:
    """End what is past its last day, and offers that nobody accepted and confirmed in time; how many."""
    past = mandates.c.valid_until < today.isoformat()
    stale = and_(mandates.c.state.in_((OFFERED, ACCEPTED)), mandates.c.offered_at < offers_before)
    return end(connection, or_(past, stale), EXPIRED, at=at)


# ---- hand-over codes ---------------------------------------------------------------------------------------------


def code_hash(code: str) -> str:
    """What is kept of a one-time code."""
    return sha256(b"akashi/one-time-code/v1\0" + code.encode("utf-8")).hexdigest()


def store_code(connection: Connection, code: str, binding: str, *, at: int, expires_at: int) -> None:
    """Remember an agent's hand-over code by its hash."""
    connection.execute(
        insert(mandate_codes).values(
            code_hash=code_hash(code), binding=binding, made_at=at, expires_at=expires_at
        )
    )


def count_codes(connection: Connection, binding: str, *, since: int) -> int:
    """How many codes a binding asked for since a time."""
    query = select(func.count()).select_from(mandate_codes)
    found = query.where(mandate_codes.c.binding == binding, mandate_codes.c.made_at >= since)
    return int(connection.execute(found).scalar_one())


def use_code(connection: Connection, code: str, mandate: str, *, at: int) -> str | None:
    """Use a hand-over code up for one mandate, in one statement; the agent's binding, or None."""
    row = connection.execute(
        update(mandate_codes)
        .where(
            mandate_codes.c.code_hash == code_hash(code),
            mandate_codes.c.expires_at >= at,
            or_(mandate_codes.c.used_by.is_(None), mandate_codes.c.used_by == mandate),
        )
        .values(used_by=mandate)
        .returning(mandate_codes.c.binding)
    ).first()
    return None if row is None else str(row.binding)


# ---- requests under a mandate ------------------------------------------------------------------------------------


def store_use(connection: Connection, mandate: Mandate, request_id: str, *, at: int) -> None:
    """A request was authorised under a mandate; both sides get a line."""
    connection.execute(insert(mandate_uses).values(request_id=request_id, mandate=mandate.mandate, at=at))
    note_event(connection, binding=mandate.giver, what="mandate-used", mandate=mandate.mandate, at=at)
    note_event(connection, binding=mandate.agent, what="mandate-used-by-you", mandate=mandate.mandate, at=at)


def find_mandate_of_request(connection: Connection, request_id: str) -> str | None:
    """The mandate a request was authorised under, or None for a request of one's own."""
    found = connection.execute(
        select(mandate_uses.c.mandate).where(mandate_uses.c.request_id == request_id)
    ).scalar()
    return None if found is None else str(found)
