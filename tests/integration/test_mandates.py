"""Mandates at the city: the honest way, every no with its words, what ends one at once, and whose certificate it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from app.errors import Refusal, UnavailableError
from app.issuance.refusals import refusal
from app.mandates.following import follow_events
from app.registers import mandate_store
from app.registers.events import Death, Move, NameChange, ProtectionSet, ReviewSet, TaxRecordChanged
from app.registers.mandates import CODES_A_DAY, MAX_OPEN, OFFER_SECONDS, MandateDesk
from app.registers.resident import Address
from app.revocation.protection import follow_changes
from mobile_api.messages import (
    History,
    HistoryWish,
    Notice,
    PackageReady,
    StopDevice,
    format_answer_body,
)
from tests.support.city_rooms import YEAR, CityRooms, city_rooms
from tests.support.city_walk import PlainMaker, make_walk
from tests.support.mandate_world import MandateWorld
from verifier.formats.encoding import canonical_json
from verifier.formats.jose import thumbprint


@pytest.fixture
def rooms(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityRooms]:
    yield from city_rooms(tmp_path, tmp_path_factory)


@pytest.fixture
def world(rooms: CityRooms) -> MandateWorld:
    return MandateWorld.make(rooms)


def follow(rooms: CityRooms) -> int:
    return follow_events(rooms.store, rooms.direct, at=rooms.at)  # type: ignore[arg-type]


def notices(rooms: CityRooms, account: str) -> list[str]:
    return [
        body.code
        for _, body in rooms.answers(account)
        if isinstance(body, Notice) and not body.code.endswith("-taken")
    ]


def history(world: MandateWorld, phone: object) -> list[str]:
    ((_, body),) = phone.send(HistoryWish())  # type: ignore[attr-defined]
    assert isinstance(body, History)
    return [entry.code for entry in body.entries]


def packages(rooms: CityRooms, account: str) -> list[PackageReady]:
    return [body for _, body in rooms.answers(account) if isinstance(body, PackageReady)]


def state_of(rooms: CityRooms) -> list[tuple[str, str | None]]:
    return rooms.rows("SELECT state, refusal_code FROM requests ORDER BY rowid")


# ---- the honest way -----------------------------------------------------------------------------------------------


def test_the_agent_gets_the_givers_certificate_and_nobody_elses(world: MandateWorld) -> None:
    rooms, maker = world.rooms, PlainMaker()
    record = world.in_force()
    assert [(e.role, e.state) for e in world.listed(world.giver)] == [("giver", "in-force")]
    assert [(e.role, e.state) for e in world.listed(world.agent)] == [("agent", "in-force")]
    assert world.request(record.mandate) == "Progress"
    make_walk(rooms, maker).run_once()
    assert maker.made == [(rooms.people[0].name, record.purpose)]
    assert len(packages(rooms, world.agent.account)) == 1
    assert packages(rooms, world.giver.account) == []
    follow(rooms)
    assert notices(rooms, world.giver.account) == [
        "mandate-given", "mandate-accepted", "mandate-confirmed", "mandate-used",
    ]  # fmt: skip
    assert notices(rooms, world.agent.account) == [
        "mandate-offered", "mandate-taken-on", "mandate-in-force", "mandate-used-by-you",
    ]  # fmt: skip
    assert history(world, world.giver)[1:] == notices(rooms, world.giver.account)
    assert set(history(world, world.agent)[1:]) == {
        *notices(rooms, world.agent.account),
        "request-released",
    }


def test_neither_side_is_told_the_other_persons_name(world: MandateWorld) -> None:
    """All that the two are told, besides the certificate itself; the certificate's data are the control."""
    rooms, record = world.rooms, world.in_force()
    world.request(record.mandate)
    make_walk(rooms).run_once()
    follow(rooms)
    for phone in (world.giver, world.agent):
        phone.send(HistoryWish())
        world.listed(phone)
    said = "\n".join(canonical_json(list(format_answer_body(body))).decode() for _, body in rooms.answers())
    for person in rooms.people[:2]:
        assert person.name not in said
        assert person.family_name not in said
        assert person.resident_id not in said
    kept = rooms.gate_rows("SELECT evidence FROM mandates")[0][0]
    assert record.purpose in kept
    assert record.purpose in said


def test_the_gate_keeps_the_proof(world: MandateWorld) -> None:
    """Record, statement, certificate and signature lie together, and check out later by themselves."""
    import json

    from mobile_api.messages import parse_record
    from verifier.formats.encoding import base64_decode

    record = world.in_force()
    kept = json.loads(world.rooms.gate_rows("SELECT evidence FROM mandates")[0][0])
    assert parse_record(kept["record"]) == record
    checked = world.rooms.gate._cards.check_signature(
        kept["statement"],
        base64_decode(kept["signature_cert"]),
        base64_decode(kept["signature"]),
        purpose="mandate",
        request_digest=parse_record(kept["record"]).digest(),
        now=world.rooms.clock(),
    )
    assert checked.attributes is not None


