"""A phone's wish for an offer: card evidence in, one grant and one offer out, or a refusal.

The register gate sees the card's evidence itself and authorises that many copies; without it no copy is ever signed. The
hashes for the street door and the offer for the phone are queued in one transaction, the door's first. The offer and its
tx_code go to this phone only; the resident's other phones hear that there is one.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from app.errors import UnavailableError
from app.issuance.desk import Desk, Letter, check_same_card, require_card
from app.issuance.refusals import refusal
from app.storage import grants as grant_store
from app.storage.accounts import Account
from app.storage.announcements import is_announced
from app.storage.outbox import queue_item
from app.wallets.grants import offer_of, open_grant
from app.wallets.notices import OFFERED, tell_resident
from app.wallets.offer_codes import derive_codes, door_offer
from mobile_api.messages import RequestOffer
from verifier.formats.encoding import base64_encode, base64url_encode

_ID_LABEL: Final = b"akashi/wallet-request-id/v1\0"


def request_offer(desk: Desk, letter: Letter, account: Account, body: RequestOffer) -> None:
    """The same wish again is answered with the same offer; a new one needs nonce, card and gate. Raises Refusal."""
    require_card(account)
    wish, at = body.wish, letter.at
    settings = desk.settings.wallets
    if settings is None or wish.profile not in settings.profiles:
        raise refusal("wallet-profile")
    with desk.store.begin() as connection:
        known = grant_store.find_by_wish(connection, account.account, wish.idempotency_key)
        if known is not None:
            desk.answer(connection, letter, offer_of(known, wish.digest(), settings, at=at))
            return
        announced = is_announced(connection, account.account, at=at)
    if not announced:
        # An offer hands over like a package: not from a new phone before the resident's others were told of it.
        raise UnavailableError("announcement", "the resident's other devices are not told yet")
    desk.use_nonce(body.statement, letter)
    auth = desk.cards.check_authentication(
        body.statement,
        body.auth_cert,
        body.auth_signature,
        purpose="request",
        signing_key=account.signing_thumbprint,
        encryption_key=account.encryption_thumbprint,
        request_digest=wish.digest(),
        now=desk.clock(),
    )
    check_same_card(auth, account)
    request_id = derive_request_id(account.account, wish.idempotency_key)
    binding = desk.gate.open_offer(
        request_id=request_id,
        document_kind=wish.document_kind,
        fiscal_year=wish.fiscal_year,
        purpose=wish.purpose,
        idempotency_key=wish.idempotency_key,
        profile=wish.profile,
        copies=wish.copies,
        statement=body.statement,
        auth_cert=body.auth_cert,
        auth_signature=body.auth_signature,
    )
    if not hmac.compare_digest(binding, account.binding):
        # The card is bound to this account and, at the gate, to a resident: both must be the same.
        raise refusal("other-card")
    with desk.store.begin() as connection:
        grant = open_grant(
            connection,
            binding=binding,
            request_id=request_id,
            profile=wish.profile,
            wish_hash=wish.digest(),
            idempotency_key=wish.idempotency_key,
            fiscal_year=wish.fiscal_year,
            copies=wish.copies,
            purpose=wish.purpose,
            evidence={
                "auth_cert": base64_encode(body.auth_cert),
                "auth_signature": base64_encode(body.auth_signature),
                "statement": body.statement,
            },
            life=settings.code_life,
            at=at,
            account=account.account,
            message_id=letter.request.message_id,
            document_kind=wish.document_kind,
            has_code=True,
            by_reference=body.by_reference,
        )
        queue_item(
            connection,
            kind="offer",
            account=account.account,
            item_id=grant.grant_id,
            body=door_offer(grant, derive_codes(grant.secret or b"")),
            at=at,
        )
        desk.answer(connection, letter, offer_of(grant, wish.digest(), settings, at=at))
        tell_resident(
            connection,
            binding,
            OFFERED,
            item=f"offer-{grant.grant_id}",
            at=at,
            without=account.account,
        )


def derive_request_id(account: str, idempotency_key: str) -> str:
    """The request's id: a repetition after a crash between gate and store opens the same one. Never a phone request's."""
    digest = hashlib.sha256(_ID_LABEL + f"{account}\0{idempotency_key}".encode()).digest()
    return base64url_encode(digest[:16])
