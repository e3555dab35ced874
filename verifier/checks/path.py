"""Did a city that we trust make the seal? From the seal's certificate to an authority on the trust list."""

from __future__ import annotations

from verifier.checks.case import Case, failed_by, load_certificates, not_applicable, passed, undetermined
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


def check_path(case: Case, seal: VerifiedSeal | None) -> Finding:
    """Path and revocation of the seal's certificate at the time of the time-stamp (lists are enclosed)."""
    sealed = case.parts.sealed
    if sealed is None:
        return not_applicable(PATH, "no-page", "the file holds no page")
    if seal is None:
        return undetermined(PATH, "no-seal", "the seal itself is wrong")
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
        return failed_by(PATH, error)
    except RevocationUnknownError as error:
        return undetermined(PATH, error.code, error.detail)
    return passed(PATH, detail=seal.signer.subject.rfc4514_string())
