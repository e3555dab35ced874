"""Two workers at once, and a worker that dies anywhere: exactly one set of copies for a grant.

A dying worker is an exception that nothing catches (as SIGKILL is one), raised before or after each door the corridor
passes; then a new worker takes the leases over.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from app.storage import copy_drafts as draft_store
from app.storage import grants as grant_store
from app.storage import requests as request_store
from app.storage import wallet_nonces as nonce_store
from app.wallets import copies_walk as walk_module
from app.wallets import credentials as credentials_module
from app.wallets.credentials import answer_credential
from mobile_api.exchanges import Denied, Issued, Pending, Question
from tests.support.city_rooms import Device
from tests.support.verifier_bundles import new_key
from tests.support.wallet_rooms import Wallet, WalletHouse, credentials, wallet_house
from verifier.formats.encoding import base64url_encode


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WalletHouse]:
    yield from wallet_house(tmp_path_factory.mktemp("races"), tmp_path_factory)


@pytest.fixture(scope="module")
def device(house: WalletHouse) -> Device:
    return house.rooms.registered(house.rooms.people[0])


@pytest.fixture
def wallet(house: WalletHouse, device: Device) -> Wallet:
    return Wallet(house, house.offer(device)[1], count=4)


def together(*work: Callable[[], Any]) -> list[Any]:
    """Run these at the same moment; their results or exceptions."""
    barrier, results = threading.Barrier(len(work)), [None] * len(work)

    def run(place: int) -> None:
        barrier.wait()
        try:
            results[place] = work[place]()
        except Exception as error:
            # The test looks at it.
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def question(wallet: Wallet, body: Any) -> Question:
    return Question(
        base64url_encode(os.urandom(16)), wallet.profile, wallet.grant, None, new_key().public_key(), body
    )


def documents(house: WalletHouse, wallet: Wallet) -> dict[str, int]:
    """What exists of this grant's set, at every place that counts it."""
    (request,) = house.rooms.rows(f"SELECT request_id FROM wallet_grants WHERE grant_id = '{wallet.grant}'")[
        0
    ]
    rows = house.rooms.rows(f"SELECT entry, log_index FROM copies WHERE request_id = '{request}'")
    gate = house.rooms.gate_rows(f"SELECT DISTINCT digest FROM authorisations WHERE request_id = '{request}'")
    return {
        "requests": house.rooms.rows(f"SELECT count(*) FROM requests WHERE request_id = '{request}'")[0][0],
        "copies": len(rows),
        "leaves": len({row[1] for row in rows}),
        "entries": len({row[0] for row in rows}),
        "digests": len(gate),
    }


WHOLE = {"requests": 1, "copies": 4, "leaves": 4, "entries": 4, "digests": 4}


# ---- two at once --------------------------------------------------------------------------------------------------------


def test_of_two_sets_of_keys_exactly_one_wins(house: WalletHouse, device: Device) -> None:
    desk = house.exchanges._desk
    for _ in range(5):
        wallet = Wallet(house, house.offer(device)[1], count=4)
        other = replace(wallet, keys=[new_key() for _ in range(4)])
        asked = [(one, question(one, one.request())) for one in (wallet, other)]
        results = together(*(lambda q=q: answer_credential(desk, q, q.body) for _, q in asked))  # type: ignore[misc]
        won = [one for (one, _), result in zip(asked, results, strict=True) if callable(result)]
        lost = [result for result in results if isinstance(result, Denied)]
        assert len(won) == len(lost) == 1, results
        assert len(credentials(won[0].ask(won[0].request()))) == 4
        assert documents(house, wallet) == WHOLE


