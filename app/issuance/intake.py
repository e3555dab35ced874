"""The way in: one sealed message from a phone becomes a stored fact and a queued answer, exactly once.

Order of what is checked, and why:

 1. the envelope opens with the city's key and its content is in the format        – else it is dropped: nobody to answer
 2. account inside = account outside, city = this city, message not handled before – else dropped: a hostile door
    that replays or re-addresses must not even provoke a refusal; the very same bytes again, seldom and from an account
    that is checked like any other, get the last answer once more (`repeats`)
 3. the device's signature                                                         – else dropped
 4. the nonce is consumed, in the city's own database                              – else refused
 5. the card's evidence: path, profile, dates, revocation, statement               – else refused
 6. the register gate binds, or opens the request                                  – else refused

What is dropped is counted by reason and never answered: only a message that a registered or registering device really
signed gets an answer. This module walks no request further; that is `walk`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Engine

from app.errors import CityError, Refusal
from app.identity.card_evidence import CardChecker
from app.issuance.desk import NONCE_MAX_AGE, Desk, IntakeSettings, Letter, SendMail
from app.issuance.devices import list_devices, lock_devices, stop_device, tell_history
from app.issuance.refusals import refusal
from app.issuance.registering import confirm_mail, register, register_by_code
from app.issuance.repeats import answer_again
from app.issuance.requesting import request_by_mandate, request_certificate
from app.mandates.handling import (
    accept_mandate,
    ask_code,
    confirm_mandate,
    end_mandate,
    give_mandate,
    list_mandates,
)
from app.registers.gate_client import GateClient
from app.storage import accounts as account_store
from app.storage import inbox as inbox_store
from app.storage import repeats as repeat_store
from app.storage.accounts import ACTIVE, STOPPED, Account
from app.storage.inbox import Envelope
from app.wallets.offers import request_offer
from mobile_api.messages import (
    AcceptMandate,
    ConfirmMail,
    ConfirmMandate,
    DeviceRequest,
    EndMandate,
    GiveMandate,
    HistoryWish,
    ListDevices,
    ListMandates,
    LockDevices,
    MandateCodeWish,
    Refused,
    Register,
    RegisterByCode,
    RequestByMandate,
    RequestCertificate,
    RequestOffer,
    StopDevice,
    open_envelope,
    verify_device_request,
)
from verifier.errors import FormatError
from verifier.fault import describe_fault
from verifier.formats.encoding import parse_canonical_json
from verifier.formats.jose import parse_jwk, same_thumbprint

__all__ = ["HANDLERS", "NONCE_MAX_AGE", "Intake", "IntakeSettings"]

log = logging.getLogger("akashi.intake")

Handler = Callable[[Desk, Letter, Account, Any], None]
"""Takes one message of a known account to its end: stores and answers, or raises Refusal or UnavailableError."""

HANDLERS: Final[Mapping[type, Handler]] = {
    RequestCertificate: request_certificate,
    ConfirmMail: confirm_mail,
    StopDevice: stop_device,
    HistoryWish: tell_history,
    ListDevices: list_devices,
    LockDevices: lock_devices,
    MandateCodeWish: ask_code,
    GiveMandate: give_mandate,
    AcceptMandate: accept_mandate,
    ConfirmMandate: confirm_mandate,
    EndMandate: end_mandate,
    ListMandates: list_mandates,
    RequestByMandate: request_by_mandate,
    RequestOffer: request_offer,
}
"""What a registered phone may say."""

NEWCOMERS: Final[Mapping[type, Callable[[Desk, Letter, Any], None]]] = {
    Register: register,
    RegisterByCode: register_by_code,
}
"""What somebody without an account may say."""

# A stopped phone may still read what was done with it.
OPEN_TO_STOPPED: Final = (HistoryWish,)
# A frozen account's request walks on like everybody's and is refused by the gate: neither the order nor the time of the
# answers tells protection from a harmless cause.
# Mandates are the same case: their handlers ask the gate, which says "counter" to many. Ending and locking only ever
# protect.
OPEN_TO_FROZEN: Final = (
    HistoryWish,
    RequestCertificate,
    ListDevices,
    LockDevices,
    MandateCodeWish,
    GiveMandate,
    AcceptMandate,
    ConfirmMandate,
    EndMandate,
    ListMandates,
    RequestByMandate,
    RequestOffer,
)


class Intake:
    """Handles envelopes one after the other; one instance, one writing process."""

    def __init__(
        self,
        store: Engine,
        settings: IntakeSettings,
        *,
        agree: Callable[[ec.EllipticCurvePublicKey], bytes],
        cards: CardChecker,
        gate: GateClient,
        send_mail: SendMail,
        clock: Callable[[], datetime],
    ) -> None:
        self._desk = Desk(store, settings, cards, gate, send_mail, clock)
        self._store = store
        self._settings = settings
        self._agree = agree
        self._gate = gate
        self._clock = clock
        self.dropped: Counter[str] = Counter()

    def handle(self, envelope: Envelope) -> None:
        """Handle one stored envelope to its end. Raises UnavailableError if it has to be handled again later."""
        at = int(self._clock().timestamp())
        try:
            request = self._open(envelope)
            if request is not None:
                self._dispatch_or_refuse(Letter(envelope, request, at))
                return
        except CityError:
            raise
        except Exception as error:
            # A defect of ours that this message found: it must not stop those behind it. The phone still has it.
            log.error("message dropped: unexpected %s", describe_fault(error))
            self._drop("unexpected")
        with self._store.begin() as connection:
            inbox_store.mark_handled(connection, envelope, at=at)

    def _dispatch_or_refuse(self, letter: Letter) -> None:
        try:
            self._dispatch(letter)
        except Refusal as no:
            with self._store.begin() as connection:
                refused = Refused(no.code, no.ja, no.en, no.retry)
                self._desk.answer(connection, letter, refused, item="refused")

    def give_up(self, envelope: Envelope) -> None:
        """Drop an envelope that this program cannot handle (a defect of ours; it is counted)."""
        self._drop("defect")
        with self._store.begin() as connection:
            inbox_store.mark_handled(connection, envelope, at=int(self._clock().timestamp()))

    # ---- 1 to 3: who speaks -------------------------------------------------------------------------------------

    def _open(self, envelope: Envelope) -> DeviceRequest | None:
        try:
            message = open_envelope(envelope.body, self._settings.envelope_kid, self._agree)
            request = verify_device_request(message, self._find_device_key)
        except FormatError as error:
            return self._drop(error.code)
        if request.account != envelope.account:
            return self._drop("re-addressed")
        if request.city != self._settings.city:
            return self._drop("other-city")
        with self._store.begin() as connection:
            handled = inbox_store.is_handled(connection, request.account, request.message_id)
        if handled:
            return self._repeat(envelope, request)
        return request

    def _repeat(self, envelope: Envelope, request: DeviceRequest) -> None:
        at, pause = int(self._clock().timestamp()), self._settings.repeat_pause
        with self._store.begin() as connection:
            # The count, the answer, the package and the envelope's end are one transaction: all or nothing.
            if not repeat_store.claim_repeat(
                connection,
                request.account,
                request.message_id,
                envelope,
                at=at,
                pause=pause,
                a_day=self._settings.repeats_a_day,
            ):
                return self._drop("replayed")
            body = answer_again(
                connection, request, self._gate, at=at, pause=pause, wallets=self._settings.wallets
            )
            self._desk.answer(connection, Letter(envelope, request, at), body, item=f"again-{at}")
        return None

    def _drop(self, reason: str) -> None:
        self.dropped[reason] += 1
        log.info("message dropped: %s", reason)

    def _find_device_key(self, account: str, kid: str) -> ec.EllipticCurvePublicKey | None:
        with self._store.begin() as connection:
            known = account_store.find_account(connection, account)
        if known is None or not same_thumbprint(known.signing_thumbprint, kid):
            return None
        return parse_jwk(parse_canonical_json(known.signing_jwk.encode("ascii")))

    # ---- 4 to 6: what it wants ----------------------------------------------------------------------------------

    def _dispatch(self, letter: Letter) -> None:
        body = letter.request.body
        newcomer = NEWCOMERS.get(type(body))
        if newcomer is not None:
            newcomer(self._desk, letter, body)
            return
        with self._store.begin() as connection:
            account = account_store.find_account(connection, letter.request.account)
        if account is None:
            raise refusal("account")
        if account.state == STOPPED and not isinstance(body, OPEN_TO_STOPPED):
            raise refusal("stopped")
        if account.state not in (ACTIVE, STOPPED) and not isinstance(body, OPEN_TO_FROZEN):
            raise refusal("counter")
        HANDLERS[type(body)](self._desk, letter, account, body)
