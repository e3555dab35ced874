"""`python -m app.counterparts.jpki …`: run the mock JPKI, issue a card, revoke one (模擬/MOCK).

serve  --directory DIR [--host 127.0.0.1] [--port 8450] issue  --directory DIR --attributes FILE.json --card
FILE --passwords FILE revoke --directory DIR --card FILE --event move|name-change|death|loss|renewal The
passwords file has two lines: signature password, four digits. Nothing secret is taken from the command
line.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from app.counterparts.jpki.authority import EVENTS, MockJpki
from app.counterparts.jpki.card import SoftwareCard
from app.counterparts.jpki.issuing import issue_card
from app.counterparts.jpki.server import JpkiServer, refuse_production
from app.errors import CityError
from app.registers.card_attributes import CardAttributes
from verifier.errors import FormatError
from verifier.fault import log_to_stderr
from verifier.formats.encoding import parse_json

DEFAULT_PORT = 8450


def main(arguments: list[str] | None = None) -> int:
    """0 done, 2 must not start or cannot be done."""
    options = _parser().parse_args(arguments)
    try:
        refuse_production(os.environ.get("AKASHI_PROFILE"))
        authority = MockJpki(options.directory, now=datetime.now(UTC))
        if options.command == "serve":
            return _serve(authority, options.host, options.port)
        if options.command == "issue":
            attributes = CardAttributes(**parse_json(options.attributes.read_bytes()))
            password, pin = options.passwords.read_text("ascii").split()
            issue_card(authority, attributes, options.card, password, pin, now=datetime.now(UTC))
            print(f"模擬/MOCK card written to {options.card}")
            return 0
        with SoftwareCard(options.card) as card:
            serials = authority.revoke(card.card_id, options.event, now=datetime.now(UTC))
        print(f"模擬/MOCK revoked {len(serials)} certificates")
    except (CityError, FormatError, OSError, ValueError, TypeError) as error:
        print(f"mock JPKI: {error}", file=sys.stderr)
        return 2
    return 0


def _serve(authority: MockJpki, host: str, port: int) -> int:
    log_to_stderr("mock JPKI")
    server = JpkiServer((host, port), authority, profile=os.environ.get("AKASHI_PROFILE"))
    # shutdown waits for serve_forever to end, so it must not run in the thread that serves.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"模擬/MOCK JPKI on {server.base_url} (/signature/ocsp /signature/crl …)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.counterparts.jpki", description="模擬/MOCK JPKI")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("serve", "issue", "revoke"):
        command = commands.add_parser(name)
        command.add_argument("--directory", type=Path, required=True)
        if name == "serve":
            command.add_argument("--host", default="127.0.0.1")
            command.add_argument("--port", type=int, default=DEFAULT_PORT)
        else:
            command.add_argument("--card", type=Path, required=True)
        if name == "issue":
            command.add_argument("--attributes", type=Path, required=True)
            command.add_argument("--passwords", type=Path, required=True)
        if name == "revoke":
            command.add_argument("--event", choices=sorted(EVENTS), required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
