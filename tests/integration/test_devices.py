"""Devices: told to the others before a new one's first package, listed, stopped, and locked to the counter."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.delivery.notice_mail import NoticeMailer
from app.errors import CityError, UnavailableError
from app.issuance import walk as walk_module
from app.mandates.following import follow_events
from app.registers.events import ProtectionSet
from app.registers.resident import Resident
from app.revocation.protection import follow_changes
from app.storage import announcements
from app.storage.announcements import ANNOUNCE_SECONDS, MAIL_PATIENCE, MAIL_SECONDS
from app.wallets.settings import WalletSettings
from mobile_api.client import CityRefused, Phone
from mobile_api.messages import (
    ConfirmMail,
    Devices,
    ListDevices,
    LockDevices,
    Notice,
    PackageReady,
    StopDevice,
)
from tests.support.city_rooms import CityRooms, Device, city_rooms
from tests.support.city_walk import Street, make_walk
from tests.support.door_house import CITY, PASSWORDS, PUBLIC_URL
from tests.support.mandate_world import word
from verifier.formats.jose import thumbprint


@pytest.fixture
def rooms(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityRooms]:
    yield from city_rooms(tmp_path, tmp_path_factory)


def unannounced(rooms: CityRooms, person: Resident, **options: Any) -> Device:
    """A phone after its registration, as the sender has not run yet."""
    return rooms.registered(person, announced=False, **options)


def kid(device: Device) -> str:
    return thumbprint(device.signing.public_key())


def listed(device: Device) -> Devices:
    ((_, body),) = device.send(ListDevices())
    assert isinstance(body, Devices)
    return body


def packages(rooms: CityRooms, device: Device) -> int:
    return sum(isinstance(body, PackageReady) for _, body in rooms.answers(device.account))


def say_sent(rooms: CityRooms, account: str) -> None:
    """As the sender does when the door has confirmed."""
    with rooms.store.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE outbox SET sent_at = ?, body = x'' WHERE account = ? AND kind = 'answer'",
            (rooms.at, account),
        )


# ---- announced before the first package -----------------------------------------------------------------------------


def test_a_new_phones_first_package_waits_for_the_announcement(rooms: CityRooms) -> None:
    """The sender is stopped: nothing is on the street door, so nothing is handed over."""
    person = rooms.people[0]
    old = unannounced(rooms, person)
    new = unannounced(rooms, person)
    assert word(new.send(new.request_body()), new.account) == "Progress"
    walk = make_walk(rooms)
    for _ in range(5):
        walk.run_once()
        rooms.clock.forward(minutes=10)
    assert rooms.rows("SELECT state FROM requests") == [("logged",)]
    assert rooms.rows("SELECT count(*) FROM outbox WHERE kind = 'package'") == [(0,)]
    say_sent(rooms, old.account)
    walk.run_once()
    assert packages(rooms, new) == 1


def test_a_first_phone_and_the_old_phone_wait_for_nobody(rooms: CityRooms) -> None:
    old = unannounced(rooms, rooms.people[0])
    unannounced(rooms, rooms.people[0])
    old.send(old.request_body())
    make_walk(rooms).run_once()
    assert packages(rooms, old) == 1


def test_control_a_walk_that_does_not_ask_is_caught(
    rooms: CityRooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    unannounced(rooms, rooms.people[0])
    new = unannounced(rooms, rooms.people[0])
    new.send(new.request_body())
    monkeypatch.setattr(walk_module, "is_announced", lambda *_a, **_m: True)
    make_walk(rooms).run_once()
    assert packages(rooms, new) == 1


def test_announced_to_every_other_device_and_each_must_have_it(rooms: CityRooms) -> None:
    person = rooms.people[0]
    olds = [unannounced(rooms, person) for _ in range(3)]
    for old in olds:
        say_sent(rooms, old.account)
    new = unannounced(rooms, person)
    new.send(new.request_body())
    walk = make_walk(rooms)
    for old in olds:
        walk.run_once()
        assert packages(rooms, new) == 0
        (notice,) = [b for _, b in rooms.answers(old.account) if isinstance(b, Notice)]
        assert notice.code == "new-device"
        say_sent(rooms, old.account)
        rooms.clock.forward(minutes=1)
    walk.run_once()
    assert packages(rooms, new) == 1


def test_a_stopped_phone_is_told_but_not_waited_for(rooms: CityRooms) -> None:
    person = rooms.people[0]
    lost, kept = unannounced(rooms, person), unannounced(rooms, person)
    say_sent(rooms, lost.account)
    kept.send(StopDevice(kid(lost)))
    new = unannounced(rooms, person)
    assert [b.code for _, b in rooms.answers(lost.account) if isinstance(b, Notice)] == ["new-device"]
    say_sent(rooms, kept.account)
    new.send(new.request_body())
    make_walk(rooms).run_once()
    assert packages(rooms, new) == 1


def test_a_door_that_forgot_the_old_phone_does_not_keep_the_new_one_waiting_for_ever(
    rooms: CityRooms,
) -> None:
    unannounced(rooms, rooms.people[0])
    new = unannounced(rooms, rooms.people[0])
    new.send(new.request_body())
    walk = make_walk(rooms)
    rooms.clock.forward(seconds=ANNOUNCE_SECONDS - 60)
    walk.run_once()
    assert packages(rooms, new) == 0
    rooms.clock.forward(seconds=120)
    walk.run_once()
    assert packages(rooms, new) == 1


def test_announcement_and_binding_are_one_transaction(
    rooms: CityRooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any statement of the registration: either both or neither; handled again, there is one of each."""
    from app.issuance import registering

    old = unannounced(rooms, rooms.people[0])
    new = rooms.device(rooms.people[0])
    envelope = new.envelope(new.register_body())

    def dies(*_a: object, **_m: object) -> None:
        raise KeyboardInterrupt

    for place in ("store_account", "find_account"):
        with monkeypatch.context() as patch:
            patch.setattr(registering.account_store, place, dies)
            with pytest.raises(KeyboardInterrupt):
                rooms.intake.handle(envelope)
        assert [b for _, b in rooms.answers(old.account) if isinstance(b, Notice)] == []
        assert rooms.rows("SELECT count(*) FROM accounts") == [(1,)]
    rooms.deliver(envelope)
    assert len([b for _, b in rooms.answers(old.account) if isinstance(b, Notice)]) == 1
    assert rooms.rows("SELECT count(*) FROM accounts") == [(2,)]


