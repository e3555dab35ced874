"""The mock authorities with their keys and their list of issued certificates, in one directory.

Files (0600): anchors/<kind>-ca.der, <kind>-ca.pem, <kind>-ca-key.pem, <kind>-ocsp.pem, <kind>-ocsp-key.pem,
issued.json (`issued`). Several processes may work on it. What is written here is answered at once: every OCSP
answer and every list is made when it is asked for.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import ocsp

from app.counterparts.jpki.errors import JpkiError, NotIssued
from app.counterparts.jpki.issued import REASONS, IssuedList, write_file
from app.counterparts.jpki.profiles import (
    KINDS,
    build_authority,
    build_card_certificate,
    build_responder,
    new_key,
)
from app.registers.card_attributes import CardAttributes

CRL_LIFE: Final = timedelta(hours=24)
OCSP_LIFE: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A card certificate with its key: what goes onto a card."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class IssuedCard:
    """One carrier's certificates. `signature` is None under 15. `card` is a random id of the mock's own list.

    `carrier` is "card", or "phone" for the phone that belongs to `card`.
    """

    card: str
    signature: IssuedCertificate | None
    authentication: IssuedCertificate
    carrier: str = "card"


class MockJpki:
    """Both authorities, opened from `directory`; made there first if it is empty."""

    def __init__(
        self, directory: Path, *, now: datetime, keys: Callable[[], rsa.RSAPrivateKey] = new_key
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory
        self._keys = keys
        self.issued = IssuedList(directory)
        with self.issued.locked():
            for kind in KINDS:
                if not (directory / f"{kind}-ca.pem").exists():
                    self._make(kind, now)
        self.certificates = {kind: self._certificate(f"{kind}-ca.pem") for kind in KINDS}
        self._authority_keys = {kind: self._key(f"{kind}-ca-key.pem") for kind in KINDS}
        self._responder_keys = {kind: self._key(f"{kind}-ocsp-key.pem") for kind in KINDS}

    @property
    def directory(self) -> Path:
        """Where everything of the mock lies."""
        return self._directory

    @property
    def anchors(self) -> Path:
        """Directory with the authorities' certificates (DER), for
        `app.identity.card_certificate.load_card_trust`.
        """
        return self._directory / "anchors"

    def issue(
        self,
        attributes: CardAttributes,
        *,
        now: datetime,
        not_after: datetime | None = None,
        holder: str = "",
    ) -> IssuedCard:
        """Issue both certificates (under 15: authentication only) and remember their serials.

        `holder`: the resident's number in the register, whose events then reach this card.
        """
        card, made = secrets.token_hex(8), self._make_certificates("card", attributes, now, not_after)
        self.issued.add({kind: entry.certificate for kind, entry in made.items()}, card, holder, now=now)
        return IssuedCard(card, made.get("signature"), made["authentication"])

    def issue_phone(
        self, attributes: CardAttributes, card: str, *, now: datetime, not_after: datetime
    ) -> IssuedCard:
        """Issue both certificates for the phone of `card`. Raises: as `IssuedList.add_phone`.

        Who asks is not checked here: `phone_carrier`.
        """
        made = self._make_certificates("phone", attributes, now, not_after)
        self.issued.add_phone({kind: entry.certificate for kind, entry in made.items()}, card, now=now)
        return IssuedCard(card, made.get("signature"), made["authentication"], "phone")

    def _make_certificates(
        self, carrier: str, attributes: CardAttributes, now: datetime, not_after: datetime | None
    ) -> dict[str, IssuedCertificate]:
        made: dict[str, IssuedCertificate] = {}
        for kind in KINDS:
            key = self._keys()
            with contextlib.suppress(NotIssued):
                certificate = build_card_certificate(
                    kind,
                    key.public_key(),
                    attributes,
                    authority=self.certificates[kind],
                    authority_key=self._authority_keys[kind],
                    now=now,
                    not_after=not_after,
                    carrier=carrier,
                )
                made[kind] = IssuedCertificate(certificate, key)
        return made

    def revoke(self, card: str, event: str, *, now: datetime) -> list[str]:
        """As `IssuedList.revoke`."""
        return self.issued.revoke(card, event, now=now)

    def sign_reset(self, text: bytes) -> bytes:
        """The signature (256 bytes) under which a card takes a new password (`reset_text`). Who asks is not
        checked here."""
        return self._authority_keys["authentication"].sign(text, padding.PKCS1v15(), hashes.SHA256())

    def find_card(self, serial: str) -> str | None:
        """The card a serial (hex) was issued to."""
        return self.issued.find_card(serial)

    def build_crl(self, kind: str, *, now: datetime) -> bytes:
        """The authority's list, DER, next update after 24 hours."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificates[kind].subject)
            .last_update(now)
            .next_update(now + CRL_LIFE)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._authority_keys[kind].public_key()),
                critical=False,
            )
            .add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
        )
        for name, entry in self._read().items():
            of, _, serial = name.partition(":")
            if of == kind and entry["revoked"]:
                builder = builder.add_revoked_certificate(
                    x509.RevokedCertificateBuilder()
                    .serial_number(int(serial, 16))
                    .revocation_date(datetime.fromtimestamp(entry["revoked"], UTC))
                    .add_extension(x509.CRLReason(REASONS[entry["reason"]]), critical=False)
                    .build()
                )
        crl = builder.sign(self._authority_keys[kind], hashes.SHA256())
        return crl.public_bytes(serialization.Encoding.DER)

    def answer_ocsp(self, kind: str, request: bytes, *, now: datetime) -> bytes:
        """The OCSP response (DER) to a request (DER); a damaged request gets MALFORMED_REQUEST."""
        try:
            question = ocsp.load_der_ocsp_request(request)
            algorithm = question.hash_algorithm
            nonce = next((e.value for e in question.extensions if isinstance(e.value, x509.OCSPNonce)), None)
        except ValueError:
            return _failure(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
        authority = self.certificates[kind]
        own = _name_hashes(authority, algorithm)
        entry = self._read().get(f"{kind}:{question.serial_number:x}")
        if (question.issuer_name_hash, question.issuer_key_hash) != own:
            return _failure(ocsp.OCSPResponseStatus.UNAUTHORIZED)
        status, revoked, reason = ocsp.OCSPCertStatus.UNKNOWN, None, None
        if entry is not None and entry["revoked"]:
            status = ocsp.OCSPCertStatus.REVOKED
            revoked, reason = datetime.fromtimestamp(entry["revoked"], UTC), REASONS[entry["reason"]]
        elif entry is not None:
            status = ocsp.OCSPCertStatus.GOOD
        responder = self._responder(kind, now)
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response_by_hash(
                issuer_name_hash=question.issuer_name_hash,
                issuer_key_hash=question.issuer_key_hash,
                serial_number=question.serial_number,
                algorithm=algorithm,
                cert_status=status,
                this_update=now.replace(microsecond=0),
                next_update=now.replace(microsecond=0) + OCSP_LIFE,
                revocation_time=revoked,
                revocation_reason=reason,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, responder)
            .certificates([responder])
        )
        if nonce is not None:
            builder = builder.add_extension(nonce, critical=False)
        response = builder.sign(self._responder_keys[kind], hashes.SHA256())
        return response.public_bytes(serialization.Encoding.DER)

    def _responder(self, kind: str, now: datetime) -> x509.Certificate:
        # Renewed on the way: a mock that runs for months must not die of its own responder.
        certificate = self._certificate(f"{kind}-ocsp.pem")
        if (
            now + timedelta(days=1) > certificate.not_valid_after_utc
            or now < certificate.not_valid_before_utc
        ):
            certificate = build_responder(
                kind,
                self._responder_keys[kind].public_key(),
                self.certificates[kind],
                self._authority_keys[kind],
                now,
            )
            write_file(self._directory / f"{kind}-ocsp.pem", _pem(certificate))
        return certificate

    def _make(self, kind: str, now: datetime) -> None:
        key, responder_key = self._keys(), self._keys()
        authority = build_authority(kind, key, now)
        responder = build_responder(kind, responder_key.public_key(), authority, key, now)
        write_file(self._directory / f"{kind}-ca-key.pem", _pem_key(key))
        write_file(self._directory / f"{kind}-ocsp-key.pem", _pem_key(responder_key))
        write_file(self._directory / f"{kind}-ocsp.pem", _pem(responder))
        (self._directory / "anchors").mkdir(exist_ok=True)
        der = authority.public_bytes(serialization.Encoding.DER)
        write_file(self._directory / "anchors" / f"{kind}-ca.der", der)
        # Last: its presence says that everything else of this kind is there.
        write_file(self._directory / f"{kind}-ca.pem", _pem(authority))

    def _certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self._directory / name).read_bytes())

    def _key(self, name: str) -> rsa.RSAPrivateKey:
        key = serialization.load_pem_private_key((self._directory / name).read_bytes(), None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise JpkiError("bad-key", f"{name} is no RSA key")
        return key

    def _read(self) -> dict[str, Any]:
        return self.issued.read()


def _failure(status: ocsp.OCSPResponseStatus) -> bytes:
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(serialization.Encoding.DER)


def _name_hashes(authority: x509.Certificate, algorithm: hashes.HashAlgorithm) -> tuple[bytes, bytes]:
    # The same computation as the asker's (RFC 6960 section 4.1.1), by asking about our own certificate.
    own = ocsp.OCSPRequestBuilder().add_certificate(authority, authority, algorithm).build()
    return own.issuer_name_hash, own.issuer_key_hash


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
