"""Login questions at the desk for wallets: a return from the provider is worked on in a thread of its own.

The desk answers one question after the other, and the provider may take its time: who logs in must not hold up everybody
else's credentials. So few threads work on returns, and the desk looks whether an answer is there. A return whose time is
over is given up before the gate is asked; what it had taken out of the store is used up, and the person starts again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from app.wallets.exchanges import Handler, Look, WalletDesk
from app.wallets.logins import LoginDesk
from mobile_api.exchanges import AnswerBody, Denied, LoginFinish, LoginStart, Question

THREADS: Final = 4
MAX_BUSY: Final = 32
"""Returns at work or waiting for a thread; more are told to come later."""
FINISH_SECONDS: Final = 12.0
"""How long a return may take; the street door waits fifteen for it."""

BUSY: Final = Denied("temporarily_unavailable", "Too many logins at once. Please try again later.")
OVER: Final = Denied(
    "temporarily_unavailable", "The login service did not answer in time. Please try again later."
)


class LoginHandlers:
    """The two handlers, with the threads of the second."""

    def __init__(self, desk: LoginDesk, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._desk = desk
        self._monotonic = monotonic
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="login")
        self._places = threading.BoundedSemaphore(MAX_BUSY)

    def as_mapping(self) -> Mapping[type, Handler]:
        """For `Exchanges`."""
        return {LoginStart: self.start, LoginFinish: self.finish}

    def start(self, _desk: WalletDesk, question: Question, body: LoginStart) -> AnswerBody:
        """At once: nothing outside is asked."""
        return self._desk.start(question, body)

    def finish(self, _desk: WalletDesk, question: Question, body: LoginFinish) -> AnswerBody | Look:
        """A way of looking for the answer."""
        if not self._places.acquire(blocking=False):
            return BUSY
        given_up = threading.Event()
        until = self._monotonic() + FINISH_SECONDS
        work: Future[AnswerBody] = self._pool.submit(
            self._desk.finish, question, body, is_wanted=lambda: not given_up.is_set()
        )
        work.add_done_callback(lambda _work: self._places.release())

        def look(_is_last: bool) -> AnswerBody | None:
            if work.done():
                return work.result()
            if self._monotonic() < until:
                return None
            given_up.set()
            return OVER

        return look
