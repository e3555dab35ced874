"""The desk between wallet and city: one answer, to one waiter, by memory or by the store; and what is swept."""

from __future__ import annotations

import base64
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from mobile_api.application import create_app
from mobile_api.door import Door
from mobile_api.exchanges import Issued, Noted, Pending, open_question, seal_answer
from mobile_api.store.sweep import sweep
from mobile_api.store.wallet_tables import (
    wallet_exchanges,
    wallet_nonce_keys,
    wallet_offers,
    wallet_sessions,
    wallet_tokens,
    wallet_transactions,
)
from mobile_api.wallet_nonce import NonceKey, format_nonce_key
from tests.support.wallet_city import PLAIN, WalletWorld, make_wallet_world
from tests.support.wallet_client import Reply, WalletClient, new_key, new_verifier
from verifier.formats.jose import agreement, thumbprint

TABLES = (
    wallet_exchanges,
    wallet_nonce_keys,
    wallet_offers,
    wallet_sessions,
    wallet_tokens,
    wallet_transactions,
)


def rows(world: WalletWorld, table: Any) -> int:
    door: Door = world.house.app.extensions["akashi-door"]
    with door.store.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def ask(wallet: WalletClient) -> tuple[threading.Thread, list[Reply]]:
    """A credential request in a thread of its own."""
    body, found = wallet.request_body([new_key()]), []
    thread = threading.Thread(target=lambda: found.append(wallet.credential(body)))
    thread.start()
    return thread, found


def waiting(world: WalletWorld, app: Any = None) -> dict[str, Any]:
    """The one question that waits."""
    for _ in range(400):
        if found := world.city.call("GET", "/city/exchanges", app=app).json["exchanges"]:
            return found[0]
        time.sleep(0.01)
    raise AssertionError("no question came")


def sealed_answer(world: WalletWorld, entry: dict[str, Any], body: Any, **changes: Any) -> bytes:
    kid = thumbprint(world.city.envelope_key.public_key())
    question = open_question(base64.b64decode(entry["body"]), kid, agreement(world.city.envelope_key))
    key = changes.get("key") or question.reply_key
    return seal_answer(changes.get("exchange", question.exchange), body, key, os.urandom)


@pytest.fixture
def world(tmp_path: Path) -> WalletWorld:
    return make_wallet_world(tmp_path)


def test_an_answer_is_handed_over_and_nothing_stays(world: WalletWorld) -> None:
    wallet = world.with_token()
    thread, found = ask(wallet)
    entry = waiting(world)
    answer = sealed_answer(world, entry, Issued("application/json", PLAIN))
    path = f"/city/exchanges/{entry['id']}"
    assert world.city.call("PUT", path, answer).status_code == 200
    thread.join(10)
    assert found[0].body == PLAIN
    assert rows(world, wallet_exchanges) == 0
    assert world.city.call("PUT", path, answer).status_code == 404


def test_an_answer_that_comes_to_another_process_is_found_in_the_store(world: WalletWorld) -> None:
    second = create_app(world.house.settings, clock=world.house.clock)
    thread, found = ask(world.with_token())
    entry = waiting(world, second)
    answer = sealed_answer(world, entry, Issued("application/json", PLAIN))
    other = sealed_answer(world, entry, Issued("application/json", PLAIN))
    path = f"/city/exchanges/{entry['id']}"
    assert world.city.call("PUT", path, answer, second).status_code == 200
    again = world.city.call("PUT", path, answer, second).status_code
    assert again in (200, 404)  # 404 once the waiter has taken it
    assert world.city.call("PUT", path, other, second).status_code in (409, 404)
    thread.join(10)
    assert found[0].body == PLAIN
    assert rows(world, wallet_exchanges) == 0


@pytest.mark.parametrize("wrong", ["key", "exchange", "kind"])
def test_an_answer_that_is_not_for_this_question_is_none(world: WalletWorld, wrong: str) -> None:
    thread, found = ask(world.with_token())
    entry = waiting(world)
    changes = {
        "key": {"key": new_key().public_key()},
        "exchange": {"exchange": base64.urlsafe_b64encode(bytes(16)).decode().rstrip("=")},
        "kind": {},
    }[wrong]
    body = Noted() if wrong == "kind" else Issued("application/json", PLAIN)
    sealed = sealed_answer(world, entry, body, **changes)
    assert world.city.call("PUT", f"/city/exchanges/{entry['id']}", sealed).status_code == 200
    thread.join(10)
    assert (found[0].status, found[0].error) == (503, "temporarily_unavailable")


@pytest.mark.parametrize("body", [b"", b"x", b'{"ciphertext":"x"}'])
def test_what_is_no_answer_is_refused(world: WalletWorld, body: bytes) -> None:
    path = "/city/exchanges/" + "A" * 22
    assert world.city.call("PUT", path, body).status_code == 400
    assert world.city.call("PUT", "/city/exchanges/short", body).status_code in (400, 404)


