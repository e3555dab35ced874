"""Status entries: drawn at random over open lists, never twice, gone after expiry, lists opened and closed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, event

from app.errors import ConflictError, UnavailableError
from app.revocation.reasons import Reason
from app.storage import certificates, revocations, status_entries
from app.storage.engine import open_store, upgrade_store
from app.storage.status_entries import REUSE_AFTER_DAYS, StatusPlace, draw_places, find_invalid, tend_lists
from app.storage.tables import metadata
from app.worker_process import MIGRATIONS

UNTIL = "2027-02-20"
LAST = date.fromisoformat(UNTIL)
ISSUED = 1_795_143_600  # 2026-11-20 in Japan


@pytest.fixture
def store(tmp_path: Path) -> Engine:
    engine = open_store(f"sqlite:///{tmp_path / 'worker.sqlite'}")
    metadata.create_all(engine)
    return engine


def tend(store: Engine, *, wanted: int = 4, size: int = 1024, known: int = 99) -> None:
    with store.begin() as connection:
        tend_lists(connection, wanted=wanted, size=size, may_open=lambda number: number <= known)


def lists(store: Engine) -> list[tuple[int, int, int]]:
    with store.begin() as connection:
        return [
            tuple(row)
            for row in connection.exec_driver_sql(
                "SELECT status_list, is_open, dirty FROM status_lists ORDER BY 1"
            )
        ]


def draw(store: Engine, count: int, request_id: str = "r", last_day: str = UNTIL) -> list[StatusPlace]:
    with store.begin() as connection:
        return draw_places(connection, request_id, last_day=last_day, count=count)


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Pearson's coefficient; 0 when one number says nothing about the other."""
    count = len(pairs)
    mean = [sum(pair[side] for pair in pairs) / count for side in (0, 1)]
    product = sum((a - mean[0]) * (b - mean[1]) for a, b in pairs)
    spread = [sum((pair[side] - mean[side]) ** 2 for pair in pairs) for side in (0, 1)]
    return float(product / (spread[0] * spread[1]) ** 0.5)


def test_draws_are_spread_over_all_open_lists_and_never_meet(store: Engine) -> None:
    tend(store)
    places = [place for number in range(60) for place in draw(store, 10, f"r{number}")]
    assert len(set(places)) == 600
    for number in (1, 2, 3, 4):
        # 150 are expected of each; 90 and 210 are more than five standard deviations away.
        assert 90 < sum(place.status_list == number for place in places) < 210
    for start in range(0, 600, 10):
        batch = places[start : start + 10]
        assert not any(a.is_beside(b) for a in batch for b in batch if a is not b)


def order_of(batches: Sequence[Sequence[StatusPlace]]) -> float:
    """How much the position in a batch says of the index."""
    return abs(
        rank_correlation([(n, place.status_index) for batch in batches for n, place in enumerate(batch)])
    )


def test_the_position_in_a_batch_says_nothing_about_the_index(store: Engine) -> None:
    tend(store, size=1 << 16)
    batches = [draw(store, 10, f"r{number}") for number in range(80)]
    # 800 pairs: the standard deviation of the coefficient is 0.035.
    assert order_of(batches) < 0.18
    # The same measure finds a city that sorts its draws.
    assert order_of([sorted(batch, key=lambda place: place.status_index) for batch in batches]) > 0.8


