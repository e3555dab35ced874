"""The city's client: retries with a new token each, typed errors, a hostile door's rubbish left out, the
zone guard.
"""

from __future__ import annotations

import json
import stat
import urllib.request
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from app.errors import ConflictError, CrossingError, SettingsError, UnavailableError
from app.mailbox import CityMailbox, MailboxError, read_mailbox_key, write_mailbox_key
from app.zones import Guard, Zone
from tests.support.door_house import BASE_URL, CITY, Clock

KEY = ec.generate_private_key(ec.SECP256R1())
MESSAGE = {"id": "m" * 22, "account": "a" * 22, "received": "2026-11-20T01:02Z", "body": "aGVsbG8="}


class Door:
    """Answers in a row; keeps what was sent."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[urllib.request.Request] = []
        self.slept: list[float] = []

    def send(self, request: urllib.request.Request, _timeout: float) -> tuple[int, dict[str, str], bytes]:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else (200, {}, b"{}")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def mailbox(self, **options: Any) -> CityMailbox:
        return CityMailbox(
            BASE_URL, KEY, city=CITY, clock=Clock(), send=self.send, sleep=self.slept.append, **options
        )


def ok(value: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps(value).encode()


def test_each_attempt_has_its_own_token() -> None:
    door = Door(OSError(), (503, {"retry-after": "7"}, b""), ok({"left": 5}))
    assert door.mailbox().nonces_left() == 5
    tokens = [r.get_header("Authorization", "") for r in door.requests]
    claims = [jwt.decode(t.removeprefix("Bearer "), options={"verify_signature": False}) for t in tokens]
    assert len({c["jti"] for c in claims}) == 3
    assert {(c["htm"], c["htu"], c["exp"] - c["iat"]) for c in claims} == {("GET", "/city/nonces", 50)}
    assert door.slept == [0.25, 7.0]


@pytest.mark.parametrize(
    "answer", [OSError(), TimeoutError(), (500, {}, b""), (503, {}, b""), (429, {}, b"")]
)
def test_an_outage_is_unavailable(answer: Any) -> None:
    door = Door(*[answer] * 4)
    with pytest.raises(UnavailableError):
        door.mailbox().take()
    assert len(door.requests) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302])
def test_a_refusal_is_not_repeated(status: int) -> None:
    door = Door((status, {}, b""))
    with pytest.raises(MailboxError):
        door.mailbox().nonces_left()
    assert len(door.requests) == 1


def test_conflicts() -> None:
    door = Door(*[(409, {}, b"")] * 3)
    mailbox = door.mailbox()
    mailbox.put_answer("a" * 22, "i" * 22, b"sealed anew")
    with pytest.raises(ConflictError):
        mailbox.put_package("a" * 22, "p" * 22, b"other bytes")
    with pytest.raises(ConflictError):
        mailbox.put_public(f"{CITY}/status/0", b"x")


def test_rubbish_in_the_inbox_is_left_out() -> None:
    bad = [
        1,
        {},
        {**MESSAGE, "id": "../x"},
        {**MESSAGE, "account": 5},
        {**MESSAGE, "body": "!"},
        {**MESSAGE, "body": "A" * 200000},
    ]
    found = Door(ok({"messages": [*bad, MESSAGE]})).mailbox().take()
    assert [(m.message_id, m.account, m.body) for m in found] == [("m" * 22, "a" * 22, b"hello")]
    assert len(Door(ok({"messages": [MESSAGE] * 5})).mailbox().take(limit=2)) == 2


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"messages":5}', b"\xff", b"[" * 100000])
def test_an_answer_that_is_none(body: bytes) -> None:
    with pytest.raises(MailboxError, match="bad-door-answer"):
        Door((200, {}, body)).mailbox().take()


def test_ids_never_climb_out_of_their_place() -> None:
    door = Door()
    mailbox = door.mailbox()
    for bad in ("../../x", "a", "a/b" * 8, "a" * 65, ""):
        with pytest.raises(MailboxError):
            mailbox.put_package("a" * 22, bad, b"x")
        with pytest.raises(MailboxError):
            mailbox.delete_package(bad, "p" * 22)
    for bad in ("992012/status/0", f"{CITY}/../x", "status/0"):
        with pytest.raises(MailboxError):
            mailbox.put_public(bad, b"x")
    assert door.requests == []


def test_many_nonces_go_in_portions() -> None:
    door = Door()
    door.mailbox().put_nonces([f"{n:032d}" for n in range(2500)])
    assert [len(json.loads(r.data or b"{}")["nonces"]) for r in door.requests] == [1000, 1000, 500]  # type: ignore[arg-type]


def test_the_guard_is_asked(tmp_path: Path) -> None:
    door, guard = Door(ok({"messages": [MESSAGE]})), Guard(tmp_path / "traffic")
    door.mailbox(guard=guard).take()
    assert "mailbox.inbox" in (tmp_path / "traffic").read_text()
    with pytest.raises(CrossingError):
        door.mailbox(guard=guard).put_answer("a" * 22, "i" * 22, bytes(70 << 10))
    with pytest.raises(CrossingError):
        door.mailbox(guard=guard, zone=Zone.SIGNER).acknowledge(["m" * 22])
    door.mailbox(guard=guard, zone=Zone.DMZ).put_public(f"{CITY}/log/1/checkpoint", b"x")
    assert len(door.requests) == 2


def test_the_door_is_reached_by_https() -> None:
    for bad in ("http://door.mihon.example", "ftp://127.0.0.1", ""):
        with pytest.raises(SettingsError):
            CityMailbox(bad, KEY, city=CITY)


def test_the_key_file(tmp_path: Path) -> None:
    key = write_mailbox_key(tmp_path / "key.pem")
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert read_mailbox_key(tmp_path / "key.pem").private_numbers() == key.private_numbers()
    with pytest.raises(FileExistsError):
        write_mailbox_key(tmp_path / "key.pem")
    (tmp_path / "bad.pem").write_bytes(b"x")
    for bad in ("bad.pem", "none.pem"):
        with pytest.raises(SettingsError):
            read_mailbox_key(tmp_path / bad)


def test_nobody_listens() -> None:
    mailbox = CityMailbox("http://127.0.0.1:1", KEY, city=CITY, sleep=lambda _s: None, attempts=2)
    with pytest.raises(UnavailableError):
        mailbox.nonces_left()
