"""The same message again: the city says once more what it said last, puts the same package again, and nothing else.

Real stores, real cards, the real sender with a door that forgets. Only the very same envelope counts, seldom, and from
an account that is checked like any other; each check is broken once, on purpose, and must be missed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from app.delivery.sender import FORGET_BEAT, KEEP_PACKAGE_SECONDS, KEEP_REFUSAL_SECONDS, Sender
from app.errors import Refusal, UnavailableError
from app.issuance import desk as desk_module
from app.issuance import intake as intake_module
from app.issuance.refusals import refusal
from app.issuance.repeats import REPEAT_PAUSE, REPEATS_A_DAY
from app.issuance.states import State
from app.registers.events import ProtectionSet
from app.revocation.protection import follow_changes
from app.revocation.revoke import revoke_certificate
from app.storage import accounts as account_store
from app.storage import certificates as certificate_store
from app.storage import repeats as repeat_store
from app.storage import requests as request_store
from app.storage.inbox import Envelope, find_unhandled
from app.storage.outbox import find_unsent, queue_answer, queue_item
from app.storage.requests import Request
from app.storage.status_entries import open_status_list
from app.storage.tables import metadata
from mobile_api.messages import (
    CityAnswer,
    HistoryWish,
    PackageReady,
    Progress,
    Refused,
    Registered,
    new_message_id,
    open_answer,
    verify_answer,
)
from tests.support.city_rooms import CityRooms, Device, city_rooms
from verifier.formats.encoding import base64url_encode, sha256
from verifier.formats.jose import agreement, es256_signer, thumbprint
from verifier.formats.names import BUNDLE_TYPE
from verifier.formats.package import open_package, pack


class ForgetfulDoor:
    """Confirms every PUT; what it was given is all that is left of it."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.packages: list[tuple[str, bytes]] = []
        self.deleted: list[str] = []

    def put_answer(self, account: str, item_id: str, body: bytes) -> None:
        assert 16 <= len(item_id) <= 64
        self.answers.append(body)

    def put_package(self, account: str, package_id: str, body: bytes) -> None:
        self.packages.append((package_id, body))

    def delete_package(self, account: str, package_id: str) -> None:
        self.deleted.append(package_id)


