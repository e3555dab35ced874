"""The console's database: two engines on one address, and the upgrade to the newest tables.

Writes begin with BEGIN IMMEDIATE on SQLite, so that two writers queue instead of failing half-way; reads use
an engine of their own, because that BEGIN would make every page view take the write lock. PostgreSQL gets the
same statements. This module knows no table's meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from alembic import command as alembic_command
from alembic.config import Config
from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

BUSY_TIMEOUT_MS: Final = 20_000
MIGRATIONS: Final = Path(__file__).parent / "migrations"


class Store:
    """`reading` for queries, `writing` for everything that changes a row."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.writing = _make_engine(url, immediate=True)
        self.reading = _make_engine(url, immediate=False)

    def upgrade(self) -> None:
        """Bring the tables to the newest revision; doing it twice changes nothing."""
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        with self.writing.begin() as connection:
            config.attributes["connection"] = connection
            alembic_command.upgrade(config, "head")

    def close(self) -> None:
        """Give all connections back."""
        self.writing.dispose()
        self.reading.dispose()


def insert_once(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert `row` unless a unique key forbids it; True when it is new."""
    build = postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
    # Not rowcount: for an INSERT it is -1 with some drivers, and a new row would pass for an old one.
    statement = build(table).values(**row).on_conflict_do_nothing().returning(*table.primary_key.columns)
    return connection.execute(statement).first() is not None


def _make_engine(url: str, *, immediate: bool) -> Engine:
    engine = create_engine(url, pool_pre_ping=True)
    if engine.dialect.name != "sqlite":
        return engine

    @event.listens_for(engine, "connect")
    def _set_pragmas(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "foreign_keys=on",
            # What was deleted is overwritten, and a write-ahead log that is begun again is cut off.
            "secure_delete=on",
            "journal_size_limit=0",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine
