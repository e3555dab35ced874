"""The row is the queue: leases, compare-and-set, one serial a request, nonces and outbox in single statements."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from app.errors import ConflictError
from app.issuance.states import State
from app.storage import certificates as certificate_store
from app.storage import nonces as nonce_store
from app.storage import outbox as outbox_store
from app.storage import requests as request_store
from app.storage.engine import open_store, upgrade_store
from app.storage.requests import Request
from app.storage.status_entries import open_status_list
from app.worker_process import MIGRATIONS
from mobile_api.messages import Registered

NEW = ("copies", "revocations", "status_entries")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    engine = open_store(f"sqlite:///{tmp_path_factory.mktemp('store')}/worker.sqlite")
    upgrade_store(engine, MIGRATIONS)
    return engine


@pytest.fixture
def store(empty: Engine) -> Iterator[Engine]:
    yield empty
    with empty.begin() as connection:
        for table in (
            "requests",
            "certificates",
            "events",
            "nonces",
            "outbox",
            "sequences",
            "status_lists",
            *NEW,
        ):
            connection.exec_driver_sql(f"DELETE FROM {table}")


def new_request(store: Engine, state: State = State.ACCEPTED, at: int = 1000) -> Request:
    row = Request(
        os.urandom(16).hex(), "a" * 22, "m" * 22, os.urandom(16).hex(), "h" * 43, "income_certificate", 2026,
        state, None, 0, at, at,
    )  # fmt: skip
    with store.begin() as connection:
        request_store.store_request(connection, row)
    return row


def claim(store: Engine, state: State, at: int, **options: int) -> list[Request]:
    with store.begin() as connection:
        return request_store.claim(connection, state, limit=options.get("limit", 10), at=at, lease=60)


def test_a_claimed_row_is_nobody_elses_until_its_lease_ends(store: Engine) -> None:
    row = new_request(store)
    (mine,) = claim(store, State.ACCEPTED, 1000)
    assert mine.request_id == row.request_id
    assert claim(store, State.ACCEPTED, 1060) == []
    (theirs,) = claim(store, State.ACCEPTED, 1061)
    assert theirs.token != mine.token
    assert theirs.attempts == 2


def test_who_lost_the_lease_cannot_move_the_row(store: Engine) -> None:
    new_request(store)
    (mine,) = claim(store, State.ACCEPTED, 1000)
    (theirs,) = claim(store, State.ACCEPTED, 1100)
    with pytest.raises(ConflictError), store.begin() as connection:
        request_store.move(connection, mine, State.RESERVED, at=1101, step="late")
    with store.begin() as connection:
        request_store.move(connection, theirs, State.RESERVED, at=1102, step="test")
    with pytest.raises(ConflictError), store.begin() as connection:
        request_store.move(connection, theirs, State.RESERVED, at=1103, step="twice")


def test_a_row_moves_only_along_the_arrows(store: Engine) -> None:
    row = new_request(store)
    with pytest.raises(ConflictError, match="state-order"), store.begin() as connection:
        request_store.move(connection, row, State.RELEASED, at=1000, step="jump")
    with pytest.raises(ConflictError, match="moved-on"), store.begin() as connection:
        request_store.move(
            connection, replace(row, state=State.RESERVED), State.SEALED, at=1000, step="stale"
        )


def test_a_new_worker_goes_on_at_once_where_a_dead_one_was(store: Engine) -> None:
    new_request(store)
    (dead,) = claim(store, State.ACCEPTED, 1000)
    with store.begin() as connection:
        assert request_store.release_leases(connection) == 1
        assert request_store.release_leases(connection) == 0
    (mine,) = claim(store, State.ACCEPTED, 1001)
    with pytest.raises(ConflictError), store.begin() as connection:
        request_store.move(connection, dead, State.RESERVED, at=1002, step="back from the dead")
    with store.begin() as connection:
        request_store.move(connection, mine, State.RESERVED, at=1002, step="test")


def test_a_row_given_back_rests(store: Engine) -> None:
    new_request(store)
    (mine,) = claim(store, State.ACCEPTED, 1000)
    with store.begin() as connection:
        request_store.give_back(connection, mine, until=1002)
    assert claim(store, State.ACCEPTED, 1002) == []
    assert len(claim(store, State.ACCEPTED, 1003)) == 1


def test_oldest_first_and_no_more_than_asked(store: Engine) -> None:
    rows = [new_request(store, at=at) for at in (3000, 1000, 2000)]
    found = claim(store, State.ACCEPTED, 5000, limit=2)
    assert [row.request_id for row in found] == [rows[1].request_id, rows[2].request_id]


def test_one_wish_of_an_account_is_one_row(store: Engine) -> None:
    row = new_request(store)
    with pytest.raises(IntegrityError), store.begin() as connection:
        request_store.store_request(connection, replace(row, request_id="another"))


def test_a_request_keeps_the_serial_it_was_given(store: Engine) -> None:
    rows = [new_request(store) for _ in range(40)]
    with store.begin() as connection:
        open_status_list(connection, 1, size=64)
        made = [
            certificate_store.reserve(connection, row.request_id, issued_at=1, valid_until="2027-02-20")
            for row in rows
        ]
        again = [
            certificate_store.reserve(connection, row.request_id, issued_at=9, valid_until="2028-01-01")
            for row in rows
        ]
    assert made == again
    # Nobody shares an index; a list that is half full is closed by `tend_lists`.
    assert len({(one.status_list, one.status_index) for one in made}) == 40
    assert len({salt for one in made for salt in (one.salt_data, one.salt_page, one.salt_credential)}) == 120


def test_a_nonce_is_used_by_one_message(store: Engine) -> None:
    with store.begin() as connection:
        nonce_store.store_nonces(connection, ["n" * 32, "o" * 32], at=1000)
        use = nonce_store.consume_nonce
        assert not use(connection, "x" * 32, message_id="m1", at=1001, max_age=100)
        assert use(connection, "n" * 32, message_id="m1", at=1001, max_age=100)
        assert use(
            connection, "n" * 32, message_id="m1", at=1002, max_age=100
        )  # the same message after a crash
        assert not use(connection, "n" * 32, message_id="m2", at=1003, max_age=100)
        assert not use(connection, "o" * 32, message_id="m2", at=1101, max_age=100)  # too old
        assert nonce_store.count_made(connection, since=1000) == 2
        assert nonce_store.count_made(connection, since=1001) == 0
        nonce_store.drop_old_nonces(connection, before=2000)
        assert not use(connection, "n" * 32, message_id="m1", at=1004, max_age=100)


def test_nonces_are_kept_as_hashes(store: Engine) -> None:
    with store.begin() as connection:
        nonce_store.store_nonces(connection, ["a-nonce-in-the-clear-000000000000"], at=1000)
        stored = connection.exec_driver_sql("SELECT nonce_hash FROM nonces").scalar_one()
    assert "nonce" not in stored
    assert len(stored) == 64


def test_an_answer_is_queued_once_and_numbered(store: Engine) -> None:
    with store.begin() as connection:
        for item in ("one", "two", "one"):
            outbox_store.queue_answer(
                connection, account="a" * 22, item_id=item, in_reply_to=None, body=Registered(), at=1
            )
        rows = outbox_store.find_unsent(connection, 10)
        assert [row.item_id for row in rows] == ["one", "two"]
        assert b'"sequence":1' in rows[0].body
        assert b'"sequence":2' in rows[1].body
        outbox_store.mark_sent(connection, rows[0], at=2)
        assert [row.item_id for row in outbox_store.find_unsent(connection, 10)] == ["two"]
        assert outbox_store.find_unsent(connection, 10, without=["a" * 22]) == []
        emptied = connection.exec_driver_sql("SELECT body FROM outbox WHERE item_id = 'one'").scalar_one()
    assert bytes(emptied) == b""
