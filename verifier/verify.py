"""The walk: from a file to a verdict. `examine` reports, `verify` raises; both take everything they rely on.

What must be shown, in this order (the numbers stand again in the code):

 1. The file is one that we know, in its only encoding.                              format
 2. If it is a package, our key opens it.                                            decryption
 3. A trust list that we hold, still in force, speaks for the city it names.          trust
 4. The page is what was sealed ...                                                   seal
 5. ... by that city ...                                                              path
 6. ... at a time that somebody else confirms.                                        timestamp
 7. Page, data and credential say the same.                                           data
 8. The city signed the credential.                                                   credential
 9. All three are one entry of the city's log ...                                     inclusion
10. ... which witnesses saw ...                                                       witnesses
11. ... and which was anchored outside.                                               anchor, chain
12. No key that it rests on was stolen before it was logged.                           compromise
13. It has not been revoked, as of when.                                              status
14. Today lies in its period of validity.                                             validity
15. It was handed to us, for this request, by the phone it was issued to.              holder

What the caller still has to do: say which request a submission answers, keep its trust directory up to
date, and read the data of the report, not the print of the page. Every step is made even when an earlier
one failed, so that a report is complete. No claim of the file leaves this module unless the verdict is
VALID.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from verifier.checks.anchor import check_anchor
from verifier.checks.case import (
    Case,
    Parts,
    failed,
    failed_by,
    parse_page_parts,
    parse_parts,
    passed,
    undetermined,
)
from verifier.checks.chain import check_chain
from verifier.checks.compromise import check_compromise
from verifier.checks.credential import check_credential
from verifier.checks.data import check_data
from verifier.checks.holder import check_holder
from verifier.checks.inclusion import check_inclusion
from verifier.checks.path import check_path
from verifier.checks.seal import check_seal
from verifier.checks.status import check_status
from verifier.checks.timestamp import check_timestamp
from verifier.checks.validity import check_validity
from verifier.checks.witnesses import check_witnesses
from verifier.errors import AkashiVerifierError, FormatError, TrustError, UsageError
from verifier.formats.bundle import is_bundle
from verifier.formats.encoding import JSON
from verifier.formats.jose import agreement, thumbprint
from verifier.formats.names import BUNDLE_TYPE, PACKAGE_TYPE, PRESENTATION_TYPE
from verifier.formats.package import KeyAgreement, open_package
from verifier.formats.submission_request import parse_submission_request
from verifier.policy import DECRYPTION, FORMAT, TRUST, Policy
from verifier.report import Finding, Reading, Report, Verdict, conclude
from verifier.sources import Sources
from verifier.trust import TrustList

PACKAGE: Final = "package"
SUBMISSION: Final = "submission"
BUNDLE: Final = "bundle"
PAGE: Final = "page"
UNKNOWN: Final = "unknown"

RecipientKey = ec.EllipticCurvePrivateKey | tuple[str, KeyAgreement]
"""A private key, or (its thumbprint, the ECDH function of a key that lives elsewhere)."""


class NotVerifiedError(AkashiVerifierError):
    """`verify` did not reach VALID; `report` says why."""

    def __init__(self, report: Report) -> None:
        super().__init__(report.verdict.value, report.sentence_en)
        self.report = report


class NotValidError(NotVerifiedError):
    """The file is not valid."""


class UndeterminedError(NotVerifiedError):
    """It could not be said now whether the file is valid."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file after steps 1 and 2: its kind, findings so far, and its parts if they could be read."""

    kind: str
    findings: tuple[Finding, ...]
    parts: Parts | None = None


def verify(
    file: bytes,
    *,
    trust: TrustList | Sequence[TrustList],
    policy: Policy,
    now: dt.datetime,
    sources: Sources,
    request: bytes | None = None,
    key: RecipientKey | None = None,
) -> Report:
    """Like `examine`, but returns only when the verdict is VALID.

    Raises: NotValidError, UndeterminedError (both carry the report), UsageError, TrustError("mock-mix").
    """
    report = examine(file, trust=trust, policy=policy, now=now, sources=sources, request=request, key=key)
    if report.verdict is Verdict.NOT_VALID:
        raise NotValidError(report)
    if report.verdict is Verdict.UNDETERMINED:
        raise UndeterminedError(report)
    return report


