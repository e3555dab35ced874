"""The store is away or broken: 503 with Retry-After, never 500 and never a lost or invented answer. And the
sweep.
"""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from app.errors import UnavailableError
from mobile_api.application import start_sweeper
from mobile_api.door import EXTENSION, Door
from mobile_api.errors import DoorUnavailable
from mobile_api.store.sweep import sweep
from tests.support.door_house import CITY, FakeCard, House, make_house


@pytest.fixture
def house(tmp_path: Path) -> House:
    return make_house(tmp_path)


def break_store(house: House) -> None:
    """Overwrite the database file: what a failed disk looks like."""
    house.app.extensions[EXTENSION].store.close()
    path = Path(house.settings.database_url.removeprefix("sqlite:///"))
    for extra in path.parent.glob("door.sqlite-*"):
        extra.unlink()
    path.write_bytes(b"this is no database" * 1000)


def test_a_broken_store_is_503_everywhere(house: House) -> None:
    phone = house.registered_phone()
    break_store(house)
    client = house.app.test_client()
    for path in ("/readyz", "/v1/requests/aaaaaaaaaa"):
        answer = client.get(path)
        assert (answer.status_code, answer.json["code"]) == (503, "store-away"), path
        assert int(answer.headers["Retry-After"]) > 0
        assert b"no database" not in answer.data
    with pytest.raises(UnavailableError):
        house.city.mailbox.take()
    with pytest.raises(DoorUnavailable):
        phone.request_certificate(2026, "", FakeCard(), "1234")
    assert client.get("/healthz").status_code == 200


def test_public_files_outlive_the_store(house: House) -> None:
    house.city.mailbox.put_public(f"{CITY}/status/0", b"token")
    break_store(house)
    assert house.app.test_client().get(f"/{CITY}/status/0").data == b"token"


def test_a_locked_store_is_503(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    door: Door = house.app.extensions[EXTENSION]
    with door.store.writer.connect() as connection:
        # The real waiting time is 20 s; here the lock is held for ever.
        connection.rollback()
    path = house.settings.database_url.removeprefix("sqlite:///")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with door.store.writer.connect() as connection:
        connection.connection.dbapi_connection.execute("PRAGMA busy_timeout=10")
    try:
        assert house.app.test_client().get("/readyz").status_code == 503
    finally:
        other.rollback()
        other.close()
    assert house.app.test_client().get("/readyz").status_code == 200


def test_the_phone_goes_on_after_the_outage(house: House) -> None:
    phone = house.registered_phone()
    door: Door = house.app.extensions[EXTENSION]
    with sqlite3.connect(house.settings.database_url.removeprefix("sqlite:///")) as database:
        database.execute("ALTER TABLE envelopes RENAME TO away")
    card = FakeCard()
    with pytest.raises(DoorUnavailable):
        phone.request_certificate(2026, "", card, "1234")
    with sqlite3.connect(house.settings.database_url.removeprefix("sqlite:///")) as database:
        database.execute("ALTER TABLE away RENAME TO envelopes")
    door.store.close()
    request = phone.request_certificate(2026, "", card, "1234")
    assert list(phone.wait(request))[-1] == "ready"
    assert len(house.city.requests) == 1
    assert len(card.signed) == 1


def test_readiness_needs_a_writable_directory(house: House) -> None:
    assert house.app.test_client().get("/readyz").status_code == 200
    house.settings.public_dir.rmdir()
    assert house.app.test_client().get("/readyz").json["code"] == "files-away"


# Sweep


def test_the_sweep_keeps_times(house: House) -> None:
    door: Door = house.app.extensions[EXTENSION]
    phone = house.registered_phone()
    request = phone.request_certificate(2026, "", FakeCard(), "1234")
    list(phone.wait(request))
    swept = sweep(door.store, door.settings, house.clock())
    assert (swept.packages, swept.answers, swept.envelopes, swept.nonces) == (0, 0, 0, 0)
    # Fetched by the phone but not deleted by it: gone an hour later.
    path = f"/v1/accounts/{phone.account}/packages/package-request-000000000000"
    assert phone._door.call("GET", path, proof=phone._proof).status == 200
    house.clock.forward(minutes=59)
    swept = sweep(door.store, door.settings, house.clock())
    assert (swept.packages, swept.tokens > 0) == (0, True)
    house.clock.forward(minutes=1)
    assert sweep(door.store, door.settings, house.clock()).packages == 1
    house.clock.forward(days=31)
    swept = sweep(door.store, door.settings, house.clock())
    assert swept.answers == 8
    assert swept.nonces == 48


def test_unfetched_packages_and_envelopes_go_too(house: House) -> None:
    door: Door = house.app.extensions[EXTENSION]
    phone = house.registered_phone()
    list(phone.wait(phone.request_certificate(2026, "", FakeCard(), "1234")))
    phone.request_certificate(2025, "", FakeCard(), "1234")
    house.clock.forward(days=7)
    assert sweep(door.store, door.settings, house.clock()).envelopes == 1
    house.clock.forward(days=23)
    assert sweep(door.store, door.settings, house.clock()).packages == 1


def test_ended_requests_go_with_everything_under_them(house: House) -> None:
    from tests.unit.test_mobile_api_submissions import Desk

    door: Door = house.app.extensions[EXTENSION]
    desk = Desk(house, life=timedelta(days=2)).create()
    receipt = desk.upload(desk.package(b"one")).json["receipt"]
    desk.upload(desk.package(b"two"))
    desk.call("GET", f"{desk.path}/{receipt}")
    house.clock.forward(days=1)
    assert sweep(door.store, door.settings, house.clock()).submissions == 1
    house.clock.forward(days=1)
    swept = sweep(door.store, door.settings, house.clock())
    assert (swept.submissions, swept.requests) == (1, 1)


def test_the_sweeper_outlives_an_outage(tmp_path: Path) -> None:
    import time

    house = make_house(tmp_path, sweep_interval=1)
    break_store(house)
    stop = start_sweeper(house.app)
    time.sleep(0.3)
    import threading

    assert any(thread.name == "akashi-door-sweeper" for thread in threading.enumerate())
    stop.set()
