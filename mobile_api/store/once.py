"""Single use, decided by the database in one statement: tokens (proofs, city tokens) and insert-once rows."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from mobile_api.store.tables import used_tokens


def insert_once(connection: Connection, table: Table, values: dict[str, Any]) -> bool:
    """Insert unless a unique value is already there. Whether this call inserted."""
    # RETURNING and not the row count: SQLAlchemy keeps no row count of an INSERT on PostgreSQL.
    return connection.execute(_insert(connection.dialect.name, table), values).first() is not None


@cache
def _insert(dialect_name: str, table: Table) -> Any:
    # Built once a table: on the ways that are gone often, putting a statement together costs more than running it.
    dialect = postgresql if dialect_name == "postgresql" else sqlite
    return dialect.insert(table).on_conflict_do_nothing().returning(next(iter(table.columns)))


def consume_token(connection: Connection, token_hash: str, until_minute: int) -> bool:
    """Use a token up. False: it was used before. The row must outlive the token (`until_minute`)."""
    return insert_once(connection, used_tokens, {"token_hash": token_hash, "until_minute": until_minute})
