"""Seals = leaves = authorised: what the monitor sends counts documents, and one too many is seen at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine

from app.issuance.monitor import Monitor
from app.staff.events import Received
from app.staff.messages import Snapshot
from app.staff.monitor import find_alarms
from app.storage import certificates
from app.storage.copies import (
    LoggedCopy,
    SealedCopy,
    reserve_copies,
    store_copies_logged,
    store_copies_sealed,
)
from app.storage.engine import open_store
from app.storage.status_entries import tend_lists
from app.storage.tables import metadata
from app.zones import Guard
from tests.unit.test_storage_copies import ISSUED, UNTIL, new_keys

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
COPIES = 10


class Gate:
    authorised = 0

    def tally(self) -> int:
        return self.authorised


class City:
    """One phone certificate and ten wallet copies of another request, sealed and logged."""

    def __init__(self, store: Engine) -> None:
        self.store, self.gate, self.sent = store, Gate(), []
        feed: Any = SimpleNamespace(push_events=lambda _events: None, put_snapshot=self.sent.append)
        log_door: Any = SimpleNamespace(state=lambda: {"size": 64, "anchored_size": 64})
        gate: Any = self.gate
        self.monitor = Monitor(store, feed, log_door, gate, guard=Guard(None), clock=lambda: NOW)
        with store.begin() as connection:
            tend_lists(connection, wanted=2, size=1024, may_open=lambda _number: True)
            certificates.reserve(connection, "phone", issued_at=ISSUED, valid_until=UNTIL)
            certificates.store_sealed(
                connection, "phone", page=b"", data=b"", credential="", entry=os.urandom(32)
            )
            certificates.store_proof(connection, "phone", proof="", log_index=0)
            made = reserve_copies(connection, "wallet", new_keys(COPIES), issued_at=ISSUED, valid_until=UNTIL)
            store_copies_sealed(
                connection,
                "wallet",
                [SealedCopy(copy.copy_id, "credential", os.urandom(32)) for copy in made],
            )
            store_copies_logged(
                connection, "wallet", [LoggedCopy(copy.copy_id, copy.position + 1, "proof") for copy in made]
            )

    def snapshot(self) -> Snapshot:
        self.monitor.push()
        return self.sent[-1]

    def alarms(self, *, unequal_since: int | None = None) -> list[str]:
        received = Received(self.snapshot(), int(NOW.timestamp()), unequal_since)
        return [alarm.code for alarm in find_alarms(received, int(NOW.timestamp()), 300)]


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    engine = open_store(f"sqlite:///{tmp_path / 'worker.sqlite'}")
    metadata.create_all(engine)
    yield City(engine)
    engine.dispose()


def test_a_request_with_copies_counts_as_many_as_it_has_leaves(city: City) -> None:
    city.gate.authorised = 1 + COPIES
    taken = city.snapshot()
    assert (taken.seals, taken.leaves, taken.authorised) == (11, 11, 11)
    assert city.alarms() == []


@pytest.mark.parametrize("authorised", [0, 2, COPIES])
def test_control_one_copy_more_than_authorised_is_an_alarm_at_once(city: City, authorised: int) -> None:
    """Two requests, eleven documents: counting requests on one side only would hide ten of them."""
    city.gate.authorised = authorised
    assert city.alarms() == ["counts-impossible"]


def test_control_a_leaf_without_a_seal_is_an_alarm_at_once(city: City) -> None:
    city.gate.authorised = 1 + COPIES
    with city.store.begin() as connection:
        connection.exec_driver_sql("UPDATE copies SET entry = NULL WHERE position = 3")
    assert city.alarms() == ["counts-impossible"]


def test_control_a_seal_that_never_reaches_the_log_is_an_alarm_when_it_lasts(city: City) -> None:
    city.gate.authorised = 1 + COPIES
    with city.store.begin() as connection:
        connection.exec_driver_sql("UPDATE copies SET log_index = NULL WHERE position = 3")
    assert city.alarms() == []
    assert city.alarms(unequal_since=int(NOW.timestamp()) - 300) == ["counts-differ"]
