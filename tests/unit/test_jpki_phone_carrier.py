"""The phone-borne certificates: their own profile, one a card, ended with the card's, accepted by the city."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ReasonFlags, ocsp

from app.counterparts.jpki import __main__ as command
from app.counterparts.jpki import profiles
from app.counterparts.jpki.authority import IssuedCard, MockJpki
from app.counterparts.jpki.card import JPKI_AID, SoftwareCard
from app.counterparts.jpki.errors import CardError, CardLocked, JpkiError, NotIssued, WrongPin
from app.counterparts.jpki.phone_carrier import check_application, issue_phone
from app.counterparts.jpki.reader import CardReader
from app.identity.card_certificate import CardKind, CardTrust, check_certificate, load_card_trust
from app.identity.card_evidence import CardChecker
from app.identity.refusals import CertificateRevoked, WrongProfile
from app.identity.statement import CardStatement, format_statement
from app.identity.status import jpki_status_client
from app.registers.card_attributes import CardAttributes
from mobile_api.client import CardSignature
from mobile_api.messages import NO_REQUEST
from tests.support.door_house import CITY, HANAKO, NOW, PASSWORDS, make_card, make_jpki

WORD, PIN = "PHONE2026", "9876"
KINDS = ("signature", "authentication")


class World:
    """A JPKI, a card in a reader, and its phone."""

    def __init__(self, directory: Path, attributes: CardAttributes = HANAKO, now: datetime = NOW) -> None:
        self.directory, self.now = directory, now
        self.jpki: MockJpki = make_jpki(directory / "jpki", now)
        card = directory / "card.json"
        self.reader, self.card = make_card(self.jpki, card, attributes, now, holder="M-0000001")

    def make_phone(self, name: str = "phone.json", **options: Any) -> IssuedCard:
        path = self.directory / name
        now = options.get("now", self.now)
        return issue_phone(self.jpki, self.reader, PASSWORDS.signature, path, WORD, PIN, now=now)

    def phone(self, name: str = "phone.json") -> CardReader:
        return CardReader(self.directory / name)

    def fetch(self, url: str, body: bytes | None, limit: int) -> bytes:
        kind = url.split("/")[-2]
        if body is None:
            return self.jpki.build_crl(kind, now=self.now)
        return self.jpki.answer_ocsp(kind, body, now=self.now)

    def check(self, reader: CardReader, kind: str, words: tuple[str, str]) -> Any:
        """The city's check of a statement signed at `reader`."""
        checker = CardChecker(
            load_card_trust(self.jpki.anchors, profile="demo"),
            CITY,
            jpki_status_client("http://mock.example", fetch=self.fetch),
        )
        text = format_statement(
            CardStatement(CITY, "register", "S" * 42 + "A", "E" * 42 + "A", NO_REQUEST, "n" * 32, self.now)
        )
        if kind == "signature":
            made, check = reader.sign_document(words[0], text.encode()), checker.check_signature
        else:
            made, check = reader.authenticate(words[1], text.encode()), checker.check_authentication
        options = {"purpose": "register", "request_digest": NO_REQUEST}
        return check(text, made.certificate, made.signature, now=self.now, **options)

    def state(self, issued: IssuedCard, kind: str) -> tuple[ocsp.OCSPCertStatus, ReasonFlags | None]:
        """What OCSP says; the list must say the same."""
        certificate = getattr(issued, kind).certificate
        authority = self.jpki.certificates[kind]
        question = ocsp.OCSPRequestBuilder().add_certificate(certificate, authority, hashes.SHA256()).build()
        raw = self.jpki.answer_ocsp(kind, question.public_bytes(serialization.Encoding.DER), now=self.now)
        answer = ocsp.load_der_ocsp_response(raw)
        crl = x509.load_der_x509_crl(self.jpki.build_crl(kind, now=self.now))
        listed = crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
        assert listed == (answer.certificate_status is ocsp.OCSPCertStatus.REVOKED)
        return answer.certificate_status, answer.revocation_reason


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_phone_has_a_profile_of_its_own(world: World) -> None:
    phone = world.make_phone()
    assert (phone.carrier, phone.card) == ("phone", world.card.card)
    for kind in KINDS:
        mine, cards = getattr(phone, kind).certificate, getattr(world.card, kind).certificate
        [policy] = mine.extensions.get_extension_for_class(x509.CertificatePolicies).value
        assert policy.policy_identifier.dotted_string == profiles.POLICIES["phone"][kind]
        assert profiles.POLICIES["phone"][kind] != profiles.POLICIES["card"][kind]
        assert mine.public_key() != cards.public_key()
        assert mine.serial_number != cards.serial_number
        assert mine.not_valid_after_utc == cards.not_valid_after_utc
    assert phone.signature is not None
    assert profiles.read_attributes(phone.signature.certificate) == HANAKO


