"""A card that does not count gets nothing, whatever is asked for, and its holder reads why and what to do.

Revoked, suspended, expired, of another authority, or nobody can say: at registration and at each request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.counterparts.jpki.authority import MockJpki
from app.counterparts.jpki.profiles import new_key
from app.registers.card_attributes import card_attributes
from mobile_api.messages import Progress, Refused, Registered
from tests.support.city_rooms import CityRooms, Device, city_rooms
from tests.support.door_house import make_card

WHAT_TO_DO = ("窓口", "もう一度", "お使いください")
"""Each sentence names the next act: the counter, trying again, or the right card."""


@pytest.fixture
def rooms(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityRooms]:
    yield from city_rooms(tmp_path / "city", tmp_path_factory)


def revoked(rooms: CityRooms, card: str) -> None:
    rooms.jpki.revoke(card, "loss", now=rooms.clock())


def suspended(rooms: CityRooms, card: str) -> None:
    rooms.jpki.revoke(card, "suspension", now=rooms.clock())


def expired(rooms: CityRooms, _card: str) -> None:
    rooms.clock.forward(days=31)


def nobody_can_say(rooms: CityRooms, _card: str) -> None:
    rooms.status.down = True


CAUSES: dict[str, tuple[Callable[[CityRooms, str], None], str, bool]] = {
    # what happened → code of the refusal, whether trying again helps
    "revoked": (revoked, "card-certificate-revoked", False),
    "suspended": (suspended, "card-certificate-revoked", False),
    "expired": (expired, "card-certificate-expired", False),
    "unverifiable": (nobody_can_say, "card-status-unverifiable", True),
}


def short_lived(rooms: CityRooms) -> tuple[Device, str]:
    """A phone with a card of the first resident that expires in thirty days."""
    resident = rooms.people[0]
    until = rooms.clock() + timedelta(days=30)
    reader, issued = make_card(
        rooms.jpki, rooms.directory / "short.json", card_attributes(resident), rooms.clock(), not_after=until
    )
    return rooms.device(resident, card=reader), issued.card


def check_refused(rooms: CityRooms, answers: list[tuple[str, Any]], code: str, retry: bool) -> None:
    (answer,) = [body for _, body in answers]
    assert isinstance(answer, Refused)
    assert (answer.code, answer.retry) == (code, retry)
    assert any(word in answer.message_ja for word in WHAT_TO_DO), answer.message_ja
    assert len(answer.message_en.split(".")) > 2, "a reason and an act"
    assert rooms.rows("SELECT count(*) FROM requests") == [(0,)]
    assert rooms.gate_rows("SELECT count(*) FROM authorised_requests") == [(0,)]
    assert "record" not in rooms.direct.calls


@pytest.mark.parametrize("cause", CAUSES)
def test_no_registration(rooms: CityRooms, cause: str) -> None:
    happens, code, retry = CAUSES[cause]
    device, card = short_lived(rooms)
    happens(rooms, card)
    check_refused(rooms, device.send(device.register_body()), code, retry)
    assert rooms.gate_rows("SELECT count(*) FROM cards") == [(0,)]


@pytest.mark.parametrize("cause", CAUSES)
def test_no_certificate(rooms: CityRooms, cause: str) -> None:
    happens, code, retry = CAUSES[cause]
    device, card = short_lived(rooms)
    assert isinstance(device.send(device.register_body())[-1][1], Registered)
    happens(rooms, card)
    check_refused(rooms, device.send(device.request_body()), code, retry)


def test_a_card_of_another_authority_gets_nothing(rooms: CityRooms, tmp_path: Path) -> None:
    resident = rooms.people[0]
    stranger = MockJpki(tmp_path / "stranger", now=rooms.clock(), keys=new_key)
    reader, _ = make_card(stranger, tmp_path / "stranger.json", card_attributes(resident), rooms.clock())
    device = rooms.device(resident, card=reader)
    check_refused(rooms, device.send(device.register_body()), "card-wrong-authority", False)
    # A registered phone whose holder touches the stranger's card gets no more.
    good = rooms.registered(resident)
    good.card = reader
    check_refused(rooms, good.send(good.request_body()), "card-wrong-authority", False)


def test_the_same_card_in_order_gets_what_it_asks(rooms: CityRooms) -> None:
    """The control: nothing but the cause stands between these cards and a certificate."""
    device, _ = short_lived(rooms)
    assert isinstance(device.send(device.register_body())[-1][1], Registered)
    assert isinstance(device.send(device.request_body())[-1][1], Progress)
    assert rooms.rows("SELECT count(*) FROM requests") == [(1,)]
