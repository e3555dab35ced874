"""Logins for wallets: the whole city side of profile P2's login, from the street door's question to a grant, over real HTTP
to the mock OP; and each adjacent lie, outage and race.

What is not here is the street door: its two questions are asked as it would ask them, and the browser ends at its callback.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from app.errors import Refusal, UnavailableError
from app.identity.login import MAX_PENDING
from app.registers import gate_store
from app.registers.card_attributes import card_attributes
from app.registers.events import ProtectionSet
from app.registers.login_gate import LoginEvidence, LoginGate
from app.storage import logins as login_store
from app.storage.grants import find_grant
from app.wallets import logins as logins_module
from app.wallets.housekeeping import tend_grants
from mobile_api.exchanges import Denied, LoginStart
from mobile_api.messages import History, HistoryWish, Notice, WalletWish
from tests.support.city_rooms import KIND, YEAR, CityRooms, DirectGate, city_rooms
from tests.support.door_house import PASSWORDS, TARO
from tests.support.form_browser import FormBrowser
from tests.support.login_rooms import (
    CONFIGURATION,
    COPIES,
    REDIRECT_URI,
    LoginRooms,
    denied,
    granted,
    login_rooms,
    new_id,
    question,
)


@pytest.fixture
def rooms(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityRooms]:
    yield from city_rooms(tmp_path, tmp_path_factory)


@pytest.fixture
def logins(rooms: CityRooms) -> Iterator[LoginRooms]:
    with login_rooms(rooms) as made:
        yield made


def nothing_given_out(logins: LoginRooms) -> bool:
    rooms = logins.rooms
    grants = rooms.rows("SELECT count(*) FROM wallet_grants")[0][0]
    return grants == 0 and rooms.gate_rows("SELECT count(*) FROM authorised_requests")[0][0] == 0


# --- whose login it is -----------------------------------------------------------------------------------------------


def test_a_first_login_finds_the_resident_and_opens_a_grant(logins: LoginRooms) -> None:
    rooms, person = logins.rooms, logins.rooms.people[0]
    grant_id = granted(logins.log_in(logins.card(person)))
    with rooms.store.begin() as connection:
        grant = find_grant(connection, grant_id)
    assert grant is not None
    assert (grant.copies, grant.profile, grant.document_kind, grant.fiscal_year) == (COPIES, "p2", KIND, YEAR)
    assert rooms.gate_rows(
        "SELECT b.resident_id, r.copies FROM bindings b JOIN authorised_requests r ON r.binding = b.binding"
    ) == [(person.resident_id, COPIES)]
    assert person.name in json.dumps(
        rooms.gate.record(request_id=grant.request_id).record, ensure_ascii=False
    )
    assert rooms.gate_rows("SELECT what FROM access_log ORDER BY position") == [("login",), ("record",)]


def test_a_later_login_needs_the_subject_only(logins: LoginRooms) -> None:
    rooms, card = logins.rooms, logins.card(logins.rooms.people[0])
    assert denied(logins.log_in(card, consent=None)) == "login_required", "the first time, consent is needed"
    assert nothing_given_out(logins)
    granted(logins.log_in(card))
    granted(logins.log_in(card, consent=None))
    granted(logins.log_in(card, consent="decline"))
    granted(logins.log_in(card))
    assert len(rooms.gate_rows("SELECT DISTINCT binding FROM authorised_requests")) == 1
    assert len(rooms.gate_rows("SELECT login FROM logins")) == 1


def test_a_phone_and_a_login_of_one_person_are_one_binding_and_the_phone_is_told(logins: LoginRooms) -> None:
    rooms = logins.rooms
    one, other = rooms.people[:2]
    phones, stranger = [rooms.registered(one), rooms.registered(one)], rooms.registered(other)
    card = logins.card(one)
    granted(logins.log_in(card))
    granted(logins.log_in(card, consent=None))
    for phone in phones:
        told = [body.code for _, body in rooms.answers(phone.account) if isinstance(body, Notice)]
        assert told[-2:] == ["new-login", "login-offer"]
        history = [body for _, body in phone.send(HistoryWish()) if isinstance(body, History)]
        assert [line.code for line in history[-1].entries].count("login-new") == 1
        assert [line.code for line in history[-1].entries].count("login") == 1
    assert not [body for _, body in rooms.answers(stranger.account) if isinstance(body, Notice)]


def test_who_locked_adding_to_the_counter_gets_no_first_login(logins: LoginRooms) -> None:
    rooms, person = logins.rooms, logins.rooms.people[0]
    card = logins.card(person)
    granted(logins.log_in(card))
    phone = rooms.registered(person)
    (binding,) = rooms.gate_rows("SELECT binding FROM bindings")[0]
    rooms.gate.counter.lock_devices(binding=binding)
    # Who is known already comes in as before; a login never seen before does not, whatever the card says.
    granted(logins.log_in(card))
    before = rooms.gate_rows("SELECT login FROM logins")
    assert denied(logins.log_in(logins.card(person))) == "access_denied"
    assert rooms.gate_rows("SELECT login FROM logins") == before
    rooms.gate.counter.unlock_devices(
        resident_id=person.resident_id, staff="madoguchi-1", second="madoguchi-2", reason="本人確認済み"
    )
    granted(logins.log_in(logins.card(person)))
    assert phone.account


def test_nobody_in_the_registers_is_sent_to_the_counter(logins: LoginRooms) -> None:
    card = logins.card(logins.rooms.people[0], attributes=TARO)
    answer = logins.log_in(card)
    assert denied(answer) == "access_denied"
    assert nothing_given_out(logins)
    assert logins.rooms.gate_rows("SELECT * FROM logins") == []


def test_a_login_that_suddenly_names_somebody_else_is_refused(logins: LoginRooms) -> None:
    """The OP's word for one and the same subject changes the person: never re-bound by itself."""
    one, other = logins.rooms.people[:2]
    card = logins.card(one)
    granted(logins.log_in(card))
    desk = logins.server.provider._desk
    honest = desk.read_attributes
    attributes = card_attributes(other)
    desk.read_attributes = (
        lambda *_given, **_more: {  # type: ignore[method-assign]
            "name": attributes.name,
            "address": attributes.address,
            "birthdate": attributes.birthdate[1:],
            "gender": attributes.sex,
        }
    )
    answer = logins.log_in(card)
    assert denied(answer) == "access_denied"
    assert len(logins.rooms.rows("SELECT * FROM wallet_grants")) == 1
    desk.read_attributes = honest  # type: ignore[method-assign]
    granted(logins.log_in(card))


