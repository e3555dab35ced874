"""The limits of the log's speed, each measured beside its limit: a ratio above 1 is a limit missed."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.measure import Table, median

ROOT = Path(__file__).resolve().parents[2]
LEAVES = 1_000_000
LARGEST_BEAT = 16_384  # chain.sequencer.MAX_ENTRIES_A_BEAT
SMALL_BEAT = 1_000
MAX_CPU_S, MAX_MB = 12, 150
MAX_PATH_BYTES, MAX_MAKE_MS, MAX_CHECK_MS = 700, 2, 0.1
MAX_GAS = 400_000
MAX_SIGNED_S, MAX_ANCHORED_S = 1, 15


def bench_million(table: Table) -> None:
    """A million leaves, in batches as large as a beat can be; then in small ones, for which no limit is set."""
    figures = _append(LARGEST_BEAT)
    what = f"log: 1,000,000 leaves, {LARGEST_BEAT:,} a checkpoint"
    note = (
        f"user {figures['user_s']:.1f} s, system {figures['system_s']:.1f} s, wall {figures['wall_s']:.0f} s"
    )
    cpu = figures["user_s"] + figures["system_s"]
    table.compare(what, "CPU s", cpu, MAX_CPU_S, note=note, peak_mb=figures["peak_mb"])
    table.compare(what, "peak MB", figures["peak_mb"], MAX_MB, peak_mb=figures["peak_mb"])
    table.compare("inclusion proof: hashes", "bytes", figures["path_bytes"], MAX_PATH_BYTES)
    table.compare("inclusion proof: made from the tiles", "CPU ms", figures["make_ms"], MAX_MAKE_MS)
    table.compare("inclusion proof: verified", "CPU ms", figures["check_ms"], MAX_CHECK_MS)
    figures = _append(SMALL_BEAT)
    table.add(
        f"log: 1,000,000 leaves, {SMALL_BEAT:,} a checkpoint",
        "leaves",
        LEAVES,
        wall=figures["wall_s"],
        cpu=figures["user_s"] + figures["system_s"],
        peak_mb=figures["peak_mb"],
        note=f"user {figures['user_s']:.1f} s, system {figures['system_s']:.1f} s",
    )


def _append(batch: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="akashi-bench-") as directory:
        command = [sys.executable, "-m", "tests.bench.log_million", str(Path(directory) / "log")]
        done = subprocess.run(
            [*command, str(LEAVES), str(batch)], capture_output=True, text=True, check=True, cwd=ROOT
        )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def bench_gas(table: Table) -> None:
    """A submission that extends a log by 100 entries with proof and five witnesses (contracts/gas.py)."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "contracts" / "gas.py")], capture_output=True, text=True, check=True
    )
    for line in done.stdout.splitlines():
        what, _, gas = line.strip("| ").partition(" | ")
        if what.startswith("submit at") and "5 witnesses" in what:
            table.compare(what, "gas", int(gas.strip("| ").replace(",", "")), MAX_GAS)


def compare_log_times(table: Table, signed: list[float], anchored: list[float]) -> None:
    """Wall seconds in the running house with its witnesses and its chain; the slowest counts."""
    for what, times, limit in (
        ("append to signed checkpoint", signed, MAX_SIGNED_S),
        ("append to anchored checkpoint", anchored, MAX_ANCHORED_S),
    ):
        note = f"slowest of {len(times)}, median {median(times):.2f} s"
        table.compare(what, "s", max(times), limit, note=note)
