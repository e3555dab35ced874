"""What the worker counts and keeps for repeated messages, on PostgreSQL: the same statements, the same answers.

Needs a PostgreSQL server's programs, as the console's test does; else it is skipped and says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine

from app.issuance.repeats import REPEAT_PAUSE
from app.storage import outbox as outbox_store
from app.storage import repeats as repeat_store
from app.storage.engine import open_store, upgrade_store
from app.storage.inbox import Envelope
from app.storage.tables import metadata
from app.worker_process import MIGRATIONS
from mobile_api.messages import Refused
from tests.integration.test_staff_postgresql import address  # noqa: F401  (the server, a fixture)

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
