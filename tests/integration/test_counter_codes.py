"""The counter's QR code: a demonstration resident on one phone, once; never a real one, never in production."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import CityError, Refusal, UnavailableError
from app.frames import FrameServer
from app.registers import counter_store
from app.registers.counter import NO_REAL_RESIDENT, CounterDesk, CounterSettings
from app.registers.counter_door import CounterCaller, CounterDoor
from app.registers.gate_client import GateClient
from app.registers.gate_door import GateDoor
from app.zones import Guard
from mobile_api.client import CityRefused
from mobile_api.messages import (
    HistoryWish,
    MandateCodeWish,
    RegisterByCode,
    format_counter_qr,
    parse_counter_qr,
)
from tests.support.city_rooms import CityRooms, Device, city_rooms
from tests.support.city_walk import Street
from tests.support.door_house import PASSWORDS, PUBLIC_URL
from tests.support.mandate_world import word
from verifier.errors import FormatError


@pytest.fixture
def rooms(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityRooms]:
    yield from city_rooms(tmp_path, tmp_path_factory)


def dummy(rooms: CityRooms) -> Any:
    return next(entry.resident for entry in rooms.registers.entries() if entry.resident.dummy)


def real(rooms: CityRooms) -> Any:
    return next(person for person in rooms.people if not person.dummy)


def print_code(rooms: CityRooms) -> str:
    return rooms.gate.counter.print_code(resident_id=dummy(rooms).resident_id, staff="counter-1")[0]


def body(device: Device, code: str) -> RegisterByCode:
    return RegisterByCode(device.signing.public_key(), device.encryption.public_key(), code)


def register(device: Device, code: str, **options: str) -> str:
    return word(device.send(body(device, code), **options), device.account)


# ---- the honest way -----------------------------------------------------------------------------------------------


def test_a_printed_code_registers_one_phone(rooms: CityRooms) -> None:
    device = rooms.device(dummy(rooms))
    assert register(device, print_code(rooms)) == "Registered"
    bound = rooms.gate_rows("SELECT resident_id FROM bindings")
    assert bound == [(dummy(rooms).resident_id,)]
    assert word(device.send(HistoryWish()), device.account) == "History"


def test_the_income_certificate_needs_the_card(rooms: CityRooms) -> None:
    """Also with the dummy's own real card in the reader, and mandates too; nothing reaches the gate."""
    device = rooms.device(dummy(rooms))
    register(device, print_code(rooms))
    assert word(device.send(device.request_body()), device.account) == "needs-card"
    assert word(device.send(MandateCodeWish()), device.account) == "needs-card"
    assert rooms.direct.calls == []
    assert rooms.rows("SELECT count(*) FROM requests") == [(0,)]


def test_a_new_phone_by_code_is_announced_like_any_other(rooms: CityRooms) -> None:
    first, second = rooms.device(dummy(rooms)), rooms.device(dummy(rooms))
    register(first, print_code(rooms))
    register(second, print_code(rooms))
    assert [getattr(b, "code", "") for _, b in rooms.answers(first.account)] == ["", "new-device"]


# ---- every no -----------------------------------------------------------------------------------------------------


def test_reuse_is_refused(rooms: CityRooms) -> None:
    code = print_code(rooms)
    first, second = rooms.device(dummy(rooms)), rooms.device(dummy(rooms))
    assert register(first, code) == "Registered"
    assert register(second, code) == "counter-code"
    assert rooms.rows("SELECT account FROM accounts") == [(first.account,)]
    # The same phone again, as after a crash: the same registration.
    assert register(first, code) == "Registered"
    assert rooms.rows("SELECT count(*) FROM accounts") == [(1,)]


def test_the_same_account_with_other_keys_is_another_phone(rooms: CityRooms) -> None:
    code = print_code(rooms)
    first, thief = rooms.device(dummy(rooms)), rooms.device(dummy(rooms))
    thief.account = first.account
    assert register(first, code) == "Registered"
    assert register(thief, code) == "account-taken"
    # Same signing key, other encryption key: who could do this holds the phone; still the code is used up.
    half = replace(body(first, code), encryption_key=thief.encryption.public_key())
    assert word(first.send(half), first.account) == "counter-code"