@pytest.mark.parametrize("address", ["あ" * 30, "あ" * 60, "あ" * 100])
def test_attributes_come_from_the_card_whatever_their_length(tmp_path: Path, address: str) -> None:
    who = dataclasses.replace(HANAKO, address=address, address_substitutes="0" * len(address))
    phone = World(tmp_path, who).make_phone()
    assert phone.signature is not None
    assert profiles.read_attributes(phone.signature.certificate) == who


def test_the_phone_answers_as_a_card_with_its_own_token_and_passwords(world: World) -> None:
    world.make_phone()
    for name, token in (("card.json", b"JPKIAPICCTOKEN"), ("phone.json", b"JPKIAPGPSETOKEN")):
        with SoftwareCard(world.directory / name) as carrier:
            carrier.transmit(bytes.fromhex("00A4040C0A") + JPKI_AID)
            carrier.transmit(bytes.fromhex("00A4020C020006"))
            assert carrier.transmit(bytes.fromhex("00B0000014")) == token.ljust(20) + b"\x90\x00"
    phone = world.phone()
    assert [phone.tries_left(kind) for kind in KINDS] == [5, 3]
    for _ in range(2):
        with pytest.raises(WrongPin):
            phone.authenticate(PASSWORDS.authentication, b"x")
    with pytest.raises(CardLocked):
        phone.authenticate(PASSWORDS.authentication, b"x")
    assert world.reader.tries_left("authentication") == 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_city_takes_both_carriers_and_checks_them_alike(world: World, kind: str) -> None:
    world.make_phone()
    words = (PASSWORDS.signature, PASSWORDS.authentication)
    by_phone, by_card = world.check(world.phone(), kind, (WORD, PIN)), world.check(world.reader, kind, words)
    assert by_phone.attributes == by_card.attributes
    assert by_phone.issuer == by_card.issuer
    assert by_phone.serial != by_card.serial
    world.jpki.revoke(world.card.card, "death", now=NOW)
    for reader, said in ((world.phone(), (WORD, PIN)), (world.reader, words)):
        with pytest.raises(CertificateRevoked):
            world.check(reader, kind, said)


@pytest.mark.parametrize("kind", list(CardKind))
def test_real_phones_are_not_taken_while_their_policy_is_unconfirmed(world: World, kind: CardKind) -> None:
    der = getattr(world.make_phone(), kind).certificate.public_bytes(serialization.Encoding.DER)
    trust = load_card_trust(world.jpki.anchors, profile="demo")
    assert check_certificate(der, kind, trust, now=NOW)
    cards_only = CardTrust(trust.authorities, {kind: trust.policies[kind][:1] for kind in CardKind})
    with pytest.raises(WrongProfile):
        check_certificate(der, kind, cards_only, now=NOW)


@pytest.mark.parametrize(
    ("event", "of_card", "of_phone"),
    [
        ("move", {"signature"}, {"signature"}),
        ("name-change", {"signature"}, {"signature"}),
        ("death", set(KINDS), set(KINDS)),
        ("loss", set(KINDS), set(KINDS)),
        ("renewal", set(KINDS), set(KINDS)),
        ("suspension", set(KINDS), set(KINDS)),
        ("phone-loss", set(), set(KINDS)),
    ],
)
def test_what_ends_the_card_ends_its_phone(
    world: World, event: str, of_card: set[str], of_phone: set[str]
) -> None:
    phone = world.make_phone()
    carriers = ((world.card, of_card), (phone, of_phone))
    assert all(world.state(i, kind)[0] is ocsp.OCSPCertStatus.GOOD for i, _ in carriers for kind in KINDS)
    gone = world.jpki.revoke(world.card.card, event, now=NOW)
    assert len(gone) == len(of_card) + len(of_phone)
    for issued, ended in carriers:
        for kind in KINDS:
            revoked = world.state(issued, kind)[0] is ocsp.OCSPCertStatus.REVOKED
            assert revoked == (kind in ended)
    back = world.jpki.issued.resume(world.card.card)
    assert len(back) == (4 if event == "suspension" else 0)


