"""Which requests of this store were made under which mandate of the register gate."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, insert, select

from app.storage.tables import mandate_requests


def store_mandate_request(connection: Connection, request_id: str, mandate: str) -> None:
    """A request was made under a mandate; in the transaction that stores the request."""
    connection.execute(insert(mandate_requests).values(request_id=request_id, mandate=mandate))


def requests_under(connection: Connection, mandate: str) -> list[str]:
    """Every request made under a mandate."""
    rows = connection.execute(
        select(mandate_requests.c.request_id).where(mandate_requests.c.mandate == mandate)
    )
    return [str(row.request_id) for row in rows]


def requests_under_mandates(connection: Connection, request_ids: Collection[str]) -> set[str]:
    """Those of these requests that were made under any mandate."""
    rows = connection.execute(
        select(mandate_requests.c.request_id).where(mandate_requests.c.request_id.in_(request_ids))
    )
    return {str(row.request_id) for row in rows}
