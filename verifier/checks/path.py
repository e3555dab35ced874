"""Did a city that we trust make the seal? From the seal's certificate to an authority on the trust list.

The authority certifies many organisations: the certificate has to name the issuing authority of the data as well
(organizationIdentifier, ETSI EN 319 412-1 section 5.1.4: `NTRJP-` and the corporate number).
"""

from __future__ import annotations

from collections.abc import Mapping

from cryptography import x509
from cryptography.x509.oid import NameOID

from verifier.checks.case import (
    Case,
    failed,
    failed_by,
    load_certificates,
    not_applicable,
    passed,
    undetermined,
)
from verifier.errors import FormatError
from verifier.formats.pdf_seal import VerifiedSeal
from verifier.formats.x509_path import (
    PathError,
    RevocationUnknownError,
    Usage,
    parse_crl,
    verify_path,
    verify_revocation,
)
from verifier.policy import PATH
from verifier.report import Finding


def check_path(case: Case, seal: VerifiedSeal | None) -> tuple[Finding, tuple[x509.Certificate, ...]]:
    """Path and revocation of the seal's certificate at the time of the time-stamp (lists are enclosed).

    Answers the path too, seal first, authority of the trust list last; () if there is none.
    """
    sealed = case.parts.sealed
    if sealed is None:
        return not_applicable(PATH, "no-page", "the file holds no page"), ()
    if seal is None:
        return undetermined(PATH, "no-seal", "the seal itself is wrong"), ()
    try:
        path = verify_path(
            seal.signer,
            intermediates=load_certificates(sealed.certificates),
            anchors=load_certificates(case.trust.seal_cas),
            at=seal.sealed_at,
            usage=Usage.PAGE_SEAL,
        )
        verify_revocation(path, [parse_crl(der) for der in sealed.crls], at=seal.sealed_at)
    except (FormatError, PathError) as error:
        return failed_by(PATH, error), ()
    except RevocationUnknownError as error:
        return undetermined(PATH, error.code, error.detail), ()
    if _organisations(seal.signer) != [_expected_organisation(case)]:
        detail = "the seal belongs to another organisation than the data names"
        return failed(PATH, "other-organisation", detail), path
    return passed(PATH, detail=seal.signer.subject.rfc4514_string()), path


def _organisations(certificate: x509.Certificate) -> list[str]:
    attributes = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)
    return [str(attribute.value) for attribute in attributes]


def _expected_organisation(case: Case) -> str | None:
    # From the claims where there are any: `check_credential` shows that the city of the trust list signed them.
    claims, data = case.parts.claims, case.parts.certificate
    said: object = (data if claims is None else claims.all) or {}
    authority = said.get("issuing_authority") if isinstance(said, Mapping) else None
    number = authority.get("corporate_number") if isinstance(authority, Mapping) else None
    return f"NTRJP-{number}" if isinstance(number, str) else None
