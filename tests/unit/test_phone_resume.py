"""A phone that is killed at any point goes on where it was, and nothing happens twice.

Kills are exceptions that no code of ours catches, at every HTTP call (before and after it) and at every
write of the state. After each the phone is opened anew on the same directory. About 10 s, more on a busy machine: the way
is walked once for each point at which it can end.
"""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mobile_api.door_client import Reply
from mobile_api.errors import CityRefused, StateError
from mobile_api.messages import Refused
from mobile_api.phone_home import PhoneHome
from tests.support.door_house import PASSWORDS, FakeCard, House, make_house


class Killed(BaseException):
    """SIGKILL."""


class KillAt:
    """Raises at the n-th opportunity, once."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


def whole_way(house: House, kill: KillAt, monkeypatch: pytest.MonkeyPatch) -> str:
    """Sign up, request, wait, fetch in one life of the phone; returns the request id."""
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

    monkeypatch.setattr(PhoneHome, "write", write)
    try:
        with house.phone(transport=transport) as phone:
            phone.sign_up(FakeCard(), PASSWORDS)
            done = [entry["id"] for entry in phone.requests() if entry["state"] == "fetched"]
            request = done[0] if done else phone.request_certificate(2026, "住居手当", FakeCard(), "1234")
            assert list(phone.wait(request))[-1] == "ready"
            phone.fetch_package(request)
            assert phone.open(request) in house.city.bundles.values()
            return request
    finally:
        monkeypatch.setattr(PhoneHome, "write", real_write)


def count_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    kill = KillAt(10**9)
    whole_way(make_house(tmp_path / "count"), kill, monkeypatch)
    return 10**9 - kill.left


def test_killed_at_every_point_nothing_happens_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = count_points(tmp_path, monkeypatch)
    assert points > 40
    killed = 0
    for number in range(1, points + 1):
        house = make_house(tmp_path / f"house-{number}")
        try:
            whole_way(house, KillAt(number), monkeypatch)
        except Killed:
            killed += 1
        whole_way(house, KillAt(10**9), monkeypatch)
        assert len(house.city.accounts) == 1, number
        assert len(house.city.requests) == 1, number
        assert house.city.dropped == [], number
    assert killed == points


def test_the_same_wish_is_one_request(tmp_path: Path) -> None:
    house = make_house(tmp_path)
    card = FakeCard()
    with house.registered_phone() as phone:
        one = phone.request_certificate(2026, "a", card, "1234")
        assert phone.request_certificate(2026, "a", card, "1234") == one
        assert len(card.signed) == 1
        other = phone.request_certificate(2026, "b", card, "1234")
        assert other != one
        list(phone.wait(one))
        assert phone.request_certificate(2026, "a", card, "1234") == one
        phone.fetch_package(one)
        # Finished: the same wish again is a new one.
        assert phone.request_certificate(2026, "a", card, "1234") != one


def test_the_newest_request_is_the_last_also_after_a_restart(tmp_path: Path) -> None:
    house = make_house(tmp_path)
    purposes = [f"purpose {number}" for number in range(8)]
    with house.registered_phone() as phone:
        for purpose in purposes:
            phone.request_certificate(2026, purpose, FakeCard(), "1234")
        assert [entry["purpose"] for entry in phone.requests()] == purposes
    with house.phone() as phone:
        assert [entry["purpose"] for entry in phone.requests()] == purposes


def test_a_refusal_at_the_start_is_tried_again_with_the_same_key(tmp_path: Path) -> None:
    house = make_house(tmp_path)
    with house.registered_phone() as phone:
        house.city.nonces.clear()
        one = phone.request_certificate(2026, "", FakeCard(), "1234")
        with pytest.raises(CityRefused) as refused:
            list(phone.wait(one))
        assert refused.value.retry
        house.city.stock()
        # Old nonces are still first in the door's stock: they are refused one after the other.
        for _ in range(60):
            assert phone.request_certificate(2026, "", FakeCard(), "1234") == one
            try:
                assert list(phone.wait(one))[-1] == "ready"
                break
            except CityRefused:
                continue
        assert phone.requests()[0]["state"] == "ready"


def test_a_final_refusal_makes_a_new_request(tmp_path: Path) -> None:
    house = make_house(tmp_path)
    with house.registered_phone() as phone:
        one = phone.request_certificate(2026, "", FakeCard(), "1234")
        house.city.refusals[one] = Refused("counter", "窓口へ", "counter", False)
        with pytest.raises(CityRefused):
            list(phone.wait(one))
        assert phone.request_certificate(2026, "", FakeCard(), "1234") != one


def test_a_refused_registration_can_be_tried_again(tmp_path: Path) -> None:
    house = make_house(tmp_path)
    house.city.nonces.clear()
    with house.phone() as phone:
        with pytest.raises(CityRefused):
            phone.sign_up(FakeCard(), PASSWORDS)
        assert not phone.is_registered
        house.city.nonces.update(_stock_at_door(house))
        phone.sign_up(FakeCard(), PASSWORDS)
        assert phone.is_registered
        phone.sign_up(FakeCard(), PASSWORDS)
        assert len(house.city.accounts) == 1


def test_files_are_private_and_the_home_has_one_user(tmp_path: Path) -> None:
    house = make_house(tmp_path)
    with house.registered_phone() as phone:
        phone.request_certificate(2026, "", FakeCard(), "1234")
        for path in (tmp_path / "phone").rglob("*"):
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), path
        with pytest.raises(StateError, match="in-use"):
            house.phone()
    house.phone().close()


@pytest.mark.parametrize(
    ("file", "content", "code"),
    [
        ("state.json", b"{", "damaged"),
        ("state.json", b'{"v":2}', "other-version"),
        ("signing-key.pem", b"x", "damaged"),
        ("signing-key.pem", None, "key-missing"),
    ],
)
def test_a_damaged_home_says_so(tmp_path: Path, file: str, content: bytes | None, code: str) -> None:
    house = make_house(tmp_path)
    house.registered_phone().close()
    path = tmp_path / "phone" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StateError, match=code):
        house.phone()
    # The lock is free again.
    with pytest.raises(StateError, match=code):
        house.phone()


def _stock_at_door(house: House) -> set[str]:
    import sqlite3

    with sqlite3.connect(house.settings.database_url.removeprefix("sqlite:///")) as database:
        return {row[0] for row in database.execute("SELECT nonce FROM nonces")}
