"""A login through the desk for wallets, sealed questions in and sealed answers out, to the credentials of a P2 wallet; with
the signer's own key for the client assertion, and a provider that is slow or away while others are served.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.sealing.errors import SignerError
from app.wallets import login_handlers as handlers_module
from app.wallets.login_handlers import LoginHandlers
from app.wallets.logins import LOGIN_PURPOSE, LOGIN_REQUEST, issuable_fiscal_year
from app.wallets.rooms import HANDLERS
from app.wallets.settings import WalletSettings
from mobile_api.exchanges import AnswerBody, Denied, Granted, LoginFinish, LoginStart, QuestionBody, Redirect
from mobile_api.messages import Notice
from tests.support.door_house import CITY, NOW, PUBLIC_URL
from tests.support.login_rooms import CONFIGURATION, LoginRooms, login_rooms, new_id
from tests.support.wallet_provider import WalletProvider, make_wallet_provider
from tests.support.wallet_rooms import Wallet, WalletHouse, credentials, wallet_house
from verifier.formats.encoding import base64url_encode
from verifier.formats.jose import parse_jwk


@dataclass
class Scene:
    """The whole city for wallets, and the login provider beside it."""

    house: WalletHouse
    logins: LoginRooms
    provider: WalletProvider

    def serve(self, **changes: Any) -> None:
        """Put the login handlers to the desk's others."""
        keys = self.house.keys
        given: dict[str, Any] = {
            "sign": lambda request_id: keys.signing(
                LOGIN_PURPOSE, request_id=LOGIN_REQUEST, serial=request_id
            )
        }
        desk = self.logins.desk(**given | changes)
        self.house.exchanges._handlers = {**HANDLERS, **LoginHandlers(desk).as_mapping()}

    def ask(self, body: QuestionBody, *, seconds: float = 20) -> AnswerBody:
        asked = self.put(body)
        end = time.monotonic() + seconds
        while (found := self.door.answer(*asked)) is None:
            assert time.monotonic() < end, "no answer"
            self.house.exchanges.run_once()
            time.sleep(0.01)
        return found

    def put(self, body: QuestionBody) -> tuple[str, Any]:
        return self.door.put(body)

    @property
    def door(self) -> Wallet:
        """The door's own questions have no grant."""
        wallet = Wallet(self.house, "", profile="p2", count=1)
        wallet.grant = None  # type: ignore[assignment]
        return wallet

    def log_in(self, card: str) -> AnswerBody:
        session = new_id()
        sent = self.ask(LoginStart(session, CONFIGURATION))
        assert isinstance(sent, Redirect), sent
        browser = self.logins.browse(sent.location, card)
        return self.ask(LoginFinish(session, browser.query))


