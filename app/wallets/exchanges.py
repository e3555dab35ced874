"""The desk for wallets' questions: takes them from the street door, has each answered by its handler, puts the answer back.

A question that has to wait for the walk is looked at again until `WAIT_SECONDS` are over; then the answer is Pending and
the wallet asks again. Nothing is stored about a question as such: the door asks again, and issuing is idempotent in the
store. What does not open, or is no question, is dropped and counted.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from sqlalchemy import Engine

from app.errors import CityError, UnavailableError
from app.mailbox import Asked
from app.registers.gate_client import GateClient
from app.wallets.settings import WalletSettings
from mobile_api.exchanges import AnswerBody, Denied, Question, open_question, seal_answer
from verifier.errors import FormatError
from verifier.fault import describe_fault
from verifier.formats.package import KeyAgreement

log = logging.getLogger("akashi.wallets")

WAIT_SECONDS: Final = 4.0
"""How long a question waits for its answer; the street door waits five."""
LONG_POLL: Final = 20
BATCH: Final = 16
MAX_LISTED: Final = 64
"""The most that the door lists in one answer."""
MAX_WAITING: Final = 256
"""Questions looked after at once. A door that lists other ones each time must not fill this process."""
MAX_ATTEMPTS: Final = 3
REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class WalletDesk:
    """What every handler works with. `agree`: the envelope key; `kid`: its thumbprint; `wake`: the walk has work."""

    store: Engine
    settings: WalletSettings
    gate: GateClient
    kid: str
    agree: KeyAgreement
    wake: Callable[[], None]
    clock: Callable[[], datetime]

    @property
    def at(self) -> int:
        """Unix seconds now."""
        return int(self.clock().timestamp())


Look = Callable[[bool], AnswerBody | None]
"""Look whether the answer is there; None: not yet. True: this was the last look, an answer is due."""
Handler = Callable[[WalletDesk, Question, Any], AnswerBody | Look]
"""Takes one question to its answer, or to a way of looking for it. Raises UnavailableError: ask again later."""


class ExchangeDoor(Protocol):
    """What the desk needs of the mailbox client."""

    def exchanges(self, *, wait: int, limit: int) -> list[Asked]:
        """The oldest questions without an answer."""
        ...

    def put_exchange_answer(self, exchange: str, body: bytes) -> bool:
        """Put one answer; False if nobody waits for it any more."""
        ...


@dataclass(slots=True)
class _Waiting:
    question: Question
    look: Look
    until: float


class Exchanges:
    """Answers questions, one at a time. `handlers`: kind of question → who answers it."""

    def __init__(
        self,
        desk: WalletDesk,
        door: ExchangeDoor,
        handlers: Mapping[type, Handler],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk = desk
        self._door = door
        self._handlers = handlers
        self._monotonic = monotonic
        self._waiting: dict[str, _Waiting] = {}
        self._attempts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def run_once(self) -> int:
        """Take what is asked, answer what can be answered; how many answers went out. Raises UnavailableError."""
        # The door lists what has no answer, oldest first: what waits here, and what was dropped, must not hide the rest.
        limit = min(MAX_LISTED, BATCH + len(self._waiting) + len(self._attempts))
        asked = self._door.exchanges(wait=0 if self._waiting else LONG_POLL, limit=limit)
        sent = 0
        for item in asked:
            if len(self._waiting) >= MAX_WAITING:
                break
            if item.exchange not in self._waiting and self._attempts[item.exchange] < MAX_ATTEMPTS:
                sent += self._take(item)
        for exchange in list(self._waiting):
            sent += self._look(exchange)
        if len(self._attempts) > REMEMBERED:
            self._attempts.clear()
        return sent

    def _take(self, item: Asked) -> int:
        desk = self._desk
        try:
            question = open_question(item.body, desk.kid, desk.agree)
        except FormatError as error:
            return self._drop(item.exchange, error.code)
        if question.exchange != item.exchange:
            # The id inside is authenticated; a hostile door must not have one exchange answered to another.
            return self._drop(item.exchange, "other-exchange")
        if question.profile not in desk.settings.profiles:
            return self._answer(question, Denied("invalid_request", "this profile is not on"))
        handler = self._handlers.get(type(question.body))
        if handler is None:
            return self._answer(question, Denied("invalid_request", "nobody here answers this"))
        try:
            found = handler(desk, question, question.body)
        except UnavailableError as error:
            # The door asks until its time is over, and answers the wallet itself that it has to wait.
            log.info("exchange waits: %s", error.code)
            return 0
        except CityError as error:
            log.error("exchange: %s", error.code)
            return self._fail(question)
        except Exception as error:
            # A defect of ours, met by one question, must not stop those behind it; its text may quote a resident's data.
            log.error("exchange: unexpected %s", describe_fault(error))
            return self._fail(question)
        if callable(found):
            self._waiting[item.exchange] = _Waiting(question, found, self._monotonic() + WAIT_SECONDS)
            return 0
        return self._answer(question, found)

    def _look(self, exchange: str) -> int:
        waiting = self._waiting[exchange]
        is_last = self._monotonic() >= waiting.until
        try:
            found = waiting.look(is_last)
        except Exception as error:
            # As above: the others go on.
            log.error("exchange: unexpected %s", describe_fault(error))
            del self._waiting[exchange]
            return self._fail(waiting.question)
        if found is None:
            return 0
        del self._waiting[exchange]
        return self._answer(waiting.question, found)

    def _fail(self, question: Question) -> int:
        # A defect of ours, met by one question, is tried a few times and then answered.
        self._attempts[question.exchange] += 1
        if self._attempts[question.exchange] < MAX_ATTEMPTS:
            return 0
        return self._answer(question, Denied("server_error", "the city could not complete this"))

    def _answer(self, question: Question, body: AnswerBody) -> int:
        package = seal_answer(question.exchange, body, question.reply_key, os.urandom)
        if not self._door.put_exchange_answer(question.exchange, package):
            log.info("exchange: nobody waits any more")
        return 1

    def _drop(self, exchange: str, reason: str) -> int:
        self.dropped[reason] += 1
        self._attempts[exchange] = MAX_ATTEMPTS
        log.info("exchange dropped: %s", reason)
        return 0
