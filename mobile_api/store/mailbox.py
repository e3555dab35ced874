"""Statements on accounts, nonces, envelopes, answers and packages. Each function works inside the caller's
transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select, update

from mobile_api.store.once import insert_once
from mobile_api.store.tables import accounts, answers, envelopes, nonces, packages


@dataclass(frozen=True, slots=True)
class Envelope:
    """One waiting envelope; `body` is a JWE to the city."""

    message_id: str
    account: str
    received_minute: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer for a phone; `number` counts per account and is the door's, not the city's."""

    number: int
    body: bytes


def register_account(
    connection: Connection, account: str, device_key: bytes, key_hash: str, minute: int
) -> str:
    """The account of this device key: a new one under the id offered, or the one it already has."""
    row = {
        "account": account,
        "device_key": device_key,
        "device_key_hash": key_hash,
        "answer_number": 0,
        "created_minute": minute,
    }
    insert_once(connection, accounts, row)
    return connection.execute(
        select(accounts.c.account).where(accounts.c.device_key_hash == key_hash)
    ).scalar_one()


def find_device_key(connection: Connection, account: str) -> bytes | None:
    """The key whose proofs count for this account."""
    return connection.execute(
        select(accounts.c.device_key).where(accounts.c.account == account)
    ).scalar_one_or_none()


def add_nonces(connection: Connection, values: Sequence[str], minute: int) -> int:
    """Stock nonces; known ones are skipped. How many are in stock now."""
    for value in values:
        insert_once(connection, nonces, {"nonce": value, "added_minute": minute})
    return count_nonces(connection)


def count_nonces(connection: Connection) -> int:
    """Nonces in stock."""
    return connection.execute(select(func.count()).select_from(nonces)).scalar_one()


def take_nonce(connection: Connection) -> str | None:
    """Hand out the oldest nonce and forget it, in one statement."""
    oldest = (
        select(nonces.c.position).order_by(nonces.c.position).limit(1).with_for_update(skip_locked=True)
    ).scalar_subquery()
    return connection.execute(
        delete(nonces).where(nonces.c.position == oldest).returning(nonces.c.nonce)
    ).scalar_one_or_none()


def add_envelope(
    connection: Connection,
    account: str,
    message_id: str,
    body: bytes,
    body_hash: str,
    minute: int,
    limit: int,
) -> str | None:
    """Put an envelope into the inbox; the same bytes again give the same id. None: the account has too
    many.
    """
    known = select(envelopes.c.message_id).where(
        envelopes.c.account == account, envelopes.c.body_hash == body_hash
    )
    if (found := connection.execute(known).scalar_one_or_none()) is not None:
        return found
    waiting = select(func.count()).select_from(envelopes).where(envelopes.c.account == account)
    if connection.execute(waiting).scalar_one() >= limit:
        return None
    row = {
        "message_id": message_id,
        "account": account,
        "body": body,
        "body_hash": body_hash,
        "received_minute": minute,
    }
    insert_once(connection, envelopes, row)
    return connection.execute(known).scalar_one()


def list_envelopes(connection: Connection, limit: int) -> list[Envelope]:
    """The oldest waiting envelopes. They stay until acknowledged."""
    rows = connection.execute(
        select(envelopes.c.message_id, envelopes.c.account, envelopes.c.received_minute, envelopes.c.body)
        .order_by(envelopes.c.position)
        .limit(limit)
    )
    return [Envelope(row.message_id, row.account, row.received_minute, bytes(row.body)) for row in rows]


def acknowledge(connection: Connection, ids: Sequence[str]) -> int:
    """Delete envelopes that the city has stored. How many were there."""
    return connection.execute(delete(envelopes).where(envelopes.c.message_id.in_(list(ids)))).rowcount


def put_answer(
    connection: Connection, account: str, message_id: str, body: bytes, minute: int
) -> bool | None:
    """Store an answer once. True: stored or already there with these bytes; False: other bytes; None: no
    account.
    """
    # The account's row is locked first, so that two equal calls at once cannot both take a number.
    locked = select(accounts.c.account).where(accounts.c.account == account).with_for_update()
    if connection.execute(locked).scalar_one_or_none() is None:
        return None
    same = select(answers.c.body).where(answers.c.account == account, answers.c.message_id == message_id)
    if (stored := connection.execute(same).scalar_one_or_none()) is not None:
        return bytes(stored) == body
    number = connection.execute(
        update(accounts)
        .where(accounts.c.account == account)
        .values(answer_number=accounts.c.answer_number + 1)
        .returning(accounts.c.answer_number)
    ).scalar_one()
    connection.execute(
        answers.insert().values(
            account=account, message_id=message_id, answer_number=number, body=body, stored_minute=minute
        )
    )
    return True


def list_answers(connection: Connection, account: str, after: int, limit: int) -> list[Answer]:
    """Answers with a number above `after`, in order."""
    rows = connection.execute(
        select(answers.c.answer_number, answers.c.body)
        .where(answers.c.account == account, answers.c.answer_number > after)
        .order_by(answers.c.answer_number)
        .limit(limit)
    )
    return [Answer(row.answer_number, bytes(row.body)) for row in rows]


def put_package(
    connection: Connection, account: str, package_id: str, body: bytes, minute: int
) -> bool | None:
    """Store a package once. True: stored or already there with these bytes; False: other bytes; None: no
    account.
    """
    if find_device_key(connection, account) is None:
        return None
    row = {"account": account, "package_id": package_id, "body": body, "stored_minute": minute}
    if insert_once(connection, packages, row):
        return True
    stored = connection.execute(select(packages.c.body).where(*_package(account, package_id))).scalar_one()
    return bytes(stored) == body


def fetch_package(connection: Connection, account: str, package_id: str, minute: int) -> bytes | None:
    """The package, marked as fetched (the first fetch starts its deletion time)."""
    body = connection.execute(
        update(packages)
        .where(*_package(account, package_id))
        .values(fetched_minute=func.coalesce(packages.c.fetched_minute, minute))
        .returning(packages.c.body)
    ).scalar_one_or_none()
    return None if body is None else bytes(body)


def delete_package(connection: Connection, account: str, package_id: str) -> bool:
    """Delete at once. Whether it was there."""
    return connection.execute(delete(packages).where(*_package(account, package_id))).rowcount == 1


def _package(account: str, package_id: str) -> tuple:
    return packages.c.account == account, packages.c.package_id == package_id
