"""Accounts, proofs, nonces, envelopes, answers and packages at the street door."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from app.errors import ConflictError
from app.mailbox import MailboxError
from mobile_api.proofs import PROOF_HEADER, build_proof
from tests.support.door_house import House, make_house
from verifier.formats.encoding import base64_decode, canonical_json
from verifier.formats.jose import build_jws, es256_signer, format_jwk, thumbprint
from verifier.formats.names import ANSWER_TYPE, BUNDLE_TYPE, ENVELOPE_TYPE
from verifier.formats.package import pack


class Device:
    """Calls with proofs, one knob a claim."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.client = house.app.test_client()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.account = ""

    def sign_up(self) -> Device:
        answer = self.call("POST", "/v1/accounts", self.form)
        assert answer.status_code == 201
        self.account = answer.json["account"]
        return self

    @property
    def form(self) -> bytes:
        return canonical_json({"signing_jwk": format_jwk(self.key.public_key())})

    def proof(self, method: str, path: str, body: bytes, **changes: Any) -> str:
        key = changes.get("key", self.key)
        return build_proof(
            thumbprint(changes.get("kid_of", key).public_key()),
            es256_signer(key),
            method=changes.get("htm", method),
            path=changes.get("htu", path),
            body=changes.get("proof_body", body),
            now=changes.get("now", self.house.clock()),
            random=os.urandom,
        )

    def call(self, method: str, path: str, body: bytes = b"", query: str = "", **changes: Any):
        proof = changes.get("proof") or self.proof(method, path, body, **changes)
        return self.client.open(path + query, method=method, data=body or None, headers={PROOF_HEADER: proof})

    def envelope(self, text: bytes = b"to the city", typ: str = ENVELOPE_TYPE, recipients: int = 1) -> bytes:
        keys = [self.house.city.envelope_key.public_key()]
        keys += [ec.generate_private_key(ec.SECP256R1()).public_key() for _ in range(recipients - 1)]
        return pack(text, keys, content_type="text/plain", typ=typ)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return make_house(tmp_path, rate_account=1000)


@pytest.fixture
def device(house: House) -> Iterator[Device]:
    yield Device(house).sign_up()


def test_the_same_key_gets_the_same_account(house: House, device: Device) -> None:
    assert device.call("POST", "/v1/accounts", device.form).json["account"] == device.account
    assert Device(house).sign_up().account != device.account
    assert len(device.account) == 22


def test_an_account_needs_proof_of_its_key(house: House, device: Device) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    answer = device.call("POST", "/v1/accounts", device.form, key=other)
    assert (answer.status_code, answer.content_type) == (401, "application/problem+json")
    assert answer.json["code"] == "bad-proof"
    assert set(answer.json) == {"type", "title", "status", "detail", "code"}


@pytest.mark.parametrize(
    "changes",
    [
        {"htm": "GET"},
        {"htu": "/v1/accounts"},
        {"proof_body": b"{}"},
        {"key": ec.generate_private_key(ec.SECP256R1())},
        {"kid_of": ec.generate_private_key(ec.SECP256R1())},
        {"proof": "a.b.c"},
        {"proof": "x" * 3000},
    ],
)
def test_a_proof_is_good_for_one_call_by_one_key(device: Device, changes: dict[str, Any]) -> None:
    path = f"/v1/accounts/{device.account}/envelopes"
    body = device.envelope()
    assert device.call("POST", path, body, **changes).status_code == 401
    assert device.call("POST", path, body).status_code == 202


@pytest.mark.parametrize(("seconds", "status"), [(-301, 401), (-299, 200), (299, 200), (301, 401)])
def test_a_proof_is_of_now(device: Device, seconds: int, status: int) -> None:
    now = device.house.clock() + timedelta(seconds=seconds)
    assert device.call("GET", f"/v1/accounts/{device.account}/answers", now=now).status_code == status


def test_a_proof_is_used_once(device: Device) -> None:
    path = f"/v1/accounts/{device.account}/answers"
    proof = device.proof("GET", path, b"")
    assert device.call("GET", path, proof=proof).status_code == 200
    again = device.call("GET", path, proof=proof)
    assert (again.status_code, again.json["code"]) == (401, "proof-replayed")


def test_a_proof_is_used_once_also_by_threads(device: Device) -> None:
    path = f"/v1/accounts/{device.account}/answers"
    proof = device.proof("GET", path, b"")
    statuses: list[int] = []
    clients = [device.house.app.test_client() for _ in range(8)]
    start = threading.Barrier(len(clients))

    def ask(client: Any) -> None:
        start.wait()
        statuses.append(client.get(path, headers={PROOF_HEADER: proof}).status_code)

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [401] * 7


