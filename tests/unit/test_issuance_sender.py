"""The way out: in order, each row until the door confirmed it; what the door refuses holds up its own account only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.delivery.sender import GIVE_UP_SECONDS, REFUSED_SECONDS, Sender
from app.errors import ConflictError, UnavailableError
from app.mailbox import MailboxError
from app.storage.engine import open_store, upgrade_store
from app.storage.outbox import queue_item
from app.worker_process import MIGRATIONS

BEGIN = datetime(2026, 11, 20, tzinfo=UTC)


class Door:
    """A door that takes, refuses or is away."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, str]] = []
        self.wrong: dict[str, Exception] = {}

    def put_package(self, account: str, package_id: str, body: bytes) -> None:
        self._take("package", account, package_id)

    def delete_package(self, account: str, package_id: str) -> None:
        self._take("withdrawal", account, package_id)

    def put_answer(self, account: str, item_id: str, body: bytes) -> None:
        self._take("answer", account, item_id)

    def _take(self, kind: str, account: str, item: str) -> None:
        if account in self.wrong:
            raise self.wrong[account]
        self.got.append((kind, account, item))


class Post:
    """A sender, its store, its door, a clock."""

    def __init__(self, store: Engine) -> None:
        self.store, self.door, self.now = store, Door(), BEGIN
        self.sender = Sender(
            store,
            self.door,
            None,  # type: ignore[arg-type]  (packages and withdrawals need no key)
            city="992011",
            statement_kid="k",
            clock=lambda: self.now,
        )

    def queue(self, account: str, item: str, kind: str = "package") -> None:
        with self.store.begin() as connection:
            queue_item(
                connection, kind=kind, account=account, item_id=item, body=b"c", at=int(self.now.timestamp())
            )

    def waiting(self) -> list[str]:
        with self.store.begin() as connection:
            found = connection.exec_driver_sql(
                "SELECT item_id FROM outbox WHERE sent_at IS NULL ORDER BY position"
            )
            return [row[0] for row in found]


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    engine = open_store(f"sqlite:///{tmp_path}/worker.sqlite")
    upgrade_store(engine, MIGRATIONS)
    yield Post(engine)
    engine.dispose()


def test_in_order_and_once(post: Post) -> None:
    post.queue("a", "1")
    post.queue("a", "1", "withdrawal")
    post.queue("b", "2")
    assert post.sender.send_due() == 3
    assert post.sender.send_due() == 0
    assert post.door.got == [("package", "a", "1"), ("withdrawal", "a", "1"), ("package", "b", "2")]


def test_an_outage_stops_the_round_and_loses_nothing(post: Post) -> None:
    post.queue("a", "1")
    post.queue("b", "2")
    post.door.wrong["b"] = UnavailableError("street-door")
    with pytest.raises(UnavailableError):
        post.sender.send_due()
    assert post.waiting() == ["2"]
    post.door.wrong.clear()
    assert post.sender.send_due() == 1


@pytest.mark.parametrize(
    "error", [MailboxError("door-refused", "401"), ConflictError("door-conflict")], ids=["no", "conflict"]
)
def test_what_the_door_refuses_is_kept_and_holds_up_nobody_else(post: Post, error: Exception) -> None:
    for account, item in (("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")):
        post.queue(account, item)
    post.door.wrong["a"] = error
    assert post.sender.send_due() == 2
    assert post.waiting() == ["1", "3"]
    # Not asked again at once, and others pass however much lies before them.
    post.queue("c", "5")
    assert post.sender.send_due(limit=1) == 1
    post.door.wrong.clear()
    assert post.sender.send_due() == 0
    post.now += timedelta(seconds=REFUSED_SECONDS + 1)
    assert post.sender.send_due() == 2
    assert [item for _, account, item in post.door.got if account == "a"] == ["1", "3"]


def test_other_bytes_under_a_packages_name_are_replaced(post: Post) -> None:
    """A door that has spoilt what it was given says 409 to the right bytes: it does not keep the wrong ones."""
    spoilt = {"1"}
    put, delete = post.door.put_package, post.door.delete_package

    def put_package(account: str, package_id: str, body: bytes) -> None:
        if package_id in spoilt:
            raise ConflictError("door-conflict")
        put(account, package_id, body)

    def delete_package(account: str, package_id: str) -> None:
        spoilt.discard(package_id)
        delete(account, package_id)

    post.door.put_package, post.door.delete_package = put_package, delete_package  # type: ignore[method-assign]
    post.queue("a", "1")
    assert post.sender.send_due() == 1
    assert post.door.got == [("withdrawal", "a", "1"), ("package", "a", "1")]


def test_a_door_that_refuses_everything_for_a_while_destroys_nothing(post: Post) -> None:
    """A hostile or misconfigured door answers 401 to every call of the city: only delay."""
    for number in range(20):
        post.queue(f"account-{number}", str(number))
        post.door.wrong[f"account-{number}"] = MailboxError("door-refused", "401")
    for _ in range(5):
        post.sender.send_due()
        post.now += timedelta(seconds=REFUSED_SECONDS + 1)
    assert len(post.waiting()) == 20
    post.door.wrong.clear()
    assert post.sender.send_due() == 20


def test_after_the_doors_own_time_it_is_given_up(post: Post) -> None:
    post.queue("a", "1")
    post.door.wrong["a"] = MailboxError("door-refused", "404")
    post.now += timedelta(seconds=GIVE_UP_SECONDS)
    assert post.sender.send_due() == 1
    assert post.waiting() == []
    assert post.door.got == []