@pytest.fixture
def scene(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    provider = make_wallet_provider(NOW)
    settings = WalletSettings(PUBLIC_URL, CITY, ("p1", "p2"), frozenset(), providers=(provider.anchor,))
    for house in wallet_house(tmp_path, tmp_path_factory, settings=settings):
        key = parse_jwk(dict(house.keys._signer.public(LOGIN_PURPOSE).jwk))
        with login_rooms(house.rooms, registered=key) as logins:
            scene = Scene(house, logins, provider)
            scene.serve()
            yield scene


def test_from_login_to_credentials(scene: Scene) -> None:
    house, rooms = scene.house, scene.house.rooms
    person = rooms.people[0]
    phone = rooms.registered(person)
    answer = scene.log_in(scene.logins.card(person))
    assert isinstance(answer, Granted), answer
    wallet = Wallet(house, answer.grant, profile="p2", dpop=base64url_encode(bytes(32)), count=10)
    attestation = scene.provider.key_attestation(wallet.keys, rooms.clock())
    got = credentials(wallet.ask(wallet.request(header={"key_attestation": attestation})))
    assert len(got) == 10
    told = [body.code for _, body in rooms.answers(phone.account) if isinstance(body, Notice)]
    assert told == ["new-login", "wallet-copy"]


def test_the_signer_signs_the_assertion_with_a_key_of_its_own(scene: Scene) -> None:
    """The login key signs by an authorisation for its purpose only, and no other key signs for a login."""
    keys = scene.house.keys
    assert len(keys.signing(LOGIN_PURPOSE, request_id=LOGIN_REQUEST, serial="s")(b"d" * 32)) == 64
    gate, signer = keys._gate, keys._signer
    wish = {"digest": b"e" * 32, "request_id": LOGIN_REQUEST, "serial": "s"}
    for other in ("statement", "status_list"):
        made = gate.authorise(purpose=other, **wish)
        with pytest.raises(SignerError):
            signer.sign(
                LOGIN_PURPOSE, wish["digest"], request_id=LOGIN_REQUEST, serial="s", authorisation=made
            )


def test_a_slow_provider_holds_up_nobody_else(scene: Scene) -> None:
    hold = threading.Event()

    def slow(*_given: Any) -> Any:
        hold.wait(20)
        raise OSError("no answer")

    scene.serve(post=slow)
    card, session = scene.logins.card(scene.house.rooms.people[0]), new_id()
    sent = scene.ask(LoginStart(session, CONFIGURATION))
    assert isinstance(sent, Redirect)
    browser = scene.logins.browse(sent.location, card)
    asked = scene.put(LoginFinish(session, browser.query))
    scene.house.exchanges.run_once()
    assert isinstance(scene.ask(LoginStart(new_id(), CONFIGURATION), seconds=5), Redirect)
    assert scene.door.answer(*asked) is None
    hold.set()
    end = time.monotonic() + 20
    while (found := scene.door.answer(*asked)) is None and time.monotonic() < end:
        scene.house.exchanges.run_once()
        time.sleep(0.01)
    assert isinstance(found, Denied)
    assert found.error == "temporarily_unavailable"


def test_a_login_nobody_waits_for_any_more_opens_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers_module, "FINISH_SECONDS", 0.3)
    hold, done, honest = threading.Event(), threading.Event(), scene.logins.desk()._post

    def slow(*given: Any) -> Any:
        hold.wait(20)
        return honest(*given)

    def late(*given: Any) -> Any:
        done.set()
        return scene.logins.desk()._get(*given)

    scene.serve(post=slow, get=late)
    answer = scene.log_in(scene.logins.card(scene.house.rooms.people[0]))
    assert isinstance(answer, Denied)
    assert answer.error == "temporarily_unavailable"
    hold.set()
    assert done.wait(20), "the return went on to the end of its way"
    time.sleep(0.2)
    assert scene.house.rooms.rows("SELECT * FROM wallet_grants") == []
    assert scene.house.rooms.gate_rows("SELECT * FROM authorised_requests") == []


def test_too_many_returns_at_once_are_told_to_come_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers_module, "MAX_BUSY", 1)
    hold = threading.Event()

    def slow(*_given: Any) -> Any:
        hold.wait(20)
        raise OSError("no answer")

    scene.serve(post=slow)
    card, session = scene.logins.card(scene.house.rooms.people[0]), new_id()
    sent = scene.ask(LoginStart(session, CONFIGURATION))
    assert isinstance(sent, Redirect)
    asked = scene.put(LoginFinish(session, scene.logins.browse(sent.location, card).query))
    scene.house.exchanges.run_once()
    answer = scene.ask(LoginFinish(new_id(), "state=s&code=c"))
    assert isinstance(answer, Denied)
    assert answer.error == "temporarily_unavailable"
    hold.set()
    end = time.monotonic() + 20
    while scene.door.answer(*asked) is None and time.monotonic() < end:
        scene.house.exchanges.run_once()
        time.sleep(0.01)
    answer = scene.ask(LoginFinish(new_id(), "state=s&code=c"))
    assert isinstance(answer, Denied)
    assert answer.error == "access_denied", "the place is free again"


def test_without_a_provider_nobody_answers(scene: Scene) -> None:
    scene.house.exchanges._handlers = dict(HANDLERS)
    answer = scene.ask(LoginStart(new_id(), CONFIGURATION))
    assert isinstance(answer, Denied)


@pytest.mark.parametrize(
    ("moment", "year"),
    [("2026-05-31T14:59:59", 2025), ("2026-05-31T15:00:00", 2026), ("2027-01-01T00:00:00", 2026)],
)
def test_the_fiscal_year_begins_in_june_in_japan(moment: str, year: int) -> None:
    from datetime import UTC, datetime

    assert issuable_fiscal_year(datetime.fromisoformat(moment).replace(tzinfo=UTC)) == year