class StatementKey:
    """The city's statement key, in software."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.kid = thumbprint(self.key.public_key())

    def signing(self, purpose: str, *, request_id: str, serial: str):
        return es256_signer(self.key)


class Post:
    """A city whose sender puts everything on a forgetful door."""

    def __init__(self, rooms: CityRooms) -> None:
        self.rooms, self.door, self.key = rooms, ForgetfulDoor(), StatementKey()
        self.sender = Sender(
            rooms.store,
            self.door,
            self.key,  # type: ignore[arg-type]
            city="992011",
            statement_kid=self.key.kid,
            clock=rooms.clock,
        )

    def hear(self, device: Device) -> list[CityAnswer]:
        """What the door was given for this phone since the last time, opened and verified as a phone does."""
        self.sender.send_due()
        bodies, self.door.answers = self.door.answers, []
        kid, keys = thumbprint(device.encryption.public_key()), {self.key.kid: self.key.key.public_key()}
        return [verify_answer(open_answer(body, kid, agreement(device.encryption)), keys) for body in bodies]

    def again(self, device: Device, envelope: Envelope) -> list[CityAnswer]:
        """The phone posts the same bytes once more, after a while; what it hears."""
        self.rooms.clock.forward(seconds=REPEAT_PAUSE)
        self.rooms.deliver(posted_again(envelope))
        return self.hear(device)


def posted_again(envelope: Envelope) -> Envelope:
    """The same bytes under a new id of the door."""
    return replace(envelope, message_id=base64url_encode(os.urandom(16)))


@pytest.fixture
def rooms(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityRooms]:
    yield from city_rooms(tmp_path, tmp_path_factory)


@pytest.fixture
def post(rooms: CityRooms) -> Post:
    return Post(rooms)


def asked(rooms: CityRooms, post: Post) -> tuple[Device, Envelope]:
    """A registered phone whose request was taken in; the door has lost every word of the city."""
    device = rooms.registered(rooms.people[0])
    envelope = device.envelope(device.request_body(purpose="住居手当"))
    rooms.deliver(envelope)
    post.hear(device)
    return device, envelope


def the_request(rooms: CityRooms, device: Device) -> Request:
    with rooms.store.begin() as connection:
        (request,) = request_store.find_of_account(connection, device.account, 10)
    return request


def released(rooms: CityRooms, post: Post) -> tuple[Device, Envelope, bytes]:
    """… and the package was handed over as `walk` does it, and lost."""
    device, envelope = asked(rooms, post)
    request = the_request(rooms, device)
    package = pack(b"a bundle", [device.encryption.public_key()], content_type=BUNDLE_TYPE)
    digest = sha256(package)
    with rooms.store.begin() as connection:
        open_status_list(connection, 1, size=1024)
        made = certificate_store.reserve(
            connection, request.request_id, issued_at=rooms.at, valid_until="2027-02-20"
        )
        for state in (State.RESERVED, State.SEALED, State.LOGGED, State.RELEASED):
            request_store.move(connection, request, state, at=rooms.at, step="test")
            request = request_store.find_request(connection, request.request_id) or request
        package_id = made.certificate_id.hex()
        queue_item(
            connection,
            kind="package",
            account=device.account,
            item_id=package_id,
            body=package,
            at=rooms.at,
        )
        certificate_store.store_release(
            connection, request.request_id, package_id=package_id, package_hash=digest.hex(), at=rooms.at
        )
        queue_answer(
            connection,
            account=device.account,
            item_id=f"package-{request.request_id}",
            in_reply_to=request.message_id,
            body=PackageReady(request.request_id, package_id, digest),
            at=rooms.at,
        )
    assert isinstance(post.hear(device)[-1].body, PackageReady)
    return device, envelope, package


def refused_codes(answers: list[CityAnswer]) -> list[str]:
    return [a.body.code if isinstance(a.body, Refused) else type(a.body).__name__ for a in answers]


# ---- the last answer again ------------------------------------------------------------------------------------------


def test_progress_again(rooms: CityRooms, post: Post) -> None:
    device, envelope = asked(rooms, post)
    (answer,) = post.again(device, envelope)
    assert answer.body == Progress(the_request(rooms, device).request_id, "accepted")
    assert rooms.rows("SELECT count(*) FROM requests") == [(1,)]
    assert rooms.gate_rows("SELECT count(*) FROM authorised_requests") == [(1,)]
    (later,) = post.again(device, envelope)
    assert later.sequence > answer.sequence
    assert later.in_reply_to == answer.in_reply_to
    assert not rooms.intake.dropped


def test_where_it_stands_now_and_not_where_it_stood(rooms: CityRooms, post: Post) -> None:
    device, envelope = asked(rooms, post)
    request = the_request(rooms, device)
    with rooms.store.begin() as connection:
        for state in (State.RESERVED, State.SEALED):
            request_store.move(connection, request, state, at=rooms.at, step="test")
            request = request_store.find_request(connection, request.request_id) or request
    (answer,) = post.again(device, envelope)
    assert answer.body == Progress(request.request_id, "sealed")


def test_a_refusal_of_the_intake_again_word_for_word(rooms: CityRooms, post: Post) -> None:
    device = rooms.registered(rooms.people[0])
    device.card = rooms.card(rooms.people[0])
    envelope = device.envelope(device.request_body())
    rooms.deliver(envelope)
    first = post.hear(device)[-1]
    assert refused_codes([first]) == ["other-card"]
    assert [answer.body for answer in post.again(device, envelope)] == [first.body]


def test_a_refusal_on_the_way_again_word_for_word(rooms: CityRooms, post: Post) -> None:
    device, envelope = asked(rooms, post)
    request = the_request(rooms, device)
    no = refusal("technical")
    said = Refused("no-room", no.ja, no.en, no.retry)
    with rooms.store.begin() as connection:
        request_store.move(
            connection, request, State.FAILED, at=rooms.at, step="failed", refusal_code="no-room"
        )
        queue_answer(
            connection,
            account=device.account,
            item_id=f"refused-{request.request_id}",
            in_reply_to=request.message_id,
            body=said,
            at=rooms.at,
        )
    post.hear(device)
    assert [answer.body for answer in post.again(device, envelope)] == [said]
    rooms.clock.forward(seconds=KEEP_REFUSAL_SECONDS + FORGET_BEAT)
    post.sender.send_due()
    assert refused_codes(post.again(device, envelope)) == ["gone"]


def test_a_registration_again(rooms: CityRooms, post: Post) -> None:
    device = rooms.device(rooms.people[0])
    envelope = device.envelope(device.register_body(mail="hanako@mail.example"))
    rooms.deliver(envelope)
    post.hear(device)
    (answer,) = post.again(device, envelope)
    assert isinstance(answer.body, Registered)
    assert rooms.rows("SELECT count(*) FROM accounts") == [(1,)]
    assert len(rooms.mails) == 1
    assert rooms.direct.calls == ["register"]


def test_a_refused_registration_again(rooms: CityRooms, post: Post) -> None:
    device = rooms.device(rooms.people[0])
    envelope = device.envelope(device.register_body(base64url_encode(os.urandom(24))))
    rooms.deliver(envelope)
    post.hear(device)
    assert refused_codes(post.again(device, envelope)) == ["nonce"]
    assert rooms.rows("SELECT count(*) FROM accounts") == [(0,)]


# ---- the package again -------------------------------------------------------------------------------------------------


def test_the_same_package_is_put_again(rooms: CityRooms, post: Post) -> None:
    device, envelope, package = released(rooms, post)
    before = rooms.rows("SELECT * FROM certificates")
    (answer,) = post.again(device, envelope)
    assert isinstance(answer.body, PackageReady)
    assert answer.body.sha256 == sha256(package)
    assert post.door.packages == [(answer.body.package_id, package)] * 2
    opened = open_package(package, thumbprint(device.encryption.public_key()), agreement(device.encryption))
    assert opened.plaintext == b"a bundle"
    assert rooms.rows("SELECT * FROM certificates") == before
    assert len(before) == 1


def test_the_package_goes_before_the_word_that_it_is_there(rooms: CityRooms, post: Post) -> None:
    device, envelope, _ = released(rooms, post)
    rooms.clock.forward(seconds=REPEAT_PAUSE)
    rooms.deliver(posted_again(envelope))
    with rooms.store.begin() as connection:
        assert [row.kind for row in find_unsent(connection, 10)] == ["package", "answer"]
    assert device.account


def test_a_package_that_waits_to_be_sent_is_not_sent_twice(rooms: CityRooms, post: Post) -> None:
    device, envelope, _ = released(rooms, post)
    for _ in range(2):
        rooms.clock.forward(seconds=REPEAT_PAUSE)
        rooms.deliver(posted_again(envelope))
    post.hear(device)
    assert len(post.door.packages) == 2


def test_what_the_city_has_deleted_is_gone(rooms: CityRooms, post: Post) -> None:
    device, envelope, package = released(rooms, post)
    rooms.clock.forward(seconds=KEEP_PACKAGE_SECONDS)
    post.sender.send_due()
    assert [body for (body,) in rooms.rows("SELECT body FROM outbox WHERE kind = 'package'")] == [package]
    rooms.clock.forward(seconds=FORGET_BEAT)
    post.sender.send_due()
    assert [body for (body,) in rooms.rows("SELECT body FROM outbox WHERE kind = 'package'")] == [b""]
    (answer,) = post.again(device, envelope)
    assert refused_codes([answer]) == ["gone"]
    assert isinstance(answer.body, Refused)
    assert answer.body.retry
    assert len(post.door.packages) == 1
    # Nobody is harmed by a door that repeats the message by itself: what the phone may have stays valid.
    assert rooms.rows("SELECT * FROM revocations") == []
    # A new wish is a new request; the old one stays counted.
    assert refused_codes(post.again(device, envelope)) == ["gone"]
    device.send(device.request_body(purpose="住居手当"))
    assert rooms.rows("SELECT count(*) FROM requests") == [(2,)]


def test_the_words_of_a_refusal_are_forgotten_and_it_is_gone(rooms: CityRooms, post: Post) -> None:
    device = rooms.registered(rooms.people[0])
    envelope = device.envelope(device.request_body(base64url_encode(os.urandom(24))))
    rooms.deliver(envelope)
    post.hear(device)
    rooms.clock.forward(seconds=KEEP_REFUSAL_SECONDS + FORGET_BEAT)
    post.sender.send_due()
    assert rooms.rows("SELECT refusal FROM repeats WHERE refusal IS NOT NULL") == []
    assert refused_codes(post.again(device, envelope)) == ["gone"]


def test_an_open_request_is_never_gone(rooms: CityRooms, post: Post) -> None:
    """However long somebody was away: a second certificate for one wish must not come of it."""
    device, envelope = asked(rooms, post)
    rooms.clock.forward(seconds=KEEP_REFUSAL_SECONDS + KEEP_PACKAGE_SECONDS)
    post.sender.send_due()
    assert refused_codes(post.again(device, envelope)) == ["Progress"]


# ---- a hand-over like the first ------------------------------------------------------------------------------------


def protect(rooms: CityRooms) -> None:
    rooms.registers.record_event(ProtectionSet(rooms.people[0].resident_id), rooms.clock())


def test_protection_since_then_stops_the_package(rooms: CityRooms, post: Post) -> None:
    device, envelope, _ = released(rooms, post)
    protect(rooms)
    assert refused_codes(post.again(device, envelope)) == ["counter"]
    assert len(post.door.packages) == 1


@pytest.mark.parametrize("hours", [0, 5], ids=["withdrawn", "frozen"])
def test_a_package_taken_back_stays_back(rooms: CityRooms, post: Post, hours: int) -> None:
    device, envelope, _ = released(rooms, post)
    rooms.clock.forward(hours=hours)
    protect(rooms)
    follow_changes(rooms.store, rooms.direct, at=rooms.at)  # type: ignore[arg-type]
    post.sender.send_due()
    assert len(post.door.deleted) == 1
    assert rooms.rows("SELECT body FROM outbox WHERE kind = 'package'") == [(b"",)]
    assert refused_codes(post.again(device, envelope)) == ["counter"]
    assert len(post.door.packages) == 1


def test_a_stopped_phone_gets_nothing_again(rooms: CityRooms, post: Post) -> None:
    device, envelope, _ = released(rooms, post)
    with rooms.store.begin() as connection:
        account_store.change_state(
            connection, device.account, before=account_store.ACTIVE, after=account_store.STOPPED
        )
    assert refused_codes(post.again(device, envelope)) == ["stopped"]
    assert len(post.door.packages) == 1


def test_a_revoked_certificate_is_not_handed_over_again(rooms: CityRooms, post: Post) -> None:
    device, envelope, _ = released(rooms, post)
    request = the_request(rooms, device).request_id
    with rooms.store.begin() as connection:
        assert revoke_certificate(connection, request, reason="test", at=rooms.at)
    post.hear(device)
    assert refused_codes(post.again(device, envelope)) == ["gone"]
    assert len(post.door.packages) == 1


def test_control_a_city_that_does_not_ask_the_gate_again_is_caught(
    rooms: CityRooms, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, envelope, _ = released(rooms, post)
    protect(rooms)
    monkeypatch.setattr(rooms.direct, "recheck", lambda **_options: b"")
    assert refused_codes(post.again(device, envelope)) == ["PackageReady"]
    assert len(post.door.packages) == 2


# ---- who, what, how often -----------------------------------------------------------------------------------------------


def silent(rooms: CityRooms, post: Post, device: Device, envelope: Envelope) -> bool:
    """Whether delivering this a while later changes nothing and says nothing."""
    tables = [name for name in metadata.tables if name not in ("inbox", "nonces")]
    rooms.clock.forward(seconds=REPEAT_PAUSE)

    def everything() -> list[object]:
        return [rooms.rows(f"SELECT * FROM {name}") for name in tables]

    before = everything()
    rooms.deliver(envelope)
    with rooms.store.begin() as connection:
        assert find_unhandled(connection, 10) == []
    return before == everything() and post.hear(device) == [] and bool(rooms.intake.dropped)


def sealed_anew(device: Device, envelope: Envelope) -> Envelope:
    """The very same signed message in another envelope."""
    from mobile_api.messages import open_envelope, seal_envelope

    key = device.rooms.envelope_key
    message = open_envelope(envelope.body, thumbprint(key.public_key()), agreement(key))
    return replace(posted_again(envelope), body=seal_envelope(message, key.public_key(), os.urandom))


def test_other_bytes_are_dropped(rooms: CityRooms, post: Post) -> None:
    device, _ = asked(rooms, post)
    message, body = new_message_id(os.urandom), device.request_body(purpose="other")
    envelope = device.envelope(body, message_id=message)
    rooms.deliver(envelope)
    post.hear(device)
    assert silent(rooms, post, device, sealed_anew(device, envelope))
    # The same message signed once more, and another message under the same id.
    assert silent(rooms, post, device, device.envelope(body, message_id=message))
    assert silent(rooms, post, device, device.envelope(HistoryWish(), message_id=message))
    for place in range(0, len(envelope.body), 97):
        changed = bytearray(envelope.body)
        changed[place] ^= 1
        assert silent(rooms, post, device, replace(posted_again(envelope), body=bytes(changed)))
    # The control: the same bytes are answered.
    assert not silent(rooms, post, device, posted_again(envelope))


def test_another_account_gets_nothing(rooms: CityRooms, post: Post) -> None:
    device, envelope, _ = released(rooms, post)
    other = rooms.registered(rooms.people[1])
    post.sender.send_due()
    post.door.answers.clear()
    assert silent(rooms, post, other, replace(posted_again(envelope), account=other.account))
    assert rooms.intake.dropped["re-addressed"] == 1
    # Another device signs the same message id under its own account: it is that account's own message, a new one.
    own = other.envelope(other.request_body(), message_id=the_request(rooms, device).message_id)
    rooms.deliver(own)
    assert refused_codes(post.hear(other)) == ["Progress"]
    assert len(post.door.packages) == 1


def test_what_a_phone_can_ask_anew_is_dropped_as_before(rooms: CityRooms, post: Post) -> None:
    device, _ = asked(rooms, post)
    envelope = device.envelope(HistoryWish())
    rooms.deliver(envelope)
    post.hear(device)
    assert silent(rooms, post, device, posted_again(envelope))


def test_not_before_a_minute_has_passed(rooms: CityRooms, post: Post) -> None:
    device, envelope = asked(rooms, post)
    rooms.clock.forward(seconds=REPEAT_PAUSE - 1)
    rooms.deliver(posted_again(envelope))
    assert post.hear(device) == []
    rooms.clock.forward(seconds=1)
    rooms.deliver(posted_again(envelope))
    assert len(post.hear(device)) == 1
    # The repetition is an answer, too: the next one has to wait as long.
    rooms.deliver(posted_again(envelope))
    assert post.hear(device) == []
    assert rooms.intake.dropped["replayed"] == 2


def test_a_few_a_day_and_again_the_next_day(rooms: CityRooms, post: Post) -> None:
    device, envelope = asked(rooms, post)
    heard = sum(len(post.again(device, envelope)) for _ in range(REPEATS_A_DAY + 5))
    assert heard == REPEATS_A_DAY
    rooms.clock.forward(days=1)
    assert len(post.again(device, envelope)) == 1


def test_two_at_once_are_one(rooms: CityRooms, post: Post) -> None:
    device, envelope, _ = released(rooms, post)
    message = the_request(rooms, device).message_id

    def claim(_number: int) -> bool:
        with rooms.store.begin() as connection:
            return repeat_store.claim_repeat(
                connection,
                device.account,
                message,
                envelope,
                at=rooms.at + REPEAT_PAUSE,
                pause=REPEAT_PAUSE,
                a_day=REPEATS_A_DAY,
            )

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(claim, range(8))) == 1


@pytest.mark.parametrize("broken", ["bytes", "pause"])
def test_control_a_city_that_counts_or_compares_nothing_is_caught(
    rooms: CityRooms, post: Post, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    device, envelope = asked(rooms, post)
    again = sealed_anew(device, envelope) if broken == "bytes" else posted_again(envelope)
    if broken == "bytes":
        assert silent(rooms, post, device, again)
        monkeypatch.setattr(repeat_store, "_hash", lambda _envelope: "same")
        with rooms.store.begin() as connection:
            connection.exec_driver_sql("UPDATE repeats SET envelope_hash = 'same'")
        assert not silent(rooms, post, device, posted_again(again))
    else:
        rooms.deliver(again)
        assert post.hear(device) == []
        monkeypatch.setattr(repeat_store, "claim_repeat", lambda *_arguments, **_options: True)
        rooms.deliver(posted_again(again))
        assert len(post.hear(device)) == 1


# ---- crashes and outages --------------------------------------------------------------------------------------------


def test_the_gate_away_keeps_the_envelope_and_counts_nothing(
    rooms: CityRooms, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, envelope, package = released(rooms, post)

    def away(**_options: object) -> bytes:
        raise UnavailableError("door-unreachable")

    counted = rooms.rows("SELECT * FROM repeats")
    rooms.clock.forward(seconds=REPEAT_PAUSE)
    again = posted_again(envelope)
    with monkeypatch.context() as patch:
        patch.setattr(rooms.direct, "recheck", away)
        with pytest.raises(UnavailableError):
            rooms.deliver(again)
    assert rooms.rows("SELECT * FROM repeats") == counted
    with rooms.store.begin() as connection:
        assert find_unhandled(connection, 10) == [again]
    rooms.intake.handle(again)
    assert refused_codes(post.hear(device)) == ["PackageReady"]
    assert [body for _, body in post.door.packages] == [package, package]


def test_the_gate_away_keeps_a_frozen_accounts_envelope_like_everybodys(
    rooms: CityRooms, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer while the others wait would say that this account is protected."""
    device, envelope, _ = released(rooms, post)
    with rooms.store.begin() as connection:
        account_store.change_state(
            connection, device.account, before=account_store.ACTIVE, after=account_store.FROZEN
        )

    def away(**_options: object) -> bytes:
        raise UnavailableError("door-unreachable")

    rooms.clock.forward(seconds=REPEAT_PAUSE)
    again = posted_again(envelope)
    with monkeypatch.context() as patch:
        patch.setattr(rooms.direct, "recheck", away)
        with pytest.raises(UnavailableError):
            rooms.deliver(again)
    assert post.hear(device) == []
    rooms.intake.handle(again)
    assert refused_codes(post.hear(device)) == ["counter"]
    assert len(post.door.packages) == 1


