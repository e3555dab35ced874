"""The rooms of wallets put together for the worker: desk, corridor, metadata, keys of challenges, housekeeping."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Engine

from app.wallets.copies_walk import CopiesWalk
from app.wallets.credentials import answer_credential, answer_deferred
from app.wallets.exchanges import Exchanges, Handler
from app.wallets.housekeeping import tend_grants
from app.wallets.nonce_keys import NonceKeys
from app.wallets.notifications import answer_notification
from app.wallets.publisher import MetadataPublisher
from mobile_api.exchanges import (
    CredentialQuestion,
    DeferredQuestion,
    NotificationQuestion,
    SealedCredentialQuestion,
    SealedDeferredQuestion,
)

HANDLERS: Final[Mapping[type, Handler]] = {
    CredentialQuestion: answer_credential,
    SealedCredentialQuestion: answer_credential,
    DeferredQuestion: answer_deferred,
    SealedDeferredQuestion: answer_deferred,
    NotificationQuestion: answer_notification,
}
"""Who answers which kind of question. Logins are added where the login provider is known (`app.worker_process`)."""


@dataclass(frozen=True, slots=True)
class WalletRooms:
    """What the worker runs for wallets."""

    store: Engine
    exchanges: Exchanges
    walk: CopiesWalk
    metadata: MetadataPublisher
    nonce_keys: NonceKeys
    clock: Callable[[], datetime]

    def tend(self) -> None:
        """One beat: keys first (a wallet needs one before it can ask), then metadata, then what is over."""
        self.nonce_keys.tend()
        self.metadata.publish_due()
        tend_grants(self.store, at=int(self.clock().timestamp()))
