"""How much was sealed and logged, to be compared with what the register gate authorised.

Both count documents, not requests: a phone certificate is one, each wallet copy is one.
"""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from app.storage.tables import certificates, copies


def count_sealed(connection: Connection) -> int:
    """How many phone certificates and copies were sealed."""
    return sum(
        int(
            connection.execute(
                select(func.count()).select_from(table).where(table.c.entry.is_not(None))
            ).scalar_one()
        )
        for table in (certificates, copies)
    )


def count_logged(connection: Connection) -> int:
    """How many phone certificates and copies have a place in the log."""
    return sum(
        int(
            connection.execute(
                select(func.count()).select_from(table).where(table.c.log_index.is_not(None))
            ).scalar_one()
        )
        for table in (certificates, copies)
    )
