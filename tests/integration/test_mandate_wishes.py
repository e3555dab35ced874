"""Hostile wishes about mandates, devices and codes: a table of messages that an attacker sends with the best evidence it
could have got hold of. None changes a row of the gate or hands anything over; one broken check of the city is caught.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import Refusal, SettingsError
from app.mandates.following import follow_events
from app.registers.mandates import MandateDesk, MandateSettings
from app.settings import read_gate_settings
from mobile_api.messages import (
    AcceptMandate,
    CertificateRequest,
    ConfirmMandate,
    DeviceBody,
    EndMandate,
    LockDevices,
    Notice,
    RequestByMandate,
    RequestCertificate,
    StopDevice,
    new_message_id,
)
from tests.support.city_rooms import KIND, YEAR, CityRooms, Device, city_rooms
from tests.support.city_walk import make_walk
from tests.support.door_house import PASSWORDS
from tests.support.mandate_world import PURPOSE, MandateWorld
from verifier.formats.jose import thumbprint


@pytest.fixture
def rooms(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityRooms]:
    yield from city_rooms(tmp_path, tmp_path_factory)


class Scene:
    """Giver and agent with a mandate in force, a second mandate only accepted, and an attacker with a phone."""

    def __init__(self, rooms: CityRooms) -> None:
        self.rooms = rooms
        self.world = MandateWorld.make(rooms)
        self.attacker = rooms.registered(rooms.people[2])
        rooms.clock.forward(days=5)
        self.mandate = self.world.in_force().mandate
        record = self.world.record(self.world.code())
        self.world.give(record)
        self.world.accept(record.mandate)
        self.accepted = record.mandate
        offered = self.world.record(self.world.code())
        self.world.give(offered)
        self.offered = offered.mandate

    def state(self) -> list[Any]:
        """Everything that a hostile wish must leave as it is."""
        gate = self.rooms.gate_rows
        return [
            gate("SELECT mandate, giver, agent, state, cause FROM mandates ORDER BY mandate"),
            gate("SELECT request_id, mandate FROM mandate_uses"),
            gate("SELECT request_id, binding FROM authorised_requests"),
            gate("SELECT binding FROM device_locks WHERE binding != (SELECT binding FROM bindings WHERE resident_id = "
                 f"'{self.rooms.people[2].resident_id}')"),
            gate("SELECT what, mandate FROM gate_events WHERE what LIKE 'mandate%'"),
            self.rooms.rows("SELECT account, state FROM accounts"),
            self.rooms.rows("SELECT request_id FROM requests"),
            self.rooms.rows("SELECT account FROM outbox WHERE kind IN ('package', 'withdrawal')"),
        ]  # fmt: skip


@pytest.fixture
def scene(rooms: CityRooms) -> Scene:
    return Scene(rooms)


def agents_evidence(scene: Scene, mandate: str) -> RequestByMandate:
    """What the agent's card really signed, for the agent's phone, unused."""
    return scene.world.request_body(mandate)


def with_own_card(scene: Scene, mandate: str) -> RequestByMandate:
    return scene.world.request_body(mandate, agent=scene.attacker)


def own_statement(scene: Scene, mandate: str) -> RequestByMandate:
    """The attacker's keys in the statement, the agent's signature of another one."""
    real = agents_evidence(scene, mandate)
    text = scene.attacker.statement("request_by_mandate", real.request.digest(), scene.rooms.nonce())
    return replace(real, statement=text)


def as_ordinary(scene: Scene, mandate: str) -> RequestCertificate:
    """The signature over a wish under a mandate, sent as a wish of one's own."""
    real = agents_evidence(scene, mandate)
    wish = CertificateRequest(KIND, YEAR, PURPOSE, real.request.idempotency_key)
    return RequestCertificate(wish, real.statement, real.auth_cert, real.auth_signature)


def noise(scene: Scene, mandate: str) -> RequestByMandate:
    real = agents_evidence(scene, mandate)
    return replace(real, auth_cert=os.urandom(900), auth_signature=os.urandom(256))


def other_mandate(scene: Scene, mandate: str) -> RequestByMandate:
    """What the card signed for one mandate, sent for another."""
    real = agents_evidence(scene, mandate)
    return replace(real, request=replace(real.request, mandate=scene.accepted))


def givers_card(scene: Scene, mandate: str) -> RequestByMandate:
    """The abusive spouse has the giver's card and four digits: the giver's card is not the agent's."""
    thief = replace(scene.attacker, card=scene.world.giver.card)
    return scene.world.request_body(mandate, agent=thief)


