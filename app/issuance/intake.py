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

import hashlib
import hmac
import logging
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Connection, Engine

from app.errors import CityError, Refusal, UnavailableError
from app.identity.card_evidence import CardChecker, CardIdentity
from app.issuance.refusals import refusal
from app.issuance.repeats import (
    REPEAT_PAUSE,
    REPEATABLE,
    REPEATS_A_DAY,
    answer_again,
    where_it_stands,
)
from app.issuance.states import State
from app.registers.gate_client import GateClient
from app.storage import accounts as account_store
from app.storage import certificates as certificate_store
from app.storage import inbox as inbox_store
from app.storage import nonces as nonce_store
from app.storage import repeats as repeat_store
from app.storage import requests as request_store
from app.storage.accounts import ACTIVE, STOPPED, Account
from app.storage.inbox import Envelope
from app.storage.outbox import queue_answer
from app.storage.requests import Request
from mobile_api.messages import (
    NO_REQUEST,
    AnswerBody,
    ConfirmMail,
    DeviceRequest,
    History,
    HistoryEntry,
    HistoryWish,
    Notice,
    Progress,
    Refused,
    Register,
    Registered,
    RequestCertificate,
    StopDevice,
    open_envelope,
    parse_statement,
    verify_device_request,
)
from verifier.errors import FormatError
from verifier.fault import describe_fault
from verifier.formats.encoding import base64_encode, base64url_encode, canonical_json, parse_canonical_json
from verifier.formats.jose import format_jwk, parse_jwk, same_thumbprint, thumbprint

log = logging.getLogger("akashi.intake")

NONCE_MAX_AGE = 25 * 3600
"""Seconds; the street door forgets a nonce after a day, the statement's own time bounds its use to an hour."""
MAIL_ATTEMPTS = 5
HISTORY_LINES = 50

