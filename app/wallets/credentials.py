"""Credential and deferred questions: one grant, one set of copies, made by the walk, handed over while they are kept.

 1. sealed requests are opened with the envelope key; where the profile says so, everything else is refused
 2. the challenge is used up, the key proofs are checked again
 3. the grant, its profile, configuration and DPoP key must be the question's
 4. the keys are fixed in one compare-and-set, and with them the request the walk takes up
 5. the set is handed over after the register gate was asked once more; the same keys get the same set while it is kept

Nothing is signed here.
"""

from __future__ import annotations

import hmac
import secrets

from sqlalchemy import Connection

from app.errors import ConflictError, Refusal, UnavailableError
from app.issuance.states import OPEN, State
from app.storage import copies as copy_store
from app.storage import grants as grant_store
from app.storage import requests as request_store
from app.storage.grants import Grant
from app.storage.requests import WALLET, Request
from app.storage.revocations import refuse_revoked
from app.wallets.answers import DeniedError, issued, pending
from app.wallets.copies_walk import check_account
from app.wallets.credential_request import open_credential_request, open_deferred_request
from app.wallets.exchanges import Look, WalletDesk
from app.wallets.notices import IN_WALLET, tell_resident
from app.wallets.proofs import check_proofs
from mobile_api.exchanges import (
    AnswerBody,
    CredentialQuestion,
    DeferredQuestion,
    Issued,
    Question,
    ResponseKey,
    SealedCredentialQuestion,
    SealedDeferredQuestion,
)
from verifier.formats.encoding import canonical_json
from verifier.formats.jose import format_jwk

REFUSED = "the city cannot issue this certificate; the akashi app says why"


def answer_credential(
    desk: WalletDesk, question: Question, body: CredentialQuestion | SealedCredentialQuestion
) -> AnswerBody | Look:
    """A credential request, in the clear or sealed. Raises UnavailableError."""
    try:
        if isinstance(body, SealedCredentialQuestion):
            request = open_credential_request(body.jwe, desk.kid, desk.agree)
        else:
            request = body
        _check_encryption(desk, question, body, request.response)
        keys = check_proofs(desk, question, request.proofs)
        grant = _find_grant(desk, question)
        if request.configuration != grant.configuration:
            raise DeniedError("unknown_credential_configuration", "this offer is for another credential")
        # A wallet with more keys than there are copies gets as many as there are (section 8.3).
        jwks = canonical_json([format_jwk(key) for key in keys[: grant.copies]]).decode("ascii")
        grant = _fix(desk, question, grant, jwks)
    except DeniedError as no:
        return no.answer()
    return _look(desk, grant, request.response)


def answer_deferred(
    desk: WalletDesk, question: Question, body: DeferredQuestion | SealedDeferredQuestion
) -> AnswerBody | Look:
    """A deferred request, in the clear or sealed. Raises UnavailableError."""
    try:
        if isinstance(body, SealedDeferredQuestion):
            request = open_deferred_request(body.jwe, desk.kid, desk.agree)
        else:
            request = body
        _check_encryption(desk, question, body, request.response)
        grant = _find_grant(desk, question, is_over="invalid_transaction_id")
        _check_transaction(desk, grant, request.transaction)
        _check_dpop(question, grant)
    except DeniedError as no:
        return no.answer()
    return _look(desk, grant, request.response, asked_with=request.transaction)


def _check_encryption(
    desk: WalletDesk, question: Question, body: object, response: ResponseKey | None
) -> None:
    if question.profile not in desk.settings.encrypted:
        return
    if not isinstance(body, SealedCredentialQuestion | SealedDeferredQuestion):
        raise DeniedError(
            "invalid_encryption_parameters", "requests are encrypted to the key in the metadata"
        )
    if response is None:
        raise DeniedError("invalid_encryption_parameters", "credential_response_encryption is needed")


def _find_grant(desk: WalletDesk, question: Question, *, is_over: str = "credential_request_denied") -> Grant:
    with desk.store.begin() as connection:
        grant = None if question.grant is None else grant_store.find_grant(connection, question.grant)
    if grant is None or grant.profile != question.profile:
        raise DeniedError("credential_request_denied", "no such grant")
    if grant.ended_at is not None:
        raise DeniedError("credential_request_denied", REFUSED)
    if grant.holder_jwks is None and grant.redeem_until <= desk.at:
        raise DeniedError(is_over, "the time of this offer is over")
    if question.profile == "p2" and question.dpop is None:
        raise DeniedError("credential_request_denied", "the token must be bound to a key (DPoP)")
    return grant


