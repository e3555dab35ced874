"""A request for a certificate: card evidence in, one authorised and stored request out, or a refusal."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable

from app.issuance.desk import Desk, Letter, check_same_card, require_card
from app.issuance.refusals import refusal
from app.issuance.repeats import where_it_stands
from app.issuance.states import State
from app.storage import certificates as certificate_store
from app.storage import requests as request_store
from app.storage.accounts import Account
from app.storage.mandate_requests import store_mandate_request
from app.storage.requests import Request
from mobile_api.messages import MandateWish, Progress, RequestByMandate, RequestCertificate
from verifier.formats.encoding import base64_encode, base64url_encode, canonical_json

log = logging.getLogger("akashi.intake")


def request_certificate(desk: Desk, letter: Letter, account: Account, body: RequestCertificate) -> None:
    """The same wish again is answered from the store; a new one needs nonce, card and gate. Raises Refusal."""
    wish = body.request

    def open_request(request_id: str) -> None:
        desk.gate.open_request(
            request_id=request_id,
            document_kind=wish.document_kind,
            fiscal_year=wish.fiscal_year,
            purpose=wish.purpose,
            idempotency_key=wish.idempotency_key,
            statement=body.statement,
            auth_cert=body.auth_cert,
            auth_signature=body.auth_signature,
        )

    take_in(desk, letter, account, body, purpose="request", open_request=open_request)


def request_by_mandate(desk: Desk, letter: Letter, account: Account, body: RequestByMandate) -> None:
    """The same for a giver, by the agent's card: the gate looks at the mandate, now and whenever it is asked again."""
    wish = body.request

    def open_request(request_id: str) -> None:
        desk.gate.mandates.open_request(
            request_id=request_id,
            wish=wish,
            statement=body.statement,
            auth_cert=body.auth_cert,
            auth_signature=body.auth_signature,
        )

    take_in(desk, letter, account, body, purpose="request_by_mandate", open_request=open_request)


def take_in(
    desk: Desk,
    letter: Letter,
    account: Account,
    body: RequestCertificate | RequestByMandate,
    *,
    purpose: str,
    open_request: Callable[[str], None],
) -> None:
    """What both kinds of request have in common. `open_request` has the gate authorise this request's id."""
    require_card(account)
    wish, at = body.request, letter.at
    with desk.store.begin() as connection:
        known = request_store.find_by_key(connection, account.account, wish.idempotency_key)
        if known is not None:
            if not hmac.compare_digest(known.body_hash, wish.digest()):
                raise refusal("idempotency")
            desk.answer(connection, letter, where_it_stands(connection, known))
            return
    desk.use_nonce(body.statement, letter)
    auth = desk.cards.check_authentication(
        body.statement,
        body.auth_cert,
        body.auth_signature,
        purpose=purpose,
        signing_key=account.signing_thumbprint,
        encryption_key=account.encryption_thumbprint,
        request_digest=wish.digest(),
        now=desk.clock(),
    )
    check_same_card(auth, account)
    request_id = derive_request_id(account.account, wish.idempotency_key)
    open_request(request_id)
    evidence = {
        "auth_cert": base64_encode(body.auth_cert),
        "auth_signature": base64_encode(body.auth_signature),
        "statement": body.statement,
    }
    row = Request(
        request_id=request_id,
        account=account.account,
        message_id=letter.request.message_id,
        idempotency_key=wish.idempotency_key,
        body_hash=wish.digest(),
        document_kind=wish.document_kind,
        fiscal_year=wish.fiscal_year,
        state=State.AWAITING_PAYMENT,
        token=None,
        attempts=0,
        accepted_at=at,
        changed_at=at,
    )
    with desk.store.begin() as connection:
        request_store.store_request(connection, row)
        if isinstance(wish, MandateWish):
            store_mandate_request(connection, request_id, wish.mandate)
        certificate_store.store_intake(
            connection,
            request_id,
            purpose=wish.purpose,
            evidence=canonical_json(evidence).decode("utf-8"),
        )
        # The free twin of payment, loudly: nothing is charged until payment is built.
        log.warning("模擬/MOCK payment: request %s accepted free of charge", request_id)
        request_store.move(connection, row, State.ACCEPTED, at=at, step="payment-free-twin")
        desk.answer(connection, letter, Progress(request_id, "accepted"))


def derive_request_id(account: str, idempotency_key: str) -> str:
    """The request's id, from account and key: a repetition after a crash between gate and store opens the same one."""
    digest = hashlib.sha256(f"akashi/request-id/v1\0{account}\0{idempotency_key}".encode()).digest()
    return base64url_encode(digest[:16])
