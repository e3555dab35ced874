"""Mails that tell of a new device: sent from the worker's store, tried again later, never in anybody's way.

The mail says that a phone was registered, and nothing about a person. A crash between sending and noting sends it once
more, which does no harm; losing it would.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from sqlalchemy import Engine

from app.errors import UnavailableError
from app.storage import announcements

log = logging.getLogger("akashi.mail")

MAILS_A_ROUND: Final = 20

Tell = Callable[[str], None]
"""(address): send the mail about a new device. An outage raises UnavailableError."""


class NoticeMailer:
    """Sends the notice mails of one city."""

    def __init__(self, store: Engine, tell: Tell, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._tell = tell
        self._clock = clock

    def send_due(self) -> int:
        """Try what is due; returns how many mails went out."""
        at, sent = int(self._clock().timestamp()), 0
        with self._store.begin() as connection:
            due = announcements.mails_due(connection, at=at, limit=MAILS_A_ROUND)
        for mail in due:
            with self._store.begin() as connection:
                address = announcements.find_address(connection, mail.account)
            try:
                if address is not None:
                    self._tell(address)
                    sent += 1
            except UnavailableError as error:
                log.warning("notice mail %d not sent: %s", mail.position, error.code)
                with self._store.begin() as connection:
                    announcements.put_off_mail(connection, mail, at=at)
                continue
            with self._store.begin() as connection:
                announcements.forget_mail(connection, mail)
        return sent
