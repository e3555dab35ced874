"""A million leaves in a log of their own process: run by `speed`, prints one JSON object.

    python -m tests.bench.log_million DIRECTORY LEAVES LEAVES_A_CHECKPOINT

The log is the real one on disk: index, dummies, order, staging, compare-and-swap, tiles, signed checkpoint; the software
key stands for the signer. CPU seconds are user and system of the appends alone, the peak is that of the whole process.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import time
from pathlib import Path
from statistics import median

from tests.bench.log_bench import LogBench
from verifier.formats.merkle import HASH_BYTES, verify_inclusion
from verifier.formats.tiles import TileReader

PROOFS = 500


def main(directory: Path, leaves: int, batch: int) -> dict[str, float]:
    """Append `leaves` leaves; then prove and verify some of them, each from its tiles alone."""
    bench = LogBench(directory)
    user = system = wall = 0.0
    done = 0
    while done < leaves:
        count = min(batch, leaves - done)
        noise = os.urandom(32 * count)
        entries = [noise[start : start + 32] for start in range(0, len(noise), 32)]
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        bench.append(entries)
        after = resource.getrusage(resource.RUSAGE_SELF)
        user += after.ru_utime - before.ru_utime
        system += after.ru_stime - before.ru_stime
        wall += time.perf_counter() - started
        done += count
    figures = {"user_s": user, "system_s": system, "wall_s": wall, "peak_mb": peak_mb()}
    return figures | prove(bench, random.Random(992011))


def peak_mb() -> float:
    """Largest resident size of this process so far. `ru_maxrss` begins with that of the process that started this one."""
    for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the kernel does not tell the largest resident size")


def prove(bench: LogBench, chance: random.Random) -> dict[str, float]:
    """Largest path in bytes; median milliseconds of CPU to make one from the files of the tiles, and to check one."""
    files, published = bench.log.files, bench.log.published
    making, checking, largest = [], [], 0
    for _ in range(PROOFS):
        index = chance.randrange(published.size)
        leaf = TileReader(published.size, files.read).leaf(index)
        started = time.process_time()
        path = TileReader(published.size, files.read).inclusion_path(
            index
        )  # no tile is kept from the one before
        made = time.process_time()
        verify_inclusion(leaf, index, published.size, path, published.root)
        making.append(made - started)
        checking.append(time.process_time() - made)
        largest = max(largest, len(path) * HASH_BYTES)
    return {"path_bytes": largest, "make_ms": median(making) * 1000, "check_ms": median(checking) * 1000}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