def test_a_package_of_another_kind_is_refused(world: WalletWorld) -> None:
    from verifier.formats.package import pack

    data = pack(b"x", [new_key().public_key()], content_type="application/json")
    assert world.city.call("PUT", "/city/exchanges/" + "A" * 22, data).status_code == 400


def test_more_wallets_than_places_are_told_to_come_again(tmp_path: Path) -> None:
    world = make_wallet_world(tmp_path, wallet_waiters=1)
    first, second = world.with_token(), world.with_token()
    thread, found = ask(first)
    waiting(world)
    begin = time.monotonic()
    assert second.credential(second.request_body([new_key()])).status == 202
    assert time.monotonic() - begin < 2
    # Both questions are there, and both are answered.
    world.city.start()
    thread.join(10)
    assert found[0].status == 200
    world.city.stop()
    assert len({question.grant for question in world.city.questions}) == 2


def test_the_list_is_oldest_first_and_bounded(tmp_path: Path) -> None:
    world = make_wallet_world(tmp_path, wallet_wait=0)
    wallet = world.with_token()
    for _ in range(3):
        wallet.credential(wallet.request_body([new_key()]))
    listed = world.city.call("GET", "/city/exchanges").json["exchanges"]
    assert len(listed) == 3
    one = world.city.call("GET", "/city/exchanges?limit=1").json["exchanges"]
    assert one == listed[:1]
    world.house.clock.forward(minutes=2)
    assert world.city.call("GET", "/city/exchanges").json["exchanges"] == []


def test_a_login_that_nobody_waits_for_is_taken_back(tmp_path: Path) -> None:
    world = make_wallet_world(tmp_path, wallet_login_wait=1)
    wallet = world.wallet("p2")
    uri = wallet.push(new_verifier()).json["request_uri"]
    world.transport.send("GET", wallet.authorize_url(uri), {}, None)
    assert rows(world, wallet_exchanges) == 0
    assert rows(world, wallet_sessions) == 0


def test_everything_is_swept_when_its_time_is_over(tmp_path: Path) -> None:
    world = make_wallet_world(tmp_path, wallet_wait=0)
    wallet = world.with_token()
    wallet.credential(wallet.request_body([new_key()]))
    world.wallet("p2").push(new_verifier())
    door: Door = world.house.app.extensions["akashi-door"]
    assert all(rows(world, table) for table in TABLES)
    sweep(door.store, door.settings, world.house.clock())
    assert all(rows(world, table) for table in TABLES)
    world.house.clock.forward(minutes=3)
    sweep(door.store, door.settings, world.house.clock())
    assert [table.name for table in TABLES if not rows(world, table)] == [
        "wallet_exchanges",
        "wallet_sessions",
    ]
    world.house.clock.forward(days=8)
    assert sweep(door.store, door.settings, world.house.clock()).wallets > 0
    assert [table.name for table in TABLES if rows(world, table)] == []


def test_keys_of_challenges_change_without_a_gap(world: WalletWorld) -> None:
    world.city.start()
    wallet = world.with_token()
    old = wallet.nonce()
    seconds = int(world.house.clock().timestamp())
    key = NonceKey(os.urandom(4), os.urandom(32), seconds, seconds + 86400)
    path = "/city/wallet-nonce-key"
    second = create_app(world.house.settings, clock=world.house.clock)
    second.test_client().post("/992011/nonce")  # has read the keys of before
    assert world.city.call("PUT", path, format_nonce_key(key)).status_code == 200
    assert world.city.call("PUT", path, format_nonce_key(key)).status_code == 200
    forged = NonceKey(key.key_id, os.urandom(32), key.begin, key.end)
    assert world.city.call("PUT", path, format_nonce_key(forged)).status_code == 409
    assert world.city.call("PUT", path, b"{}").status_code == 400
    new = wallet.nonce()
    assert base64.urlsafe_b64decode(new)[24:28] == key.key_id
    assert wallet.credential(wallet.request_body([new_key()], nonce=old)).status == 200
    # A process that has not heard of the new key asks its store before it says no.
    from tests.support.door_house import PUBLIC_URL
    from tests.support.wallet_client import FlaskTransport

    wallet.transport = FlaskTransport(second, PUBLIC_URL)
    assert wallet.credential(wallet.request_body([new_key()], nonce=new)).status == 200
    world.city.stop()


def test_a_transaction_pending_in_an_encrypted_body_is_known_too(world: WalletWorld) -> None:
    from verifier.formats.compact_jwe import encrypt_compact

    world.city.start()
    wallet = world.with_token()
    transaction = "transaction-0001-abc"
    told = encrypt_compact(
        b'{"interval":5,"transaction_id":"transaction-0001-abc"}', wallet.answer_key.public_key()
    )
    world.city.answers = lambda _question: Pending(transaction, 5, told)
    answer = wallet.credential(wallet.request_body([new_key()], encrypted=True))
    assert (answer.status, wallet.open(answer)["transaction_id"]) == (202, transaction)
    world.city.answers = None
    assert wallet.deferred(transaction).status == 200
    world.city.stop()
