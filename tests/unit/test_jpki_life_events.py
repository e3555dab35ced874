"""Life events and the hotline: what OCSP and CRL say over HTTP afterwards, and what the city makes of it."""

from __future__ import annotations

import json
import socket
import threading
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509 import ReasonFlags, ocsp

from app.counterparts.jpki import __main__ as command
from app.counterparts.jpki import register_feed
from app.counterparts.jpki.authority import IssuedCard, MockJpki
from app.counterparts.jpki.card import SoftwareCard
from app.counterparts.jpki.errors import JpkiError
from app.counterparts.jpki.issued import EVENTS
from app.counterparts.jpki.register_feed import follow_register
from app.counterparts.jpki.server import JpkiServer
from app.house.cli import run_card_issue
from app.house.home import Home
from app.identity.card_certificate import CardKind, load_card_trust
from app.identity.card_evidence import CardChecker
from app.identity.refusals import CertificateRevoked, StatusUnverifiable
from app.identity.statement import CardStatement, format_statement
from app.identity.status import MAX_CRL_BYTES, fetch_over_http, jpki_status_client
from app.registers.city.cases import case_entries, case_ids
from app.registers.events import Death, Event, Move, NameChange, ProtectionSet
from app.registers.migrations import upgrade
from app.registers.resident import Address
from app.registers.store import Change, RegisterStore
from app.storage.engine import open_store
from mobile_api.messages import NO_REQUEST
from tests.support.door_house import CITY, HANAKO, NOW, PASSWORDS, make_card, make_jpki, register_body

IDS = case_ids()
HOLDER = IDS["taxed"]
BOTH = frozenset(CardKind)
SIGNATURE = frozenset({CardKind.SIGNATURE})
STATEMENT = format_statement(
    CardStatement(CITY, "register", "S" * 42 + "A", "E" * 42 + "A", NO_REQUEST, "n" * 32, NOW)
)


@dataclass
class World:
    """A JPKI that answers over HTTP, one card, and the city's check of what the card signs."""

    directory: Path
    jpki: MockJpki
    card: IssuedCard
    server: JpkiServer
    clock: datetime = NOW
    ocsp_is_up: bool = True
    credential: str = ""

    def fetch(self, url: str, body: bytes | None, limit: int) -> bytes:
        if body is not None and not self.ocsp_is_up:
            raise ConnectionRefusedError
        return fetch_over_http(url, body, limit, credential=self.credential)

    def check(self, kind: CardKind, card: IssuedCard | None = None) -> Any:
        """What the city says: the record that is kept, or a refusal."""
        entry = getattr(card or self.card, kind)
        checker = CardChecker(
            load_card_trust(self.jpki.anchors, profile="demo"),
            CITY,
            jpki_status_client(self.server.base_url, fetch=self.fetch),
        )
        check = checker.check_signature if kind is CardKind.SIGNATURE else checker.check_authentication
        found = check(
            STATEMENT,
            entry.certificate.public_bytes(serialization.Encoding.DER),
            entry.key.sign(STATEMENT.encode(), padding.PKCS1v15(), hashes.SHA256()),
            purpose="register",
            request_digest=NO_REQUEST,
            now=NOW,
        )
        return found.status

    def ask_ocsp(self, kind: CardKind) -> tuple[ocsp.OCSPCertStatus, ReasonFlags | None]:
        certificate = getattr(self.card, kind).certificate
        question = ocsp.OCSPRequestBuilder().add_certificate(
            certificate, self.jpki.certificates[kind], hashes.SHA256()
        )
        body = question.build().public_bytes(serialization.Encoding.DER)
        raw = fetch_over_http(
            f"{self.server.base_url}/{kind}/ocsp", body, 1 << 16, credential=self.credential
        )
        answer = ocsp.load_der_ocsp_response(raw)
        return answer.certificate_status, answer.revocation_reason

    def ask_list(self, kind: CardKind) -> ReasonFlags | None:
        """The reason with which the certificate stands in the list, None if it does not."""
        raw = fetch_over_http(
            f"{self.server.base_url}/{kind}/crl", None, MAX_CRL_BYTES, credential=self.credential
        )
        serial = getattr(self.card, kind).certificate.serial_number
        entry = x509.load_der_x509_crl(raw).get_revoked_certificate_by_serial_number(serial)
        return (
            None if entry is None else entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        )

    def assert_state(self, ended: frozenset[CardKind], reason: ReasonFlags) -> None:
        """OCSP, list and city agree: exactly `ended` is revoked, for `reason`, by either way of asking."""
        for kind in CardKind:
            revoked = kind in ended
            status = ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD
            assert self.ask_ocsp(kind) == (status, reason if revoked else None)
            assert self.ask_list(kind) == (reason if revoked else None)
            for self.ocsp_is_up, method in ((False, "crl"), (True, "ocsp")):
                if not revoked:
                    assert self.check(kind).method == method
                    continue
                with pytest.raises(CertificateRevoked) as refused:
                    self.check(kind)
                assert refused.value.code == "card-certificate-revoked"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    jpki = make_jpki(tmp_path / "jpki")
    card = jpki.issue(HANAKO, now=NOW, holder=HOLDER)
    server = JpkiServer(("127.0.0.1", 0), jpki, profile="demo", clock=lambda: world.clock)
    world = World(tmp_path / "jpki", jpki, card, server, credential=register_body(jpki))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)


