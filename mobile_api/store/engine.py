"""Opening the street door's store on SQLite or PostgreSQL, and bringing it to the newest revision.

Two engines on SQLite: one whose transactions take the write lock when they begin (a read that later writes
would fail at once otherwise), one for reads that takes no lock. On PostgreSQL both are the same engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event

MIGRATIONS: Final = Path(__file__).resolve().parent.parent / "migrations"
POSTGRESQL_TIMEOUT: Final = 10


@dataclass(frozen=True, slots=True)
class Store:
    """The opened store. `writer` begins transactions with the write lock, `reader` without."""

    writer: Engine
    reader: Engine

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may write; committed at the end, rolled back on an exception."""
        with self.writer.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that only reads."""
        with self.reader.begin() as connection:
            yield connection

    def close(self) -> None:
        """Give all connections back."""
        self.writer.dispose()
        self.reader.dispose()


def open_store(url: str) -> Store:
    """Open `sqlite:///path` or `postgresql+psycopg://…`; connects on first use.

    Parameters never appear in error texts or logs (hide_parameters).
    """
    if not url.startswith("sqlite"):
        engine = create_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=True,
            pool_size=10,
            max_overflow=20,
            pool_timeout=POSTGRESQL_TIMEOUT,
            connect_args={"connect_timeout": POSTGRESQL_TIMEOUT},
        )
        return Store(engine, engine)
    return Store(_sqlite(url, "BEGIN IMMEDIATE"), _sqlite(url, "BEGIN"))


def migrate(store: Store) -> None:
    """Bring the schema to the newest revision (idempotent)."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with store.writer.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _sqlite(url: str, begin: str) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=10,
        max_overflow=30,
        connect_args={"timeout": 20, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=20000", "foreign_keys=on"):
            connection.execute(f"PRAGMA {pragma}")
        # What was deleted is overwritten: the door keeps nothing after its time, not in free pages either.
        connection.execute("PRAGMA secure_delete=on")
        # A write-ahead log that is begun again is cut off at once, with the pages as they were before.
        connection.execute("PRAGMA journal_size_limit=0")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
