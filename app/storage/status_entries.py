"""Status entries: which bit of which list is whose, drawn at random, gone after expiry.

Several lists are open at a time. Each certificate and each copy draws a list and an index of its own, so that neither
a number nor its neighbours say who belongs to whom or what was issued when; copies of one batch are never neighbours.
A list is closed when it is half full (a draw then needs two tries on average) and opened again when what was in it has
expired. Nothing is signed or published here: `app.revocation.status_publisher`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select, update

from app.errors import UnavailableError
from app.storage.once import insert_once
from app.storage.tables import status_entries, status_lists

JST: Final = timezone(timedelta(hours=9), "JST")
REUSE_AFTER_DAYS: Final = 100
"""Days after its certificate's last day until an index may be given out anew. Longer than any token lives
(`app.settings`: 90 days), so that no list that still counts anywhere says of the new owner what was said of the old."""
MAX_DRAWS: Final = 200


@dataclass(frozen=True, slots=True)
class StatusPlace:
    """One bit: the number of its list and its index there."""

    status_list: int
    status_index: int

    def is_beside(self, other: StatusPlace) -> bool:
        """Whether the two are the same or neighbours in one list."""
        return self.status_list == other.status_list and abs(self.status_index - other.status_index) <= 1


def legal_day(at: int) -> date:
    """The day in Japan at `at` (Unix seconds)."""
    return datetime.fromtimestamp(at, UTC).astimezone(JST).date()


def draw_places(connection: Connection, request_id: str, *, last_day: str, count: int) -> list[StatusPlace]:
    """Take `count` entries for the documents of a request, each drawn anew, no two of them neighbours.

    `last_day`: ISO date, the last legal day of the documents. Raises UnavailableError("status-lists-full").
    """
    # On PostgreSQL one drawer at a time, until its commit: two that met each other's entries crosswise would otherwise
    # wait for each other for ever. SQLite has one writer anyway.
    rows = connection.execute(
        select(status_lists.c.status_list, status_lists.c.size)
        .where(status_lists.c.is_open)
        .order_by(status_lists.c.status_list)
        .with_for_update()
    )
    lists = [(int(row.status_list), int(row.size)) for row in rows]
    taken: list[StatusPlace] = []
    for _ in range(count):
        taken.append(_draw(connection, request_id, last_day, lists, taken))
    return taken


def _draw(
    connection: Connection,
    request_id: str,
    last_day: str,
    lists: Sequence[tuple[int, int]],
    others: Sequence[StatusPlace],
) -> StatusPlace:
    for _ in range(MAX_DRAWS if lists else 0):
        number, size = secrets.choice(lists)
        place = StatusPlace(number, secrets.randbelow(size))
        if any(place.is_beside(other) for other in others):
            continue
        if insert_once(
            connection,
            status_entries,
            status_list=place.status_list,
            status_index=place.status_index,
            request_id=request_id,
            last_day=last_day,
        ):
            return place
    raise UnavailableError("status-lists-full", "no open status list has a free entry")


def set_invalid(connection: Connection, request_id: str, *, at: int) -> None:
    """The bits of all documents of a request, if they have not expired: invalid from the next publication on."""
    e = status_entries.c
    rows = connection.execute(
        update(status_entries)
        .where(e.request_id == request_id, e.last_day >= legal_day(at).isoformat())
        .values(is_invalid=True)
        .returning(e.status_list)
    )
    _make_dirty(connection, (row.status_list for row in rows.all()))


def find_invalid(connection: Connection, status_list: int) -> list[int]:
    """The indices of one list that are invalid, ascending."""
    e = status_entries.c
    rows = connection.execute(
        select(e.status_index).where(e.status_list == status_list, e.is_invalid).order_by(e.status_index)
    )
    return [int(row.status_index) for row in rows]


def expire_entries(connection: Connection, *, today: date) -> None:
    """What has expired is no longer said to be invalid; what expired REUSE_AFTER_DAYS ago is forgotten."""
    e = status_entries.c
    rows = connection.execute(
        update(status_entries)
        .where(e.is_invalid, e.last_day < today.isoformat())
        .values(is_invalid=False)
        .returning(e.status_list)
    )
    _make_dirty(connection, (row.status_list for row in rows.all()))
    forgotten = today - timedelta(days=REUSE_AFTER_DAYS)
    connection.execute(delete(status_entries).where(e.last_day < forgotten.isoformat()))


def open_status_list(connection: Connection, status_list: int, *, size: int) -> None:
    """Create a status list of `size` entries, all valid, if it does not exist."""
    insert_once(connection, status_lists, status_list=status_list, size=size)


def tend_lists(connection: Connection, *, wanted: int, size: int, may_open: Callable[[int], bool]) -> None:
    """Keep `wanted` lists open that are not half full; new ones have `size` entries.

    `may_open`: whether readers know the list of that number (trust list); one that they do not know is closed. A full list
    is closed only when another one can take its place: rather a fuller list than none.
    """
    s, e = status_lists.c, status_entries.c
    counts = connection.execute(select(e.status_list, func.count().label("used")).group_by(e.status_list))
    used = {int(row.status_list): int(row.used) for row in counts}
    rows = connection.execute(select(s.status_list, s.size, s.is_open).order_by(s.status_list)).all()
    room = {row.status_list: row.size - 2 * used.get(row.status_list, 0) for row in rows}
    known = [row for row in rows if may_open(row.status_list)]
    good = [row.status_list for row in known if row.is_open and room[row.status_list] > 0]
    # What is nearly empty again comes before a new number: an old list has readers already.
    again = [row.status_list for row in known if not row.is_open and room[row.status_list] > row.size // 2]
    for number in again[: max(0, wanted - len(good))]:
        connection.execute(update(status_lists).where(s.status_list == number).values(is_open=True))
        good.append(number)
    number = max((row.status_list for row in rows), default=0)
    while len(good) < wanted and may_open(number + 1):
        number += 1
        connection.execute(insert(status_lists).values(status_list=number, size=size))
        good.append(number)
    kept = good if len(good) >= wanted else [row.status_list for row in known]
    closed = [row.status_list for row in rows if row.is_open and row.status_list not in kept]
    if closed:
        connection.execute(update(status_lists).where(s.status_list.in_(closed)).values(is_open=False))


def _make_dirty(connection: Connection, numbers: Iterable[int]) -> None:
    dirty = sorted(set(numbers))
    if dirty:
        connection.execute(
            update(status_lists).where(status_lists.c.status_list.in_(dirty)).values(dirty=True)
        )
