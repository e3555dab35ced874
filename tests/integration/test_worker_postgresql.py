"""What the worker counts for repeated messages, and status entries, on PostgreSQL: the same statements, the same answers.

Needs a PostgreSQL server's programs, as the console's test does; else it is skipped and says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine

from app.errors import ConflictError
from app.issuance.repeats import REPEAT_PAUSE
from app.issuance.states import State
from app.revocation.reasons import Reason
from app.storage import certificates, revocations
from app.storage import outbox as outbox_store
from app.storage import repeats as repeat_store
from app.storage import requests as request_store
from app.storage.copies import find_copies, reserve_copies
from app.storage.engine import open_store, upgrade_store
from app.storage.inbox import Envelope
from app.storage.requests import Request
from app.storage.status_entries import draw_places, find_invalid, tend_lists
from app.storage.tables import metadata
from app.worker_process import MIGRATIONS
from mobile_api.messages import Refused
from tests.integration.test_staff_postgresql import address  # noqa: F401  (the server, a fixture)
from tests.unit.test_storage_copies import new_keys

ACCOUNT, MESSAGE, PACKAGE = "a" * 22, "m" * 22, "p" * 32
ENVELOPE = Envelope("d" * 22, ACCOUNT, b"an envelope")
NO = Refused("counter", "窓口へ", "Please come to the counter", False)


@pytest.fixture(scope="module")
def store(address: str) -> Iterator[Engine]:  # noqa: F811
    engine = open_store(address)
    upgrade_store(engine, MIGRATIONS)
    yield engine
    engine.dispose()


def test_the_tables_are_those_of_the_code(store: Engine) -> None:
    with store.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_eight_at_once_are_one_repetition(store: Engine) -> None:
    with store.begin() as connection:
        repeat_store.note_repeatable(connection, ACCOUNT, MESSAGE, ENVELOPE, at=1000)
        outbox_store.queue_answer(
            connection, account=ACCOUNT, item_id="answer", in_reply_to=MESSAGE, body=NO, at=1000
        )

    def claim(at: int, envelope: Envelope = ENVELOPE) -> bool:
        with store.begin() as connection:
            return repeat_store.claim_repeat(
                connection, ACCOUNT, MESSAGE, envelope, at=at, pause=REPEAT_PAUSE, a_day=2
            )

    assert not claim(1000 + REPEAT_PAUSE - 1)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _number: claim(1000 + REPEAT_PAUSE), range(8))) == 1
    assert not claim(5000, Envelope("d" * 22, ACCOUNT, b"other bytes"))
    assert claim(5000)
    assert not claim(9000)
    assert claim(9000 + repeat_store.DAY_SECONDS)
    with store.begin() as connection:
        assert repeat_store.find_refusal(connection, ACCOUNT, MESSAGE) == NO
        repeat_store.forget_refusals(connection, before=10 * repeat_store.DAY_SECONDS)
        assert repeat_store.find_refusal(connection, ACCOUNT, MESSAGE) is None


def test_a_package_is_kept_put_again_and_forgotten(store: Engine) -> None:
    def again(at: int) -> bool:
        return outbox_store.queue_again(
            connection, account=ACCOUNT, package_id=PACKAGE, at=at, pause=REPEAT_PAUSE
        )

    with store.begin() as connection:
        outbox_store.queue_item(
            connection, kind="package", account=ACCOUNT, item_id=PACKAGE, body=b"ciphertext", at=1
        )
        (first,) = [row for row in outbox_store.find_unsent(connection, 9) if row.kind == "package"]
        outbox_store.mark_sent(connection, first, at=1000)
        assert again(1000 + REPEAT_PAUSE - 1)
        assert not [row for row in outbox_store.find_unsent(connection, 9) if row.kind == "package"]
        assert again(1000 + REPEAT_PAUSE)
        (second,) = [row for row in outbox_store.find_unsent(connection, 9) if row.kind == "package"]
        assert (second.position, second.body) == (first.position, b"ciphertext")
        outbox_store.mark_sent(connection, second, at=2000)
        assert outbox_store.forget_packages(connection, before=2000) == 0
        assert outbox_store.forget_packages(connection, before=2001) == 1
        assert not again(9000)


def tend(store: Engine, number: int, size: int) -> None:
    with store.begin() as connection:
        tend_lists(connection, wanted=number, size=size, may_open=lambda _number: True)


def test_eight_workers_draw_no_entry_twice(store: Engine) -> None:
    # 240 draws out of 512 entries: many would meet.
    tend(store, 2, 256)

    def draw(number: int) -> list[tuple[int, int]]:
        with store.begin() as connection:
            places = draw_places(connection, f"drawn-{number}", last_day="2099-12-31", count=10)
        return [(place.status_list, place.status_index) for place in places]

    with ThreadPoolExecutor(8) as pool:
        drawn = [place for places in pool.map(draw, range(24)) for place in places]
    assert len(set(drawn)) == len(drawn) == 240


def test_a_revocation_and_a_reservation_at_once_leave_no_valid_copy(store: Engine) -> None:
    """Whoever comes second waits for the first: it sees the copies, or it is refused."""
    tend(store, 2, 4096)
    keys = new_keys(2)
    for number in range(12):
        request = f"race-{number}".ljust(22, "x")
        with store.begin() as connection:
            row = Request(
                request,
                "a" * 22,
                "m" * 22,
                request,
                "h",
                "income_certificate",
                2026,
                State.ACCEPTED,
                None,
                0,
                1,
                1,
            )
            request_store.store_request(connection, row)
            certificates.reserve(connection, request, issued_at=1, valid_until="2099-12-31")

        def reserve(request: str = request) -> bool:
            try:
                with store.begin() as connection:
                    reserve_copies(connection, request, keys, issued_at=1, valid_until="2099-12-31")
                return True
            except ConflictError:
                return False

        def revoke(request: str = request) -> bool:
            with store.begin() as connection:
                return revocations.mark_revoked(connection, request, reason=Reason.STAFF, at=1)

        with ThreadPoolExecutor(3) as pool:
            tasks = [pool.submit(revoke), pool.submit(reserve), pool.submit(revoke)]
            first, reserved, second = (task.result() for task in tasks)
        assert first + second == 1
        with store.begin() as connection:
            made = [copy.reservation for copy in find_copies(connection, request)]
            assert len(made) == (2 if reserved else 0)
            for copy in made:
                assert copy.status_index in find_invalid(connection, copy.status_list)
