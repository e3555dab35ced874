"""What still has to be put on the street door: answers, packages, withdrawals. A row stays until the door confirmed it.

Answers are kept as the city's plain JSON and are signed and encrypted only when they are sent, so that a crash between
can at most seal the same answer twice. Their sequence numbers are given in the transaction that causes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from app.storage.tables import outbox, sequences
from mobile_api.messages import AnswerBody, format_answer_body
from verifier.formats.encoding import JSON, canonical_json


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """`kind` is answer | package | withdrawal; `body` JSON (answer), ciphertext (package) or empty.

    `made_at` Unix seconds.
    """

    position: int
    kind: str
    account: str
    item_id: str
    body: bytes
    made_at: int


def next_sequence(connection: Connection, account: str) -> int:
    """The next answer number of an account: 1, 2, 3 …"""
    row = connection.execute(
        update(sequences)
        .where(sequences.c.account == account)
        .values(last_number=sequences.c.last_number + 1)
        .returning(sequences.c.last_number)
    ).first()
    if row is not None:
        return int(row.last_number)
    connection.execute(insert(sequences).values(account=account, last_number=1))
    return 1


def queue_answer(
    connection: Connection,
    *,
    account: str,
    item_id: str,
    in_reply_to: str | None,
    body: AnswerBody,
    at: int,
    encryption_jwk: dict[str, JSON] | None = None,
) -> None:
    """Queue one answer, once: `item_id` names it for ever (a repetition changes nothing).

    `encryption_jwk` only for a device that has no account yet (a refused registration).
    """
    if _is_queued(connection, "answer", account, item_id):
        return
    kind, content = format_answer_body(body)
    unregistered = {} if encryption_jwk is None else {"encryption_jwk": encryption_jwk}
    row = canonical_json(
        {
            **unregistered,
            "in_reply_to": in_reply_to,
            "sequence": next_sequence(connection, account),
            "iat": at,
            "kind": kind,
            "body": content,
        }
    )
    connection.execute(
        insert(outbox).values(kind="answer", account=account, item_id=item_id, body=row, made_at=at)
    )


def queue_item(
    connection: Connection, *, kind: str, account: str, item_id: str, body: bytes, at: int
) -> None:
    """Queue a package or a withdrawal, once."""
    if not _is_queued(connection, kind, account, item_id):
        connection.execute(
            insert(outbox).values(kind=kind, account=account, item_id=item_id, body=body, made_at=at)
        )


def _is_queued(connection: Connection, kind: str, account: str, item_id: str) -> bool:
    found = connection.execute(
        select(outbox.c.position).where(
            outbox.c.kind == kind, outbox.c.account == account, outbox.c.item_id == item_id
        )
    ).first()
    return found is not None


def find_unsent(connection: Connection, limit: int, *, without: Sequence[str] = ()) -> list[OutboxRow]:
    """The oldest rows the door has not confirmed, but those of the accounts `without`."""
    rows = connection.execute(
        select(*(outbox.c[name] for name in OutboxRow.__slots__))
        .where(outbox.c.sent_at.is_(None), outbox.c.account.not_in(without))
        .order_by(outbox.c.position)
        .limit(limit)
    )
    return [OutboxRow(r.position, r.kind, r.account, r.item_id, bytes(r.body), r.made_at) for r in rows]


def mark_sent(connection: Connection, position: int, *, at: int) -> None:
    """The door confirmed the row. Its body is not needed any more and is emptied."""
    connection.execute(update(outbox).where(outbox.c.position == position).values(sent_at=at, body=b""))
