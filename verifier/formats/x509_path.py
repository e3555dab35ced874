"""From an end certificate to a trusted authority at a given time: names, signatures, usage, revocation.

Source: RFC 5280 sections 4.2, 5 and 6, restricted to our profile: P-256 with SHA-256 throughout, no policies
and no name constraints, revocation by complete CRLs of the same issuer. Nothing here fetches, and nothing has
a clock: certificates, lists, anchors and the time are arguments. Trusted is only what the caller passes as an
anchor.

Errors: FormatError      bytes that are no certificate or list
        PathError        no path, or one that must not be used at that time (a definite no)
        RevokedError     a PathError: a certificate of the path had been revoked by then
        RevocationUnknownError  no usable list: could not be checked (not a no)
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, ObjectIdentifier, SignatureAlgorithmOID

from verifier.errors import AkashiVerifierError, FormatError, LimitError
from verifier.formats.der import BIT_STRING, SEQUENCE
from verifier.formats.der import read_single as der_reader

MAX_CERTIFICATE_BYTES: Final = 16 << 10
MAX_CRL_BYTES: Final = 1 << 20
MAX_CRL_ENTRIES: Final = 20_000
MAX_PATH_CERTIFICATES: Final = 4
MAX_CANDIDATES: Final = 16

DOCUMENT_SIGNING: Final = ObjectIdentifier("1.3.6.1.5.5.7.3.36")

_UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)


_T = TypeVar("_T", bound=x509.ExtensionType)


class PathError(AkashiVerifierError):
    """The certificate must not be relied on for this purpose at this time."""


class RevokedError(PathError):
    """A certificate of the path was revoked at `revoked_at`, not later than the time asked for."""

    def __init__(self, detail: str, revoked_at: datetime) -> None:
        super().__init__("revoked", detail)
        self.revoked_at = revoked_at


class RevocationUnknownError(AkashiVerifierError):
    """No list covers the time asked for: neither good nor revoked."""


class Usage(StrEnum):
    """What the end certificate is relied on for."""

    PAGE_SEAL = "page_seal"
    CREDENTIAL = "credential"
    STATUS_LIST = "status_list"
    TIME_STAMP = "time_stamp"
    ATTESTATION = "attestation"
    """A wallet provider's word about a wallet or its keys; whose word counts, the anchors say."""


_NAMED: Final = frozenset({Usage.CREDENTIAL, Usage.STATUS_LIST})


@dataclass(frozen=True, slots=True)
class RevocationEvidence:
    """What the lists said about one certificate of a path.

    serial         of the certificate
    this_update    of the newest list used
    next_update    of the newest list used
    revoked_after  when the certificate was revoked, if that was after the time asked for; else None
    """

    serial: int
    this_update: datetime
    next_update: datetime
    revoked_after: datetime | None


