"""The console's store on PostgreSQL: the same statements, the same answers, the same tables.

Needs a PostgreSQL server's programs and a way to run them as somebody who is not root; else it is skipped and says so.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from app.staff.errors import RevocationRefusedError
from app.staff.messages import Ack, Event, Snapshot, format_events, format_snapshot
from app.staff.store import Store
from app.staff.tables import metadata
from tests.support.staff_console import Console
from tests.support.watched_processes import watched

EVENT = Event("req-0001", datetime(2026, 11, 20, 2, 59, tzinfo=UTC), "seal", "sealed", 120)


def _find(name: str) -> str:
    found = shutil.which(name) or next(
        map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None
    )
    if found is None:
        pytest.skip(f"no PostgreSQL server here ({name})")
    return found


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server of its own on a Unix socket, gone afterwards."""
    initdb, pg_ctl = _find("initdb"), _find("pg_ctl")
    run_as: list[str] = []
    if os.getuid() == 0:
        runuser = shutil.which("runuser")
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL refuses root, and there is no user postgres")
        if runuser is None:
            pytest.skip("PostgreSQL refuses root, and there is no runuser")
        run_as = [runuser, "-u", "postgres", "--"]
    # Not pytest's folder: its parents are closed to the user the server runs as, and a socket's path must be short.
    home = Path(tempfile.mkdtemp(prefix="akashi-pg-"))
    if run_as:
        os.chown(home, owner.pw_uid, owner.pw_gid)
    data = home / "data"
    options = f"-k {home} -c listen_addresses='' -c fsync=off"
    commands = (
        [initdb, "-D", str(data), "-A", "trust", "-U", "staff"],
        [pg_ctl, "-D", str(data), "-o", options, "-w", "-l", str(home / "log"), "start"],
    )
    with watched(home):
        for command in commands:
            subprocess.run([*run_as, *command], check=True, stdout=subprocess.DEVNULL, timeout=60, cwd=home)
        yield f"postgresql+psycopg://staff@/postgres?host={home}"
        stop = [*run_as, pg_ctl, "-D", str(data), "-m", "immediate", "stop"]
        subprocess.run(stop, check=True, stdout=subprocess.DEVNULL, timeout=60, cwd=home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def console(address: str, tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path, store=Store(address))
    yield made
    made.close()


def test_the_whole_way_of_a_revocation_on_postgresql(console: Console) -> None:
    batch = format_events([EVENT, replace(EVENT, state="logged")])
    assert console.worker("POST", "/city/events", batch).get_json()["recorded"] == 2
    assert console.worker("POST", "/city/events", batch).get_json()["recorded"] == 0
    for seals in (1, 2):
        body = format_snapshot(Snapshot(1, 1, 0, seals=seals, leaves=1, authorised=2))
        assert console.worker("PUT", "/city/snapshot", body).status_code == 200
    hanako, taro = console.person("hanako"), console.person("taro")
    assert "logged" in hanako.get("/requests/req-0001").text
    revocations, now = console.doors.revocations, console.clock()
    identifier = revocations.ask("req-0001", "wrong-figures", "", "hanako", now)
    with pytest.raises(RevocationRefusedError, match="already-open"):
        revocations.ask("req-0001", "wrong-figures", "", "taro", now)
    with pytest.raises(RevocationRefusedError, match="same-person"):
        revocations.confirm(identifier, "hanako", now)
    revocations.confirm(identifier, "taro", now)
    assert [command.id for command in revocations.select_commands(9)] == [identifier]
    revocations.acknowledge([Ack(identifier, "done")], now)
    assert [item.state for item in revocations.select_of("req-0001")] == ["done"]
    assert taro.get("/").status_code == 200
    with console.store.reading.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