def test_an_offer_to_a_wallet_waits_like_a_package(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A new phone gets copies for wallets no sooner than a package; the message stays and is handled when they know."""
    wallets = WalletSettings(PUBLIC_URL, CITY, ("p1",), frozenset())
    for rooms in city_rooms(tmp_path, tmp_path_factory, wallets=wallets):
        old, new = unannounced(rooms, rooms.people[0]), unannounced(rooms, rooms.people[0])
        envelope = new.envelope(new.offer_body())
        with pytest.raises(UnavailableError, match="announcement"):
            rooms.deliver(envelope)
        assert rooms.rows("SELECT count(*) FROM wallet_grants") == [(0,)]
        say_sent(rooms, old.account)
        rooms.intake.handle(envelope)
        assert rooms.rows("SELECT account FROM wallet_grants") == [(new.account,)]


# ---- the notice channel ------------------------------------------------------------------------------------------------


def with_mail(rooms: CityRooms, person: int, mail: str, *, confirmed: bool = True) -> Device:
    device = rooms.device(rooms.people[person])
    device.send(device.register_body(mail=mail))
    if confirmed:
        device.send(ConfirmMail(rooms.mails[-1][1]))
    return device


class Post:
    """Takes mails, or is away."""

    def __init__(self, rooms: CityRooms) -> None:
        self.sent: list[str] = []
        self.away = False
        self.mailer = NoticeMailer(rooms.store, self.tell, clock=rooms.clock)

    def tell(self, address: str) -> None:
        if self.away:
            raise UnavailableError("mail")
        self.sent.append(address)


def test_a_confirmed_address_is_told_once(rooms: CityRooms) -> None:
    post = Post(rooms)
    with_mail(rooms, 0, "hanako@mail.example")
    with_mail(rooms, 0, "hanako@mail.example")
    with_mail(rooms, 1, "other@mail.example")
    post.mailer.send_due()
    post.sent.clear()
    unannounced(rooms, rooms.people[0])
    assert post.mailer.send_due() == 1
    assert post.sent == ["hanako@mail.example"]
    assert post.mailer.send_due() == 0


def test_an_unconfirmed_address_is_not_told(rooms: CityRooms) -> None:
    """Somebody typed a stranger's address: nobody writes to it but the code."""
    post = Post(rooms)
    with_mail(rooms, 0, "stranger@mail.example", confirmed=False)
    unannounced(rooms, rooms.people[0])
    assert post.mailer.send_due() == 0
    assert post.sent == []


def test_a_mail_outage_holds_up_nothing(rooms: CityRooms) -> None:
    post = Post(rooms)
    old = with_mail(rooms, 0, "hanako@mail.example")
    say_sent(rooms, old.account)
    new = unannounced(rooms, rooms.people[0])
    say_sent(rooms, old.account)
    new.send(new.request_body())
    walk, post.away = make_walk(rooms), True
    walk.run_once()
    assert packages(rooms, new) == 0  # not tried yet
    post.mailer.send_due()
    rooms.clock.forward(seconds=10)
    walk.run_once()
    assert packages(rooms, new) == 1
    # It is sent when the server is back; pauses grow, and after a week it is given up.
    post.away = False
    assert post.mailer.send_due() == 0
    rooms.clock.forward(minutes=1)
    assert post.mailer.send_due() == 1


def test_a_mailer_that_never_runs_holds_up_some_minutes_only(rooms: CityRooms) -> None:
    old = with_mail(rooms, 0, "hanako@mail.example")
    new = unannounced(rooms, rooms.people[0])
    say_sent(rooms, old.account)
    new.send(new.request_body())
    rooms.clock.forward(seconds=MAIL_PATIENCE + 10)
    make_walk(rooms).run_once()
    assert packages(rooms, new) == 1


def test_a_mail_is_given_up_after_a_week(rooms: CityRooms) -> None:
    post = Post(rooms)
    with_mail(rooms, 0, "hanako@mail.example")
    unannounced(rooms, rooms.people[0])
    post.away, tries = True, 0
    for _ in range(400):
        before = rooms.rows("SELECT attempts FROM notice_mails")
        post.mailer.send_due()
        tries += before != rooms.rows("SELECT attempts FROM notice_mails")
        rooms.clock.forward(hours=1)
    assert rooms.rows("SELECT count(*) FROM notice_mails") == [(0,)]
    assert 100 < tries < MAIL_SECONDS // 3600 + 10


def test_the_mail_says_nothing_about_a_person(tmp_path: Path) -> None:
    from app.counterparts.mail.server import MockMailServer, read_mails
    from app.delivery.confirmation_mail import ConfirmationMail

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = MockMailServer(tmp_path, profile="demo", port=port)
    server.start()
    try:
        ConfirmationMail(f"127.0.0.1:{port}").tell_new_device("hanako@mail.example")
        (mail,) = read_mails(tmp_path)
    finally:
        server.stop()
    text = mail.get_payload(decode=True).decode("utf-8")
    assert "新しいスマートフォンが登録されました" in text
    assert "A new phone was registered with your card" in text
    assert "見本市" not in text
    with pytest.raises(UnavailableError):
        ConfirmationMail("127.0.0.1:9").tell_new_device("hanako@mail.example")


def test_addresses_are_not_copied(rooms: CityRooms) -> None:
    with_mail(rooms, 0, "hanako@mail.example")
    unannounced(rooms, rooms.people[0])
    assert "hanako" not in str(rooms.rows("SELECT * FROM notice_mails"))
    assert rooms.rows("SELECT count(*) FROM notice_mails") == [(1,)]


# ---- list and stop -----------------------------------------------------------------------------------------------------


def test_the_list(rooms: CityRooms) -> None:
    person = rooms.people[0]
    first = unannounced(rooms, person)
    rooms.clock.forward(days=1)
    second = unannounced(rooms, person)
    unannounced(rooms, rooms.people[1])
    found = listed(second)
    assert [(e.thumbprint, e.state, e.this) for e in found.devices] == [
        (kid(first), "active", False),
        (kid(second), "active", True),
    ]
    assert found.devices[1].added_at - found.devices[0].added_at == timedelta(days=1)
    assert not found.locked
    second.send(StopDevice(kid(first)))
    assert [e.state for e in listed(second).devices] == ["stopped", "active"]


def test_a_frozen_phone_reads_as_active(rooms: CityRooms) -> None:
    device = unannounced(rooms, rooms.people[0])
    before = listed(device)
    rooms.registers.record_event(ProtectionSet(rooms.people[0].resident_id), rooms.clock())
    follow_changes(rooms.store, rooms.direct, at=rooms.at)  # type: ignore[arg-type]
    assert rooms.rows("SELECT state FROM accounts") == [("frozen",)]
    assert listed(device) == before


def test_stopping_takes_back_what_was_not_fetched(rooms: CityRooms) -> None:
    person = rooms.people[0]
    kept = unannounced(rooms, person)
    lost = unannounced(rooms, person)
    say_sent(rooms, kept.account)
    for device in (kept, lost):
        device.send(device.request_body())
    make_walk(rooms).run_once()
    assert (packages(rooms, kept), packages(rooms, lost)) == (1, 1)
    kept.send(StopDevice(kid(lost)))
    taken = rooms.rows("SELECT account FROM outbox WHERE kind = 'withdrawal'")
    assert taken == [(lost.account,)]
    states = dict(rooms.rows("SELECT account, state FROM requests"))
    assert states == {kept.account: "released", lost.account: "withdrawn"}
    # Again changes nothing.
    kept.send(StopDevice(kid(lost)))
    assert rooms.rows("SELECT count(*) FROM outbox WHERE kind = 'withdrawal'") == [(1,)]


def test_a_strangers_phone_takes_nothing_back(rooms: CityRooms) -> None:
    device, stranger = unannounced(rooms, rooms.people[0]), unannounced(rooms, rooms.people[1])
    device.send(device.request_body())
    make_walk(rooms).run_once()
    stranger.send(StopDevice(kid(device)))
    assert rooms.rows("SELECT count(*) FROM outbox WHERE kind = 'withdrawal'") == [(0,)]


# ---- locked to the counter ---------------------------------------------------------------------------------------------


def unlock(rooms: CityRooms, **changes: str) -> bool:
    values = {"staff": "counter-1", "second": "counter-2", "reason": "本人が来庁、免許証で確認"} | changes
    return rooms.gate.counter.unlock_devices(resident_id=rooms.people[0].resident_id, **values)


def test_a_locked_binding_takes_no_new_phone_until_the_counter_unlocks_it(rooms: CityRooms) -> None:
    person = rooms.people[0]
    first = unannounced(rooms, person)
    assert word(first.send(LockDevices()), first.account) == "devices-locked"
    assert listed(first).locked
    again = rooms.device(person, card=first.card)
    assert word(again.send(again.register_body()), again.account) == "counter"
    other_card = rooms.device(person)
    assert word(other_card.send(other_card.register_body()), other_card.account) == "counter"
    assert rooms.rows("SELECT count(*) FROM accounts") == [(1,)]
    # Others are not locked, and the phone itself goes on.
    unannounced(rooms, rooms.people[1])
    assert word(first.send(first.request_body()), first.account) == "Progress"
    assert unlock(rooms)
    unannounced(rooms, person, card=first.card)
    assert not listed(first).locked
    assert not unlock(rooms)


def test_locking_twice_is_one_line_and_both_acts_are_told(rooms: CityRooms) -> None:
    first = unannounced(rooms, rooms.people[0])
    first.send(LockDevices())
    first.send(LockDevices())
    unlock(rooms)
    follow_events(rooms.store, rooms.direct, at=rooms.at)  # type: ignore[arg-type]
    codes = [b.code for _, b in rooms.answers(first.account) if isinstance(b, Notice)]
    assert codes == ["devices-locked", "devices-locked", "devices-locked", "devices-unlocked"]
    assert rooms.gate_rows("SELECT count(*) FROM gate_events WHERE what = 'devices-locked'") == [(1,)]


def test_the_refusal_is_word_for_word_that_of_innocent_causes(rooms: CityRooms) -> None:
    from app.claims.refusals import COUNTER
    from mobile_api.messages import Refused

    first = unannounced(rooms, rooms.people[0])
    first.send(LockDevices())
    again = rooms.device(rooms.people[0], card=first.card)
    ((_, body),) = again.send(again.register_body())
    assert body == Refused(COUNTER.code, COUNTER.ja, COUNTER.en, COUNTER.retry)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"second": "counter-1"}, "one-person"),
        ({"second": ""}, "bad-staff"),
        ({"staff": "a b"}, "bad-staff"),
        ({"reason": "  "}, "no-reason"),
        ({"reason": "x" * 201}, "no-reason"),
        ({"reason": "a\nb"}, "no-reason"),
    ],
    ids=["one-person", "nobody", "form", "no-reason", "long", "two-lines"],
)
def test_unlocking_needs_two_people_and_a_reason(rooms: CityRooms, changes: dict, code: str) -> None:
    first = unannounced(rooms, rooms.people[0])
    first.send(LockDevices())
    with pytest.raises(CityError, check=lambda error: error.code == code):
        unlock(rooms, **changes)
    assert listed(first).locked
    assert rooms.gate_rows("SELECT count(*) FROM counter_acts") == [(0,)]


