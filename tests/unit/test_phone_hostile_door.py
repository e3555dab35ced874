"""A street door that lies: it swaps, forges, replays, re-addresses, drops. It gains delay and nothing else.

The door may see and change everything on the wire; it has no city key, no device key and no card.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from mobile_api.door_client import Reply
from mobile_api.errors import CityRefused, DoorDistrusted, DoorUnavailable, NoAnswerYet, StateError
from mobile_api.messages import PackageReady, Progress, Refused, Registered
from tests.support.door_house import PASSWORDS, FakeCard, House, WsgiTransport, make_bundle, make_house
from verifier.formats.encoding import base64_decode, base64_encode, base64url_encode, canonical_json, sha256
from verifier.formats.names import BUNDLE_TYPE
from verifier.formats.package import pack

FORGED = Refused("card-certificate-revoked", "失効しています", "revoked", False)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return make_house(tmp_path)


def change_answers(
    transport: WsgiTransport, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
) -> None:
    """Let the door hand over other answers."""

    def after(_method: str, path: str, reply: Reply) -> Reply:
        if "/answers?" not in path:
            return reply
        answers = json.loads(reply.body)["answers"]
        return Reply(200, reply.headers, canonical_json({"answers": change(answers)}))

    transport.after = after


def message_of(phone: Any, kind: str) -> str:
    return next(m for m, entry in phone._state["messages"].items() if entry["kind"] == kind)


def test_a_forged_refusal_is_not_believed(house: House) -> None:
    transport = house.transport()
    phone = house.registered_phone(transport=transport)
    request = phone.request_certificate(2026, "", FakeCard(), "1234")
    thief = ec.generate_private_key(ec.SECP256R1())
    own = phone._home.encryption_key.public_key()
    message = message_of(phone, "request_certificate")
    forged = house.city.seal(phone.account or "", message, 99, FORGED, own, statement_key=thief)
    change_answers(transport, lambda answers: [{"body": base64_encode(forged), "n": 9000}, *answers])
    assert list(phone.wait(request))[-1] == "ready"
    assert "unknown-city-key" in phone.distrusted


def test_another_phones_answers_are_not_believed(house: House) -> None:
    transport = house.transport()
    phone, other = house.registered_phone(transport=transport), house.registered_phone("other")
    request = phone.request_certificate(2026, "", FakeCard(), "1234")
    own = phone._home.encryption_key.public_key()
    message = message_of(phone, "request_certificate")
    stolen = [
        # signed by the city, but for another account, for a message never sent, of a kind that does not fit
        house.city.seal(other.account or "", message, 50, FORGED, own),
        house.city.seal(phone.account or "", "A" * 22, 51, FORGED, own),
        house.city.seal(phone.account or "", message, 52, Registered(), own),
        house.city.seal(phone.account or "", None, 53, FORGED, own),
        house.city.seal(phone.account or "", message, 54, FORGED, other._home.encryption_key.public_key()),
    ]
    items = [{"body": base64_encode(data), "n": 1} for data in stolen]
    change_answers(transport, lambda answers: [*items, *answers])
    assert list(phone.wait(request))[-1] == "ready"
    for code in ("other-account", "unasked-answer", "unfitting-answer", "not-for-this-key"):
        assert code in phone.distrusted


def test_a_replayed_refusal_does_not_undo_progress(house: House) -> None:
    transport = house.transport()
    phone = house.registered_phone(transport=transport)
    seen: list[dict[str, Any]] = []

    def replay(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
        seen.extend(answers)
        return [*seen, *answers]

    change_answers(transport, replay)
    house.city.refusals.clear()
    first = phone.request_certificate(2026, "a", FakeCard(), "1234")
    assert list(phone.wait(first))[-1] == "ready"
    second = phone.request_certificate(2026, "b", FakeCard(), "1234")
    assert list(phone.wait(second))[-1] == "ready"
    assert phone.requests()[0]["state"] == "ready"


def test_an_older_answer_after_a_newer_one_changes_nothing(house: House) -> None:
    transport = house.transport()
    phone = house.registered_phone(transport=transport)
    request = phone.request_certificate(2026, "", FakeCard(), "1234")
    account, own = phone.account or "", phone._home.encryption_key.public_key()
    message = message_of(phone, "request_certificate")
    newer = house.city.seal(account, message, 20, Progress("r" * 22, "sealed"), own)
    older = house.city.seal(account, message, 10, FORGED, own)
    house.city.work = lambda wait=0: 0  # type: ignore[method-assign]
    change_answers(transport, lambda _answers: [{"body": base64_encode(newer), "n": 1}])
    with pytest.raises(NoAnswerYet):
        list(phone.wait(request, timeout=0.05))
    change_answers(transport, lambda _answers: [{"body": base64_encode(older), "n": 2}])
    with pytest.raises(NoAnswerYet):
        list(phone.wait(request, timeout=0.05))
    assert phone.requests()[0]["stages"] == ["sealed"]
    assert "old-answer" in phone.distrusted


def test_the_citys_own_refusal_is_believed(house: House) -> None:
    phone = house.registered_phone()
    request = phone.request_certificate(2026, "", FakeCard(), "1234")
    house.city.refusals[request] = FORGED
    with pytest.raises(CityRefused) as refused:
        list(phone.wait(request))
    assert (refused.value.code, refused.value.ja, refused.value.retry) == (
        FORGED.code,
        FORGED.message_ja,
        False,
    )
    # Final: a later word about the same message changes nothing.
    assert phone.requests()[0]["state"] == "refused"


@pytest.mark.parametrize("how", ["bytes", "other package", "own package", "cut"])
def test_a_swapped_package_is_noticed(house: House, how: str) -> None:
    transport = house.transport()
    phone = house.registered_phone(transport=transport)
    request = phone.request_certificate(2026, "", FakeCard(), "1234")
    list(phone.wait(request))
    own = phone._home.encryption_key.public_key()
    swapped = {
        "bytes": b"not a package",
        "other package": pack(b"x", [house.city.envelope_key.public_key()], content_type=BUNDLE_TYPE),
        "own package": pack(make_bundle(house.city.credential_key, own), [own], content_type=BUNDLE_TYPE),
        "cut": b"",
    }[how]

    def after(method: str, path: str, reply: Reply) -> Reply:
        return Reply(200, {}, swapped) if method == "GET" and "/packages/" in path else reply

    transport.after = after
    with pytest.raises(DoorDistrusted, match="package-substituted"):
        phone.fetch_package(request)
    assert list((house.directory / "phone" / "packages").iterdir()) == []
    transport.after = lambda _m, _p, reply: reply
    assert phone.fetch_package(request).exists()
    assert phone.open(request) == next(iter(house.city.bundles.values()))


def test_another_accounts_package_ready_is_not_believed(house: House) -> None:
    transport = house.transport()
    phone = house.registered_phone(transport=transport)
    request = phone.request_certificate(2026, "", FakeCard(), "1234")
    own, message = phone._home.encryption_key.public_key(), message_of(phone, "request_certificate")
    thief = ec.generate_private_key(ec.SECP256R1())
    package = pack(b"evil", [own], content_type=BUNDLE_TYPE)
    lie = PackageReady("r" * 22, "p" * 22, sha256(package))
    forged = house.city.seal(phone.account or "", message, 70, lie, own, statement_key=thief)
    house.city.work = lambda wait=0: 0  # type: ignore[method-assign]
    change_answers(transport, lambda _answers: [{"body": base64_encode(forged), "n": 1}])
    with pytest.raises(NoAnswerYet):
        list(phone.wait(request, timeout=0.05))
    with pytest.raises(StateError, match="not-ready"):
        phone.fetch_package(request)


@pytest.mark.parametrize(
    "answers",
    [
        [1],
        [{}],
        [{"n": 1}],
        [{"n": "1", "body": ""}],
        [{"n": 1, "body": 5}],
        [{"n": 1, "body": "!"}],
        [{"n": 1, "body": "AAAA"}],
        [{"n": -5, "body": "AAAA"}],
    ],
)
def test_rubbish_answers_are_left_out(house: House, answers: list[Any]) -> None:
    transport = house.transport()
    phone = house.registered_phone(transport=transport)
    request = phone.request_certificate(2026, "", FakeCard(), "1234")
    change_answers(transport, lambda good: [*answers, *good])
    assert list(phone.wait(request))[-1] == "ready"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"answers":5}', b"\xff\xfe", b'{"answers":' + b"[" * 50]
)
def test_rubbish_instead_of_a_list_is_distrusted(house: House, body: bytes) -> None:
    transport = house.transport()
    phone = house.registered_phone(transport=transport)
    request = phone.request_certificate(2026, "", FakeCard(), "1234")
    transport.after = lambda _m, path, reply: Reply(200, {}, body) if "/answers?" in path else reply
    with pytest.raises(DoorDistrusted):
        list(phone.wait(request, timeout=0.1))


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_door_that_fails_is_unavailable(house: House, status: int) -> None:
    transport = house.transport()
    phone = house.phone(transport=transport)
    transport.after = lambda _m, _p, _r: Reply(status, {"retry-after": "1"}, b"")
    with pytest.raises(DoorUnavailable):
        phone.sign_up(FakeCard(), PASSWORDS)
    assert phone.account is None


def test_a_cursor_far_ahead_only_delays(house: House) -> None:
    transport = house.transport()
    phone = house.registered_phone(transport=transport)
    request = phone.request_certificate(2026, "", FakeCard(), "1234")
    own = phone._home.encryption_key.public_key()
    unasked = house.city.seal(phone.account or "", None, 999, Registered(), own)
    junk = {"body": base64_encode(unasked), "n": 1 << 50}
    transport.after = lambda _m, path, reply: (
        Reply(200, {}, canonical_json({"answers": [junk]})) if "/answers?" in path else reply
    )
    with pytest.raises(NoAnswerYet):
        list(phone.wait(request, timeout=0.05))
    transport.after = lambda _m, _p, reply: reply
    assert list(phone.wait(request))[-1] == "ready"


def test_a_dropped_envelope_is_sent_again(house: House) -> None:
    transport = house.transport()
    phone = house.registered_phone(transport=transport)
    dropping = True
    transport.after = lambda _m, path, reply: (
        Reply(202, {}, b'{"message_id":"AAAAAAAAAAAAAAAAAAAAAA"}')
        if "/envelopes" in path and dropping
        else reply
    )
    real_work = house.city.work

    def forget(wait: int = 0) -> int:
        house.city.mailbox.acknowledge([m.message_id for m in house.city.mailbox.take()])
        return 0

    house.city.work = forget  # type: ignore[method-assign]
    request = phone.request_certificate(2026, "", FakeCard(), "1234")
    with pytest.raises(NoAnswerYet):
        list(phone.wait(request, timeout=0.05))
    dropping = False
    house.city.work = real_work  # type: ignore[method-assign]
    house.clock.forward(minutes=3)
    assert list(phone.wait(request))[-1] == "ready"


def test_the_city_drops_what_the_door_re_addresses_or_replays(house: House) -> None:
    phone, other = house.registered_phone(), house.registered_phone("other")
    phone.request_certificate(2026, "", FakeCard(), "1234")
    [message] = house.city.mailbox.take()
    house.city.handle(other.account or "", message.body)
    assert house.city.dropped == ["re-addressed"]
    house.city.handle(phone.account or "", message.body)
    house.city.handle(phone.account or "", message.body)
    assert house.city.dropped == ["re-addressed", "replayed"]
    assert len(house.city.requests) == 1


def test_the_door_alone_gets_no_certificate(house: House) -> None:
    """It asks by itself, with an account and a key of its own: nothing is bound to them."""
    thief = house.phone("thief")
    thief._door_account.open()
    thief._state["registration"] = {"message": "", "state": "registered"}
    request = thief.request_certificate(2026, "", FakeCard(), "1234")
    with pytest.raises(NoAnswerYet):
        list(thief.wait(request, timeout=0.05))
    assert house.city.dropped == ["unknown-device"]
    assert house.city.requests == {}


def test_nothing_that_the_door_sees_can_be_read(house: House) -> None:
    seen: list[bytes] = []
    transport = house.transport()
    work = transport.before

    def look(method: str, url: str, body: bytes | None) -> None:
        work(method, url, body)
        seen.append(f"{method} {url}".encode() + (body or b""))

    transport.before = look
    transport.after = lambda _m, _p, reply: seen.append(reply.body) or reply  # type: ignore[func-returns-value]
    phone = house.phone(transport=transport)
    card = FakeCard()
    phone.sign_up(card, PASSWORDS, "hanako@mail.example")
    request = phone.request_certificate(2026, "住居手当", card, PASSWORDS.authentication)
    list(phone.wait(request))
    phone.fetch_package(request)
    wire = b"\n".join(seen)
    plain = [b"hanako", "住居手当".encode(), b"ABC123", b"%PDF", "課税証明書".encode(), card.signed[0]]
    plain += [base64url_encode(word).rstrip("=").encode()[:-2] for word in plain]
    for word in plain:
        assert word not in wire
    for part in wire.split(b'"'):
        if len(part) > 40 and part.isascii():
            try:
                decoded = base64_decode(part.decode())
            except Exception:
                continue
            assert b"%PDF" not in decoded


def test_a_door_over_plain_http_elsewhere_is_refused(house: House) -> None:
    from mobile_api.door_client import DoorClient

    for bad in ("http://door.mihon.example", "ftp://localhost", "https://door.mihon.example/path", "door"):
        with pytest.raises(StateError, match="bad-door"):
            DoorClient(bad, transport=house.transport(), clock=house.clock, random=os.urandom)
