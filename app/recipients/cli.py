"""`akashi recipient add`: put a company into the city's register of recipients (demo profile: no proof is asked)."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.settings import require_demo


def add_commands(commands: Any) -> None:
    """Add the commands of this room to `akashi`."""
    recipient = commands.add_parser("recipient", help="提出先の登録 / the register of recipients")
    actions = recipient.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser(
        "add", help="sign a statement about a company and its keys (模擬/MOCK: demo only)"
    )
    add.add_argument("--home", type=Path, required=True, help="directory of the running demo city")
    add.add_argument("--name", required=True, help="legal name")
    add.add_argument("--corporate-number", help="法人番号, 13 digits")
    add.add_argument("--keys", type=Path, required=True, help="what `akashi-verify keygen` printed (JSON)")
    add.add_argument("--out", type=Path, required=True, help="file for the statement")
    add.set_defaults(run=run_add)


def run_add(options: argparse.Namespace) -> int:
    """Add one company and write its statement."""
    statement = add_recipient(options.home, options.name, options.corporate_number, options.keys)
    options.out.write_bytes(statement)
    print(options.out)
    print(f"模擬/MOCK: {options.name} を提出先として登録しました / registered", file=sys.stderr)
    return 0


def add_recipient(directory: Path, name: str, corporate_number: str | None, keys_file: Path) -> bytes:
    """Sign and log one statement through the running gate, signer and log of the demo city in `directory`."""
    from app.city_keys import CityKeys
    from app.frames import read_token
    from app.house.home import Home
    from app.house.house import read_addresses
    from app.house.setup import CITY, PUBLIC_URL
    from app.issuance.log_door import LogDoor
    from app.recipients.register import RECIPIENT_REQUEST, issue_statement
    from app.registers.gate_client import GateClient
    from app.sealing.signer_client import SignerClient
    from app.zones import Guard
    from verifier.formats.encoding import parse_json
    from verifier.formats.jose import parse_jwk, thumbprint

    require_demo("demo", "akashi recipient add")
    home = Home(directory)

    def now() -> datetime:
        return datetime.now(UTC)

    guard = Guard(None)
    gate = GateClient(home.socket("gate"), read_token(home.token("gate")), guard=guard, clock=now)
    signer = SignerClient.from_token_file(home.socket("signer"), home.keys / "signer" / "worker.token")
    log = LogDoor(
        f"http://127.0.0.1:{read_addresses(home)['log']}",
        read_token(home.token("log")),
        guard=guard,
        clock=now,
    )
    city_keys = CityKeys(gate, signer, guard=guard, clock=now)
    keys = parse_json(keys_file.read_bytes())
    return issue_statement(
        city=CITY,
        name=name,
        corporate_number=corporate_number,
        keys=tuple(keys["keys"]),
        signing_key=keys["signing_key"],
        upload=PUBLIC_URL,
        kid=thumbprint(parse_jwk(dict(signer.public("statement").jwk))),
        sign=city_keys.signing("statement", request_id=RECIPIENT_REQUEST, serial="recipient"),
        append=lambda entry: log.append([entry]),
        now=now(),
    )