def test_one_phone_a_card_and_another_after_the_loss_of_the_first(world: World) -> None:
    world.make_phone()
    with pytest.raises(NotIssued, match="phone-exists"):
        world.make_phone("second.json")
    assert not (world.directory / "second.json").exists()
    world.jpki.revoke(world.card.card, "phone-loss", now=NOW)
    second = world.make_phone("second.json")
    assert world.state(second, "authentication")[0] is ocsp.OCSPCertStatus.GOOD


@pytest.mark.parametrize("event", ["move", "loss", "suspension"])
def test_no_phone_for_a_card_that_is_not_valid(world: World, event: str) -> None:
    world.jpki.revoke(world.card.card, event, now=NOW)
    with pytest.raises(NotIssued, match="card-not-valid"):
        world.make_phone()
    assert len(world.jpki.issued.read()) == 2


def test_no_phone_for_a_card_that_has_expired(world: World) -> None:
    with pytest.raises(NotIssued, match="dates"):
        world.make_phone(now=NOW + timedelta(days=6 * 365))


def test_no_phone_under_fifteen_or_without_the_password(world: World, tmp_path: Path) -> None:
    child = World(tmp_path / "child", dataclasses.replace(HANAKO, birthdate="420120101"))
    with pytest.raises(CardError):
        child.make_phone()
    with pytest.raises(WrongPin):
        issue_phone(world.jpki, world.reader, "WRONG1", tmp_path / "x.json", WORD, PIN, now=NOW)
    for word, pin in (("short", PIN), (WORD, "12345")):
        with pytest.raises(JpkiError, match="bad-password"):
            issue_phone(
                world.jpki, world.reader, PASSWORDS.signature, tmp_path / "x.json", word, pin, now=NOW
            )
    assert world.reader.tries_left("signature") == 4


def test_an_application_signed_by_something_else_is_refused(world: World, tmp_path: Path) -> None:
    signed = world.reader.sign_document(PASSWORDS.signature, b"application")
    assert check_application(world.jpki, b"application", signed, now=NOW)
    by_pin = world.reader.authenticate(PASSWORDS.authentication, b"application")
    other = World(tmp_path / "other")
    foreign_key = profiles.new_key()
    foreign = profiles.build_card_certificate(
        "signature", foreign_key.public_key(), HANAKO, authority=other.jpki.certificates["signature"],
        authority_key=foreign_key, now=NOW,
    ).public_bytes(serialization.Encoding.DER)  # fmt: skip
    for bad in (
        CardSignature(signed.certificate, bytes(256)),
        CardSignature(b"rubbish", signed.signature),
        by_pin,
        CardSignature(foreign, signed.signature),
    ):
        with pytest.raises(NotIssued, match="card-not-valid"):
            check_application(world.jpki, b"application", bad, now=NOW)
    with pytest.raises(NotIssued, match="card-not-valid"):
        check_application(world.jpki, b"another application", signed, now=NOW)


def test_a_list_from_before_there_were_phones_still_holds_cards(world: World) -> None:
    path = world.directory / "jpki" / "issued.json"
    entries = json.loads(path.read_bytes())
    for entry in entries.values():
        del entry["carrier"], entry["issued"], entry["holder"]
    path.write_text(json.dumps(entries))
    assert world.make_phone().carrier == "phone"
    assert len(world.jpki.revoke(world.card.card, "loss", now=NOW)) == 4


def test_the_command_makes_a_phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AKASHI_PROFILE", "demo")
    world = World(tmp_path, now=datetime.now(UTC))
    (tmp_path / "words").write_text(f"{PASSWORDS.signature}\n{WORD}\n{PIN}\n")
    files = ["--card", str(tmp_path / "card.json"), "--phone", str(tmp_path / "phone.json")]
    arguments = [
        "phone",
        "--directory",
        str(tmp_path / "jpki"),
        *files,
        "--passwords",
        str(tmp_path / "words"),
    ]
    assert command.main(arguments) == 0
    assert world.check(world.phone(), "authentication", (WORD, PIN)).serial
    assert command.main(arguments) == 2
    revoke = [
        "revoke",
        "--directory",
        str(tmp_path / "jpki"),
        "--holder",
        "M-0000001",
        "--event",
        "phone-loss",
    ]
    assert command.main(revoke) == 0
    with pytest.raises(CertificateRevoked):
        world.check(world.phone(), "authentication", (WORD, PIN))
