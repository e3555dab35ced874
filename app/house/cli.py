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

    card = commands.add_parser("card", help="カードの見本 / mock cards of a demo city")
    actions = card.add_subparsers(dest="action", required=True, metavar="ACTION")
    issue = actions.add_parser("issue", help="make a mock card of one resident (模擬/MOCK)")
    issue.add_argument("--home", type=Path, required=True, help="directory of the city's files")
    issue.add_argument("--resident", required=True, help="resident id (see `akashi city show`)")
    issue.add_argument("--card", type=Path, required=True, help="the card file to make")
    issue.add_argument(
        "--passwords", type=Path, required=True, help="file: line 1 signature password, line 2 four digits"
    )
    issue.set_defaults(run=run_card_issue)

    revoke = commands.add_parser(
        "revoke", help="失効 (模擬/MOCK) / revoke as the two members of staff of a running demo city"
    )
    revoke.add_argument("--home", type=Path, required=True, help="directory of the city's files")
    revoke.add_argument("--number", required=True, help="request number, or number printed on a certificate")
    revoke.add_argument("--reason", required=True, help="one of the console's words, such as wrong-figures")
    revoke.add_argument("--json", action="store_true", help="one line of JSON on stdout")
    revoke.set_defaults(run=run_revoke)


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


def run_revoke(options: argparse.Namespace) -> int:
    """Ask, confirm, wait for the worker; exit 0 when the documents are revoked."""
    import os

    import orjson

    from app.house.home import Home
    from app.house.revoke import check_demo, revoke_as_two

    home = Home(options.home)
    check_demo(home, os.environ)
    print("模擬/MOCK: 二人の職員として失効します / as two members of staff of a mock city", file=sys.stderr)
    done = revoke_as_two(home, options.number, options.reason)
    print(
        orjson.dumps(done.as_json()).decode() if options.json else f"失効しました / revoked: {done.request}"
    )
    return 0


def run_card_issue(options: argparse.Namespace) -> int:
    """Issue one card of the mock JPKI; its revocation is answered by the running counterpart."""
    from datetime import UTC, datetime

    from app.counterparts.jpki.authority import MockJpki
    from app.counterparts.jpki.issuing import issue_card
    from app.errors import CityError
    from app.house.home import Home
    from app.registers.card_attributes import card_attributes
    from app.registers.store import RegisterStore
    from app.storage.engine import open_store

    home, now = Home(options.home), datetime.now(UTC)
    resident = RegisterStore(open_store(home.store("registers"))).find_resident(options.resident)
    if resident is None:
        raise CityError("no-such-resident", options.resident)
    words = options.passwords.read_text(encoding="ascii").split()
    if len(words) != 2:
        raise CityError("bad-passwords", "two lines: signature password, four digits")
    issue_card(
        MockJpki(home.jpki, now=now),
        card_attributes(resident),
        options.card,
        words[0],
        words[1],
        now=now,
        holder=resident.resident_id,
    )
    print(options.card)
    print("模擬/MOCK: カードを作りました / a mock card was made", file=sys.stderr)
    return 0
