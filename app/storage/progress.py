"""Named counters: how far the worker has followed somebody else's list."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from app.storage.tables import progress


def read_progress(connection: Connection, name: str) -> int:
    """The counter, 0 if it was never set."""
    value = connection.execute(select(progress.c.value).where(progress.c.name == name)).scalar()
    return 0 if value is None else int(value)


def store_progress(connection: Connection, name: str, value: int) -> None:
    """Set the counter."""
    result = connection.execute(update(progress).where(progress.c.name == name).values(value=value))
    if result.rowcount == 0:
        connection.execute(insert(progress).values(name=name, value=value))
