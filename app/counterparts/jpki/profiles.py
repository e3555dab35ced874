"""The shapes of the certificates: authorities, the two card certificates, the OCSP responder. Names say
MOCK throughout.

Shapes after the JPKI facts (RSA-2048, SHA-256, one tier, attributes as otherName UTF8Strings); policy arcs
are those of test cards. Differences from the real thing are on purpose: names, policies, and a responder
with id-pkix-ocsp-nocheck.
"""

from __future__ import annotations

import secrets
from datetime import date, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    NameOID,
    ObjectIdentifier,
)

from app.counterparts.jpki.errors import NotIssued
from app.registers.card_attributes import CardAttributes

ATTRIBUTE_ARC: Final = "1.2.392.200149.8.5.5."
POLICIES: Final = {
    "card": {"signature": "1.2.392.200149.8.5.1.0.20", "authentication": "1.2.392.200149.8.5.1.0.30"},
    # After …1.1.40 for real phones, which is unconfirmed; the 50 is a number of this mock alone.
    "phone": {"signature": "1.2.392.200149.8.5.1.0.40", "authentication": "1.2.392.200149.8.5.1.0.50"},
}
"""Carrier → kind → certificate policy, in the arc of test cards."""
KINDS: Final = ("signature", "authentication")
CARRIERS: Final = ("card", "phone")
AUTHORITY_YEARS: Final = 10
RESPONDER_DAYS: Final = 30
MIN_SIGNATURE_AGE: Final = 15

_UNITS: Final = {
    "signature": "MOCK JPKI for digital signature",
    "authentication": "MOCK JPKI for user authentication",
}
_ALTERNATIVE: Final = x509.DirectoryName(
    x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "JP"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "模擬 公的個人認証サービス (MOCK)"),
        ]
    )
)


def new_key() -> rsa.RSAPrivateKey:
    """RSA-2048, as on the card."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def authority_name(kind: str) -> x509.Name:
    """The authority's name; MOCK in every part that a reader could take for the real one."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "JP"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "MOCK JPKI"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, _UNITS[kind]),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "MOCK Agency of Mihon (模擬)"),
        ]
    )


