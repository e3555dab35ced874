"""The stores of devices and mandates come up from the released ones, with what was in them, and twice in a row."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect

from app.registers.gate_store import MIGRATIONS as GATE_MIGRATIONS
from app.registers.gate_store import upgrade_gate_store
from app.registers.mandate_tables import ALL, COUNTERS
from app.storage.engine import open_store, upgrade_store
from app.worker_process import MIGRATIONS


def upgrade_to(engine: Engine, migrations: Path, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations))
    script = ScriptDirectory.from_config(config)
    with (
        EnvironmentContext(
            config, script, fn=lambda rev, _c: script._upgrade_revs(revision, rev)
        ) as environment,
        engine.connect() as connection,
    ):
        environment.configure(connection=connection, transactional_ddl=True)
        with environment.begin_transaction():
            environment.run_migrations()
        connection.commit()


@pytest.fixture
def store(tmp_path: Path) -> Engine:
    return open_store(f"sqlite:///{tmp_path}/store.sqlite")


def test_a_released_gate_store_comes_up(store: Engine) -> None:
    upgrade_to(store, GATE_MIGRATIONS, "0001")
    with store.begin() as connection:
        # As released: without the tables of this revision.
        for table in reversed(ALL):
            table.drop(connection, checkfirst=True)
        connection.exec_driver_sql("INSERT INTO bindings VALUES ('b', 'M-1', 1)")
    upgrade_gate_store(store)
    upgrade_gate_store(store)
    assert {table.name for table in ALL} <= set(inspect(store).get_table_names())
    with store.begin() as connection:
        rows = connection.exec_driver_sql("SELECT name, value FROM gate_progress ORDER BY name").all()
        assert [tuple(row) for row in rows] == [(name, 0) for name in sorted(COUNTERS)]
        assert connection.exec_driver_sql("SELECT binding FROM bindings").all() == [("b",)]


def test_a_released_worker_store_comes_up(store: Engine) -> None:
    upgrade_to(store, MIGRATIONS, "0003")
    with store.begin() as connection:
        for name in ("mandate_requests", "notice_mails"):
            connection.exec_driver_sql(f"DROP TABLE {name}")
    upgrade_store(store, MIGRATIONS)
    upgrade_store(store, MIGRATIONS)
    assert {"mandate_requests", "notice_mails"} <= set(inspect(store).get_table_names())
