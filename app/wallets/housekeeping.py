"""What has had its time: offers nobody redeemed, copies no wallet confirmed, challenges and logins that are over."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine

from app.identity.login import MAX_PENDING
from app.storage import grants as grant_store
from app.storage import logins as login_store
from app.storage import wallet_nonces as nonce_store
from app.storage.copies import drop_copy_documents
from app.wallets.grants import end_grant

KEEP_COPIES_SECONDS: Final = 86400
"""How long a set is kept for a wallet that does not say that it has it."""
BATCH: Final = 200


def tend_grants(store: Engine, *, at: int) -> int:
    """End and forget what is over; how many grants and sets. Doing it again changes nothing."""
    with store.begin() as connection:
        grant_store.forget_secrets(connection, at=at)
        nonce_store.drop_wallet_nonces(connection, before=at)
        login_store.drop_old_pending(connection, before=at - int(MAX_PENDING.total_seconds()))
        unredeemed = grant_store.find_unredeemed(connection, before=at, limit=BATCH)
        for grant in unredeemed:
            end_grant(connection, grant, at=at)
        kept = grant_store.find_kept_since(connection, before=at - KEEP_COPIES_SECONDS, limit=BATCH)
        for request_id in kept:
            drop_copy_documents(connection, request_id, at=at)
    return len(unredeemed) + len(kept)
