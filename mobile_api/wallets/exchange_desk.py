"""The desk: puts a question to the city, waits for its one answer, opens it.

The key for the answer is made for this one exchange and is nowhere but in this process's memory; when its waiter is
gone, nobody can open the answer any more. An answer that comes to the waiter's own process is handed over in memory;
one that came to another process of this door is found in the store. Who waits holds a thread, so places are counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Connection

from mobile_api.door import Door
from mobile_api.exchanges import AnswerBody, Question, QuestionBody, open_answer, seal_question
from mobile_api.forms import random_id
from mobile_api.store import wallet_exchanges
from mobile_api.store.once import consume_token
from mobile_api.wallets.issuer_files import IssuerMetadata
from mobile_api.wallets.oauth_errors import OAuthError, away
from verifier.errors import FormatError
from verifier.formats.jose import agreement, thumbprint

POLL_SECONDS: Final = 0.4


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that counts once: its hash, how long to remember it, and what to say if it was used before."""

    token_hash: str
    until_minute: int
    used: OAuthError


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of a question. `answer` None: nothing in time; the city may still take it."""

    exchange: str
    answer: AnswerBody | None


@dataclass(slots=True)
class _Waiter:
    came: threading.Event = field(default_factory=threading.Event)
    reply: bytes | None = None


def use_up(connection: Connection, marks: Sequence[Mark]) -> OAuthError | None:
    """Use marks up, in order. The error of the first that was used before; to be raised after the commit."""
    for mark in marks:
        if not consume_token(connection, mark.token_hash, mark.until_minute):
            return mark.used
    return None


class ExchangeDesk:
    """The waiters of this process."""

    def __init__(self, door: Door, places: int) -> None:
        self._door = door
        self._places = threading.Semaphore(places)
        self._waiters: dict[str, _Waiter] = {}
        self._lock = threading.Lock()

    def ask(
        self,
        metadata: IssuerMetadata,
        profile: str,
        body: QuestionBody,
        *,
        grant: str | None,
        dpop: str | None,
        wait: float,
        marks: Sequence[Mark] = (),
        keep: bool = False,
    ) -> Asked:
        """Use up `marks` and put the question in one transaction, then wait up to `wait` seconds.

        keep   leave an unanswered question for the city (a credential can be fetched later), else take it back
        Raises: a mark's own error; OAuthError 503; FormatError, LimitError for a question that cannot be put.
        """
        door = self._door
        exchange = random_id(door.random(16))
        key = ec.generate_private_key(ec.SECP256R1())
        question = Question(exchange, profile, grant, dpop, key.public_key(), body)
        sealed = seal_question(question, metadata.city_key, door.random)
        waiter = _Waiter()
        with self._lock:
            self._waiters[exchange] = waiter
        try:
            self._put(exchange, sealed, marks)
            door.waiters.notify()
            reply = self._wait(exchange, waiter, wait)
            # From here on no answer is handed to this waiter; one that came this instant still counts.
            with self._lock:
                del self._waiters[exchange]
                reply = waiter.reply if reply is None else reply
            if reply is None:
                self._leave(exchange, keep=keep)
                return Asked(exchange, None)
            return Asked(exchange, _open(exchange, key, reply))
        finally:
            with self._lock:
                self._waiters.pop(exchange, None)

    def hand_over(self, connection: Connection, exchange: str, reply: bytes) -> bool | None:
        """The city's answer has come to this process. True: taken; False: another one is there; None: nobody waits.

        The row goes in the caller's transaction. Should that fail after the waiter has its answer, the city is
        asked the same once more and finds nobody waiting.
        """
        with self._lock:
            waiter = self._waiters.get(exchange)
            if waiter is not None and waiter.reply is not None:
                return waiter.reply == reply
            if waiter is not None:
                waiter.reply = reply
        if waiter is None:
            return wallet_exchanges.put_reply(connection, exchange, reply)
        wallet_exchanges.drop_exchange(connection, exchange)
        waiter.came.set()
        return True

    def _put(self, exchange: str, sealed: bytes, marks: Sequence[Mark]) -> None:
        with self._door.store.write() as connection:
            used = use_up(connection, marks)
            if used is None:
                wallet_exchanges.add_exchange(connection, exchange, sealed, self._door.minute())
        if used is not None:
            raise used

    def _wait(self, exchange: str, waiter: _Waiter, seconds: float) -> bytes | None:
        if not self._places.acquire(blocking=False):
            return None
        try:
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                if waiter.came.wait(min(POLL_SECONDS, left)):
                    return waiter.reply
                with self._door.store.read() as connection:
                    found = wallet_exchanges.find_reply(connection, exchange)
                if found is not None:
                    with self._door.store.write() as connection:
                        wallet_exchanges.drop_exchange(connection, exchange)
                    return found
            return None
        finally:
            self._places.release()

    def _leave(self, exchange: str, *, keep: bool) -> None:
        with self._door.store.write() as connection:
            if keep:
                wallet_exchanges.leave_exchange(connection, exchange)
            else:
                wallet_exchanges.drop_exchange(connection, exchange)


def _open(exchange: str, key: ec.EllipticCurvePrivateKey, reply: bytes) -> AnswerBody:
    try:
        said, answer = open_answer(reply, thumbprint(key.public_key()), agreement(key))
        if said != exchange:
            raise FormatError("wrong-exchange", "the answer belongs to another question")
    except FormatError as error:
        logging.getLogger("akashi.door").error("bad-answer %s", error.code)
        raise away("the answer of the city cannot be read, try again later") from None
    return answer
