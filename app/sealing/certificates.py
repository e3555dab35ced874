"""The certificate profiles of the demo PKI: who may sign what, written as X.509 v3.

Sources: RFC 5280; ETSI EN 319 412-3 (legal persons: organizationIdentifier 2.5.4.97, `NTRJP-` and the
corporate number); RFC 3161 section 2.3 (TSA); RFC 6960 section 4.2.2.2 (OCSP responder); RFC 9336 (document
signing). No QC statements: they assert a legal status in the EU that nothing here has. All names say
MOCK/模擬.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

MARK: Final = "(MOCK/模擬)"
DOCUMENT_SIGNING: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")

AUTHORITY: Final = frozenset({"key_cert_sign", "crl_sign"})
SIGNING: Final = frozenset({"digital_signature"})
SEALING: Final = frozenset({"digital_signature", "content_commitment"})

_ALL_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who issues: its certificate and key, and the file stem of its revocation list."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    stem: str


@dataclass(frozen=True, slots=True)
class Profile:
    """What a certificate may be used for.

    usages       names of the key usages (always critical)
    purposes     extended key usages; critical only if `purposes_critical`
    path_length  for an authority: how many authorities may stand below it; None = not an authority
    san_uri      the URI that the holder speaks for
    no_check     id-pkix-ocsp-nocheck (an OCSP responder is not asked about)
    """

    usages: frozenset[str]
    purposes: Sequence[x509.ObjectIdentifier] = ()
    purposes_critical: bool = False
    path_length: int | None = None
    san_uri: str | None = None
    no_check: bool = False


PAGE_SEAL: Final = Profile(SEALING, (DOCUMENT_SIGNING,))
TIME_STAMP: Final = Profile(SIGNING, (ExtendedKeyUsageOID.TIME_STAMPING,), purposes_critical=True)
OCSP_RESPONDER: Final = Profile(SIGNING, (ExtendedKeyUsageOID.OCSP_SIGNING,), no_check=True)


def build_name(common_name: str, organisation: str, corporate_number: str | None = None) -> x509.Name:
    """C=JP, O, organizationIdentifier (when a corporate number is given), CN with the mark."""
    attributes = [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "JP"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
    ]
    if corporate_number is not None:
        identifier = f"NTRJP-{corporate_number}"
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, identifier))
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, f"{common_name} {MARK}"))
    return x509.Name(attributes)


def build_certificate(
    *,
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    profile: Profile,
    issuer: Issuer | ec.EllipticCurvePrivateKey,
    not_before: datetime,
    years: int,
    services_url: str,
) -> x509.Certificate:
    """One certificate; `issuer` is a private key for a self-signed one. `services_url`: of the revocation
    services."""
    self_signed = isinstance(issuer, ec.EllipticCurvePrivateKey)
    signing_key = issuer if isinstance(issuer, ec.EllipticCurvePrivateKey) else issuer.key
    start = not_before.replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(
            subject if isinstance(issuer, ec.EllipticCurvePrivateKey) else issuer.certificate.subject
        )
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=years * 365))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.KeyUsage(**{name: name in profile.usages for name in _ALL_USAGES}), critical=True)
    )
    builder = _add_purpose(builder, profile)
    if not self_signed and isinstance(issuer, Issuer):
        builder = _add_issuer(builder, issuer, services_url, with_ocsp=not profile.no_check)
    return builder.sign(signing_key, hashes.SHA256())


def _add_purpose(builder: x509.CertificateBuilder, profile: Profile) -> x509.CertificateBuilder:
    authority = profile.path_length is not None
    builder = builder.add_extension(
        x509.BasicConstraints(ca=authority, path_length=profile.path_length), critical=True
    )
    if profile.purposes:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage(list(profile.purposes)), critical=profile.purposes_critical
        )
    if profile.san_uri is not None:
        names = [x509.UniformResourceIdentifier(profile.san_uri)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if profile.no_check:
        builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
    return builder


def _add_issuer(
    builder: x509.CertificateBuilder, issuer: Issuer, services_url: str, *, with_ocsp: bool
) -> x509.CertificateBuilder:
    identifier = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
    )
    point = x509.DistributionPoint(
        full_name=[x509.UniformResourceIdentifier(f"{services_url}/crl/{issuer.stem}.crl")],
        relative_name=None,
        reasons=None,
        crl_issuer=None,
    )
    builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    if with_ocsp and issuer.stem == "issuing":
        access = x509.AccessDescription(
            AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(f"{services_url}/ocsp")
        )
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    return builder
