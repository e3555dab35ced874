"""The city's side of a login with everything real but the street door and the signer: a mock OP behind a socket, cards, the
register gate with its registers, the login desk, and a browser. The clock is the rooms'.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from app.counterparts.digital_auth.clients import parse_clients
from app.counterparts.digital_auth.keys import open_keys
from app.counterparts.digital_auth.provider import DISCOVERY, PROTOCOL, Provider
from app.counterparts.digital_auth.server import DigitalAuthServer
from app.counterparts.digital_auth.sign_in import CardDesk
from app.counterparts.digital_auth.store import ProviderStore
from app.identity.card_certificate import load_card_trust
from app.identity.login import Client
from app.identity.login_exchange import get_over_http, post_over_http
from app.identity.login_provider import LoginProvider, parse_login_provider
from app.registers.card_attributes import CardAttributes, card_attributes
from app.registers.gate import RegisterGate
from app.registers.login_gate import LoginGate
from app.registers.release import RecordRelease
from app.registers.resident import Resident
from app.wallets.logins import LoginDesk, LoginDeskSettings
from mobile_api.exchanges import (
    AnswerBody,
    Denied,
    Granted,
    LoginFinish,
    LoginStart,
    Question,
    Redirect,
)
from tests.support.city_rooms import KIND, YEAR, CityRooms, DirectGate
from tests.support.digital_auth_world import client_entry, clients_file
from tests.support.door_house import CITY, PASSWORDS, PUBLIC_URL, make_card
from tests.support.form_browser import FormBrowser
from verifier.formats.encoding import base64url_encode
from verifier.formats.jose import es256_signer

REDIRECT_URI = f"{PUBLIC_URL}/{CITY}/haip/login/callback"
CLIENT = Client("RP00000001", REDIRECT_URI, "login-1")
CONFIGURATION = "income_certificate"
COPIES = 10


def new_id() -> str:
    """The door's ids: 22 characters."""
    return base64url_encode(os.urandom(16))


@dataclass
class LoginRooms:
    """A city that knows a login provider. `server` answers at a loopback port; `cards` lie where the OP reads them."""

    rooms: CityRooms
    server: DigitalAuthServer
    cards: Path
    city_key: ec.EllipticCurvePrivateKey
    pinned: LoginProvider
    gate: RegisterGate
    issued: dict[str, Any] = field(default_factory=dict)

    def desk(self, **changes: Any) -> LoginDesk:
        """The worker's part; everything may be replaced."""
        given: dict[str, Any] = {
            "gate": DirectGate(self.gate),
            "sign": lambda _request_id: es256_signer(self.city_key),
            "post": post_over_http,
            "get": get_over_http,
            "random": os.urandom,
            "clock": self.rooms.clock,
        }
        settings = LoginDeskSettings(self.pinned, CLIENT, {CONFIGURATION: KIND}, COPIES, lambda _now: YEAR)
        return LoginDesk(self.rooms.store, changes.pop("settings", settings), **given | changes)

    def card(self, resident: Resident, name: str = "", *, attributes: CardAttributes | None = None) -> str:
        """A card of this resident that can be held to the OP; its name there."""
        name = name or f"card{len(self.issued)}"
        attributes = attributes or card_attributes(resident)
        path = self.cards / f"{name}.card"
        self.issued[name] = make_card(self.rooms.jpki, path, attributes, self.rooms.clock())[1]
        return name

    def start(self, desk: LoginDesk, session: str) -> str:
        """Where the browser is sent."""
        answer = desk.start(question(LoginStart(session, CONFIGURATION)), LoginStart(session, CONFIGURATION))
        assert isinstance(answer, Redirect), answer
        return answer.location

    def browse(self, address: str, card: str, *, consent: str | None = "agree") -> FormBrowser:
        """A person at the OP: the card, then consent (None: the password is left out)."""
        browser = FormBrowser(REDIRECT_URI)
        browser.open(address)
        password = {} if consent is None else {"password": PASSWORDS.signature}
        browser.send(card=card, pin=PASSWORDS.authentication, choice="sign-in", **password)
        if consent is not None and browser.page is not None and browser.page.status == 200:
            browser.send(choice=consent)
        return browser

    def log_in(
        self, card: str, *, consent: str | None = "agree", desk: LoginDesk | None = None
    ) -> AnswerBody:
        """One whole login; the city's answer."""
        desk, session = desk or self.desk(), new_id()
        browser = self.browse(self.start(desk, session), card, consent=consent)
        return self.finish(desk, session, browser.query)

    def finish(self, desk: LoginDesk, session: str, query: str, exchange: str = "") -> AnswerBody:
        body = LoginFinish(session, query)
        return desk.finish(question(body, exchange), body)


def question(body: Any, exchange: str = "") -> Question:
    """The door's question, as it is when opened."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return Question(exchange or new_id(), "p2", None, None, key, body)


def granted(answer: AnswerBody) -> str:
    assert isinstance(answer, Granted), answer
    return answer.grant


def denied(answer: AnswerBody) -> str:
    assert isinstance(answer, Denied), answer
    assert answer.description.isascii()
    return answer.error


@contextmanager
def login_rooms(
    rooms: CityRooms, *, registered: ec.EllipticCurvePublicKey | None = None
) -> Iterator[LoginRooms]:
    """A mock OP in a thread beside the rooms, whose gate knows it. `registered`: the city's key there (None: a new one)."""
    directory = rooms.directory / "digital-auth"
    directory.mkdir()
    cards = directory / "cards"
    cards.mkdir()
    city_key = ec.generate_private_key(ec.SECP256R1())
    known: Any = city_key if registered is None else SimpleNamespace(public_key=lambda: registered)
    entry = client_entry(CLIENT, known, "mihon", userinfo_signed_response_alg="ES256")
    clients = parse_clients(clients_file(entry))
    trust = load_card_trust(rooms.jpki.anchors, profile="demo")
    keys, store = open_keys(directory / "keys"), ProviderStore(directory / "provider.sqlite")
    desk = CardDesk(cards, trust, rooms.status)
    server = DigitalAuthServer(
        ("127.0.0.1", 0),
        lambda issuer: Provider(issuer, clients, keys, store, desk, clock=rooms.clock),
        profile="demo",
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    provider = server.provider
    pinned = parse_login_provider(
        provider.get(DISCOVERY, "").body,
        provider.get(PROTOCOL + "/certs", "").body,
        issuer=provider.issuer,
        profile="demo",
    )
    assert urlsplit(pinned.userinfo_endpoint).hostname == "127.0.0.1"
    release = RecordRelease(rooms.registers, CITY)
    rooms.gate._logins = LoginGate(pinned, CLIENT.client_id, release)
    try:
        yield LoginRooms(rooms, server, cards, city_key, pinned, rooms.gate)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
