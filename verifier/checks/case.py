"""What the checks look at: one file taken apart, and what it is measured against. Nothing in it is verified.

`Case` holds no answers; each check takes a case (and what earlier checks established) and returns a Finding.
"""

from __future__ import annotations

import datetime as dt
import functools
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from verifier.errors import AkashiVerifierError, FormatError, LimitError
from verifier.formats.bundle import Bundle, parse_bundle
from verifier.formats.credential import Credential, CredentialClaims, parse_credential, peek_claims
from verifier.formats.encoding import JSON, parse_canonical_json
from verifier.formats.evidence import Evidence, parse_evidence
from verifier.formats.pdf_seal import SealedPage, parse_sealed_page
from verifier.formats.tlog_proof import TlogProof, parse_tlog_proof
from verifier.formats.trust_list import TrustContent
from verifier.formats.x509_path import parse_certificate
from verifier.policy import Policy
from verifier.report import Finding, Outcome
from verifier.sources import Sources

JAPAN: Final = dt.timezone(dt.timedelta(hours=9), "JST")
"""Legal days are days in Japan, which has had no summer time since 1951."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A bundle or bare page taken apart.

    sealed        the page, if it is there
    certificate   certificate.json as data: the bundle's member, or the attachment of a bare page
    the rest      of a bundle only
    """

    sealed: SealedPage | None
    certificate: dict[str, JSON] | None
    bundle: Bundle | None = None
    credential: Credential | None = None
    claims: CredentialClaims | None = None
    evidence: Evidence | None = None
    proof: TlogProof | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """Parts, and what they are measured against. `now` is UTC."""

    parts: Parts
    trust: TrustContent
    policy: Policy
    now: dt.datetime
    sources: Sources


def parse_parts(data: bytes) -> Parts:
    """A bundle taken apart with everything in it. Raises: LimitError, FormatError."""
    bundle = parse_bundle(data)
    credential = parse_credential(bundle.credential)
    return Parts(
        sealed=None if bundle.page is None else parse_sealed_page(bundle.page),
        certificate=None if bundle.certificate is None else _certificate(bundle.certificate),
        bundle=bundle,
        credential=credential,
        claims=peek_claims(credential),
        evidence=parse_evidence(bundle.evidence),
        proof=parse_tlog_proof(bundle.inclusion),
    )


def parse_page_parts(data: bytes) -> Parts:
    """A bare sealed page taken apart. Raises: LimitError, FormatError."""
    sealed = parse_sealed_page(data)
    return Parts(sealed, _certificate(sealed.attachment))


def load_certificates(ders: tuple[bytes, ...]) -> tuple[x509.Certificate, ...]:
    """Certificates for a path. Raises: LimitError, FormatError."""
    return tuple(_load_certificate(der) for der in ders)


def passed(check: str, code: str = "ok", detail: str = "") -> Finding:
    """The check was made and found nothing wrong."""
    return Finding(check, Outcome.PASS, code, detail)


def failed(check: str, code: str, detail: str = "") -> Finding:
    """The check was made, and the answer is no."""
    return Finding(check, Outcome.FAIL, code, detail)


def failed_by(check: str, error: AkashiVerifierError) -> Finding:
    """The check was made, and ended with an error of ours that means no."""
    return Finding(check, Outcome.FAIL, error.code, error.detail)


def undetermined(check: str, code: str, detail: str = "", *, retry: bool = False) -> Finding:
    """The check could not be made."""
    return Finding(check, Outcome.UNDETERMINED, code, detail, retry)


def not_applicable(check: str, code: str, detail: str = "") -> Finding:
    """There is nothing to check."""
    return Finding(check, Outcome.NOT_APPLICABLE, code, detail)


def instant(seconds: int) -> dt.datetime:
    """Unix seconds as UTC. Raises: LimitError for times that have no calendar."""
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise LimitError("bad-time", "a time without a date") from error


def end_of_day_of_issue(claims: CredentialClaims, now: dt.datetime) -> dt.datetime:
    """The last moment at which a credential was made: `iat` is rounded down to its legal day.

    Raises: LimitError for days that have no end in the calendar.
    """
    return min(instant(claims.issued + 86_399), now)


@functools.lru_cache(maxsize=64)
def _load_certificate(der: bytes) -> x509.Certificate:
    # The same few authorities come again with every file; reading one costs about as much as a signature.
    return parse_certificate(der)


def _certificate(data: bytes) -> dict[str, JSON]:
    value = parse_canonical_json(data, max_bytes=64 << 10)
    if not isinstance(value, dict):
        raise FormatError("bad-certificate-data", "certificate.json is not an object")
    return value
