"""`make bench`: every step of a certificate's way, each alone and all together, in one run on this machine.

Prints a table and writes var/bench/latest.jsonl. Figures belong here and never into tests.
"""

from __future__ import annotations

import resource
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench import speed  # noqa: E402
from tests.bench.credential_bench import bench_credentials  # noqa: E402
from tests.bench.measure import Table, median  # noqa: E402
from tests.bench.wallet_bench import bench_credential  # noqa: E402


def main() -> int:
    """Run every bench."""
    table = Table()
    bench_city(table)
    bench_steps(table)
    bench_credentials(table)
    bench_log(table)
    bench_credential(table)
    speed.bench_million(table)
    speed.bench_gas(table)
    bench_house(table)
    path = ROOT / "var" / "bench" / "latest.jsonl"
    table.write(path)
    print(f"\nwritten to {path.relative_to(ROOT)}")
    return 0


def bench_city(table: Table) -> None:
    """The 130,000-resident city, in a process of its own so that its memory is its own."""
    with tempfile.TemporaryDirectory() as directory:
        code = (
            "import resource,sys,time\n"
            "from app.cli import main\n"
            f"out={str(Path(directory) / 'city.sqlite')!r}\n"
            "rc=main(['city','create','--residents','130000','--seed','7','--out',out])\n"
            "u=resource.getrusage(resource.RUSAGE_SELF)\n"
            "print(rc,u.ru_utime+u.ru_stime,u.ru_maxrss/1024,file=sys.stderr)\n"
        )
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
        )
        wall = time.perf_counter() - started
        rc, cpu, peak = done.stderr.strip().splitlines()[-1].split()
        if rc != "0":
            raise SystemExit(done.stderr)
        table.add(
            "city create, 130,000 residents",
            "residents",
            130_000,
            wall=wall,
            cpu=float(cpu),
            peak_mb=float(peak),
        )


def bench_steps(table: Table) -> None:
    """Each step alone, in this process, with software keys and an in-process time-stamp."""
    from tests.bench.steps import Steps

    with tempfile.TemporaryDirectory() as directory:
        steps = Steps(Path(directory))
        table.measure("claims: record to figures to data", "certificates", 300, steps.claims)
        table.measure("page: drawn (Typst, PDF/A-3a, UA-1)", "pages", 20, steps.draw)
        table.measure("page: text compared with the data", "pages", 20, steps.compare_text)
        table.measure("seal: PAdES B-LT incl. time-stamp", "pages", 20, steps.seal)
        table.measure("credential: SD-JWT VC", "credentials", 200, steps.credential)
        table.measure("status list: 2^20 entries, 1 % invalid", "lists", 50, steps.status_list)
        table.measure("bundle: evidence, archive", "bundles", 200, steps.bundle)
        table.measure("verify: bundle, offline", "bundles", 50, steps.verify)
        table.measure("package: encrypt to the phone", "packages", 200, steps.pack)
        table.measure("package: decrypt", "packages", 200, steps.open)
        table.measure("the whole, from record to package", "certificates", 10, steps.whole)


def bench_log(table: Table) -> None:
    """Appending to the log: hashing, tiles, compare-and-set, Ed25519 checkpoint; software key, on disk."""
    from tests.bench.log_bench import LogBench

    with tempfile.TemporaryDirectory() as directory:
        bench = LogBench(Path(directory))
        entries = [secrets.token_bytes(32) for _ in range(100_000)]
        wall, cpu = time.perf_counter(), time.process_time()
        for start in range(0, len(entries), 1000):
            bench.append(entries[start : start + 1000])
        table.add(
            "log: append, 1,000 a checkpoint", "leaves", len(entries),
            wall=time.perf_counter() - wall, cpu=time.process_time() - cpu,
        )  # fmt: skip
        bench.close()


def bench_house(table: Table) -> None:
    """The real house: latency of the street door and of one certificate, request to package (anchoring not waited for)."""
    from tests.bench.house_bench import HouseBench

    with (
        tempfile.TemporaryDirectory(prefix="akashi-bench-") as directory,
        HouseBench(Path(directory)) as house,
    ):
        latencies = house.public_file_latencies(300)
        table.add(
            "street door: GET checkpoint", "requests", len(latencies), wall=sum(latencies), cpu=None,
            note=f"median {median(latencies) * 1000:.1f} ms",
        )  # fmt: skip
        trips = house.round_trips(20)
        table.add(
            "mailbox: phone, city, phone", "round trips", len(trips), wall=sum(trips), cpu=None,
            note=f"median {median(trips) * 1000:.0f} ms",
        )  # fmt: skip
        logins = house.card_logins(15)
        table.add(
            "card login through the mailbox (limit 300 ms)", "logins", len(logins), wall=sum(logins), cpu=None,
            note=f"median {median(logins) * 1000:.0f} ms, slowest {max(logins) * 1000:.0f} ms",
        )  # fmt: skip
        speed.compare_log_times(table, *house.log_times(8))
        times = house.certificate_times(15)
        table.add(
            "request to package on the phone", "certificates", len(times), wall=sum(times), cpu=None,
            note=f"median {median(times):.2f} s, slowest {max(times):.2f} s",
        )  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    table.add("largest process of the house", "processes", 1, wall=0.0, cpu=None, peak_mb=peak)


if __name__ == "__main__":
    raise SystemExit(main())