def _fix(desk: WalletDesk, question: Question, grant: Grant, jwks: str) -> Grant:
    """The grant with its keys fixed, by this question or an earlier one with the same keys. Raises DeniedError."""
    at = desk.at
    with desk.store.begin() as connection:
        is_first = grant_store.fix_keys(
            connection,
            grant,
            holder_jwks=jwks,
            dpop=question.dpop,
            transaction_id=secrets.token_urlsafe(16),
            notification_id=secrets.token_urlsafe(16),
            at=at,
        )
        fixed = grant_store.find_grant(connection, grant.grant_id)
        if fixed is None or fixed.holder_jwks is None:
            raise DeniedError("credential_request_denied", "the time of this offer is over")
        if not hmac.compare_digest(fixed.holder_jwks, jwks):
            raise DeniedError("credential_request_denied", "this offer has copies for other keys")
        _check_dpop(question, fixed)
        grant_store.note_exchange(connection, grant.grant_id, question.exchange, at=at)
        if is_first:
            _open_request(connection, fixed, at)
    if is_first:
        desk.wake()
    return fixed


def _open_request(connection: Connection, grant: Grant, at: int) -> None:
    row = Request(
        request_id=grant.request_id,
        account=grant.account,
        message_id=grant.message_id or grant.grant_id,
        # A phone's key has no colon: the two never meet.
        idempotency_key=f"wallet:{grant.grant_id}",
        body_hash=grant.wish_hash,
        document_kind=grant.document_kind,
        fiscal_year=grant.fiscal_year,
        state=State.AWAITING_PAYMENT,
        token=None,
        attempts=0,
        accepted_at=at,
        changed_at=at,
        corridor=WALLET,
    )
    request_store.store_request(connection, row)
    request_store.move(connection, row, State.ACCEPTED, at=at, step="payment-free-twin")


def _check_dpop(question: Question, grant: Grant) -> None:
    same = (question.dpop or "").encode(), (grant.dpop or "").encode()
    if not hmac.compare_digest(*same):
        raise DeniedError("credential_request_denied", "the token is bound to another key than before")


def _check_transaction(desk: WalletDesk, grant: Grant, transaction: str) -> None:
    """Raises DeniedError("invalid_transaction_id") unless it is the city's own word or an exchange of this grant."""
    with desk.store.begin() as connection:
        known = grant_store.is_exchange_of(connection, grant.grant_id, transaction)
    own = grant.transaction_id or ""
    if not known and not (own and hmac.compare_digest(own.encode(), transaction.encode())):
        raise DeniedError("invalid_transaction_id", "no such transaction")


def _look(
    desk: WalletDesk, grant: Grant, response: ResponseKey | None, *, asked_with: str | None = None
) -> Look:
    # "Not yet" repeats the transaction id that was asked with, the door's own word too: another one is none (section 9.2).
    transaction = asked_with or grant.transaction_id or ""

    def look(is_last: bool) -> AnswerBody | None:
        with desk.store.begin() as connection:
            row = request_store.find_request(connection, grant.request_id)
        if row is None:
            return DeniedError("credential_request_denied", REFUSED).answer()
        try:
            if row.state is State.RELEASED:
                return _hand_over(desk, grant, response, is_deferred=asked_with is not None)
            if row.state not in OPEN:
                raise DeniedError("credential_request_denied", REFUSED)
        except DeniedError as no:
            return no.answer()
        except UnavailableError:
            # Somebody has to be asked before anything leaves, and is away.
            pass
        return pending(transaction, response=response) if is_last else None

    return look


def _hand_over(desk: WalletDesk, grant: Grant, response: ResponseKey | None, *, is_deferred: bool) -> Issued:
    """The set, if nothing speaks against it now. Raises DeniedError, UnavailableError."""
    try:
        with desk.store.begin() as connection:
            refuse_revoked(connection, grant.request_id)
            row = request_store.find_request(connection, grant.request_id)
            living = grant_store.find_grant(connection, grant.grant_id)
            if (
                row is None
                or row.state is not State.RELEASED
                or living is None
                or living.ended_at is not None
            ):
                raise DeniedError("credential_request_denied", REFUSED)
            # Each time: between two of a wallet's questions somebody may have come under protection.
            desk.gate.recheck(request_id=grant.request_id, position=row.register_position)
            check_account(connection, living)
            texts = [
                copy.credential
                for copy in copy_store.find_copies(connection, grant.request_id)
                if copy.credential is not None
            ]
            if not texts:
                code = "invalid_transaction_id" if is_deferred else "credential_request_denied"
                raise DeniedError(code, "the copies were handed over and are not kept any more")
            tell_resident(connection, grant.binding, IN_WALLET, item=f"wallet-{grant.request_id}", at=desk.at)
    except (Refusal, ConflictError) as no:
        raise DeniedError("credential_request_denied", REFUSED) from no
    # Wallets with the library oid4vc-ts up to 0.5.1 refuse a deferred answer that has both.
    notification = None if is_deferred else living.notification_id
    return issued(texts, notification_id=notification, response=response)
