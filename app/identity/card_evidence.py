"""The city's check of one card's evidence, in one numbered walk. The caller has consumed the nonce before.

 1. the statement is for this city, purpose, device keys and request
 2. the certificate is of the right kind, from a pinned authority, in its dates
 3. the card's key signed exactly the statement
 4. the certificate is not revoked (worker only: the register gate has no way out)

The order answers cheap questions first and asks the authority only about certificates that really signed.
Nothing is stored here; what may be kept is `CardIdentity`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from app.identity.card_certificate import CardKind, CardTrust, check_certificate
from app.identity.refusals import BadCardSignature, WrongProfile
from app.identity.statement import ExpectedStatement, check_statement
from app.identity.status import StatusRecord, StatusSource
from app.registers.card_attributes import CardAttributes

__all__ = [
    "CardChecker",
    "CardIdentity",
    "CardKind",
    "CardTrust",
    "OfflineCardChecker",
    "check_card_evidence",
]


@dataclass(frozen=True, slots=True)
class CardIdentity:
    """Whose card it was.

    issuer      SHA-256 of the issuer's DER name, hex (64 characters)
    serial      serial number, hex; with issuer it names the certificate
    kind        which of the two certificates
    attributes  name, sex, birth date, address: of the signature certificate only; None otherwise
    status      what is kept of the revocation check; None when it was not asked (register gate)
    """

    issuer: str
    serial: str
    kind: CardKind
    attributes: CardAttributes | None
    status: StatusRecord | None


def check_card_evidence(
    statement: str,
    certificate: bytes,
    signature: bytes,
    *,
    kind: CardKind,
    expected: ExpectedStatement,
    trust: CardTrust,
    status: StatusSource | None,
    now: datetime,
) -> CardIdentity:
    """Walk 1 to 4. `certificate` DER, `signature` over the statement's UTF-8 bytes; `status` None leaves 4
    out.

    Raises: a CardRefused (app.identity.refusals).
    """
    check_statement(statement, expected, now=now)  # 1
    found = check_certificate(certificate, kind, trust, now=now)  # 2
    key = found.x509.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise WrongProfile
    try:  # 3
        key.verify(signature, statement.encode("utf-8"), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise BadCardSignature from None
    record = status.ask(found, now=now) if status is not None else None  # 4
    return CardIdentity(found.issuer, found.serial, kind, found.attributes, record)


class OfflineCardChecker:
    """Steps 1 to 3, for the register gate: everything a certificate and a signature show by themselves."""

    def __init__(self, trust: CardTrust, city: str) -> None:
        self._trust = trust
        self._city = city
        self._status: StatusSource | None = None

    @property
    def city(self) -> str:
        """The city for which statements are accepted."""
        return self._city

    def check_signature(
        self,
        statement: str,
        certificate: bytes,
        signature: bytes,
        *,
        purpose: str,
        request_digest: str,
        now: datetime,
        signing_key: str | None = None,
        encryption_key: str | None = None,
    ) -> CardIdentity:
        """Evidence by the 署名用 certificate; the identity has attributes. Raises CardRefused."""
        expected = ExpectedStatement(self._city, purpose, request_digest, signing_key, encryption_key)
        return self._check(CardKind.SIGNATURE, statement, certificate, signature, expected, now)

    def check_authentication(
        self,
        statement: str,
        certificate: bytes,
        signature: bytes,
        *,
        purpose: str,
        request_digest: str,
        now: datetime,
        signing_key: str | None = None,
        encryption_key: str | None = None,
    ) -> CardIdentity:
        """Evidence by the 利用者証明用 certificate. Raises CardRefused."""
        expected = ExpectedStatement(self._city, purpose, request_digest, signing_key, encryption_key)
        return self._check(CardKind.AUTHENTICATION, statement, certificate, signature, expected, now)

    def _check(
        self,
        kind: CardKind,
        statement: str,
        certificate: bytes,
        signature: bytes,
        expected: ExpectedStatement,
        now: datetime,
    ) -> CardIdentity:
        return check_card_evidence(
            statement,
            certificate,
            signature,
            kind=kind,
            expected=expected,
            trust=self._trust,
            status=self._status,
            now=now,
        )


class CardChecker(OfflineCardChecker):
    """Steps 1 to 4, for the issuance worker; revoked and unverifiable stop everything."""

    def __init__(self, trust: CardTrust, city: str, status: StatusSource) -> None:
        super().__init__(trust, city)
        self._status = status
