"""The de-identified events of issuance and the newest snapshot: recording what the worker sends, and looking
it up.

Recording is idempotent (the worker repeats a batch when it did not hear the answer) and does not depend on
order: the state of a request is that of its newest event. Arithmetic over the rows is `monitor`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Row, insert, select, update

from app.staff.messages import Event, Snapshot, format_instant, format_snapshot, parse_snapshot
from app.staff.store import Store, insert_once
from app.staff.tables import event, issuance, snapshot

LIST_LIMIT: Final = 200


@dataclass(frozen=True, slots=True)
class Issuance:
    """The newest known state of a request; instants as ISO text in UTC with milliseconds."""

    request_id: str
    state: str
    step: str
    first_at: str
    last_at: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """One recorded event of a request."""

    at: str
    step: str
    state: str
    duration_ms: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class Received:
    """The newest snapshot, when it came, and since when its three counts differ (None: they are equal). Unix
    seconds.
    """

    snapshot: Snapshot
    received_at: int
    unequal_since: int | None


class Events:
    """Events and snapshot of one city."""

    def __init__(self, store: Store, city: str) -> None:
        self._store = store
        self._city = city

    def record(self, events: Sequence[Event]) -> int:
        """Store a batch in one transaction; returns how many were new."""
        with self._store.writing.begin() as connection:
            return sum(self._record_one(connection, item) for item in events)

    def put_snapshot(self, taken: Snapshot, now: datetime) -> None:
        """Replace the snapshot; the start of an inequality is kept while it lasts."""
        seconds = int(now.timestamp())
        equal = taken.seals == taken.leaves == taken.authorised
        row = {"received_at": seconds, "body": format_snapshot(taken).decode("ascii")}
        mine = snapshot.c.city == self._city
        with self._store.writing.begin() as connection:
            before = connection.execute(select(snapshot.c.unequal_since).where(mine)).one_or_none()
            since = (
                None
                if equal
                else (before.unequal_since if before and before.unequal_since is not None else seconds)
            )
            if before is None:
                connection.execute(insert(snapshot).values(city=self._city, unequal_since=since, **row))
            else:
                connection.execute(update(snapshot).where(mine).values(unequal_since=since, **row))

    def find_snapshot(self) -> Received | None:
        """The newest snapshot, or None before the worker has ever called."""
        with self._store.reading.begin() as connection:
            row = connection.execute(select(snapshot).where(snapshot.c.city == self._city)).one_or_none()
        if row is None:
            return None
        return Received(parse_snapshot(row.body.encode("ascii")), row.received_at, row.unequal_since)

    def find_issuance(self, request_id: str) -> Issuance | None:
        """One request, or None."""
        query = select(issuance).where(issuance.c.city == self._city, issuance.c.request_id == request_id)
        with self._store.reading.begin() as connection:
            row = connection.execute(query).one_or_none()
        return _issuance(row) if row else None

    def select_steps(self, request_id: str) -> list[Step]:
        """All events of one request, oldest first."""
        query = select(event).where(event.c.city == self._city, event.c.request_id == request_id)
        with self._store.reading.begin() as connection:
            return [_step(row) for row in connection.execute(query.order_by(event.c.at, event.c.id))]

    def select_issuances(
        self,
        *,
        since: datetime,
        state: str | None = None,
        reason: str | None = None,
        limit: int | None = LIST_LIMIT,
    ) -> list[Issuance]:
        """Requests touched since an instant, newest first, at most `limit` of them."""
        query = select(issuance).where(
            issuance.c.city == self._city, issuance.c.last_at >= format_instant(since)
        )
        if state is not None:
            query = query.where(issuance.c.state == state)
        if reason is not None:
            query = query.where(issuance.c.reason == reason)
        query = query.order_by(issuance.c.last_at.desc(), issuance.c.request_id).limit(limit)
        with self._store.reading.begin() as connection:
            return [_issuance(row) for row in connection.execute(query)]

    def select_unfinished(
        self, states: Sequence[str], before: datetime, limit: int = LIST_LIMIT
    ) -> list[Issuance]:
        """Requests whose state is none of `states` and whose newest event is older than `before`, oldest
        first.
        """
        query = select(issuance).where(
            issuance.c.city == self._city,
            issuance.c.state.not_in(states),
            issuance.c.last_at < format_instant(before),
        )
        with self._store.reading.begin() as connection:
            return [
                _issuance(row) for row in connection.execute(query.order_by(issuance.c.last_at).limit(limit))
            ]

    def select_durations(self, since: datetime) -> list[tuple[str, int, str | None]]:
        """(step, milliseconds, reason) of every event since an instant."""
        query = select(event.c.step, event.c.duration_ms, event.c.reason).where(
            event.c.city == self._city, event.c.at >= format_instant(since)
        )
        with self._store.reading.begin() as connection:
            return [(row.step, row.duration_ms, row.reason) for row in connection.execute(query)]

    def _record_one(self, connection: Connection, item: Event) -> bool:
        at = format_instant(item.at)
        row = {
            "city": self._city,
            "request_id": item.request_id,
            "at": at,
            "step": item.step,
            "state": item.state,
            "duration_ms": item.duration_ms,
            "reason": item.reason,
        }
        if not insert_once(connection, event, row):
            return False
        newest = {"state": item.state, "step": item.step, "last_at": at, "reason": item.reason}
        key = {"city": self._city, "request_id": item.request_id}
        if not insert_once(connection, issuance, key | newest | {"first_at": at}):
            mine = (issuance.c.city == self._city, issuance.c.request_id == item.request_id)
            connection.execute(update(issuance).where(*mine, issuance.c.last_at <= at).values(**newest))
            connection.execute(update(issuance).where(*mine, issuance.c.first_at > at).values(first_at=at))
        return True


def _issuance(row: Row[tuple[object, ...]]) -> Issuance:
    return Issuance(row.request_id, row.state, row.step, row.first_at, row.last_at, row.reason)


def _step(row: Row[tuple[object, ...]]) -> Step:
    return Step(row.at, row.step, row.state, row.duration_ms, row.reason)
