"""Statements on submission requests and submissions. Each function works inside the caller's transaction.

Withdrawal and fetching are single statements on one row, so that exactly one of the two wins.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select, update

from mobile_api.store.once import insert_once
from mobile_api.store.tables import requests, submissions


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """What the door knows of a request: random bytes, a key, hashes, an end. Hashes are base64url text."""

    request_id: str
    desk_key: bytes
    body: bytes
    upload_token_hash: str
    mail_hash: str | None
    expires_minute: int


@dataclass(frozen=True, slots=True)
class SubmissionEntry:
    """One line of an employer's list. `size` in bytes."""

    receipt: str
    received_minute: int
    size: int
    fetched: bool


def add_request(connection: Connection, request: StoredRequest, body_hash: str, minute: int) -> str | None:
    """Store a request; the same ciphertext of the same desk again gives the id it already has. None: another
    desk's.
    """
    row = {
        "request_id": request.request_id,
        "desk_key": request.desk_key,
        "body": request.body,
        "body_hash": body_hash,
        "upload_token_hash": request.upload_token_hash,
        "mail_hash": request.mail_hash,
        "created_minute": minute,
        "expires_minute": request.expires_minute,
    }
    insert_once(connection, requests, row)
    return connection.execute(
        select(requests.c.request_id).where(
            requests.c.body_hash == body_hash, requests.c.desk_key == request.desk_key
        )
    ).scalar_one_or_none()


def find_request(connection: Connection, request_id: str, minute: int) -> StoredRequest | None:
    """The request, unless it is unknown or its time is over."""
    row = connection.execute(
        select(requests).where(requests.c.request_id == request_id, requests.c.expires_minute > minute)
    ).one_or_none()
    if row is None:
        return None
    return StoredRequest(
        row.request_id,
        bytes(row.desk_key),
        bytes(row.body),
        row.upload_token_hash,
        row.mail_hash,
        row.expires_minute,
    )


def add_submission(
    connection: Connection,
    request_id: str,
    receipt: str,
    body: bytes,
    body_hash: str,
    withdraw_hash: str | None,
    minute: int,
    limit: int,
) -> str | None:
    """Store a submission; the same bytes again give the same receipt. None: the request has too many."""
    known = select(submissions.c.receipt).where(
        submissions.c.request_id == request_id, submissions.c.body_hash == body_hash
    )
    if (found := connection.execute(known).scalar_one_or_none()) is not None:
        return found
    lying = select(func.count()).select_from(submissions).where(submissions.c.request_id == request_id)
    if connection.execute(lying).scalar_one() >= limit:
        return None
    row = {
        "receipt": receipt,
        "request_id": request_id,
        "body": body,
        "body_hash": body_hash,
        "withdraw_hash": withdraw_hash,
        "received_minute": minute,
    }
    insert_once(connection, submissions, row)
    return connection.execute(known).scalar_one()


def list_submissions(connection: Connection, request_id: str, limit: int) -> list[SubmissionEntry]:
    """What lies under a request, oldest first (by minute, then by receipt)."""
    rows = connection.execute(
        select(
            submissions.c.receipt,
            submissions.c.received_minute,
            func.length(submissions.c.body).label("body_size"),
            submissions.c.fetched_minute,
        )
        .where(submissions.c.request_id == request_id)
        .order_by(submissions.c.received_minute, submissions.c.receipt)
        .limit(limit)
    )
    return [
        SubmissionEntry(row.receipt, row.received_minute, row.body_size, row.fetched_minute is not None)
        for row in rows
    ]


def fetch_submission(connection: Connection, request_id: str, receipt: str, minute: int) -> bytes | None:
    """The submission, marked as fetched in the same statement."""
    body = connection.execute(
        update(submissions)
        .where(submissions.c.request_id == request_id, submissions.c.receipt == receipt)
        .values(fetched_minute=func.coalesce(submissions.c.fetched_minute, minute))
        .returning(submissions.c.body)
    ).scalar_one_or_none()
    return None if body is None else bytes(body)


def withdraw_submission(connection: Connection, request_id: str, receipt: str, withdraw_hash: str) -> bool:
    """Delete a submission that nobody has fetched, by the hash of its secret. Whether that happened."""
    gone = connection.execute(
        delete(submissions).where(
            submissions.c.request_id == request_id,
            submissions.c.receipt == receipt,
            submissions.c.withdraw_hash == withdraw_hash,
            submissions.c.fetched_minute.is_(None),
        )
    )
    return gone.rowcount == 1


def was_fetched(connection: Connection, request_id: str, receipt: str, withdraw_hash: str) -> bool:
    """Whether a submission of this secret is still there (then: fetched, if `withdraw_submission` said
    False).
    """
    row = connection.execute(
        select(submissions.c.receipt).where(
            submissions.c.request_id == request_id,
            submissions.c.receipt == receipt,
            submissions.c.withdraw_hash == withdraw_hash,
        )
    ).scalar_one_or_none()
    return row is not None
