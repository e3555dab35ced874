"""The announcement of a new device: a notice to every other device of the resident, a mail to every confirmed address.

Queued in the transaction that binds the new device, so that no crash lies between. `is_announced` is what the hand-over
of the new device's first package waits for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from app.storage import accounts as account_store
from app.storage.accounts import STOPPED
from app.storage.outbox import queue_answer
from app.storage.tables import accounts, notice_mails, outbox
from mobile_api.messages import Notice

ANNOUNCE_SECONDS: Final = 86400
"""How long the hand-over waits for a door that does not take an announcement. A door that wanted to keep one back could
confirm it as well; and one that has really forgotten an old phone must not take the certificates from a new one."""
MAIL_PATIENCE: Final = 300
"""How long the hand-over waits for the first try of a mail. Only the try counts: a mail server that is away holds up
nothing."""
MAIL_SECONDS: Final = 7 * 86400
"""A mail that could not be sent by then is given up."""
MAX_PAUSE: Final = 3600


@dataclass(frozen=True, slots=True)
class NoticeMail:
    """A mail to be sent. `attempts` made so far."""

    position: int
    account: str
    attempts: int
    made_at: int


def announce_device(
    connection: Connection, new_account: str, binding: str, notice: Notice, *, at: int
) -> None:
    """Tell every other device of the binding, and every confirmed mail address, of the device `new_account`."""
    for other in account_store.find_accounts_of(connection, binding):
        if other.account != new_account:
            queue_answer(
                connection,
                account=other.account,
                item_id=_item(new_account),
                in_reply_to=None,
                body=notice,
                at=at,
            )
    told: set[str] = set()
    rows = connection.execute(
        select(accounts.c.account, accounts.c.mail)
        .where(
            accounts.c.binding == binding,
            accounts.c.account != new_account,
            accounts.c.mail.is_not(None),
            accounts.c.mail_confirmed_at.is_not(None),
        )
        .order_by(accounts.c.registered_at, accounts.c.account)
    ).all()
    for row in rows:
        if row.mail not in told:
            told.add(row.mail)
            connection.execute(
                insert(notice_mails).values(account=row.account, about=new_account, made_at=at, due_at=at)
            )


def is_announced(connection: Connection, account: str, *, at: int) -> bool:
    """Whether the door has every announcement of this device, and every mail was tried once.

    True for a resident's first device. What goes to stopped devices is not waited for.
    """
    waiting = connection.execute(
        select(outbox.c.position)
        .join(accounts, accounts.c.account == outbox.c.account)
        .where(
            outbox.c.kind == "answer",
            outbox.c.item_id == _item(account),
            outbox.c.sent_at.is_(None),
            outbox.c.made_at > at - ANNOUNCE_SECONDS,
            accounts.c.state != STOPPED,
        )
    ).first()
    if waiting is not None:
        return False
    untried = connection.execute(
        select(notice_mails.c.position).where(
            notice_mails.c.about == account,
            notice_mails.c.attempts == 0,
            notice_mails.c.made_at > at - MAIL_PATIENCE,
        )
    ).first()
    return untried is None


def mails_due(connection: Connection, *, at: int, limit: int) -> list[NoticeMail]:
    """Mails whose time has come, oldest first."""
    columns = [notice_mails.c[name] for name in NoticeMail.__slots__]
    rows = connection.execute(
        select(*columns).where(notice_mails.c.due_at <= at).order_by(notice_mails.c.position).limit(limit)
    )
    return [NoticeMail(*row) for row in rows]


def find_address(connection: Connection, account: str) -> str | None:
    """The confirmed mail address of an account."""
    found = connection.execute(
        select(accounts.c.mail).where(
            accounts.c.account == account, accounts.c.mail_confirmed_at.is_not(None)
        )
    ).scalar()
    return None if found is None else str(found)


def forget_mail(connection: Connection, mail: NoticeMail) -> None:
    """It was sent, or given up."""
    connection.execute(delete(notice_mails).where(notice_mails.c.position == mail.position))


def put_off_mail(connection: Connection, mail: NoticeMail, *, at: int) -> None:
    """It could not be sent: later, each time twice as long, up to MAX_PAUSE; after MAIL_SECONDS not at all."""
    if at - mail.made_at >= MAIL_SECONDS:
        forget_mail(connection, mail)
        return
    pause = min(MAX_PAUSE, 30 * 2 ** min(mail.attempts, 10))
    connection.execute(
        update(notice_mails)
        .where(notice_mails.c.position == mail.position)
        .values(attempts=mail.attempts + 1, due_at=at + pause)
    )


def _item(account: str) -> str:
    return f"device-{account}"
