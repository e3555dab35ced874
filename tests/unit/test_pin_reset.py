"""Password reset: reserved in the app, done at a kiosk, or at the counter; every rule with its adjacent refusal."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from app.counterparts.jpki.authority import MockJpki
from app.counterparts.jpki.card_file import CardFile
from app.counterparts.jpki.errors import CardError, CardLocked, WrongPin
from app.counterparts.jpki.reset_text import password_digest, reset_text
from app.counterparts.pin_reset.client import ResetClient
from app.counterparts.pin_reset.errors import ResetRefused
from app.counterparts.pin_reset.face_vendor import MAX_AGE, FaceVendor, score
from app.counterparts.pin_reset.server import PinResetServer
from app.counterparts.pin_reset.service import CardWord, NewPassword, ResetService, reset_statement
from app.counterparts.pin_reset.station import reserve_in_app, reset_at_counter, reset_at_kiosk
from app.counterparts.pin_reset.store import ResetStore
from app.errors import SettingsError
from tests.support.door_house import PASSWORDS, make_card, make_jpki
from verifier.formats.encoding import base64_decode

NOON = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
CITY = "992011"
NEW = "NEWPASS7"


class World:
    """One card, the authority, the service and the vendor, with a clock that tests move."""

    def __init__(self, directory: Path) -> None:
        self.now = NOON
        self.jpki: MockJpki = make_jpki(directory / "jpki", NOON)
        self.path = directory / "card.json"
        self.card, self.issued = make_card(self.jpki, self.path, now=NOON)
        self.vendor = FaceVendor(ec.generate_private_key(ec.SECP256R1()))
        self.store = ResetStore(directory / "pin-reset.sqlite")
        self.service = self.make_service(self.store)
        self.store.set_delegation(CITY, delegated=True, now=0)

    def make_service(self, store: ResetStore) -> ResetService:
        return ResetService(
            store,
            self.jpki,
            self.vendor.public_key,
            municipality_of=lambda _card: CITY,
            clock=lambda: self.now,
        )

    def check(self, card: str, picture: bytes, camera: bytes) -> str:
        return self.vendor.compare(card, picture, camera, now=self.now)

    @property
    def face(self) -> bytes:
        kept = CardFile(self.path)
        try:
            return base64_decode(kept.content["picture"])
        finally:
            kept.close()

    def lock(self, kind: str) -> None:
        sign = self.card.sign_document if kind == "signature" else self.card.authenticate
        for _ in range(8):
            try:
                sign("WRONG1", b"x")
            except WrongPin:
                continue
            except CardLocked:
                return
        raise AssertionError("not locked")

    def reserve(self, camera: bytes | None = None, *, target: str = "signature") -> tuple[str, int]:
        known = PASSWORDS.authentication if target == "signature" else PASSWORDS.signature
        return reserve_in_app(self.service, self, self.card, known, camera or self.face, target=target)

    def at_kiosk(self, new: str = NEW, *, target: str = "signature") -> None:
        known = PASSWORDS.authentication if target == "signature" else PASSWORDS.signature
        reset_at_kiosk(self.service, self.card, known, new, target=target)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def refused(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(ResetRefused) as no:
        call(*arguments, **options)
    assert no.value.ja and no.value.en.isascii()
    return no.value.rule


def test_a_locked_signature_password_is_reset_at_a_kiosk(world: World) -> None:
    world.lock("signature")
    made, expires = world.reserve()
    assert len(made) == 22 and expires == int(NOON.timestamp()) + 24 * 3600
    world.now += timedelta(hours=5)
    world.at_kiosk()
    assert world.card.tries_left("signature") == 5
    assert len(world.card.sign_document(NEW, b"statement").signature) == 256
    with pytest.raises(WrongPin):
        world.card.sign_document(PASSWORDS.signature, b"statement")


def test_the_four_digits_are_reset_with_the_signature_password(world: World) -> None:
    world.lock("authentication")
    world.reserve(target="authentication")
    world.at_kiosk("9876", target="authentication")
    assert len(world.card.authenticate("9876", b"statement").signature) == 256
    assert world.card.tries_left("signature") == 5


def test_a_reservation_is_good_for_24_hours_and_once(world: World) -> None:
    world.reserve()
    world.now += timedelta(hours=24)
    assert refused(world.at_kiosk) == "no-reservation"
    world.now = NOON + timedelta(days=2)
    world.reserve()
    world.at_kiosk()
    assert refused(world.at_kiosk, "OTHERPW8") == "no-reservation"
    assert len(world.card.sign_document(NEW, b"x").signature) == 256


def test_a_reservation_for_one_password_does_not_serve_for_the_other(world: World) -> None:
    world.reserve()
    assert refused(world.at_kiosk, "9876", target="authentication") == "no-reservation"


@pytest.mark.parametrize(
    ("hours", "minutes", "is_open"), [(18, 29, False), (18, 30, True), (10, 59, True), (11, 0, False)]
)
def test_kiosks_are_open_from_half_past_six_to_eleven(
    world: World, hours: int, minutes: int, is_open: bool
) -> None:
    """NOON is noon in Japan, and the hours are Japan's: 6:29, 6:30, 22:59, 23:00."""
    world.reserve()
    world.now = NOON + timedelta(hours=hours, minutes=minutes)
    if is_open:
        world.at_kiosk()
    else:
        assert refused(world.at_kiosk) == "closed"


