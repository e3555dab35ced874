"""The street door turns hostile with what goes to the city: envelopes again and under other accounts, accounts of others,
nonces of its own, and wishes of its own with the best evidence it could have got hold of. Nothing is bound or sealed that
no card signed; each broken check of the city, on purpose, is caught.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.house.people import PASSWORDS
from app.house.setup import CITY
from app.identity.card_evidence import ExpectedStatement
from app.issuance.repeats import REPEAT_PAUSE
from app.storage import inbox as inbox_store
from app.storage import nonces as nonce_store
from mobile_api.errors import (
    CityRefused,
    NoAnswerYet,
)
from mobile_api.messages import (
    NO_REQUEST,
    CardStatement,
    CertificateRequest,
    CityAnswer,
    DeviceBody,
    PackageReady,
    Refused,
    Register,
    Registered,
    RequestCertificate,
    format_statement,
    new_message_id,
)
from tests.support.city_rooms import CityRooms, city_rooms
from tests.support.hostile_door import (
    Call,
    Forward,
    Said,
    is_answers,
    is_envelope,
)
from tests.support.hostile_scene import (
    Operator,
    Replayer,
    Scene,
    forged_nonces,
    forward_as,
    scene_nonce,
    unauthorised,
)
from tests.support.running_house import (
    FISCAL_YEAR,
    Holder,
    now,
    wait_for,
)
from verifier.formats.encoding import (
    base64url_encode,
    canonical_json,
)
from verifier.formats.jose import thumbprint


@pytest.fixture
def rooms(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityRooms]:
    """A city in this process, for broken ones."""
    yield from city_rooms(tmp_path / "rooms", tmp_path_factory)


# ---- envelopes ------------------------------------------------------------


def test_envelopes_again_and_under_other_accounts(scene: Scene) -> None:
    one, two = scene.holder(), scene.holder()
    before = len(scene.records)
    replayer = Replayer()
    with scene.house.door.behaving(replayer):
        for holder in (one, two):
            holder.register()
        requests = [one.request("a"), one.request("b"), two.request("a")]
        for holder, request in zip((one, one, two), requests, strict=True):
            assert holder.wait(request)[-1] == "ready"
            holder.phone.fetch_package(request)
        wait_for(lambda: replayer.delivered > 40, 20, "the city to have seen everything again")
    scene.check(one, two)
    for holder, count in ((one, 2), (two, 1)):
        rows = scene.house.rows(
            "worker",
            "SELECT count(*), count(DISTINCT idempotency_key) FROM requests WHERE account = ?",
            holder.phone.account,
        )
        assert rows == [(count, count)]
        # A replay does not even provoke a refusal, nor a second answer but the one a minute that a phone may ask for.
        assert answers_to_replays(scene.said_by_the_city(holder.phone)) == []
    assert len(scene.records) > before


def answers_to_replays(answers: Sequence[CityAnswer]) -> list[Any]:
    """Refusals, and final answers given twice to one message sooner than a message may be repeated."""
    final = [a for a in answers if isinstance(a.body, Registered | PackageReady)]
    soon = timedelta(seconds=REPEAT_PAUSE)
    twice = [
        a
        for n, a in enumerate(final)
        if any(b.in_reply_to == a.in_reply_to and a.issued_at - b.issued_at < soon for b in final[:n])
    ]
    return [a.body for a in answers if isinstance(a.body, Refused)] + twice


def test_control_a_city_that_forgets_what_it_handled_is_caught(
    rooms: CityRooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = rooms.registered(rooms.people[0])
    envelope = device.envelope(device.request_body())
    rooms.deliver(envelope)

    def said() -> list[CityAnswer]:
        at = now()
        return [CityAnswer(CITY, a, "m" * 22, n + 1, at, body) for n, (a, body) in enumerate(rooms.answers())]

    rooms.deliver(replace(envelope, message_id="another-id-of-the-door"))
    assert answers_to_replays(said()) == []
    # One broken check is not enough: "each answer is queued once" and the nonce stand behind it.
    monkeypatch.setattr(inbox_store, "is_handled", lambda *_arguments: False)
    monkeypatch.setattr(inbox_store, "note_message", lambda *_arguments, **_options: None)
    rooms.deliver(replace(envelope, message_id="a-third-id-of-the-door"))
    assert answers_to_replays(said()) == []
    monkeypatch.setattr("app.storage.outbox._is_queued", lambda *_arguments: False)
    monkeypatch.setattr("app.storage.requests.find_by_key", lambda *_arguments: None)
    monkeypatch.setattr(nonce_store, "consume_nonce", lambda *_arguments, **_options: False)
    with rooms.store.begin() as connection:
        connection.exec_driver_sql("UPDATE outbox SET item_id = item_id || position")
    rooms.deliver(replace(envelope, message_id="a-fourth-id-of-the-door"))
    assert [body.code for body in answers_to_replays(said())] == ["nonce"]


def test_the_city_takes_a_foreign_account_from_nobody(scene: Scene) -> None:
    """Swapped account ids: a new phone is told the account of a registered one, and registers under it."""
    victim, tricked = scene.holder().register(), scene.holder()
    replayer = Replayer()

    def behave(call: Call, forward: Forward) -> Said:
        if call.method == "POST" and call.path == "/v1/accounts":
            return Said(201, canonical_json({"account": victim.phone.account}))
        if call.path == "/v1/nonces":
            return Said(200, canonical_json({"nonces": [scene_nonce(scene)]}))
        if is_envelope(call):
            replayer.extra.append((victim.phone.account or "", call.body))
            return Said(202, canonical_json({"message_id": "m" * 22}))
        if is_answers(call):
            return forward_as(scene, victim, call)
        return replayer(call, forward)

    with scene.house.door.behaving(behave), pytest.raises(NoAnswerYet):
        tricked.register(timeout=4)
    bound = scene.house.rows(
        "worker", "SELECT signing_thumbprint FROM accounts WHERE account = ?", victim.phone.account
    )
    assert bound == [(victim.phone.signing_thumbprint,)]
    victim.certify("still mine")
    scene.check(victim)
    assert [
        a for a in scene.believed if isinstance(a.body, Refused) and a.account == victim.phone.account
    ] == []


# ---- the door asks by itself ------------------------------------------------------------


def statement_of(operator: Operator, purpose: str, digest: str, nonce: str) -> str:
    return format_statement(
        CardStatement(
            CITY,
            purpose,
            thumbprint(operator.signing.public_key()),
            thumbprint(operator.encryption.public_key()),
            digest,
            nonce,
            now().replace(microsecond=0),
        )
    )


def recorded_evidence(scene: Scene, holder: Holder, purpose: str, digest: str) -> tuple[str, Any, Any]:
    """A statement with an unused nonce that this resident's card signed for the resident's own phone."""
    statement = CardStatement(
        CITY,
        purpose,
        holder.phone.signing_thumbprint,
        holder.phone.encryption_thumbprint,
        digest,
        scene_nonce(scene),
        now().replace(microsecond=0),
    )
    text = format_statement(statement).encode()
    return (
        text.decode(),
        holder.card.sign_document(PASSWORDS.signature, text),
        holder.card.authenticate(PASSWORDS.authentication, text),
    )


def own_wishes(scene: Scene, victim: Holder) -> list[bytes]:
    """Registrations and requests the operator sends by itself, with the best evidence it could have got hold of."""
    operator, house = scene.operator, scene.house
    public, private = operator.signing.public_key(), operator.encryption.public_key()
    text, by_signature, by_pin = recorded_evidence(scene, victim, "register", NO_REQUEST)
    own = statement_of(operator, "register", NO_REQUEST, scene_nonce(scene))
    certs = (by_signature.certificate, by_signature.signature, by_pin.certificate, by_pin.signature)
    wish = CertificateRequest("income_certificate", FISCAL_YEAR, "", new_message_id(os.urandom))
    asked, _, asked_pin = recorded_evidence(scene, victim, "request", wish.digest())
    bodies: list[tuple[DeviceBody, str]] = [
        # recorded evidence for the victim's keys, sent for the operator's keys
        (Register(public, private, text, *certs), ""),
        # the operator's own statement with the victim's signatures of another one
        (Register(public, private, own, *certs), ""),
        # the victim's signing key kept, only the key that packages are sealed to exchanged
        (Register(victim.phone._home.signing_key.public_key(), private, text, *certs), ""),
        # … under the victim's account
        (Register(public, private, text, *certs), victim.phone.account or ""),
        # requests with recorded evidence, under the operator's and the victim's account
        (RequestCertificate(wish, asked, asked_pin.certificate, asked_pin.signature), ""),
        (
            RequestCertificate(wish, asked, asked_pin.certificate, asked_pin.signature),
            victim.phone.account or "",
        ),
        # noise in the place of evidence
        (
            Register(
                public, private, own, os.urandom(900), os.urandom(256), os.urandom(900), os.urandom(256)
            ),
            "",
        ),
    ]
    return [operator.envelope(house, body, account=account) for body, account in bodies]


def test_the_door_asks_by_itself(scene: Scene) -> None:
    victim = scene.holder().register()
    before = certificates(scene)
    handled = scene.house.rows("worker", "SELECT count(*) FROM inbox WHERE handled_at IS NOT NULL")[0][0]
    replayer = Replayer()
    wishes = own_wishes(scene, victim)
    replayer.extra = [
        (account, body) for body in wishes for account in (scene.operator.account, victim.phone.account or "")
    ]
    put_account(scene, scene.operator)
    with scene.house.door.behaving(replayer):
        wait_for(
            lambda: (
                scene.house.rows("worker", "SELECT count(*) FROM inbox WHERE handled_at IS NOT NULL")[0][0]
                >= handled + len(wishes) * 2
            ),
            40,
            "the city to look at what the door wants",
        )
    assert certificates(scene) == before
    accounts = scene.house.rows("worker", "SELECT account FROM accounts")
    assert (scene.operator.account,) not in accounts
    victim.certify("after the attack")
    scene.check(victim)


def certificates(scene: Scene) -> int:
    return int(scene.house.rows("worker", "SELECT count(*) FROM certificates")[0][0])


def put_account(scene: Scene, operator: Operator) -> None:
    """The operator's own row in its own store, so that answers to it are taken."""
    from mobile_api.accounts import key_bytes

    connection = sqlite3.connect(scene.house.home.store_path("door"), timeout=20, isolation_level=None)
    connection.execute(
        "INSERT OR IGNORE INTO accounts VALUES (?, ?, ?, 0, 0)",
        (
            operator.account,
            key_bytes(operator.signing.public_key()),
            thumbprint(operator.signing.public_key()),
        ),
    )
    connection.close()


