"""A card's certificate: from which authority, of which kind, in its dates, and the attributes in it.

Two kinds, on a card or a phone, with their own authorities (facts: JPKI profiles): 署名用 (name, sex, birth
date, address in the SAN; key usage digitalSignature + nonRepudiation) and 利用者証明用 (no attributes;
digitalSignature).
RSA-2048, SHA-256, one tier. Whether it was revoked is another question (`status`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtensionOID, ObjectIdentifier, SignatureAlgorithmOID

from app.errors import SettingsError
from app.identity.refusals import (
    CertificateExpired,
    CertificateUnreadable,
    WrongAuthority,
    WrongProfile,
)
from app.registers.card_attributes import CardAttributes

MAX_CERTIFICATE_BYTES: Final = 8192
MAX_ATTRIBUTE: Final = 400
ATTRIBUTE_ARC: Final = "1.2.392.200149.8.5.5."
# Cards only: the policies of real phone-borne certificates are unconfirmed, and what is unconfirmed is refused.
REAL_POLICIES: Final = {
    "signature": ("1.2.392.200149.8.5.1.1.20",),
    "authentication": ("1.2.392.200149.8.5.1.3.30",),
}
# Test cards, then the mock's phones.
TEST_POLICIES: Final = {
    "signature": ("1.2.392.200149.8.5.1.0.20", "1.2.392.200149.8.5.1.0.40"),
    "authentication": ("1.2.392.200149.8.5.1.0.30", "1.2.392.200149.8.5.1.0.50"),
}
_KNOWN_CRITICAL: Final = {
    ExtensionOID.KEY_USAGE,
    ExtensionOID.CERTIFICATE_POLICIES,
    ExtensionOID.BASIC_CONSTRAINTS,
}


class CardKind(StrEnum):
    """Which of the two certificates."""

    SIGNATURE = "signature"
    AUTHENTICATION = "authentication"


@dataclass(frozen=True, slots=True)
class CardTrust:
    """The pinned authorities by kind, and the policies of which a certificate of each kind carries exactly one."""

    authorities: dict[CardKind, tuple[x509.Certificate, ...]]
    policies: dict[CardKind, tuple[ObjectIdentifier, ...]]


@dataclass(frozen=True, slots=True)
class CardCertificate:
    """A certificate that fits kind, authority and dates. `attributes` only in the signature certificate."""

    kind: CardKind
    x509: x509.Certificate
    authority: x509.Certificate
    attributes: CardAttributes | None

    @property
    def issuer(self) -> str:
        """SHA-256 of the issuer's DER name, hex: with `serial` it names the certificate for ever."""
        return hashlib.sha256(self.x509.issuer.public_bytes()).hexdigest()

    @property
    def serial(self) -> str:
        """Serial number, lower-case hex."""
        return f"{self.x509.serial_number:x}"


def load_card_trust(directory: Path, *, profile: str = "production") -> CardTrust:
    """Read the pinned authorities: DER files `signature-*.der` and `authentication-*.der` in `directory`.

    A mock authority is refused in production and a real one anywhere else. The profile has to be said for a
    mock to be accepted: who forgets it gets the strict case. Raises: SettingsError.
    """
    authorities: dict[CardKind, tuple[x509.Certificate, ...]] = {}
    for kind in CardKind:
        try:
            paths = sorted(directory.glob(f"{kind}-*.der"))
            found = tuple(x509.load_der_x509_certificate(path.read_bytes()) for path in paths)
        except (OSError, ValueError) as error:
            raise SettingsError("card-authorities", "a card authority's file cannot be read") from error
        if not found:
            raise SettingsError("card-authorities", f"no authority for {kind} certificates")
        for authority in found:
            if ("MOCK" in authority.subject.rfc4514_string()) == (profile == "production"):
                raise SettingsError(
                    "card-authorities",
                    f"mock (模擬) and real card authorities never mix; the profile is {profile}",
                )
        authorities[kind] = found
    arcs = REAL_POLICIES if profile == "production" else TEST_POLICIES
    policies = {kind: tuple(ObjectIdentifier(arc) for arc in arcs[kind]) for kind in CardKind}
    return CardTrust(authorities, policies)