Wish = Callable[[Scene, str], DeviceBody]
WISHES: list[tuple[str, Wish]] = [
    ("recorded evidence of the agent", agents_evidence),
    ("the attacker's own card", with_own_card),
    ("the agent's signature under the attacker's statement", own_statement),
    ("a wish under a mandate as one's own", as_ordinary),
    ("noise", noise),
    ("another mandate than signed", other_mandate),
    ("the giver's card", givers_card),
    ("accept what was offered to another", lambda s, _m: AcceptMandate(s.offered)),
    ("confirm for the giver", lambda s, _m: ConfirmMandate(s.accepted)),
    ("confirm with a guessed letter", lambda s, _m: ConfirmMandate(s.accepted, "12345678")),
    ("end another's mandate", lambda _s, m: EndMandate(m)),
    ("stop the agent's phone", lambda s, _m: StopDevice(thumbprint(s.world.agent.signing.public_key()))),
    ("lock one's own", lambda _s, _m: LockDevices()),
]


@pytest.mark.parametrize(("name", "wish"), WISHES, ids=[name for name, _ in WISHES])
def test_a_wish_of_the_attackers_own_changes_nothing(scene: Scene, name: str, wish: Wish) -> None:
    before = scene.state()
    scene.attacker.send(wish(scene, scene.mandate))
    make_walk(scene.rooms).run_once()
    assert scene.state() == before, name


@pytest.mark.parametrize(("name", "wish"), WISHES, ids=[name for name, _ in WISHES])
def test_the_same_wish_under_the_victims_account_is_dropped(scene: Scene, name: str, wish: Wish) -> None:
    """Signed by the attacker's key, addressed as from the agent's or the giver's phone."""
    body, before = wish(scene, scene.mandate), scene.state()
    for victim in (scene.world.agent, scene.world.giver):
        answers = len(scene.rooms.answers())
        scene.rooms.deliver(scene.attacker.envelope(body, account=victim.account))
        assert len(scene.rooms.answers()) == answers, name
    assert scene.rooms.intake.dropped["unknown-device"] == 2
    assert scene.state() == before, name


def test_replayed_envelopes_of_a_mandate_are_dropped(scene: Scene) -> None:
    """The door keeps every envelope of the story and delivers all of them again, after everything was ended."""
    world, kept = scene.world, []
    code = world.code()
    record = world.record(code)
    for phone, body in (
        (world.giver, world.give_body(record)),
        (world.agent, AcceptMandate(record.mandate)),
        (world.giver, ConfirmMandate(record.mandate)),
        (world.agent, world.request_body(record.mandate)),
        (world.giver, EndMandate(record.mandate)),
    ):
        envelope = phone.envelope(body)
        scene.rooms.deliver(envelope)
        kept.append(envelope)
    before = scene.state()
    dropped = scene.rooms.intake.dropped["replayed"]
    for number, envelope in enumerate(kept):
        scene.rooms.deliver(replace(envelope, message_id=f"again-of-the-door-{number}"))
    assert scene.rooms.intake.dropped["replayed"] == dropped + len(kept)
    assert scene.state() == before


def test_a_request_asked_again_after_the_end_gets_the_refusal_and_no_package(scene: Scene) -> None:
    """The very same bytes, allowed once a minute: the hand-over looks at the mandate again."""
    world, rooms = scene.world, scene.rooms
    envelope = world.agent.envelope(world.request_body(scene.mandate))
    rooms.deliver(envelope)
    make_walk(rooms).run_once()
    rooms.gate.mandates.end(
        binding=rooms.gate_rows(f"SELECT giver FROM mandates WHERE mandate = '{scene.mandate}'")[0][0],
        mandate=scene.mandate,
    )
    with rooms.store.begin() as connection:
        connection.exec_driver_sql("UPDATE outbox SET sent_at = 1 WHERE kind = 'package'")
    rooms.clock.forward(minutes=2)
    before = len(rooms.answers(world.agent.account))
    rooms.deliver(replace(envelope, message_id="asked-again-of-the-door"))
    (answer,) = [body for _, body in rooms.answers(world.agent.account)[before:]]
    assert answer.code == "mandate"
    assert rooms.rows("SELECT count(*) FROM outbox WHERE kind = 'package' AND sent_at IS NULL") == [(0,)]