def examine(
    file: bytes,
    *,
    trust: TrustList | Sequence[TrustList],
    policy: Policy,
    now: dt.datetime,
    sources: Sources,
    request: bytes | None = None,
    key: RecipientKey | None = None,
) -> Report:
    """Examine a package, bundle, submission or bare sealed page; whatever the bytes are, there is a report.

    trust    one accepted trust list, or one for each city (never mock and real together)
    policy   what has to be known (`verifier.policy`)
    now      the time, UTC
    sources  who may be asked
    request  descriptor of the request that the file answers; without it nothing is a submission
    key      opens packages
    Raises: UsageError (arguments that make no sense), TrustError("mock-mix").
    """
    lists = trust_lists(trust)
    if now.tzinfo is None:
        raise UsageError("naive-time", "now must carry its time zone")
    if request is not None:
        _check_request(request)
    opened = _open(file, key)
    if opened.parts is None:
        return _report(opened.kind, opened.findings, policy, now, lists, None)
    chosen, finding = choose_trust(opened.parts, lists, now)
    findings = (*opened.findings, finding)
    if chosen is None or chosen.is_expired(now):
        return _report(opened.kind, findings, policy, now, lists, chosen)
    case = Case(opened.parts, chosen.content, policy, now, sources)
    return _walk(case, opened.kind, findings, chosen, lists, request)


def peek_kind(file: bytes) -> str:
    """What the first bytes say the file is; nothing is checked."""
    if file.startswith(b'{"ciphertext":'):
        return PACKAGE
    if is_bundle(file):
        return BUNDLE
    return PAGE if file.startswith(b"%PDF-") else UNKNOWN


def open_file(file: bytes, key: RecipientKey) -> tuple[str, bytes]:
    """(content type, content) of a package, decrypted and nothing more. Raises: LimitError, FormatError."""
    kid, agree = (
        (thumbprint(key.public_key()), agreement(key)) if isinstance(key, ec.EllipticCurvePrivateKey) else key
    )
    opened = open_package(file, kid, agree)
    if opened.typ != PACKAGE_TYPE or opened.content_type not in (BUNDLE_TYPE, PRESENTATION_TYPE):
        raise FormatError("other-content", "the package holds something else than a certificate")
    return opened.content_type, opened.plaintext


def _walk(
    case: Case,
    kind: str,
    findings: tuple[Finding, ...],
    chosen: TrustList,
    lists: tuple[TrustList, ...],
    request: bytes | None,
) -> Report:
    seal_finding, seal = check_seal(case)  # 4
    path_finding, seal_path = check_path(case, seal)  # 5
    timestamp_finding, authority_path = check_timestamp(case, seal)  # 6
    data_finding = check_data(case)  # 7
    credential_finding, credential_path = check_credential(case)  # 8
    inclusion_finding, checkpoint = check_inclusion(case)  # 9
    witnesses_finding = check_witnesses(case, checkpoint)  # 10
    anchor_finding, receipt = check_anchor(case, checkpoint)  # 11
    chain_finding = check_chain(case, receipt)
    relied = (*seal_path, *authority_path, *credential_path)
    vouching = (witnesses_finding, chain_finding)
    compromise_finding = check_compromise(case, relied, checkpoint, vouching)  # 12
    status_finding, status_as_of = check_status(case)  # 13
    holder_finding = check_holder(case, request)  # 15
    made = (
        *findings,
        seal_finding,
        path_finding,
        timestamp_finding,
        data_finding,
        credential_finding,
        inclusion_finding,
        witnesses_finding,
        anchor_finding,
        chain_finding,
        compromise_finding,
        status_finding,
        check_validity(case),  # 14
        holder_finding,
    )
    report = _report(kind, made, case.policy, case.now, lists, chosen)
    report = replace(report, status_as_of=status_as_of, not_asked=_not_asked(case, request, holder_finding))
    if report.verdict is not Verdict.VALID:
        return report
    return replace(report, certificate=_disclosed(case.parts), page=_page(case.parts))


def _open(file: bytes, key: RecipientKey | None) -> _Opened:
    kind, found = peek_kind(file), []
    if kind == PACKAGE:  # 2 comes first here: what is inside decides the rest
        if key is None:
            return _Opened(kind, (undetermined(DECRYPTION, "key-needed", "the key of the desk is needed"),))
        try:
            content_type, file = open_file(file, key)
        except FormatError as error:
            return _Opened(kind, (failed_by(DECRYPTION, error),))
        if not is_bundle(file):
            return _Opened(kind, (failed(DECRYPTION, "other-content", f"no bundle in {content_type}"),))
        found.append(passed(DECRYPTION))
    elif kind == UNKNOWN:
        return _Opened(kind, (failed(FORMAT, "unknown-kind", "neither a package, nor a bundle, nor a page"),))
    try:  # 1
        parts = parse_page_parts(file) if kind == PAGE else parse_parts(file)
    except FormatError as error:
        return _Opened(kind, (*found, failed_by(FORMAT, error)))
    if parts.bundle is not None:
        kind = BUNDLE if parts.bundle.key_binding is None else SUBMISSION
    return _Opened(kind, (*found, passed(FORMAT)), parts)