def build_authority(kind: str, key: rsa.RSAPrivateKey, now: datetime) -> x509.Certificate:
    """The self-signed certificate of one authority."""
    public = key.public_key()
    return (
        _certificate(authority_name(kind), authority_name(kind), public, now - timedelta(minutes=5))
        .not_valid_after(now.replace(microsecond=0) + timedelta(days=365 * AUTHORITY_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.SubjectAlternativeName([_ALTERNATIVE]), critical=False)
        .sign(key, hashes.SHA256())
    )


def build_card_certificate(
    kind: str,
    public: rsa.RSAPublicKey,
    attributes: CardAttributes,
    *,
    authority: x509.Certificate,
    authority_key: rsa.RSAPrivateKey,
    now: datetime,
    not_after: datetime | None = None,
    carrier: str = "card",
) -> x509.Certificate:
    """One certificate of a card or a phone (`carrier`). `not_after` takes the place of the fifth birthday.

    Raises: NotIssued under 15.
    """
    if kind == "signature" and _age(attributes, now.date()) < MIN_SIGNATURE_AGE:
        raise NotIssued("under-15", "no signature certificate under 15")
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "JP"),
            # A number like the issue number of the real ones, and no name.
            x509.NameAttribute(NameOID.COMMON_NAME, f"MOCK{secrets.randbelow(10**14):014d}"),
        ]
    )
    builder = (
        _certificate(subject, authority.subject, public, now - timedelta(minutes=5))
        .not_valid_after(not_after or _fifth_birthday(attributes, now))
        .add_extension(_usage(digital_signature=True, content_commitment=kind == "signature"), critical=True)
        .add_extension(
            x509.CertificatePolicies(
                [x509.PolicyInformation(ObjectIdentifier(POLICIES[carrier][kind]), None)]
            ),
            critical=True,
        )
        .add_extension(x509.IssuerAlternativeName([_ALTERNATIVE]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.CRLDistributionPoints(
                [x509.DistributionPoint([x509.DirectoryName(authority.subject)], None, None, None)]
            ),
            critical=False,
        )
        .add_extension(
            x509.AuthorityInformationAccess(
                [
                    x509.AccessDescription(
                        AuthorityInformationAccessOID.OCSP,
                        x509.UniformResourceIdentifier(f"http://mock-jpki.example/{kind}/ocsp"),
                    )
                ]
            ),
            critical=False,
        )
    )
    if kind == "signature":
        builder = builder.add_extension(
            x509.SubjectAlternativeName(attribute_names(attributes)), critical=False
        )
    return builder.sign(authority_key, hashes.SHA256())


def build_responder(
    kind: str,
    public: rsa.RSAPublicKey,
    authority: x509.Certificate,
    authority_key: rsa.RSAPrivateKey,
    now: datetime,
) -> x509.Certificate:
    """The certificate of the OCSP responder (RFC 6960 section 4.2.2.2)."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"MOCK JPKI OCSP responder {kind}")])
    return (
        _certificate(subject, authority.subject, public, now - timedelta(minutes=5))
        .not_valid_after(now.replace(microsecond=0) + timedelta(days=RESPONDER_DAYS))
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        .add_extension(x509.OCSPNoCheck(), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )


def attribute_names(attributes: CardAttributes) -> list[x509.GeneralName]:
    """The six otherNames of the signature certificate, values as DER UTF8String."""
    values = (
        attributes.name,
        attributes.name_substitutes,
        attributes.sex,
        attributes.birthdate,
        attributes.address,
        attributes.address_substitutes,
    )
    return [
        x509.OtherName(ObjectIdentifier(f"{ATTRIBUTE_ARC}{number}"), _utf8_string(value))
        for number, value in enumerate(values, 1)
    ]


def read_attributes(certificate: x509.Certificate) -> CardAttributes:
    """Inverse of `attribute_names`, for a signature certificate of the mock's own. Raises: NotIssued."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise NotIssued("no-attributes", "the certificate carries no attributes") from None
    texts = [_utf8_text(name.value) for name in names if isinstance(name, x509.OtherName)]
    if len(texts) != 6:
        raise NotIssued("no-attributes", "the certificate carries other attributes")
    return CardAttributes(*texts)


def birth_date(attributes: CardAttributes) -> date:
    """EYYYYMMDD as a date (YYYY of the Common Era); day or month 00 (unknown) count as 1."""
    text = attributes.birthdate
    return date(int(text[1:5]), int(text[5:7]) or 1, int(text[7:9]) or 1)


def _certificate(
    subject: x509.Name, issuer: x509.Name, public: rsa.RSAPublicKey, begin: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(secrets.randbits(63) | 1 << 62)
        .not_valid_before(begin.replace(microsecond=0))
    )


def _usage(
    *,
    digital_signature: bool = False,
    content_commitment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=content_commitment,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _utf8_string(text: str) -> bytes:
    data = text.encode("utf-8")
    if len(data) < 0x80:
        return bytes([0x0C, len(data)]) + data
    if len(data) < 0x100:
        return bytes([0x0C, 0x81, len(data)]) + data
    return bytes([0x0C, 0x82]) + len(data).to_bytes(2, "big") + data


def _utf8_text(der: bytes) -> str:
    # Lengths as `_utf8_string` writes them: one byte, or one or two after 0x81 or 0x82.
    return der[2 if der[1] < 0x80 else der[1] - 0x7E :].decode("utf-8")


def _age(attributes: CardAttributes, today: date) -> int:
    born = birth_date(attributes)
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def _fifth_birthday(attributes: CardAttributes, now: datetime) -> datetime:
    born = birth_date(attributes)
    day = 28 if (born.month, born.day) == (2, 29) else born.day
    passed = (now.month, now.day) >= (born.month, day)
    return datetime(now.year + (5 if passed else 4), born.month, day, tzinfo=now.tzinfo)
