"""The monitor's arithmetic: quantiles, slow steps, and the alarm on seals ≠ leaves ≠ authorised."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.staff.events import Issuance, Received
from app.staff.messages import Snapshot
from app.staff.monitor import Monitor, build_monitor, find_alarms, find_quantile
from app.staff.settings import StaffSettings

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
SETTINGS = StaffSettings("demo", "992011", "sqlite://", Path("token"))


def _received(
    seals: int, leaves: int, authorised: int, *, since: int | None = None, age: int = 1, log: int = 9
) -> Received:
    return Received(
        Snapshot(log, 9, 0, seals=seals, leaves=leaves, authorised=authorised), SECONDS - age, since
    )


def _codes(received: Received | None) -> list[str]:
    return [alarm.code for alarm in find_alarms(received, SECONDS, 60)]


@pytest.mark.parametrize(
    ("values", "median", "ninety"),
    [([5], 5, 5), ([1, 2], 1, 2), (list(range(1, 11)), 5, 9), ([3, 1, 2], 2, 3)],
)
def test_quantiles_by_nearest_rank(values: list[int], median: int, ninety: int) -> None:
    assert (find_quantile(values, 50), find_quantile(values, 90)) == (median, ninety)


def test_equal_counts_raise_no_alarm() -> None:
    assert _codes(_received(7, 7, 7)) == []


def test_work_under_way_is_no_alarm_until_it_lasts() -> None:
    assert _codes(_received(6, 5, 7, since=SECONDS - 59)) == []
    assert _codes(_received(6, 5, 7, since=SECONDS - 60)) == ["counts-differ"]


@pytest.mark.parametrize("counts", [(8, 7, 7), (7, 8, 7), (8, 8, 7), (7, 8, 9)])
def test_a_seal_or_leaf_nobody_authorised_is_an_alarm_at_once(counts: tuple[int, int, int]) -> None:
    assert _codes(_received(*counts, since=SECONDS)) == ["counts-impossible"]


def test_silence_and_an_anchor_ahead_of_the_log_are_alarms() -> None:
    assert _codes(None) == ["never-heard"]
    assert _codes(_received(1, 1, 1, age=61)) == ["silent"]
    assert _codes(_received(1, 1, 1, age=60)) == []
    assert _codes(_received(1, 1, 1, log=8)) == ["anchor-ahead"]


def _monitor(
    durations: list[tuple[str, int, str | None]], issuances: list[Issuance] | None = None
) -> Monitor:
    return build_monitor(
        issuances=issuances or [],
        durations=durations,
        stuck=[],
        received=_received(1, 1, 1),
        since=NOW - timedelta(days=1),
        now=NOW,
        settings=SETTINGS,
    )


def test_a_step_is_slow_by_its_ninety_percent_and_waiting_for_people_is_not() -> None:
    assert [step.step for step in _monitor([("seal", 2001, None)]).slow] == ["seal"]
    assert _monitor([("seal", 2000, None)]).slow == []
    assert _monitor([("pay", 60_000, None), ("deliver", 60_000, None)]).slow == []


def test_reasons_count_refused_and_failed_requests_only() -> None:
    at = "2026-11-20T02:00:00.000Z"
    rows = [
        Issuance("r-1", "refused", "figures", at, at, "not-declared"),
        Issuance("r-2", "failed", "seal", at, at, "signer-away"),
        Issuance("r-3", "released", "seal", at, at, "signer-away"),
    ]
    monitor = _monitor([], rows)
    assert dict(monitor.reasons) == {"not-declared": 1, "signer-away": 1}
    assert monitor.total == 3
