"""`akashi phone mandate …`: letting another resident ask for one's certificates, and asking for another (電子委任状)."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, Final

from app.counterparts.jpki.reader import CardReader
from mobile_api.client import CardPasswords, Phone

TIMEOUT: Final = 120.0
JST: Final = timezone(timedelta(hours=9), "JST")
DOCUMENT_KIND: Final = "income_certificate"
_ROLE_WORDS: Final = {"giver": "委任した / given", "agent": "受任した / held"}
_STATE_WORDS: Final = {
    "offered": "引き受け待ち / not accepted yet",
    "accepted": "確認待ち / not confirmed yet",
    "confirmed": "確認済み (期間前) / confirmed, not begun",
    "in-force": "有効 / in force",
    "ended": "終了 / ended",
}

AddCommand = Callable[[Any, str, Any, str], argparse.ArgumentParser]
ReadPasswords = Callable[[argparse.Namespace], CardPasswords]


def add_commands(
    commands: Any,
    command: AddCommand,
    card_options: Callable[[argparse.ArgumentParser], None],
    passwords: ReadPasswords,
) -> None:
    """Add `mandate` with its commands; `command` makes one with the options that every command of the phone has."""
    family = commands.add_parser(
        "mandate", help="委任 / mandates: let another resident ask for your certificates"
    )
    actions = family.add_subparsers(dest="mandate_command", required=True, metavar="ACTION")
    command(actions, "code", _code, "受任者の引き渡し番号をもらう / get your hand-over code, as an agent")

    give = command(actions, "give", _give, "委任する / give a mandate, with your card")
    card_options(give)
    give.add_argument(
        "--to", required=True, metavar="CODE", help="受任者の引き渡し番号 / the agent's hand-over code"
    )
    give.add_argument("--year", type=int, action="append", required=True, help="fiscal year; may be repeated")
    give.add_argument("--purpose", required=True, help="使用目的 / a request must name exactly this")
    give.add_argument("--from", dest="valid_from", type=date.fromisoformat, help="first day; default: today")
    give.add_argument("--until", dest="valid_until", type=date.fromisoformat, required=True, help="last day")
    give.set_defaults(read_passwords=passwords)

    for name, function, text in (
        ("accept", _accept, "引き受ける / accept, as the agent"),
        ("confirm", _confirm, "確認する / confirm, as the giver"),
        ("end", _end, "終了する / end a mandate, as giver or agent; no card is needed"),
    ):
        action = command(actions, name, function, text)
        action.add_argument("mandate", help="委任の番号 / the mandate's id")
        if name == "confirm":
            action.add_argument(
                "--letter", metavar="CODE", help="手紙の確認番号 / the code of the city's letter"
            )

    listing = command(actions, "list", _list, "委任の一覧 / list mandates given and held")
    listing.add_argument("--json", action="store_true", help="the whole answer as JSON")


def _code(phone: Phone, _options: argparse.Namespace) -> int:
    found = phone.mandates.code(TIMEOUT)
    print(found["code"])
    print(
        f"委任する方にこの番号を伝えてください。一回だけ、{found['expires']} まで使えます / "
        "tell it to the giver; good once",
        file=sys.stderr,
    )
    return 0


def _give(phone: Phone, options: argparse.Namespace) -> int:
    words = options.read_passwords(options)
    mandate = phone.mandates.give(
        options.to,
        tuple(options.year),
        options.purpose,
        options.valid_from or datetime.now(UTC).astimezone(JST).date(),
        options.valid_until,
        CardReader(options.card),
        words.signature,
        document_kind=DOCUMENT_KIND,
        timeout=TIMEOUT,
    )
    print(mandate)
    print(
        "受任者が引き受けたら、確認してください / when the agent has accepted it: akashi phone mandate confirm",
        file=sys.stderr,
    )
    return 0


def _accept(phone: Phone, options: argparse.Namespace) -> int:
    phone.mandates.accept(options.mandate, TIMEOUT)
    print("引き受けました / accepted")
    return 0


def _confirm(phone: Phone, options: argparse.Namespace) -> int:
    phone.mandates.confirm(options.mandate, options.letter, TIMEOUT)
    print("確認しました / confirmed")
    return 0


def _end(phone: Phone, options: argparse.Namespace) -> int:
    phone.mandates.end(options.mandate, TIMEOUT)
    print("終了しました / ended")
    print(
        "この1時間に渡された証明書は失効します / certificates of the last hour are revoked", file=sys.stderr
    )
    return 0


def _list(phone: Phone, options: argparse.Namespace) -> int:
    found = phone.mandates.list(TIMEOUT)
    if options.json:
        print(json.dumps({"mandates": found}, ensure_ascii=False))
        return 0
    for entry in found:
        years = ", ".join(str(year) for year in entry["fiscal_years"])
        print(
            f"{entry['mandate']}  {_ROLE_WORDS[entry['role']]}  {_STATE_WORDS[entry['state']]}  {years}  "
            f"{entry['valid_from']} – {entry['valid_until']}  {entry['purpose']}"
        )
    return 0


NEEDS_LIVING_TRUST: Final = (_code, _give, _accept, _confirm)
