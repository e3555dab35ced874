"""One question to many witnesses at once, bounded in time: who is slow or away holds up nobody.

Each witness is asked in a daemon thread of its own. A witness that has not answered the last question of its kind is
not asked again until it has; what it answers after a round has ended is dropped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from chain.errors import ChainError, LogRefused
from chain.witness_client import WitnessClient
from verifier.errors import AkashiVerifierError

_Answer = TypeVar("_Answer")


class Rounds:
    """Rounds of one kind of question."""

    def __init__(self, accuse: Callable[[LogRefused], None]) -> None:
        """`accuse` hears of every LogRefused, also of one that comes after its round."""
        self._accuse = accuse
        self._changed = threading.Condition()
        self._busy: set[str] = set()

    def ask(
        self,
        clients: Sequence[WitnessClient],
        question: Callable[[WitnessClient], _Answer],
        is_enough: Callable[[Mapping[str, _Answer]], bool],
        timeout: float,
        settle: float,
    ) -> tuple[dict[str, _Answer], list[str]]:
        """Answers by name, and in words why others are missing.

        Ends when all have answered, `settle` seconds after `is_enough` says so, or after `timeout` seconds.
        """
        found: dict[str, _Answer] = {}
        reasons: dict[str, str] = {}
        asked = []

        def run(client: WitnessClient) -> None:
            answer: list[_Answer] = []
            reason = ""
            try:
                answer.append(question(client))
            except LogRefused as refusal:
                self._accuse(refusal)
                reason = str(refusal)
            except (ChainError, AkashiVerifierError, OSError) as error:
                reason = str(error)
            except Exception as error:  # a fault with one witness must not keep its place taken
                reason = f"{client.name}: {type(error).__name__}"
            with self._changed:
                found.update((client.name, item) for item in answer)
                if reason:
                    reasons[client.name] = reason
                self._busy.discard(client.name)
                self._changed.notify_all()

        with self._changed:
            for client in clients:
                if client.name in self._busy:
                    reasons[client.name] = f"{client.name} has not answered the last question"
                    continue
                self._busy.add(client.name)
                asked.append(client.name)
        for client in clients:
            if client.name in asked:
                name = f"ask {client.name}"
                threading.Thread(target=run, args=(client,), name=name, daemon=True).start()
        with self._changed:
            self._wait(asked, found, reasons, is_enough, timeout, settle)
            missing = [name for name in asked if name not in found and name not in reasons]
            late = [f"{name} does not answer in time" for name in missing]
            return dict(found), [*reasons.values(), *late]

    def _wait(
        self,
        asked: Sequence[str],
        found: Mapping[str, _Answer],
        reasons: Mapping[str, str],
        is_enough: Callable[[Mapping[str, _Answer]], bool],
        timeout: float,
        settle: float,
    ) -> None:
        deadline = time.monotonic() + timeout
        is_settling = False
        while not all(name in found or name in reasons for name in asked):
            if not is_settling and is_enough(found):
                is_settling = True
                deadline = min(deadline, time.monotonic() + settle)
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._changed.wait(left)
