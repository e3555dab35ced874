"""Statements on exchanges with the city, deferred transactions and keys of challenges, inside the caller's transaction.

A question lies here only so that whichever process the city asks can hand it over; it dies with its minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select, update

from mobile_api.store.once import insert_once
from mobile_api.store.wallet_tables import wallet_exchanges, wallet_nonce_keys, wallet_transactions
from mobile_api.wallet_nonce import NonceKey

LIFE: Final = 60
"""Seconds a question lies here, in whole minutes: one to two."""

# The statements of every exchange are put together once.
_ADD: Final = wallet_exchanges.insert()
_DROP: Final = delete(wallet_exchanges).where(wallet_exchanges.c.exchange == bindparam("of"))
_REPLY: Final = select(wallet_exchanges.c.reply).where(wallet_exchanges.c.exchange == bindparam("of"))


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question that waits for the city: a package to its envelope key."""

    exchange: str
    body: bytes


def add_exchange(connection: Connection, exchange: str, body: bytes, minute: int) -> None:
    """Store a question."""
    row = {"exchange": exchange, "body": body, "waiting": 1, "created_minute": minute}
    connection.execute(_ADD, row)


def list_exchanges(connection: Connection, limit: int, minute: int) -> list[Exchange]:
    """The oldest questions without an answer."""
    rows = connection.execute(
        select(wallet_exchanges.c.exchange, wallet_exchanges.c.body)
        .where(wallet_exchanges.c.reply.is_(None), wallet_exchanges.c.created_minute >= minute - LIFE)
        .order_by(wallet_exchanges.c.position)
        .limit(limit)
    )
    return [Exchange(row.exchange, bytes(row.body)) for row in rows]


def put_reply(connection: Connection, exchange: str, reply: bytes) -> bool | None:
    """Store the one answer. True: stored, or there with these bytes; False: other bytes; None: nobody waits."""
    stored = connection.execute(
        update(wallet_exchanges)
        .where(
            wallet_exchanges.c.exchange == exchange,
            wallet_exchanges.c.reply.is_(None),
            wallet_exchanges.c.waiting == 1,
        )
        .values(reply=reply)
        .returning(wallet_exchanges.c.exchange)
    ).first()
    if stored is not None:
        return True
    known = connection.execute(
        select(wallet_exchanges.c.reply).where(
            wallet_exchanges.c.exchange == exchange, wallet_exchanges.c.waiting == 1
        )
    ).scalar_one_or_none()
    if known is None:
        # Its waiter has gone; the city has done what was asked, so the question is done with.
        drop_exchange(connection, exchange)
        return None
    return bytes(known) == reply


def find_reply(connection: Connection, exchange: str) -> bytes | None:
    """The answer, if it is there."""
    reply = connection.execute(_REPLY, {"of": exchange}).scalar_one_or_none()
    return None if reply is None else bytes(reply)


def leave_exchange(connection: Connection, exchange: str) -> None:
    """Nobody waits for the answer any more, but the city may still do what was asked."""
    answered = wallet_exchanges.c.reply.is_not(None)
    connection.execute(delete(wallet_exchanges).where(wallet_exchanges.c.exchange == exchange, answered))
    connection.execute(
        update(wallet_exchanges).where(wallet_exchanges.c.exchange == exchange).values(waiting=0)
    )


def drop_exchange(connection: Connection, exchange: str) -> None:
    """The question is done with."""
    connection.execute(_DROP, {"of": exchange})


def add_transaction(connection: Connection, transaction_hash: str, grant: str, until_minute: int) -> None:
    """Remember whose deferred transaction this is."""
    row = {"transaction_hash": transaction_hash, "grant_id": grant, "until_minute": until_minute}
    insert_once(connection, wallet_transactions, row)


def find_transaction(connection: Connection, transaction_hash: str) -> str | None:
    """The grant whose transaction this is."""
    return connection.execute(
        select(wallet_transactions.c.grant_id).where(
            wallet_transactions.c.transaction_hash == transaction_hash
        )
    ).scalar_one_or_none()


def put_nonce_key(connection: Connection, key: NonceKey, minute: int) -> bool:
    """Store a key of challenges once, and drop those that are over. False: another key has this id."""
    connection.execute(delete(wallet_nonce_keys).where(wallet_nonce_keys.c.end_minute <= minute - 3600))
    row = {
        "key_id": key.key_id,
        "nonce_key": key.key,
        "begin_minute": key.begin // 60 * 60,
        "end_minute": key.end // 60 * 60,
    }
    if insert_once(connection, wallet_nonce_keys, row):
        return True
    known = select(wallet_nonce_keys.c.nonce_key).where(wallet_nonce_keys.c.key_id == key.key_id)
    return bytes(connection.execute(known).scalar_one()) == key.key


def list_nonce_keys(connection: Connection) -> tuple[NonceKey, ...]:
    """Every key of challenges that is here."""
    rows = connection.execute(select(wallet_nonce_keys))
    return tuple(
        NonceKey(bytes(row.key_id), bytes(row.nonce_key), row.begin_minute, row.end_minute) for row in rows
    )


def sweep_exchanges(connection: Connection, minute: int) -> int:
    """Delete what is over; how many rows."""
    statements = (
        delete(wallet_exchanges).where(wallet_exchanges.c.created_minute < minute - LIFE),
        delete(wallet_transactions).where(wallet_transactions.c.until_minute < minute),
        delete(wallet_nonce_keys).where(wallet_nonce_keys.c.end_minute <= minute - 3600),
    )
    return sum(connection.execute(statement).rowcount for statement in statements)
