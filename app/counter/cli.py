"""`akashi counter …`: what the counter's staff do at the running demo city (模擬/MOCK, demo profile only).

The counter talks to the register gate alone, by a token of its own. Who stands at the counter is said on the command
line and written into the gate's list of acts; logins of the counter are not built yet.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.settings import require_demo


def add_commands(commands: Any) -> None:
    """Add the commands of this room to `akashi`."""
    counter = commands.add_parser("counter", help="窓口 / the counter of a demo city (模擬/MOCK)")
    actions = counter.add_subparsers(dest="action", required=True, metavar="ACTION")

    qr = actions.add_parser("qr", help="print a one-time QR code that registers a demonstration resident")
    qr.add_argument("--home", type=Path, required=True, help="directory of the running demo city")
    qr.add_argument(
        "--dummy", required=True, metavar="RESIDENT", help="resident id (see `akashi counter dummies`)"
    )
    qr.add_argument(
        "--out", type=Path, required=True, help="SVG file for the QR code; its text goes to stdout"
    )
    qr.add_argument("--staff", default="counter-1", help="who prints it")
    qr.set_defaults(run=run_qr)

    dummies = actions.add_parser("dummies", help="list the demonstration residents of the register")
    dummies.add_argument("--home", type=Path, required=True, help="directory of the demo city")
    dummies.set_defaults(run=run_dummies)

    unlock = actions.add_parser(
        "unlock-devices", help="let a resident's card add phones again; two members of staff"
    )
    unlock.add_argument("--home", type=Path, required=True, help="directory of the running demo city")
    unlock.add_argument("--resident", required=True, help="resident id, after the person was identified")
    unlock.add_argument("--staff", required=True, help="who does it")
    unlock.add_argument("--second", required=True, help="who has checked it: another person")
    unlock.add_argument("--reason", required=True, help="why; kept in the gate's list of acts")
    unlock.set_defaults(run=run_unlock)


def run_qr(options: argparse.Namespace) -> int:
    """Print one code. Raises Refusal for a real resident."""
    from app.house.setup import PUBLIC_URL
    from app.rendering.qr import draw_qr_svg
    from mobile_api.messages import format_counter_qr

    code, expires = _counter(options.home).print_code(resident_id=options.dummy, staff=options.staff)
    text = format_counter_qr(PUBLIC_URL, code)
    descriptor = os.open(options.out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(draw_qr_svg(text))
    print(text)
    until = datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    print(f"模擬/MOCK: 一回だけ、{until} まで使えます / good once until then: {options.out}", file=sys.stderr)
    return 0


def run_dummies(options: argparse.Namespace) -> int:
    """One resident id a line."""
    from app.house.home import Home
    from app.registers.store import RegisterStore
    from app.storage.engine import open_store

    require_demo("demo", "akashi counter dummies")
    store = Home(options.home).store_path("registers")
    if not store.is_file():
        raise FileNotFoundError(2, "no demo city there", str(store))
    for entry in RegisterStore(open_store(f"sqlite:///{store}")).entries():
        if entry.resident.dummy:
            print(entry.resident.resident_id)
    return 0


def run_unlock(options: argparse.Namespace) -> int:
    """Take a resident's lock back; 1 if there was none."""
    unlocked = _counter(options.home).unlock_devices(
        resident_id=options.resident, staff=options.staff, second=options.second, reason=options.reason
    )
    if not unlocked:
        print("制限されていませんでした / it was not locked", file=sys.stderr)
        return 1
    print("制限を解きました。すべての端末に知らせます / unlocked; every device is told")
    return 0


def _counter(directory: Path) -> Any:
    from app.frames import read_token
    from app.house.home import Home
    from app.registers.counter_door import CounterCaller
    from app.zones import Guard

    require_demo("demo", "akashi counter")
    home = Home(directory)
    return CounterCaller(
        home.socket("gate"),
        read_token(home.token("counter")),
        guard=Guard(None),
        clock=lambda: datetime.now(UTC),
    )
