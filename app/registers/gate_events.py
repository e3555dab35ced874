"""What the gate tells the worker of a binding: one word and a mandate's id a line, numbered, kept for the history.

The worker turns lines into notices and history; the words are in `app.mandates.words`. A line never says why a mandate
ended if that could tell protection from a harmless cause.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from app.registers.mandate_tables import gate_events, gate_progress


@dataclass(frozen=True, slots=True)
class GateEvent:
    """number ascends; `binding` opaque; `what` a word; `mandate` an id or empty; `at` Unix seconds UTC."""

    number: int
    binding: str
    what: str
    mandate: str
    at: int


_COLUMNS = tuple(gate_events.c[name] for name in GateEvent.__slots__)


def note_event(connection: Connection, *, binding: str, what: str, mandate: str, at: int) -> None:
    """One line, in the transaction that makes it true."""
    number = connection.execute(
        update(gate_progress)
        .where(gate_progress.c.name == "events")
        .values(value=gate_progress.c.value + 1)
        .returning(gate_progress.c.value)
    ).scalar_one()
    connection.execute(
        insert(gate_events).values(number=number, binding=binding, what=what, mandate=mandate, at=at)
    )


def events_after(connection: Connection, number: int, limit: int) -> list[GateEvent]:
    """Lines after `number`, ascending, of every binding."""
    rows = connection.execute(
        select(*_COLUMNS).where(gate_events.c.number > number).order_by(gate_events.c.number).limit(limit)
    )
    return [GateEvent(*row) for row in rows]


def events_of(connection: Connection, binding: str, limit: int) -> list[GateEvent]:
    """The newest lines of one binding, oldest first."""
    rows = connection.execute(
        select(*_COLUMNS)
        .where(gate_events.c.binding == binding)
        .order_by(gate_events.c.number.desc())
        .limit(limit)
    )
    return [GateEvent(*row) for row in rows][::-1]


def read_register_progress(connection: Connection) -> int:
    """How far the gate has followed the register's changes; held until the transaction ends."""
    row = gate_progress.c.name == "register-changes"
    return int(connection.execute(select(gate_progress.c.value).where(row).with_for_update()).scalar_one())


def store_register_progress(connection: Connection, value: int) -> None:
    """Set how far."""
    row = gate_progress.c.name == "register-changes"
    connection.execute(update(gate_progress).where(row).values(value=value))
