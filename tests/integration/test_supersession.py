"""更正: corrected figures supersede that year's certificates and copies, once, and only what shows the old figures.

The corridor, the register gate and both stores are the real ones; page, seal, log and verifier are left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.claims.certificate_data import DEMO_AUTHORITY
from app.delivery.bundle import Documents
from app.errors import UnavailableError
from app.issuance.log_door import Place
from app.issuance.walk import Walk, WalkSettings
from app.registers.events import TaxRecordChanged
from app.registers.release import Released
from app.registers.resident import Resident
from app.revocation import protection, supersession
from app.revocation.protection import follow_changes
from app.revocation.reasons import Reason
from app.storage import accounts as account_store
from app.storage import copies as copy_store
from app.storage import requests as request_store
from app.storage import revocations as revocation_store
from app.storage.copies import LoggedCopy, SealedCopy
from app.storage.status_entries import find_invalid, open_status_list
from mobile_api.messages import History, HistoryWish, Notice, Refused
from tests.support.city_rooms import CityRooms, Device, city_rooms
from tests.unit.test_storage_copies import new_keys
from verifier.formats.encoding import canonical_json

YEAR = 2026


@pytest.fixture
def rooms(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityRooms]:
    for made in city_rooms(tmp_path, tmp_path_factory):
        with made.store.begin() as connection:
            open_status_list(connection, 1, size=1024)
        yield made


class PlainMaker:
    """Documents that say whom they are about and which figures they show."""

    def make(self, released: Released, *_rest: Any, **_more: Any) -> Documents:
        person = released.record["person"]
        subject = {name: person[name] for name in ("address_jan1", "birthdate", "name")}
        return Documents(os.urandom(8), canonical_json({"subject": subject}), "credential")


def corridor(rooms: CityRooms, monkeypatch: pytest.MonkeyPatch) -> Walk:
    for name, result in (("leaf_entry_of", b"e" * 32), ("assemble_bundle", b"bundle")):
        monkeypatch.setattr(f"app.issuance.walk.{name}", lambda *_a, result=result, **_b: result)
    return Walk(
        rooms.store,
        WalkSettings(DEMO_AUTHORITY),
        gate=rooms.direct,  # type: ignore[arg-type]
        maker=PlainMaker(),  # type: ignore[arg-type]
        log_door=SimpleNamespace(append=lambda entries: [Place(n, "proof") for n, _ in enumerate(entries)]),  # type: ignore[arg-type]
        gatekeeper=SimpleNamespace(check=lambda *_a, **_b: None),  # type: ignore[arg-type]
        status_token=lambda _number: b"status",
        clock=rooms.clock,
    )


@pytest.fixture
def walk(rooms: CityRooms, monkeypatch: pytest.MonkeyPatch) -> Walk:
    return corridor(rooms, monkeypatch)


def correct(rooms: CityRooms, person: Resident, year: int = YEAR, by: int = 1) -> None:
    """The tax office corrects a salary."""
    record = rooms.registers.find_tax_record(person.resident_id, year)
    assert record is not None
    income = {**record.data["income"]}
    income["salary_revenue"] = int(income.get("salary_revenue", 0)) + by
    changed = replace(record, data={**record.data, "income": income})
    rooms.registers.record_event(TaxRecordChanged(changed), rooms.clock())


def ask(rooms: CityRooms, device: Device) -> str:
    """A request of this phone, accepted."""
    known = {row[0] for row in rooms.rows("SELECT request_id FROM requests")}
    device.send(device.request_body())
    (new,) = {row[0] for row in rooms.rows("SELECT request_id FROM requests")} - known
    return new


def issue(rooms: CityRooms, walk: Walk, device: Device) -> str:
    request = ask(rooms, device)
    walk.run_once()
    assert state(rooms, request) == "released"
    return request


def state(rooms: CityRooms, request: str) -> str:
    return dict(rooms.rows("SELECT request_id, state FROM requests"))[request]


def follow(rooms: CityRooms) -> int:
    return follow_changes(rooms.store, rooms.direct, at=rooms.at)  # type: ignore[arg-type]


def reasons(rooms: CityRooms) -> dict[str, str]:
    return dict(rooms.rows("SELECT request_id, reason FROM revocations"))


def notices(rooms: CityRooms, code: str = "superseded") -> list[str]:
    return sorted(
        account for account, body in rooms.answers() if isinstance(body, Notice) and body.code == code
    )


def copies_of(rooms: CityRooms, request: str, count: int = 10, *, released: bool = True) -> None:
    """Wallet copies of a request, as the city's wallet room leaves them."""
    with rooms.store.begin() as connection:
        made = copy_store.reserve_copies(
            connection, request, new_keys(count), issued_at=rooms.at, valid_until="2027-12-31"
        )
        copy_store.store_copies_sealed(
            connection, request, [SealedCopy(copy.copy_id, "credential", os.urandom(32)) for copy in made]
        )
        copy_store.store_copies_logged(
            connection, request, [LoggedCopy(copy.copy_id, copy.position, "proof") for copy in made]
        )
        if released:
            copy_store.store_copies_released(connection, request, at=rooms.at)


