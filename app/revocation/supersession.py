"""Supersession (更正): the tax office corrected a fiscal year's figures, so what shows the old ones is no longer valid.

The list says invalid, as of anything else; why is told to the resident alone, on every phone of theirs, and stands in
their history. A first declaration supersedes nothing, because there was no certificate of that year. What was made from
the new record already stays valid: a request knows how far the registers' feed was when its record was read. Requests
under way are not touched here; the register gate is asked again at their hand-over (`walk`).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from sqlalchemy import Connection, or_, select

from app.revocation.reasons import Reason
from app.revocation.revoke import forget_documents
from app.storage import accounts as account_store
from app.storage import requests as request_store
from app.storage.accounts import ACTIVE
from app.storage.outbox import queue_answer
from app.storage.requests import Request
from app.storage.revocations import mark_revoked
from app.storage.tables import certificates, copies, requests
from mobile_api.messages import Notice

SUPERSEDED: Final = Notice(
    "superseded",
    "税の内容が更正されました。お持ちの古い証明書は、もう使えません。新しい証明書を無料で受け取れます。"
    "アプリからもう一度申請してください。",
    "Your tax figures were corrected. The certificate that you have is no longer valid. "
    "You can fetch a new one free of charge: please ask for it again in the app.",
)
_KIND: Final = re.compile(r"tax-record-([0-9]{4})", re.ASCII)


def corrected_year(event: str) -> int | None:
    """The fiscal year that an event of the gate's feed says was corrected; None for other events."""
    match = _KIND.fullmatch(event)
    return None if match is None else int(match.group(1))


def supersede(
    connection: Connection, binding: str, request_ids: Collection[str], *, number: int, at: int
) -> int:
    """Make what was handed over for these requests invalid, if it was made before change `number` of the feed.

    `request_ids`: the requests of one resident and fiscal year, as the register gate knows them. Returns how many
    requests were superseded. In one transaction with the progress of the feed: doing it again changes nothing.
    """
    done = 0
    for request_id in sorted(request_ids):
        # Held until the commit: a hand-over that asked the gate before the correction ends first, and is seen.
        request_store.lock_request(connection, request_id)
        request = request_store.find_request(connection, request_id)
        if request is None or not _shows_old_figures(connection, request, number):
            continue
        if not mark_revoked(connection, request_id, reason=Reason.SUPERSEDED, at=at):
            continue
        request_store.note_event(
            connection, request_id, at=at, step="revoke", state=request.state, reason=Reason.SUPERSEDED
        )
        forget_documents(connection, request, at=at)
        done += 1
    if done:
        for account in account_store.find_accounts_of(connection, binding):
            if account.state == ACTIVE:
                queue_answer(
                    connection,
                    account=account.account,
                    item_id=f"superseded-{number}",
                    in_reply_to=None,
                    body=SUPERSEDED,
                    at=at,
                )
    return done


def _shows_old_figures(connection: Connection, request: Request, number: int) -> bool:
    if request.register_position is not None and request.register_position >= number:
        return False
    released = (
        select(requests.c.request_id)
        .outerjoin(certificates, certificates.c.request_id == requests.c.request_id)
        .outerjoin(copies, copies.c.request_id == requests.c.request_id)
        .where(
            requests.c.request_id == request.request_id,
            or_(certificates.c.released_at.is_not(None), copies.c.released_at.is_not(None)),
        )
    )
    return connection.execute(released.limit(1)).first() is not None
