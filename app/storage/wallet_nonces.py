"""Challenges of wallets used up, and the MAC keys they are made with. Only digests of challenges are kept.

Using one up is one insert that either makes the row or finds another's: of two questions with the same challenge exactly
one goes on. The same question, taken again after a crash, may.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from app.storage.once import insert_once
from app.storage.wallet_tables import wallet_nonce_keys, wallet_nonces


@dataclass(frozen=True, slots=True)
class StoredNonceKey:
    """A MAC key (32 bytes) with its id (8 hex digits), from when to when it makes challenges, and when the door got it."""

    key_id: str
    key: bytes
    begin_at: int
    end_at: int
    sent_at: int | None

    def __repr__(self) -> str:
        # The key is a secret: it must not get into a log by way of a printed object.
        return f"StoredNonceKey(key_id={self.key_id}, begin_at={self.begin_at}, end_at={self.end_at})"


def consume_wallet_nonce(connection: Connection, digest: str, *, exchange: str, expires_at: int) -> bool:
    """Use a challenge up, in one statement. False if another question used it."""
    if insert_once(connection, wallet_nonces, nonce_hash=digest, used_by=exchange, expires_at=expires_at):
        return True
    used_by = connection.execute(
        select(wallet_nonces.c.used_by).where(wallet_nonces.c.nonce_hash == digest)
    ).scalar()
    return used_by == exchange


def drop_wallet_nonces(connection: Connection, *, before: int) -> None:
    """Forget challenges that are over; one that is over is refused anyway."""
    connection.execute(delete(wallet_nonces).where(wallet_nonces.c.expires_at < before))


def store_nonce_key(connection: Connection, key: StoredNonceKey) -> None:
    """Keep a new key, before anybody else gets it."""
    values = {name: getattr(key, name) for name in StoredNonceKey.__slots__}
    connection.execute(insert(wallet_nonce_keys).values(**values))


def find_nonce_keys(connection: Connection, *, since: int) -> list[StoredNonceKey]:
    """The keys that were in use at `since` or later, oldest first."""
    k = wallet_nonce_keys.c
    rows = connection.execute(
        select(k.key_id, k.key, k.begin_at, k.end_at, k.sent_at)
        .where(k.end_at > since)
        .order_by(k.begin_at, k.key_id)
    )
    return [StoredNonceKey(r.key_id, bytes(r.key), r.begin_at, r.end_at, r.sent_at) for r in rows]


def mark_key_sent(connection: Connection, key_id: str, *, at: int) -> None:
    """The street door has the key."""
    connection.execute(
        update(wallet_nonce_keys).where(wallet_nonce_keys.c.key_id == key_id).values(sent_at=at)
    )


def drop_nonce_keys(connection: Connection, *, before: int) -> None:
    """Forget keys that ended before a time."""
    connection.execute(delete(wallet_nonce_keys).where(wallet_nonce_keys.c.end_at < before))