def choose_trust(
    parts: Parts, lists: tuple[TrustList, ...], now: dt.datetime
) -> tuple[TrustList | None, Finding]:
    """The list that speaks for the issuer a file names, and whether it still does; None = there is none."""
    # 3: by the issuer that the file names. That is only a claim: steps 4 to 9 show whether it is true.
    if parts.claims is not None:
        issuer = parts.claims.issuer
        chosen = next((trust for trust in lists if trust.content.iss == issuer), None)
    else:
        authority = (parts.certificate or {}).get("issuing_authority")
        city = authority.get("code") if isinstance(authority, dict) else None
        chosen = next((trust for trust in lists if trust.content.city == city), None)
    if chosen is None:
        return None, failed(
            TRUST, "unknown-issuer", "no trust list speaks for the issuer that the file names"
        )
    if chosen.is_expired(now):
        detail = f"version {chosen.version} ended {chosen.expires:%Y-%m-%dT%H:%M:%SZ}; use `trust update`"
        return chosen, undetermined(TRUST, "trust-expired", detail, retry=True)
    return chosen, passed(TRUST, detail=f"version {chosen.version} of {chosen.content.city}")


def _report(
    kind: str,
    findings: tuple[Finding, ...],
    policy: Policy,
    now: dt.datetime,
    lists: tuple[TrustList, ...],
    chosen: TrustList | None,
) -> Report:
    verdict, reading = conclude(findings, _applicable(policy, kind))
    content = None if chosen is None else chosen.content
    return Report(
        verdict,
        reading,
        now,
        policy.name,
        kind,
        findings,
        mock=lists[0].content.mock if lists else None,
        city=None if content is None else content.city,
        city_name=None if content is None else content.name,
        trust_version=None if chosen is None else chosen.version,
    )


def _applicable(policy: Policy, kind: str) -> Policy:
    # Only packages need opening; every other requirement stays, whatever the file is.
    return policy if kind == PACKAGE else replace(policy, required=policy.required - {DECRYPTION})


def _not_asked(case: Case, request: bytes | None, holder: Finding) -> tuple[str, ...]:
    words = ["print"] if case.parts.sealed is not None else []
    if not case.policy.ask_chain and case.trust.chain is not None:
        words.append("chain")
    if not case.policy.ask_status:
        words.append("status-now")
    if request is None:
        words.append("holder")
    if holder.code == "items-missing":
        words.append("items-missing")
    if case.parts.certificate is None:
        words.append("withheld")
    return tuple(words)


def _disclosed(parts: Parts) -> dict[str, JSON] | None:
    if parts.claims is None:
        return parts.certificate
    # Sorted: the order of disclosures is that of their random digests. Thresholds tell only what the data do not.
    return sort_members(parts.claims.disclosed() if parts.certificate is None else parts.claims.certificate())


def sort_members(value: dict[str, JSON]) -> dict[str, JSON]:
    """Objects with their members by name, whatever order they came in."""
    return {
        name: sort_members(value[name]) if isinstance(value[name], dict) else value[name]
        for name in sorted(value)
    }


def _page(parts: Parts) -> bytes | None:
    return None if parts.sealed is None else parts.sealed.revision


def trust_lists(trust: TrustList | Sequence[TrustList]) -> tuple[TrustList, ...]:
    """As a tuple. Raises: UsageError("no-trust"), TrustError("mock-mix")."""
    lists = (trust,) if isinstance(trust, TrustList) else tuple(trust)
    if not lists:
        raise UsageError("no-trust", "at least one trust list is needed")
    if len({entry.content.mock for entry in lists}) > 1:
        raise TrustError("mock-mix", "mock (模擬) and real trust are never used together")
    return lists


def _check_request(request: bytes) -> None:
    try:
        parse_submission_request(request)
    except FormatError as error:
        raise UsageError("bad-request", f"the request itself cannot be read: {error.code}") from error


__all__ = [
    "NotValidError",
    "NotVerifiedError",
    "Reading",
    "RecipientKey",
    "UndeterminedError",
    "examine",
    "open_file",
    "peek_kind",
    "verify",
]
