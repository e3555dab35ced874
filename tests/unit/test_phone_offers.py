"""The phone asks for an offer to a wallet: killed at any point it goes on, and what it believes is signed for it.

Kills are exceptions that no code of ours catches, at every HTTP call and every write of the state. About 5 s.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mobile_api.client import CityRefused, OfferWish, StateError
from mobile_api.door_client import Reply
from mobile_api.messages import DeviceRequest, OfferReady, Refused, RequestOffer
from mobile_api.phone_home import PhoneHome
from tests.support.door_house import PASSWORDS, FakeCard, FakeCity, House, make_house

WISH = OfferWish(2026, "住宅ローン", copies=3)


class Killed(BaseException):
    """SIGKILL."""


class Offering:
    """Lets the fake city answer offers: the same wish the same offer, as the real one does."""

    def __init__(self, city: FakeCity) -> None:
        self.city = city
        self.offers: dict[str, OfferReady] = {}
        self.no: Refused | None = None
        self._dispatch = city._dispatch
        city._dispatch = self.dispatch  # type: ignore[method-assign]

    def dispatch(self, request: DeviceRequest) -> None:
        body = request.body
        if not isinstance(body, RequestOffer):
            self._dispatch(request)
            return
        if self.no is not None:
            self.city.answer(request, self.no)
            return
        if body.wish.idempotency_key not in self.offers:
            self.city._consume(body.statement)
        number = len(self.offers)
        link = f"openid-credential-offer://?credential_offer={number}"
        expires = self.city.clock() + timedelta(minutes=10)
        ready = self.offers.setdefault(
            body.wish.idempotency_key, OfferReady(link, f"{number:06d}", expires.replace(microsecond=0))
        )
        self.city.answer(request, ready)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return make_house(tmp_path)


def test_an_offer_and_its_code_come_to_this_phone(house: House) -> None:
    city = Offering(house.city)
    card = FakeCard()
    with house.phone() as phone:
        with pytest.raises(StateError, match="not-registered"):
            phone.request_offer(WISH, card, "1234")
        phone.sign_up(card, PASSWORDS)
        first = phone.request_offer(WISH, card, "1234")
        second = phone.request_offer(WISH, card, "1234")
    assert [first, second] == list(city.offers.values())
    assert first.offer != second.offer


def test_a_refusal_ends_the_wish(house: House) -> None:
    city = Offering(house.city)
    city.no = Refused("wallet-profile", "渡していません", "not issued", False)
    card = FakeCard()
    with house.phone() as phone:
        phone.sign_up(card, PASSWORDS)
        with pytest.raises(CityRefused, match="wallet-profile"):
            phone.request_offer(WISH, card, "1234")
        city.no = None
        assert phone.request_offer(WISH, card, "1234").tx_code == "000000"


def run(house: House, kill: Any, monkeypatch: pytest.MonkeyPatch) -> OfferReady:
    transport = house.transport()
    work = transport.before

    def before(method: str, url: str, body: bytes | None) -> None:
        kill()
        work(method, url, body)

    def after(_method: str, _url: str, reply: Reply) -> Reply:
        kill()
        return reply

    transport.before, transport.after = before, after
    real_write = PhoneHome.write

    def write(self: PhoneHome, name: str, content: bytes) -> Path:
        kill()
        path = real_write(self, name, content)
        kill()
        return path

    with monkeypatch.context() as patch:
        patch.setattr(PhoneHome, "write", write)
        with house.phone(transport=transport) as phone:
            return phone.request_offer(WISH, FakeCard(), "1234")


class KillAt:
    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


def test_killed_at_every_point_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = KillAt(10**9)
    house = make_house(tmp_path / "count")
    Offering(house.city)
    with house.phone() as phone:
        phone.sign_up(FakeCard(), PASSWORDS)
    run(house, counted, monkeypatch)
    points = 10**9 - counted.left
    assert points > 10
    ended_twice = 0
    for point in range(1, points + 1):
        house = make_house(tmp_path / f"{point}")
        city = Offering(house.city)
        with house.phone() as phone:
            phone.sign_up(FakeCard(), PASSWORDS)
        with pytest.raises(Killed):
            run(house, KillAt(point), monkeypatch)
        ready = run(house, KillAt(10**9), monkeypatch)
        assert ready in city.offers.values()
        ended_twice += len(city.offers) - 1
        house.clock.forward(minutes=11)
    # Only where the answer was taken in already and the phone died before it could show it is there a second offer.
    assert ended_twice <= 6