def test_a_proof_with_another_header_member_is_refused(device: Device) -> None:
    path = f"/v1/accounts/{device.account}/answers"
    claims = {"body": "x", "htm": "GET", "htu": path, "iat": 0, "jti": "A" * 22}
    header = {"kid": thumbprint(device.key.public_key()), "typ": "akashi-proof+jwt", "cty": "x"}
    proof = build_jws(header, canonical_json(claims), es256_signer(device.key)).decode()
    assert device.call("GET", path, proof=proof).status_code == 401


def test_nobody_reads_another_account(house: House, device: Device) -> None:
    other = Device(house).sign_up()
    for method, rest in (("GET", "answers"), ("GET", "packages/" + "p" * 16), ("POST", "envelopes")):
        assert device.call(method, f"/v1/accounts/{other.account}/{rest}").status_code == 401
    unknown = device.call("GET", f"/v1/accounts/{'A' * 22}/answers")
    assert (unknown.status_code, unknown.json["code"]) == (401, "bad-proof")


def test_a_nonce_is_handed_out_once(house: House, device: Device) -> None:
    body = canonical_json({"account": device.account})
    seen = [device.call("POST", "/v1/nonces", body).json["nonces"] for _ in range(5)]
    assert all(len(nonces) == 1 and nonces[0] in house.city.nonces for nonces in seen)
    assert len({nonces[0] for nonces in seen}) == 5
    assert house.city.mailbox.nonces_left() == 45


def test_an_empty_stock_is_503(house: House, device: Device) -> None:
    body = canonical_json({"account": device.account})
    for _ in range(50):
        assert device.call("POST", "/v1/nonces", body).status_code == 200
    empty = device.call("POST", "/v1/nonces", body)
    assert (empty.status_code, empty.json["code"]) == (503, "no-nonces")
    assert int(empty.headers["Retry-After"]) > 0


