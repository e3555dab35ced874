"""From rows to answers: is anything stuck, is anything slow, is anything wrong? Pure arithmetic, no store and
no clock.

A number is never alone: each carries what it counts and since when; the page adds where to click.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.staff.events import Issuance, Received
from app.staff.settings import StaffSettings
from app.staff.words import ENDED_WITHOUT, FAILED, WAITING_STEPS

# A worker that has not called for so long is itself the problem.
SILENT_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Durations of one step in milliseconds: how many, the median, the value that 90 % stay below, whether
    that is slow.
    """

    step: str
    number: int
    median_ms: int
    ninety_ms: int
    is_slow: bool


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something a person must look at now: a stable code and numbers for the sentence."""

    code: str
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Monitor:
    """Everything the monitor page shows, counted since `since`."""

    since: datetime
    now: datetime
    total: int
    states: list[tuple[str, int]]
    reasons: list[tuple[str, int]]
    steps: list[StepTimes]
    stuck: list[Issuance]
    alarms: list[Alarm]
    received: Received | None

    @property
    def slow(self) -> list[StepTimes]:
        """The steps that are slow."""
        return [step for step in self.steps if step.is_slow]

    @property
    def failed(self) -> int:
        """How many requests failed: refusals are answers, failures are for a person here."""
        return dict(self.states).get(FAILED, 0)


def build_monitor(
    *,
    issuances: Sequence[Issuance],
    durations: Iterable[tuple[str, int, str | None]],
    stuck: list[Issuance],
    received: Received | None,
    since: datetime,
    now: datetime,
    settings: StaffSettings,
) -> Monitor:
    """Count and sort; `issuances` and `durations` are those since `since`."""
    by_step: dict[str, list[int]] = {}
    for step, duration, _reason in durations:
        by_step.setdefault(step, []).append(duration)
    reasons = Counter(item.reason for item in issuances if item.reason and item.state in ENDED_WITHOUT)
    return Monitor(
        since=since,
        now=now,
        total=len(issuances),
        states=Counter(item.state for item in issuances).most_common(),
        reasons=reasons.most_common(),
        steps=[_times(step, values, settings.slow_ms) for step, values in sorted(by_step.items())],
        stuck=stuck,
        alarms=find_alarms(received, int(now.timestamp()), settings.alarm_seconds),
        received=received,
    )


def find_alarms(received: Received | None, now: int, alarm_seconds: int) -> list[Alarm]:
    """The alarms of a snapshot; `now` in Unix seconds.

    Authorised ≥ seals ≥ leaves holds at every moment, because each follows the one before; a breach of that
    order is an alarm at once. A plain difference is work under way, and becomes an alarm when it lasts longer
    than `alarm_seconds`.
    """
    if received is None:
        return [Alarm("never-heard")]
    alarms = []
    if now - received.received_at > SILENT_SECONDS:
        alarms.append(Alarm("silent", (now - received.received_at,)))
    taken = received.snapshot
    counts = (taken.seals, taken.leaves, taken.authorised)
    if taken.seals > taken.authorised or taken.leaves > taken.seals:
        alarms.append(Alarm("counts-impossible", counts))
    elif received.unequal_since is not None and now - received.unequal_since >= alarm_seconds:
        alarms.append(Alarm("counts-differ", counts))
    if taken.anchored_size > taken.log_size:
        alarms.append(Alarm("anchor-ahead", (taken.anchored_size, taken.log_size)))
    return alarms


def find_quantile(values: Sequence[int], percent: int) -> int:
    """The smallest value that at least `percent` % of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = -(-percent * len(ordered) // 100)
    return ordered[max(rank, 1) - 1]


def _times(step: str, values: list[int], slow_ms: int) -> StepTimes:
    ninety = find_quantile(values, 90)
    return StepTimes(
        step, len(values), find_quantile(values, 50), ninety, ninety > slow_ms and step not in WAITING_STEPS
    )
