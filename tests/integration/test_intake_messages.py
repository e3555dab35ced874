"""What the city believes of a message: who speaks, for which account, once, with which nonce and which card."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import UnavailableError
from app.storage import accounts as account_store
from app.storage.inbox import Envelope, find_unhandled
from mobile_api.messages import (
    ConfirmMail,
    History,
    HistoryWish,
    Notice,
    Progress,
    Refused,
    Registered,
    StopDevice,
    new_message_id,
)
from tests.support.city_rooms import CityRooms, city_rooms
from verifier.formats.encoding import base64url_encode
from verifier.formats.jose import thumbprint


@pytest.fixture
def rooms(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityRooms]:
    yield from city_rooms(tmp_path, tmp_path_factory)


def codes(answers: list) -> list[str]:
    return [body.code if isinstance(body, Refused) else type(body).__name__ for _, body in answers]


def test_the_honest_way(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    answers = device.send(device.request_body(purpose="住居手当"))
    assert codes(answers) == ["Progress"]
    assert rooms.rows("SELECT state FROM requests") == [("accepted",)]
    assert rooms.gate_rows("SELECT count(*) FROM authorised_requests") == [(1,)]
    assert not rooms.intake.dropped


# ---- dropped without a word ------------------------------------------------------------------------------------------


def dropped(rooms: CityRooms, envelope: Envelope) -> str:
    """Deliver; it must change nothing but the count of what was dropped, which is the answer."""
    before = (rooms.answers(), rooms.rows("SELECT * FROM accounts"), rooms.rows("SELECT * FROM requests"))
    counted = dict(rooms.intake.dropped)
    rooms.deliver(envelope)
    after = (rooms.answers(), rooms.rows("SELECT * FROM accounts"), rooms.rows("SELECT * FROM requests"))
    assert before == after
    with rooms.store.begin() as connection:
        assert find_unhandled(connection, 10) == []
    (reason,) = [name for name, count in rooms.intake.dropped.items() if count != counted.get(name, 0)]
    return reason


def test_a_replayed_message_is_dropped(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    envelope = device.envelope(device.request_body())
    rooms.deliver(envelope)
    again = Envelope(base64url_encode(os.urandom(16)), envelope.account, envelope.body)
    assert dropped(rooms, again) == "replayed"
    # Sealed anew, as a phone does after a lost answer: the message inside is the same one.
    body = device.request_body()
    message = new_message_id(os.urandom)
    rooms.deliver(device.envelope(body, message_id=message))
    assert dropped(rooms, device.envelope(body, message_id=message)) == "replayed"


def test_the_doors_own_id_twice_is_stored_once(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    envelope = device.envelope(device.request_body())
    rooms.deliver(envelope)
    rooms.deliver(envelope)
    assert rooms.rows("SELECT count(*) FROM inbox WHERE handled_at IS NOT NULL") == [(2,)]
    assert rooms.rows("SELECT count(*) FROM requests") == [(1,)]


def test_a_readdressed_message_is_dropped(rooms: CityRooms) -> None:
    device, other = rooms.registered(rooms.people[0]), rooms.registered(rooms.people[1])
    assert dropped(rooms, device.envelope(device.request_body(), under=other.account)) == "re-addressed"
    # Inside and outside the other's account: signed by a key that is not bound to it.
    stolen = device.envelope(device.request_body(), account=other.account)
    assert dropped(rooms, stolen) == "unknown-device"


def test_another_citys_message_is_dropped(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    assert dropped(rooms, device.envelope(device.request_body(), city="992020")) == "other-city"


def test_an_unregistered_device_is_dropped(rooms: CityRooms) -> None:
    device = rooms.device(rooms.people[0])
    assert dropped(rooms, device.envelope(device.request_body())) == "unknown-device"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"\x00" * 100, os.urandom(500)], ids=["empty", "object", "zeros", "noise"]
)
def test_rubbish_is_dropped(rooms: CityRooms, body: bytes) -> None:
    dropped(rooms, Envelope("m" * 22, "a" * 22, body))


def test_an_envelope_to_another_city_key_is_dropped(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    own, rooms.envelope_key = rooms.envelope_key, device.encryption
    envelope = device.envelope(device.request_body())
    rooms.envelope_key = own
    assert dropped(rooms, envelope) == "not-for-this-key"


def test_every_changed_byte_of_an_envelope_is_dropped(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    envelope = device.envelope(HistoryWish())
    for place in range(0, len(envelope.body), 61):
        changed = bytearray(envelope.body)
        changed[place] ^= 1
        dropped(rooms, Envelope(base64url_encode(os.urandom(16)), envelope.account, bytes(changed)))
    assert codes([rooms.answers()[-1]]) == ["Registered"]


# ---- refused, signed -------------------------------------------------------------------------------------------------


def test_a_nonce_serves_once(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    nonce = rooms.nonce()
    assert codes(device.send(device.request_body(nonce))) == ["Progress"]
    assert codes(device.send(device.request_body(nonce))) == ["nonce"]
    assert rooms.rows("SELECT count(*) FROM requests") == [(1,)]


def test_a_nonce_the_city_did_not_make(rooms: CityRooms) -> None:
    device = rooms.device(rooms.people[0])
    assert codes(device.send(device.register_body(base64url_encode(os.urandom(24))))) == ["nonce"]
    assert rooms.rows("SELECT count(*) FROM accounts") == [(0,)]
    assert rooms.direct.calls == []


def test_an_old_nonce(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    nonce = rooms.nonce()
    rooms.clock.forward(hours=26)
    assert codes(device.send(device.request_body(nonce))) == ["nonce"]


def test_a_nonce_is_used_up_even_if_the_rest_is_refused(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    nonce = rooms.nonce()
    assert codes(device.send(device.request_body(nonce, purpose="", city="992020"))) == [
        "card-statement-city"
    ]
    assert codes(device.send(device.request_body(nonce))) == ["nonce"]


def test_another_card_of_the_same_person_is_refused(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    device.card = rooms.card(rooms.people[0])
    assert codes(device.send(device.request_body())) == ["other-card"]
    assert rooms.rows("SELECT count(*) FROM requests") == [(0,)]
    assert "open_request" not in rooms.direct.calls


def test_somebody_elses_registered_card_is_refused(rooms: CityRooms) -> None:
    device, other = rooms.registered(rooms.people[0]), rooms.registered(rooms.people[1])
    device.card = other.card
    assert codes(device.send(device.request_body())) == ["other-card"]


def test_recorded_card_evidence_does_not_serve_other_keys(rooms: CityRooms) -> None:
    """The door has somehow got evidence of a registration, unused nonce and all: its own keys are not in it."""
    honest = rooms.device(rooms.people[0])
    recorded = honest.register_body()
    thief = rooms.device(rooms.people[0], card=None)
    forged = replace(
        recorded, signing_key=thief.signing.public_key(), encryption_key=thief.encryption.public_key()
    )
    assert codes(thief.send(forged)) == ["card-statement-device"]
    # Only the encryption key swapped, with the honest signing key: the thief cannot sign the message.
    half = replace(recorded, encryption_key=thief.encryption.public_key())
    assert dropped(rooms, thief.envelope(half)) == "unknown-device"
    assert rooms.rows("SELECT count(*) FROM accounts") == [(0,)]


def test_a_registration_statement_does_not_serve_as_a_request(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    body = device.request_body(purpose="x")
    text = device.statement("register", body.request.digest(), rooms.nonce())
    signed = device.card.authenticate("1234", text.encode())
    swapped = replace(body, statement=text, auth_cert=signed.certificate, auth_signature=signed.signature)
    assert codes(device.send(swapped)) == ["card-statement-purpose"]


def test_a_statement_over_another_request_is_refused(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    body = device.request_body(year=2026)
    changed = replace(body, request=replace(body.request, fiscal_year=2025))
    assert codes(device.send(changed)) == ["card-statement-request"]


def test_a_taken_account_is_refused(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    thief = rooms.device(rooms.people[1])
    thief.account = device.account
    assert codes(thief.send(thief.register_body())) == ["account-taken"]
    with rooms.store.begin() as connection:
        account = account_store.find_account(connection, device.account)
    assert account is not None
    assert account.signing_thumbprint == thumbprint(device.signing.public_key())


def test_a_revoked_or_unverifiable_card_is_refused(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    rooms.status.down = True
    assert codes(device.send(device.request_body())) == ["card-status-unverifiable"]
    rooms.status.down = False
    assert codes(device.send(device.request_body())) == ["Progress"]


# ---- the same wish twice -----------------------------------------------------------------------------------------------


def test_the_same_wish_again_is_the_same_request(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    body = device.request_body()
    (first,) = device.send(body)
    # Another message with the same idempotency key; its nonce is used already, which must not matter.
    (second,) = device.send(body)
    assert isinstance(first[1], Progress)
    assert first == second
    assert rooms.rows("SELECT count(*) FROM requests") == [(1,)]


def test_another_wish_under_the_same_key_is_refused(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    body = device.request_body(purpose="one")
    device.send(body)
    again = device.request_body(purpose="two", key=body.request.idempotency_key)
    assert codes(device.send(again)) == ["idempotency"]
    assert rooms.rows("SELECT count(*) FROM requests") == [(1,)]


def test_the_same_key_of_another_account_is_another_request(rooms: CityRooms) -> None:
    one, two = rooms.registered(rooms.people[0]), rooms.registered(rooms.people[1])
    body = one.request_body()
    one.send(body)
    assert codes(two.send(two.request_body(key=body.request.idempotency_key))) == ["Progress"]
    assert rooms.rows("SELECT count(distinct request_id) FROM requests") == [(2,)]


# ---- crashes between gate and store -------------------------------------------------------------------------------------


def test_an_outage_of_the_gate_keeps_the_envelope(rooms: CityRooms, monkeypatch: pytest.MonkeyPatch) -> None:
    device = rooms.registered(rooms.people[0])
    envelope = device.envelope(device.request_body())

    def away(**_evidence: object) -> None:
        raise UnavailableError("door-unreachable")

    with monkeypatch.context() as patch:
        patch.setattr(rooms.direct, "open_request", away)
        with pytest.raises(UnavailableError):
            rooms.deliver(envelope)
    with rooms.store.begin() as connection:
        assert find_unhandled(connection, 10) == [envelope]
    # The nonce was consumed by this very message: read again, it may use it again.
    rooms.intake.handle(envelope)
    assert codes(rooms.answers(device.account)) == ["Registered", "Progress"]


def test_a_crash_after_the_gate_opened_the_request(rooms: CityRooms, monkeypatch: pytest.MonkeyPatch) -> None:
    device = rooms.registered(rooms.people[0])
    envelope = device.envelope(device.request_body())
    gate_open = rooms.direct.open_request

    def opens_and_dies(**evidence: object) -> None:
        gate_open(**evidence)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rooms.direct, "open_request", opens_and_dies)
        with pytest.raises(KeyboardInterrupt):
            rooms.deliver(envelope)
    rooms.intake.handle(envelope)
    assert rooms.rows("SELECT count(*) FROM requests") == [(1,)]
    assert rooms.gate_rows("SELECT count(*) FROM authorised_requests") == [(1,)]


def test_a_message_that_finds_a_defect_does_not_stop_the_others(
    rooms: CityRooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = rooms.registered(rooms.people[0])
    envelope = device.envelope(device.request_body())

    def broken(**_evidence: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(rooms.direct, "open_request", broken)
        rooms.deliver(envelope)
    assert rooms.intake.dropped["unexpected"] == 1
    with rooms.store.begin() as connection:
        assert find_unhandled(connection, 10) == []
    # The phone was not answered and sends it again.
    again = Envelope(base64url_encode(os.urandom(16)), envelope.account, envelope.body)
    rooms.deliver(again)
    assert codes(rooms.answers(device.account)) == ["Registered", "Progress"]


# ---- stopped and frozen ------------------------------------------------------------------------------------------------


def test_a_stopped_phone_only_sees_its_history(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    assert codes(device.send(StopDevice(thumbprint(device.signing.public_key())))) == ["Notice"]
    assert codes(device.send(device.request_body())) == ["stopped"]
    assert isinstance(device.send(HistoryWish())[0][1], History)


def test_stopping_somebody_elses_phone_changes_nothing(rooms: CityRooms) -> None:
    device, other = rooms.registered(rooms.people[0]), rooms.registered(rooms.people[1])
    device.send(StopDevice(thumbprint(other.signing.public_key())))
    assert rooms.rows("SELECT state FROM accounts") == [("active",), ("active",)]


def test_a_new_phone_is_announced_to_the_others(rooms: CityRooms) -> None:
    person = rooms.people[0]
    first = rooms.registered(person)
    second = rooms.registered(person)
    (notice,) = [body for _, body in rooms.answers(first.account) if isinstance(body, Notice)]
    assert notice.code == "new-device"
    assert codes(rooms.answers(second.account)) == ["Registered"]


def test_mail_is_confirmed_by_its_code_and_not_guessed(rooms: CityRooms) -> None:
    device = rooms.device(rooms.people[0])
    device.send(device.register_body(mail="hanako@mail.example"))
    ((address, code),) = rooms.mails
    assert address == "hanako@mail.example"
    wrong = f"{(int(code) + 1) % 10**6:06d}"
    assert [codes(device.send(ConfirmMail(wrong))) for _ in range(5)] == [["mail-code"]] * 5
    assert codes(device.send(ConfirmMail(code))) == [
        "mail-code"
    ]  # too many tries: the right one is void as well
    other = rooms.device(rooms.people[1])
    other.send(other.register_body(mail="taro@mail.example"))
    assert codes(other.send(ConfirmMail(rooms.mails[1][1]))) == ["Notice"]
    assert codes(other.send(ConfirmMail(rooms.mails[1][1]))) == ["mail-code"]


def test_a_registration_again_by_the_same_phone_is_answered(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    assert isinstance(device.send(device.register_body())[0][1], Registered)
    assert rooms.rows("SELECT count(*) FROM accounts") == [(1,)]