def test_an_old_code_and_a_guessed_one(rooms: CityRooms) -> None:
    code, device = print_code(rooms), rooms.device(dummy(rooms))
    assert register(device, "A" * 22) == "counter-code"
    rooms.clock.forward(seconds=901)
    assert register(device, code) == "counter-code"
    assert rooms.rows("SELECT count(*) FROM accounts") == [(0,)]


def test_a_code_is_good_to_its_last_second(rooms: CityRooms) -> None:
    code, device = print_code(rooms), rooms.device(dummy(rooms))
    rooms.clock.forward(seconds=900)
    assert register(device, code) == "Registered"


def test_a_real_resident_is_refused_with_the_legal_reason(rooms: CityRooms) -> None:
    with pytest.raises(Refusal) as no:
        rooms.gate.counter.print_code(resident_id=real(rooms).resident_id, staff="counter-1")
    assert no.value.code == "card-route"
    assert "公的個人認証" in no.value.ja
    assert "My Number Card" in no.value.en
    assert rooms.gate_rows("SELECT count(*) FROM counter_codes") == [(0,)]


def test_a_mark_taken_away_after_printing_is_seen(rooms: CityRooms) -> None:
    code, device = print_code(rooms), rooms.device(dummy(rooms))
    with rooms.registers._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE residents SET dummy = 0")
    assert register(device, code) == "card-route"
    # Refused inside the transaction: the code was not used up, and nobody is bound.
    assert rooms.gate_rows("SELECT used_by FROM counter_codes") == [(None,)]
    assert rooms.gate_rows("SELECT count(*) FROM bindings") == [(0,)]


def test_nobody_is_unknown(rooms: CityRooms) -> None:
    with pytest.raises(CityError, match="no-such-resident"):
        rooms.gate.counter.print_code(resident_id="M-9999999", staff="counter-1")


def test_production_knows_no_such_code(rooms: CityRooms) -> None:
    code = print_code(rooms)
    strict = CounterDesk(
        rooms.gate_store, rooms.gate._registers, rooms.clock, CounterSettings(profile="production")
    )
    with pytest.raises(Refusal) as no:
        strict.print_code(resident_id=dummy(rooms).resident_id, staff="counter-1")
    assert no.value is NO_REAL_RESIDENT
    with pytest.raises(Refusal):
        strict.register_by_code(code=code, used_by="u" * 43)
    assert CounterSettings().profile == "production"


def test_a_locked_resident_takes_no_phone_by_code_either(rooms: CityRooms) -> None:
    first = rooms.device(dummy(rooms))
    register(first, print_code(rooms))
    binding = rooms.gate_rows("SELECT binding FROM bindings")[0][0]
    rooms.gate.counter.lock_devices(binding=binding)
    assert register(rooms.device(dummy(rooms)), print_code(rooms)) == "counter"


def test_codes_are_kept_as_hashes(rooms: CityRooms) -> None:
    code = print_code(rooms)
    assert code not in str(rooms.gate_rows("SELECT * FROM counter_codes"))


def test_a_message_by_code_brings_its_own_key_and_no_other(rooms: CityRooms) -> None:
    code = print_code(rooms)
    honest, thief = rooms.device(dummy(rooms)), rooms.device(dummy(rooms))
    rooms.deliver(thief.envelope(body(honest, code)))
    assert rooms.intake.dropped["unknown-device"] == 1
    assert rooms.gate_rows("SELECT used_by FROM counter_codes") == [(None,)]


# ---- exactly one ----------------------------------------------------------------------------------------------------


