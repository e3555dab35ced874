"""One SQLite file, opened so that a commit survives a power cut and two writers queue. Knows no table.

For the log's and the witness's own small databases.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event

BUSY_MILLISECONDS: Final = 20_000


def connect_file(path: Path) -> sa.Engine:
    """An engine on the file; SQLite makes it when it is not there, at the first statement.

    Every transaction takes the write lock when it begins, so that what it reads is still so when it writes.
    """
    engine = sa.create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions by its own rules
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"busy_timeout={BUSY_MILLISECONDS}",
            "foreign_keys=on",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
