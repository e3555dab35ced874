"""Staff accounts: adding, disabling, and checking a name, a password and (where set) a time-based code.

Attempts are counted before they are checked, a name and an address each; a count that is full refuses without
checking. An unknown name costs the same time as a known one. Sessions are the next module's.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

from sqlalchemy import Connection, delete, select, update

from app.staff.audit import append_audit
from app.staff.errors import LoginRefusedError, StaffUsageError
from app.staff.messages import NAME_FORM
from app.staff.passwords import (
    SALT_BYTES,
    TOTP_SECRET_BYTES,
    find_totp_step,
    format_password_hash,
    is_good_password,
    is_password,
)
from app.staff.store import Store, insert_once
from app.staff.tables import login_failure, staff_login, staff_session

FAILURES_PER_NAME: Final = 5
FAILURES_PER_ADDRESS: Final = 30
FAILURE_WINDOW_SECONDS: Final = 900


@dataclass(frozen=True, slots=True)
class Added:
    """A new login; `totp_secret` (base32, for an authenticator app) only if one was asked for, shown once."""

    name: str
    totp_secret: str | None


class Logins:
    """The staff accounts of one city."""

    def __init__(self, store: Store, city: str) -> None:
        self._store = store
        self._city = city

    @cached_property
    def _nobody(self) -> str:
        # Compared against when the name is unknown, so that the answer takes as long.
        return format_password_hash(secrets.token_urlsafe(16), secrets.token_bytes(SALT_BYTES))

    def add(self, name: str, password: str, now: datetime, *, with_totp: bool = False) -> Added:
        """Create a login. Raises: StaffUsageError(bad-name, weak-password, name-taken)."""
        if not NAME_FORM.fullmatch(name):
            raise StaffUsageError("bad-name", "2 to 32 of a-z 0-9 . _ - beginning with a letter")
        secret = (
            base64.b32encode(secrets.token_bytes(TOTP_SECRET_BYTES)).decode("ascii") if with_totp else None
        )
        row = {
            "city": self._city,
            "name": name,
            "password_hash": _hash(password),
            "totp_secret": secret,
            "totp_last_step": 0,
            "created_at": int(now.timestamp()),
        }
        with self._store.writing.begin() as connection:
            if not insert_once(connection, staff_login, row):
                raise StaffUsageError("name-taken", name)
            append_audit(connection, self._city, now, who="cli", act="staff-add", subject=name)
        return Added(name, secret)

    def set_password(self, name: str, password: str, now: datetime) -> None:
        """Replace the password and end the person's sessions.

        Raises: StaffUsageError(weak-password, unknown-name).
        """
        self._change(name, now, "staff-password", password_hash=_hash(password))

    def disable(self, name: str, now: datetime) -> None:
        """Refuse this name from now on and end its sessions. Raises: StaffUsageError(unknown-name)."""
        self._change(name, now, "staff-disable", disabled_at=int(now.timestamp()))

    def names(self) -> list[tuple[str, bool]]:
        """All logins by name, with whether each may log in."""
        query = select(staff_login.c.name, staff_login.c.disabled_at).where(staff_login.c.city == self._city)
        with self._store.reading.begin() as connection:
            return [(row.name, row.disabled_at is None) for row in connection.execute(query.order_by("name"))]

    def check(self, name: str, password: str, code: str, address: str, now: datetime) -> str:
        """The canonical name of the person who proved to be `name`.

        Raises: LoginRefusedError(wrong-login | too-many-attempts); it never says which part was wrong.
        """
        keys = (
            (_throttle_key("name", name), FAILURES_PER_NAME),
            (_throttle_key("address", address), FAILURES_PER_ADDRESS),
        )
        with self._store.writing.begin() as connection:
            allowed = [_count_attempt(connection, self._city, key, limit, now) for key, limit in keys]
        if not all(allowed):
            raise LoginRefusedError("too-many-attempts")
        query = select(staff_login).where(staff_login.c.city == self._city, staff_login.c.name == name)
        with self._store.reading.begin() as connection:
            row = connection.execute(query).one_or_none()
        nobody = self._nobody
        fits = is_password(password, row.password_hash if row else nobody)
        if row is None or not fits or row.disabled_at is not None:
            raise self._refuse(name, now)
        with self._store.writing.begin() as connection:
            if row.totp_secret is not None and not _consume_code(
                connection, self._city, name, row.totp_secret, code, now
            ):
                fits = False
            else:
                forget = [key for key, _limit in keys]
                connection.execute(
                    delete(login_failure).where(
                        login_failure.c.city == self._city, login_failure.c.throttle_key.in_(forget)
                    )
                )
                append_audit(connection, self._city, now, who=name, act="login")
        if not fits:
            raise self._refuse(name, now)
        return str(row.name)

    def _refuse(self, name: str, now: datetime) -> LoginRefusedError:
        # A mistyped name may be a password: only well-formed names that exist in form reach the line.
        shown = name if NAME_FORM.fullmatch(name) else "?"
        with self._store.writing.begin() as connection:
            known = connection.execute(
                select(staff_login.c.name).where(
                    staff_login.c.city == self._city, staff_login.c.name == shown
                )
            ).one_or_none()
            append_audit(
                connection, self._city, now, who=shown if known else "?", act="login", outcome="refused"
            )
        return LoginRefusedError("wrong-login")

    def _change(self, name: str, now: datetime, act: str, **values: object) -> None:
        mine = (staff_login.c.city == self._city, staff_login.c.name == name)
        with self._store.writing.begin() as connection:
            if connection.execute(update(staff_login).where(*mine).values(**values)).rowcount != 1:
                raise StaffUsageError("unknown-name", name)
            connection.execute(
                delete(staff_session).where(staff_session.c.city == self._city, staff_session.c.name == name)
            )
            append_audit(connection, self._city, now, who="cli", act=act, subject=name)


def _hash(password: str) -> str:
    if not is_good_password(password):
        raise StaffUsageError("weak-password", "12 to 256 characters")
    return format_password_hash(password, secrets.token_bytes(SALT_BYTES))


def _throttle_key(kind: str, value: str) -> str:
    # Hashed: what people type into the name field is not kept.
    return hashlib.sha256(f"{kind}\x00{value}".encode("utf-8", "surrogatepass")).hexdigest()


def _count_attempt(connection: Connection, city: str, key: str, limit: int, now: datetime) -> bool:
    seconds = int(now.timestamp())
    mine = (login_failure.c.city == city, login_failure.c.throttle_key == key)
    if insert_once(
        connection, login_failure, {"city": city, "throttle_key": key, "since": seconds, "failures": 1}
    ):
        return True
    old = login_failure.c.since <= seconds - FAILURE_WINDOW_SECONDS
    if (
        connection.execute(update(login_failure).where(*mine, old).values(since=seconds, failures=1)).rowcount
        == 1
    ):
        return True
    more = update(login_failure).where(*mine, login_failure.c.failures < limit)
    return connection.execute(more.values(failures=login_failure.c.failures + 1)).rowcount == 1


def _consume_code(
    connection: Connection, city: str, name: str, secret: str, code: str, now: datetime
) -> bool:
    step = find_totp_step(base64.b32decode(secret), code, int(now.timestamp()))
    if step is None:
        return False
    # One statement: the same code cannot log in twice, whoever is faster.
    unused = staff_login.c.totp_last_step < step
    spend = update(staff_login).where(staff_login.c.city == city, staff_login.c.name == name, unused)
    return connection.execute(spend.values(totp_last_step=step)).rowcount == 1
