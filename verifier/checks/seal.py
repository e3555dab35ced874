"""Is the page what was sealed? The signature over every byte of the page, whoever's certificate made it."""

from __future__ import annotations

from verifier.checks.case import Case, failed, failed_by, not_applicable, passed
from verifier.errors import FormatError
from verifier.formats.pdf_seal import VerifiedSeal, verify_sealed_page
from verifier.policy import SEAL
from verifier.report import Finding


def check_seal(case: Case) -> tuple[Finding, VerifiedSeal | None]:
    """Digest, signature and time-stamp of the page hang together;

    trust in the certificates is `check_path`'s.
    """
    sealed = case.parts.sealed
    if sealed is None:
        return not_applicable(SEAL, "no-page", "the file holds no page"), None
    if case.parts.bundle is not None and sealed.increments:
        return failed(SEAL, "page-extended", "the page of a bundle ends with the signed revision"), None
    try:
        seal = verify_sealed_page(sealed)
    except FormatError as error:
        return failed_by(SEAL, error), None
    return passed(SEAL, detail=f"sealed {seal.sealed_at:%Y-%m-%dT%H:%M:%SZ}"), seal