def test_control_a_city_that_ignores_the_device_keys_of_the_statement_is_caught(
    rooms: CityRooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    import app.identity.card_evidence as evidence

    def careless(city: str, purpose: str, digest: str, *_keys: object) -> ExpectedStatement:
        return ExpectedStatement(city, purpose, digest, None, None)

    victim, thief = rooms.device(rooms.people[0]), rooms.device(rooms.people[0])
    body = victim.register_body()
    forged = replace(
        body, signing_key=thief.signing.public_key(), encryption_key=thief.encryption.public_key()
    )

    signed = [(body.statement.encode(), None)]
    witness = SimpleNamespace(documents=signed, authentications=signed)
    rooms.deliver(thief.envelope(forged))
    assert unauthorised(rooms.rows, [witness]) == []
    monkeypatch.setattr(evidence, "ExpectedStatement", careless)
    again = victim.register_body()
    forged = replace(
        again, signing_key=thief.signing.public_key(), encryption_key=thief.encryption.public_key()
    )
    rooms.deliver(thief.envelope(forged))
    assert [row[0] for row in unauthorised(rooms.rows, [witness])] == ["account"]


# ---- nonces ------------------------------------------------------------


def is_bound(rows: Callable[[str], Sequence[Sequence[Any]]], account: str) -> bool:
    return any(row[0] == account for row in rows("SELECT account FROM accounts"))


def test_nonces_of_the_doors_own_making_bind_nobody(scene: Scene) -> None:
    holder = scene.holder()
    with scene.house.door.behaving(forged_nonces()), pytest.raises(CityRefused, match="nonce") as no:
        holder.register()
    assert no.value.retry
    assert not is_bound(scene.worker_rows, holder.phone.account or "")
    holder.register()
    holder.certify("second try")
    scene.check(holder)


def test_one_nonce_for_two_phones_serves_one(scene: Scene) -> None:
    one, two = scene.holder(), scene.holder()
    same = scene_nonce(scene)

    def behave(call: Call, forward: Forward) -> Said:
        return Said(200, canonical_json({"nonces": [same]})) if call.path == "/v1/nonces" else forward(call)

    with scene.house.door.behaving(behave):
        one.register()
        with pytest.raises(CityRefused, match="nonce"):
            two.register()
    assert is_bound(scene.worker_rows, one.phone.account or "")
    assert not is_bound(scene.worker_rows, two.phone.account or "")
    scene.check(one, two.register())


def test_control_a_city_that_takes_any_nonce_is_caught(
    rooms: CityRooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = rooms.device(rooms.people[0])
    forged = base64url_encode(os.urandom(24))
    device.send(device.register_body(forged))
    assert not is_bound(rooms.rows, device.account)
    monkeypatch.setattr(nonce_store, "consume_nonce", lambda *_arguments, **_options: True)
    device.send(device.register_body(forged))
    assert is_bound(rooms.rows, device.account)