def parse_certificate(der: bytes) -> x509.Certificate:
    """One X.509 certificate, byte for byte DER, with readable extensions. Raises: FormatError, LimitError."""
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise LimitError("certificate-too-large", f"more than {MAX_CERTIFICATE_BYTES} bytes")
    _check_outer_form(der, "bad-certificate")
    try:
        certificate = x509.load_der_x509_certificate(der)
        # Everything lazy is touched here, so that no later access raises an error that is not ours.
        _ = (certificate.extensions, certificate.subject, certificate.issuer, certificate.public_key())
        _ = (certificate.not_valid_before_utc, certificate.not_valid_after_utc, certificate.serial_number)
        canonical = certificate.public_bytes(serialization.Encoding.DER) == der
    except (ValueError, TypeError, OverflowError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise FormatError("bad-certificate", "not an X.509 certificate") from error
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise FormatError("bad-certificate", "unreadable extensions") from error
    if not canonical or certificate.version is not x509.Version.v3:
        raise FormatError("bad-certificate", "not an X.509 v3 certificate in DER")
    return certificate


def parse_crl(der: bytes) -> x509.CertificateRevocationList:
    """One certificate revocation list with a nextUpdate. Raises: FormatError, LimitError."""
    if len(der) > MAX_CRL_BYTES:
        raise LimitError("crl-too-large", f"more than {MAX_CRL_BYTES} bytes")
    _check_outer_form(der, "bad-crl")
    try:
        crl = x509.load_der_x509_crl(der)
        _ = (crl.extensions, crl.issuer, crl.last_update_utc)
        complete = crl.next_update_utc is not None and crl.public_bytes(serialization.Encoding.DER) == der
        entries = len(crl)
        if entries > MAX_CRL_ENTRIES:
            raise LimitError("crl-too-long", f"more than {MAX_CRL_ENTRIES} entries")
        for entry in crl:
            _ = (entry.serial_number, entry.revocation_date_utc, entry.extensions)
    except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm) as error:
        raise FormatError("bad-crl", "not a certificate revocation list") from error
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType, x509.InvalidVersion) as error:
        raise FormatError("bad-crl", "unreadable extensions") from error
    if not complete:
        raise FormatError("bad-crl", "not a complete list in DER with a nextUpdate")
    return crl


def p256_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    """The certificate's key, which must be on P-256. Raises: PathError("unsupported-key")."""
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise PathError("unsupported-key", "the profile knows only P-256")
    return key


def verify_path(
    leaf: x509.Certificate,
    *,
    intermediates: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    at: datetime,
    usage: Usage,
    san_uri: str | None = None,
) -> tuple[x509.Certificate, ...]:
    """The path (leaf first, anchor last) by which `leaf` may be relied on for `usage` at the instant `at`.

    `san_uri`: the only URI of the leaf's subjectAltName: the credential's `iss`, or the address below which
    the status lists lie (required for CREDENTIAL and STATUS_LIST, which have no extended key usage to tell
    them apart). Revocation is not looked at: call `verify_revocation` with the result.
    Raises: PathError with codes no-path, not-yet-valid, expired, wrong-usage, wrong-name, not-a-ca,
    path-too-long, unsupported-key, unknown-critical-extension; LimitError.
    """
    if len(intermediates) > MAX_CANDIDATES or len(anchors) > MAX_CANDIDATES:
        raise LimitError("too-many-certificates", f"more than {MAX_CANDIDATES}")
    if usage in _NAMED and san_uri is None:
        raise PathError("wrong-name", "this certificate is told from others by the name it speaks for")
    try:
        path = _find_path(leaf, tuple(intermediates), tuple(anchors), usage, san_uri)
    except PathError:
        # Which of several reasons is told depends on the time: a path that is none is looked at in order, every time.
        return _walk_path(leaf, intermediates, anchors, at, usage, san_uri)
    for certificate in path:
        _check_dates(certificate, at)
    return path


@functools.lru_cache(maxsize=64)
def _find_path(
    leaf: x509.Certificate,
    intermediates: tuple[x509.Certificate, ...],
    anchors: tuple[x509.Certificate, ...],
    usage: Usage,
    san_uri: str | None,
) -> tuple[x509.Certificate, ...]:
    # All but the dates: it follows from the arguments alone, which are hashed and compared by all the bytes of the
    # certificates. The same few stand above everything that a city signs. A refusal is an exception and not remembered.
    return _walk_path(leaf, intermediates, anchors, None, usage, san_uri)


def _walk_path(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    at: datetime | None,
    usage: Usage,
    san_uri: str | None,
) -> tuple[x509.Certificate, ...]:
    _check_leaf(leaf, usage, san_uri)
    _check_common(leaf, at)
    path = [leaf]
    while True:
        current = path[-1]
        if anchor := _issuer_of(current, anchors):
            _check_ca(anchor, at, below=len(path) - 1)
            return (*path, anchor)
        issuer = _issuer_of(current, intermediates)
        if issuer is None or issuer in path:
            raise PathError("no-path", "no way to a trusted authority")
        if len(path) >= MAX_PATH_CERTIFICATES - 1:
            raise PathError("path-too-long", f"more than {MAX_PATH_CERTIFICATES} certificates")
        _check_ca(issuer, at, below=len(path) - 1)
        path.append(issuer)


