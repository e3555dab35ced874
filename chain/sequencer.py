"""The beat: collects entries and appends them together, at fixed times, so that a batch does not tell when
each came.

Entries wait in memory. Nothing is acknowledged before its checkpoint is published, so a crash loses only what
the sender will send again. `wait_for` answers as soon as an entry is under a published checkpoint, whoever
added it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chain.errors import ChainError, LogRefused, LogUnavailable, PoolFull
from chain.log import MAX_BATCH, Log
from chain.tree import ENTRY_BYTES
from verifier.errors import FormatError
from verifier.fault import describe_fault
from verifier.formats.tlog_proof import TlogProof

MAX_ENTRIES_A_BEAT: Final = 16_384


@dataclass(frozen=True, slots=True)
class Logged:
    """An entry under a published checkpoint."""

    index: int
    proof: TlogProof  # holds the inclusion path and the signed checkpoint


class Sequencer:
    """One log's pool and beat."""

    def __init__(self, log: Log, *, beat_seconds: float, max_waiting: int, cover: bool = False) -> None:
        """`cover`: a beat without entries adds a batch of dummies, so that idle and busy beats look alike."""
        self._log = log
        self._beat = beat_seconds
        self._max_waiting = max_waiting
        self._cover = cover
        self._waiting: dict[bytes, None] = {}
        self._changed = threading.Condition()
        self._trouble: ChainError | None = None
        self.last_beat: float | None = None  # monotonic seconds of the last beat that went through

    @property
    def waiting(self) -> int:
        """How many entries wait for a beat."""
        return len(self._waiting)

    @property
    def trouble(self) -> ChainError | None:
        """Why the last beat failed, if it did."""
        return self._trouble

    def submit(self, entries: Sequence[bytes]) -> None:
        """Put entries into the pool, except those that are in the log already.

        Raises: FormatError("bad-entry"), PoolFull, LogRefused.
        """
        if any(len(entry) != ENTRY_BYTES for entry in entries):
            raise FormatError("bad-entry", f"an entry has {ENTRY_BYTES} bytes")
        if self._log.refusal is not None:
            raise self._log.refusal
        new = dict.fromkeys(entry for entry in entries if self._log.find(entry) is None)
        with self._changed:
            if len(self._waiting) + len(new) > self._max_waiting:
                raise PoolFull("pool-full", f"more than {self._max_waiting} entries are waiting")
            self._waiting.update(new)

    def wait_for(self, entry: bytes, timeout: float) -> Logged:
        """Wait until `entry` is published.

        Raises: LogUnavailable("not-yet") after `timeout` seconds (it may still be logged later: send it
        again), LogRefused.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while (index := self._log.find(entry)) is None:
                if self._log.refusal is not None:
                    raise self._log.refusal
                left = deadline - time.monotonic()
                if left <= 0:
                    why = f": {self._trouble}" if self._trouble else ""
                    raise LogUnavailable("not-yet", f"the entry is not published yet{why}")
                self._changed.wait(left)
        return Logged(index, self._log.prove(index))

    def beat(self) -> None:
        """Append what is waiting. What goes wrong is kept in `trouble`; entries stay in the pool until
        logged.
        """
        with self._changed:
            batch = list(self._waiting)[: min(MAX_ENTRIES_A_BEAT, MAX_BATCH)]
        try:
            if batch or self._cover:
                self._log.append(batch, cover=self._cover)
            else:
                self._log.resume()
            self._trouble = None
            self.last_beat = time.monotonic()
        except ChainError as error:
            if self._trouble is None or self._trouble.code != error.code:
                print(f"log: {error}", file=sys.stderr)
            self._trouble = error
            if not isinstance(error, LogRefused):
                return
        with self._changed:
            for entry in batch:
                self._waiting.pop(entry, None)
            self._changed.notify_all()

    def run(self, stop: threading.Event) -> None:
        """Beat at fixed times until told to stop; a beat that takes long skips the times it missed."""
        start = time.monotonic()
        count = 0
        while not stop.is_set():
            try:
                self.beat()
            except (
                Exception
            ) as error:  # a fault in one beat must not end the log's heart: the next one tries again
                print(f"log: beat: {describe_fault(error)}", file=sys.stderr)
                self._trouble = LogUnavailable("internal", type(error).__name__)
            count = max(count + 1, int((time.monotonic() - start) / self._beat) + 1)
            stop.wait(max(0.0, start + count * self._beat - time.monotonic()))