def test_nonces_are_limited_per_account(tmp_path: Path) -> None:
    device = Device(make_house(tmp_path, rate_nonce=2)).sign_up()
    body = canonical_json({"account": device.account})
    statuses = [device.call("POST", "/v1/nonces", body).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


def test_the_same_envelope_is_one_message(house: House, device: Device) -> None:
    path, body = f"/v1/accounts/{device.account}/envelopes", device.envelope()
    first, second = device.call("POST", path, body), device.call("POST", path, body)
    assert first.json == second.json
    [message] = house.city.mailbox.take()
    assert (message.message_id, message.account, message.body) == (
        first.json["message_id"],
        device.account,
        body,
    )
    assert message.received == "2026-11-20T01:02Z"


def test_an_envelope_stays_until_acknowledged(house: House, device: Device) -> None:
    path = f"/v1/accounts/{device.account}/envelopes"
    ids = [device.call("POST", path, device.envelope(b"%d" % n)).json["message_id"] for n in range(3)]
    assert [m.message_id for m in house.city.mailbox.take()] == ids
    house.city.mailbox.acknowledge(ids[:1])
    house.city.mailbox.acknowledge(ids[:1])
    assert [m.message_id for m in house.city.mailbox.take()] == ids[1:]
    assert [m.message_id for m in house.city.mailbox.take(limit=1)] == ids[1:2]


@pytest.mark.parametrize("bad", ["text", "package", "two recipients", "cut"])
def test_only_envelopes_get_into_the_inbox(device: Device, bad: str) -> None:
    body = {
        "text": b"hello",
        "package": device.envelope(typ=ANSWER_TYPE),
        "two recipients": device.envelope(recipients=2),
        "cut": device.envelope()[:-1],
    }[bad]
    assert device.call("POST", f"/v1/accounts/{device.account}/envelopes", body).status_code == 400
    assert device.house.city.mailbox.take() == []


def test_an_envelope_has_a_largest_size(device: Device) -> None:
    path = f"/v1/accounts/{device.account}/envelopes"
    answer = device.call("POST", path, device.envelope(os.urandom(64 << 10)))
    assert (answer.status_code, answer.json["code"]) == (413, "body-too-large")


def test_a_full_mailbox_is_429(tmp_path: Path) -> None:
    device = Device(make_house(tmp_path, max_waiting_envelopes=2)).sign_up()
    path = f"/v1/accounts/{device.account}/envelopes"
    statuses = [device.call("POST", path, device.envelope(b"%d" % n)).status_code for n in range(3)]
    assert statuses == [202, 202, 429]


def test_calls_are_limited_per_account(tmp_path: Path) -> None:
    house = make_house(tmp_path, rate_account=3)
    one, other = Device(house).sign_up(), Device(house).sign_up()
    statuses = [one.call("GET", f"/v1/accounts/{one.account}/answers").status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    assert other.call("GET", f"/v1/accounts/{other.account}/answers").status_code == 200


def _answer(device: Device, text: bytes) -> bytes:
    return pack(text, [device.key.public_key()], content_type="text/plain", typ=ANSWER_TYPE)


def test_answers_come_in_order_and_once(house: House, device: Device) -> None:
    mailbox, path = house.city.mailbox, f"/v1/accounts/{device.account}/answers"
    bodies = [_answer(device, b"%d" % n) for n in range(3)]
    for number, body in enumerate(bodies):
        mailbox.put_answer(device.account, f"answer-{number:016d}", body)
    mailbox.put_answer(device.account, f"answer-{0:016d}", bodies[0])
    # Sealed anew after a crash: the door keeps the first, the city is content.
    mailbox.put_answer(device.account, f"answer-{0:016d}", _answer(device, b"anew"))
    got = device.call("GET", path).json["answers"]
    assert [(a["n"], base64_decode(a["body"])) for a in got] == list(enumerate(bodies, 1))
    assert [a["n"] for a in device.call("GET", path, query="?after=2").json["answers"]] == [3]
    assert device.call("GET", path, query="?after=x").status_code == 400


def test_equal_answers_at_once_take_one_number(house: House, device: Device) -> None:
    body = _answer(device, b"one")
    threads = [
        threading.Thread(
            target=house.city.mailbox.put_answer, args=(device.account, "answer-" + "x" * 16, body)
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    house.city.mailbox.put_answer(device.account, "answer-" + "y" * 16, body)
    answers = device.call("GET", f"/v1/accounts/{device.account}/answers").json["answers"]
    assert [a["n"] for a in answers] == [1, 2]


def test_an_answer_for_nobody_is_404(house: House) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    body = pack(b"x", [key], content_type="text/plain", typ=ANSWER_TYPE)
    with pytest.raises(MailboxError, match="404"):
        house.city.mailbox.put_answer("A" * 22, "answer-" + "x" * 16, body)


def test_a_long_poll_wakes_up(tmp_path: Path) -> None:
    device = Device(make_house(tmp_path, phone_wait=20)).sign_up()
    body = _answer(device, b"late")
    timer = threading.Timer(
        0.3, device.house.city.mailbox.put_answer, (device.account, "answer-" + "x" * 16, body)
    )
    timer.start()
    answers = device.call("GET", f"/v1/accounts/{device.account}/answers", query="?wait=20").json["answers"]
    timer.join()
    assert len(answers) == 1


def test_without_a_free_place_a_poll_answers_at_once(tmp_path: Path) -> None:
    device = Device(make_house(tmp_path, phone_wait=20, max_waiters=0)).sign_up()
    answer = device.call("GET", f"/v1/accounts/{device.account}/answers", query="?wait=20")
    assert answer.json == {"answers": []}


def test_a_package_is_fetched_and_deleted(house: House, device: Device) -> None:
    mailbox, package_id = house.city.mailbox, "package-" + "x" * 16
    body = pack(b"bundle", [device.key.public_key()], content_type=BUNDLE_TYPE)
    mailbox.put_package(device.account, package_id, body)
    mailbox.put_package(device.account, package_id, body)
    with pytest.raises(ConflictError):
        other = pack(b"another", [device.key.public_key()], content_type=BUNDLE_TYPE)
        mailbox.put_package(device.account, package_id, other)
    path = f"/v1/accounts/{device.account}/packages/{package_id}"
    assert device.call("GET", path).data == body
    assert device.call("DELETE", path).status_code == 204
    assert device.call("DELETE", path).status_code == 204
    gone = device.call("GET", path)
    assert (gone.status_code, gone.json["code"]) == (404, "no-package")


def test_the_city_takes_a_package_back(house: House, device: Device) -> None:
    package_id = "package-" + "x" * 16
    body = pack(b"bundle", [device.key.public_key()], content_type=BUNDLE_TYPE)
    house.city.mailbox.put_package(device.account, package_id, body)
    house.city.mailbox.delete_package(device.account, package_id)
    house.city.mailbox.delete_package(device.account, package_id)
    assert device.call("GET", f"/v1/accounts/{device.account}/packages/{package_id}").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("DELETE", "/v1/accounts", 405),
        ("GET", "/v1/accounts/short/answers", 404),
        ("GET", "/city/accounts/x", 404),
    ],
)
def test_other_calls_are_problems(device: Device, method: str, path: str, status: int) -> None:
    answer = device.call(method, path)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"signing_jwk":1}', b'{"signing_jwk":{}}', b"\xff", b"{" * 99]
)
def test_damaged_forms_are_400(device: Device, body: bytes) -> None:
    assert device.client.post("/v1/accounts", data=body).status_code in (400, 413)
