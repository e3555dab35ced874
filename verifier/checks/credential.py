"""Did the city sign the credential? Issuer, type, certificate path and signature of the SD-JWT."""

from __future__ import annotations

import functools

from cryptography import x509

from verifier.checks.case import (
    Case,
    end_of_day_of_issue,
    failed,
    failed_by,
    load_certificates,
    not_applicable,
    passed,
)
from verifier.errors import FormatError
from verifier.formats.credential import has_canonical_order, peek_x5c
from verifier.formats.jose import thumbprint
from verifier.formats.x509_path import PathError, Usage, p256_key, verify_path
from verifier.policy import CREDENTIAL
from verifier.report import Finding


def check_credential(case: Case) -> tuple[Finding, tuple[x509.Certificate, ...]]:
    """RFC 9901 section 7.1 step 2, by a certificate that speaks for the issuer on the trust list.

    Answers the certificate path too, the credential's first, authority of the trust list last; () if there is none.
    """
    wrong = _check_words(case)
    return _check_signature(case) if wrong is None else (wrong, ())


def _check_words(case: Case) -> Finding | None:
    credential, claims, trust = case.parts.credential, case.parts.claims, case.trust
    if credential is None or claims is None:
        return not_applicable(CREDENTIAL, "no-credential", "a bare page has no credential")
    if claims.issuer != trust.iss:
        return failed(CREDENTIAL, "other-issuer", "the credential names another issuer")
    if claims.vct not in trust.vct:
        return failed(CREDENTIAL, "other-type", "a type of credential that is not on the trust list")
    if _city(claims.all.get("issuing_authority")) != trust.city:
        return failed(CREDENTIAL, "other-issuer", "the credential names another city")
    if set(credential.jws.header) != {"alg", "kid", "typ", "x5c"} or not has_canonical_order(credential):
        return failed(
            CREDENTIAL, "not-canonical", "header members or disclosures are not as the city writes them"
        )
    return None


def _check_signature(case: Case) -> tuple[Finding, tuple[x509.Certificate, ...]]:
    credential, claims, trust = case.parts.credential, case.parts.claims, case.trust
    if credential is None or claims is None:
        return not_applicable(CREDENTIAL, "no-credential", "a bare page has no credential"), ()
    try:
        chain = load_certificates(peek_x5c(credential.jws))
        path = verify_path(
            chain[0],
            intermediates=chain[1:],
            anchors=load_certificates(trust.credential_cas),
            at=end_of_day_of_issue(claims, case.now),
            usage=Usage.CREDENTIAL,
            san_uri=trust.iss,
        )
        key = p256_key(chain[0])
        credential.jws.verify(key)
    except (FormatError, PathError) as error:
        return failed_by(CREDENTIAL, error), ()
    if credential.jws.header["kid"] != _thumbprint_of(chain[0]):
        return failed(CREDENTIAL, "not-canonical", "kid is not the key's thumbprint"), path
    return passed(CREDENTIAL), path


@functools.lru_cache(maxsize=64)
def _thumbprint_of(certificate: x509.Certificate) -> str:
    # By all bytes of the certificate; the same one stands behind all credentials of a city.
    return thumbprint(p256_key(certificate))


def _city(authority: object) -> object:
    return authority.get("code") if isinstance(authority, dict) else None
