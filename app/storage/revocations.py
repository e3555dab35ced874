"""Revocations: all documents of a request at once, once, with a reason that stays here.

One row a request: its phone certificate and its wallet copies become invalid in one transaction, and whoever comes
second is told so by the database.
"""

from __future__ import annotations

from sqlalchemy import Connection, select

from app.errors import ConflictError
from app.revocation.reasons import Reason
from app.storage.once import insert_once
from app.storage.requests import lock_request
from app.storage.status_entries import set_invalid
from app.storage.tables import certificates, copies, revocations


def mark_revoked(connection: Connection, request_id: str, *, reason: Reason, at: int, note: str = "") -> bool:
    """Make every document of a request invalid, once; the lists are published anew at the next beat.

    `note`: the words of staff. False if the request has no documents or they are revoked already.
    """
    # Held until the commit: copies that are being reserved just now are seen, later ones are refused.
    lock_request(connection, request_id)
    if not _has_documents(connection, request_id):
        return False
    if not insert_once(connection, revocations, request_id=request_id, reason=reason.value, note=note, at=at):
        return False
    set_invalid(connection, request_id, at=at)
    return True


def is_revoked(connection: Connection, request_id: str) -> bool:
    """Whether the documents of a request were revoked."""
    return find_reason(connection, request_id) is not None


def find_reason(connection: Connection, request_id: str) -> Reason | None:
    """Why the documents of a request were revoked; None if they were not."""
    found = connection.execute(
        select(revocations.c.reason).where(revocations.c.request_id == request_id)
    ).scalar()
    return None if found is None else Reason(found)


def refuse_revoked(connection: Connection, request_id: str) -> None:
    """Hold the request and make sure that it may still get documents. Raises ConflictError("revoked")."""
    lock_request(connection, request_id)
    if is_revoked(connection, request_id):
        raise ConflictError("revoked", request_id)


def _has_documents(connection: Connection, request_id: str) -> bool:
    return any(
        connection.execute(
            select(table.c.request_id).where(table.c.request_id == request_id).limit(1)
        ).first()
        for table in (certificates, copies)
    )
