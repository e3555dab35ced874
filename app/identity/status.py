"""Was a card's certificate revoked: OCSP first, the daily list as the fallback, and "unverifiable is never
valid".

Sources: RFC 6960 (OCSP), RFC 5280 section 5 (CRL). The authority's own addresses are settings, never taken
from the certificate that is being checked. What is kept of a question: reference, time, method, serial.
Nothing else.
"""

from __future__ import annotations

import hmac
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.client import HTTPException
from typing import Any, Final, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from app.identity.card_certificate import CardCertificate, CardKind
from app.identity.refusals import CertificateRevoked, StatusUnverifiable

MAX_OCSP_BYTES: Final = 64 << 10
MAX_CRL_BYTES: Final = 16 << 20
MAX_OCSP_AGE: Final = timedelta(hours=1)
MAX_CRL_AGE: Final = timedelta(hours=48)
CLOCK_SKEW: Final = timedelta(minutes=5)
TIMEOUT_SECONDS: Final = 10.0
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)

_CREDENTIAL: Final = re.compile(r"[A-Za-z0-9._~+/=-]{0,512}")

Fetch = Callable[[str, bytes | None, int], bytes]
"""(url, body for POST or None for GET, largest answer) → bytes. Raises OSError."""


@dataclass(frozen=True, slots=True)
class StatusRecord:
    """What is kept. reference: random hex; method: "ocsp" or "crl"; at: when it was asked (UTC); serial:
    hex.
    """

    reference: str
    method: str
    at: datetime
    serial: str


@dataclass(frozen=True, slots=True)
class StatusAddresses:
    """Where one authority answers."""

    ocsp: str
    crl: str


class StatusSource(Protocol):
    """Who can say whether a certificate was revoked."""

    def ask(self, certificate: CardCertificate, *, now: datetime) -> StatusRecord:
        """Return when it is good. Raises: CertificateRevoked, StatusUnverifiable."""
        ...


