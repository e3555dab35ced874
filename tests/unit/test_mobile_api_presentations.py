"""The relay for wallets of others: who may leave, read, answer and fetch; one answer wins; nothing outstays its time."""

from __future__ import annotations

import os
import sqlite3
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import update

from mobile_api.proofs import PROOF_HEADER, build_proof
from mobile_api.store.engine import open_store
from mobile_api.store.presentations import Given, give_answer
from mobile_api.store.sweep import sweep
from mobile_api.store.tables import presentations
from tests.support.door_house import House, make_house
from tests.support.presentation_desk import Desk
from tests.support.verifier_bundles import new_key
from tests.support.wallet_of_others import encrypt, read_request
from verifier.formats.jose import es256_signer, thumbprint
from verifier.formats.names import AUTHORIZATION_REQUEST_TYPE
from verifier.formats.presentation_response import MAX_RESPONSE_BYTES

FORM = "application/x-www-form-urlencoded"


class Relayed:
    """A desk at a door, with knobs; `asked` changes the request."""

    def __init__(self, house: House, desk: Desk | None = None, **asked: Any) -> None:
        self.house = house
        self.client = house.app.test_client()
        self.desk = desk or Desk()
        now = int(house.clock().timestamp())
        self.desk.asked = self.desk.ask(**{"issued": now, "expires": now + 3600} | asked)
        self.path = f"/vp/{self.desk.asked.id}"
        self.own = f"/v1/presentations/{self.desk.asked.id}"

    def call(self, method: str, path: str, body: bytes = b"", key: Any = None, **options: Any):
        signer = key or self.desk.signing
        proof = build_proof(
            thumbprint(signer.public_key()),
            es256_signer(signer),
            method=method,
            path=path,
            body=body,
            now=self.house.clock(),
            random=os.urandom,
        )
        headers = {PROOF_HEADER: proof} | options.pop("headers", {})
        return self.client.open(path, method=method, data=body or None, headers=headers, **options)

    def leave(self, body: bytes | None = None, **options: Any):
        data = self.desk.request if body is None else body
        options = {"content_type": AUTHORIZATION_REQUEST_TYPE} | options
        return self.call("POST", "/v1/presentations", data, **options)

    def left(self) -> Relayed:
        assert self.leave().status_code == 201
        return self

    def answer(self, text: bytes | None = None, **form: Any):
        body = {"response": self.jwe() if text is None else text} | form
        return self.client.post(self.path + "/response", data=body)

    def jwe(self, content: bytes = b"{}", **options: Any) -> str:
        return encrypt(read_request(self.desk.request), content, **options).decode()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return make_house(tmp_path)


@pytest.fixture
def relay(house: House) -> Relayed:
    return Relayed(house).left()


def test_the_whole_way(house: House, relay: Relayed) -> None:
    got = relay.client.get(relay.path)
    assert got.data == relay.desk.request
    assert got.headers["Content-Type"] == AUTHORIZATION_REQUEST_TYPE
    assert got.headers["Cache-Control"] == "no-store"
    assert got.headers["Access-Control-Allow-Origin"] == "*"
    assert relay.call("GET", relay.own).status_code == 204
    answer = relay.jwe()
    said = relay.answer(answer)
    assert (said.status_code, said.json) == (200, {})
    assert said.headers["Access-Control-Allow-Origin"] == "*" and said.headers["Cache-Control"] == "no-store"
    house.clock.forward(minutes=3)
    for _ in range(2):  # lost on the way, and fetched again
        fetched = relay.call("GET", relay.own)
        assert fetched.data == answer.encode()
        assert fetched.headers["Akashi-Received"] == "2026-11-20T01:02:00Z"
    assert relay.call("DELETE", relay.own).status_code == 204
    assert relay.client.get(relay.path).status_code == 404
    assert relay.call("GET", relay.own).status_code == 404