def test_parallel_consumption_exactly_one_wins(rooms: CityRooms) -> None:
    code, won, barrier = print_code(rooms), [], threading.Barrier(12)

    def use(number: int) -> None:
        barrier.wait()
        try:
            rooms.gate.counter.register_by_code(code=code, used_by=f"{number:043d}")
            won.append(number)
        except Refusal as no:
            assert no.code == "counter-code"

    threads = [threading.Thread(target=use, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_control_a_store_that_looks_first_and_writes_then_is_caught(
    rooms: CityRooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = print_code(rooms)

    def careless(connection: Any, code: str, *, used_by: str, at: int) -> str | None:
        row = connection.exec_driver_sql(
            "SELECT resident_id FROM counter_codes WHERE code_hash = ?", (counter_store.code_hash(code),)
        ).first()
        return None if row is None else str(row[0])

    monkeypatch.setattr(counter_store, "use_code", careless)
    assert register(rooms.device(dummy(rooms)), code) == "Registered"
    assert register(rooms.device(dummy(rooms)), code) == "Registered"


def test_a_crash_between_gate_and_store_ends_in_one_registration(
    rooms: CityRooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, device = print_code(rooms), rooms.device(dummy(rooms))
    envelope = device.envelope(body(device, code))
    uses = CounterDesk.register_by_code

    def uses_and_dies(self: CounterDesk, **members: str) -> str:
        uses(self, **members)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CounterDesk, "register_by_code", uses_and_dies)
        with pytest.raises(KeyboardInterrupt):
            rooms.deliver(envelope)
    assert register(rooms.device(dummy(rooms)), code) == "counter-code"
    rooms.intake.handle(envelope)
    assert rooms.rows("SELECT account FROM accounts") == [(device.account,)]


# ---- the QR code's text ---------------------------------------------------------------------------------------------


def test_the_text_keeps_the_code_behind_the_hash_sign() -> None:
    text = format_counter_qr(PUBLIC_URL, "A" * 22)
    assert text == f"{PUBLIC_URL}/c#k={'A' * 22}"
    assert parse_counter_qr(text + "\n", PUBLIC_URL) == "A" * 22


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{PUBLIC_URL}/c/{'A' * 22}",
        f"{PUBLIC_URL}/c?k={'A' * 22}",
        f"{PUBLIC_URL}/r#k={'A' * 22}",
        f"https://evil.example/c#k={'A' * 22}",
        f"{PUBLIC_URL}/c#k={'A' * 21}",
        f"{PUBLIC_URL}/c#k={'A' * 21}B",
        f"{PUBLIC_URL}/c#k={'A' * 22}&x=1",
        f"{PUBLIC_URL}/c#k={'A' * 300}",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(FormatError, match="bad-counter-qr"):
        parse_counter_qr(text, PUBLIC_URL)


# ---- two doors on one socket ------------------------------------------------------------------------------------------


@pytest.fixture
def socket(rooms: CityRooms) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gate-") as directory:
        path, guard = Path(directory) / "gate.sock", Guard(None)
        worker = GateDoor(rooms.gate, "worker token", guard=guard, clock=rooms.clock)
        counter = CounterDoor(rooms.gate.counter, "counter token", guard=guard, clock=rooms.clock)

        def handle(message: dict[str, Any]) -> dict[str, Any]:
            at_counter = str(message.get("op")).startswith("counter_")
            return counter.handle(message) if at_counter else worker.handle(message)

        server = FrameServer(path, handle)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield path
        server.shutdown()
        server.server_close()


def caller(rooms: CityRooms, path: Path, token: str = "counter token") -> CounterCaller:
    return CounterCaller(path, token, guard=Guard(None), clock=rooms.clock)


def test_the_counter_over_the_socket(rooms: CityRooms, socket: Path) -> None:
    counter = caller(rooms, socket)
    code, expires = counter.print_code(resident_id=dummy(rooms).resident_id, staff="counter-1")
    assert expires == rooms.at + 900
    assert register(rooms.device(dummy(rooms)), code) == "Registered"
    with pytest.raises(Refusal, match="card-route"):
        counter.print_code(resident_id=real(rooms).resident_id, staff="counter-1")
    with pytest.raises(CityError, match="no-such-resident"):
        counter.print_code(resident_id="M-9999999", staff="counter-1")
    with pytest.raises(CityError, match="one-person"):
        counter.unlock_devices(resident_id=dummy(rooms).resident_id, staff="a", second="a", reason="x")
    assert not counter.unlock_devices(resident_id=dummy(rooms).resident_id, staff="a", second="b", reason="x")


def test_the_workers_token_opens_no_counter_and_the_counters_no_worker(
    rooms: CityRooms, socket: Path
) -> None:
    with pytest.raises(UnavailableError, match="bad-token"):
        caller(rooms, socket, "worker token").print_code(
            resident_id=dummy(rooms).resident_id, staff="counter-1"
        )
    gate = GateClient(socket, "counter token", guard=Guard(None), clock=rooms.clock)
    with pytest.raises(UnavailableError, match="bad-token"):
        gate.changes(after=0)
    nobody = CounterDoor(rooms.gate.counter, "", guard=Guard(None), clock=rooms.clock)
    assert nobody.handle({"v": 1, "op": "counter_qr", "token": ""}) == {"ok": False, "code": "bad-token"}


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"op": "counter_qr"},
        {"op": "counter_qr", "v": 2},
        {"op": "counter_all", "v": 1},
        {"op": [], "v": 1},
    ],
)
def test_damaged_messages(rooms: CityRooms, message: dict[str, Any]) -> None:
    door = CounterDoor(rooms.gate.counter, "t", guard=Guard(None), clock=rooms.clock)
    assert door.handle({"token": "t", **message})["code"] in ("unknown-operation", "bad-message")
    full = {"token": "t", "v": 1, "op": "counter_qr"}
    assert door.handle(full)["code"] == "bad-message"


