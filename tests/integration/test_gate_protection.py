"""発行抑止: the answer reads like many innocent ones, a later flag takes undelivered packages back and freezes phones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from app.errors import GateError, Refusal, UnavailableError
from app.issuance.gatekeeper import check_subject
from app.issuance.states import State
from app.registers.events import Death, ProtectionLifted, ProtectionSet, ReviewSet
from app.registers.resident import Resident
from app.registers.subject import subject_digest
from app.revocation.protection import LYING_SECONDS, UNDELIVERED_SECONDS, follow_changes
from app.storage import accounts as account_store
from app.storage import certificates as certificate_store
from app.storage import requests as request_store
from app.storage.outbox import find_unsent, queue_item
from app.storage.status_entries import open_status_list
from mobile_api.messages import ConfirmMail, Refused, format_answer_body
from tests.support.city_rooms import CityRooms, Device, city_rooms
from verifier.formats.encoding import canonical_json


@pytest.fixture
def rooms(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityRooms]:
    yield from city_rooms(tmp_path, tmp_path_factory)


def release(rooms: CityRooms, device: Device, *, released_at: int | None = None) -> str:
    """A request of this device with a package at the door, as `walk` leaves it."""
    device.send(device.request_body())
    with rooms.store.begin() as connection:
        request = next(
            r
            for r in request_store.find_of_account(connection, device.account, 100)
            if r.state is State.ACCEPTED
        )
        open_status_list(connection, 1, size=1024)
        certificate_store.reserve(
            connection, request.request_id, issued_at=rooms.at, valid_until="2027-02-20"
        )
        for state in (State.RESERVED, State.SEALED, State.LOGGED, State.RELEASED):
            request_store.move(connection, request, state, at=rooms.at, step="test")
            request = request_store.find_request(connection, request.request_id) or request
        package = os.urandom(16).hex()
        queue_item(
            connection, kind="package", account=device.account, item_id=package, body=b"x", at=rooms.at
        )
        certificate_store.store_release(
            connection,
            request.request_id,
            package_id=package,
            package_hash="0" * 64,
            at=rooms.at if released_at is None else released_at,
        )
    return request.request_id


def follow(rooms: CityRooms) -> int:
    return follow_changes(rooms.store, rooms.direct, at=rooms.at)  # type: ignore[arg-type]


def withdrawn(rooms: CityRooms) -> list[tuple[str, str]]:
    return rooms.rows("SELECT account, item_id FROM outbox WHERE kind = 'withdrawal' ORDER BY position")


def states(rooms: CityRooms) -> dict[str, str]:
    return dict(rooms.rows("SELECT account, state FROM accounts"))


# ---- byte for byte ----------------------------------------------------------------------------------------------------


def refusal_bytes(rooms: CityRooms, request_id: str) -> bytes:
    """The refusal that `record` gives, as the bytes that would be sealed for the phone."""
    with pytest.raises(Refusal) as no:
        rooms.gate.record(request_id=request_id)
    body = Refused(no.value.code, no.value.ja, no.value.en, no.value.retry)
    return canonical_json(list(format_answer_body(body)))


def opened(rooms: CityRooms, device: Device) -> str:
    device.send(device.request_body())
    return rooms.rows(
        f"SELECT request_id FROM requests WHERE account = '{device.account}' ORDER BY accepted_at, rowid DESC"
    )[0][0]


def test_the_answer_to_a_protected_person_is_that_of_innocent_causes(rooms: CityRooms) -> None:
    protected, reviewed, moved = (rooms.registered(person) for person in rooms.people[:3])
    requests = [opened(rooms, device) for device in (protected, reviewed, moved)]
    rooms.registers.record_event(ProtectionSet(rooms.people[0].resident_id), rooms.clock())
    rooms.registers.record_event(ReviewSet(rooms.people[1].resident_id), rooms.clock())
    first, second = refusal_bytes(rooms, requests[0]), refusal_bytes(rooms, requests[1])
    assert first == second
    # The control: an answer that tells its cause is another one.
    rooms.registers.record_event(Death(rooms.people[2].resident_id, date(2026, 11, 1)), rooms.clock())
    assert refusal_bytes(rooms, requests[2]) != first


def conversation(rooms: CityRooms, device: Device) -> list[bytes]:
    """Everything the phone is told about one more request, and what the gate says to the walk."""
    answers = [
        canonical_json(list(format_answer_body(body))) for _, body in device.send(device.request_body())
    ]
    request = rooms.rows("SELECT request_id FROM requests ORDER BY rowid DESC LIMIT 1")[0][0]
    return [a.replace(request.encode(), b"(request)") for a in answers] + [refusal_bytes(rooms, request)]


def test_a_flag_on_a_registered_person_shows_in_no_order_of_answers(rooms: CityRooms) -> None:
    """The account is frozen; its next request is still accepted first and refused by the gate, like everybody's."""
    protected, reviewed = rooms.registered(rooms.people[0]), rooms.registered(rooms.people[1])
    rooms.registers.record_event(ProtectionSet(rooms.people[0].resident_id), rooms.clock())
    rooms.registers.record_event(ReviewSet(rooms.people[1].resident_id), rooms.clock())
    assert follow(rooms) == 2
    assert states(rooms) == {protected.account: "frozen", reviewed.account: "active"}
    first, second = conversation(rooms, protected), conversation(rooms, reviewed)
    assert first == second
    assert len(first) == 2


def test_registering_tells_nothing_either(rooms: CityRooms) -> None:
    rooms.registers.record_event(ProtectionSet(rooms.people[0].resident_id), rooms.clock())
    rooms.registers.record_event(ReviewSet(rooms.people[1].resident_id), rooms.clock())
    follow(rooms)
    conversations = [conversation(rooms, rooms.registered(person)) for person in rooms.people[:2]]
    assert conversations[0] == conversations[1]