def invalid(rooms: CityRooms) -> int:
    with rooms.store.begin() as connection:
        return len(find_invalid(connection, 1))


def test_corrected_figures_supersede_certificate_and_copies_and_every_phone_is_told(
    rooms: CityRooms, walk: Walk
) -> None:
    mine = [rooms.registered(rooms.people[0]) for _ in range(2)]
    theirs = rooms.registered(rooms.people[1])
    request, other = issue(rooms, walk, mine[0]), issue(rooms, walk, theirs)
    copies_of(rooms, request)
    correct(rooms, rooms.people[0])
    assert follow(rooms) == 1
    assert reasons(rooms) == {request: "superseded"}
    assert invalid(rooms) == 11
    assert notices(rooms) == sorted(device.account for device in mine)
    package = dict(rooms.rows("SELECT request_id, package_id FROM certificates"))
    # What lies at the door is taken back, and copies kept for a wallet that asks again are forgotten.
    assert rooms.rows("SELECT item_id FROM outbox WHERE kind = 'withdrawal'") == [(package[request],)]
    assert rooms.rows("SELECT count(*) FROM copies WHERE credential IS NOT NULL OR proof IS NOT NULL") == [
        (0,)
    ]
    assert (state(rooms, request), state(rooms, other)) == ("released", "released")
    with rooms.store.begin() as connection:
        assert revocation_store.find_reason(connection, request) is Reason.SUPERSEDED
    # The same again is nothing new, nor is the same record delivered once more.
    correct(rooms, rooms.people[0], by=0)
    assert (follow(rooms), follow(rooms)) == (1, 0)
    assert len(notices(rooms)) == 2
    (history,) = [body for _, body in mine[0].send(HistoryWish()) if isinstance(body, History)]
    assert [line.code for line in history.entries if line.code.startswith("revoked")] == [
        "revoked-superseded"
    ]
    (history,) = [body for _, body in theirs.send(HistoryWish()) if isinstance(body, History)]
    assert not [line.code for line in history.entries if line.code.startswith("revoked")]


def test_the_new_certificate_is_not_superseded_by_the_correction_it_shows(
    rooms: CityRooms, walk: Walk
) -> None:
    device = rooms.registered(rooms.people[0])
    old = issue(rooms, walk, device)
    correct(rooms, rooms.people[0])
    new = issue(rooms, walk, device)
    assert follow(rooms) == 1
    assert reasons(rooms) == {old: "superseded"}
    correct(rooms, rooms.people[0])
    follow(rooms)
    assert set(reasons(rooms)) == {old, new}


def test_a_first_declaration_and_another_year_supersede_nothing(rooms: CityRooms, walk: Walk) -> None:
    device = rooms.registered(rooms.people[0])
    correct(rooms, rooms.people[0])
    assert follow(rooms) == 1
    request = issue(rooms, walk, device)
    record = rooms.registers.find_tax_record(rooms.people[0].resident_id, YEAR)
    assert record is not None
    rooms.registers.record_event(TaxRecordChanged(replace(record, fiscal_year=YEAR - 1)), rooms.clock())
    assert follow(rooms) == 1
    assert reasons(rooms) == {}
    assert notices(rooms) == []
    assert state(rooms, request) == "released"


def test_of_a_request_of_before_positions_were_kept_the_worse_is_believed(
    rooms: CityRooms, walk: Walk
) -> None:
    request = issue(rooms, walk, rooms.registered(rooms.people[0]))
    with rooms.store.begin() as connection:
        connection.exec_driver_sql("UPDATE requests SET register_position = NULL")
    correct(rooms, rooms.people[0])
    follow(rooms)
    assert reasons(rooms) == {request: "superseded"}


STEPS: list[tuple[str, list[str]]] = [
    ("sealed", ["reserve", "make"]),
    ("logged", ["reserve", "make", "enter_log"]),
]


@pytest.mark.parametrize("followed", [False, True])
@pytest.mark.parametrize(("where", "before"), STEPS, ids=[where for where, _ in STEPS])
def test_what_was_sealed_from_old_figures_is_not_handed_over(
    rooms: CityRooms, walk: Walk, where: str, before: list[str], followed: bool
) -> None:
    device = rooms.registered(rooms.people[0])
    request = ask(rooms, device)
    for step in before:
        assert getattr(walk, step)() == 1
    assert state(rooms, request) == where
    correct(rooms, rooms.people[0])
    if followed:
        follow(rooms)
        # It is nobody's yet: there is nothing to revoke and nobody to be told of an old certificate.
        assert reasons(rooms) == {}
    walk.run_once()
    walk.run_once()
    assert state(rooms, request) == "refused"
    refused = [body for _, body in rooms.answers(device.account) if isinstance(body, Refused)]
    assert [(no.code, no.retry) for no in refused] == [("corrected", True)]
    assert rooms.rows("SELECT count(*) FROM outbox WHERE kind = 'package'") == [(0,)]
    assert rooms.rows("SELECT count(*) FROM artifacts") == [(0,)]
    # The next one shows the new figures.
    issue(rooms, walk, device)
    follow(rooms)
    assert reasons(rooms) == {}


