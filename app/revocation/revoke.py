"""Revoking a certificate: what two staff members agreed on becomes a status bit, and the resident is told.

The reason stays in the city; the list says valid or invalid only. A package not fetched yet is taken back.
"""

from __future__ import annotations

from sqlalchemy import Connection

from app.issuance.states import State
from app.revocation.reasons import Reason
from app.storage import accounts as account_store
from app.storage import certificates as certificate_store
from app.storage import grants as grant_store
from app.storage import requests as request_store
from app.storage import revocations as revocation_store
from app.storage.copies import drop_copy_documents, has_released_copies
from app.storage.outbox import queue_answer, queue_item
from app.storage.requests import Request
from mobile_api.messages import Notice

REVOKED = Notice(
    "revoked",
    "この証明書は失効しました。お持ちの証明書は使えません。くわしくは市の窓口へお問い合わせください。",
    "This certificate was revoked and can no longer be used. Please ask the city for details.",
)


def revoke_certificate(connection: Connection, request_id: str, *, reason: str, at: int) -> bool:
    """Revoke what was handed over for a request, phone certificate and copies; False if there is nothing or it is
    revoked already.

    `reason`: the words of staff; they stay in the city.
    """
    request = request_store.find_request(connection, request_id)
    if request is None or not (
        request.state in (State.RELEASED, State.WITHDRAWN) or has_released_copies(connection, request_id)
    ):
        return False
    if not revocation_store.mark_revoked(connection, request_id, reason=Reason.STAFF, note=reason, at=at):
        return False
    request_store.note_event(
        connection, request_id, at=at, step="revoke", state=request.state, reason="revoked"
    )
    forget_documents(connection, request, at=at)
    for account in _who_hears(connection, request):
        queue_answer(
            connection,
            account=account,
            item_id=f"revoked-{request_id}",
            in_reply_to=None,
            body=REVOKED,
            at=at,
        )
    return True


def _who_hears(connection: Connection, request: Request) -> list[str]:
    """The phone that asked; for copies in a wallet every phone of the resident, since a login has none of its own."""
    grant = grant_store.find_by_request(connection, request.request_id)
    if grant is None:
        return [request.account]
    return [found.account for found in account_store.find_accounts_of(connection, grant.binding)]


def forget_documents(connection: Connection, request: Request, *, at: int) -> None:
    """What was revoked is not handed over once more: copies kept here are deleted, a package is taken back."""
    drop_copy_documents(connection, request.request_id, at=at)
    package = certificate_store.find_package_id(connection, request.request_id)
    if package is not None:
        queue_item(
            connection, kind="withdrawal", account=request.account, item_id=package[0], body=b"", at=at
        )


def withdraw_package(connection: Connection, request_id: str, *, at: int) -> bool:
    """Take a released package back from the street door and revoke its certificate (protection was set)."""
    request = request_store.find_request(connection, request_id)
    if (
        request is None
        or request.state is not State.RELEASED
        or certificate_store.find_package_id(connection, request_id) is None
    ):
        return False
    revocation_store.mark_revoked(connection, request_id, reason=Reason.WITHDRAWN, at=at)
    request_store.move(connection, request, State.WITHDRAWN, at=at, step="withdraw")
    forget_documents(connection, request, at=at)
    return True
