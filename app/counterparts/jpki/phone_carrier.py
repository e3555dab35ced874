"""The phone-borne certificates (スマホ用電子証明書, 模擬/MOCK): applied for with the card, kept in a file of their own.

A second kind of carrier: its own keys and passwords, its own policies (`profiles.POLICIES`), the token file says
JPKIAPGPSETOKEN; at the reader it behaves like a card. The attributes come from the card's certificate, whose
key signs the application. As the facts (3.6) say: one phone a card, the card must be valid, and what ends the
card's certificate ends the phone's of the same kind (this last is unconfirmed).

Unconfirmed too, and chosen here: the same authorities, the same application and file ids, the same two
passwords with 5 and 3 tries, and an end not after that of the card's certificate.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from app.counterparts.jpki.authority import IssuedCard, MockJpki
from app.counterparts.jpki.card_file import is_password, write_card
from app.counterparts.jpki.errors import JpkiError, NotIssued
from app.counterparts.jpki.profiles import read_attributes
from mobile_api.client import CardSignature

APPLICATION = b"MOCK JPKI application for phone-borne certificates\n"


class SigningCard(Protocol):
    """The card in the reader (`reader.CardReader`)."""

    def sign_document(self, password: str, data: bytes) -> CardSignature:
        """Sign with the 署名用 key."""
        ...


def issue_phone(
    authority: MockJpki,
    card: SigningCard,
    card_password: str,
    path: Path,
    signature_password: str,
    pin: str,
    *,
    now: datetime,
) -> IssuedCard:
    """Let the card sign the application, issue both certificates, and write the phone's file (0600).

    Raises: NotIssued("card-not-valid", "phone-exists"), WrongPin, CardLocked, CardError (no 署名用 on the card),
    JpkiError("bad-password") before the card is asked.
    """
    if not is_password("signature", signature_password) or not is_password("authentication", pin):
        raise JpkiError("bad-password", "6 to 16 characters A-Z and 0-9 with one of each, and four digits")
    application = APPLICATION + secrets.token_bytes(32)
    signed = card.sign_document(card_password, application)
    certificate = check_application(authority, application, signed, now=now)
    owner = authority.find_card(f"{certificate.serial_number:x}")
    if owner is None:
        raise NotIssued("card-not-valid", "this authority does not know the card")
    attributes, until = read_attributes(certificate), certificate.not_valid_after_utc
    issued = authority.issue_phone(attributes, owner, now=now, not_after=until)
    authorities = {
        kind: found.public_bytes(serialization.Encoding.DER) for kind, found in authority.certificates.items()
    }
    write_card(path, issued, authorities, signature_password=signature_password, pin=pin)
    return issued


def check_application(
    authority: MockJpki, application: bytes, signed: CardSignature, *, now: datetime
) -> x509.Certificate:
    """The card's signature certificate, if its key signed the application. Raises: NotIssued("card-not-valid")."""
    try:
        certificate = x509.load_der_x509_certificate(signed.certificate)
        certificate.verify_directly_issued_by(authority.certificates["signature"])
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise TypeError("not an RSA key")
        key.verify(signed.signature, application, padding.PKCS1v15(), hashes.SHA256())
    except (ValueError, TypeError, InvalidSignature):
        raise NotIssued(
            "card-not-valid", "the application was not signed by a card of this authority"
        ) from None
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise NotIssued("card-not-valid", "the card's certificate is not in its dates")
    return certificate