def test_another_face_makes_no_reservation(world: World) -> None:
    assert refused(world.reserve, os.urandom(32)) == "face"
    like = bytearray(world.face)
    like[0] ^= 0b00000111
    assert score(world.face, bytes(like)) > 900
    world.reserve(bytes(like))


@pytest.mark.parametrize("camera", [b"", b"x" * 31, b"x" * 33])
def test_what_is_no_picture_is_refused(world: World, camera: bytes) -> None:
    assert refused(world.vendor.compare, "card", world.face, camera, now=world.now) == "face-check"


def word(world: World, step: str = "reserve", target: str = "signature", **changes: Any) -> CardWord:
    nonce = world.service.new_nonce()
    signed = world.card.authenticate(PASSWORDS.authentication, reset_statement(step, target, nonce))
    fields = {"nonce": nonce, "certificate": signed.certificate, "signature": signed.signature, **changes}
    return CardWord(**fields)


def test_a_face_check_counts_for_its_card_while_fresh_and_once(world: World, tmp_path: Path) -> None:
    card = world.card.card_id()
    result = world.check(card, world.face, world.face)
    other = world.check("someone-elses", world.face, world.face)
    assert refused(world.service.reserve, "signature", word(world), other) == "face-check"
    altered = result[:-2] + ("AA" if not result.endswith("AA") else "BB")
    assert refused(world.service.reserve, "signature", word(world), altered) == "face-check"
    foreign = FaceVendor(ec.generate_private_key(ec.SECP256R1())).compare(
        card, world.face, world.face, now=world.now
    )
    assert refused(world.service.reserve, "signature", word(world), foreign) == "face-check"
    for rubbish in ("", "a.b.c", "x" * 5000):
        assert refused(world.service.reserve, "signature", word(world), rubbish) == "face-check"
    world.service.reserve("signature", word(world), result)
    assert refused(world.service.reserve, "signature", word(world), result) == "face-check"
    late = world.check(card, world.face, world.face)
    world.now += timedelta(seconds=MAX_AGE + 1)
    assert refused(world.service.reserve, "signature", word(world), late) == "face-check"


def test_a_nonce_is_used_up_before_anything_else(world: World) -> None:
    good = world.check(world.card.card_id(), world.face, world.face)
    made = word(world)
    assert refused(world.service.reserve, "signature", made, "rubbish") == "face-check"
    assert refused(world.service.reserve, "signature", made, good) == "nonce"
    invented = CardWord("A" * 32, made.certificate, made.signature)
    assert refused(world.service.reserve, "signature", invented, good) == "nonce"
    old = word(world)
    world.now += timedelta(minutes=11)
    assert refused(world.service.reserve, "signature", old, good) == "nonce"


def test_a_word_for_one_step_does_not_serve_for_another(world: World) -> None:
    world.reserve()
    new = NewPassword(os.urandom(8), password_digest(NEW))
    assert refused(world.service.reset_at_kiosk, "signature", word(world, "reserve"), new) == "card"
    signed = word(world, "kiosk", "authentication")
    assert refused(world.service.reset_at_kiosk, "signature", signed, new) == "card"