NOTHING = frozenset[CardKind]()
EXPECTED = {
    "move": (SIGNATURE, ReasonFlags.affiliation_changed),
    "name-change": (SIGNATURE, ReasonFlags.affiliation_changed),
    "death": (BOTH, ReasonFlags.cessation_of_operation),
    "loss": (BOTH, ReasonFlags.cessation_of_operation),
    "renewal": (BOTH, ReasonFlags.superseded),
    "suspension": (BOTH, ReasonFlags.certificate_hold),
    # Of the phone only; the card stays as it is (test_jpki_phone_carrier).
    "phone-loss": (NOTHING, ReasonFlags.unspecified),
}


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_after_each_event_everybody_says_the_same(world: World, event: str) -> None:
    # Before it the same questions get the other answer: none of them is always no.
    world.assert_state(NOTHING, ReasonFlags.unspecified)
    world.jpki.revoke(world.card.card, event, now=NOW)
    world.assert_state(*EXPECTED[event])


def test_a_suspension_can_be_lifted_and_nothing_else_can(world: World) -> None:
    world.jpki.revoke(world.card.card, "suspension", now=NOW)
    assert len(world.jpki.issued.resume(world.card.card)) == 2
    world.assert_state(NOTHING, ReasonFlags.unspecified)
    world.jpki.revoke(world.card.card, "loss", now=NOW)
    assert world.jpki.issued.resume(world.card.card) == []
    world.assert_state(*EXPECTED["loss"])


def test_what_is_final_stays_final_over_a_suspension(world: World) -> None:
    world.jpki.revoke(world.card.card, "suspension", now=NOW)
    later = NOW + timedelta(hours=1)
    assert len(world.jpki.revoke(world.card.card, "death", now=later)) == 2
    entries = world.jpki.issued.read().values()
    assert {entry["revoked"] for entry in entries} == {int(NOW.timestamp())}
    assert world.jpki.revoke(world.card.card, "suspension", now=later) == []
    assert world.jpki.issued.resume(world.card.card) == []
    world.assert_state(*EXPECTED["death"])


def test_a_move_during_a_suspension_outlives_it(world: World) -> None:
    world.jpki.revoke(world.card.card, "suspension", now=NOW)
    world.jpki.revoke(world.card.card, "move", now=NOW)
    assert len(world.jpki.issued.resume(world.card.card)) == 1
    world.assert_state(*EXPECTED["move"])


@pytest.mark.parametrize(
    ("path", "length", "answer"),
    [
        ("/signature/ocsp", "\u00b2", 413),
        ("/signature/ocsp", "9" * 5000, 413),
        ("/signature/ocsp", "-1", 413),
        ("/signature/ocsp", "8193", 413),
        ("/nobody/ocsp", "0", 404),
        ("/signature/ocsp", "0", 200),
    ],
)
def test_a_length_that_is_none_gets_an_answer(world: World, path: str, length: str, answer: int) -> None:
    host, port = world.server.server_address[:2]
    with socket.create_connection((str(host), port), timeout=30) as connection:
        head = f"POST {path} HTTP/1.0\r\nAuthorization: Bearer {world.credential}\r\n"
        connection.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode("latin-1"))
        assert connection.makefile("rb").readline().split()[1] == str(answer).encode()


