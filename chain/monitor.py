"""How the log is doing: sizes, lag behind the chain and its reason, queues. Numbers only, no entry and no
secret.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from chain.anchorer import Anchorer
from chain.log import Log
from chain.publisher import Publisher
from chain.sequencer import Sequencer
from chain.timestamps import Stamper


@dataclass(frozen=True, slots=True)
class LogState:
    """One look at the log; sizes in entries, times in seconds."""

    origin: str
    size: int  # published
    published: str  # the newest signed checkpoint
    anchored_size: int | None  # in the contract as last seen; None: anchoring is off, or never asked
    lag: int | None  # entries published and not anchored
    lag_seconds: int  # for how long something has been waiting to be anchored
    anchoring: str  # why it is not anchored yet: a code word, a colon and words; empty when all is
    waiting: int  # entries waiting for the next beat
    beat: str  # why the last beat failed; empty when it did not
    uploads: int  # files the street door does not have yet
    publishing: str  # why not; empty when it has all, or all is well
    stamping: str  # why the newest checkpoint has no time stamp
    refusal: str  # why the log signs nothing any more; empty when it does
    healthy: bool

    def as_json(self) -> dict[str, Any]:
        """As the /state door shows it."""
        return asdict(self)


class Monitor:
    """Looks at the parts of one log process."""

    def __init__(
        self,
        log: Log,
        sequencer: Sequencer,
        clock: Callable[[], int],
        max_lag_seconds: int,
        anchorer: Anchorer | None = None,
        publisher: Publisher | None = None,
        stamper: Stamper | None = None,
    ) -> None:
        self._log = log
        self._sequencer = sequencer
        self._clock = clock
        self._max_lag = max_lag_seconds
        self._anchorer = anchorer
        self._publisher = publisher
        self._stamper = stamper
        self._behind_since: int | None = None

    def watch(self) -> None:
        """Note whether the chain is behind; to be called now and then, for the seconds to mean something."""
        anchored = self._anchored_size()
        is_behind = self._anchorer is not None and self._log.published.size > (anchored or 0)
        if not is_behind:
            self._behind_since = None
        elif self._behind_since is None or anchored != self._last_anchored:
            # some progress restarts the clock: what waits now is younger than what was just anchored
            self._behind_since = self._clock()
        self._last_anchored = anchored

    def state(self) -> LogState:
        """The log now."""
        self.watch()
        published = self._log.published
        anchored = self._anchored_size()
        lag_seconds = 0 if self._behind_since is None else max(0, self._clock() - self._behind_since)
        refusal, trouble = self._log.refusal, self._sequencer.trouble
        return LogState(
            origin=self._log.origin,
            size=published.size,
            published=published.checkpoint.decode("utf-8"),
            anchored_size=anchored,
            lag=None if self._anchorer is None else published.size - (anchored or 0),
            lag_seconds=lag_seconds,
            anchoring="off: anchoring is off" if self._anchorer is None else self._anchorer.reason,
            waiting=self._sequencer.waiting,
            beat="" if trouble is None else str(trouble),
            uploads=self._log.store.count_uploads(),
            publishing="" if self._publisher is None else self._publisher.trouble,
            stamping="" if self._stamper is None else self._stamper.trouble,
            refusal="" if refusal is None else str(refusal),
            healthy=refusal is None and trouble is None and lag_seconds <= self._max_lag,
        )

    _last_anchored: int | None = None

    def _anchored_size(self) -> int | None:
        if self._anchorer is None or self._anchorer.anchored is None:
            return None
        return self._anchorer.anchored.size