@pytest.mark.parametrize(
    ("module", "where"), [(desk_module, "queue_answer"), (intake_module, "answer_again")]
)
def test_killed_anywhere_the_same_envelope_is_answered_once(
    rooms: CityRooms, post: Post, monkeypatch: pytest.MonkeyPatch, module: object, where: str
) -> None:
    device, envelope, package = released(rooms, post)
    rooms.clock.forward(seconds=REPEAT_PAUSE)
    again = posted_again(envelope)
    work = getattr(module, where)

    def works_and_dies(*arguments: object, **options: object) -> None:
        work(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, where, works_and_dies)
        with pytest.raises(KeyboardInterrupt):
            rooms.deliver(again)
    assert post.hear(device) == []
    rooms.intake.handle(again)
    assert refused_codes(post.hear(device)) == ["PackageReady"]
    assert [body for _, body in post.door.packages] == [package, package]
    assert rooms.rows("SELECT repeated FROM repeats WHERE repeated > 0") == [(1,)]


def test_an_older_store_gets_the_table(tmp_path: Path) -> None:
    from app.storage.engine import open_store, upgrade_store
    from app.worker_process import MIGRATIONS

    store = open_store(f"sqlite:///{tmp_path}/worker.sqlite")
    upgrade_store(store, MIGRATIONS)
    with store.begin() as connection:
        connection.exec_driver_sql("DROP TABLE repeats")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    upgrade_store(store, MIGRATIONS)
    with store.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM repeats").scalar() == 0
    store.dispose()


def test_the_gates_no_is_the_answer(rooms: CityRooms, post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    device, envelope, _ = released(rooms, post)

    def no(**_options: object) -> bytes:
        raise Refusal("counter", "窓口へ", "Please come to the counter", retry=False)

    monkeypatch.setattr(rooms.direct, "recheck", no)
    assert refused_codes(post.again(device, envelope)) == ["counter"]
    # Final, also when the reason has passed: the phone has ended the request on that word.
    monkeypatch.undo()
    assert refused_codes(post.again(device, envelope)) == ["counter"]
    assert len(post.door.packages) == 1