@pytest.mark.parametrize("late", [timedelta(hours=24, seconds=1), timedelta(hours=49)])
def test_a_stale_list_fails_closed(world: World, late: timedelta) -> None:
    world.ocsp_is_up = False
    assert world.check(CardKind.AUTHENTICATION).method == "crl"
    world.clock = NOW - late
    with pytest.raises(StatusUnverifiable) as refused:
        world.check(CardKind.AUTHENTICATION)
    assert (refused.value.code, refused.value.why) == ("card-status-unverifiable", "crl-stale")
    assert refused.value.retry


# --- the register -----------------------------------------------------------------------------------------


@pytest.fixture
def registers(tmp_path: Path) -> Iterator[RegisterStore]:
    engine = open_store(f"sqlite:///{tmp_path / 'registers.sqlite'}")
    upgrade(engine)
    store = RegisterStore(engine)
    store.add_city(case_entries(), "cases")
    yield store
    engine.dispose()


def move_of(registers: RegisterStore) -> Move:
    resident = registers.find_resident(HOLDER)
    assert resident is not None
    last = asdict(resident.addresses[-1]) | {"from_date": date(2026, 11, 20), "to_date": None}
    return Move(HOLDER, Address(**last))


def follow(world: World, feed: register_feed.ChangeFeed, now: datetime = NOW) -> list[str]:
    return follow_register(world.directory, feed, now=now)


@pytest.mark.parametrize("what", ["move", "name-change", "death"])
def test_events_of_the_register_revoke(world: World, registers: RegisterStore, what: str) -> None:
    event: Event = {
        "move": move_of(registers),
        "name-change": NameChange(HOLDER, "仮野", "カリノ"),
        "death": Death(HOLDER, date(2026, 11, 19)),
    }[what]
    neighbour = world.jpki.issue(HANAKO, now=NOW, holder=IDS["mover"])
    nobody = world.jpki.issue(HANAKO, now=NOW)
    registers.record_event(event, NOW + timedelta(minutes=1))
    world.assert_state(NOTHING, ReasonFlags.unspecified)
    assert len(follow(world, registers)) == len(EXPECTED[what][0])
    world.assert_state(*EXPECTED[what])
    assert follow(world, registers) == []
    for other in (neighbour, nobody):
        for kind in CardKind:
            assert world.check(kind, other).method == "ocsp"


def test_other_changes_end_no_certificate(world: World, registers: RegisterStore) -> None:
    registers.record_event(ProtectionSet(HOLDER), NOW + timedelta(minutes=1))
    assert follow(world, registers) == []
    world.assert_state(NOTHING, ReasonFlags.unspecified)


def test_a_card_issued_after_the_move_stays(world: World, registers: RegisterStore) -> None:
    registers.record_event(move_of(registers), NOW + timedelta(minutes=1))
    new = world.jpki.issue(HANAKO, now=NOW + timedelta(minutes=2), holder=HOLDER)
    assert len(follow(world, registers)) == 1
    assert world.check(CardKind.SIGNATURE, new).method == "ocsp"
    world.assert_state(*EXPECTED["move"])
    # The dead keep none, whenever it was issued.
    registers.record_event(Death(HOLDER, date(2026, 11, 19)), NOW + timedelta(minutes=1))
    assert len(follow(world, registers)) == 3
    with pytest.raises(CertificateRevoked):
        world.check(CardKind.AUTHENTICATION, new)


