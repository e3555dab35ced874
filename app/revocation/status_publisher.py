"""Status lists on a beat: what was revoked goes into the next signed list, the list's digest into the log.

Published on a timer and not at each revocation, so that the time of a publication says nothing about a person. A list
says valid or invalid only; reasons stay in the city. A token is also renewed before half of its life is over. Of several
lists only those go out that changed or grow old: which ones changed can be read from their contents anyway, and they go
in the order of their numbers. What was revoked between two beats appears together, so a beat must be long enough to
collect the revocations of several people (docs/formats/status-list.md).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, select, update

from app.city_keys import CityKeys
from app.sealing.status_list import build_bits, finish_status_list, prepare_status_list
from app.storage import status_entries
from app.storage.tables import status_lists
from verifier.formats.encoding import sha256
from verifier.formats.names import STATUS_LIST_LEAF_LABEL

log = logging.getLogger("akashi.status")

STATUS_REQUEST = "standing:status"


@dataclass(frozen=True, slots=True)
class StatusSettings:
    """uri gives a list's public address, path its place below it; certificates DER without root; life and ttl in
    seconds, size in entries. `number` lists are kept open for new entries, of those that `is_known` to readers by the
    trust list."""

    uri: Callable[[int], str]
    path: Callable[[int], str]
    certificates: tuple[bytes, ...]
    life: int
    ttl: int
    size: int
    number: int
    is_known: Callable[[int], bool]


class StatusPublisher:
    """Makes and publishes the lists of one city."""

    def __init__(
        self,
        store: Engine,
        settings: StatusSettings,
        keys: CityKeys,
        *,
        put_public: Callable[[str, bytes], None],
        append: Callable[[bytes], object],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._settings = settings
        self._keys = keys
        self._put_public = put_public
        self._append = append
        self._clock = clock

    def tend(self) -> None:
        """Open new lists where those in use are half full, close the full ones."""
        settings = self._settings
        with self._store.begin() as connection:
            status_entries.tend_lists(
                connection, wanted=settings.number, size=settings.size, may_open=settings.is_known
            )

    def publish_new(self) -> int:
        """Put out the lists that nobody has seen yet, so that a certificate's address leads somewhere.

        They say nothing about anybody: no entry of theirs is older than they are. Returns how many.
        """
        with self._store.begin() as connection:
            rows = connection.execute(
                select(status_lists.c.status_list)
                .where(status_lists.c.issued_at.is_(None))
                .order_by(status_lists.c.status_list)
            ).all()
        for row in rows:
            self._make(row.status_list)
            self._publish(row.status_list)
        return len(rows)

    def token(self, number: int) -> bytes:
        """The newest token of a list; made now if there is none or it is getting old."""
        with self._store.begin() as connection:
            row = connection.execute(
                select(status_lists.c.token, status_lists.c.issued_at).where(
                    status_lists.c.status_list == number
                )
            ).one()
        now = int(self._clock().timestamp())
        if row.token is None or row.issued_at is None or now - row.issued_at > self._settings.life // 2:
            return self._make(number)
        return row.token.encode("ascii")

    def publish_due(self) -> int:
        """One beat: make what is dirty or old, publish what is not published; returns how many lists went out."""
        now = int(self._clock().timestamp())
        with self._store.begin() as connection:
            status_entries.expire_entries(connection, today=status_entries.legal_day(now))
            rows = connection.execute(select(status_lists).order_by(status_lists.c.status_list)).all()
        sent = 0
        for row in rows:
            old = row.issued_at is None or now - row.issued_at > self._settings.life // 2
            if row.dirty or old:
                self._make(row.status_list)
                sent += self._publish(row.status_list)
            elif row.published_at is None or row.published_at < row.issued_at:
                sent += self._publish(row.status_list)
        return sent

    def _make(self, number: int) -> bytes:
        settings = self._settings
        now = self._clock()
        with self._store.begin() as connection:
            revoked = status_entries.find_invalid(connection, number)
        prepared = prepare_status_list(
            build_bits(settings.size, revoked),
            uri=settings.uri(number),
            issued=now,
            lifetime=timedelta(seconds=settings.life),
            ttl=timedelta(seconds=settings.ttl),
            certificates=settings.certificates,
        )
        sign = self._keys.signing("status_list", request_id=STATUS_REQUEST, serial=f"list-{number}")
        token = finish_status_list(prepared, sign(prepared.digest)).encode("ascii")
        row = update(status_lists).where(status_lists.c.status_list == number)
        with self._store.begin() as connection:
            # Clean in the same transaction as the token, so that a crash before it leaves the list dirty. The row is held
            # from here on: what was revoked while this was signed is seen now, what comes later makes it dirty after us.
            connection.execute(
                row.values(token=token.decode("ascii"), issued_at=int(now.timestamp()), dirty=False)
            )
            if status_entries.find_invalid(connection, number) != revoked:
                connection.execute(row.values(dirty=True))
        log.info("status list %d: %d revoked", number, len(revoked))
        return token

    def _publish(self, number: int) -> int:
        with self._store.begin() as connection:
            row = connection.execute(
                select(status_lists.c.token, status_lists.c.issued_at).where(
                    status_lists.c.status_list == number
                )
            ).one()
        token = row.token.encode("ascii")
        # The log first: a list that is out is also on record.
        self._append(sha256(STATUS_LIST_LEAF_LABEL + hashlib.sha256(token).digest()))
        self._put_public(self._settings.path(number), token)
        with self._store.begin() as connection:
            connection.execute(
                update(status_lists)
                .where(status_lists.c.status_list == number, status_lists.c.issued_at == row.issued_at)
                .values(published_at=row.issued_at)
            )
        return 1
