"""A defect whose text holds a resident's name meets every place that outlives defects: the name is in no log, the place is.

The defect is planted below each door, loop or page; what it printed or logged is read with a plain handler, which would
show a traceback. With the text of the exception put back into each place (the broken variant) the same search finds the
name.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn
from unittest.mock import MagicMock

import pytest

import chain.devnode.server
import chain.sequencer
import chain.service
import chain.witness
import verifier.portal.application
from app.claims.certificate_data import DEMO_AUTHORITY
from app.issuance import walk as walk_room
from app.issuance.states import State
from app.registers.gate_door import GateDoor
from app.storage import requests as request_store
from app.storage.requests import Request
from app.worker import Worker
from app.zones import Guard
from mobile_api import application as door_application
from mobile_api.door import EXTENSION
from tests.support.city_rooms import city_rooms
from tests.support.door_house import NOW, make_house
from tests.support.signer_desk import open_desk
from tests.support.staff_console import Console, login
from tests.support.verifier_bundles import mini_city
from verifier import OFFLINE, OfflineSources
from verifier.fault import ROOMS
from verifier.portal import PortalSettings, create_portal

CANARY = "鸚鵡沢　椋鳥子"
Run = Callable[[Path, pytest.MonkeyPatch, pytest.TempPathFactory], None]


class DefectError(Exception):
    """Of no kind that any place expects."""


def defect(*_given: object, **_named: object) -> NoReturn:
    """A fault of ours that quotes what it met."""
    name = CANARY
    raise DefectError(f"no rule for {name}")


class _Once:
    """A stop sign that lets a loop run once."""

    def __init__(self) -> None:
        self.is_over = False

    def is_set(self) -> bool:
        return self.is_over

    def wait(self, _seconds: float) -> None:
        self.is_over = True


def _worker(**rooms: Any) -> Any:
    worker: Any = Worker(SimpleNamespace(work=threading.Event(), **rooms))  # type: ignore[arg-type]
    worker._stop = _Once()
    return worker


def worker_loop(_directory: Path, _patch: pytest.MonkeyPatch, _factory: pytest.TempPathFactory) -> None:
    worker = _worker(sender=SimpleNamespace(send_due=defect))
    worker._loop("send", worker._send_outbox, 0.0)


def worker_intake(_directory: Path, _patch: pytest.MonkeyPatch, _factory: pytest.TempPathFactory) -> None:
    _worker(intake=SimpleNamespace(handle=defect))._take_in(SimpleNamespace(message_id="m"))


def intake(directory: Path, patch: pytest.MonkeyPatch, factory: pytest.TempPathFactory) -> None:
    for rooms in city_rooms(directory, factory):
        device = rooms.device(rooms.people[0])
        patch.setattr(rooms.gate, "register", defect)
        assert device.send(device.register_body()) == []
        assert rooms.intake.dropped["unexpected"] == 1


def walk(directory: Path, _patch: pytest.MonkeyPatch, factory: pytest.TempPathFactory) -> None:
    for rooms in city_rooms(directory, factory):
        at = rooms.at
        row = Request("r" * 22, "a" * 22, "m" * 22, "k" * 22, "h" * 43, "income_certificate", 2026,
                      State.ACCEPTED, None, 0, at, at)  # fmt: skip
        with rooms.store.begin() as connection:
            request_store.store_request(connection, row)
        none: Any = None
        walker = walk_room.Walk(
            rooms.store, walk_room.WalkSettings(DEMO_AUTHORITY), gate=none, maker=none, log_door=none,
            gatekeeper=none, status_token=none, clock=rooms.clock,
        )  # fmt: skip
        assert walker._each(State.ACCEPTED, defect) == 0


def gate_door(directory: Path, _patch: pytest.MonkeyPatch, _factory: pytest.TempPathFactory) -> None:
    gate: Any = MagicMock(tally=defect)
    door = GateDoor(gate, "token", guard=Guard(directory / "traffic.log"), clock=lambda: NOW)
    answer = door.handle({"v": 1, "token": "token", "op": "tally"})
    assert answer == {"ok": False, "code": "internal"}


def signer(directory: Path, patch: pytest.MonkeyPatch, _factory: pytest.TempPathFactory) -> None:
    desk = open_desk(directory)
    service = desk.service()
    patch.setattr(service._audit, "append", defect)
    (answer,) = service.handle(desk.request(desk.sign_item(bytes(32))))["items"]
    assert answer["code"] == "internal"


def street_door(directory: Path, patch: pytest.MonkeyPatch, _factory: pytest.TempPathFactory) -> None:
    house = make_house(directory)
    patch.setattr(type(house.app.extensions[EXTENSION].store), "write", defect)
    answer = house.app.test_client().get("/readyz")
    assert (answer.status_code, CANARY in answer.text) == (500, False)


def street_door_sweeper(directory: Path, patch: pytest.MonkeyPatch, _factory: pytest.TempPathFactory) -> None:
    house = make_house(directory)
    patch.setattr(door_application, "sweep", defect)
    before = set(threading.enumerate())
    stop = door_application.start_sweeper(house.app)
    stop.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(20)


def staff_console(directory: Path, patch: pytest.MonkeyPatch, _factory: pytest.TempPathFactory) -> None:
    console = Console(directory)
    patch.setattr(type(console.doors.logins), "check", defect)
    answer = login(console.browser(), "hanako", "a long enough password")
    console.close()
    assert (answer.status_code, CANARY in answer.text) == (500, False)


def check_page(_directory: Path, patch: pytest.MonkeyPatch, _factory: pytest.TempPathFactory) -> None:
    city = mini_city()
    patch.setattr(verifier.portal.application, "examine", defect)
    settings = PortalSettings((city.trust(),), OFFLINE, OfflineSources(), clock=lambda: NOW)
    client = create_portal(settings).test_client()
    token = re.search(r'name="token" value="([^"]+)"', client.get("/").text)
    assert token is not None
    form = {"token": token[1], "file": (io.BytesIO(b"x"), "certificate.akashi")}
    answer = client.post("/", data=form)
    assert (answer.status_code, CANARY in answer.text) == (500, False)
    assert client.get("/nowhere").status_code == 404


def log_round(_directory: Path, _patch: pytest.MonkeyPatch, _factory: pytest.TempPathFactory) -> None:
    service: Any = SimpleNamespace(_stop=_Once())
    chain.service.LogService._repeat(service, defect, 0.0)


def log_beat(_directory: Path, _patch: pytest.MonkeyPatch, _factory: pytest.TempPathFactory) -> None:
    sequencer: Any = SimpleNamespace(beat=defect, _beat=1.0)
    stop: Any = _Once()
    chain.sequencer.Sequencer.run(sequencer, stop)


def witness(_directory: Path, _patch: pytest.MonkeyPatch, _factory: pytest.TempPathFactory) -> None:
    told: list[Any] = []
    server = SimpleNamespace(places=threading.BoundedSemaphore(1))
    handler: Any = SimpleNamespace(server=server, _refuse=told.append)
    chain.witness._Handler._guarded(handler, defect)
    assert [(refusal.status, refusal.code) for refusal in told] == [(500, "internal")]
    assert CANARY not in told[0].detail


def devnode(_directory: Path, _patch: pytest.MonkeyPatch, _factory: pytest.TempPathFactory) -> None:
    handler: Any = SimpleNamespace(server=SimpleNamespace(methods=SimpleNamespace(call=defect)))
    answer = chain.devnode.server._Handler._call(handler, {"method": "eth_call", "id": 1})
    assert CANARY not in str(answer)


PLACES: dict[str, tuple[Run, str]] = {
    "worker-loop": (worker_loop, "app/worker.py"),
    "worker-intake": (worker_intake, "app/worker.py"),
    "intake": (intake, "app/issuance/registering.py"),
    "walk": (walk, "app/issuance/corridor.py"),
    "gate-door": (gate_door, "app/registers/gate_door.py"),
    "signer": (signer, "app/sealing/signer_service.py"),
    "street-door": (street_door, "mobile_api/health.py"),
    "street-door-sweeper": (street_door_sweeper, "mobile_api/application.py"),
    "staff-console": (staff_console, "app/staff/views.py"),
    "check-page": (check_page, "verifier/portal/application.py"),
    "log-round": (log_round, "chain/service.py"),
    "log-beat": (log_beat, "chain/sequencer.py"),
    "witness": (witness, "chain/witness.py"),
    "devnode": (devnode, "chain/devnode/server.py"),
}


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """Everything logged (with tracebacks, where there are any) and printed since the test began."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)

    def read() -> str:
        printed = capsys.readouterr()
        return stream.getvalue() + printed.out + printed.err

    yield read
    root.removeHandler(handler)


@pytest.mark.parametrize("name", PLACES)
def test_a_defects_text_is_in_no_log_and_its_place_is(
    name: str,
    told: Callable[[], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    run, file = PLACES[name]
    run(tmp_path, monkeypatch, tmp_path_factory)
    text = told()
    assert CANARY not in text
    assert re.search(rf"DefectError at {re.escape(file)}:\d+ \w+", text), text


@pytest.mark.parametrize("name", PLACES)
def test_a_place_that_logs_the_traceback_is_found(
    name: str,
    told: Callable[[], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The broken variant: what `log.exception` would write."""
    run, _file = PLACES[name]
    changed = 0
    for module in list(sys.modules.values()):
        is_ours = module.__name__.split(".")[0] in ROOMS and module.__name__ != "verifier.fault"
        if is_ours and hasattr(module, "describe_fault"):
            monkeypatch.setattr(module, "describe_fault", lambda _error: traceback.format_exc())
            changed += 1
    assert changed >= 12
    run(tmp_path, monkeypatch, tmp_path_factory)
    assert CANARY in told()