def verify_revocation(
    path: Sequence[x509.Certificate], crls: Sequence[x509.CertificateRevocationList], *, at: datetime
) -> tuple[RevocationEvidence, ...]:
    """Ask the lists about each certificate of `path` (from `verify_path`) but the anchor, as of the instant
    `at`.

    A list counts if the certificate's issuer signed it and `at` is not after its nextUpdate; a list made
    after `at` counts too (it holds the dates of the revocations). Revoked at or before `at` is a no; revoked
    later is reported.
    Raises: RevokedError, RevocationUnknownError("no-crl" | "stale-crl"), LimitError.
    """
    if len(crls) > MAX_CANDIDATES:
        raise LimitError("too-many-crls", f"more than {MAX_CANDIDATES}")
    return tuple(
        _ask_lists(certificate, issuer, crls, at) for certificate, issuer in itertools.pairwise(path)
    )


def _check_outer_form(encoded: bytes, code: str) -> None:
    # SEQUENCE { toBeSigned, algorithm, BIT STRING }. The octet that counts the unused bits of the signature
    # is neither signed nor looked at by the library: only 0 is one form.
    outer = der_reader(encoded, SEQUENCE)
    outer.take(SEQUENCE)
    outer.take(SEQUENCE)
    if outer.take(BIT_STRING).content[:1] != b"\x00":
        raise FormatError(code, "a signature of a broken number of octets")
    outer.end()


def _ask_lists(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    crls: Sequence[x509.CertificateRevocationList],
    at: datetime,
) -> RevocationEvidence:
    name = certificate.subject.rfc4514_string()
    own = [crl for crl in crls if _is_list_of(crl, issuer)]
    if not own:
        raise RevocationUnknownError("no-crl", f"no list of the issuer of {name}")
    revoked = [moment for crl in own if (moment := _revoked_at(crl, certificate.serial_number)) is not None]
    # A stale list cannot say "good", but what it lists stays revoked (certificateHold is not issued in this
    # profile).
    if revoked and min(revoked) <= at:
        raise RevokedError(name, min(revoked))
    current = [crl for crl in own if _next_update(crl) >= at]
    if not current:
        raise RevocationUnknownError("stale-crl", f"no list that covers the time for {name}")
    newest = max(current, key=lambda crl: crl.last_update_utc)
    return RevocationEvidence(
        certificate.serial_number, newest.last_update_utc, _next_update(newest), min(revoked, default=None)
    )


def _next_update(crl: x509.CertificateRevocationList) -> datetime:
    moment = crl.next_update_utc
    if moment is None:
        raise FormatError("bad-crl", "no nextUpdate")
    return moment


