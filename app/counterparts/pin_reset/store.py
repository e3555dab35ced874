"""What the reset service remembers (模擬/MOCK): nonces, used face checks, reservations, delegations, counter records.

SQLite, one transaction a step: of two that come with the same one-time value exactly one is served, in whichever thread or
process. No password, picture, name or certificate is ever here; a counter record holds the kinds of documents, no number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS nonce (nonce TEXT PRIMARY KEY, expires INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS face_check (reference TEXT PRIMARY KEY, expires INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS reservation (
  card TEXT, target TEXT, reservation TEXT UNIQUE NOT NULL, score INTEGER NOT NULL, expires INTEGER NOT NULL,
  PRIMARY KEY (card, target));
CREATE TABLE IF NOT EXISTS delegation (municipality TEXT PRIMARY KEY, since INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS counter_record (
  position INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, staff TEXT NOT NULL, card TEXT NOT NULL,
  target TEXT NOT NULL, documents TEXT NOT NULL, copy_reason TEXT, copy_consent INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class CounterRecord:
    """One reset at the counter. documents: kinds, comma-separated; copy_reason None = no copy was kept."""

    at: int
    staff: str
    card: str
    target: str
    documents: str
    copy_reason: str | None
    copy_consent: bool


class ResetStore:
    """One file (0600). Times are whole Unix seconds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._transaction() as db:
            for statement in _TABLES.split(";"):
                db.execute(statement)
        path.chmod(0o600)

    def add_nonce(self, nonce: str, *, now: int, expires: int) -> None:
        """Remember a nonce; what is over leaves at the same time."""
        with self._transaction() as db:
            for table in ("nonce", "face_check", "reservation"):
                db.execute(f"DELETE FROM {table} WHERE expires <= ?", (now,))  # noqa: S608  (fixed names)
            db.execute("INSERT INTO nonce VALUES (?, ?)", (nonce, expires))

    def take_nonce(self, nonce: str, *, now: int) -> bool:
        """Use a nonce up. False: unknown, used, or over."""
        taken = "DELETE FROM nonce WHERE nonce = ? AND expires > ? RETURNING 1"
        with self._transaction() as db:
            return bool(db.execute(taken, (nonce, now)).fetchall())

    def reserve(
        self, reservation: str, *, card: str, target: str, score: int, reference: str, now: int, expires: int
    ) -> bool:
        """Use the face check up and keep the reservation, in one step; a newer one replaces the card's older one.

        False: the face check was used before.
        """
        with self._transaction() as db:
            used = "INSERT INTO face_check VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING 1"
            if not db.execute(used, (reference, now + 2 * (expires - now))).fetchall():
                return False
            row = (card, target, reservation, score, expires)
            db.execute("INSERT OR REPLACE INTO reservation VALUES (?, ?, ?, ?, ?)", row)
        return True

    def take_reservation(self, *, card: str, target: str, now: int) -> bool:
        """Use the card's reservation up. False: there is none, or it is over."""
        taken = "DELETE FROM reservation WHERE card = ? AND target = ? AND expires > ? RETURNING 1"
        with self._transaction() as db:
            return bool(db.execute(taken, (card, target, now)).fetchall())

    def set_delegation(self, municipality: str, *, delegated: bool, now: int) -> None:
        """Whether this municipality has delegated the reset at kiosks."""
        with self._transaction() as db:
            db.execute("DELETE FROM delegation WHERE municipality = ?", (municipality,))
            if delegated:
                db.execute("INSERT INTO delegation VALUES (?, ?)", (municipality, now))

    def is_delegated(self, municipality: str) -> bool:
        """Whether it has."""
        with self._transaction() as db:
            found = db.execute("SELECT 1 FROM delegation WHERE municipality = ?", (municipality,))
            return found.fetchone() is not None

    def add_counter_record(self, record: CounterRecord) -> None:
        """Write the record, before the authorisation leaves; the card's reservations end with it."""
        values = (
            record.at, record.staff, record.card, record.target, record.documents, record.copy_reason,
            int(record.copy_consent),
        )  # fmt: skip
        with self._transaction() as db:
            db.execute(
                "INSERT INTO counter_record"
                " (at, staff, card, target, documents, copy_reason, copy_consent) VALUES (?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            db.execute("DELETE FROM reservation WHERE card = ?", (record.card,))

    def counter_records(self) -> list[CounterRecord]:
        """All of them, oldest first."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT at, staff, card, target, documents, copy_reason, copy_consent FROM counter_record"
                " ORDER BY position"
            ).fetchall()
        return [CounterRecord(*row[:6], bool(row[6])) for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        try:
            # Taken at once: a lock that a read grows into a write could be refused half way.
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:  # whatever happened, nothing half done stays; then it is told as it is
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        finally:
            db.close()
