"""The gate's store on PostgreSQL: tables as in the code, codes consumed once, lines numbered as they are committed.

Needs a PostgreSQL server's programs, as the console's test does; else it is skipped and says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from app.registers import counter_store, mandate_store
from app.registers.gate_events import events_after, note_event
from app.registers.gate_store import metadata, upgrade_gate_store
from app.registers.mandate_store import Mandate
from app.registers.mandate_tables import ALL
from app.storage.engine import open_store
from tests.integration.test_staff_postgresql import address  # noqa: F401  (the server, a fixture)


@pytest.fixture(scope="module")
def store(address: str) -> Iterator[Engine]:  # noqa: F811
    engine = open_store(address)
    upgrade_gate_store(engine)
    yield engine
    engine.dispose()


def test_the_tables_are_those_of_the_code(store: Engine) -> None:
    assert all(table.metadata is metadata for table in ALL)
    with store.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_eight_at_once_use_a_printed_code_once(store: Engine) -> None:
    with store.begin() as connection:
        counter_store.store_code(connection, "A" * 22, "M-1", at=1, expires_at=100)

    def use(number: int) -> bool:
        with store.begin() as connection:
            return counter_store.use_code(connection, "A" * 22, used_by=f"{number:043d}", at=2) is not None

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(8))) == 1
        assert sum(pool.map(use, range(8))) == 1  # the same phone again


def test_eight_at_once_use_a_hand_over_code_once(store: Engine) -> None:
    with store.begin() as connection:
        mandate_store.store_code(connection, "23456789ABCD", "agent", at=1, expires_at=100)

    def use(number: int) -> bool:
        with store.begin() as connection:
            return mandate_store.use_code(connection, "23456789ABCD", f"{number:022d}", at=2) is not None

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(8))) == 1


def test_a_mandate_ends_once_and_lines_are_committed_in_order(store: Engine) -> None:
    mandate = Mandate(
        "m" * 22, "giver", "agent", "income_certificate", "2026", "x", "2026-11-20", "2027-03-31", "d" * 43,
        mandate_store.OFFERED, None, 1,
    )  # fmt: skip
    with store.begin() as connection:
        mandate_store.store_offer(connection, mandate, "{}")

    def end(_number: int) -> int:
        with store.begin() as connection:
            return mandate_store.end_one(connection, mandate.mandate, mandate_store.BY_GIVER, at=2)

    def seen(_number: int) -> bool:
        """Whoever reads sees no gap: a smaller number is never committed after a larger one."""
        with store.begin() as connection:
            numbers = [event.number for event in events_after(connection, 0, 1000)]
        return numbers == list(range(1, len(numbers) + 1))

    def note(number: int) -> bool:
        with store.begin() as connection:
            note_event(connection, binding=f"b{number}", what="mandate-used", mandate="", at=number)
            connection.execute(text("SELECT pg_sleep(0.02)"))
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(end, range(8))) == 1
        jobs = [pool.submit(work, number) for number in range(16) for work in (note, seen)]
        assert all(job.result() for job in jobs)
    with store.begin() as connection:
        assert len(events_after(connection, 0, 1000)) == 4 + 16