def test_a_new_card_binds_a_new_subject_to_the_same_resident(logins: LoginRooms) -> None:
    person = logins.rooms.people[0]
    granted(logins.log_in(logins.card(person)))
    granted(logins.log_in(logins.card(person)))
    assert len(logins.rooms.gate_rows("SELECT login FROM logins")) == 2
    assert len(logins.rooms.gate_rows("SELECT binding FROM bindings")) == 1


# --- cards that are no good, and outages: nobody is logged in, and the person reads why -----------------------------------


def stopped_at(logins: LoginRooms, card: str) -> tuple[str, FormBrowser, Any, str]:
    desk, session = logins.desk(), new_id()
    browser = logins.browse(logins.start(desk, session), card)
    assert browser.page is not None, "the way back is a link, after the words"
    words = browser.page.text
    browser.follow_link()
    return words, browser, desk, session


@pytest.mark.parametrize("event", ["loss", "death", "suspension"])
def test_a_revoked_card_logs_nobody_in(logins: LoginRooms, event: str) -> None:
    card = logins.card(logins.rooms.people[0])
    granted(logins.log_in(card))
    logins.rooms.jpki.revoke(logins.issued[card].card, event, now=logins.rooms.clock())
    words, browser, desk, session = stopped_at(logins, card)
    assert "失効" in words
    assert "市役所の窓口" in words
    answer = logins.finish(desk, session, browser.query)
    assert denied(answer) == "access_denied"
    assert isinstance(answer, Denied)
    assert "city office" in answer.description
    assert len(logins.rooms.rows("SELECT * FROM wallet_grants")) == 1, "the one of before"