def test_every_mandate_operation_over_the_socket(rooms: CityRooms, socket: Path) -> None:
    from tests.support.mandate_world import MandateWorld

    world = MandateWorld.make(rooms)
    gate = GateClient(socket, "worker token", guard=Guard(None), clock=rooms.clock)
    giver, agent = (
        rooms.gate_rows(f"SELECT binding FROM bindings WHERE resident_id = '{person.resident_id}'")[0][0]
        for person in rooms.people[:2]
    )
    code = gate.mandates.code(binding=agent)
    record = world.record(code.code)
    signed = world.give_body(record)
    gate.mandates.give(
        binding=giver,
        record=record,
        statement=signed.statement,
        signature_cert=signed.signature_cert,
        signature=signed.signature,
    )
    gate.mandates.accept(binding=agent, mandate=record.mandate)
    assert gate.mandates.letter(binding=giver, mandate=record.mandate)
    with pytest.raises(Refusal, match="mandate-letter-code"):
        gate.mandates.confirm(binding=giver, mandate=record.mandate, letter_code="00000000")
    gate.mandates.confirm(
        binding=giver, mandate=record.mandate, letter_code=world.letter_code(record.mandate)
    )
    asked = world.request_body(record.mandate)
    gate.mandates.open_request(
        request_id="r" * 22,
        wish=asked.request,
        statement=asked.statement,
        auth_cert=asked.auth_cert,
        auth_signature=asked.auth_signature,
    )
    assert gate.record(request_id="r" * 22).record["person"]["name"] == rooms.people[0].name
    assert [entry.state for entry in gate.mandates.entries(binding=agent).entries] == ["in-force"]
    assert gate.mandates.events(after=0) == rooms.gate.mandates.events(after=0)
    assert gate.mandates.lines(binding=giver) == rooms.gate.mandates.lines(binding=giver)
    gate.mandates.end(binding=agent, mandate=record.mandate)
    with pytest.raises(Refusal, match="mandate"):
        gate.recheck(request_id="r" * 22, position=None)
    gate.counter.lock_devices(binding=giver)
    assert gate.counter.is_locked(binding=giver)
    with pytest.raises(Refusal, match="counter-code"):
        gate.counter.register_by_code(code="A" * 22, used_by="u" * 43)


# ---- a real phone ---------------------------------------------------------------------------------------------------


def test_a_real_phone_registers_by_code(rooms: CityRooms, tmp_path: Path) -> None:
    street = Street(rooms, tmp_path / "street")
    qr = format_counter_qr(PUBLIC_URL, print_code(rooms))
    with street.phone("one") as one, street.phone("two") as two:
        one.register_by_code(qr)
        assert one.is_registered
        with pytest.raises(CityRefused, match="QR code"):
            two.register_by_code(qr)
        assert not two.is_registered
        # A refused phone may go the ordinary way afterwards.
        two.sign_up(rooms.card(rooms.people[2]), PASSWORDS)
        assert two.is_registered
        request = one.request_certificate(2026, "", rooms.card(dummy(rooms)), PASSWORDS.authentication)
        with pytest.raises(CityRefused, match="without a card"):
            list(one.wait(request))
        assert one.ask_history()[0]["code"] == "registered"
