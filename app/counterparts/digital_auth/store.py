"""What the mock provider remembers between two requests (模擬/MOCK): sign-ins under way, codes, access tokens, used
assertions.

SQLite, one transaction a step, so that of two that come with the same one-time value exactly one is served, in
whichever thread or process. Tickets, codes and tokens are kept as SHA-256 only; no PIN or certificate is ever here.
The four attributes are, from the consent until the access token is over (ten minutes at most), if the person gives them.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REUSE_MEMORY_SECONDS: Final = 600
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS sign_in (
  ticket BLOB PRIMARY KEY, client TEXT, redirect_uri TEXT, state TEXT, nonce TEXT, challenge TEXT, scopes TEXT,
  person TEXT, attributes TEXT, expires INTEGER);
CREATE TABLE IF NOT EXISTS code (
  code BLOB PRIMARY KEY, client TEXT, redirect_uri TEXT, nonce TEXT, challenge TEXT, subject TEXT,
  auth_time INTEGER, attributes TEXT, expires INTEGER, used INTEGER, reused INTEGER);
CREATE TABLE IF NOT EXISTS access (
  token BLOB PRIMARY KEY, code BLOB, subject TEXT, client TEXT, attributes TEXT, expires INTEGER);
CREATE TABLE IF NOT EXISTS assertion (client TEXT, jti BLOB, expires INTEGER, PRIMARY KEY (client, jti));
"""


@dataclass(frozen=True, slots=True)
class SignIn:
    """One accepted authorization request: what the answer will need. scopes: the attributes asked for, in words."""

    client: str
    redirect_uri: str
    state: str
    nonce: str
    challenge: str
    scopes: str = ""


@dataclass(frozen=True, slots=True)
class Consent:
    """A card was touched and the person is asked: who it is, and the attributes as JSON."""

    person: str
    attributes: str


