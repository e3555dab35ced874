"""Sessions of logged-in staff: a random cookie value known here only by its hash, and a CSRF token beside it.

A session ends by logging out, by idleness, by age, or when its login is disabled or gets a new password.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, insert, or_, select, update

from app.staff.store import Store
from app.staff.tables import staff_session

TOKEN_BYTES: Final = 32
# `seen_at` is written at most this often, so that a refreshing page is not a write every time.
SEEN_EVERY_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Session:
    """Who is logged in, and the token each form must carry."""

    name: str
    csrf: str


class Sessions:
    """The sessions of one city; ages in seconds."""

    def __init__(self, store: Store, city: str, *, session_seconds: int, idle_seconds: int) -> None:
        self._store = store
        self._city = city
        self._session_seconds = session_seconds
        self._idle_seconds = idle_seconds

    def begin(self, name: str, now: datetime) -> str:
        """Start a session for `name`; returns the cookie value, which is stored nowhere. Sweeps sessions that
        have ended.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        seconds = int(now.timestamp())
        ended = or_(
            staff_session.c.created_at <= seconds - self._session_seconds,
            staff_session.c.seen_at <= seconds - self._idle_seconds,
        )
        with self._store.writing.begin() as connection:
            connection.execute(delete(staff_session).where(staff_session.c.city == self._city, ended))
            connection.execute(
                insert(staff_session).values(
                    token_hash=_hash(token),
                    city=self._city,
                    name=name,
                    csrf=secrets.token_urlsafe(TOKEN_BYTES),
                    created_at=seconds,
                    seen_at=seconds,
                )
            )
        return token

    def find(self, token: str, now: datetime) -> Session | None:
        """The session behind a cookie value, or None if there is none or it has ended."""
        seconds = int(now.timestamp())
        mine = (staff_session.c.city == self._city, staff_session.c.token_hash == _hash(token))
        with self._store.reading.begin() as connection:
            row = connection.execute(select(staff_session).where(*mine)).one_or_none()
        if (
            row is None
            or seconds - row.created_at >= self._session_seconds
            or seconds - row.seen_at >= self._idle_seconds
        ):
            return None
        if seconds - row.seen_at >= SEEN_EVERY_SECONDS:
            with self._store.writing.begin() as connection:
                connection.execute(update(staff_session).where(*mine).values(seen_at=seconds))
        return Session(row.name, row.csrf)

    def end(self, token: str) -> None:
        """Log out; an unknown token is no error."""
        with self._store.writing.begin() as connection:
            connection.execute(
                delete(staff_session).where(
                    staff_session.c.city == self._city, staff_session.c.token_hash == _hash(token)
                )
            )


def is_same(given: str, expected: str) -> bool:
    """Constant-time comparison of two tokens."""
    return hmac.compare_digest(
        given.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass")
    )


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
