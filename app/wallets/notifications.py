"""What a wallet says it did with its copies (OpenID4VCI 1.0 section 11). Never relied on: it may never come.

Accepted: the copies are not kept here any more. Deleted: they are revoked, and the resident hears of it. Failed: noted;
the copies stay for a while, so that the wallet can ask again.
"""

from __future__ import annotations

import hmac
from typing import Final

from app.issuance.states import State
from app.revocation.reasons import Reason
from app.storage import grants as grant_store
from app.storage import requests as request_store
from app.storage.copies import drop_copy_documents
from app.storage.revocations import mark_revoked
from app.wallets.answers import DeniedError
from app.wallets.exchanges import WalletDesk
from app.wallets.notices import DELETED, tell_resident
from mobile_api.exchanges import AnswerBody, Noted, NotificationQuestion, Question

_RANKS: Final = {None: 0, "credential_failure": 1, "credential_accepted": 2, "credential_deleted": 3}
"""Only what goes further is written down: who says one thing and the other in turn must not fill the store."""


def answer_notification(desk: WalletDesk, question: Question, body: NotificationQuestion) -> AnswerBody:
    """Note it, once or again. An id that is not this grant's is refused."""
    at = desk.at
    with desk.store.begin() as connection:
        grant = None if question.grant is None else grant_store.find_grant(connection, question.grant)
        own = "" if grant is None else (grant.notification_id or "")
        if (
            grant is None
            or grant.profile != question.profile
            or (grant.dpop or "") != (question.dpop or "")
            or not hmac.compare_digest(own.encode(), body.notification.encode())
        ):
            return DeniedError("invalid_notification_id", "no such notification id").answer()
        row = request_store.find_request(connection, grant.request_id)
        if row is None or row.state not in (State.RELEASED, State.WITHDRAWN):
            # Nothing was handed over, so nothing can have happened to it.
            return DeniedError("invalid_notification_request", "nothing was issued yet").answer()
        is_news = _RANKS[body.event] > _RANKS[grant.event]
        if is_news:
            grant_store.note_event(connection, grant, body.event)
        if body.event == "credential_accepted":
            drop_copy_documents(connection, grant.request_id, at=at)
        elif body.event == "credential_deleted":
            drop_copy_documents(connection, grant.request_id, at=at)
            if mark_revoked(connection, grant.request_id, reason=Reason.DELETED, at=at):
                request_store.note_event(
                    connection, grant.request_id, at=at, step="revoke", state=row.state, reason="deleted"
                )
                tell_resident(connection, grant.binding, DELETED, item=f"deleted-{grant.request_id}", at=at)
        if is_news:
            request_store.note_event(
                connection,
                grant.request_id,
                at=at,
                step="wallet",
                state=row.state,
                reason=body.event.replace("_", "-"),
            )
    return Noted()
