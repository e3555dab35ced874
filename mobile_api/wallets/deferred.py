"""`/deferred_credential`: is it ready? (OpenID4VCI 1.0 section 9.)"""

from __future__ import annotations

import re
from typing import Final

from flask import Response

from mobile_api.exchanges import DeferredQuestion, Pending, QuestionBody, SealedDeferredQuestion
from mobile_api.store import wallet_exchanges
from mobile_api.wallets.access import authorize_request
from mobile_api.wallets.answers import give_answer, give_later, transaction_hash
from mobile_api.wallets.credential import INTERVAL, answers_encrypted, json_request, sealed_request
from mobile_api.wallets.oauth_errors import OAuthError, away
from mobile_api.wallets.response_key import read_response_key
from mobile_api.wallets.wallet_door import WalletDoor
from verifier.formats.encoding import JSON

_HANDLE: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")


def deferred(wallets: WalletDoor, profile: str) -> Response:
    """Token and transaction_id → 200 with credentials, 202 with the same transaction. Raises: OAuthError, Problem."""
    wallets.count_address("credential")
    metadata = wallets.metadata(profile)
    access = authorize_request(wallets, profile, wallets.url(profile, "deferred_credential"))
    sealed = sealed_request(metadata)
    body: QuestionBody
    key = transaction = None
    if sealed is not None:
        body = SealedDeferredQuestion(sealed)
    else:
        value = json_request(wallets, profile, metadata)
        key = read_response_key(value, needed=answers_encrypted(wallets, profile, metadata))
        transaction = _transaction(wallets, access.grant, value)
        body = DeferredQuestion(transaction, key)
    asked = wallets.desk.ask(
        metadata,
        profile,
        body,
        grant=access.grant,
        dpop=access.key_hash,
        wait=wallets.door.settings.wallet_wait,
        marks=access.marks,
    )
    if isinstance(asked.answer, Pending) and transaction is not None:
        # The id that was asked with, whatever the city calls it: a wallet takes no other (section 9.2).
        return give_later(wallets, access.grant, transaction, asked.answer.interval, key)
    if asked.answer is not None:
        return give_answer(wallets, profile, access.grant, asked.answer, key)
    if transaction is None:
        # Which transaction it is only the city can read.
        raise away()
    return give_later(wallets, access.grant, transaction, INTERVAL, key)


def _transaction(wallets: WalletDoor, grant: str, value: dict[str, JSON]) -> str:
    unknown = OAuthError("invalid_transaction_id", "no such transaction")
    text = value.get("transaction_id")
    if not isinstance(text, str) or _HANDLE.fullmatch(text) is None:
        raise unknown
    with wallets.door.store.read() as connection:
        owner = wallet_exchanges.find_transaction(connection, transaction_hash(text))
    if owner != grant:
        raise unknown
    return text