def test_a_card_of_another_authority_or_an_altered_signature_is_refused(world: World, tmp_path: Path) -> None:
    good = world.check(world.card.card_id(), world.face, world.face)
    flipped = word(world)
    bad = CardWord(
        flipped.nonce, flipped.certificate, bytes([flipped.signature[0] ^ 1]) + flipped.signature[1:]
    )
    assert refused(world.service.reserve, "signature", bad, good) == "card"
    for certificate in (b"", b"rubbish"):
        assert (
            refused(world.service.reserve, "signature", word(world, certificate=certificate), good) == "card"
        )
    stranger = World(tmp_path / "elsewhere") if (tmp_path / "elsewhere").mkdir() is None else None
    assert stranger is not None
    nonce = world.service.new_nonce()
    signed = stranger.card.authenticate(
        PASSWORDS.authentication, reset_statement("reserve", "signature", nonce)
    )
    foreign = CardWord(nonce, signed.certificate, signed.signature)
    assert refused(world.service.reserve, "signature", foreign, good) == "card"


@pytest.mark.parametrize("event", ["suspension", "loss", "death"])
def test_a_card_that_has_ended_is_not_reset(world: World, event: str) -> None:
    world.jpki.revoke(world.issued.card, event, now=NOON)
    assert refused(world.reserve) == "card-ended"


def test_without_the_municipalitys_delegation_there_is_only_the_counter(world: World) -> None:
    world.store.set_delegation(CITY, delegated=False, now=0)
    assert refused(world.reserve) == "not-delegated"
    reset_at_counter(
        world.service, world.card, NEW, target="signature", staff="madoguchi-1", documents=["passport"]
    )
    assert len(world.card.sign_document(NEW, b"x").signature) == 256


def test_both_forgotten_go_to_the_counter_which_records_kinds_only(world: World) -> None:
    world.lock("signature")
    world.lock("authentication")
    with pytest.raises(CardLocked):
        world.reserve()
    for target, new in (("signature", NEW), ("authentication", "9876")):
        reset_at_counter(
            world.service,
            world.card,
            new,
            target=target,
            staff="madoguchi-1",
            documents=["passport", "driving-licence"],
        )
    assert len(world.card.authenticate("9876", b"x").signature) == 256
    records = world.store.counter_records()
    assert [record.documents for record in records] == ["driving-licence,passport"] * 2
    assert all(record.copy_reason is None and not record.copy_consent for record in records)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"documents": []}, "documents"),
        ({"documents": ["library-card"]}, "documents"),
        ({"documents": ["passport", "passport"]}, "documents"),
        ({"copy_reason": "本人の申出"}, "copy"),
        ({"copy_consent": True}, "copy"),
        ({"copy_reason": " ", "copy_consent": True}, "copy"),
        ({"copy_reason": "x" * 201, "copy_consent": True}, "copy"),
        ({"staff": "Robert'); DROP"}, "card"),
    ],
)
def test_a_copy_needs_reason_and_consent_and_documents_are_of_known_kinds(
    world: World, options: dict[str, Any], rule: str
) -> None:
    given = {"staff": "madoguchi-1", "documents": ["passport"], **options}
    assert refused(reset_at_counter, world.service, world.card, NEW, target="signature", **given) == rule
    assert world.store.counter_records() == []
    assert len(world.card.sign_document(PASSWORDS.signature, b"x").signature) == 256


def test_with_reason_and_consent_the_copy_is_recorded(world: World) -> None:
    reset_at_counter(
        world.service,
        world.card,
        NEW,
        target="signature",
        staff="madoguchi-1",
        documents=["passport"],
        copy_reason="市長が必要と認めたため",
        copy_consent=True,
    )
    (record,) = world.store.counter_records()
    assert record.copy_consent and record.copy_reason == "市長が必要と認めたため"


@pytest.mark.parametrize("new", ["short", "lower77x", "NODIGITS", "1234567", "", "あいうえおか1", "A1" * 9])
def test_a_password_no_card_takes_costs_no_reservation(world: World, new: str) -> None:
    world.reserve()
    assert refused(world.at_kiosk, new) == "password"
    world.at_kiosk()