def test_an_expired_card_logs_nobody_in(logins: LoginRooms) -> None:
    card = logins.card(logins.rooms.people[0])
    logins.rooms.clock.forward(days=365 * 6)
    words, browser, desk, session = stopped_at(logins, card)
    assert "有効期間が過ぎています" in words
    assert denied(logins.finish(desk, session, browser.query)) == "access_denied"
    assert nothing_given_out(logins)


def test_a_card_authority_that_is_down_logs_nobody_in(logins: LoginRooms) -> None:
    card = logins.card(logins.rooms.people[0])
    logins.rooms.status.down = True
    words, browser, desk, session = stopped_at(logins, card)
    assert "しばらくして" in words
    answer = logins.finish(desk, session, browser.query)
    assert denied(answer) == "temporarily_unavailable"
    assert nothing_given_out(logins)
    logins.rooms.status.down = False
    granted(logins.log_in(card))


def test_a_provider_that_is_down_logs_nobody_in(logins: LoginRooms) -> None:
    card = logins.card(logins.rooms.people[0])

    def down(*_given: Any) -> Any:
        raise OSError("no answer")

    for outage in ({"post": down}, {"get": down}):
        answer = logins.log_in(card, desk=logins.desk(**outage))
        assert denied(answer) == "temporarily_unavailable"
        assert isinstance(answer, Denied)
        assert "later" in answer.description
    assert nothing_given_out(logins)


def test_a_signer_or_gate_that_is_down_logs_nobody_in(logins: LoginRooms) -> None:
    card = logins.card(logins.rooms.people[0])

    class Away:
        def open_login_offer(self, **_given: Any) -> Any:
            raise UnavailableError("gate", "no answer")

    def no_signer(_request_id: str) -> Any:
        raise UnavailableError("signer", "no answer")

    for outage in ({"gate": Away()}, {"sign": no_signer}):
        assert denied(logins.log_in(card, desk=logins.desk(**outage))) == "temporarily_unavailable"
    assert nothing_given_out(logins)


def test_who_cancels_is_not_logged_in(logins: LoginRooms) -> None:
    card, desk, session = logins.card(logins.rooms.people[0]), logins.desk(), new_id()
    browser = FormBrowser(REDIRECT_URI)
    browser.open(logins.start(desk, session))
    browser.send(card=card, choice="cancel")
    assert denied(logins.finish(desk, session, browser.query)) == "access_denied"
    assert nothing_given_out(logins)


# --- one answer is served once ----------------------------------------------------------------------------------------


def test_a_start_is_repeated_alike_and_asks_for_the_attributes(logins: LoginRooms) -> None:
    desk, session = logins.desk(), new_id()
    address = logins.start(desk, session)
    assert logins.start(desk, session) == address
    assert logins.start(desk, new_id()) != address
    given = parse_qs(urlsplit(address).query)
    assert given["scope"] == ["openid name address birthdate gender"]
    assert given["acr_values"] == ["aal3 crl"]
    assert given["redirect_uri"] == [REDIRECT_URI]
    assert {len(given[name][0]) for name in ("state", "nonce", "code_challenge")} == {43}


def test_an_unknown_configuration_starts_nothing(logins: LoginRooms) -> None:
    body = LoginStart(new_id(), "driving_licence")
    assert denied(logins.desk().start(question(body), body)) == "invalid_request"
    assert logins.rooms.rows("SELECT * FROM pending_logins") == []


def test_a_callback_is_served_once_and_the_same_exchange_alike(logins: LoginRooms) -> None:
    card, desk, session, exchange = logins.card(logins.rooms.people[0]), logins.desk(), new_id(), new_id()
    browser = logins.browse(logins.start(desk, session), card)
    grant = granted(logins.finish(desk, session, browser.query, exchange))
    assert granted(logins.finish(desk, session, browser.query, exchange)) == grant, "a question taken twice"
    assert denied(logins.finish(desk, session, browser.query)) == "access_denied", "another question"
    assert len(logins.rooms.rows("SELECT * FROM wallet_grants")) == 1


