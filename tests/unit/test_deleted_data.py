"""What was deleted from a store is not in its file, nor in the write-ahead log once that was emptied.

Each store's own way of opening it is tried, with SQLite's secure_delete switched off on the connection as the positive
control. Rows of many sizes that come, change and go in random order make SQLite rearrange its pages: copies that it leaves
there are beyond secure_delete, and are gone after `scrub`.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from app.staff.store import Store as StaffStore
from app.storage import certificates as certificate_store
from app.storage.engine import empty_wal, open_store, scrub, upgrade_store
from app.storage.tables import artifacts
from app.worker_process import MIGRATIONS
from mobile_api.store.engine import open_store as open_door_store

CANARY = "鸚鵡沢　椋鳥子".encode()
SIZES = (1, 3, 20, 90, 400)
ROWS = 600

STORES: dict[str, Callable[[str], Engine]] = {
    "city": open_store,
    "staff": lambda url: StaffStore(url).writing,
    "door": lambda url: open_door_store(url).writer,
}


def churn(engine: Engine, seed: int) -> None:
    """Rows with canaries and plain ones come, change and go; in the end no canary is there as SQL sees it."""
    order = random.Random(seed)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)")
        connection.exec_driver_sql("CREATE INDEX i ON t (v)")
    for start in range(0, ROWS, 50):
        with engine.begin() as connection:
            for key in range(start, start + 50):
                value = CANARY * order.choice(SIZES) if key % 3 else b"plain" * order.choice(SIZES)
                connection.exec_driver_sql("INSERT INTO t VALUES (?, ?)", (key, value))
            for key in order.sample(range(start + 50), 20):
                connection.exec_driver_sql(
                    "UPDATE t SET v = ? WHERE k = ?", (b"x" * order.choice(SIZES), key)
                )
            for key in order.sample(range(start + 50), 10):
                connection.exec_driver_sql("DELETE FROM t WHERE k = ?", (key,))
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM t WHERE instr(v, ?) > 0", (CANARY,))
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar_one() > 50


def files(path: Path) -> bytes:
    """The database and everything beside it."""
    return b"".join(one.read_bytes() for one in sorted(path.parent.glob(path.name + "*")))


@pytest.mark.parametrize("is_careless", [False, True])
@pytest.mark.parametrize("name", STORES)
def test_deleted_rows_are_not_in_the_files(name: str, is_careless: bool, tmp_path: Path) -> None:
    """Without secure_delete they are found: the positive control."""
    path = tmp_path / "store.sqlite"
    engine = STORES[name](f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _careless(connection: Any, _record: Any) -> None:
        if is_careless:
            connection.execute("PRAGMA secure_delete=off")

    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)")
        for key, size in enumerate(SIZES):
            connection.exec_driver_sql("INSERT INTO t VALUES (?, ?)", (key, CANARY * size))
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM t WHERE k > 0")
        connection.exec_driver_sql("UPDATE t SET v = NULL")
    assert empty_wal(engine)
    assert (CANARY in files(path)) is is_careless
    engine.dispose()


@pytest.mark.parametrize("seed", range(1, 7))
def test_a_scrubbed_store_has_no_copies_of_rearranged_pages(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    engine = open_store(f"sqlite:///{path}")
    churn(engine, seed)
    assert scrub(engine)
    assert b"plain" in files(path)
    assert CANARY not in files(path)
    engine.dispose()


def test_secure_delete_alone_leaves_copies(tmp_path: Path) -> None:
    """The positive control, and the reason for `scrub`: one of these stores at least, as this SQLite lays it out."""
    left = 0
    for seed in range(1, 7):
        path = tmp_path / f"{seed}.sqlite"
        engine = open_store(f"sqlite:///{path}")
        churn(engine, seed)
        assert empty_wal(engine)
        left += files(path).count(CANARY)
        engine.dispose()
    assert left > 0


def kept(engine: Engine) -> None:
    """The plain documents of one request in the worker's store, and their end when it is released."""
    with engine.begin() as connection:
        values = {column.name: CANARY * 50 for column in artifacts.c if column.name != "request_id"}
        connection.execute(artifacts.insert().values(request_id="r" * 22, **values))
    with engine.begin() as connection:
        certificate_store.drop_artifacts(connection, "r" * 22)


@pytest.mark.parametrize("is_emptied", [True, False])
def test_documents_of_a_released_request_leave_the_log_too(is_emptied: bool, tmp_path: Path) -> None:
    """Without emptying it, the write-ahead log still has them: the positive control."""
    path = tmp_path / "worker.sqlite"
    engine = open_store(f"sqlite:///{path}")
    upgrade_store(engine, MIGRATIONS)
    kept(engine)
    if is_emptied:
        assert empty_wal(engine)
    assert (CANARY in files(path)) is not is_emptied
    engine.dispose()


def test_a_store_that_somebody_reads_is_tried_later(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    engine = open_store(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _impatient(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA busy_timeout=50")

    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (v BLOB)")
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM t").fetchall()
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (x'00')")
    assert not empty_wal(engine)
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert not scrub(engine)
    writer.execute("COMMIT")
    writer.close()
    reader.execute("COMMIT")
    reader.close()
    assert empty_wal(engine)
    engine.dispose()