@dataclass(frozen=True, slots=True)
class Access:
    """What an access token stands for. attributes: JSON of the claims given, "" for none."""

    subject: str
    client: str
    attributes: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What a code stands for. auth_time: seconds since 1970, when the card was touched. attributes: as in `Access`."""

    client: str
    redirect_uri: str
    nonce: str
    challenge: str
    subject: str
    auth_time: int
    attributes: str = ""


class ProviderStore:
    """One file. All times are whole seconds since 1970."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._transaction() as db:
            for statement in _TABLES.split(";"):
                db.execute(statement)
        path.chmod(0o600)

    def add_sign_in(self, ticket: str, sign_in: SignIn, *, now: int, expires: int) -> None:
        """Keep a request until its card is touched; what is over leaves at the same time."""
        row = (
            sign_in.client,
            sign_in.redirect_uri,
            sign_in.state,
            sign_in.nonce,
            sign_in.challenge,
            sign_in.scopes,
        )
        with self._transaction() as db:
            db.execute("DELETE FROM sign_in WHERE expires <= ?", (now,))
            db.execute("DELETE FROM code WHERE expires <= ?", (now - REUSE_MEMORY_SECONDS,))
            db.execute("DELETE FROM access WHERE expires <= ?", (now,))
            db.execute("DELETE FROM assertion WHERE expires <= ?", (now,))
            insert = "INSERT INTO sign_in VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?)"
            db.execute(insert, (_hash(ticket), *row, expires))

    def find_sign_in(self, ticket: str, *, now: int) -> SignIn | None:
        """The sign-in under way with this ticket, untouched."""
        with self._transaction() as db:
            row = db.execute(
                "SELECT client, redirect_uri, state, nonce, challenge, scopes FROM sign_in"
                " WHERE ticket = ? AND expires > ?",
                (_hash(ticket), now),
            ).fetchone()
        return None if row is None else SignIn(*row)

    def ask_consent(self, ticket: str, new_ticket: str, consent: Consent, *, now: int) -> bool:
        """The card was touched: the sign-in goes on under a new ticket, with what the person is asked about.

        False: the ticket is not there any more, or its card was touched before.
        """
        with self._transaction() as db:
            return bool(
                db.execute(
                    "UPDATE sign_in SET ticket = ?, person = ?, attributes = ?"
                    " WHERE ticket = ? AND person IS NULL AND expires > ? RETURNING 1",
                    (_hash(new_ticket), consent.person, consent.attributes, _hash(ticket), now),
                ).fetchall()
            )

    def find_consent(self, ticket: str, *, now: int) -> Consent | None:
        """What the person with this ticket is asked about; None before the card was touched."""
        with self._transaction() as db:
            row = db.execute(
                "SELECT person, attributes FROM sign_in"
                " WHERE ticket = ? AND person IS NOT NULL AND expires > ?",
                (_hash(ticket), now),
            ).fetchone()
        return None if row is None else Consent(*row)

    def end_sign_in(self, ticket: str, *, now: int) -> bool:
        """Take the sign-in away. False: somebody else has, or it is over."""
        with self._transaction() as db:
            return _take_ticket(db, ticket, now)

    def add_code(self, ticket: str, code: str, grant: Grant, *, now: int, expires: int) -> bool:
        """Turn the ticket into a code, in one step. False: the ticket is not there any more."""
        row = (
            grant.client,
            grant.redirect_uri,
            grant.nonce,
            grant.challenge,
            grant.subject,
            grant.auth_time,
            grant.attributes,
        )
        with self._transaction() as db:
            if not _take_ticket(db, ticket, now):
                return False
            db.execute(
                "INSERT INTO code VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)", (_hash(code), *row, expires)
            )
        return True

    def take_code(self, code: str, client: str, *, now: int) -> Grant | None:
        """Use a code up, before anything else about it is checked. A second use by the same client takes back the
        access token of the first (RFC 6749 section 4.1.2). None: not a code of this client, used, or over.
        """
        key = (_hash(code), client)
        with self._transaction() as db:
            row = db.execute(
                "UPDATE code SET used = 1 WHERE code = ? AND client = ? AND used = 0 AND expires > ?"
                " RETURNING client, redirect_uri, nonce, challenge, subject, auth_time, attributes",
                (*key, now),
            ).fetchone()
            if (
                row is None
                and db.execute(
                    "UPDATE code SET reused = 1 WHERE code = ? AND client = ? AND used = 1 RETURNING 1", key
                ).fetchall()
            ):
                db.execute("DELETE FROM access WHERE code = ?", key[:1])
        return None if row is None else Grant(*row)

    def add_access(self, token: str, code: str, access: Access, *, expires: int) -> None:
        """An access token, unless its code was used again in the meantime: then it is worth nothing."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO access SELECT ?, code, ?, ?, ?, ? FROM code WHERE code = ? AND reused = 0",
                (_hash(token), access.subject, access.client, access.attributes, expires, _hash(code)),
            )
            # From here on the token alone knows them.
            db.execute("UPDATE code SET attributes = '' WHERE code = ?", (_hash(code),))

    def find_access(self, token: str, *, now: int) -> Access | None:
        """What a valid access token stands for."""
        with self._transaction() as db:
            row = db.execute(
                "SELECT subject, client, attributes FROM access WHERE token = ? AND expires > ?",
                (_hash(token), now),
            ).fetchone()
        return None if row is None else Access(*row)

    def take_assertion(self, client: str, jti: str, *, expires: int) -> bool:
        """Note a client assertion's jti. False: it was used before."""
        with self._transaction() as db:
            return bool(
                db.execute(
                    "INSERT INTO assertion VALUES (?, ?, ?) ON CONFLICT DO NOTHING RETURNING 1",
                    (client, _hash(jti), expires),
                ).fetchall()
            )

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


def _take_ticket(db: sqlite3.Connection, ticket: str, now: int) -> bool:
    taken = "DELETE FROM sign_in WHERE ticket = ? AND expires > ? RETURNING 1"
    return bool(db.execute(taken, (_hash(ticket), now)).fetchall())


def _hash(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8")).digest()