def test_neighbours_in_a_batch_are_drawn_anew(store: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    tend(store, wanted=1)
    indices = iter([100, 100, 101, 99, 103])
    monkeypatch.setattr(status_entries.secrets, "randbelow", lambda _size: next(indices))
    assert [place.status_index for place in draw(store, 2)] == [100, 103]


def test_a_list_that_is_half_full_is_closed_and_another_is_opened(store: Engine) -> None:
    tend(store, wanted=2, size=64)
    draw(store, 20, "r1")
    tend(store, wanted=2, size=64)
    assert [(number, is_open) for number, is_open, _ in lists(store)] == [(1, 1), (2, 1)]
    while any(count < 32 for count in used(store)):
        draw(store, 1, "r2")
    tend(store, wanted=2, size=64)
    assert [(number, is_open) for number, is_open, _ in lists(store)] == [(1, 0), (2, 0), (3, 1), (4, 1)]
    assert {place.status_list for place in draw(store, 20, "r3")} == {3, 4}


def used(store: Engine) -> list[int]:
    with store.begin() as connection:
        return [
            connection.exec_driver_sql(
                "SELECT count(*) FROM status_entries WHERE status_list = ?", (number,)
            ).scalar_one()
            for number in (1, 2)
        ]


def test_only_lists_that_readers_know_are_open_and_a_full_one_is_better_than_none(store: Engine) -> None:
    tend(store, wanted=4, size=64, known=1)
    for _ in range(40):
        draw(store, 1)
    tend(store, wanted=4, size=64, known=1)
    assert [(number, is_open) for number, is_open, _ in lists(store)] == [(1, 1)]
    tend(store, wanted=2, size=64, known=0)
    with pytest.raises(UnavailableError, match="status-lists-full"):
        draw(store, 1)


def test_a_full_list_is_said_to_be_full_and_not_searched_for_ever(store: Engine) -> None:
    tend(store, wanted=1, size=8)
    with pytest.raises(UnavailableError, match="status-lists-full"):
        draw(store, 9)
    assert used(store) == [0, 0]


def test_a_revoked_entry_is_valid_again_after_expiry_and_its_index_free_much_later(store: Engine) -> None:
    tend(store, wanted=1, size=64)
    with store.begin() as connection:
        one = certificates.reserve(connection, "r1", issued_at=ISSUED, valid_until=UNTIL)
        assert revocations.mark_revoked(connection, "r1", reason=Reason.STAFF, note="stolen", at=ISSUED)
        assert find_invalid(connection, 1) == [one.status_index]
        connection.exec_driver_sql("UPDATE status_lists SET dirty = 0")
        status_entries.expire_entries(connection, today=LAST)
        assert find_invalid(connection, 1) == [one.status_index]
    assert lists(store) == [(1, 1, 0)]
    with store.begin() as connection:
        status_entries.expire_entries(connection, today=LAST + timedelta(days=1))
        assert find_invalid(connection, 1) == []
    assert lists(store) == [(1, 1, 1)]
    with store.begin() as connection:
        status_entries.expire_entries(connection, today=LAST + timedelta(days=REUSE_AFTER_DAYS))
    assert used(store) == [1, 0]
    with store.begin() as connection:
        status_entries.expire_entries(connection, today=LAST + timedelta(days=REUSE_AFTER_DAYS + 1))
        assert revocations.is_revoked(connection, "r1")
    assert used(store) == [0, 0]


def test_an_old_list_is_used_again_before_a_new_number_is_opened(store: Engine) -> None:
    for until in (UNTIL, "2027-12-31"):
        tend(store, wanted=1, size=16)
        for _ in range(8):
            draw(store, 1, last_day=until)
    with store.begin() as connection:
        status_entries.expire_entries(connection, today=LAST + timedelta(days=REUSE_AFTER_DAYS + 1))
    tend(store, wanted=1, size=16)
    assert [(number, is_open) for number, is_open, _ in lists(store)] == [(1, 1), (2, 0)]


def test_what_expired_is_not_made_invalid_any_more(store: Engine) -> None:
    tend(store, wanted=1)
    after = ISSUED + 93 * 86400
    with store.begin() as connection:
        certificates.reserve(connection, "r1", issued_at=ISSUED, valid_until=UNTIL)
        assert revocations.mark_revoked(connection, "r1", reason=Reason.SUPERSEDED, at=after)
        assert find_invalid(connection, 1) == []
        assert revocations.find_reason(connection, "r1") is Reason.SUPERSEDED


def test_of_two_revocations_at_once_one_wins_and_a_revoked_request_gets_nothing_more(store: Engine) -> None:
    tend(store)
    with store.begin() as connection:
        certificates.reserve(connection, "r1", issued_at=ISSUED, valid_until=UNTIL)
        assert not revocations.mark_revoked(connection, "r2", reason=Reason.STAFF, at=ISSUED)

    def revoke(_number: int) -> bool:
        with store.begin() as connection:
            return revocations.mark_revoked(connection, "r1", reason=Reason.STAFF, at=ISSUED)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(revoke, range(8))) == 1
    with store.begin() as connection:
        connection.exec_driver_sql("DELETE FROM certificates")
        with pytest.raises(ConflictError, match="revoked"):
            certificates.reserve(connection, "r1", issued_at=ISSUED, valid_until=UNTIL)


DRAWER = """
import sys
from app.storage.engine import open_store
from app.storage.status_entries import draw_places
store = open_store(sys.argv[1])
for number in range(20):
    with store.begin() as connection:
        for place in draw_places(connection, f"{sys.argv[2]}-{number}", last_day="2027-02-20", count=3):
            print(place.status_list, place.status_index)
"""


