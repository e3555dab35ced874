"""Protection, a death or a stopped phone became known: nothing more is handed over, what a wallet has just got is revoked.

Like `app.revocation.withdrawal` for phones: copies fetched longer ago stay, as paper would. When a wallet fetched is not
known; what is still kept for one may have been fetched this minute, so it is revoked with the rest. What the wallet says
it did (`credential_accepted`) ends the keeping and counts as the fetching: it protects nothing that was got just now.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from app.issuance.states import State
from app.revocation.reasons import Reason
from app.storage import copies as copy_store
from app.storage import grants as grant_store
from app.storage import requests as request_store
from app.storage.grants import Grant
from app.storage.requests import Request
from app.storage.revocations import mark_revoked
from app.wallets.grants import end_grant

JUST_RELEASED_SECONDS: Final = 3600


def withdraw_copies(connection: Connection, *, account: str = "", binding: str = "", at: int) -> int:
    """End the grants of a phone or of a resident; how many. Requests under way are refused at hand-over."""
    done = 0
    for grant in grant_store.find_open_of(connection, account=account, binding=binding):
        if grant.holder_jwks is None:
            done += end_grant(connection, grant, at=at)
            continue
        # A release that asked before the end holds its row: it ends first, and what it made ready is seen here.
        request_store.lock_request(connection, grant.request_id)
        row = request_store.find_request(connection, grant.request_id)
        if row is None or row.state is not State.RELEASED:
            continue
        if _may_be_fresh(connection, grant, row, since=at - JUST_RELEASED_SECONDS):
            mark_revoked(connection, grant.request_id, reason=Reason.WITHDRAWN, at=at)
            request_store.move(connection, row, State.WITHDRAWN, at=at, step="withdraw")
        done += end_grant(connection, grant, at=at)
    return done


def _may_be_fresh(connection: Connection, grant: Grant, row: Request, *, since: int) -> bool:
    forgotten = [
        copy.forgotten_at for copy in copy_store.find_copies(connection, row.request_id) if copy.released_at
    ]
    if row.changed_at >= since or any(when is None for when in forgotten):
        return True
    return grant.event == "credential_accepted" and any(when and when >= since for when in forgotten)
