"""Where a message stands that was handled before: the answer to the same message again.

A street door may confirm a `PUT` and lose what was put. The phone then posts the very same envelope once more, and the
city says again what it said last; a package that is lost is put there again, the same ciphertext. Nothing is decided,
sealed or encrypted anew here, so whoever repeats a message gains only what was his already. The signature, the account
and the city were checked by `intake` before, as with every message; card evidence was checked when it was handled.
How often is counted in the store (`app.storage.repeats`).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from app.errors import Refusal
from app.issuance.refusals import refusal
from app.issuance.states import OPEN, STAGE_OF, State
from app.registers.gate_client import GateClient
from app.storage import accounts as account_store
from app.storage import certificates as certificate_store
from app.storage import grants as grant_store
from app.storage import repeats as repeat_store
from app.storage import requests as request_store
from app.storage import revocations as revocation_store
from app.storage.accounts import ACTIVE, STOPPED
from app.storage.outbox import queue_again
from app.storage.requests import Request
from app.wallets.grants import offer_of
from app.wallets.settings import WalletSettings
from mobile_api.messages import (
    AnswerBody,
    DeviceRequest,
    PackageReady,
    Progress,
    Refused,
    Register,
    RegisterByCode,
    Registered,
    RequestByMandate,
    RequestCertificate,
    RequestOffer,
)
from verifier.formats.jose import same_thumbprint, thumbprint

REPEATABLE: Final = (Register, RegisterByCode, RequestCertificate, RequestByMandate, RequestOffer)
"""What a phone cannot simply ask anew: the card signed it, and a request keeps its key until it ends."""
REPEAT_PAUSE: Final = 60
"""Seconds after the last answer to a message before the same message is answered again."""
REPEATS_A_DAY: Final = 20


def where_it_stands(connection: Connection, known: Request) -> AnswerBody:
    """The answer to a request that the city has already, from what is stored."""
    if known.state is State.RELEASED:
        package = certificate_store.find_package_id(connection, known.request_id)
        if package is not None:
            return PackageReady(known.request_id, package[0], bytes.fromhex(package[1]))
    if known.state in OPEN:
        return Progress(known.request_id, STAGE_OF.get(known.state, "accepted"))
    said = repeat_store.find_refusal(connection, known.account, known.message_id)
    return said or _refused(refusal("counter"))


def answer_again(
    connection: Connection,
    request: DeviceRequest,
    gate: GateClient,
    *,
    at: int,
    pause: int = REPEAT_PAUSE,
    wallets: WalletSettings | None = None,
) -> AnswerBody:
    """The last answer to a handled message once more; a package is queued again if the city still has it.

    Raises UnavailableError when the register gate has to be asked and does not answer.
    """
    said = repeat_store.find_refusal(connection, request.account, request.message_id)
    if said is not None:
        return said
    account = account_store.find_account(connection, request.account)
    if account is None:
        return _refused(refusal("gone"))
    if account.state == STOPPED:
        return _refused(refusal("stopped"))
    body = request.body
    if isinstance(body, Register | RegisterByCode):
        same = same_thumbprint(account.signing_thumbprint, thumbprint(body.signing_key))
        return Registered() if same else _refused(refusal("gone"))
    if isinstance(body, RequestOffer) and wallets is not None:
        return _offer_again(connection, request.account, body, wallets, at=at)
    if not isinstance(body, RequestCertificate | RequestByMandate):
        return _refused(refusal("gone"))
    known = request_store.find_by_key(connection, request.account, body.request.idempotency_key)
    if (
        known is None
        or known.body_hash != body.request.digest()
        or known.state in (State.REFUSED, State.FAILED)
    ):
        # It was refused so long ago that the words are forgotten.
        return _refused(refusal("gone"))
    stands = where_it_stands(connection, known)
    if not isinstance(stands, PackageReady):
        return stands
    # A hand-over like the first: protection and death are asked again inside the transaction that hands over. The gate
    # first, for a frozen account too: when it is away, an answer at once would tell protection from a harmless cause. The
    # row is held from before the question on, as in `walk`: whoever follows a later correction takes it back after us.
    request_store.lock_request(connection, known.request_id)
    try:
        gate.recheck(request_id=known.request_id, position=known.register_position)
    except Refusal as no:
        return _refused(no)
    if account.state != ACTIVE:
        return _refused(refusal("counter"))
    if revocation_store.is_revoked(connection, known.request_id) or not queue_again(
        connection, account=request.account, package_id=stands.package_id, at=at, pause=pause
    ):
        return _refused(refusal("gone"))
    return stands


def _offer_again(
    connection: Connection, account: str, body: RequestOffer, wallets: WalletSettings, *, at: int
) -> AnswerBody:
    grant = grant_store.find_by_wish(connection, account, body.wish.idempotency_key)
    if grant is None:
        return _refused(refusal("gone"))
    try:
        return offer_of(grant, body.wish.digest(), wallets, at=at)
    except Refusal as no:
        return _refused(no)


def _refused(no: Refusal) -> Refused:
    return Refused(no.code, no.ja, no.en, no.retry)