def test_two_processes_at_once_never_draw_the_same_entry(store: Engine) -> None:
    # 120 draws out of 2 x 128 entries: without the database's word about a dozen would meet.
    tend(store, wanted=2, size=128)
    address = str(store.url)
    drawers = [
        subprocess.Popen([sys.executable, "-c", DRAWER, address, name], stdout=subprocess.PIPE, text=True)
        for name in ("a", "b")
    ]
    lines = [line for drawer in drawers for line in drawer.communicate(timeout=60)[0].splitlines()]
    assert [drawer.returncode for drawer in drawers] == [0, 0]
    assert len(lines) == 120
    assert len(set(lines)) == 120


OLD_STORE = """
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);
INSERT INTO alembic_version VALUES ('0002');
CREATE TABLE certificates (
 certificate_id VARCHAR(32) NOT NULL, request_id VARCHAR(64) NOT NULL, issued_at BIGINT NOT NULL,
 valid_until VARCHAR(10) NOT NULL, status_list INTEGER NOT NULL, status_index INTEGER NOT NULL,
 salt_data BLOB NOT NULL, salt_page BLOB NOT NULL, salt_credential BLOB NOT NULL, entry VARCHAR(64),
 log_index BIGINT, package_id VARCHAR(64), package_hash VARCHAR(64), released_at BIGINT, revoked_at BIGINT,
 revocation_reason TEXT, PRIMARY KEY (certificate_id),
 CONSTRAINT certificates_status UNIQUE (status_list, status_index), UNIQUE (request_id));
CREATE TABLE status_lists (
 status_list INTEGER NOT NULL, size INTEGER NOT NULL, token TEXT, issued_at BIGINT, published_at BIGINT,
 dirty BOOLEAN DEFAULT '1' NOT NULL, PRIMARY KEY (status_list));
INSERT INTO status_lists VALUES (1, 131072, 'token', 1, 1, 0);
INSERT INTO certificates VALUES
 ('c1', 'r1', 1, '2027-02-20', 1, 5, x'01', x'02', x'03', 'e1', 7, 'p1', 'h1', 9, NULL, NULL),
 ('c2', 'r2', 1, '2027-02-21', 1, 6, x'01', x'02', x'03', 'e2', 8, 'p2', 'h2', 9, 11, 'withdrawn'),
 ('c3', 'r3', 1, '2027-02-22', 1, 9, x'01', x'02', x'03', 'e3', 9, 'p3', 'h3', 9, 12, 'stolen phone');
"""


def test_a_store_of_before_keeps_its_bits_and_reasons(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'old.sqlite'}")
    # The tables that 0003 does not touch are as they are now; the others as they were.
    untouched = [
        table
        for name, table in metadata.tables.items()
        if name not in ("certificates", "status_lists", "status_entries", "copies", "revocations")
    ]
    metadata.create_all(store, tables=untouched)
    with store.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE requests DROP COLUMN register_position")
        for statement in OLD_STORE.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
    upgrade_store(store, MIGRATIONS)
    upgrade_store(store, MIGRATIONS)
    with store.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    with store.begin() as connection:
        entries = connection.exec_driver_sql("SELECT * FROM status_entries ORDER BY status_index").all()
        reasons = connection.exec_driver_sql("SELECT * FROM revocations ORDER BY request_id").all()
        kept = connection.exec_driver_sql("SELECT request_id, entry, released_at FROM certificates").all()
    assert [tuple(row) for row in entries] == [
        (1, 5, "r1", "2027-02-20", 0),
        (1, 6, "r2", "2027-02-21", 1),
        (1, 9, "r3", "2027-02-22", 1),
    ]
    assert [tuple(row) for row in reasons] == [
        ("r2", "withdrawn", "withdrawn", 11),
        ("r3", "staff", "stolen phone", 12),
    ]
    assert sorted(map(tuple, kept)) == [("r1", "e1", 9), ("r2", "e2", 9), ("r3", "e3", 9)]
    # The constraint is gone that would forbid using an index again.
    with store.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO certificates SELECT 'c4', 'r4', 1, '2029-01-01', 1, 5, x'01', x'02', x'03',"
            " NULL, NULL, NULL, NULL, NULL"
        )
        with pytest.raises(Exception, match="UNIQUE"):
            connection.exec_driver_sql("UPDATE certificates SET request_id = 'r1' WHERE request_id = 'r4'")


def test_the_search_for_invalid_bits_reads_no_other_rows(store: Engine) -> None:
    said: list[str] = []
    event.listen(store, "before_cursor_execute", lambda _c, _cursor, text, *_rest: said.append(text))
    with store.begin() as connection:
        find_invalid(connection, 1)
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {said[-1]}", (1,)).all()
    assert any("status_entries_invalid" in str(row) for row in plan)