class CardStatusClient:
    """The real source: asks the authority over HTTP."""

    def __init__(
        self,
        addresses: dict[CardKind, StatusAddresses],
        *,
        fetch: Fetch | None = None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._addresses = addresses
        self._fetch = fetch or fetch_over_http
        self._random = random

    def ask(self, certificate: CardCertificate, *, now: datetime) -> StatusRecord:
        """OCSP; if nobody answers usably, the list; if that fails too, StatusUnverifiable."""
        addresses = self._addresses[certificate.kind]
        reference = self._random(16).hex()
        try:
            self._ask_ocsp(addresses.ocsp, certificate, now)
            return StatusRecord(reference, "ocsp", now, certificate.serial)
        except (OSError, _Unusable):
            pass
        try:
            self._ask_crl(addresses.crl, certificate, now)
        except (OSError, _Unusable) as error:
            raise StatusUnverifiable(str(error) or type(error).__name__) from None
        return StatusRecord(reference, "crl", now, certificate.serial)

    def _ask_ocsp(self, url: str, certificate: CardCertificate, now: datetime) -> None:
        nonce = self._random(16)
        # SHA-1 only names the issuer here (RFC 6960 wants every responder to know it); nothing rests on it.
        request = (
            ocsp.OCSPRequestBuilder()
            .add_certificate(certificate.x509, certificate.authority, hashes.SHA1())  # noqa: S303
            .add_extension(x509.OCSPNonce(nonce), critical=False)
            .build()
        )
        raw = self._fetch(url, request.public_bytes(serialization.Encoding.DER), MAX_OCSP_BYTES)
        try:
            status = _check_ocsp(raw, request, nonce, certificate, now)
        except (ValueError, x509.ExtensionNotFound):
            raise _Unusable("ocsp-form") from None
        if status is ocsp.OCSPCertStatus.REVOKED:
            raise CertificateRevoked
        if status is not ocsp.OCSPCertStatus.GOOD:
            # The authority answers and does not know its own certificate: no list may overrule that.
            raise StatusUnverifiable("ocsp-unknown")

    def _ask_crl(self, url: str, certificate: CardCertificate, now: datetime) -> None:
        raw = self._fetch(url, None, MAX_CRL_BYTES)
        try:
            crl = x509.load_der_x509_crl(raw)
            _check_crl(crl, certificate, now)
            entry = crl.get_revoked_certificate_by_serial_number(certificate.x509.serial_number)
        except ValueError:
            raise _Unusable("crl-form") from None
        if entry is not None:
            raise CertificateRevoked


def jpki_status_client(
    base_url: str, *, fetch: Fetch | None = None, credential: str = ""
) -> CardStatusClient:
    """The status source of the authorities at `base_url`: <base>/<kind>/ocsp and <base>/<kind>/crl.

    `credential`: says which registered body asks (`fetch_as`); used where `fetch` is not given. Who has none, or one that
    the authority does not take, gets no answer, which is never "valid".
    """
    base = base_url.rstrip("/")
    return CardStatusClient(
        {kind: StatusAddresses(f"{base}/{kind}/ocsp", f"{base}/{kind}/crl") for kind in CardKind},
        fetch=fetch or fetch_as(credential),
    )


def fetch_as(credential: str) -> Fetch:
    """`fetch_over_http` in the name of a registered body; "" sends none. Raises ValueError for what no header can hold."""
    if _CREDENTIAL.fullmatch(credential) is None:
        raise ValueError("not a credential")

    def fetch(url: str, body: bytes | None, limit: int) -> bytes:
        return fetch_over_http(url, body, limit, credential=credential)

    return fetch


class _Unusable(Exception):  # noqa: N818
    """An answer that says nothing about the certificate."""


def fetch_over_http(url: str, body: bytes | None, limit: int, *, credential: str = "") -> bytes:
    """One HTTP exchange with time-out and size limit; no redirect is followed. Raises OSError."""
    headers = {"Content-Type": "application/ocsp-request"} if body is not None else {}
    if credential:
        headers["Authorization"] = f"Bearer {credential}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
    try:
        request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310
        with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            data = response.read(limit + 1)
    except urllib.error.HTTPError as error:
        error.close()
        # 401 and 403: this city is not registered to ask, or not for this. That says nothing about the certificate.
        raise OSError("asker-refused" if error.code in (401, 403) else "no answer") from error
    except (urllib.error.URLError, HTTPException, ValueError) as error:
        raise OSError("no answer") from error
    if len(data) > limit:
        raise OSError("answer too large")
    return data


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The credential goes to the address of the settings only."""

    def redirect_request(self, *_given: Any, **_more: Any) -> None:
        return None


def _check_ocsp(
    raw: bytes, request: ocsp.OCSPRequest, nonce: bytes, certificate: CardCertificate, now: datetime
) -> ocsp.OCSPCertStatus:
    response = ocsp.load_der_ocsp_response(raw)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise _Unusable("ocsp-not-successful")
    if len(list(response.responses)) != 1:
        raise _Unusable("ocsp-number-of-answers")
    _check_responder(response, certificate.authority, now)
    said = response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    if not hmac.compare_digest(said, nonce):
        raise _Unusable("ocsp-nonce")
    same = (
        response.serial_number == request.serial_number,
        response.issuer_key_hash == request.issuer_key_hash,
        response.issuer_name_hash == request.issuer_name_hash,
    )
    if not all(same):
        raise _Unusable("ocsp-other-certificate")
    begin, end = response.this_update_utc, response.next_update_utc
    if begin > now + CLOCK_SKEW or now - begin > MAX_OCSP_AGE or (end is not None and now > end):
        raise _Unusable("ocsp-stale")
    return response.certificate_status


def _check_responder(response: ocsp.OCSPResponse, authority: x509.Certificate, now: datetime) -> None:
    """RFC 6960 section 4.2.2.2: the authority itself, or a certificate it issued for OCSP signing."""
    signer = authority
    if response.certificates:
        signer = response.certificates[0]
        if signer != authority:
            try:
                signer.verify_directly_issued_by(authority)
                usage = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
                raise _Unusable("ocsp-responder") from None
            if ExtendedKeyUsageOID.OCSP_SIGNING not in usage:
                raise _Unusable("ocsp-responder")
            if not signer.not_valid_before_utc <= now <= signer.not_valid_after_utc:
                raise _Unusable("ocsp-responder")
    key, algorithm = signer.public_key(), response.signature_hash_algorithm
    if not isinstance(key, rsa.RSAPublicKey) or not isinstance(algorithm, _HASHES):
        raise _Unusable("ocsp-algorithm")
    try:
        key.verify(response.signature, response.tbs_response_bytes, padding.PKCS1v15(), algorithm)
    except InvalidSignature:
        raise _Unusable("ocsp-signature") from None


def _check_crl(crl: x509.CertificateRevocationList, certificate: CardCertificate, now: datetime) -> None:
    if crl.issuer != certificate.authority.subject or not isinstance(crl.signature_hash_algorithm, _HASHES):
        raise _Unusable("crl-issuer")
    key = certificate.authority.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or not crl.is_signature_valid(key):
        raise _Unusable("crl-signature")
    if any(extension.critical for extension in crl.extensions):
        # An issuing distribution point or a delta would mean that this list does not tell everything.
        raise _Unusable("crl-partial")
    begin, end = crl.last_update_utc, crl.next_update_utc
    if begin > now + CLOCK_SKEW or now - begin > MAX_CRL_AGE or end is None or now > end:
        raise _Unusable("crl-stale")
