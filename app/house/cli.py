"""`akashi up`, `akashi demo`, `akashi setup`: the house as a whole on one machine (模擬/MOCK)."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """Add the commands of this room to `akashi`."""
    up = commands.add_parser("up", help="start every process of a demo city; Ctrl-C stops them")
    _add_options(up, residents=1000)
    up.set_defaults(run=run_up)
    demo = commands.add_parser(
        "demo", help="the pilot's story in one run: issue, deliver, submit, verify, refuse"
    )
    _add_options(demo, residents=1000)
    demo.set_defaults(run=run_demo)


def _add_options(parser: argparse.ArgumentParser, *, residents: int) -> None:
    parser.add_argument("--home", type=Path, required=True, help="directory of the city's files")
    parser.add_argument(
        "--residents", type=int, default=residents, help="size of the mock city (100 to 130000)"
    )
    parser.add_argument("--seed", type=int, default=8, help="the same seed makes the same city")


def run_up(options: argparse.Namespace) -> int:
    """Start everything, print the addresses, wait for Ctrl-C or SIGTERM."""
    from app.house.home import Home
    from app.house.house import House, HouseSettings, addresses
    from app.house.staff_logins import find_or_make_logins

    house = House(
        Home(options.home),
        HouseSettings(options.residents, options.seed),
        say=lambda line: print(line, file=sys.stderr),
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        house.start()
        for what, address in addresses(house):
            print(f"{what:32} {address}", flush=True)
        find_or_make_logins(house.home)
        print(f"職員のログイン / staff logins: {house.home.staff_passwords}", file=sys.stderr)
        print("Ctrl-C で止まります / Ctrl-C stops it", file=sys.stderr)
        while not stop.wait(1.0):
            for name in house.processes.ended():
                print(f"{name} ended: see {house.home.logs / (name + '.log')}", file=sys.stderr)
                stop.set()
    finally:
        house.stop()
    print("止めました / stopped", file=sys.stderr)
    return 0


def run_demo(options: argparse.Namespace) -> int:
    """Run the story; exit 0 only if every step ended as it must."""
    from app.house.demo import Demo

    return Demo(options.home, residents=options.residents, seed=options.seed).run()