def test_without_the_compare_and_set_both_would_win(
    house: WalletHouse, wallet: Wallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: if fixing keys did not ask whether they are fixed, the second wallet would be served as well."""
    first = wallet.ask(wallet.request())

    def blind(connection: Any, grant: Any, **values: Any) -> bool:
        connection.exec_driver_sql(
            "UPDATE wallet_grants SET holder_jwks = ? WHERE grant_id = ?",
            (values["holder_jwks"], grant.grant_id),
        )
        return False

    monkeypatch.setattr(credentials_module.grant_store, "fix_keys", blind)
    other = replace(wallet, keys=[new_key() for _ in range(4)])
    assert credentials(other.ask(other.request())) == credentials(first)


def test_of_two_questions_with_one_challenge_exactly_one_goes_on(house: WalletHouse, device: Device) -> None:
    desk = house.exchanges._desk
    for _ in range(5):
        nonce = house.new_nonce()
        asked = [
            question(one, one.request(nonce))
            for one in (Wallet(house, house.offer(device)[1]) for _ in range(2))
        ]
        results = together(*(lambda q=q: answer_credential(desk, q, q.body) for q in asked))  # type: ignore[misc]
        assert sorted(getattr(result, "error", "goes on") for result in results) == [
            "goes on",
            "invalid_nonce",
        ]


def test_a_challenge_in_one_statement(house: WalletHouse) -> None:
    def consume(exchange: str) -> bool:
        with house.rooms.store.begin() as connection:
            return nonce_store.consume_wallet_nonce(connection, "n" * 43, exchange=exchange, expires_at=1)

    results = together(*(lambda n=n: consume(f"{n:022d}") for n in range(6)))  # type: ignore[misc]
    assert sorted(results) == [False] * 5 + [True]


def test_two_corridors_make_one_set(house: WalletHouse, wallet: Wallet) -> None:
    wallet.ask(wallet.request(), walk=False)
    two = house.another_walk()
    for _ in range(6):
        together(house.walk.run_once, two.run_once)
    assert len(credentials(wallet.ask(wallet.request()))) == 4
    assert documents(house, wallet) == WHOLE


def test_a_lease_that_ran_out_in_the_middle_changes_nothing(
    house: WalletHouse, wallet: Wallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker so slow that another takes over between drafting and storing: one set of drafts is kept and signed."""
    wallet.ask(wallet.request(), walk=False)
    house.walk.reserve()
    slow, record = house.walk, house.rooms.gate.record
    second = house.another_walk()

    def while_slow(**wanted: Any) -> Any:
        monkeypatch.setattr(house.rooms.gate, "record", record)
        house.rooms.clock.forward(seconds=61)
        assert second.make() == 1
        return record(**wanted)

    monkeypatch.setattr(house.rooms.gate, "record", while_slow)
    assert slow.make() == 0
    house.nonce_keys.tend()
    assert len(credentials(wallet.ask(wallet.request()))) == 4
    assert documents(house, wallet) == WHOLE


# ---- one that dies ------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """SIGKILL: no handler of ours runs."""


DOORS: dict[str, tuple[str, str]] = {
    "the gate's record": ("gate", "record"),
    "the drafts in the store": ("drafts", "store_drafts"),
    "the gate's authorisations": ("gate", "authorise"),
    "the signatures": ("keys", "sign_copies"),
    "the credentials in the store": ("copies", "store_copies_sealed"),
    "the log": ("log", "append"),
    "the places in the store": ("copies", "store_copies_logged"),
    "the verifier": ("gatekeeper", "check_copy"),
    "the gate's last word": ("gate", "recheck"),
    "the set made ready": ("copies", "store_copies_released"),
    "the drafts dropped": ("drafts", "drop_drafts"),
    "the keys fixed": ("grants", "fix_keys"),
    "the request stored": ("requests", "store_request"),
    "each move of a row": ("requests", "move"),
}


def owner(house: WalletHouse, name: str) -> Any:
    return {
        "gate": house.rooms.gate,
        "keys": house.keys,
        "copies": walk_module.copy_store,
        "drafts": draft_store,
        "log": house.walk._log_door,
        "gatekeeper": house.walk._gatekeeper,
        "grants": grant_store,
        "requests": request_store,
    }[name]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("door", DOORS)
def test_a_worker_that_dies_at_a_door(
    house: WalletHouse, wallet: Wallet, monkeypatch: pytest.MonkeyPatch, door: str, when: str
) -> None:
    """The first, the second … time anybody passes this door the worker dies, until nobody dies there any more."""
    where, name = DOORS[door]
    place = owner(house, where)
    real, passed, deadly = getattr(place, name), [0], [1]

    def dying(*positional: Any, **named: Any) -> Any:
        passed[0] += 1
        if when == "before" and passed[0] == deadly[0]:
            raise Killed
        result = real(*positional, **named)
        if when == "after" and passed[0] == deadly[0]:
            raise Killed
        return result

    monkeypatch.setattr(place, name, dying)
    deaths, answer = 0, None
    request = wallet.request()
    for _ in range(40):
        passed[0] = 0
        try:
            answer = wallet.ask(request)
            break
        except Killed:
            deaths += 1
            deadly[0] += 1 if deaths % 2 == 0 else 0
            # The next worker begins: the dead one's leases are taken back, its memory is gone.
            house.exchanges._waiting.clear()
            house.door.questions.clear()
            with house.rooms.store.begin() as connection:
                request_store.release_leases(connection)
            request = wallet.request()
    assert deaths >= 2, "nobody passed this door: the test shows nothing"
    assert isinstance(answer, Issued)
    assert documents(house, wallet) == WHOLE
    assert house.rooms.gate.tally() >= 4


def test_without_stored_drafts_a_second_try_would_need_other_digests(
    house: WalletHouse, wallet: Wallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a worker that drafts anew after its death asks for other digests, and the gate says no."""
    real = house.keys.sign_copies

    def dying(*positional: Any, **named: Any) -> Any:
        real(*positional, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(house.keys, "sign_copies", dying)
        with pytest.raises(Killed):
            wallet.ask(wallet.request())
    with house.rooms.store.begin() as connection:
        request_store.release_leases(connection)
        connection.exec_driver_sql("DELETE FROM copy_drafts")
    house.exchanges._waiting.clear()
    answer = wallet.ask(wallet.request())
    assert isinstance(answer, Denied)
    assert "not-authorised-second-digest" in {
        row[0] for row in house.rooms.rows("SELECT refusal_code FROM requests")
    }


def test_outages_only_make_the_wallet_wait(
    house: WalletHouse, wallet: Wallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.errors import UnavailableError

    def away(*_: Any, **__: Any) -> Any:
        raise UnavailableError("away")

    transaction = ""
    # In the order of the corridor: each outage stops it at its own door.
    for where, name in (("gate", "record"), ("keys", "sign_copies"), ("log", "append"), ("gate", "recheck")):
        with monkeypatch.context() as patch:
            patch.setattr(owner(house, where), name, away)
            asked = wallet.put(wallet.request())
            for _ in range(6):
                house.exchanges.run_once()
                house.walk.run_once()
            house.wait_over()
            house.exchanges.run_once()
            pending = wallet.answer(*asked)
            assert isinstance(pending, Pending), (where, name, pending)
            transaction = pending.transaction
        house.rooms.clock.forward(seconds=2)
    house.rooms.clock.forward(seconds=2)
    assert len(credentials(wallet.deferred(transaction))) == 4
    assert documents(house, wallet) == WHOLE
