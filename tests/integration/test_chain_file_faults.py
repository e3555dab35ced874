"""Every file-system call of the log fails once, or is the last thing its process does; the next start needs no human hand.

A turn of the log's work makes about a thousand calls (tests/support/fault_cycle.py says what it does and what is checked).
Here each kind of call meets each thing that can go wrong with it at least once, and more at random; `make soak` does all.
Slow (about a minute): each fault is a log of its own, a process that meets the fault, and one that repairs it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.file_faults import VARIANTS
from tests.support.forge import ROOT

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("AKASHI_SOAK_SEED") or 20261120)
FAULTS = 80
UNUSED = {"link"}  # the log makes no links; should it begin to, they are counted


def run_faults(directory: Path, limit: int, *mistake: str) -> list[dict]:
    """The outcome of each fault."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.fault_cycle", str(directory), str(SEED), str(limit), *mistake],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert outcomes, done.stderr[-2000:]
    return outcomes


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    print(f"AKASHI_SOAK_SEED={SEED}")
    return run_faults(tmp_path_factory.mktemp("faults"), FAULTS)


def test_each_fault_hit(outcomes: list[dict]) -> None:
    """Nothing is injected silently: the process says which call it spoils before it does."""
    assert len(outcomes) >= FAULTS
    assert all(outcome["has_hit"] for outcome in outcomes)
    tried = {(outcome["kind"], outcome["variant"]) for outcome in outcomes}
    missing = {
        (kind, variant)
        for kind, variants in VARIANTS.items()
        for variant in variants
        if kind not in UNUSED and (kind, variant) not in tried
    }
    assert missing == set()
    endings = Counter(outcome["ending"] for outcome in outcomes)
    assert endings["killed"] == sum(outcome["variant"].startswith("die") for outcome in outcomes)


def test_nothing_is_lost_nothing_is_there_twice_nothing_forks(outcomes: list[dict]) -> None:
    broken = [outcome for outcome in outcomes if outcome["faults"]]
    assert broken == [], f"AKASHI_SOAK_SEED={SEED}"


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("half-written", "files: "),  # a nearly full disk takes half of a file and says so
        ("unstaged", "the next start did not get through"),  # a root is committed and its entries are nowhere
    ],
)
def test_a_log_with_a_mistake_is_found_out(tmp_path: Path, mistake: str, words: str) -> None:
    """Some of the same faults on a log with one line wrong (`fault_cycle.MISTAKES`)."""
    outcomes = run_faults(tmp_path, 12, mistake)
    faults = [fault for outcome in outcomes for fault in outcome["faults"]]
    assert any(words in fault for fault in faults), faults