def test_an_act_of_the_counter_is_kept(rooms: CityRooms) -> None:
    first = unannounced(rooms, rooms.people[0])
    first.send(LockDevices())
    unlock(rooms)
    rows = rooms.gate_rows("SELECT what, staff, second, reason FROM counter_acts")
    assert rows == [("unlock-devices", "counter-1", "counter-2", "本人が来庁、免許証で確認")]


# ---- real phones, a real door --------------------------------------------------------------------------------------------


@pytest.fixture
def street(rooms: CityRooms, tmp_path: Path) -> Street:
    return Street(rooms, tmp_path / "street")


def sign_up(street: Street, name: str, card: object) -> Phone:
    phone = street.phone(name)
    phone.sign_up(card, PASSWORDS)  # type: ignore[arg-type]
    return phone


def test_a_real_phone_sees_and_stops_a_new_one(street: Street) -> None:
    card = street.rooms.card(street.rooms.people[0])
    with sign_up(street, "one", card) as one, sign_up(street, "two", card) as two:
        found = one.devices.list(10)["devices"]
        assert sorted(entry["this"] for entry in found) == [False, True]
        assert [notice["code"] for notice in one.notices()] == ["new-device"]
        with pytest.raises(Exception, match="which-device"):
            one.stop_device("????")
        one.stop_device(two.signing_thumbprint[:8])
        with pytest.raises(CityRefused, match="stopped"):
            two.devices.list(10)
        one.devices.lock(10)
        assert one.devices.list(10)["locked"]
        three = street.phone("three")
        with three, pytest.raises(CityRefused, match="counter"):
            three.sign_up(card, PASSWORDS)


def test_the_announcement_is_on_the_door_before_the_package(street: Street) -> None:
    """With the sender off for a while, as in an outage; the door's own store says what came first."""
    card = street.rooms.card(street.rooms.people[0])
    with sign_up(street, "one", card) as one, sign_up(street, "two", card) as two:
        with street.rooms.store.begin() as connection:
            # As if the announcement had not gone out yet.
            connection.exec_driver_sql("UPDATE outbox SET sent_at = NULL WHERE item_id LIKE 'device-%'")
        street.sends = False
        request = two.request_certificate(2026, "", card, PASSWORDS.authentication)
        for _ in range(3):
            street.work()
            street.rooms.clock.forward(seconds=10)
        assert street.rooms.rows("SELECT state FROM requests") == [("logged",)]
        street.rooms.store.dispose()
        with street.rooms.store.begin() as connection:
            assert not announcements.is_announced(connection, two.account or "", at=street.rooms.at)
            connection.exec_driver_sql("UPDATE outbox SET sent_at = 1 WHERE item_id LIKE 'device-%'")
        street.sends = True
        path = two.receive(request, timeout=20)
        assert path.exists()
        assert one.devices.list(10)["devices"]
        assert [file.name for file in path.parent.iterdir()] == [path.name]