def test_another_session_or_state_takes_nothing_away(logins: LoginRooms) -> None:
    card, desk, session = logins.card(logins.rooms.people[0]), logins.desk(), new_id()
    browser = logins.browse(logins.start(desk, session), card)
    other = new_id()
    logins.start(desk, other)
    forged = urlencode({"code": "c" * 43, "state": "s" * 43})
    for who, query in (
        (other, browser.query),
        (session, forged),
        (session, ""),
        (session, "state=a&state=b"),
    ):
        assert denied(logins.finish(desk, who, query)) == "access_denied"
    granted(logins.finish(desk, session, browser.query))


def test_a_login_that_took_too_long_is_over(logins: LoginRooms) -> None:
    card, desk, session = logins.card(logins.rooms.people[0]), logins.desk(), new_id()
    address = logins.start(desk, session)
    logins.rooms.clock.forward(seconds=MAX_PENDING.total_seconds() + 1)
    browser = logins.browse(address, card)
    assert denied(logins.finish(desk, session, browser.query)) == "access_denied"
    assert nothing_given_out(logins)
    desk, waiting = logins.desk(), new_id()
    logins.start(desk, waiting)
    tend_grants(logins.rooms.store, at=logins.rooms.at)
    assert len(logins.rooms.rows("SELECT * FROM pending_logins")) == 1, "who is under way is kept"
    tend_grants(logins.rooms.store, at=logins.rooms.at + int(MAX_PENDING.total_seconds()) + 1)
    assert logins.rooms.rows("SELECT * FROM pending_logins") == [], (
        "what is over is swept away with its secrets"
    )


def test_a_street_door_cannot_fill_the_store(logins: LoginRooms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins_module, "MAX_PENDING_LOGINS", 2)
    desk = logins.desk()
    first = logins.start(desk, "a" * 22)
    logins.start(desk, "b" * 22)
    body = LoginStart("c" * 22, CONFIGURATION)
    assert denied(desk.start(question(body), body)) == "temporarily_unavailable"
    assert logins.start(desk, "a" * 22) == first, "who is under way is not harmed"


def race(logins: LoginRooms, card: str, desks: int = 2) -> list[str]:
    workers = [logins.desk() for _ in range(desks)]
    session = new_id()
    browser = logins.browse(logins.start(workers[0], session), card)
    barrier, found = threading.Barrier(desks), []

    def go(desk: Any) -> None:
        barrier.wait()
        found.append(type(logins.finish(desk, session, browser.query)).__name__)

    threads = [threading.Thread(target=go, args=(desk,)) for desk in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found)


def test_of_two_workers_with_one_callback_exactly_one_wins(logins: LoginRooms) -> None:
    card = logins.card(logins.rooms.people[0])
    for number in range(1, 4):
        assert race(logins, card) == ["Denied", "Granted"]
        assert len(logins.rooms.rows("SELECT * FROM wallet_grants")) == number


