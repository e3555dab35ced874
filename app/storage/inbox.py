"""Envelopes taken from the street door: stored first, acknowledged then, handled once."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from app.storage.tables import handled_messages, inbox


@dataclass(frozen=True, slots=True)
class Envelope:
    """One sealed message as the door delivered it: the door's id, the account it was put under, the ciphertext."""

    message_id: str
    account: str
    body: bytes


def store_envelope(connection: Connection, envelope: Envelope, *, at: int) -> None:
    """Keep an envelope; the same id a second time changes nothing."""
    known = connection.execute(
        select(inbox.c.position).where(inbox.c.message_id == envelope.message_id)
    ).first()
    if known is None:
        connection.execute(
            insert(inbox).values(
                message_id=envelope.message_id, account=envelope.account, body=envelope.body, received_at=at
            )
        )


def find_unhandled(connection: Connection, limit: int) -> list[Envelope]:
    """The oldest envelopes that were not handled."""
    rows = connection.execute(
        select(inbox.c.message_id, inbox.c.account, inbox.c.body)
        .where(inbox.c.handled_at.is_(None))
        .order_by(inbox.c.position)
        .limit(limit)
    )
    return [Envelope(row.message_id, row.account, bytes(row.body)) for row in rows]


def mark_handled(connection: Connection, envelope: Envelope, *, at: int) -> None:
    """The envelope's effects are stored (same transaction); its ciphertext is not needed any more."""
    connection.execute(
        update(inbox).where(inbox.c.message_id == envelope.message_id).values(handled_at=at, body=b"")
    )


def is_handled(connection: Connection, account: str, message_id: str) -> bool:
    """Whether the message *inside* an envelope was handled before: a replay in a new envelope changes nothing."""
    found = connection.execute(
        select(handled_messages.c.account).where(
            handled_messages.c.account == account, handled_messages.c.message_id == message_id
        )
    ).first()
    return found is not None


def note_message(connection: Connection, account: str, message_id: str, *, at: int) -> None:
    """Remember that the message inside was handled."""
    connection.execute(insert(handled_messages).values(account=account, message_id=message_id, handled_at=at))
