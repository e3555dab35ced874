"""The city's nonces: made here, handed to the street door in advance, used once. Only hashes are kept."""

from __future__ import annotations

from hashlib import sha256

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from app.storage.tables import nonces


def _hash(nonce: str) -> str:
    return sha256(nonce.encode("utf-8")).hexdigest()


def store_nonces(connection: Connection, values: list[str], *, at: int) -> None:
    """Remember freshly made nonces (text as the phone will repeat it)."""
    connection.execute(insert(nonces), [{"nonce_hash": _hash(value), "made_at": at} for value in values])


def count_made(connection: Connection, *, since: int) -> int:
    """How many nonces were made since a time, used or not."""
    return int(
        connection.execute(
            select(func.count()).select_from(nonces).where(nonces.c.made_at >= since)
        ).scalar_one()
    )


def consume_nonce(connection: Connection, nonce: str, *, message_id: str, at: int, max_age: int) -> bool:
    """Use a nonce up, in one statement. False if unknown, too old, or used by another message.

    The same message may use it again, because after a crash the same message is read again.
    """
    result = connection.execute(
        update(nonces)
        .where(
            nonces.c.nonce_hash == _hash(nonce),
            nonces.c.made_at >= at - max_age,
            or_(nonces.c.used_at.is_(None), nonces.c.used_by == message_id),
        )
        .values(used_at=at, used_by=message_id)
    )
    return result.rowcount == 1


def drop_old_nonces(connection: Connection, *, before: int) -> None:
    """Forget nonces made before `before`; an unknown nonce is refused, so forgetting is safe."""
    connection.execute(delete(nonces).where(nonces.c.made_at < before))
