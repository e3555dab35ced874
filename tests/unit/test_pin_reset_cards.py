"""Password reset: whose card it is. Forged, ended and phone-borne certificates get neither a reservation nor a reset."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from app.counterparts.jpki.reset_text import password_digest
from app.counterparts.pin_reset.face_vendor import MAX_AGE
from app.counterparts.pin_reset.service import CardWord, NewPassword, reset_statement
from app.counterparts.pin_reset.station import reset_at_counter
from tests.support.door_house import HANAKO
from tests.unit.test_pin_reset import NEW, NOON, World, refused, word


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def forged(world: World, *, by_the_authority: bool) -> CardWord:
    """A certificate with the names, dates and serial of the card's own, and a key that its maker has."""
    own = x509.load_der_x509_certificate(word(world).certificate)
    key = rsa.generate_private_key(65537, 2048)
    builder = (
        x509.CertificateBuilder()
        .subject_name(own.subject)
        .issuer_name(own.issuer)
        .serial_number(own.serial_number)
        .not_valid_before(own.not_valid_before_utc)
        .not_valid_after(own.not_valid_after_utc)
        .public_key(key.public_key())
    )
    signer = world.jpki._authority_keys["authentication"] if by_the_authority else key
    nonce = world.service.new_nonce()
    signature = key.sign(reset_statement("kiosk", "signature", nonce), padding.PKCS1v15(), hashes.SHA256())
    return CardWord(nonce, builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER), signature)


def at_kiosk(world: World, said: CardWord) -> bytes:
    return world.service.reset_at_kiosk("signature", said, NewPassword(os.urandom(8), password_digest(NEW)))


def test_a_certificate_with_the_serial_of_another_card_takes_no_reservation(world: World) -> None:
    world.reserve()
    assert refused(at_kiosk, world, forged(world, by_the_authority=False)) == "card"
    # the control: it is the authority's signature that was missing, and the reservation is still there
    assert len(at_kiosk(world, forged(world, by_the_authority=True))) == 256


def test_an_expired_card_reserves_nothing_at_the_moment_after_its_last(world: World) -> None:
    last = x509.load_der_x509_certificate(word(world).certificate).not_valid_after_utc
    world.now = last + timedelta(seconds=1)
    assert refused(world.reserve) == "card-ended"
    world.now = last
    world.reserve()


def test_the_certificate_of_a_phone_is_no_card(world: World) -> None:
    assert world.issued.signature is not None
    phone = world.jpki.issue_phone(HANAKO, world.issued.card, now=NOON, not_after=NOON + timedelta(days=365))
    nonce = world.service.new_nonce()
    statement = reset_statement("kiosk", "signature", nonce)
    said = CardWord(
        nonce,
        phone.authentication.certificate.public_bytes(Encoding.DER),
        phone.authentication.key.sign(statement, padding.PKCS1v15(), hashes.SHA256()),
    )
    world.reserve()
    assert refused(at_kiosk, world, said) == "card"
    # the control: the card that the phone belongs to
    assert len(at_kiosk(world, word(world, "kiosk"))) == 256


def test_a_face_check_of_the_future_is_none(world: World) -> None:
    result = world.check(world.card.card_id(), world.face, world.face)
    world.now -= timedelta(seconds=1)
    assert refused(world.service.reserve, "signature", word(world), result) == "face-check"
    world.now = NOON + timedelta(seconds=MAX_AGE)
    world.service.reserve("signature", word(world), result)


def test_a_reset_at_the_counter_ends_the_cards_reservations(world: World) -> None:
    """Whoever reserved before the holder came to the counter has nothing in hand afterwards."""
    world.reserve()
    reset_at_counter(
        world.service, world.card, NEW, target="signature", staff="madoguchi-1", documents=["passport"]
    )
    assert refused(at_kiosk, world, word(world, "kiosk")) == "no-reservation"