# ---- giving: every no ---------------------------------------------------------------------------------------------


def test_a_hand_over_code_serves_once(world: MandateWorld) -> None:
    code = world.code()
    first, second = world.record(code), world.record(code)
    assert world.give(first) == "mandate-offer-taken"
    assert world.give(second) == "mandate-code"
    # The same record again, as after a lost answer, is the same mandate.
    assert world.give(first) == "mandate-offer-taken"
    assert world.rooms.gate_rows("SELECT mandate FROM mandates") == [(first.mandate,)]


def test_an_old_code_and_a_guessed_one(world: MandateWorld) -> None:
    code = world.code()
    assert world.give(world.record("23456789ABCD")) == "mandate-code"
    world.rooms.clock.forward(hours=24, seconds=1)
    assert world.give(world.record(code)) == "mandate-code"


def test_codes_are_kept_as_hashes(world: MandateWorld) -> None:
    code = world.code()
    dump = str(world.rooms.gate_rows("SELECT * FROM mandate_codes"))
    assert code not in dump
    assert mandate_store.code_hash(code) in dump


def test_one_cannot_be_ones_own_agent_and_keeps_the_code(world: MandateWorld) -> None:
    code = world.code(world.giver)
    assert world.give(world.record(code)) == "mandate-self"
    assert world.rooms.gate_rows("SELECT used_by FROM mandate_codes") == [(None,)]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"valid_from": date(2026, 11, 1), "valid_until": date(2026, 11, 29)}, "mandate-dates"),
        ({"valid_from": date(2028, 1, 1), "valid_until": date(2028, 2, 1)}, "mandate-dates"),
        ({"city": "992020"}, "statement"),
    ],
    ids=["over", "far", "other-city"],
)
def test_records_that_do_not_fit(world: MandateWorld, changes: dict, code: str) -> None:
    assert world.give(world.record(world.code(), **changes)) == code
    assert world.rooms.gate_rows("SELECT count(*) FROM mandates") == [(0,)]


def test_a_record_that_was_written_long_ago_is_not_offered(world: MandateWorld) -> None:
    old = world.rooms.clock() - timedelta(days=2)
    assert world.give(world.record(world.code(), created=old)) == "mandate-dates"


def test_the_signature_is_over_exactly_this_record(world: MandateWorld) -> None:
    record = world.record(world.code())
    body = world.give_body(record)
    wider = replace(body, record=replace(record, fiscal_years=(YEAR - 1, YEAR)))
    ((_, no),) = world.giver.send(wider)
    assert no.code == "card-statement-request"
    assert world.rooms.gate_rows("SELECT count(*) FROM mandates") == [(0,)]


