"""Opening one SQL store: SQLite on a laptop, PostgreSQL in a city, the same statements on both.

SQLite is opened so that an acknowledged commit survives a power cut (WAL, synchronous=FULL) and so that a transaction
takes the write lock when it begins (a read that later writes would otherwise fail at once, whatever the busy timeout).
What is deleted is overwritten (secure_delete); `empty_wal` takes it out of the write-ahead log, and `scrub` out of pages
that SQLite had rearranged while it was alive, which secure_delete does not reach. On PostgreSQL that is the work of its own
VACUUM and of the disk's encryption, which this program does not see.
This module holds no tables.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event

PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "busy_timeout=20000",
    "foreign_keys=on",
    # A resident's data that was deleted must not stay in free pages.
    "secure_delete=on",
    # A write-ahead log that is begun again is cut off at once: its rest would hold pages as they were before.
    "journal_size_limit=0",
)


def open_store(url: str) -> Engine:
    """An engine for `url` (`sqlite:///path` or `postgresql+psycopg://…`).

    Parameters never appear in the text of an error (hide_parameters).
    """
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True, hide_parameters=True)
    engine = create_engine(
        url, hide_parameters=True, connect_args={"timeout": 20, "check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _immediate(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def empty_wal(engine: Engine) -> bool:
    """Move everything into the SQLite file and cut the write-ahead log to nothing, with what was deleted since.

    False when somebody reads or writes for longer than the busy timeout: try again later. True on other databases, where
    there is nothing to do.
    """
    if engine.dialect.name != "sqlite":
        return True
    # Not through a transaction of the engine: a checkpoint inside one is impossible.
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        is_busy = bool(cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
        cursor.close()
        return not is_busy
    finally:
        connection.close()


def scrub(engine: Engine) -> bool:
    """Write the whole SQLite file anew, so that no page holds anything that was deleted; then `empty_wal`.

    Nobody else can write meanwhile (about a second for 100 MB), and the copy lies in memory: for stores of a laptop's size.
    False when the store is busy. True on other databases, where there is nothing to do.
    """
    if engine.dialect.name != "sqlite":
        return True
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        # The copy would otherwise be a file elsewhere, deleted but not overwritten.
        cursor.execute("PRAGMA temp_store=MEMORY")
        cursor.execute("VACUUM")
        cursor.close()
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return empty_wal(engine)


def upgrade_store(engine: Engine, migrations: Path) -> None:
    """Bring the store to the newest revision of the Alembic scripts in `migrations` (idempotent)."""
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)

    def steps(revision: Any, _context: Any) -> Any:
        return script._upgrade_revs("head", revision)

    with EnvironmentContext(config, script, fn=steps) as environment, engine.connect() as connection:
        environment.configure(connection=connection, transactional_ddl=True)
        with environment.begin_transaction():
            environment.run_migrations()
        connection.commit()
