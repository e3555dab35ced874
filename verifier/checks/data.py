"""Do page, data and credential say the same? Attachment, certificate.json and claims are one.

The thresholds of a credential stand nowhere in the data: they follow from them (`verifier.formats.ladder`).

That the print shows the data is the issuer's duty, checked before release; a verifier shows the data, not
the print.
"""

from __future__ import annotations

import hmac

from verifier.checks.case import Case, Parts, failed, failed_by, passed
from verifier.errors import FormatError
from verifier.formats.bundle import Bundle
from verifier.formats.credential import CredentialClaims
from verifier.formats.evidence import Evidence
from verifier.formats.ladder import check_ladders
from verifier.policy import DATA
from verifier.report import Finding


def check_data(case: Case) -> Finding:
    """page = data = credential, byte for byte where bytes exist, claim for claim where they were selected."""
    parts = case.parts
    if parts.bundle is None or parts.claims is None or parts.evidence is None:
        return _bare_page(case)
    wrong = _page_and_data(parts, parts.bundle) or _credential(parts, parts.claims, parts.evidence)
    if wrong is not None:
        return wrong
    if is_mock(parts.claims.all) != case.trust.mock:
        return failed(DATA, "mock-mix", "mock (模擬) and real certificates never rest on each other's trust")
    return passed(DATA, "ok" if parts.certificate is not None else "selected")


def _bare_page(case: Case) -> Finding:
    certificate = case.parts.certificate
    if certificate is None or is_mock(certificate) != case.trust.mock:
        return failed(DATA, "mock-mix", "mock (模擬) and real certificates never rest on each other's trust")
    return passed(DATA, "page-only", "the attachment is read; there is no credential to compare it with")


def _page_and_data(parts: Parts, bundle: Bundle) -> Finding | None:
    if parts.sealed is None:
        return None
    if bundle.certificate is None:
        return failed(DATA, "page-without-data", "a page never comes without its data")
    if not hmac.compare_digest(parts.sealed.attachment, bundle.certificate):
        return failed(DATA, "page-differs", "the page holds other data than the bundle")
    return None


def _credential(parts: Parts, claims: CredentialClaims, evidence: Evidence) -> Finding | None:
    if parts.certificate is not None and claims.certificate() != parts.certificate:
        return failed(DATA, "credential-differs", "the credential says something else than the data")
    try:
        check_ladders(claims.all, parts.certificate)
    except FormatError as error:
        return failed_by(DATA, error)
    if claims.all.get("document_kind") != evidence.document_kind:
        return failed(DATA, "kind-differs", "the evidence belongs to another kind of document")
    if parts.sealed is None:
        if claims.page_digest is not None and evidence.page.salt is not None:
            return failed(
                DATA, "page-missing", "the credential names a page that the log entry does not have"
            )
        return None
    if claims.page_digest is None or not hmac.compare_digest(claims.page_digest, parts.sealed.page_digest):
        return failed(DATA, "page-differs", "the credential belongs to another page")
    return None


def is_mock(claims: object) -> bool:
    """Whether data call themselves 模擬."""
    authority = claims.get("issuing_authority") if isinstance(claims, dict) else None
    return isinstance(authority, dict) and authority.get("mock") is True