def test_a_pass_that_was_cut_is_done_again(
    world: World, registers: RegisterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    registers.record_event(move_of(registers), NOW + timedelta(minutes=1))
    with monkeypatch.context() as patch:
        patch.setattr(register_feed, "write_file", cut)
        with pytest.raises(KeyboardInterrupt):
            follow(world, registers)
    world.assert_state(*EXPECTED["move"])
    assert follow(world, registers, NOW + timedelta(hours=1)) == []
    with monkeypatch.context() as patch:
        patch.setattr(register_feed.IssuedList, "revoke", cut)
        registers.record_event(Death(HOLDER, date(2026, 11, 19)), NOW + timedelta(minutes=2))
        with pytest.raises(KeyboardInterrupt):
            follow(world, registers)
    assert len(follow(world, registers)) == 1
    assert world.ask_ocsp(CardKind.AUTHENTICATION)[0] is ocsp.OCSPCertStatus.REVOKED


def test_a_long_feed_is_read_to_its_end(world: World) -> None:
    class Long:
        def changes_since(self, number: int, limit: int = 2) -> list[Change]:
            kinds = ["review-set"] * 7 + ["deceased"]
            rows = [Change(n, HOLDER, kind, 0) for n, kind in enumerate(kinds, 1)]
            return [row for row in rows if row.number > number][:limit]

    assert len(follow(world, Long())) == 2


# --- the commands -----------------------------------------------------------------------------------------


def test_the_hotline_suspends_at_once(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AKASHI_PROFILE", "demo")
    who = ["--directory", str(world.directory), "--holder", HOLDER]
    assert command.main(["suspend", *who]) == 0
    assert "suspended 2" in capsys.readouterr().out
    # The running server, another process in real life, says it with its next answer.
    world.assert_state(*EXPECTED["suspension"])
    assert command.main(["resume", *who]) == 0
    world.assert_state(NOTHING, ReasonFlags.unspecified)
    assert command.main(["suspend", "--directory", str(world.directory), "--holder", "M-9999999"]) == 2
    assert "unknown-holder" in capsys.readouterr().err
    assert command.main(["suspend", "--directory", str(world.directory), "--holder", ""]) == 2
    make_card(world.jpki, tmp_path / "card.json")
    assert (
        command.main(["suspend", "--directory", str(world.directory), "--card", str(tmp_path / "card.json")])
        == 0
    )
    world.assert_state(NOTHING, ReasonFlags.unspecified)
    with pytest.raises(SystemExit):
        command.main(["suspend", "--directory", str(world.directory)])


def test_the_command_follows_the_register(
    world: World, registers: RegisterStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["follow", "--directory", str(world.directory), "--registers"]
    monkeypatch.setenv("AKASHI_PROFILE", "production")
    registers.record_event(move_of(registers), NOW + timedelta(minutes=1))
    assert command.main([*arguments, str(tmp_path / "registers.sqlite")]) == 2
    world.assert_state(NOTHING, ReasonFlags.unspecified)
    monkeypatch.setenv("AKASHI_PROFILE", "demo")
    assert command.main([*arguments, str(tmp_path / "none.sqlite")]) == 2
    (tmp_path / "other.sqlite").write_bytes(b"no database at all" * 100)
    assert command.main([*arguments, str(tmp_path / "other.sqlite")]) == 2
    assert command.main([*arguments, str(tmp_path / "registers.sqlite")]) == 0
    world.assert_state(*EXPECTED["move"])


def test_a_card_issued_by_the_command_belongs_to_its_holder(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AKASHI_PROFILE", "demo")
    (tmp_path / "who.json").write_text(json.dumps(asdict(HANAKO)))
    (tmp_path / "words").write_text(f"{PASSWORDS.signature}\n{PASSWORDS.authentication}\n")
    arguments = ["--attributes", str(tmp_path / "who.json"), "--passwords", str(tmp_path / "words")]
    card = ["--card", str(tmp_path / "new.json"), "--holder", "M-0000009"]
    assert command.main(["issue", "--directory", str(world.directory), *arguments, *card]) == 0
    [identifier] = world.jpki.issued.cards_of("M-0000009")
    assert len(world.jpki.revoke(identifier, "loss", now=NOW)) == 2


def test_a_card_of_akashi_card_issue_is_reached_by_the_register(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.store_path("registers").parent.mkdir(parents=True)
    engine = open_store(home.store("registers"))
    upgrade(engine)
    registers = RegisterStore(engine)
    registers.add_city(case_entries(), "cases")
    (tmp_path / "words").write_text(f"{PASSWORDS.signature}\n{PASSWORDS.authentication}\n")
    jpki = make_jpki(home.jpki, datetime.now(UTC))
    card = tmp_path / "card.json"
    options = Namespace(home=home.root, resident=HOLDER, passwords=tmp_path / "words", card=card)
    assert run_card_issue(options) == 0
    [identifier] = jpki.issued.cards_of(HOLDER)
    with SoftwareCard(card) as carrier:
        assert carrier.card_id == identifier
    registers.record_event(Death(HOLDER, date(2026, 11, 19)), datetime.now(UTC))
    assert len(follow_register(home.jpki, registers, now=datetime.now(UTC))) == 2
    engine.dispose()


def test_who_has_no_number_is_nobody(world: World) -> None:
    world.jpki.issue(HANAKO, now=NOW)
    assert world.jpki.issued.cards_of("") == []
    with pytest.raises(JpkiError, match="unknown-card"):
        world.jpki.issued.resume("00")
