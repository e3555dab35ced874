"""`make soak`: the fault tests for hours instead of minutes. Prints how far it is, and a summary at the end.

    kills   10,000 kills of the log process, with the chain killed too, in storms of 500 (tests/support/log_storm.py)
    files   every file-system call of the log, with each thing that can go wrong there (tests/support/fault_cycle.py)
    house   every process of the running house killed at random (tests/e2e/test_e2e_crashes.py)

AKASHI_SOAK_MINUTES limits the whole (default 240); when it is over, the report says how far each part came, and that is
no failure. AKASHI_SOAK_KILLS and AKASHI_SOAK_SEED change the number of kills and repeat a run's dice; `run.py kills files`
runs these parts alone. Ends with 1 if any rule was broken; what that log looked like is kept, and where is printed. Ctrl-C
stops it. Nothing is left running.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.support.log_history import examine  # noqa: E402
from tests.support.log_storm import LogStorm, Plan, Progress  # noqa: E402
from tests.support.watched_processes import watched  # noqa: E402

MINUTES: Final = 240.0
KILLS: Final = 10_000
KILLS_A_STORM: Final = 500
ENTRIES_A_KILL: Final = 5
SETTLE_SECONDS: Final = 60.0
TELL_EVERY: Final = 50
HOUSE_SECONDS: Final = 1800.0
LEAST_HOUSE_SECONDS: Final = (
    300.0  # to start the house, for the calm after its storm, and to look at everything
)
# how much of what is left when a part begins it may use
SHARES: Final = {"kills": 0.6, "files": 0.6, "house": 1.0}


@dataclass
class Part:
    """How far one part came."""

    name: str
    done: int = 0
    planned: int = 0
    details: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    is_cut_short: bool = False  # by the clock or by hand
    seconds: float = 0.0

    def line(self) -> str:
        """For the summary."""
        state = "BROKEN" if self.broken else "cut short" if self.is_cut_short else "whole"
        details = ", ".join(f"{name} {count:,}" for name, count in sorted(self.details.items()))
        return f"{self.name:6} {state:10} {self.done:,} of {self.planned:,}  {self.seconds / 60:.1f} min  {details}"


def soak_kills(part: Part, directory: Path, seed: int, end: float) -> None:
    """Storm after storm, each on a log of its own with a seed of its own."""
    part.planned = int(os.environ.get("AKASHI_SOAK_KILLS") or KILLS)
    while part.done < part.planned and not part.broken:
        if time.monotonic() >= end:
            part.is_cut_short = True
            return
        kills = min(KILLS_A_STORM, part.planned - part.done)
        storm_seed = seed + part.details["storms"]
        root = directory / f"storm-{storm_seed}"
        root.mkdir()
        try:
            _rage(part, root, Plan(storm_seed, kills, kills * ENTRIES_A_KILL, seconds=end - time.monotonic()))
        except (AssertionError, TimeoutError, RuntimeError) as error:
            part.broken.append(f"AKASHI_SOAK_SEED={storm_seed}: {type(error).__name__}: {error}")
        if not part.broken:
            shutil.rmtree(root)


def _rage(part: Part, root: Path, plan: Plan) -> None:
    def tell(now: Progress) -> None:
        part.done += 1
        if part.done % TELL_EVERY == 0:
            say(
                f"kills  {part.done:,} of {part.planned:,}; this storm: {now.kills} and {now.chain_kills} of the chain, "
                f"{now.acknowledged:,} entries, {now.published:,} leaves, {now.anchored:,} anchored; "
                f"AKASHI_SOAK_SEED={now.seed}"
            )

    with watched(root), LogStorm(root, plan) as storm:
        storm.rage(tell)
        storm.settle(SETTLE_SECONDS)
        evidence = storm.evidence()
        part.broken += [f"AKASHI_SOAK_SEED={plan.seed}: {fault}" for fault in examine(evidence)]
        assert evidence.chain is not None
        part.details.update(storm.stages)
        part.details["storms"] += 1
        part.details["kills of the chain"] += storm.chain_kills
        part.details["entries"] += len(evidence.entries)
        part.details["anchors"] += len(evidence.chain.events)
        say(
            f"kills  storm {plan.seed}: {len(evidence.entries):,} entries, {len(evidence.chain.events):,} anchors, "
            f"all anchored {storm.settled_after:.1f} s after the last fault"
        )


def soak_files(part: Part, directory: Path, seed: int, end: float) -> None:
    """Every call and every variant; the faults come in an order of the dice, so that a short run tries all kinds."""
    root = directory / "files"
    root.mkdir()
    command = [sys.executable, "-m", "tests.support.fault_cycle", str(root), str(seed), "0"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                outcome = json.loads(line)
                part.planned = outcome["planned"]
                part.done += 1
                part.details[outcome["ending"].partition(":")[0] or "ended by an error"] += 1
                if not outcome["has_hit"] and outcome["kind"]:
                    part.broken.append(f"not hit: {line}")
                part.broken += [f"AKASHI_SOAK_SEED={seed}: {line}"] if outcome["faults"] else []
                if part.done % TELL_EVERY == 0:
                    say(f"files  {part.done:,} of {part.planned:,} faults, {len(part.broken)} broken")
                if time.monotonic() >= end:
                    part.is_cut_short = True
                    break
        finally:
            # it and the process it has forked last, which are a session of their own
            os.killpg(process.pid, signal.SIGKILL)
    if not part.is_cut_short and part.done < part.planned:
        part.broken.append("the run of faults ended before its end")


def soak_house(part: Part, directory: Path, seed: int, end: float) -> None:
    """The end-to-end storm, for as long as there is time."""
    left = end - time.monotonic() - LEAST_HOUSE_SECONDS
    part.planned = 1
    if left < 0:
        part.is_cut_short = True
        return
    minutes = min(left, HOUSE_SECONDS) / 60
    say(f"house  {minutes:.1f} minutes of kills; AKASHI_SOAK_SEED={seed}")
    environment = os.environ | {"AKASHI_SOAK_MINUTES": f"{minutes:.2f}", "AKASHI_SOAK_SEED": str(seed)}
    storm = "tests/e2e/test_e2e_crashes.py"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--basetemp",
        str(directory / "house"),
    ]
    done = subprocess.run([*command, storm], cwd=ROOT, env=environment, check=False)
    part.done = 1
    part.broken += (
        [f"AKASHI_SOAK_SEED={seed}: {storm} ended with {done.returncode}"] if done.returncode else []
    )


PARTS: Final = {"kills": soak_kills, "files": soak_files, "house": soak_house}


def main(names: list[str]) -> int:
    """Run the parts; 1 if a rule was broken, 2 for a part that does not exist."""
    if unknown := set(names) - set(PARTS):
        print(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    seed = int(os.environ.get("AKASHI_SOAK_SEED") or random.SystemRandom().randrange(10**8))
    end = time.monotonic() + 60 * float(os.environ.get("AKASHI_SOAK_MINUTES") or MINUTES)
    directory = Path(tempfile.mkdtemp(prefix="akashi-soak-"))
    say(f"AKASHI_SOAK_SEED={seed}")
    parts: list[Part] = []
    try:
        for name in names or PARTS:
            part = Part(name)
            parts.append(part)
            _run(part, directory, seed, time.monotonic() + SHARES[name] * (end - time.monotonic()))
    except KeyboardInterrupt:
        parts[-1].is_cut_short = True
        say("stopped by hand")
    finally:
        print("\n".join(["", *(part.line() for part in parts)]), flush=True)
    broken = [fault for part in parts for fault in part.broken]
    for fault in broken:
        print(f"broken: {fault}")
    if broken:
        print(f"kept: {directory}")
    else:
        shutil.rmtree(directory)
    return 1 if broken else 0


def _run(part: Part, directory: Path, seed: int, end: float) -> None:
    started = time.monotonic()
    try:
        PARTS[part.name](part, directory, seed, end)
    finally:
        part.seconds = time.monotonic() - started


def say(words: str) -> None:
    """One line of progress, with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {words}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
