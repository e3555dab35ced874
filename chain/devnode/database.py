"""The embedded chain's storage: one SQLite table of keys and values, one transaction a block.

py-evm reads and writes single keys. Whatever happens inside `transaction()` becomes durable together or not
at all, so that a process killed in the middle of a block restarts at the block before. Plain sqlite3: this is
a chain node's private key-value file, not a store of this product's.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eth.db.atomic import AtomicDBWriteBatch
from eth.db.backends.base import BaseAtomicDB


class SqliteAtomicDB(BaseAtomicDB):  # type: ignore[misc]  # py-evm is untyped here
    """py-evm's key-value interface on one SQLite file, one connection under a re-entrant lock."""

    def __init__(self, path: Path | str) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._connection = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "locking_mode=EXCLUSIVE"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS pair (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
        )

    def __getitem__(self, key: bytes) -> bytes:
        with self._lock:
            row = self._connection.execute("SELECT value FROM pair WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return bytes(row[0])

    def __setitem__(self, key: bytes, value: bytes) -> None:
        with self._lock:
            self._connection.execute("INSERT OR REPLACE INTO pair VALUES (?, ?)", (key, bytes(value)))

    def __delitem__(self, key: bytes) -> None:
        with self._lock:
            if self._connection.execute("DELETE FROM pair WHERE key = ?", (key,)).rowcount == 0:
                raise KeyError(key)

    def _exists(self, key: bytes) -> bool:
        with self._lock:
            row = self._connection.execute("SELECT 1 FROM pair WHERE key = ?", (key,)).fetchone()
        return row is not None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen together; nesting joins the outer one."""
        with self._lock:
            if self._depth == 0:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._connection.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._connection.execute("COMMIT")

    @contextlib.contextmanager
    def atomic_batch(self) -> Iterator[Any]:
        """py-evm's own batches, inside a transaction."""
        with self.transaction(), AtomicDBWriteBatch._commit_unless_raises(self) as batch:
            yield batch

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
