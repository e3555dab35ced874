"""The desk: what every handler of a phone's message works with, and how an answer leaves it exactly once.

A handler module (`registering`, `requesting`, `devices` …) takes one kind of message to its end: it checks, stores and
answers, or raises Refusal. This module decides nothing about a message.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, Engine

from app.identity.card_evidence import CardChecker, CardIdentity
from app.issuance.refusals import refusal
from app.issuance.repeats import REPEAT_PAUSE, REPEATABLE, REPEATS_A_DAY
from app.registers.gate_client import GateClient
from app.storage import inbox as inbox_store
from app.storage import nonces as nonce_store
from app.storage import repeats as repeat_store
from app.storage.accounts import Account
from app.storage.inbox import Envelope
from app.storage.outbox import queue_answer
from app.wallets.settings import WalletSettings
from mobile_api.messages import BRINGS_ITS_KEY, AnswerBody, DeviceRequest, parse_statement
from verifier.errors import FormatError
from verifier.formats.encoding import JSON
from verifier.formats.jose import format_jwk

NONCE_MAX_AGE: Final = 25 * 3600
"""Seconds; the street door forgets a nonce after a day, the statement's own time bounds its use to an hour."""

SendMail = Callable[[str, str], None]
"""(address, code): send the confirmation mail. An outage raises UnavailableError; registration goes on without."""


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """city: six digits. envelope_kid: thumbprint of the city's envelope key. fee_yen: 0 while payment is a free twin.

    wallets: None where no wallet of others gets anything.
    repeat_pause: seconds between two answers to one message. repeats_a_day: how many a message, a UTC day.
    mandate_device_age: seconds a device must be registered before it confirms a mandate without a letter.
    """

    city: str
    envelope_kid: str
    fee_yen: int = 0
    repeat_pause: int = REPEAT_PAUSE
    repeats_a_day: int = REPEATS_A_DAY
    mandate_device_age: int = 3 * 86400
    wallets: WalletSettings | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """One checked message of a phone: its envelope, its content, and when it is handled (Unix seconds)."""

    envelope: Envelope
    request: DeviceRequest
    at: int


@dataclass(frozen=True, slots=True)
class Desk:
    """Store, counterparts and clock of the intake. One instance, one writing process."""

    store: Engine
    settings: IntakeSettings
    cards: CardChecker
    gate: GateClient
    send_mail: SendMail
    clock: Callable[[], datetime]

    def use_nonce(self, statement: str, letter: Letter) -> None:
        """Consume the nonce of a card's statement, before anything else is checked. Raises Refusal."""
        try:
            nonce = parse_statement(statement).nonce
        except FormatError as error:
            raise refusal("statement") from error
        with self.store.begin() as connection:
            used = nonce_store.consume_nonce(
                connection, nonce, message_id=letter.request.message_id, at=letter.at, max_age=NONCE_MAX_AGE
            )
        if not used:
            raise refusal("nonce")

    def answer(
        self, connection: Connection, letter: Letter, body: AnswerBody, *, item: str = "answer"
    ) -> None:
        """Queue the answer and mark the message handled: one transaction, so that both or neither happened."""
        request, at = letter.request, letter.at
        if isinstance(request.body, REPEATABLE):
            repeat_store.note_repeatable(
                connection, request.account, request.message_id, letter.envelope, at=at
            )
        queue_answer(
            connection,
            account=request.account,
            item_id=f"{item}-{request.message_id}",
            in_reply_to=request.message_id,
            body=body,
            at=at,
            encryption_jwk=_own_key(request),
        )
        if not inbox_store.is_handled(connection, request.account, request.message_id):
            inbox_store.note_message(connection, request.account, request.message_id, at=at)
        inbox_store.mark_handled(connection, letter.envelope, at=at)


def check_same_card(auth: CardIdentity, account: Account) -> None:
    """The card that signed is the one the account was registered with. Raises Refusal."""
    same = hmac.compare_digest(auth.issuer, account.auth_issuer) and hmac.compare_digest(
        auth.serial, account.auth_serial
    )
    if not same:
        raise refusal("other-card")


def require_card(account: Account) -> None:
    """The account was registered by card, not by the counter's code (模擬/MOCK). Raises Refusal."""
    if not account.auth_serial:
        raise refusal("needs-card")


def instant(seconds: int) -> datetime:
    """Unix seconds as UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def _own_key(request: DeviceRequest) -> dict[str, JSON] | None:
    # Whoever registers has no account in the city yet: the answer goes to the key that the message brings.
    return format_jwk(request.body.encryption_key) if isinstance(request.body, BRINGS_ITS_KEY) else None
