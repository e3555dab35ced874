"""The register gate's socket: token, zone guard at both ends, unknown words, damaged messages; refusals travel whole."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.errors import CrossingError, Refusal, UnavailableError
from app.frames import FrameClient, FrameServer
from app.registers.gate_client import GateClient
from app.registers.gate_door import GateDoor
from app.zones import KIB, Guard
from tests.support.city_rooms import CityRooms, Device, city_rooms

TOKEN = "token of this test"


@pytest.fixture
def rooms(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityRooms]:
    yield from city_rooms(tmp_path, tmp_path_factory)


@pytest.fixture
def path(rooms: CityRooms) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gate-") as directory:
        socket = Path(directory) / "gate.sock"
        door = GateDoor(rooms.gate, TOKEN, guard=Guard(rooms.directory / "inside.log"), clock=rooms.clock)
        server = FrameServer(socket, door.handle)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield socket
        server.shutdown()
        server.server_close()


def client(rooms: CityRooms, path: Path, token: str = TOKEN, guard: Guard | None = None) -> GateClient:
    return GateClient(path, token, guard=guard or Guard(rooms.directory / "outside.log"), clock=rooms.clock)


def evidence(device: Device) -> dict[str, Any]:
    body = device.register_body()
    return {
        "statement": body.statement,
        "signature_cert": body.signature_cert,
        "signature": body.signature,
        "auth_cert": body.auth_cert,
        "auth_signature": body.auth_signature,
    }


def opened(gate: GateClient, device: Device, request_id: str = "r" * 22) -> str:
    body = device.request_body()
    gate.open_request(
        request_id=request_id,
        document_kind=body.request.document_kind,
        fiscal_year=body.request.fiscal_year,
        purpose=body.request.purpose,
        idempotency_key=body.request.idempotency_key,
        statement=body.statement,
        auth_cert=body.auth_cert,
        auth_signature=body.auth_signature,
    )
    return request_id


def test_every_operation_over_the_socket(rooms: CityRooms, path: Path) -> None:
    gate, device = client(rooms, path), rooms.device(rooms.people[0])
    binding = gate.register(**evidence(device))
    request = opened(gate, device)
    released = gate.record(request_id=request)
    assert released.record["person"]["name"] == rooms.people[0].name
    assert gate.recheck(request_id=request, position=0) == released.subject_digest
    made = gate.authorise(purpose="page_seal", digest=bytes(32), request_id=request, serial="s" * 32)
    assert made.request_id == request
    assert gate.tally() == 1
    assert gate.changes(after=0) == []
    assert len(binding) == 32


def test_both_ends_ask_the_guard_and_write_one_line(rooms: CityRooms, path: Path) -> None:
    gate, device = client(rooms, path), rooms.device(rooms.people[0])
    gate.register(**evidence(device))
    opened(gate, device)
    gate.tally()
    inside, outside = (
        [line.split() for line in (rooms.directory / name).read_text("ascii").splitlines()]
        for name in ("inside.log", "outside.log")
    )
    assert [line[1:4] for line in inside] == [
        ["city-lgwan", "number-using", f"gate.{name}"] for name in ("register", "open_request", "tally")
    ]
    assert inside == outside
    assert {line[5] for line in inside} == {"allowed"}


def test_a_refusal_travels_with_its_sentences(rooms: CityRooms, path: Path) -> None:
    gate = client(rooms, path)
    with pytest.raises(Refusal) as far:
        gate.record(request_id="r" * 22)
    with pytest.raises(Refusal) as near:
        rooms.gate.record(request_id="r" * 22)
    assert (far.value.code, far.value.ja, far.value.en, far.value.retry) == (
        near.value.code,
        near.value.ja,
        near.value.en,
        near.value.retry,
    )


def test_a_wrong_token_gets_nothing(rooms: CityRooms, path: Path) -> None:
    for token in ("", "Token of this test", TOKEN + " "):
        with pytest.raises(UnavailableError, match="gate-bad-token"):
            client(rooms, path, token).tally()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"op": "tally"}, "unknown-operation"),
        ({"v": 2, "op": "tally"}, "unknown-operation"),
        ({"v": 1}, "unknown-operation"),
        ({"v": 1, "op": "shutdown"}, "unknown-operation"),
        ({"v": 1, "op": "_no"}, "unknown-operation"),
        ({"v": 1, "op": ["tally"]}, "unknown-operation"),
        ({"v": 1, "op": "record"}, "bad-message"),
        ({"v": 1, "op": "record", "request_id": {}}, "not-authorised-unknown-request"),
        ({"v": 1, "op": "changes", "after": "x"}, "bad-message"),
        ({"v": 1, "op": "authorise", "items": []}, "bad-message"),
        ({"v": 1, "op": "authorise", "items": {}}, "bad-message"),
        ({"v": 1, "op": "authorise", "items": [{}] * 257}, "bad-message"),
        ({"v": 1, "op": "authorise", "items": [5]}, "bad-message"),
        ({"v": 1, "op": "register", "statement": 1}, "bad-message"),
        ({"v": 1, "op": "recheck", "request_id": "x" * (5 * KIB)}, "refused-too-large"),
    ],
)  # fmt: skip
def test_damaged_messages_are_answered_with_a_code(
    rooms: CityRooms, path: Path, message: dict[str, Any], code: str
) -> None:
    answer = FrameClient(path).call({"token": TOKEN, **message})
    assert (answer["ok"], answer["code"]) == (False, code)
    assert client(rooms, path).tally() == 0


def test_the_token_is_asked_before_anything_is_told(rooms: CityRooms, path: Path) -> None:
    assert FrameClient(path).call({"v": 1, "op": "shutdown"}) == {"ok": False, "code": "bad-token"}


def test_a_message_too_large_does_not_leave(rooms: CityRooms, path: Path) -> None:
    with pytest.raises(CrossingError, match="refused-too-large"):
        client(rooms, path).record(request_id="x" * (65 * KIB))
    assert not (rooms.directory / "inside.log").exists()


def test_a_gate_that_is_away_is_an_outage(rooms: CityRooms, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        client(rooms, tmp_path / "nobody.sock").tally()