def test_the_race_finds_a_store_that_looks_before_it_takes(
    logins: LoginRooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: with a gap between looking and taking, both come through to the provider."""
    card, barrier, through = logins.card(logins.rooms.people[0]), threading.Barrier(2), []

    def look_then_take(connection: Any, session: str, state: str) -> Any:
        row = login_store.find_pending(connection, session)
        connection.commit()
        barrier.wait(10)
        through.append(row is not None)
        return row

    monkeypatch.setattr(login_store, "take_pending", look_then_take)
    race(logins, card)
    assert through == [True, True]


def test_a_worker_that_dies_after_the_gate_leaves_nothing_given_out(logins: LoginRooms) -> None:
    """Killed between the gate's word and the grant: the same question is refused, a new login works."""

    class Killed(BaseException):
        pass

    def die(*_given: Any) -> str:
        raise Killed

    card, session, exchange = logins.card(logins.rooms.people[0]), new_id(), new_id()
    desk = logins.desk(open_grant=die)
    browser = logins.browse(logins.start(desk, session), card)
    with pytest.raises(Killed):
        logins.finish(desk, session, browser.query, exchange)
    assert len(logins.rooms.gate_rows("SELECT * FROM authorised_requests")) == 1
    assert logins.rooms.rows("SELECT * FROM wallet_grants") == []
    assert logins.rooms.rows("SELECT * FROM finished_logins") == []
    assert denied(logins.finish(logins.desk(), session, browser.query, exchange)) == "access_denied"
    granted(logins.log_in(card))
    assert len(logins.rooms.rows("SELECT * FROM wallet_grants")) == 1


# --- the gate trusts nobody in between ---------------------------------------------------------------------------------


class Recorder(DirectGate):
    """Keeps what the worker brings to the gate."""

    kept: dict[str, Any]

    def open_login_offer(self, **login: Any) -> tuple[str, bool]:
        self.kept = login
        return super().open_login_offer(**login)


@pytest.fixture
def brought(logins: LoginRooms) -> dict[str, Any]:
    """An honest first login of person 0 that never reached the gate."""

    class Stopped(Recorder):
        def open_login_offer(self, **login: Any) -> tuple[str, bool]:
            self.kept = login
            raise UnavailableError("gate", "stopped")

    gate = Stopped(logins.gate)
    logins.log_in(logins.card(logins.rooms.people[0]), desk=logins.desk(gate=gate))
    return gate.kept


def test_the_gate_takes_an_honest_login_again_and_again_for_the_same_request(
    logins: LoginRooms, brought: dict[str, Any]
) -> None:
    first = logins.gate.open_login_offer(**brought)
    assert first[1] is True
    assert logins.gate.open_login_offer(**brought) == (first[0], False)
    assert len(logins.rooms.gate_rows("SELECT * FROM authorised_requests")) == 1


def change_wish(brought: dict[str, Any], **members: Any) -> dict[str, Any]:
    return brought | {"wish": replace(brought["wish"], **members)}


@pytest.mark.parametrize(
    "lie",
    [
        "request",
        "copies",
        "year",
        "profile",
        "purpose",
        "salt",
        "salt-form",
        "no-token",
        "flipped",
        "userinfo",
    ],
)
def test_a_worker_that_lies_about_a_login_is_refused(
    logins: LoginRooms, brought: dict[str, Any], lie: str
) -> None:
    evidence: LoginEvidence = brought["evidence"]
    token = evidence.id_token
    lies: dict[str, dict[str, Any]] = {
        "request": brought | {"request_id": new_id()},
        "copies": change_wish(brought, copies=20),
        "year": change_wish(brought, fiscal_year=YEAR - 1),
        "profile": change_wish(brought, profile="p1"),
        "purpose": change_wish(brought, purpose="x"),
        "salt": brought | {"evidence": replace(evidence, salt="A" * 43)},
        "salt-form": brought | {"evidence": replace(evidence, salt="é")},
        "no-token": brought | {"evidence": replace(evidence, id_token="")},
        "flipped": brought
        | {"evidence": replace(evidence, id_token=token[:-3] + ("AAA" if token[-3:] != "AAA" else "BBB"))},
        "userinfo": brought | {"evidence": replace(evidence, userinfo=evidence.userinfo[:-3] + "AAA")},
    }
    with pytest.raises(Refusal):
        logins.gate.open_login_offer(**lies[lie])
    assert logins.rooms.gate_rows("SELECT * FROM authorised_requests") == []
    logins.gate.open_login_offer(**brought)


def test_userinfo_of_another_person_is_refused(logins: LoginRooms, brought: dict[str, Any]) -> None:
    """A worker that pairs one person's token with the other's attributes, both honestly signed."""
    other = Recorder(logins.gate)
    granted(logins.log_in(logins.card(logins.rooms.people[1]), desk=logins.desk(gate=other)))
    theirs: LoginEvidence = other.kept["evidence"]
    with pytest.raises(Refusal, check=lambda no: no.code == "login-userinfo-subject"):
        logins.gate.open_login_offer(
            **brought | {"evidence": replace(brought["evidence"], userinfo=theirs.userinfo)}
        )


def test_a_token_is_used_once_even_if_what_followed_was_refused(
    logins: LoginRooms, brought: dict[str, Any]
) -> None:
    without = brought | {"evidence": replace(brought["evidence"], userinfo="")}
    with pytest.raises(Refusal, check=lambda no: no.code == "login-attributes-needed"):
        logins.gate.open_login_offer(**without)
    with pytest.raises(Refusal, check=lambda no: no.code == "login-used"):
        logins.gate.open_login_offer(**brought)


def test_a_token_of_yesterday_is_refused(logins: LoginRooms, brought: dict[str, Any]) -> None:
    logins.rooms.clock.forward(hours=24)
    with pytest.raises(Refusal, check=lambda no: no.code == "login-expired"):
        logins.gate.open_login_offer(**brought)


def test_used_tokens_are_forgotten_only_after_their_time(logins: LoginRooms, brought: dict[str, Any]) -> None:
    logins.gate.open_login_offer(**brought)
    logins.rooms.clock.forward(hours=3)
    granted(logins.log_in(logins.card(logins.rooms.people[1])))
    assert len(logins.rooms.gate_rows("SELECT * FROM login_tokens")) == 1


def test_of_two_calls_with_one_token_for_two_requests_one_wins(
    logins: LoginRooms, brought: dict[str, Any]
) -> None:
    """The same nonce for two requests: whatever the order, one row (positive control: the table's key)."""
    results, barrier = [], threading.Barrier(4)

    def go(number: int) -> None:
        barrier.wait()
        with logins.rooms.gate_store.begin() as connection:
            results.append(
                gate_store.take_login_token(
                    connection, nonce="n" * 64, request_id=f"r{number}", evidence="e", at=1
                )
            )

    threads = [threading.Thread(target=go, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False, False, False, True]


def test_a_gate_without_a_provider_opens_nothing(logins: LoginRooms, brought: dict[str, Any]) -> None:
    logins.gate._logins = None
    with pytest.raises(Refusal, check=lambda no: no.code == "not-authorised-no-login-provider"):
        logins.gate.open_login_offer(**brought)


def test_a_gate_of_another_client_or_provider_opens_nothing(
    logins: LoginRooms, brought: dict[str, Any]
) -> None:
    wish: WalletWish = brought["wish"]
    registers = logins.gate._registers
    strangers = [
        LoginGate(logins.pinned, "RP00000002", registers),
        LoginGate(replace(logins.pinned, issuer="https://other.example"), "RP00000001", registers),
        LoginGate(replace(logins.pinned, keys={}), "RP00000001", registers),
    ]
    for stranger in strangers:
        with pytest.raises(Refusal):
            stranger.check(
                brought["evidence"], brought["request_id"], wish.digest(), now=logins.rooms.clock()
            )


def test_a_later_flag_stops_the_record(logins: LoginRooms) -> None:
    """A login is no way round the register's own word."""
    recorder = Recorder(logins.gate)
    person = logins.rooms.people[0]
    granted(logins.log_in(logins.card(person), desk=logins.desk(gate=recorder)))
    request_id = recorder.kept["request_id"]
    assert logins.gate.record(request_id=request_id)
    logins.rooms.registers.record_event(ProtectionSet(person.resident_id), logins.rooms.clock())
    with pytest.raises(Refusal):
        logins.gate.record(request_id=request_id)


def test_nothing_of_a_login_stands_in_clear_in_either_store(logins: LoginRooms, caplog: Any) -> None:
    caplog.set_level("DEBUG")
    recorder, person = Recorder(logins.gate), logins.rooms.people[0]
    desk, session = logins.desk(gate=recorder), new_id()
    browser = logins.browse(logins.start(desk, session), logins.card(person))
    granted(logins.finish(desk, session, browser.query))
    evidence: LoginEvidence = recorder.kept["evidence"]
    code = parse_qs(browser.query)["code"][0]
    kept = b"".join(
        path.read_bytes()
        for name in ("gate", "worker")
        for path in logins.rooms.directory.glob(f"{name}.sqlite*")
    )
    for secret in (evidence.id_token, evidence.userinfo, evidence.salt, code, session, PASSWORDS.signature):
        assert secret.encode() not in kept
        assert secret not in caplog.text
    assert person.name.encode() not in kept
    assert person.name not in caplog.text
