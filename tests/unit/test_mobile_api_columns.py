"""The door's store holds what the allow-list says and nothing else: schema, migrations, and planted
canaries.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from mobile_api.store.columns import ALLOWED_COLUMNS, Content
from mobile_api.store.engine import migrate, open_store
from mobile_api.store.tables import metadata
from tests.support.door_house import PASSWORDS, FakeCard, make_house

CANARIES = ("花子", "hanako@mail.example", "住居手当の確認のため", "1234", "ABC123", "3560000")


def test_every_column_is_on_the_allow_list() -> None:
    columns = {(table.name, column.name) for table in metadata.tables.values() for column in table.columns}
    assert columns == set(ALLOWED_COLUMNS)


def test_minutes_are_named_minutes_and_nothing_else_is_a_time() -> None:
    for (_, name), content in ALLOWED_COLUMNS.items():
        assert name.endswith("_minute") == (content is Content.MINUTE), name
        assert not any(word in name for word in ("name", "mail_address", "birth", "serial", "_at"))


def test_migrations_make_exactly_the_tables(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/door.sqlite")
    migrate(store)
    migrate(store)
    with store.writer.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    assert differences == []
    store.close()


def test_canaries_reach_neither_store_nor_log(tmp_path: Path, caplog) -> None:
    caplog.set_level("DEBUG")
    house = make_house(tmp_path)
    with house.phone() as phone:
        phone.sign_up(FakeCard(), PASSWORDS, "hanako@mail.example")
        phone.request_certificate(2026, "住居手当の確認のため", FakeCard(), PASSWORDS.authentication)
        # Before the city has taken it: the envelope lies in the store.
        assert _rows(house.settings.database_url, "envelopes") == 1
        everything = _all_bytes(tmp_path / "door")
        account = phone.account or ""
    assert account.encode() in everything
    for canary in CANARIES:
        assert canary.encode() not in everything
        assert canary not in caplog.text
    assert account not in caplog.text
    assert "akashi.door" in {record.name for record in caplog.records}


def test_times_in_the_store_are_whole_minutes(tmp_path: Path) -> None:
    house = make_house(tmp_path)
    house.clock.now = datetime(2026, 11, 20, 1, 2, 59, 999, tzinfo=UTC)
    with house.registered_phone() as phone:
        phone.request_certificate(2026, "", FakeCard(), "1234")
    with sqlite3.connect(house.settings.database_url.removeprefix("sqlite:///")) as database:
        for (table, column), content in ALLOWED_COLUMNS.items():
            if content is Content.MINUTE:
                rows = database.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL").fetchall()
                assert all(value % 60 == 0 for (value,) in rows), (table, column)


def _all_bytes(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


def _rows(url: str, table: str) -> int:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
        return database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
