"""Taking back what was handed over and not fetched: of a stopped or frozen device, or of a mandate that has ended.

Nobody inside knows what was fetched. What was released less than an hour ago is taken back and its certificate revoked;
what may still lie at the street door is taken back only.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, Connection, select

from app.issuance.states import State
from app.revocation.revoke import withdraw_package
from app.storage.mandate_requests import requests_under
from app.storage.outbox import queue_item
from app.storage.tables import certificates, requests

UNDELIVERED_SECONDS: Final = 3600
"""A certificate released longer ago was probably fetched: only younger ones are revoked with their package."""
LYING_SECONDS: Final = 30 * 86400
"""How long the street door keeps a package that nobody fetches: whatever may still lie there is taken back."""


def withdraw_of_account(connection: Connection, account: str, *, at: int) -> None:
    """Take back everything that lies at the door for this device."""
    _withdraw(connection, requests.c.account == account, at)


def withdraw_under_mandate(connection: Connection, mandate: str, *, at: int) -> None:
    """Take back everything that lies at the door because of this mandate."""
    made = requests_under(connection, mandate)
    if made:
        _withdraw(connection, requests.c.request_id.in_(made), at)


def _withdraw(connection: Connection, where: ColumnElement[bool], at: int) -> None:
    # A hand-over that asked before the end holds its row: it ends first, and what it released is seen here.
    held = requests.c.state.in_((State.LOGGED, State.RELEASED))
    connection.execute(
        select(requests.c.request_id).where(where, held).order_by(requests.c.request_id).with_for_update()
    ).all()
    for request_id, _account, _package in _released(connection, where, since=at - UNDELIVERED_SECONDS):
        withdraw_package(connection, request_id, at=at)
    for _request, account, package_id in _released(connection, where, since=at - LYING_SECONDS):
        queue_item(connection, kind="withdrawal", account=account, item_id=package_id, body=b"", at=at)


def _released(
    connection: Connection, where: ColumnElement[bool], *, since: int
) -> list[tuple[str, str, str]]:
    rows = connection.execute(
        select(requests.c.request_id, requests.c.account, certificates.c.package_id)
        .join(certificates, certificates.c.request_id == requests.c.request_id)
        .where(where, requests.c.state == State.RELEASED, certificates.c.released_at >= since)
    )
    return [(row.request_id, row.account, row.package_id) for row in rows]