def test_the_same_request_again_is_the_same_and_another_does_not_take_its_place(
    house: House, relay: Relayed
) -> None:
    assert relay.leave().status_code == 201
    thief = Relayed(house, id=relay.desk.asked.id)
    said = thief.leave()
    assert (said.status_code, said.json["code"]) == (409, "other-request")
    same_desk = Relayed(house, Desk(signing=relay.desk.signing), id=relay.desk.asked.id)
    assert same_desk.leave().status_code == 409
    assert relay.client.get(relay.path).data == relay.desk.request


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"public_url": "https://evil.example"}, "other-door"),
        ({"expires": 1795136523 - 60, "issued": 1795136523 - 120}, "bad-expiry"),
        ({"expires": 1795136523 + 181 * 86400}, "bad-expiry"),
    ],
)
def test_requests_that_no_door_relays(house: House, asked: dict[str, Any], code: str) -> None:
    assert int(house.clock().timestamp()) == 1795136523
    assert Relayed(house).leave().status_code == 201
    said = Relayed(house, **asked).leave()
    assert (said.status_code, said.json["code"]) == (400, code)


def test_only_the_desk_leaves_fetches_and_deletes(house: House, relay: Relayed) -> None:
    other = new_key()
    fresh = Relayed(house)
    assert fresh.leave(key=other).status_code == 401
    assert (
        fresh.client.post(
            "/v1/presentations", data=fresh.desk.request, content_type=AUTHORIZATION_REQUEST_TYPE
        ).status_code
        == 401
    )
    relay.answer()
    for method in ("GET", "DELETE"):
        assert relay.call(method, relay.own, key=other).status_code == 401
        assert relay.client.open(relay.own, method=method).status_code == 401
        assert relay.call(method, "/v1/presentations/" + "A" * 22).status_code == 404
    assert relay.call("GET", relay.own).status_code == 200


def test_bodies_that_are_no_request(house: House) -> None:
    fresh = Relayed(house)
    assert fresh.leave(content_type="application/json").status_code == 415
    assert fresh.leave(b"x").status_code == 400
    assert fresh.leave(b"").status_code == 400
    assert fresh.leave(b"A" * (64 << 10) + b"A").status_code == 413
    changed = fresh.desk.request[:-4] + b"AAAA"
    assert fresh.leave(changed).status_code == 400


def test_a_wallet_may_post_for_the_request_but_its_nonce_cannot_be_bound(relay: Relayed) -> None:
    assert relay.client.post(relay.path, data={"wallet_metadata": "{}"}).data == relay.desk.request
    assert relay.client.post(relay.path, content_type=FORM).data == relay.desk.request
    said = relay.client.post(relay.path, data={"wallet_nonce": "n"})
    assert (said.status_code, said.json["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "a.b.c.d.e",
        "eyJhbGciOiJFUzI1NiJ9.e30.AA",
        "é",
        '{"vp_token":{}}',
        "A" * (MAX_RESPONSE_BYTES + 1),
    ],
)
def test_answers_that_are_not_encrypted(relay: Relayed, text: str) -> None:
    said = relay.answer(text.encode())
    assert said.status_code == (413 if len(text) > MAX_RESPONSE_BYTES else 400)
    assert said.json["error"] == "invalid_request"
    assert said.json["error_description"].isascii() and '"' not in said.json["error_description"]
    assert said.headers["Cache-Control"] == "no-store"
    assert relay.answer().status_code == 200


def test_answers_to_another_key_and_forms_of_another_kind(house: House, relay: Relayed) -> None:
    other = Relayed(house)
    assert relay.answer(other.jwe()).status_code == 400
    assert relay.answer(relay.jwe(header={"kid": None})).status_code == 400
    assert relay.answer(relay.jwe(header={"enc": "A128CBC-HS256"})).status_code == 400
    assert relay.answer(state="x").status_code == 400
    post = relay.client.post
    path, good = relay.path + "/response", relay.jwe()
    assert post(path, data=f"response={good}&response={good}", content_type=FORM).status_code == 400
    assert (
        post(
            path, data=f"response={good}&" + "&".join(f"a{n}=1" for n in range(9)), content_type=FORM
        ).status_code
        == 400
    )
    assert post(path, data="response", content_type=FORM).status_code == 400
    assert post(path, data="\xff", content_type=FORM).status_code == 400
    assert post(path, json={"response": good}).status_code == 415
    assert post(path, data={"response": (b"", "x")}, content_type="multipart/form-data").status_code == 415
    assert post("/vp/" + "A" * 22 + "/response", data={"response": good}).status_code == 404
    assert relay.client.get(path).status_code == 405
    assert relay.call("GET", relay.own).status_code == 204
    assert relay.answer(good).status_code == 200