@pytest.mark.parametrize("before", [[], ["reserve"]])
def test_what_was_not_made_yet_is_made_from_the_new_figures(
    rooms: CityRooms, walk: Walk, before: list[str]
) -> None:
    request = ask(rooms, rooms.registered(rooms.people[0]))
    for step in before:
        assert getattr(walk, step)() == 1
    correct(rooms, rooms.people[0])
    walk.run_once()
    follow(rooms)
    assert state(rooms, request) == "released"
    assert reasons(rooms) == {}


def test_control_a_corridor_that_forgets_the_position_hands_old_figures_over(
    rooms: CityRooms, walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the position the last door sees nothing; the feed still catches it, late."""
    monkeypatch.setattr(request_store, "note_position", lambda *_arguments: None)
    request = ask(rooms, rooms.registered(rooms.people[0]))
    walk.reserve()
    walk.make()
    correct(rooms, rooms.people[0])
    walk.enter_log()
    walk.release()
    assert state(rooms, request) == "released"
    follow(rooms)
    assert reasons(rooms) == {request: "superseded"}


class PowerCutError(BaseException):
    """Nothing of ours may catch it."""


@pytest.mark.parametrize("where", ["mark_revoked", "queue_answer", "forget_documents", "progress"])
def test_a_crash_anywhere_ends_in_one_supersession_and_one_notice(
    rooms: CityRooms, walk: Walk, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    device = rooms.registered(rooms.people[0])
    request = issue(rooms, walk, device)
    copies_of(rooms, request, 3)
    correct(rooms, rooms.people[0])
    room: Any = protection if where == "progress" else supersession
    name = "store_progress" if where == "progress" else where
    real: Callable[..., Any] = getattr(room, name)

    def dies_after(*arguments: Any, **named: Any) -> Any:
        real(*arguments, **named)
        raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(room, name, dies_after)
        with pytest.raises(PowerCutError):
            follow(rooms)
    assert reasons(rooms) == {}
    assert invalid(rooms) == 0
    assert follow(rooms) == 1
    assert reasons(rooms) == {request: "superseded"}
    assert invalid(rooms) == 4
    assert notices(rooms) == [device.account]


def test_a_gate_that_is_away_between_two_questions_loses_no_correction(
    rooms: CityRooms, walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = issue(rooms, walk, rooms.registered(rooms.people[0]))
    correct(rooms, rooms.people[0])

    def away(**_question: Any) -> list[str]:
        raise UnavailableError("gate")

    with monkeypatch.context() as patch:
        patch.setattr(rooms.direct, "requests_of", away)
        with pytest.raises(UnavailableError):
            follow(rooms)
    assert follow(rooms) == 1
    assert reasons(rooms) == {request: "superseded"}


def test_stopped_and_frozen_phones_are_not_told_and_their_certificates_are_superseded_all_the_same(
    rooms: CityRooms, walk: Walk
) -> None:
    stopped, active = (rooms.registered(rooms.people[0]) for _ in range(2))
    request = issue(rooms, walk, stopped)
    with rooms.store.begin() as connection:
        account_store.change_state(
            connection, stopped.account, before=account_store.ACTIVE, after=account_store.STOPPED
        )
    correct(rooms, rooms.people[0])
    follow(rooms)
    assert reasons(rooms) == {request: "superseded"}
    assert notices(rooms) == [active.account]


def test_the_feed_names_kind_and_year_and_nothing_of_the_figures(rooms: CityRooms) -> None:
    device = rooms.registered(rooms.people[0])
    (binding,) = rooms.gate_rows("SELECT binding FROM bindings")[0]
    correct(rooms, rooms.people[0], by=7_654_321)
    assert [change[1:] for change in rooms.gate.changes(after=0)] == [(binding, "tax-record-2026")]
    assert rooms.gate.requests_of(binding=binding, fiscal_year=YEAR) == []
    request = ask(rooms, device)
    assert rooms.gate.requests_of(binding=binding, fiscal_year=YEAR) == [request]
    assert rooms.gate.requests_of(binding=binding, fiscal_year=YEAR - 1) == []
    assert rooms.gate.requests_of(binding="0" * 32, fiscal_year=YEAR) == []


@pytest.mark.parametrize(
    ("event", "year"),
    [
        ("tax-record-2026", 2026),
        ("tax-record", None),
        ("tax-record-same", None),
        ("tax-record-20260", None),
        ("tax-record-２０２６", None),
        ("x-tax-record-2026", None),
        ("protected", None),
    ],
)
def test_which_events_are_corrections(event: str, year: int | None) -> None:
    assert supersession.corrected_year(event) == year
