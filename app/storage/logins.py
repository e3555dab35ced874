"""Logins under way at the login provider, and those that came to an end, in the worker's own store (one writer).

A login under way is taken out in one statement, before anything about its answer is checked, so that of two that come with
the same answer exactly one is served. What has to be secret follows from `seed`, which goes with the row. Unix seconds UTC.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    delete,
    func,
    insert,
    select,
)

from app.storage.once import insert_once
from app.storage.tables import metadata

pending_logins = Table(
    "pending_logins",
    metadata,
    # Hashes: the door's session, and the state that the browser brings back.
    Column("session", String(64), primary_key=True),
    Column("state", String(64), nullable=False),
    Column("seed", LargeBinary, nullable=False),
    Column("profile", String(8), nullable=False),
    Column("configuration", String(64), nullable=False),
    Column("fiscal_year", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Index("pending_logins_started", "started_at"),
)

# What a login came to: the same exchange, taken again after a crash, is answered alike; and what phones read of it.
finished_logins = Table(
    "finished_logins",
    metadata,
    Column("exchange", String(22), primary_key=True),
    Column("grant_id", String(22), nullable=False),
    Column("binding", String(64), nullable=False),
    Column("is_new", Boolean, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("finished_logins_binding", "binding"),
)

LOGIN_TABLES = (pending_logins, finished_logins)


@dataclass(frozen=True, slots=True)
class PendingRow:
    """One login under way. seed: 32 bytes, secret."""

    seed: bytes = field(repr=False)
    profile: str
    configuration: str
    fiscal_year: int
    started_at: int


@dataclass(frozen=True, slots=True)
class FinishedRow:
    """One login that opened a grant."""

    exchange: str
    grant_id: str
    binding: str
    is_new: bool
    at: int


_PENDING = tuple(pending_logins.c[name] for name in PendingRow.__slots__)
_FINISHED = tuple(finished_logins.c[name] for name in FinishedRow.__slots__)


def find_pending(connection: Connection, session: str) -> PendingRow | None:
    """The login under way of a session: the same question again is answered alike."""
    row = connection.execute(select(*_PENDING).where(pending_logins.c.session == _hash(session))).first()
    return None if row is None else PendingRow(*row)


def store_pending(connection: Connection, session: str, state: str, pending: PendingRow) -> None:
    """Remember a login before its browser is sent away."""
    values = {name: getattr(pending, name) for name in PendingRow.__slots__}
    connection.execute(insert(pending_logins).values(session=_hash(session), state=_hash(state), **values))


def take_pending(connection: Connection, session: str, state: str) -> PendingRow | None:
    """Take the login of this session and state out, in one statement. None: there is none, or somebody else has it."""
    p = pending_logins.c
    row = connection.execute(
        delete(pending_logins)
        .where(p.session == _hash(session), p.state == _hash(state))
        .returning(*_PENDING)
    ).first()
    return None if row is None else PendingRow(*row)


def count_pending(connection: Connection) -> int:
    """How many are under way."""
    return int(connection.execute(select(func.count()).select_from(pending_logins)).scalar_one())


def drop_old_pending(connection: Connection, *, before: int) -> None:
    """Forget logins that were started before `before`."""
    connection.execute(delete(pending_logins).where(pending_logins.c.started_at < before))


def note_finished(connection: Connection, finished: FinishedRow) -> None:
    """What the login of an exchange came to."""
    values = {name: getattr(finished, name) for name in FinishedRow.__slots__}
    insert_once(connection, finished_logins, **values)


def find_finished(connection: Connection, exchange: str) -> FinishedRow | None:
    """What an exchange's login came to."""
    row = connection.execute(select(*_FINISHED).where(finished_logins.c.exchange == exchange)).first()
    return None if row is None else FinishedRow(*row)


def find_logins_of(connection: Connection, binding: str, limit: int) -> list[FinishedRow]:
    """A resident's newest logins."""
    f = finished_logins.c
    rows = connection.execute(
        select(*_FINISHED).where(f.binding == binding).order_by(f.at.desc(), f.exchange).limit(limit)
    )
    return [FinishedRow(*row) for row in rows]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