def test_a_refusal_ends_nothing(relay: Relayed) -> None:
    said = relay.client.post(relay.path + "/response", data={"error": "access_denied", "state": "x"})
    assert (said.status_code, said.json) == (200, {})
    assert relay.call("GET", relay.own).status_code == 204
    assert relay.answer().status_code == 200


def test_one_answer_wins_and_its_repetition_is_the_same(relay: Relayed) -> None:
    first, second = relay.jwe(), relay.jwe()
    assert relay.answer(first).status_code == 200
    assert relay.answer(first).status_code == 200
    said = relay.answer(second)
    assert (said.status_code, said.json["error"]) == (400, "invalid_request")
    assert relay.call("GET", relay.own).data == first.encode()


def race(house: House) -> tuple[Relayed, list[str]]:
    """Eight wallets answer one request at the same moment: the request, and the answers that were told 200."""
    relay = Relayed(house).left()
    start, won = threading.Barrier(8), []

    def post(text: str) -> None:
        client = house.app.test_client()
        start.wait()
        if client.post(relay.path + "/response", data={"response": text}).status_code == 200:
            won.append(text)

    threads = [threading.Thread(target=post, args=(relay.jwe(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return relay, won


def test_two_answers_at_once(house: House) -> None:
    for _round in range(12):
        relay, won = race(house)
        assert len(won) == 1
        assert relay.call("GET", relay.own).data == won[0].encode()


def test_the_race_finds_a_door_that_looks_first_and_writes_then(house: House, monkeypatch: Any) -> None:
    def look_then_write(connection: Any, identifier: str, answer: bytes, *rest: Any) -> Given:
        row = presentations.c.presentation_id == identifier
        connection.execute(update(presentations).where(row).values(answer=answer, answered_minute=0))
        return Given.TAKEN

    monkeypatch.setattr("mobile_api.store.presentations.give_answer", look_then_write)
    assert len(race(house)[1]) > 1


def test_the_statement_itself_decides_and_not_a_look_before_it(house: House, relay: Relayed) -> None:
    """Between two connections that both saw an empty row, the second UPDATE finds nothing."""
    store = open_store(house.settings.database_url)
    identifier, minute = relay.desk.asked.id, int(house.clock().timestamp()) // 60 * 60
    results = []
    for text in (b"one", b"two"):
        with store.write() as connection:
            results.append(give_answer(connection, identifier, text, text.decode(), None, minute))
    assert results == [Given.TAKEN, Given.OTHER_WAS_FASTER]
    with store.write() as connection:
        gone = give_answer(connection, identifier, b"one", "one", None, minute + 7200)
    assert gone is Given.GONE
    store.close()


def test_the_same_device_flow_needs_the_code_of_the_browser_that_came_back(house: House) -> None:
    relay = Relayed(house, return_uri="https://shoji.example/done?x=1").left()
    text = relay.jwe()
    first = relay.answer(text).json["redirect_uri"]
    assert first.startswith("https://shoji.example/done?x=1&response_code=")
    again = relay.answer(text).json["redirect_uri"]
    assert again != first
    codes = [parse_qs(urlsplit(address).query)["response_code"][0] for address in (first, again)]
    for headers in ({}, {"Akashi-Response-Code": "x"}, {"Akashi-Response-Code": codes[0]}):
        refused = relay.call("GET", relay.own, headers=headers)
        assert (refused.status_code, refused.json["code"]) == (403, "wrong-response-code")
    assert relay.call("GET", relay.own, headers={"Akashi-Response-Code": codes[1]}).data == text.encode()
    plain = Relayed(house, return_uri="https://shoji.example/done").left()
    assert plain.answer().json["redirect_uri"].startswith("https://shoji.example/done?response_code=")


def test_after_its_end_nobody_reads_or_answers_it_but_the_desk_fetches(house: House, relay: Relayed) -> None:
    unanswered = Relayed(house).left()
    relay.answer()
    house.clock.forward(hours=1)
    for late in (relay, unanswered):
        assert late.client.get(late.path).status_code == 404
        assert late.answer().status_code == 404
    sweep(open_store(house.settings.database_url), house.settings, house.clock())
    assert unanswered.call("GET", unanswered.own).status_code == 404
    assert relay.call("GET", relay.own).status_code == 200
    house.clock.forward(hours=1)
    swept = sweep(open_store(house.settings.database_url), house.settings, house.clock())
    assert swept.presentations == 1
    assert relay.call("GET", relay.own).status_code == 404


def test_an_answer_that_no_desk_fetches_goes_a_day_after_the_end(house: House, relay: Relayed) -> None:
    relay.answer()
    store = open_store(house.settings.database_url)
    for hours, gone in ((1, 0), (23, 0), (1, 1)):
        house.clock.forward(hours=hours)
        assert sweep(store, house.settings, house.clock()).presentations == gone
    store.close()


def test_the_https_link_leads_into_a_wallet_and_nowhere_else(relay: Relayed) -> None:
    asked = relay.desk.asked
    page = relay.client.get(asked.link.removeprefix(asked.public_url))
    assert page.status_code == 200
    assert asked.wallet_address.replace("&", "&amp;") in page.text and "<script" not in page.text
    assert page.headers["Content-Security-Policy"] == "default-src 'none'"
    for query in ("", "?client_id=x", "?client_id=<script>&request_uri=x", "?" + "a" * 5000):
        assert relay.client.get("/vp" + query).status_code in (400, 404)
    elsewhere = asked.link.replace("door.mihon.example%2Fvp", "evil.example%2Fvp").removeprefix(
        asked.public_url
    )
    assert relay.client.get(elsewhere).status_code == 404


def test_pages_of_any_origin_may_answer(relay: Relayed) -> None:
    for path in (relay.path, relay.path + "/response"):
        said = relay.client.options(path, headers={"Origin": "https://wallet.example"})
        assert said.headers["Access-Control-Allow-Origin"] == "*"
        assert "POST" in said.headers["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Origin" not in relay.call("GET", relay.own).headers


def test_too_many_calls(tmp_path: Path) -> None:
    house = make_house(tmp_path, rate_request=4, rate_presentation=2)
    relay = Relayed(house).left()
    assert [relay.client.get(relay.path).status_code for _ in range(5)] == [200] * 4 + [429]
    said = relay.answer()
    assert (said.status_code, said.json["error"]) == (429, "invalid_request") and said.headers["Retry-After"]
    assert relay.call("GET", relay.own).status_code == 204  # the desk's calls are counted apart
    assert Relayed(house).leave().status_code == 201
    assert Relayed(house).leave().status_code == 429


def test_the_store_never_sees_what_is_presented(house: House, relay: Relayed, caplog: Any) -> None:
    caplog.set_level("DEBUG")
    relay.answer(relay.jwe("花子 3560000".encode()))
    path = Path(house.settings.database_url.removeprefix("sqlite:///"))
    everything = b"".join(file.read_bytes() for file in path.parent.rglob("*") if file.is_file())
    assert relay.desk.asked.id.encode() in everything
    for canary in ("花子", "3560000"):
        assert canary.encode() not in everything and canary not in caplog.text
    assert relay.desk.asked.id not in caplog.text
    with sqlite3.connect(path) as database:
        (count,) = database.execute("SELECT count(*) FROM accounts").fetchone()
    assert count == 0


def test_a_desk_waits_for_the_answer(tmp_path: Path) -> None:
    relay = Relayed(make_house(tmp_path, max_waiters=2, city_wait=20)).left()
    timer = threading.Timer(0.3, relay.answer)
    timer.start()
    got = relay.call("GET", relay.own, query_string={"wait": "20"})
    timer.join()
    assert got.status_code == 200


def test_the_clock_of_the_request_is_the_doors(house: House) -> None:
    soon = Relayed(house, expires=int(house.clock().timestamp()) + 120).left()
    house.clock.now += timedelta(minutes=3)
    assert soon.answer().status_code == 404