def _is_list_of(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    if crl.issuer != issuer.subject or crl.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256:
        return False
    # A critical extension (delta list, partitioned list) would narrow what absence from the list means.
    if any(extension.critical for extension in crl.extensions):
        return False
    usage = _extension(issuer, x509.KeyUsage)
    if usage is None or not usage.value.crl_sign:
        return False
    return crl.is_signature_valid(p256_key(issuer))


def _revoked_at(crl: x509.CertificateRevocationList, serial: int) -> datetime | None:
    entry = crl.get_revoked_certificate_by_serial_number(serial)
    if entry is None:
        return None
    moments = [entry.revocation_date_utc]
    moments += [
        extension.value.invalidity_date_utc
        for extension in entry.extensions
        if isinstance(extension.value, x509.InvalidityDate)
    ]
    return min(moments)


def _issuer_of(
    certificate: x509.Certificate, candidates: Sequence[x509.Certificate]
) -> x509.Certificate | None:
    for candidate in candidates:
        if candidate.subject != certificate.issuer or candidate == certificate:
            continue
        try:
            certificate.verify_directly_issued_by(candidate)
        except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
            continue
        if _key_ids_agree(certificate, candidate):
            return candidate
    return None


def _key_ids_agree(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    authority = _extension(certificate, x509.AuthorityKeyIdentifier)
    subject = _extension(issuer, x509.SubjectKeyIdentifier)
    if authority is None or subject is None or authority.value.key_identifier is None:
        return True
    return authority.value.key_identifier == subject.value.digest


def _check_common(certificate: x509.Certificate, at: datetime | None) -> None:
    p256_key(certificate)
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256:
        raise PathError("unsupported-key", "the profile knows only ECDSA with SHA-256")
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise PathError("unknown-critical-extension", extension.oid.dotted_string)
    if at is not None:
        _check_dates(certificate, at)


def _check_dates(certificate: x509.Certificate, at: datetime) -> None:
    if at < certificate.not_valid_before_utc:
        raise PathError("not-yet-valid", _name(certificate))
    if at > certificate.not_valid_after_utc:
        raise PathError("expired", _name(certificate))


def _check_ca(certificate: x509.Certificate, at: datetime | None, *, below: int) -> None:
    _check_common(certificate, at)
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    if constraints is None or not constraints.critical or not constraints.value.ca:
        raise PathError("not-a-ca", _name(certificate))
    if usage is None or not usage.value.key_cert_sign:
        raise PathError("not-a-ca", _name(certificate))
    if constraints.value.path_length is not None and below > constraints.value.path_length:
        raise PathError("path-too-long", _name(certificate))


def _check_leaf(leaf: x509.Certificate, usage: Usage, san_uri: str | None) -> None:
    constraints = _extension(leaf, x509.BasicConstraints)
    key_usage = _extension(leaf, x509.KeyUsage)
    if constraints is not None and constraints.value.ca:
        raise PathError("wrong-usage", f"{_name(leaf)} is an authority")
    if key_usage is None or not key_usage.critical or not key_usage.value.digital_signature:
        raise PathError("wrong-usage", f"{_name(leaf)} may not sign")
    if key_usage.value.key_cert_sign or key_usage.value.crl_sign:
        raise PathError("wrong-usage", f"{_name(leaf)} is an authority")
    # Only the page seal commits to content; the other keys must not pass for it, nor it for them.
    if key_usage.value.content_commitment != (usage is Usage.PAGE_SEAL):
        raise PathError("wrong-usage", f"{_name(leaf)} is not meant for {usage}")
    extended = _extension(leaf, x509.ExtendedKeyUsage)
    purposes = None if extended is None else list(extended.value)
    if usage is Usage.PAGE_SEAL and purposes != [DOCUMENT_SIGNING]:
        raise PathError("wrong-usage", f"{_name(leaf)} is not meant for documents")
    if usage is Usage.TIME_STAMP and (
        extended is None or not extended.critical or purposes != [ExtendedKeyUsageOID.TIME_STAMPING]
    ):
        raise PathError("wrong-usage", f"{_name(leaf)} is not meant for time-stamps")
    if usage in _NAMED and purposes is not None:
        raise PathError("wrong-usage", f"{_name(leaf)} is not meant for {usage}")
    if san_uri is not None and _uris(leaf) != [san_uri]:
        raise PathError("wrong-name", f"{_name(leaf)} does not speak for {san_uri}")


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()


def _uris(certificate: x509.Certificate) -> list[str]:
    names = _extension(certificate, x509.SubjectAlternativeName)
    return [] if names is None else list(names.value.get_values_for_type(x509.UniformResourceIdentifier))


def _extension(certificate: x509.Certificate, kind: type[_T]) -> x509.Extension[_T] | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None