def test_control_a_gate_that_takes_any_agent_is_caught(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.registers import mandate_store

    before, find = scene.state(), mandate_store.find_mandate
    ours = scene.rooms.gate_rows(
        f"SELECT binding FROM bindings WHERE resident_id = '{scene.rooms.people[2].resident_id}'"
    )[0][0]

    def careless(connection: Any, mandate: str) -> Any:
        found = find(connection, mandate)
        return None if found is None else replace(found, agent=ours)

    monkeypatch.setattr(mandate_store, "find_mandate", careless)
    scene.attacker.send(with_own_card(scene, scene.mandate))
    assert scene.state() != before


def test_a_worker_alone_makes_no_mandate(scene: Scene) -> None:
    """Whoever has the worker calls the gate as it likes: without the giver's card nothing is offered, and what was
    accepted and confirmed by its word alone still needs the agent's card.
    """
    desk = scene.rooms.gate.mandates
    giver, agent = scene.rooms.gate_rows(
        f"SELECT giver, agent FROM mandates WHERE mandate = '{scene.offered}'"
    )[0]
    record = scene.world.record(scene.world.code())
    real = scene.world.give_body(record)
    wider = replace(record, fiscal_years=(YEAR - 1, YEAR))
    with pytest.raises(Refusal, match="card-statement-request"):
        desk.give(
            binding=giver,
            record=wider,
            statement=real.statement,
            signature_cert=real.signature_cert,
            signature=real.signature,
        )
    with pytest.raises(Refusal, match="other-card"):
        desk.give(
            binding=agent,
            record=record,
            statement=real.statement,
            signature_cert=real.signature_cert,
            signature=real.signature,
        )
    desk.accept(binding=agent, mandate=scene.offered)
    desk.confirm(binding=giver, mandate=scene.offered, letter_code=None)
    own = with_own_card(scene, scene.offered)
    with pytest.raises(Refusal, match="mandate"):
        desk.open_request(
            request_id="r" * 22,
            wish=own.request,
            statement=own.statement,
            auth_cert=own.auth_cert,
            auth_signature=own.auth_signature,
        )
    # … and the giver hears of it.
    follow_events(scene.rooms.store, scene.rooms.direct, at=scene.rooms.at)  # type: ignore[arg-type]
    said = [b.code for _, b in scene.rooms.answers(scene.world.giver.account) if isinstance(b, Notice)]
    assert said.count("mandate-confirmed") == 2


def test_a_request_opened_for_oneself_is_not_turned_into_the_givers(scene: Scene) -> None:
    """The same request id, once by the agent for the agent, then under the mandate."""
    rooms, agent = scene.rooms, scene.world.agent
    wish = CertificateRequest(KIND, YEAR, PURPOSE, new_message_id(os.urandom))
    text = agent.statement("request", wish.digest(), rooms.nonce())
    signed = agent.card.authenticate(PASSWORDS.authentication, text.encode())
    rooms.gate.open_request(
        request_id="r" * 22,
        wish=wish,
        statement=text,
        auth_cert=signed.certificate,
        auth_signature=signed.signature,
    )
    under = agents_evidence(scene, scene.mandate)
    with pytest.raises(Refusal, match="idempotency"):
        rooms.gate.mandates.open_request(
            request_id="r" * 22,
            wish=under.request,
            statement=under.statement,
            auth_cert=under.auth_cert,
            auth_signature=under.auth_signature,
        )
    assert rooms.gate.record(request_id="r" * 22).record["person"]["name"] == rooms.people[1].name


# ---- a city without letters -------------------------------------------------------------------------------------------


def test_a_city_that_sends_no_letters_says_what_to_do(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    world = scene.world
    gate = scene.rooms.gate
    quiet = MandateDesk(
        scene.rooms.gate_store, gate._registers, gate._cards, scene.rooms.clock, MandateSettings("992011")
    )
    monkeypatch.setattr(scene.rooms.direct, "mandates", quiet)
    new: Device = scene.rooms.registered(scene.rooms.people[0], card=world.giver.card)
    assert world.confirm(scene.accepted, new) == "mandate-device"
    assert world.confirm(scene.accepted, new, "12345678") == "mandate-letter-code"
    assert world.confirm(scene.accepted) == "mandate-confirmation-taken"


def test_production_refuses_the_mock_letters() -> None:
    names = ("SOCKET", "TOKEN_FILE", "STORE", "REGISTERS", "KEY_FILE")
    environment = {f"AKASHI_GATE_{name}": "x" for name in names} | {"AKASHI_JPKI_ANCHORS": "x"}
    letters = {"AKASHI_GATE_LETTERS": "letters"}
    assert read_gate_settings({**environment, **letters, "AKASHI_PROFILE": "demo"}).letters == Path("letters")
    assert read_gate_settings({**environment, "AKASHI_PROFILE": "production"}).letters is None
    with pytest.raises(SettingsError, match="mock-in-production"):
        read_gate_settings({**environment, **letters, "AKASHI_PROFILE": "production"})