def check_certificate(der: bytes, kind: CardKind, trust: CardTrust, *, now: datetime) -> CardCertificate:
    """The certificate, if its authority, profile and dates are right.

    Raises: CertificateUnreadable, WrongAuthority, WrongProfile, CertificateExpired.
    """
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise CertificateUnreadable
    try:
        found = x509.load_der_x509_certificate(der)
        authority = _authority(found, trust.authorities[kind], now)
        if authority is None:
            raise WrongAuthority
        if not _fits_profile(found, kind, trust.policies[kind]):
            raise WrongProfile
        attributes = _attributes(found, kind)
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm, x509.DuplicateExtension):
        # cryptography reports damaged fields and extensions lazily, and not all of it as ValueError.
        raise CertificateUnreadable from None
    if not found.not_valid_before_utc <= now <= found.not_valid_after_utc:
        raise CertificateExpired
    return CardCertificate(kind, found, authority, attributes)


def _authority(
    found: x509.Certificate, authorities: tuple[x509.Certificate, ...], now: datetime
) -> x509.Certificate | None:
    if found.signature_algorithm_oid != SignatureAlgorithmOID.RSA_WITH_SHA256:
        return None
    for authority in authorities:
        try:
            # Compares the names byte for byte and checks the signature; skipping this is account takeover.
            found.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            continue
        if not authority.not_valid_before_utc <= now <= authority.not_valid_after_utc:
            continue
        if _same_key_identifier(found, authority):
            return authority
    return None


def _same_key_identifier(found: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        said = found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return False
    return said == own


def _fits_profile(found: x509.Certificate, kind: CardKind, allowed: tuple[ObjectIdentifier, ...]) -> bool:
    key = found.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != 2048 or found.version is not x509.Version.v3:
        return False
    if any(e.critical and e.oid not in _KNOWN_CRITICAL for e in found.extensions):
        return False
    try:
        usage = found.extensions.get_extension_for_class(x509.KeyUsage)
        policies = found.extensions.get_extension_for_class(x509.CertificatePolicies)
    except x509.ExtensionNotFound:
        return False
    wanted = x509.KeyUsage(
        digital_signature=True,
        content_commitment=kind is CardKind.SIGNATURE,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    if not usage.critical or usage.value != wanted:
        return False
    try:
        if found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
    except x509.ExtensionNotFound:
        pass
    said = [policy.policy_identifier for policy in policies.value]
    return len(said) == 1 and said[0] in allowed


def _attributes(found: x509.Certificate, kind: CardKind) -> CardAttributes | None:
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    fields: dict[str, str] = {}
    for name in names:
        if isinstance(name, x509.OtherName) and name.type_id.dotted_string.startswith(ATTRIBUTE_ARC):
            number = name.type_id.dotted_string.removeprefix(ATTRIBUTE_ARC)
            if number in fields:
                raise ValueError("an attribute appears twice")
            fields[number] = _utf8_string(name.value)
    if kind is CardKind.AUTHENTICATION:
        if fields:
            raise WrongProfile
        return None
    if set(fields) != {"1", "2", "3", "4", "5", "6"}:
        raise WrongProfile
    return CardAttributes(
        name=fields["1"],
        name_substitutes=fields["2"],
        sex=fields["3"],
        birthdate=fields["4"],
        address=fields["5"],
        address_substitutes=fields["6"],
    )


def _utf8_string(der: bytes) -> str:
    """The text of a DER UTF8String, in its one encoding; never normalised."""
    if len(der) < 2 or der[0] != 0x0C:
        raise ValueError("not a UTF8String")
    if der[1] < 0x80:
        size, begin = der[1], 2
    else:
        count = der[1] & 0x7F
        size, begin = int.from_bytes(der[2 : 2 + count], "big"), 2 + count
        if not 1 <= count <= 2 or size < 0x80 or (count == 2 and size < 0x100):
            raise ValueError("not DER")
    if len(der) != begin + size or size > 4 * MAX_ATTRIBUTE:
        raise ValueError("not DER")
    return der[begin:].decode("utf-8")