def test_control_a_gate_that_does_not_look_at_the_digest_is_caught(
    world: MandateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = world.record(world.code())
    body = world.give_body(record)
    wider = replace(body, record=replace(record, fiscal_years=(YEAR - 1, YEAR)))
    monkeypatch.setattr(type(record), "digest", lambda _self: record_digest)
    record_digest = canonical_digest(body.statement)
    world.giver.send(wider)
    assert world.rooms.gate_rows("SELECT fiscal_years FROM mandates") == [(f"{YEAR - 1},{YEAR}",)]


def canonical_digest(statement: str) -> str:
    from mobile_api.messages import parse_statement

    return parse_statement(statement).request_digest


@pytest.mark.parametrize("purpose", ["register", "request", "request_by_mandate"])
def test_a_statement_for_something_else_gives_no_mandate(world: MandateWorld, purpose: str) -> None:
    record = world.record(world.code())
    text = world.giver.statement(purpose, record.digest(), world.rooms.nonce())
    signed = world.giver.card.sign_document("ABC123", text.encode())
    body = replace(
        world.give_body(record),
        statement=text,
        signature_cert=signed.certificate,
        signature=signed.signature,
    )
    ((_, no),) = world.giver.send(body)
    assert no.code == "card-statement-purpose"


def test_somebody_elses_card_gives_nothing(world: MandateWorld) -> None:
    """The spouse signs with the own card on the giver's phone: the phone is not theirs."""
    record = world.record(world.code())
    mine, world.giver.card = world.giver.card, world.rooms.card(world.rooms.people[2])
    assert world.give(record) == "other-card"
    world.giver.card = mine
    assert world.give(record) == "mandate-offer-taken"


def test_the_authentication_certificate_gives_nothing(world: MandateWorld) -> None:
    """Four digits are not enough: it needs the 署名用 certificate."""
    record = world.record(world.code())
    body = world.give_body(record)
    signed = world.giver.card.authenticate("1234", body.statement.encode())
    weaker = replace(body, signature_cert=signed.certificate, signature=signed.signature)
    ((_, no),) = world.giver.send(weaker)
    assert no.code in ("card-wrong-authority", "card-wrong-certificate")


def test_an_unverifiable_card_gives_nothing(world: MandateWorld) -> None:
    record = world.record(world.code())
    world.rooms.status.down = True
    assert world.give(record) == "card-status-unverifiable"
    assert world.rooms.gate_rows("SELECT count(*) FROM mandates") == [(0,)]


def test_limits_of_codes_and_mandates(world: MandateWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.registers.mandates.MAX_OPEN", 2)
    for _ in range(2):
        assert world.give(world.record(world.code())) == "mandate-offer-taken"
    assert world.give(world.record(world.code())) == "mandate-many"
    monkeypatch.setattr("app.registers.mandates.CODES_A_DAY", 3)
    assert world.code() == "mandate-many"
    assert min(CODES_A_DAY, MAX_OPEN) > 3


# ---- accepting and confirming -------------------------------------------------------------------------------------


def test_the_order_of_the_steps(world: MandateWorld) -> None:
    record = world.record(world.code())
    world.give(record)
    assert world.request(record.mandate) == "mandate"
    assert world.confirm(record.mandate) == "mandate-not-accepted"
    assert world.accept(record.mandate, world.giver) == "mandate"
    assert world.accept(record.mandate) == "mandate-acceptance-taken"
    assert world.request(record.mandate) == "mandate"
    assert world.confirm(record.mandate, world.agent) == "mandate"
    assert world.confirm(record.mandate) == "mandate-confirmation-taken"
    # Again, as after a lost answer: nothing changes.
    assert world.accept(record.mandate) == "mandate-acceptance-taken"
    assert world.confirm(record.mandate) == "mandate-confirmation-taken"
    assert world.request(record.mandate) == "Progress"


def test_a_phone_added_yesterday_confirms_by_letter_only(world: MandateWorld) -> None:
    """Somebody with the giver's card and passwords for an evening: a phone of their own, an offer, no confirmation."""
    thief = world.rooms.registered(world.rooms.people[0], card=world.giver.card)
    world.rooms.clock.forward(days=2)
    record = world.record(world.code())
    assert world.give(record, giver=thief) == "mandate-offer-taken"
    world.accept(record.mandate)
    assert world.confirm(record.mandate, thief) == "mandate-letter"
    assert world.request(record.mandate) == "mandate"
    # The letter went to the address in the register; whoever has it, and a phone of the giver, confirms.
    code = world.letter_code(record.mandate)
    wrong = f"{(int(code) + 1) % 10**8:08d}"
    assert world.confirm(record.mandate, thief, wrong) == "mandate-letter-code"
    assert world.confirm(record.mandate, thief, code) == "mandate-confirmation-taken"
    assert world.rooms.gate_rows("SELECT confirmed_by FROM mandates") == [("letter",)]


def test_the_older_phone_confirms_by_itself(world: MandateWorld) -> None:
    new = world.rooms.registered(world.rooms.people[0], card=world.giver.card)
    record = world.record(world.code())
    world.give(record, giver=new)
    world.accept(record.mandate)
    assert world.confirm(record.mandate, world.giver) == "mandate-confirmation-taken"


def test_a_letters_code_is_not_guessed(world: MandateWorld) -> None:
    new = world.rooms.registered(world.rooms.people[0], card=world.giver.card)
    record = world.record(world.code())
    world.give(record, giver=new)
    world.accept(record.mandate)
    world.confirm(record.mandate, new)
    code = world.letter_code(record.mandate)
    wrong = f"{(int(code) + 1) % 10**8:08d}"
    assert [world.confirm(record.mandate, new, wrong) for _ in range(5)] == ["mandate-letter-code"] * 5
    assert world.confirm(record.mandate, new, code) == "mandate-letter-code"
    assert world.rooms.gate_rows("SELECT state FROM mandates") == [("accepted",)]


def test_one_letter_a_mandate(world: MandateWorld) -> None:
    new = world.rooms.registered(world.rooms.people[0], card=world.giver.card)
    record = world.record(world.code())
    world.give(record, giver=new)
    world.accept(record.mandate)
    world.confirm(record.mandate, new)
    first = world.letter_code(record.mandate)
    assert world.confirm(record.mandate, new) == "mandate-letter"
    assert world.letter_code(record.mandate) == first


def test_a_crash_between_letter_and_store_sends_another_one(
    world: MandateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = world.rooms.registered(world.rooms.people[0], card=world.giver.card)
    record = world.record(world.code())
    world.give(record, giver=new)
    world.accept(record.mandate)
    box = world.rooms.gate.mandates._settings.letters
    assert box is not None
    post = type(box).post

    def posts_and_dies(self: object, mandate: str, **letter: str) -> None:
        post(self, mandate, **letter)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(box), "post", posts_and_dies)
        with pytest.raises(KeyboardInterrupt):
            world.rooms.gate.mandates.letter(binding=binding_of(world, 0), mandate=record.mandate)
    void = world.letter_code(record.mandate)
    assert world.confirm(record.mandate, new, void) == "mandate-letter-code"
    assert world.confirm(record.mandate, new) == "mandate-letter"
    assert (
        world.confirm(record.mandate, new, world.letter_code(record.mandate)) == "mandate-confirmation-taken"
    )


def binding_of(world: MandateWorld, person: int) -> str:
    resident = world.rooms.people[person].resident_id
    rows = world.rooms.gate_rows(f"SELECT binding FROM bindings WHERE resident_id = '{resident}'")
    return str(rows[0][0])


# ---- asking ---------------------------------------------------------------------------------------------------------


def test_out_of_scope_is_refused(world: MandateWorld) -> None:
    record = world.in_force()
    assert world.request(record.mandate, year=YEAR - 1) == "mandate-scope"
    assert world.request(record.mandate, purpose="住宅ローンのため") == "mandate-scope"
    assert world.rooms.gate_rows("SELECT count(*) FROM authorised_requests") == [(0,)]
    assert world.request(record.mandate) == "Progress"


def test_out_of_dates_is_refused(world: MandateWorld) -> None:
    first, last = world.today + timedelta(days=2), world.today + timedelta(days=3)
    record = world.in_force(valid_from=first, valid_until=last)
    assert [entry.state for entry in world.listed(world.agent)] == ["confirmed"]
    assert world.request(record.mandate) == "mandate"
    world.rooms.clock.forward(days=2)
    assert world.request(record.mandate) == "Progress"
    world.rooms.clock.forward(days=2)
    assert world.request(record.mandate) == "mandate"
    assert [(entry.state, entry.cause) for entry in world.listed(world.agent)] == [("ended", "expired")]


def test_the_last_day_ends_at_midnight_in_japan(world: MandateWorld) -> None:
    """01:02:03 UTC is 10:02 in Japan; the day ends at 15:00 UTC."""
    record = world.in_force(valid_until=world.today)
    world.rooms.clock.forward(hours=13, minutes=57)
    assert world.request(record.mandate) == "Progress"
    world.rooms.clock.forward(minutes=2)
    assert world.request(record.mandate) == "mandate"


def test_a_mandate_of_somebody_else_serves_nobody(world: MandateWorld) -> None:
    record = world.in_force()
    stranger = world.rooms.registered(world.rooms.people[2])
    assert world.request(record.mandate, agent=stranger) == "mandate"
    assert world.request(record.mandate, agent=world.giver) == "mandate"
    assert world.accept(record.mandate, stranger) == "mandate"
    assert world.confirm(record.mandate, stranger) == "mandate"
    assert world.end(record.mandate, stranger) == "mandate"
    assert world.listed(stranger) == []
    assert world.rooms.gate_rows("SELECT state FROM mandates") == [("confirmed",)]


def test_an_unknown_mandate_reads_like_an_ended_one(world: MandateWorld) -> None:
    record = world.in_force()
    world.end(record.mandate, world.giver)
    ended = world.agent.send(world.request_body(record.mandate))[0][1]
    unknown = world.agent.send(world.request_body("A" * 22))[0][1]
    assert ended == unknown


def test_an_ordinary_statement_is_no_request_under_a_mandate(world: MandateWorld) -> None:
    """What the agent's card signed for a certificate of the own does not become one of the giver's, nor the reverse."""
    record = world.in_force()
    body = world.request_body(record.mandate)
    text = world.agent.statement("request", body.request.digest(), world.rooms.nonce())
    signed = world.agent.card.authenticate("1234", text.encode())
    swapped = replace(body, statement=text, auth_cert=signed.certificate, auth_signature=signed.signature)
    assert world.agent.send(swapped)[0][1].code == "card-statement-purpose"


def test_the_agents_own_card_is_needed(world: MandateWorld) -> None:
    record = world.in_force()
    world.agent.card = world.giver.card
    assert world.request(record.mandate) == "other-card"


def test_the_same_wish_again_is_the_same_request(world: MandateWorld) -> None:
    record = world.in_force()
    body = world.request_body(record.mandate)
    first, second = world.agent.send(body), world.agent.send(body)
    assert first == second
    assert world.rooms.rows("SELECT count(*) FROM requests") == [(1,)]
    assert world.rooms.gate_rows("SELECT count(*) FROM mandate_uses") == [(1,)]


def test_a_crash_after_the_gate_opened_the_request(
    world: MandateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = world.in_force()
    envelope = world.agent.envelope(world.request_body(record.mandate))
    opens = MandateDesk.open_request

    def opens_and_dies(self: MandateDesk, **evidence: object) -> None:
        opens(self, **evidence)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MandateDesk, "open_request", opens_and_dies)
        with pytest.raises(KeyboardInterrupt):
            world.rooms.deliver(envelope)
    world.rooms.intake.handle(envelope)
    assert world.rooms.rows("SELECT count(*) FROM requests") == [(1,)]
    assert world.rooms.rows("SELECT mandate FROM mandate_requests") == [(record.mandate,)]
    assert world.rooms.gate_rows("SELECT count(*) FROM mandate_uses") == [(1,)]


def test_one_signature_of_the_agents_card_opens_one_request(world: MandateWorld) -> None:
    """It signs a wish and no request number: a worker may not have it opened again under another."""
    body = world.request_body(world.in_force().mandate)
    evidence = {
        "wish": body.request,
        "statement": body.statement,
        "auth_cert": body.auth_cert,
        "auth_signature": body.auth_signature,
    }
    desk = world.rooms.gate.mandates
    desk.open_request(request_id="r" * 22, **evidence)
    desk.open_request(request_id="r" * 22, **evidence)  # a repetition after a crash
    with pytest.raises(Refusal, check=lambda no: no.code == "idempotency"):
        desk.open_request(request_id="s" * 22, **evidence)
    assert world.rooms.gate_rows("SELECT count(*) FROM mandate_uses") == [(1,)]


# ---- ended between request and hand-over ------------------------------------------------------------------------------


def protect(world: MandateWorld, _mandate: str) -> None:
    world.rooms.registers.record_event(ProtectionSet(world.rooms.people[0].resident_id), world.rooms.clock())


def protect_agent(world: MandateWorld, _mandate: str) -> None:
    world.rooms.registers.record_event(ProtectionSet(world.rooms.people[1].resident_id), world.rooms.clock())


def die(world: MandateWorld, _mandate: str) -> None:
    world.rooms.registers.record_event(
        Death(world.rooms.people[0].resident_id, world.today), world.rooms.clock()
    )


def move(world: MandateWorld, _mandate: str) -> None:
    address = Address("見本県見本市北区九丁目９番９号", "992011", world.today, machiaza_id="9900000")
    world.rooms.registers.record_event(Move(world.rooms.people[0].resident_id, address), world.rooms.clock())


def marry(world: MandateWorld, _mandate: str) -> None:
    world.rooms.registers.record_event(
        NameChange(world.rooms.people[0].resident_id, "新姓", "シンセイ"), world.rooms.clock()
    )


def revoke(world: MandateWorld, mandate: str) -> None:
    assert world.end(mandate, world.giver) == "mandate-end-taken"


def give_back(world: MandateWorld, mandate: str) -> None:
    assert world.end(mandate, world.agent) == "mandate-end-taken"


def run_out(world: MandateWorld, _mandate: str) -> None:
    world.rooms.clock.forward(days=400)


Ending = Callable[[MandateWorld, str], None]
ENDINGS: list[tuple[Ending, str, str]] = [
    (revoke, "mandate", "revoked"),
    (give_back, "mandate", "returned"),
    (protect, "mandate", "protection"),
    (protect_agent, "counter", "protection"),
    (die, "mandate", "death"),
    (move, "mandate", "household"),
    (marry, "mandate", "household"),
    (run_out, "mandate", "expired"),
]


@pytest.mark.parametrize(("ending", "code", "cause"), ENDINGS, ids=[e[0].__name__ for e in ENDINGS])
def test_ended_between_request_and_hand_over(
    world: MandateWorld, ending: Ending, code: str, cause: str
) -> None:
    rooms, maker = world.rooms, PlainMaker()
    record = world.in_force()
    assert world.request(record.mandate) == "Progress"
    walk = make_walk(rooms, maker)
    walk.reserve()
    walk.make()
    walk.enter_log()
    assert maker.made != []
    ending(world, record.mandate)
    walk.release()
    assert state_of(rooms) == [("refused", code)]
    assert packages(rooms, world.agent.account) == []
    assert rooms.rows("SELECT count(*) FROM outbox WHERE kind = 'package'") == [(0,)]
    assert rooms.gate_rows("SELECT state, cause FROM mandates") == [("ended", cause)]


def test_control_a_gate_that_does_not_ask_again_is_caught(
    world: MandateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = world.in_force()
    world.request(record.mandate)
    walk = make_walk(world.rooms)
    revoke(world, record.mandate)
    monkeypatch.setattr(MandateDesk, "check_request", lambda *_a: None)
    walk.run_once()
    assert len(packages(world.rooms, world.agent.account)) == 1


@pytest.mark.parametrize(("ending", "_code", "_cause"), ENDINGS, ids=[e[0].__name__ for e in ENDINGS])
def test_ended_before_the_record_is_read(
    world: MandateWorld, ending: Ending, _code: str, _cause: str
) -> None:
    maker, record = PlainMaker(), world.in_force()
    world.request(record.mandate)
    ending(world, record.mandate)
    make_walk(world.rooms, maker).run_once()
    assert maker.made == []
    assert packages(world.rooms, world.agent.account) == []


@pytest.mark.parametrize(("ending", "_code", "_cause"), ENDINGS, ids=[e[0].__name__ for e in ENDINGS])
def test_what_lies_at_the_door_is_taken_back(
    world: MandateWorld, ending: Ending, _code: str, _cause: str
) -> None:
    """Both the package under the mandate; the agent's own and the giver's own stay where only the mandate ended."""
    rooms, record = world.rooms, world.in_force()
    world.request(record.mandate)
    world.agent.send(world.agent.request_body())
    walk = make_walk(rooms)
    walk.run_once()
    under = rooms.rows(
        "SELECT c.package_id FROM certificates c JOIN mandate_requests m ON m.request_id = c.request_id"
    )
    ending(world, record.mandate)
    follow_changes(rooms.store, rooms.direct, at=rooms.at)  # type: ignore[arg-type]
    follow(rooms)
    taken = rooms.rows("SELECT item_id FROM outbox WHERE kind = 'withdrawal'")
    if ending is run_out:
        # Released more than a month ago: the door has swept it.
        assert taken == []
    elif ending is protect_agent:
        assert len(taken) == 2
    else:
        assert taken == under
    assert follow(rooms) == 0


def test_the_end_by_a_phone_takes_back_at_once(world: MandateWorld) -> None:
    """With the answer, in one transaction: not only when the worker next asks the gate."""
    rooms, record = world.rooms, world.in_force()
    world.request(record.mandate)
    make_walk(rooms).run_once()
    revoke(world, record.mandate)
    assert rooms.rows("SELECT count(*) FROM outbox WHERE kind = 'withdrawal'") == [(1,)]
    assert [row[0] for row in state_of(rooms)] == ["withdrawn"]


def test_a_crash_between_gate_and_store_still_takes_back(
    world: MandateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms, record = world.rooms, world.in_force()
    world.request(record.mandate)
    make_walk(rooms).run_once()
    ends = MandateDesk.end

    def ends_and_dies(self: MandateDesk, **who: str) -> None:
        ends(self, **who)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MandateDesk, "end", ends_and_dies)
        with pytest.raises(KeyboardInterrupt):
            revoke(world, record.mandate)
    follow(rooms)
    assert [row[0] for row in state_of(rooms)] == ["withdrawn"]


def test_a_crash_between_two_lines_loses_none(world: MandateWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.mandates import following

    world.in_force()
    queued = following.queue_answer
    count = iter(range(100))

    def dies_at_the_third(*arguments: object, **members: object) -> None:
        if next(count) == 2:
            raise KeyboardInterrupt
        queued(*arguments, **members)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(following, "queue_answer", dies_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            follow(world.rooms)
    follow(world.rooms)
    assert notices(world.rooms, world.giver.account) == [
        "mandate-given",
        "mandate-accepted",
        "mandate-confirmed",
    ]


def test_the_agents_phone_is_stopped_between(world: MandateWorld) -> None:
    rooms, record = world.rooms, world.in_force()
    other = rooms.registered(rooms.people[1], card=world.agent.card)
    world.request(record.mandate)
    walk = make_walk(rooms)
    walk.reserve()
    walk.make()
    walk.enter_log()
    other.send(StopDevice(thumbprint(world.agent.signing.public_key())))
    walk.release()
    assert state_of(rooms) == [("refused", "stopped")]
    assert packages(rooms, world.agent.account) == []


def test_the_giver_becomes_unable_for_a_harmless_cause(world: MandateWorld) -> None:
    """Under review is not protection: the mandate stays, the certificate is refused by the tax office's own words."""
    rooms, record = world.rooms, world.in_force()
    world.request(record.mandate)
    rooms.registers.record_event(ReviewSet(rooms.people[0].resident_id), rooms.clock())
    make_walk(rooms).run_once()
    assert state_of(rooms) == [("refused", "counter")]
    assert rooms.gate_rows("SELECT state FROM mandates") == [("confirmed",)]


def test_a_certificate_about_the_agent_does_not_leave_as_the_givers(world: MandateWorld) -> None:
    """A broken maker puts the agent's own person on the page: the last look compares with the gate's word."""
    rooms, maker = world.rooms, PlainMaker()
    person = rooms.people[1]
    maker.instead = {"name": person.name, "birthdate": person.birthdate.isoformat()}
    record = world.in_force()
    world.request(record.mandate)
    make_walk(rooms, maker).run_once()
    assert [row[0] for row in state_of(rooms)] == ["failed"]
    assert packages(rooms, world.agent.account) == []


# ---- neither words nor order tell protection -------------------------------------------------------------------------


def conversation(world: MandateWorld, phone: str) -> list[bytes]:
    """Everything one side is told when it tries every step."""
    device = world.giver if phone == "giver" else world.agent
    record = world.record("23456789ABCD")
    from mobile_api.messages import AcceptMandate, ConfirmMandate, MandateCodeWish

    bodies = [
        world.give_body(record, giver=device),
        MandateCodeWish(),
        AcceptMandate("A" * 22),
        ConfirmMandate("A" * 22),
        world.request_body("A" * 22, agent=device),
    ]
    return [
        canonical_json(list(format_answer_body(body))) for wish in bodies for _, body in device.send(wish)
    ]


@pytest.mark.parametrize("side", ["giver", "agent"])
def test_protection_reads_like_a_harmless_cause(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, side: str
) -> None:
    said = []
    for number, event in enumerate((ProtectionSet, ReviewSet)):
        for rooms in city_rooms(tmp_path / str(number), tmp_path_factory):
            world = MandateWorld.make(rooms)
            person = rooms.people[0 if side == "giver" else 1]
            rooms.registers.record_event(event(person.resident_id), rooms.clock())
            follow_changes(rooms.store, rooms.direct, at=rooms.at)  # type: ignore[arg-type]
            said.append(conversation(world, side))
    assert said[0] == said[1]
    assert len(said[0]) == 5
    assert b'"counter"' in said[0][0]


def told(world: MandateWorld, ending: Ending, side: str) -> list[bytes]:
    """What one side sees of a mandate that ended: notices, list, history, the refusal of a request."""
    from mobile_api.messages import ListMandates

    rooms, record = world.rooms, world.in_force(mandate="B" * 21 + "A")
    follow(rooms)
    ending(world, record.mandate)
    follow_changes(rooms.store, rooms.direct, at=rooms.at)  # type: ignore[arg-type]
    device = world.giver if side == "giver" else world.agent
    before = len(rooms.answers(device.account))
    follow(rooms)
    device.send(ListMandates())
    device.send(HistoryWish())
    if side == "agent":
        device.send(world.request_body(record.mandate))
    return [
        canonical_json(list(format_answer_body(body))) for _, body in rooms.answers(device.account)[before:]
    ]


def test_the_agent_does_not_learn_why(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Revoked, protected, moved, a new name, dead: the agent is told the same, word for word."""
    said = [
        told(MandateWorld.make(rooms), ending, "agent")
        for ending in (revoke, protect, move, marry, die)
        for rooms in city_rooms(tmp_path / ending.__name__, tmp_path_factory)
    ]
    assert said[1:] == said[:-1]
    assert len(said[0]) == 4


def test_the_giver_does_not_learn_of_the_agents_protection(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The agent gave it back, or is protected: the giver is told the same. The own revocation reads otherwise."""
    said = [
        told(MandateWorld.make(rooms), ending, "giver")
        for ending in (give_back, protect_agent, revoke)
        for rooms in city_rooms(tmp_path / ending.__name__, tmp_path_factory)
    ]
    assert said[0] == said[1]
    assert said[2] != said[0]


def test_a_correction_is_told_to_the_giver_and_its_reason_to_nobody_else(world: MandateWorld) -> None:
    rooms, record = world.rooms, world.in_force()
    world.request(record.mandate)
    walk = make_walk(rooms)
    walk.run_once()
    person = rooms.people[0].resident_id
    before = rooms.registers.find_tax_record(person, YEAR)
    assert before is not None
    income = {**before.data["income"]}
    income["salary_revenue"] = int(income.get("salary_revenue", 0)) + 1
    corrected = replace(before, data={**before.data, "income": income})
    rooms.registers.record_event(TaxRecordChanged(corrected), rooms.clock())
    follow_changes(rooms.store, rooms.direct, at=rooms.at)  # type: ignore[arg-type]
    assert "superseded" in notices(rooms, world.giver.account)
    assert "superseded" not in notices(rooms, world.agent.account)
    told = history(world, world.agent)
    assert "revoked" in told
    assert "revoked-superseded" not in told
    said = [b for _, b in rooms.answers(world.agent.account) if isinstance(b, History)][-1]
    assert "更正" not in canonical_json(list(format_answer_body(said))).decode()


# ---- after the end, and side by side ----------------------------------------------------------------------------------


def test_an_ended_mandate_stays_ended(world: MandateWorld) -> None:
    record = world.in_force()
    revoke(world, record.mandate)
    assert world.accept(record.mandate) == "mandate"
    assert world.confirm(record.mandate) == "mandate"
    assert world.end(record.mandate, world.agent) == "mandate-end-taken"
    assert world.rooms.gate_rows("SELECT cause FROM mandates") == [("revoked",)]


def test_an_offer_nobody_takes_lapses(world: MandateWorld) -> None:
    record = world.record(world.code())
    world.give(record)
    world.rooms.clock.forward(seconds=OFFER_SECONDS + 1)
    assert world.accept(record.mandate) == "mandate"
    assert [entry.cause for entry in world.listed(world.giver)] == ["expired"]


def test_a_change_before_the_mandate_does_not_end_it(world: MandateWorld) -> None:
    """The giver moved last week; the register's line is older than the mandate."""
    move(world, "")
    world.giver.card = None
    rooms = world.rooms
    person = rooms.registers.find_resident(rooms.people[0].resident_id)
    assert person is not None
    world.giver.card = rooms.card(person)
    record = world.in_force()
    assert [entry.state for entry in world.listed(world.giver)] == ["in-force"]
    follow(rooms)
    assert world.accept(record.mandate) == "mandate-acceptance-taken"


@pytest.mark.parametrize("person", [0, 1])
def test_a_move_of_the_agent_changes_nothing(world: MandateWorld, person: int) -> None:
    record = world.in_force()
    address = Address("見本県見本市北区九丁目９番９号", "992011", world.today, machiaza_id="9900000")
    world.rooms.registers.record_event(
        Move(world.rooms.people[person].resident_id, address), world.rooms.clock()
    )
    assert world.request(record.mandate) == ("Progress" if person == 1 else "mandate")


def test_a_gate_that_is_away_keeps_the_envelope(world: MandateWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    record = world.record(world.code())
    envelope = world.giver.envelope(world.give_body(record))

    def away(*_a: object, **_m: object) -> None:
        raise UnavailableError("door-unreachable")

    with monkeypatch.context() as patch:
        patch.setattr(MandateDesk, "give", away)
        with pytest.raises(UnavailableError):
            world.rooms.deliver(envelope)
    world.rooms.intake.handle(envelope)
    assert world.rooms.gate_rows("SELECT state FROM mandates") == [("offered",)]


def test_parallel_offers_with_one_code_exactly_one_wins(world: MandateWorld) -> None:
    code = world.code()
    bodies = [world.give_body(world.record(code)) for _ in range(8)]
    giver, won, barrier = binding_of(world, 0), [], threading.Barrier(8)

    def offer(body: object) -> None:
        barrier.wait()
        try:
            world.rooms.gate.mandates.give(
                binding=giver,
                record=body.record,  # type: ignore[attr-defined]
                statement=body.statement,  # type: ignore[attr-defined]
                signature_cert=body.signature_cert,  # type: ignore[attr-defined]
                signature=body.signature,  # type: ignore[attr-defined]
            )
            won.append(body)
        except Refusal as no:
            assert no.code == "mandate-code"

    threads = [threading.Thread(target=offer, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert world.rooms.gate_rows("SELECT count(*) FROM mandates") == [(1,)]


def test_parallel_ends_write_one_line_each(world: MandateWorld) -> None:
    record = world.in_force()
    desk, barrier = world.rooms.gate.mandates, threading.Barrier(8)

    def end(person: int) -> None:
        barrier.wait()
        desk.end(binding=binding_of(world, person), mandate=record.mandate)

    threads = [threading.Thread(target=end, args=(number % 2,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ends = world.rooms.gate_rows(
        "SELECT count(*) FROM gate_events WHERE what IN ('mandate-ended', 'mandate-revoked', 'mandate-given-back')"
    )
    assert ends == [(2,)]
    numbers = [row[0] for row in world.rooms.gate_rows("SELECT number FROM gate_events ORDER BY number")]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize(
    "code",
    [
        "mandate", "mandate-scope", "mandate-code", "mandate-self", "mandate-dates", "mandate-many",
        "mandate-not-accepted", "mandate-letter", "mandate-device", "mandate-letter-code", "needs-card",
        "counter-code",
    ],
)  # fmt: skip
def test_every_refusal_has_words_in_two_languages(code: str) -> None:
    no = refusal(code)
    assert no.ja.endswith("。")
    assert no.en.endswith(".")
    for forbidden in ("保護", "支援措置", "発行抑止", "protect"):
        assert forbidden not in no.ja + no.en
