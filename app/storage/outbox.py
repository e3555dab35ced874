"""What still has to be put on the street door: answers, packages, withdrawals. A row stays until the door confirmed it.

Answers are kept as the city's plain JSON and are signed and encrypted only when they are sent, so that a crash between
can at most seal the same answer twice. Their sequence numbers are given in the transaction that causes them.
A package is ciphertext for one phone; its row keeps it for a while after the door has confirmed it, so that exactly these
bytes can be put again when the door loses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from app.storage.repeats import note_answer
from app.storage.tables import outbox, sequences
from mobile_api.messages import AnswerBody, Refused, format_answer_body
from verifier.formats.encoding import JSON, canonical_json


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """`kind` is answer | package | withdrawal | offer | offer-end; `body` JSON (answer, offer), ciphertext (package) or
    empty.

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
    if in_reply_to is not None:
        # First, so that a repetition of the same message at the same time waits here and both get numbers in order.
        refused = body if isinstance(body, Refused) else None
        note_answer(connection, account, in_reply_to, refused=refused, at=at)
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
    """Queue a package, a withdrawal, an offer or its end, once."""
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


def mark_sent(connection: Connection, row: OutboxRow, *, at: int) -> None:
    """The door confirmed the row. Its body is not needed any more and is emptied; a package's is kept for a while.

    A package that was taken back is forgotten here as well.
    """
    emptied = {} if row.kind == "package" else {"body": b""}
    connection.execute(update(outbox).where(outbox.c.position == row.position).values(sent_at=at, **emptied))
    if row.kind == "withdrawal":
        connection.execute(
            update(outbox)
            .where(*_package(row.account, row.item_id), outbox.c.sent_at.is_not(None))
            .values(body=b"")
        )


def queue_again(connection: Connection, *, account: str, package_id: str, at: int, pause: int) -> bool:
    """Let the same bytes of a package be put once more. False if the city has them no longer or took them back.

    A package that is waiting to be sent, or was sent less than `pause` seconds ago, stays as it is.
    """
    if _is_queued(connection, "withdrawal", account, package_id):
        return False
    row = connection.execute(
        select(outbox.c.sent_at, func.length(outbox.c.body)).where(*_package(account, package_id))
    ).first()
    if row is None or row[1] == 0:
        return False
    connection.execute(
        update(outbox)
        .where(*_package(account, package_id), outbox.c.sent_at <= at - pause, func.length(outbox.c.body) > 0)
        .values(sent_at=None, made_at=at)
    )
    return True


def forget_packages(connection: Connection, *, before: int) -> int:
    """Empty the packages that the door confirmed before a time; how many."""
    result = connection.execute(
        update(outbox)
        .where(outbox.c.kind == "package", outbox.c.sent_at < before, func.length(outbox.c.body) > 0)
        .values(body=b"")
    )
    return int(result.rowcount)


def _package(account: str, package_id: str) -> tuple[ColumnElement[bool], ...]:
    return outbox.c.kind == "package", outbox.c.account == account, outbox.c.item_id == package_id
