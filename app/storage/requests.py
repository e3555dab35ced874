"""Requests: the row is the queue. State, lease and token; every step is one compare-and-set.

`claim` gives a worker rows for a limited time under a random token; `move` moves a row on only if it is still in the
state and under the token the work started from. Whoever lost the race discards what it made.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, insert, or_, select, update

from app.errors import ConflictError
from app.issuance.states import State, may_follow
from app.storage.tables import events, requests

PHONE: Final = "phone"
WALLET: Final = "wallet"


@dataclass(frozen=True, slots=True)
class Request:
    """One wish for one certificate. Times are Unix seconds UTC.

    register_position: how far the registers' change feed was when the record was read; None until then.
    corridor: PHONE (one certificate with its page) or WALLET (copies without page).
    """

    request_id: str
    account: str
    message_id: str
    idempotency_key: str
    body_hash: str
    document_kind: str
    fiscal_year: int
    state: State
    token: str | None
    attempts: int
    accepted_at: int
    changed_at: int
    register_position: int | None = None
    corridor: str = PHONE


_FIELDS = tuple(Request.__slots__)
_COLUMNS = tuple(requests.c[name] for name in _FIELDS)


def _request(row: Row[Any]) -> Request:
    values = dict(zip(_FIELDS, row, strict=True))
    return Request(**{**values, "state": State(values["state"])})


def store_request(connection: Connection, request: Request) -> None:
    """Insert a new request; the unique key (account, idempotency key) refuses a second one."""
    values = {name: getattr(request, name) for name in _FIELDS}
    connection.execute(insert(requests).values(**values))


def find_request(connection: Connection, request_id: str) -> Request | None:
    """The request with this id."""
    row = connection.execute(select(*_COLUMNS).where(requests.c.request_id == request_id)).first()
    return None if row is None else _request(row)


def lock_request(connection: Connection, request_id: str) -> None:
    """Hold the request's row until the transaction ends; nothing happens if there is none.

    SQLite holds the whole store from the transaction's beginning (`app.storage.engine`).
    """
    connection.execute(
        select(requests.c.request_id).where(requests.c.request_id == request_id).with_for_update()
    ).first()


def note_position(connection: Connection, request_id: str, position: int) -> None:
    """How far the registers' feed was when this request's record was read. Of two the lower one stays."""
    known = requests.c.register_position
    connection.execute(
        update(requests)
        .where(requests.c.request_id == request_id, or_(known.is_(None), known > position))
        .values(register_position=position)
    )


def find_by_key(connection: Connection, account: str, idempotency_key: str) -> Request | None:
    """The request this account made under this idempotency key."""
    row = connection.execute(
        select(*_COLUMNS).where(requests.c.account == account, requests.c.idempotency_key == idempotency_key)
    ).first()
    return None if row is None else _request(row)


def find_of_account(connection: Connection, account: str, limit: int) -> list[Request]:
    """The newest requests of an account."""
    rows = connection.execute(
        select(*_COLUMNS)
        .where(requests.c.account == account)
        .order_by(requests.c.accepted_at.desc())
        .limit(limit)
    )
    return [_request(row) for row in rows]


def claim(
    connection: Connection, state: State, *, limit: int, at: int, lease: int, corridor: str = PHONE
) -> list[Request]:
    """Take up to `limit` rows of `state` that nobody holds, oldest first, under a fresh token for `lease` seconds."""
    free = and_(
        requests.c.state == state,
        requests.c.corridor == corridor,
        or_(requests.c.lease_until.is_(None), requests.c.lease_until < at),
    )
    ids = [
        row.request_id
        for row in connection.execute(
            select(requests.c.request_id)
            .where(free)
            .order_by(requests.c.accepted_at, requests.c.request_id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
    ]
    if not ids:
        return []
    token = secrets.token_hex(16)
    connection.execute(
        update(requests)
        .where(requests.c.request_id.in_(ids), free)
        .values(token=token, lease_until=at + lease, attempts=requests.c.attempts + 1)
    )
    rows = connection.execute(
        select(*_COLUMNS).where(requests.c.token == token).order_by(requests.c.accepted_at)
    )
    return [_request(row) for row in rows]


def release_leases(connection: Connection) -> int:
    """Take back every lease: called once when the one writing process starts, whose predecessor is dead.

    Returns how many. Were the predecessor still alive, the compare-and-set would let only one result in.
    """
    result = connection.execute(
        update(requests).where(requests.c.token.is_not(None)).values(token=None, lease_until=None)
    )
    return int(result.rowcount)


def give_back(connection: Connection, request: Request, *, until: int) -> None:
    """A step could not be done now (somebody was away): let go of the row, not to be taken again before `until`."""
    connection.execute(
        update(requests)
        .where(requests.c.request_id == request.request_id, requests.c.token == request.token)
        .values(token=None, lease_until=until)
    )


def move(
    connection: Connection,
    request: Request,
    after: State,
    *,
    at: int,
    step: str,
    duration_ms: int | None = None,
    refusal_code: str | None = None,
) -> None:
    """Move a row on and note the event. Raises ConflictError if it is no longer as `request` says."""
    if not may_follow(request.state, after):
        raise ConflictError("state-order", f"{request.state} to {after}")
    token = requests.c.token.is_(None) if request.token is None else requests.c.token == request.token
    result = connection.execute(
        update(requests)
        .where(requests.c.request_id == request.request_id, requests.c.state == request.state, token)
        .values(
            state=after, token=None, lease_until=None, attempts=0, changed_at=at, refusal_code=refusal_code
        )
    )
    if result.rowcount != 1:
        raise ConflictError("moved-on", request.request_id)
    note_event(
        connection,
        request.request_id,
        at=at,
        step=step,
        state=after,
        duration_ms=duration_ms,
        reason=refusal_code,
    )


def require_held(connection: Connection, request: Request) -> None:
    """Make sure that this worker still holds the row it claimed, until the commit. Raises ConflictError("moved-on")."""
    r = requests.c
    result = connection.execute(
        update(requests)
        .where(r.request_id == request.request_id, r.state == request.state, r.token == request.token)
        .values(token=request.token)
    )
    if result.rowcount != 1:
        raise ConflictError("moved-on", request.request_id)


def note_event(
    connection: Connection,
    request_id: str,
    *,
    at: int,
    step: str,
    state: State,
    duration_ms: int | None = None,
    reason: str | None = None,
) -> None:
    """One de-identified line for the staff console: what happened to which request number, when, how long."""
    connection.execute(
        insert(events).values(
            request_id=request_id, at=at, step=step, state=state, duration_ms=duration_ms, reason=reason
        )
    )
