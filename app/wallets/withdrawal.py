"""Protection or a death became known: what no wallet has yet is not handed over, what one has just got is revoked.

Like `app.revocation.protection` for phones: copies fetched longer ago stay, as paper would.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from app.issuance.states import State
from app.revocation.reasons import Reason
from app.storage import grants as grant_store
from app.storage import requests as request_store
from app.storage.revocations import mark_revoked
from app.wallets.grants import end_grant, end_unredeemed

JUST_RELEASED_SECONDS: Final = 3600


def withdraw_copies(connection: Connection, binding: str, *, at: int) -> int:
    """End a resident's grants; how many were withdrawn. Requests under way are refused by the gate at hand-over."""
    done = end_unredeemed(connection, binding=binding, at=at)
    for grant in grant_store.find_open_of(connection, binding=binding):
        row = request_store.find_request(connection, grant.request_id)
        if row is None or row.state is not State.RELEASED or row.changed_at < at - JUST_RELEASED_SECONDS:
            continue
        if grant.event == "credential_accepted":
            continue
        mark_revoked(connection, grant.request_id, reason=Reason.WITHDRAWN, at=at)
        request_store.move(connection, row, State.WITHDRAWN, at=at, step="withdraw")
        done += end_grant(connection, grant, at=at)
    return done