# ---- a later flag ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["protected", "deceased"])
def test_a_flag_takes_back_what_lies_at_the_door_and_freezes_every_phone(
    rooms: CityRooms, event: str
) -> None:
    person, other = rooms.people[0], rooms.people[1]
    phones = [rooms.registered(person), rooms.registered(person)]
    bystander = rooms.registered(other)
    mine, theirs = release(rooms, phones[1]), release(rooms, bystander)
    happened = (
        ProtectionSet(person.resident_id)
        if event == "protected"
        else Death(person.resident_id, date(2026, 11, 1))
    )
    rooms.registers.record_event(happened, rooms.clock())
    assert follow(rooms) == 1
    assert states(rooms) == {
        phones[0].account: "frozen",
        phones[1].account: "frozen",
        bystander.account: "active",
    }
    with rooms.store.begin() as connection:
        package = certificate_store.find_package_id(connection, mine)
        assert package is not None
        # Behind the package itself in the outbox: put, then taken back, in this order.
        assert [row.kind for row in find_unsent(connection, 99) if row.item_id == package[0]] == [
            "package",
            "withdrawal",
        ]
    assert withdrawn(rooms) == [(phones[1].account, package[0])]
    found = dict(rooms.rows("SELECT request_id, state FROM requests"))
    assert (found[mine], found[theirs]) == ("withdrawn", "released")
    assert rooms.rows("SELECT request_id, reason FROM revocations") == [(mine, "withdrawn")]


def test_changes_are_followed_once(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    release(rooms, device)
    rooms.registers.record_event(ProtectionSet(rooms.people[0].resident_id), rooms.clock())
    assert (follow(rooms), follow(rooms)) == (1, 0)
    assert len(withdrawn(rooms)) == 1


def test_a_crash_between_two_changes_loses_none(rooms: CityRooms, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = rooms.registered(rooms.people[0]), rooms.registered(rooms.people[1])
    for person in rooms.people[:2]:
        rooms.registers.record_event(ProtectionSet(person.resident_id), rooms.clock())
    freeze = account_store.change_state

    def dies_at_the_second(connection: object, account: str, **states: str) -> bool:
        if account == two.account:
            raise KeyboardInterrupt
        return freeze(connection, account, **states)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(account_store, "change_state", dies_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            follow(rooms)
    assert states(rooms) == {one.account: "frozen", two.account: "active"}
    follow(rooms)
    assert states(rooms) == {one.account: "frozen", two.account: "frozen"}


def test_an_older_package_is_taken_back_without_revoking_what_was_probably_fetched(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    old = release(rooms, device, released_at=rooms.at - UNDELIVERED_SECONDS - 60)
    ancient = release(rooms, device, released_at=rooms.at - LYING_SECONDS - 60)
    rooms.registers.record_event(ProtectionSet(rooms.people[0].resident_id), rooms.clock())
    follow(rooms)
    with rooms.store.begin() as connection:
        package = certificate_store.find_package_id(connection, old)
    assert package is not None
    assert withdrawn(rooms) == [(device.account, package[0])]
    assert {state for (state,) in rooms.rows("SELECT state FROM requests")} == {"released"}
    assert rooms.rows("SELECT * FROM revocations") == []
    assert ancient != old


def test_harmless_changes_freeze_nobody(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    release(rooms, device)
    rooms.registers.record_event(ReviewSet(rooms.people[0].resident_id), rooms.clock())
    rooms.registers.record_event(ProtectionLifted(rooms.people[1].resident_id), rooms.clock())
    rooms.registers.record_event(
        ProtectionSet(rooms.people[2].resident_id), rooms.clock()
    )  # nobody registered
    assert follow(rooms) == 3
    assert states(rooms) == {device.account: "active"}
    assert withdrawn(rooms) == []


def test_a_gate_that_is_away_leaves_everything_as_it_is(
    rooms: CityRooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = rooms.registered(rooms.people[0])
    rooms.registers.record_event(ProtectionSet(rooms.people[0].resident_id), rooms.clock())

    def away(*, after: int) -> list[tuple[int, str, str]]:
        raise UnavailableError("door-unreachable")

    with monkeypatch.context() as patch:
        patch.setattr(rooms.direct, "changes", away)
        with pytest.raises(UnavailableError):
            follow(rooms)
    assert states(rooms) == {device.account: "active"}
    assert follow(rooms) == 1


def test_a_frozen_phone_does_nothing_else(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    rooms.registers.record_event(ProtectionSet(rooms.people[0].resident_id), rooms.clock())
    follow(rooms)
    ((_, body),) = device.send(ConfirmMail("123456"))
    assert isinstance(body, Refused)
    assert body.code == "counter"


# ---- whom it is about ---------------------------------------------------------------------------------------------------


ADDRESS = "見本県見本市中央区本町一丁目２番３号"


def data_of(person: Resident, address: str = ADDRESS) -> bytes:
    subject = {"address_jan1": address, "birthdate": person.birthdate.isoformat(), "name": person.name}
    return canonical_json({"subject": subject})


def test_the_last_look_knows_whom_the_request_is_about(rooms: CityRooms) -> None:
    mine, other = rooms.people[:2]
    expected = subject_digest(mine.name, mine.birthdate.isoformat(), ADDRESS)
    check_subject(data_of(mine), expected)
    for data in (data_of(other), data_of(mine, "見本県見本市中央区本町二丁目３番４号")):
        with pytest.raises(GateError, match="other-person"):
            check_subject(data, expected)