SendMail = Callable[[str, str], None]
"""(address, code): send the confirmation mail. An outage raises UnavailableError; registration goes on without."""


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """city: six digits. envelope_kid: thumbprint of the city's envelope key. fee_yen: 0 while payment is a free twin.

    repeat_pause: seconds between two answers to one message. repeats_a_day: how many a message, a UTC day.
    """

    city: str
    envelope_kid: str
    fee_yen: int = 0
    repeat_pause: int = REPEAT_PAUSE
    repeats_a_day: int = REPEATS_A_DAY


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
        self._store = store
        self._settings = settings
        self._agree = agree
        self._cards = cards
        self._gate = gate
        self._send_mail = send_mail
        self._clock = clock
        self.dropped: Counter[str] = Counter()

    def handle(self, envelope: Envelope) -> None:
        """Handle one stored envelope to its end. Raises UnavailableError if it has to be handled again later."""
        at = int(self._clock().timestamp())
        try:
            request = self._open(envelope)
            if request is not None:
                self._dispatch_or_refuse(envelope, request, at)
                return
        except CityError:
            raise
        except Exception as error:
            # A defect of ours that this message found: it must not stop those behind it. The phone still has it.
            log.error("message dropped: unexpected %s", describe_fault(error))
            self._drop("unexpected")
        with self._store.begin() as connection:
            inbox_store.mark_handled(connection, envelope, at=at)

    def _dispatch_or_refuse(self, envelope: Envelope, request: DeviceRequest, at: int) -> None:
        try:
            self._dispatch(envelope, request, at)
        except Refusal as no:
            with self._store.begin() as connection:
                self._answer(
                    connection,
                    envelope,
                    request,
                    Refused(no.code, no.ja, no.en, no.retry),
                    at,
                    item="refused",
                )

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
            body = answer_again(connection, request, self._gate, at=at, pause=pause)
            self._answer(connection, envelope, request, body, at, item=f"again-{at}")
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

    def _dispatch(self, envelope: Envelope, request: DeviceRequest, at: int) -> None:
        body = request.body
        if isinstance(body, Register):
            self._register(envelope, request, body, at)
            return
        with self._store.begin() as connection:
            account = account_store.find_account(connection, request.account)
        if account is None:
            raise refusal("account")
        if account.state == STOPPED and not isinstance(body, HistoryWish):
            raise refusal("stopped")
        # A frozen account's request walks on like everybody's and is refused by the gate: neither the order nor the
        # time of the answers tells protection from a harmless cause.
        if account.state not in (ACTIVE, STOPPED) and not isinstance(body, HistoryWish | RequestCertificate):
            raise refusal("counter")
        if isinstance(body, RequestCertificate):
            self._request(envelope, request, account, body, at)
        elif isinstance(body, ConfirmMail):
            self._confirm_mail(envelope, request, body, at)
        elif isinstance(body, StopDevice):
            self._stop(envelope, request, account, body, at)
        else:
            self._history(envelope, request, account, at)

    def _use_nonce(self, statement: str, message_id: str, at: int) -> None:
        try:
            nonce = parse_statement(statement).nonce
        except FormatError as error:
            raise refusal("statement") from error
        with self._store.begin() as connection:
            used = nonce_store.consume_nonce(
                connection, nonce, message_id=message_id, at=at, max_age=NONCE_MAX_AGE
            )
        if not used:
            raise refusal("nonce")

    def _register(self, envelope: Envelope, request: DeviceRequest, body: Register, at: int) -> None:
        self._use_nonce(body.statement, request.message_id, at)
        now = self._clock()
        keys = (thumbprint(body.signing_key), thumbprint(body.encryption_key))
        expected = {"purpose": "register", "signing_key": keys[0], "encryption_key": keys[1]}
        self._cards.check_signature(
            body.statement,
            body.signature_cert,
            body.signature,
            request_digest=NO_REQUEST,
            now=now,
            **expected,
        )
        auth = self._cards.check_authentication(
            body.statement,
            body.auth_cert,
            body.auth_signature,
            request_digest=NO_REQUEST,
            now=now,
            **expected,
        )
        binding = self._gate.register(
            statement=body.statement,
            signature_cert=body.signature_cert,
            signature=body.signature,
            auth_cert=body.auth_cert,
            auth_signature=body.auth_signature,
        )
        code = f"{secrets.randbelow(10**6):06d}" if body.mail else None
        account = Account(
            account=request.account,
            binding=binding,
            auth_issuer=auth.issuer,
            auth_serial=auth.serial,
            signing_thumbprint=keys[0],
            signing_jwk=canonical_json(format_jwk(body.signing_key)).decode("ascii"),
            encryption_thumbprint=keys[1],
            encryption_jwk=canonical_json(format_jwk(body.encryption_key)).decode("ascii"),
            state=ACTIVE,
            registered_at=at,
        )
        with self._store.begin() as connection:
            known = account_store.find_account(connection, request.account)
            if known is not None and known.signing_thumbprint != keys[0]:
                raise refusal("account-taken")
            if known is None:
                for other in account_store.find_accounts_of(connection, binding):
                    queue_answer(
                        connection,
                        account=other.account,
                        item_id=f"device-{request.message_id}",
                        in_reply_to=None,
                        body=_NEW_DEVICE,
                        at=at,
                    )
                account_store.store_account(
                    connection, account, mail=body.mail, mail_code_hash=_code_hash(request.account, code)
                )
            self._answer(connection, envelope, request, Registered(), at)
        if code is not None and body.mail is not None:
            try:
                self._send_mail(body.mail, code)
            except UnavailableError as error:
                log.warning("confirmation mail not sent: %s", error.code)

    def _request(
        self, envelope: Envelope, request: DeviceRequest, account: Account, body: RequestCertificate, at: int
    ) -> None:
        wish = body.request
        with self._store.begin() as connection:
            known = request_store.find_by_key(connection, account.account, wish.idempotency_key)
            if known is not None:
                if not hmac.compare_digest(known.body_hash, wish.digest()):
                    raise refusal("idempotency")
                self._answer(connection, envelope, request, where_it_stands(connection, known), at)
                return
        self._use_nonce(body.statement, request.message_id, at)
        auth = self._cards.check_authentication(
            body.statement,
            body.auth_cert,
            body.auth_signature,
            purpose="request",
            signing_key=account.signing_thumbprint,
            encryption_key=account.encryption_thumbprint,
            request_digest=wish.digest(),
            now=self._clock(),
        )
        _check_same_card(auth, account)
        request_id = _request_id(account.account, wish.idempotency_key)
        self._gate.open_request(
            request_id=request_id,
            document_kind=wish.document_kind,
            fiscal_year=wish.fiscal_year,
            purpose=wish.purpose,
            idempotency_key=wish.idempotency_key,
            statement=body.statement,
            auth_cert=body.auth_cert,
            auth_signature=body.auth_signature,
        )
        evidence = {
            "auth_cert": base64_encode(body.auth_cert),
            "auth_signature": base64_encode(body.auth_signature),
            "statement": body.statement,
        }
        row = Request(
            request_id=request_id,
            account=account.account,
            message_id=request.message_id,
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
        with self._store.begin() as connection:
            request_store.store_request(connection, row)
            certificate_store.store_intake(
                connection,
                request_id,
                purpose=wish.purpose,
                evidence=canonical_json(evidence).decode("utf-8"),
            )
            # The free twin of payment, loudly: nothing is charged until payment is built.
            log.warning("模擬/MOCK payment: request %s accepted free of charge", request_id)
            request_store.move(connection, row, State.ACCEPTED, at=at, step="payment-free-twin")
            self._answer(connection, envelope, request, Progress(request_id, "accepted"), at)

    def _confirm_mail(self, envelope: Envelope, request: DeviceRequest, body: ConfirmMail, at: int) -> None:
        with self._store.begin() as connection:
            confirmed = account_store.confirm_mail(
                connection,
                request.account,
                _code_hash(request.account, body.code) or "",
                at=at,
                max_attempts=MAIL_ATTEMPTS,
            )
            if confirmed:
                self._answer(connection, envelope, request, _MAIL_CONFIRMED, at)
        if not confirmed:
            raise refusal("mail-code")

    def _stop(
        self, envelope: Envelope, request: DeviceRequest, account: Account, body: StopDevice, at: int
    ) -> None:
        with self._store.begin() as connection:
            for other in account_store.find_accounts_of(connection, account.binding):
                if same_thumbprint(other.signing_thumbprint, body.thumbprint):
                    account_store.change_state(connection, other.account, before=ACTIVE, after=STOPPED)
            self._answer(connection, envelope, request, _DEVICE_STOPPED, at)

    def _history(self, envelope: Envelope, request: DeviceRequest, account: Account, at: int) -> None:
        with self._store.begin() as connection:
            rows = request_store.find_of_account(connection, account.account, HISTORY_LINES)
            lines = [
                HistoryEntry(_instant(account.registered_at), "registered", "登録しました", "Registered")
            ]
            for row in sorted(rows, key=lambda r: r.accepted_at):
                ja, en = _HISTORY_WORDS[row.state]
                lines.append(
                    HistoryEntry(_instant(row.changed_at), f"request-{row.state.replace('_', '-')}", ja, en)
                )
            self._answer(connection, envelope, request, History(tuple(lines[-HISTORY_LINES:])), at)

    def _answer(
        self,
        connection: Connection,
        envelope: Envelope,
        request: DeviceRequest,
        body: AnswerBody,
        at: int,
        *,
        item: str = "answer",
    ) -> None:
        """Queue the answer and mark the message handled: one transaction, so that both or neither happened."""
        if isinstance(request.body, REPEATABLE):
            repeat_store.note_repeatable(connection, request.account, request.message_id, envelope, at=at)
        queue_answer(
            connection,
            account=request.account,
            item_id=f"{item}-{request.message_id}",
            in_reply_to=request.message_id,
            body=body,
            at=at,
            encryption_jwk=format_jwk(request.body.encryption_key)
            if isinstance(request.body, Register)
            else None,
        )
        if not inbox_store.is_handled(connection, request.account, request.message_id):
            inbox_store.note_message(connection, request.account, request.message_id, at=at)
        inbox_store.mark_handled(connection, envelope, at=at)


def _request_id(account: str, idempotency_key: str) -> str:
    # Derived, so that a repetition after a crash between gate and store opens the same request, not a second one.
    digest = hashlib.sha256(f"akashi/request-id/v1\0{account}\0{idempotency_key}".encode()).digest()
    return base64url_encode(digest[:16])


def _code_hash(account: str, code: str | None) -> str | None:
    return None if code is None else hashlib.sha256(f"{account}\0{code}".encode()).hexdigest()


def _check_same_card(auth: CardIdentity, account: Account) -> None:
    same = hmac.compare_digest(auth.issuer, account.auth_issuer) and hmac.compare_digest(
        auth.serial, account.auth_serial
    )
    if not same:
        raise refusal("other-card")


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


_NEW_DEVICE = Notice(
    "new-device",
    "あなたのカードで新しいスマートフォンが登録されました。お心当たりがない場合は、すぐに市へお電話ください。",
    "A new phone was registered with your card. If this was not you, please telephone the city at once.",
)
_MAIL_CONFIRMED = Notice(
    "mail-confirmed", "メールアドレスを確認しました。", "Your e-mail address is confirmed."
)
_DEVICE_STOPPED = Notice(
    "device-stopped", "そのスマートフォンの利用を止めました。", "That phone has been stopped."
)
_HISTORY_WORDS: dict[State, tuple[str, str]] = {
    State.AWAITING_PAYMENT: ("証明書を申請しました (支払い待ち)", "Certificate requested (payment pending)"),
    State.ACCEPTED: ("証明書の申請を受け付けました", "Certificate request accepted"),
    State.RESERVED: ("証明書を作成しています", "The certificate is being made"),
    State.SEALED: ("証明書を作成しました", "The certificate was made"),
    State.LOGGED: ("市の発行台帳に記録しました", "Recorded in the city's log"),
    State.RELEASED: ("証明書をお渡ししました", "The certificate was handed over"),
    State.REFUSED: ("証明書を発行できませんでした", "The certificate was refused"),
    State.WITHDRAWN: ("証明書の受け渡しを止めました", "The hand-over was withdrawn"),
    State.FAILED: ("証明書を発行できませんでした", "The certificate could not be made"),
}
