"""`akashi offer create`: an offer to a wallet for one resident of a demo city, for scripts. 模擬/MOCK, demo only.

There is no way past the card here: a mock card of that resident is made with the house's mock card authority, a scripted
phone registers with it and asks the city like everybody's. In production an offer needs a person with a card.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from app.errors import CityError
from mobile_api.exchanges import PROFILES

if TYPE_CHECKING:
    from app.house.home import Home
    from mobile_api.client import OfferReady, OfferWish

FISCAL_YEAR: Final = 2026
IN_USE_SECONDS: Final = 60.0


class NotADemoError(CityError):
    """Offers without a person exist in the demo profile only."""


def add_commands(commands: Any) -> None:
    """Add `offer` to `akashi`."""
    offer = commands.add_parser("offer", help="ウォレットへの申込み / offers to wallets (demo only)")
    actions = offer.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="mint an offer for one resident of a running demo city")
    create.add_argument("--resident", required=True, help="resident id (see `akashi city show`)")
    create.add_argument(
        "--home", type=Path, default=Path("var/demo/house"), help="directory of the city's files"
    )
    create.add_argument("--year", type=int, default=FISCAL_YEAR, help="fiscal year, Common Era")
    create.add_argument("--timeout", type=float, default=120, help="seconds to wait for the city")
    add_wish_options(create)
    create.set_defaults(run=run_create)


def add_wish_options(parser: argparse.ArgumentParser) -> None:
    """What every command that asks for an offer takes."""
    parser.add_argument("--purpose", default="")
    parser.add_argument("--copies", type=int, default=10, help="copies of the certificate, 1 to 20")
    parser.add_argument("--profile", choices=PROFILES, default="p1", help="OpenID4VCI profile")
    parser.add_argument(
        "--reference", action="store_true", help="the offer names an address at the street door"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run_create(options: argparse.Namespace) -> int:
    """0 made, 1 the city said no or did not answer, 2 not a demo or bad input."""
    from app.house.home import Home
    from mobile_api.client import CityRefused, OfferWish, PhoneError
    from mobile_api.messages import format_instant

    home = Home(options.home)
    wish = OfferWish(options.year, options.purpose, options.profile, options.copies, options.reference)
    try:
        ready = create_offer(home, options.resident, wish, timeout=options.timeout)
    except CityRefused as no:
        print(f"市からの回答 / answer of the city: {no.ja} / {no.en} [{no.code}]", file=sys.stderr)
        return 1
    except PhoneError as error:
        print(f"akashi offer: {error}", file=sys.stderr)
        return 1
    print_offer(options, ready.offer, ready.tx_code, format_instant(ready.expires), _door(home))
    return 0


def create_offer(home: Home, resident: str, wish: OfferWish, *, timeout: float) -> OfferReady:
    """An offer for `resident` of the running demo city at `home`, as its own scripted phone and card wish it.

    Raises CityError: NotADemoError, "no-such-resident"; PhoneError, CityRefused with the city's own words.
    """
    from app.house.people import PASSWORDS
    from mobile_api.client import Phone

    if os.environ.get("AKASHI_PROFILE") == "production":
        raise NotADemoError(
            "demo-only",
            "本番では使えません。住民がカードで申し込みます / refused in production: the resident asks with a card",
        )
    trust = _demo_trust(home)
    card = _card(home, resident)
    with _open_phone(lambda: Phone(home.offers(resident) / "phone", _door(home), trust)) as phone:
        phone.sign_up(card, PASSWORDS, timeout=timeout)
        ready: OfferReady = phone.request_offer(wish, card, PASSWORDS.authentication, timeout=timeout)
        return ready


def print_offer(options: argparse.Namespace, offer: str, tx_code: str, expires: str, door: str) -> None:
    """The offer for a script (`--json`) or for a person. `door`: where the street door is reached."""
    if options.json:
        value = {
            "copies": options.copies,
            "door": door,
            "expires": expires,
            "offer": offer,
            "profile": options.profile,
            "tx_code": tx_code,
        }
        sys.stdout.write(orjson.dumps(value).decode() + "\n")
        return
    print(offer)
    print(f"確認番号 / transaction code: {tx_code}   {expires} まで / until", file=sys.stderr)


def _door(home: Home) -> str:
    """Where the street door of this home is reached."""
    from app.house.house import read_addresses

    return f"http://127.0.0.1:{read_addresses(home)['door']}"


def _demo_trust(home: Any) -> Any:
    from app.house.setup import CITY
    from verifier.trust_store import TrustStore

    try:
        made = orjson.loads((home.root / "set-up.json").read_bytes())
    except (OSError, ValueError) as error:
        raise NotADemoError(
            "not-a-demo", "見本の市のディレクトリではありません / --home is not a demo city's directory"
        ) from error
    trust = TrustStore(home.trust).find(CITY)
    if trust is None or not home.addresses.exists():
        raise NotADemoError("not-started", "先に市を動かしてください / start the city first: akashi up")
    if not isinstance(made, dict) or made.get("mock") is not True or not trust.content.mock:
        raise NotADemoError(
            "not-a-demo", "見本の市のディレクトリではありません / --home is not a demo city's directory"
        )
    return trust.content


def _card(home: Any, resident_id: str) -> Any:
    from datetime import UTC, datetime

    from app.counterparts.jpki.authority import MockJpki
    from app.counterparts.jpki.reader import CardReader
    from app.house.people import make_card
    from app.registers.store import RegisterStore
    from app.storage.engine import open_store

    resident = RegisterStore(open_store(home.store("registers"))).find_resident(resident_id)
    if resident is None or not resident_id.replace("-", "").isalnum():
        raise CityError("no-such-resident", "この住民はいません / there is no such resident in this city")
    path = home.offers(resident_id) / "card.json"
    if path.exists():
        return CardReader(path)
    now = datetime.now(UTC)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return make_card(MockJpki(home.jpki, now=now), resident, path, now=now)


def _open_phone(make: Any) -> Any:
    """The scripted phone; while another command uses it, wait for that one."""
    from mobile_api.client import StateError

    end = time.monotonic() + IN_USE_SECONDS
    while True:
        try:
            return make()
        except StateError as error:
            if error.code != "in-use" or time.monotonic() >= end:
                raise
            time.sleep(0.2)
