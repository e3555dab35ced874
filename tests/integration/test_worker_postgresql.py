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
from app.storage import grants as grant_store
from app.storage import outbox as outbox_store
from app.storage import repeats as repeat_store
from app.storage import requests as request_store
from app.storage.copies import find_copies, reserve_copies
from app.storage.copy_drafts import CopyDraft, find_drafts, store_drafts
from app.storage.engine import open_store, upgrade_store
from app.storage.grants import Grant
from app.storage.inbox import Envelope
from app.storage.requests import Request
from app.storage.status_entries import draw_places, find_invalid, tend_lists
from app.storage.tables import metadata
from app.storage.wallet_nonces import consume_wallet_nonce
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


# ---- wallets of others --------------------------------------------------------------------------------------------------


def new_grant(number: int) -> Grant:
    return Grant(
        f"{number:022d}", f"request-{number}", ACCOUNT, "b" * 32, MESSAGE, f"{number:016d}", "w" * 43,
        "income_certificate", 2026, "p1", "income_certificate", 10, bytes(32), False, 1000, 1600, 5200,
    )  # fmt: skip


def test_of_eight_wallets_one_fixes_its_keys(store: Engine) -> None:
    grant = new_grant(1)
    with store.begin() as connection:
        grant_store.store_grant(connection, grant)

    def fix(number: int) -> bool:
        with store.begin() as connection:
            return grant_store.fix_keys(
                connection,
                grant,
                holder_jwks=f"[{number}]",
                dpop=None,
                transaction_id=f"transaction-{number}",
                notification_id=f"notification-{number}",
                at=2000,
            )

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(fix, range(8)))
    assert sum(won) == 1
    with store.begin() as connection:
        found = grant_store.find_grant(connection, grant.grant_id)
        assert found is not None
        assert found.holder_jwks == f"[{won.index(True)}]"
        assert found.secret is None
        assert not grant_store.fix_keys(
            connection,
            new_grant(2),
            holder_jwks="[]",
            dpop=None,
            transaction_id="x",
            notification_id="y",
            at=2000,
        )


def test_of_eight_questions_one_uses_the_challenge(store: Engine) -> None:
    def consume(number: int) -> bool:
        with store.begin() as connection:
            return consume_wallet_nonce(connection, "n" * 43, exchange=f"{number:022d}", expires_at=1)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(consume, range(8)))
    assert sum(won) == 1
    assert consume(won.index(True))


def test_a_grant_ends_once_and_what_is_over_is_found(store: Engine) -> None:
    grant = new_grant(3)
    with store.begin() as connection:
        grant_store.store_grant(connection, grant)
        assert [
            found.grant_id for found in grant_store.find_unredeemed(connection, before=5200, limit=9)
        ] == [grant.grant_id]
        grant_store.forget_secrets(connection, at=1600)
        grant_store.note_exchange(connection, grant.grant_id, "e" * 22, at=1000)
        grant_store.note_exchange(connection, grant.grant_id, "e" * 22, at=1000)
        assert grant_store.is_exchange_of(connection, grant.grant_id, "e" * 22)
        assert grant_store.end_grant(connection, grant.grant_id, at=2000)
        assert not grant_store.end_grant(connection, grant.grant_id, at=2000)
        assert grant_store.find_open_of(connection, binding="b" * 32, account="") != []
        assert grant_store.find_kept_since(connection, before=1, limit=9) == []
        draft = CopyDraft(b"c" * 16, b"{}", "a.b", ("d",))
        store_drafts(connection, grant.request_id, [draft])
        assert find_drafts(connection, grant.request_id) == {draft.copy_id: draft}
    with pytest.raises(ConflictError), store.begin() as connection:
        store_drafts(connection, grant.request_id, [draft])
