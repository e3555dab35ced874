"""Statements on requests to wallets of others. Each function works inside the caller's transaction.

A request gets exactly one answer: the first one that a single UPDATE puts in. The same bytes again are the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection, delete, func, select, update

from mobile_api.store.once import insert_once
from mobile_api.store.tables import presentations


@dataclass(frozen=True, slots=True)
class StoredPresentation:
    """A request and its answer, if there is one. `code_hash`: hash of the code that goes with the answer, if one does."""

    presentation_id: str
    desk_key: bytes
    body: bytes
    expires_minute: int
    answer: bytes | None = None
    answered_minute: int | None = None
    code_hash: str | None = None


class Given(Enum):
    """What became of an answer."""

    TAKEN = "taken"
    OTHER_WAS_FASTER = "another answer is there"
    GONE = "no such request, or its time is over"


def add_presentation(connection: Connection, stored: StoredPresentation, minute: int) -> bool:
    """Store a request; the same bytes of the same desk again are fine. False: the id is another request's."""
    row = {
        "presentation_id": stored.presentation_id,
        "desk_key": stored.desk_key,
        "body": stored.body,
        "created_minute": minute,
        "expires_minute": stored.expires_minute,
    }
    if insert_once(connection, presentations, row):
        return True
    known = connection.execute(
        select(presentations.c.body, presentations.c.desk_key).where(
            presentations.c.presentation_id == stored.presentation_id
        )
    ).one()
    return (bytes(known.body), bytes(known.desk_key)) == (stored.body, stored.desk_key)


def find_presentation(connection: Connection, presentation_id: str) -> StoredPresentation | None:
    """The request with its answer, whether or not its time is over."""
    row = connection.execute(
        select(presentations).where(presentations.c.presentation_id == presentation_id)
    ).one_or_none()
    if row is None:
        return None
    return StoredPresentation(
        row.presentation_id,
        bytes(row.desk_key),
        bytes(row.body),
        row.expires_minute,
        None if row.answer is None else bytes(row.answer),
        row.answered_minute,
        row.code_hash,
    )


def give_answer(
    connection: Connection,
    presentation_id: str,
    answer: bytes,
    answer_hash: str,
    code_hash: str | None,
    minute: int,
) -> Given:
    """Put the answer in, if none is there. Repeated by the wallet that gave it, it gets a new code; the old one dies."""
    row = presentations.c
    first = (
        update(presentations)
        .where(row.presentation_id == presentation_id, row.expires_minute > minute, row.answer_hash.is_(None))
        .values(answer=answer, answer_hash=answer_hash, answered_minute=minute, code_hash=code_hash)
        .returning(row.presentation_id)
    )
    again = (
        update(presentations)
        .where(
            row.presentation_id == presentation_id,
            row.expires_minute > minute,
            row.answer_hash == answer_hash,
        )
        .values(code_hash=code_hash)
        .returning(row.presentation_id)
    )
    if any(connection.execute(statement).first() is not None for statement in (first, again)):
        return Given.TAKEN
    live = select(row.presentation_id).where(
        row.presentation_id == presentation_id, row.expires_minute > minute
    )
    return Given.GONE if connection.execute(live).first() is None else Given.OTHER_WAS_FASTER


def mark_fetched(connection: Connection, presentation_id: str, minute: int) -> None:
    """From now on the sweeper counts down; the desk may fetch again until then."""
    connection.execute(
        update(presentations)
        .where(presentations.c.presentation_id == presentation_id)
        .values(fetched_minute=func.coalesce(presentations.c.fetched_minute, minute))
    )


def delete_presentation(connection: Connection, presentation_id: str) -> bool:
    """Forget request and answer. Whether they were there."""
    gone = connection.execute(delete(presentations).where(presentations.c.presentation_id == presentation_id))
    return gone.rowcount == 1
