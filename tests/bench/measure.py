"""Measuring one case: CPU seconds a unit, wall seconds, peak memory; a table for people, JSON lines for machines.

CPU time is this process's own (`time.process_time`), so another busy process on the machine does not change it much.
Compare rows of one run with each other; the machine differs from run to run.
"""

from __future__ import annotations

import json
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One measured case. `per_cpu_s`: units a CPU second; `wall_s`: the whole case; `peak_mb`: of this process so far.

    A case that has a limit carries it: `value` in `unit`, `limit`, and value / limit (above 1 it is missed).
    """

    case: str
    n: int
    unit: str
    per_cpu_s: float | None
    wall_s: float
    peak_mb: float
    note: str = ""
    value: float | None = None
    limit: float | None = None
    ratio: float | None = None


class Table:
    """Collects rows, prints them as they come, writes them at the end."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        print(f"{'case':44} {'n':>8} {'unit':14} {'per CPU s':>12} {'wall s':>9} {'peak MB':>8}  note")

    def measure(self, case: str, unit: str, n: int, work: Callable[[int], object], note: str = "") -> None:
        """Run `work(0)` … `work(n-1)`, after one round that is not counted."""
        work(0)
        wall, cpu = time.perf_counter(), time.process_time()
        for index in range(n):
            work(index)
        cpu_used = time.process_time() - cpu
        self.add(case, unit, n, wall=time.perf_counter() - wall, cpu=cpu_used, note=note)

    def add(
        self,
        case: str,
        unit: str,
        n: int,
        *,
        wall: float,
        cpu: float | None,
        note: str = "",
        peak_mb: float = 0.0,
    ) -> None:
        """A row measured elsewhere."""
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rate = None if not cpu else n / cpu
        row = Row(case, n, unit, rate, wall, round(peak_mb or own, 1), note)
        self.rows.append(row)
        shown = "-" if rate is None else f"{rate:,.1f}"
        print(f"{case:44} {n:8,} {unit:14} {shown:>12} {wall:9.3f} {row.peak_mb:8.1f}  {note}", flush=True)

    def compare(
        self, case: str, unit: str, value: float, limit: float, *, note: str = "", peak_mb: float = 0.0
    ) -> None:
        """A figure beside its limit."""
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        ratio = value / limit
        row = Row(case, 1, unit, None, 0.0, round(peak_mb or own, 1), note, value, limit, round(ratio, 3))
        self.rows.append(row)
        verdict = "within" if ratio <= 1 else "MISSED"
        shown = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        told = f"{shown} of {limit:,} {unit}: {ratio:.2f}, {verdict}"
        print(f"{case:44} {told}  {note}", flush=True)

    def write(self, path: Path) -> None:
        """JSON lines."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(asdict(row)) + "\n" for row in self.rows), encoding="utf-8")


def median(values: list[float]) -> float:
    """The middle one."""
    return statistics.median(values)
