"""Logins on PostgreSQL: the same statements as on SQLite, and of eight at once exactly one is served.

Needs a PostgreSQL server's programs, as the console's test does; else it is skipped and says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine

from app.registers import gate_store
from app.storage import logins as login_store
from app.storage.engine import open_store, upgrade_store
from app.storage.logins import FinishedRow, PendingRow
from app.worker_process import MIGRATIONS
from tests.integration.test_staff_postgresql import address  # noqa: F401  (the server, a fixture)

PENDING = PendingRow(b"s" * 32, "p2", "income_certificate", 2026, 1000)


@pytest.fixture(scope="module")
def stores(address: str) -> Iterator[tuple[Engine, Engine]]:  # noqa: F811
    """The worker's and the gate's, each in a database of its own."""
    worker = open_store(address)
    with worker.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("CREATE DATABASE gate")
    gate = open_store(worker.url.set(database="gate").render_as_string(hide_password=False))
    upgrade_store(worker, MIGRATIONS)
    gate_store.upgrade_gate_store(gate)
    yield worker, gate
    worker.dispose()
    gate.dispose()


def test_the_gates_tables_are_those_of_the_code(stores: tuple[Engine, Engine]) -> None:
    with stores[1].connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), gate_store.metadata) == []


def test_of_eight_returns_one_takes_the_login(stores: tuple[Engine, Engine]) -> None:
    store = stores[0]
    for turn in range(5):
        session, state = f"session-{turn}", f"state-{turn}"
        with store.begin() as connection:
            login_store.store_pending(connection, session, state, PENDING)

        def take(_number: int, session: str = session, state: str = state) -> PendingRow | None:
            with store.begin() as connection:
                return login_store.take_pending(connection, session, state)

        assert take(0, session, "another state") is None
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(take, range(8)))
        assert [row for row in found if row is not None] == [PENDING]


def test_what_a_login_came_to_is_noted_once(stores: tuple[Engine, Engine]) -> None:
    store, done = stores[0], FinishedRow("e" * 22, "g" * 22, "b" * 32, True, 1000)
    with store.begin() as connection:
        login_store.note_finished(connection, done)
        login_store.note_finished(connection, FinishedRow("e" * 22, "h" * 22, "b" * 32, False, 1001))
        assert login_store.find_finished(connection, "e" * 22) == done
        assert login_store.find_logins_of(connection, "b" * 32, 10) == [done]
        login_store.drop_old_pending(connection, before=1001)
        assert login_store.count_pending(connection) == 0


def test_of_eight_requests_one_uses_the_token(stores: tuple[Engine, Engine]) -> None:
    store = stores[1]

    def use(number: int) -> bool:
        with store.begin() as connection:
            return gate_store.take_login_token(
                connection, nonce="n" * 64, request_id=f"r{number}", evidence="e" * 64, at=1000
            )

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(use, range(8)))
    assert sorted(found) == [False] * 7 + [True]
    assert use(found.index(True)), "the same evidence for the same request may come again"


def test_of_eight_first_logins_each_resident_gets_one_binding(stores: tuple[Engine, Engine]) -> None:
    """The same new login eight times: one row, one binding, and nobody fails."""
    store = stores[1]

    def bind(_number: int) -> tuple[str, bool]:
        with store.begin() as connection:
            return gate_store.bind_login(connection, resident_id="r-1", login="l" * 64, at=1)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(bind, range(8)))
    assert len({binding for binding, _ in found}) == 1
    assert sum(is_new for _, is_new in found) == 1
