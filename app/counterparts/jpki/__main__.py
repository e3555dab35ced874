"""`python -m app.counterparts.jpki …`: run the mock JPKI, issue a card, revoke or suspend one (模擬/MOCK).

    serve   --directory DIR [--host 127.0.0.1] [--port 8450]
    issue   --directory DIR --attributes FILE.json --card FILE --passwords FILE [--holder NUMBER]
    revoke  --directory DIR --event EVENT (--card FILE | --holder NUMBER)
            move, name-change, death, loss, renewal, phone-loss
    suspend --directory DIR (--card FILE | --holder NUMBER)    the hotline for lost cards (一時停止)
    resume  --directory DIR (--card FILE | --holder NUMBER)    the card was found again
    phone   --directory DIR --card FILE --phone FILE --passwords FILE
            phone-borne certificates (スマホ用電子証明書), applied for with the card
    follow  --directory DIR --registers FILE                   one pass over the register's change feed
    bodies  add|list|revoke|delegate …                         who may ask (`bodies_cli`); others get no answer

A running `serve` answers accordingly from the next question on. NUMBER is the resident's number in the mock
register: who lost the card has no card file to show. The passwords file has two lines: signature password,
four digits; for a phone three: the card's signature password, then the phone's two. Nothing secret is taken
from the command line.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from app.counterparts.jpki import bodies_cli
from app.counterparts.jpki.authority import MockJpki
from app.counterparts.jpki.card import SoftwareCard
from app.counterparts.jpki.errors import JpkiError
from app.counterparts.jpki.issued import EVENTS
from app.counterparts.jpki.issuing import issue_card
from app.counterparts.jpki.phone_carrier import issue_phone
from app.counterparts.jpki.reader import CardReader
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
        if options.command == "bodies":
            print(bodies_cli.run(options, now=datetime.now(UTC)))
            return 0
        if options.command == "serve":
            return _serve(authority, options.host, options.port)
        if options.command == "issue":
            attributes = CardAttributes(**parse_json(options.attributes.read_bytes()))
            password, pin = options.passwords.read_text("ascii").split()
            issue_card(
                authority,
                attributes,
                options.card,
                password,
                pin,
                now=datetime.now(UTC),
                holder=options.holder,
            )
            print(f"模擬/MOCK card written to {options.card}")
        elif options.command == "phone":
            card_password, password, pin = options.passwords.read_text("ascii").split()
            reader, now = CardReader(options.card), datetime.now(UTC)
            issue_phone(authority, reader, card_password, options.phone, password, pin, now=now)
            print(f"模擬/MOCK phone-borne certificates written to {options.phone}")
        elif options.command == "follow":
            gone = _follow(options.directory, options.registers)
            print(f"模擬/MOCK revoked {len(gone)} certificates after events in the register")
        else:
            print(_change(authority, options))
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


def _change(authority: MockJpki, options: argparse.Namespace) -> str:
    """Revoke, suspend or resume; the sentence about it. Raises: JpkiError."""
    if options.card is not None:
        with SoftwareCard(options.card) as card:
            cards = [card.card_id]
    elif not (cards := authority.issued.cards_of(options.holder)):
        raise JpkiError("unknown-holder", "no card was issued to this resident")
    serials: list[str] = []
    for identifier in cards:
        if options.command == "resume":
            serials += authority.issued.resume(identifier)
        else:
            event = "suspension" if options.command == "suspend" else options.event
            serials += authority.revoke(identifier, event, now=datetime.now(UTC))
    done = {"revoke": "revoked", "suspend": "suspended", "resume": "resumed"}[options.command]
    return f"模擬/MOCK {done} {len(serials)} certificates"


def _follow(directory: Path, registers: Path) -> list[str]:
    # Only this command needs the register's store and what opens it.
    from sqlalchemy.exc import DatabaseError

    from app.counterparts.jpki.register_feed import follow_register
    from app.registers.store import RegisterStore
    from app.storage.engine import open_store

    if not registers.is_file():
        raise JpkiError("no-registers", "there is no such register file")
    engine = open_store(f"sqlite:///{registers}")
    try:
        return follow_register(directory, RegisterStore(engine), now=datetime.now(UTC))
    except DatabaseError:
        # Its text may quote a row.
        raise JpkiError("no-registers", "not a register store that can be read") from None
    finally:
        engine.dispose()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.counterparts.jpki", description="模擬/MOCK JPKI")
    commands = parser.add_subparsers(dest="command", required=True)
    bodies_cli.add_parsers(commands)
    for name in ("serve", "issue", "revoke", "suspend", "resume", "phone", "follow"):
        command = commands.add_parser(name)
        command.add_argument("--directory", type=Path, required=True)
        if name == "serve":
            command.add_argument("--host", default="127.0.0.1")
            command.add_argument("--port", type=int, default=DEFAULT_PORT)
        if name == "issue":
            command.add_argument("--card", type=Path, required=True)
            command.add_argument("--attributes", type=Path, required=True)
            command.add_argument("--passwords", type=Path, required=True)
            command.add_argument("--holder", default="")
        if name == "phone":
            for option in ("--card", "--phone", "--passwords"):
                command.add_argument(option, type=Path, required=True)
        if name in ("revoke", "suspend", "resume"):
            whose = command.add_mutually_exclusive_group(required=True)
            whose.add_argument("--card", type=Path)
            whose.add_argument("--holder")
        if name == "revoke":
            command.add_argument("--event", choices=sorted(set(EVENTS) - {"suspension"}), required=True)
        if name == "follow":
            command.add_argument("--registers", type=Path, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
