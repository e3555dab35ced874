"""The demo certification authorities (模擬/MOCK): what has been revoked, and the lists and OCSP answers that
say so.

Revocations are lines of an append-only file, so that `revoke` may run beside the server and nothing is ever
un-revoked.
Sources: RFC 5280 section 5 (lists), RFC 6960 (OCSP).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import orjson
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from app.sealing.errors import PkiError
from app.sealing.key_files import read_private_key
from app.sealing.pki import DemoPki

AUTHORITIES: Final = ("root", "issuing", "tsa-ca")
CRL_VALIDITY: Final = timedelta(days=8)
OCSP_VALIDITY: Final = timedelta(hours=12)
MAX_OCSP_REQUEST_BYTES: Final = 4 << 10
REVOCATIONS_FILE: Final = "revocations.jsonl"


@dataclass(frozen=True, slots=True)
class Revocation:
    """One revoked certificate: serial number, since when (UTC), and the RFC 5280 reason."""

    serial: int
    at: datetime
    reason: x509.ReasonFlags


def revoke(pki: DemoPki, serial: int, reason: str, now: datetime) -> Revocation:
    """Revoke the certificate with `serial`, durably. `reason`: as RFC 5280 writes it (keyCompromise,
    superseded, …).

    Raises: PkiError("no-such-certificate" | "bad-reason" | "already-revoked").
    """
    if all(certificate.serial_number != serial for certificate in pki.certificates.values()):
        raise PkiError("no-such-certificate", "no certificate of this PKI has that serial number")
    try:
        flag = x509.ReasonFlags(reason)
    except ValueError as error:
        raise PkiError("bad-reason", "not a reason of RFC 5280") from error
    # A hold could be lifted again, and a removal is for deltas: neither exists here.
    if flag in (x509.ReasonFlags.certificate_hold, x509.ReasonFlags.remove_from_crl):
        raise PkiError("bad-reason", "only final revocation")
    if any(entry.serial == serial for entry in read_revocations(pki)):
        raise PkiError("already-revoked", "the first revocation stands")
    entry = Revocation(serial, now.astimezone(UTC).replace(microsecond=0), flag)
    line = {"serial": f"{serial:x}", "at": int(entry.at.timestamp()), "reason": flag.value}
    descriptor = os.open(_path(pki), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(orjson.dumps(line) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return entry


def read_revocations(pki: DemoPki) -> tuple[Revocation, ...]:
    """All revocations so far. Raises: PkiError("bad-pki")."""
    try:
        lines = _path(pki).read_bytes().splitlines()
    except FileNotFoundError:
        return ()
    try:
        entries = [orjson.loads(line) for line in lines]
        return tuple(
            Revocation(
                int(e["serial"], 16), datetime.fromtimestamp(e["at"], UTC), x509.ReasonFlags(e["reason"])
            )
            for e in entries
        )
    except (ValueError, KeyError, TypeError) as error:
        raise PkiError("bad-pki", "the list of revocations is damaged") from error


def build_crl(pki: DemoPki, stem: str, now: datetime) -> bytes:
    """The revocation list (DER) of the authority `stem` (one of AUTHORITIES), valid for CRL_VALIDITY from
    `now`.

    Its number is the second of its making: growing, without a counter to keep. Raises: PkiError.
    """
    if stem not in AUTHORITIES:
        raise PkiError("no-such-authority", "no authority of that name")
    issuer = pki.issuer(stem)
    start = now.astimezone(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(start)
        .next_update(start + CRL_VALIDITY)
        .add_extension(x509.CRLNumber(int(start.timestamp())), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
        )
    )
    issued = {c.serial_number for c in pki.certificates.values() if c.issuer == issuer.certificate.subject}
    for entry in read_revocations(pki):
        if entry.serial in issued and entry.at <= start:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(entry.serial)
                .revocation_date(entry.at)
                .add_extension(x509.CRLReason(entry.reason), critical=False)
                .build()
            )
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


# What the library raises for bytes that are no request, for a hash or a name it does not know, for an extension that
# is there twice.
OCSP_READING_ERRORS: Final = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def answer_ocsp(pki: DemoPki, request: bytes, now: datetime) -> bytes:
    """An OCSPResponse (DER) about one certificate of the issuing authority; a nonce is repeated.

    A request that cannot be read, or asks for more, is answered malformedRequest; another issuer,
    unauthorized.
    """
    try:
        if len(request) > MAX_OCSP_REQUEST_BYTES:
            raise ValueError("too large")
        parsed = ocsp.load_der_ocsp_request(request)
        algorithm = parsed.hash_algorithm
        nonces = [e.value for e in parsed.extensions if isinstance(e.value, x509.OCSPNonce)]
    except OCSP_READING_ERRORS:
        return _unsuccessful(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
    if not isinstance(algorithm, (hashes.SHA1, hashes.SHA256)):
        return _unsuccessful(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
    found = _about(pki, parsed, algorithm)
    if found is None:
        return _unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED)
    return _respond(pki, found, algorithm, nonces, now)


def _about(
    pki: DemoPki, request: ocsp.OCSPRequest, algorithm: hashes.SHA1 | hashes.SHA256
) -> x509.Certificate | None:
    issuing = pki.certificates["issuing"]
    for certificate in pki.certificates.values():
        if certificate.issuer != issuing.subject or certificate.serial_number != request.serial_number:
            continue
        again = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuing, algorithm).build()
        if (again.issuer_key_hash, again.issuer_name_hash) == (
            request.issuer_key_hash,
            request.issuer_name_hash,
        ):
            return certificate
    return None


def _respond(
    pki: DemoPki,
    certificate: x509.Certificate,
    algorithm: hashes.SHA1 | hashes.SHA256,
    nonces: Sequence[x509.OCSPNonce],
    now: datetime,
) -> bytes:
    start = now.astimezone(UTC).replace(microsecond=0)
    revoked = {entry.serial: entry for entry in read_revocations(pki)}.get(certificate.serial_number)
    responder_key = read_private_key(pki.directory / "ca" / "ocsp.key.pem")
    if not isinstance(responder_key, ec.EllipticCurvePrivateKey):
        raise PkiError("bad-pki", "the responder's key is of another kind")
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=certificate,
            issuer=pki.certificates["issuing"],
            algorithm=algorithm,
            cert_status=ocsp.OCSPCertStatus.GOOD if revoked is None else ocsp.OCSPCertStatus.REVOKED,
            this_update=start,
            next_update=start + OCSP_VALIDITY,
            revocation_time=None if revoked is None else revoked.at,
            revocation_reason=None if revoked is None else revoked.reason,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, pki.certificates["ocsp"])
        .certificates([pki.certificates["ocsp"]])
    )
    for nonce in nonces[:1]:
        builder = builder.add_extension(nonce, critical=False)
    return builder.sign(responder_key, hashes.SHA256()).public_bytes(Encoding.DER)


def _unsuccessful(status: ocsp.OCSPResponseStatus) -> bytes:
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)


def _path(pki: DemoPki) -> Path:
    return pki.directory / "ca" / REVOCATIONS_FILE