def test_the_card_takes_nothing_without_the_authority(world: World, tmp_path: Path) -> None:
    with pytest.raises(CardError):
        world.card.reset_password("signature", NEW, lambda _challenge: bytes(256))
    stranger = rsa.generate_private_key(65537, 2048)
    card = world.card.card_id()

    def sign(signer: Any, **changes: str) -> Any:
        def authorise(challenge: bytes) -> bytes:
            fields = {"kind": "signature", "card": card, "password": NEW, **changes}
            return signer(reset_text(fields["kind"], fields["card"], challenge, fields["password"]))

        return authorise

    for authorise in (
        sign(lambda text: stranger.sign(text, padding.PKCS1v15(), hashes.SHA256())),
        sign(world.jpki.sign_reset, kind="authentication"),
        sign(world.jpki.sign_reset, card="another"),
        sign(world.jpki.sign_reset, password="OTHERPW8"),
        lambda _challenge: world.jpki.sign_reset(reset_text("signature", card, bytes(8), NEW)),
    ):
        with pytest.raises(CardError):
            world.card.reset_password("signature", NEW, authorise)
    assert len(world.card.sign_document(PASSWORDS.signature, b"x").signature) == 256
    # the control: the right one is taken
    world.card.reset_password("signature", NEW, sign(world.jpki.sign_reset))
    assert len(world.card.sign_document(NEW, b"x").signature) == 256


class LookingStore(ResetStore):
    """A broken store that looks first and takes then."""

    def take_reservation(self, *, card: str, target: str, now: int) -> bool:
        with self._transaction() as db:
            found = db.execute("SELECT 1 FROM reservation WHERE card = ?", (card,)).fetchone()
        time.sleep(0.05)
        super().take_reservation(card=card, target=target, now=now)
        return found is not None


def race(world: World, kind: type[ResetStore] = ResetStore) -> list[str]:
    """What four kiosks that ask at the same moment are told."""
    world.reserve()
    words = [word(world, "kiosk") for _ in range(4)]
    services = [world.make_service(kind(world.store._path)) for _ in words]
    answers: list[str] = []
    barrier = threading.Barrier(len(words))

    def ask(service: ResetService, given: CardWord) -> None:
        barrier.wait()
        try:
            service.reset_at_kiosk("signature", given, NewPassword(os.urandom(8), password_digest(NEW)))
            answers.append("authorised")
        except ResetRefused as no:
            answers.append(no.rule)

    threads = [threading.Thread(target=ask, args=pair) for pair in zip(services, words, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(answers)


def test_two_kiosks_at_once_get_one_authorisation(world: World) -> None:
    for _ in range(5):
        assert race(world) == ["authorised", *["no-reservation"] * 3]
    # the control: a store that looks first and takes then is found out
    assert race(world, LookingStore).count("authorised") > 1


def test_over_http_the_same_and_rubbish_is_answered(world: World) -> None:
    server = PinResetServer(
        ("127.0.0.1", 0), world.service, world.vendor, counter_token="t" * 32, profile="demo"
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        client = ResetClient(server.base_url, counter_token="t" * 32)
        reserve_in_app(client, client, world.card, PASSWORDS.authentication, world.face, target="signature")
        reset_at_kiosk(client, world.card, PASSWORDS.authentication, NEW, target="signature")
        assert len(world.card.sign_document(NEW, b"x").signature) == 256
        call = {"target": "signature", "staff": "madoguchi-1", "documents": ["passport"]}
        reset_at_counter(client, world.card, "COUNTER1", **call)
        with pytest.raises(Exception, match="pin-reset"):
            reset_at_counter(
                ResetClient(server.base_url, counter_token="wrong"), world.card, "COUNTER2", **call
            )
        assert (
            refused(reset_at_counter, client, world.card, "COUNTER3", **{**call, "documents": []})
            == "documents"
        )
        for path, form in (
            ("/reservations", {}),
            ("/reservations", {"target": 1, "nonce": [], "certificate": "x", "signature": "", "face": None}),
            ("/kiosk/resets", {"target": "signature"}),
            ("/vendor/face-checks", {"card": "c", "picture": "!", "camera": "!"}),
            ("/unknown", {}),
        ):
            with pytest.raises(Exception, match="pin-reset: status 4"):
                client._post(path, form)
        with pytest.raises(Exception, match="status 413"):
            client._post("/nonces", {"x": "y" * 20_000})
    finally:
        server.shutdown()
        server.server_close()


def test_production_starts_no_mock(world: World) -> None:
    for profile in ("production", None, ""):
        with pytest.raises(SettingsError):
            PinResetServer(("127.0.0.1", 0), world.service, world.vendor, counter_token="t", profile=profile)


def test_nothing_personal_is_kept(world: World) -> None:
    world.reserve()
    path = world.store._path
    # the control: the search finds what is there
    assert world.issued.card.encode() in path.read_bytes()
    world.at_kiosk()
    content = path.read_bytes()
    secrets = [NEW, PASSWORDS.signature, "花子", password_digest(NEW)]
    assert not [word for word in secrets if word.encode() in content]
    assert world.face not in content
