"""The walk for what a wallet of others presents: from an encrypted answer to a verdict. `verifier.verify` is for files.

What must be shown, in this order (the numbers stand again in the code):

 1. The answer opens with the key that was made for this request.                        decryption
 2. It is presentations and a state, in their only form; the person did not decline.       format
 3. The state is this request's, and no other answer was taken for it.                     holder
 Then for each credential
 4. it is what RFC 9901 lets it be, no disclosure too many or twice ...                    format
 5. ... a trust list that we hold, still in force, speaks for the city it names ...        trust
 6. ... and that city signed it, as one of its types of credential ...                     credential
 7. ... with a key that was not stolen.                                                    compromise
 8. It has not been revoked: the present list is asked.                                    status
 9. Today lies in its period of validity.                                                  validity
10. It was bound to this request by the phone it was issued to, over this selection.       holder
 And together
11. they are one person's, as far as keys can show it,                                     holder
12. and everything that was asked for is there; what nobody asked for is left out.         data

A wallet of others carries no evidence from the city's log, so none is asked for, and the report says so (`log`).
What the caller still has to do: keep the request and its key until the answer comes, make `take` atomic
(`verifier.presentation_file`), and keep its trust directory up to date. No claim leaves this module unless the verdict
is VALID.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from verifier.checks.case import Case, Parts, failed, failed_by, passed, undetermined
from verifier.checks.compromise import check_compromise
from verifier.checks.credential import check_credential
from verifier.checks.presentation import check_asked, check_binding, check_content, check_one_holder
from verifier.checks.status import check_present_status
from verifier.checks.validity import check_validity
from verifier.errors import FormatError, UsageError
from verifier.formats.credential import Credential, CredentialClaims, peek_claims
from verifier.formats.dcql import select_for_query
from verifier.formats.encoding import JSON
from verifier.formats.jose import agreement, same_thumbprint, thumbprint
from verifier.formats.package import KeyAgreement
from verifier.formats.presentation_request import PresentationRequest, parse_presentation_request
from verifier.formats.presentation_response import (
    Presentation,
    PresentationResponse,
    open_presentation_response,
    parse_presentation_response,
)
from verifier.policy import CHECKS, DECRYPTION, FORMAT, HOLDER, Policy
from verifier.report import Finding, Outcome, Report, Verdict, conclude
from verifier.sources import Sources
from verifier.trust import TrustList
from verifier.verify import RecipientKey, choose_trust, sort_members, trust_lists

PRESENTATION: Final = "presentation"
NOT_ASKED: Final = ("log", "withheld")

Take = Callable[[bytes], bool]
"""Binds an answer (its bytes) to its request, once: True for the first answer and for the same bytes again, False for any
other. It decides atomically, also between processes."""

_GRAVITY: Final = (Outcome.NOT_APPLICABLE, Outcome.PASS, Outcome.UNDETERMINED, Outcome.FAIL)


@dataclass(slots=True)
class _Walk:
    """What the walk has found so far; only here until the report is made."""

    findings: list[Finding] = field(default_factory=list)
    claims: list[CredentialClaims] = field(default_factory=list)
    chosen: TrustList | None = None
    status_as_of: dt.datetime | None = None

    def note_status(self, moment: dt.datetime | None) -> None:
        """Of several credentials the oldest evidence counts."""
        if moment is not None:
            self.status_as_of = min(moment, self.status_as_of or moment)


def examine_presentation(
    response: bytes,
    *,
    request: bytes,
    key: RecipientKey,
    trust: TrustList | Sequence[TrustList],
    policy: Policy,
    now: dt.datetime,
    sources: Sources,
    take: Take,
    received: dt.datetime | None = None,
) -> Report:
    """Examine the answer of a wallet; whatever the bytes are, there is a report.

    response   the JWE of the form field `response`
    request    the signed request object that it answers
    key        the private half of that request's encryption key
    trust      one accepted trust list, or one for each city (never mock and real together)
    policy     what has to be known: `policy.WALLET`
    now        the time, UTC
    sources    who may be asked for status lists
    take       single use, see `Take`
    received   when the answer arrived, by the door's word (UTC); None = now
    Raises: UsageError (arguments that make no sense), TrustError("mock-mix"); what `take` raises.
    """
    lists = trust_lists(trust)
    if now.tzinfo is None or (received is not None and received.tzinfo is None):
        raise UsageError("naive-time", "times must carry their time zone")
    asked = _own_request(request, key)
    walk = _Walk()
    answer = _open(walk, response, asked, key)
    if answer is None:
        return _report(walk, policy, now, lists, None)
    walk.findings.append(_check_state(answer, asked, response, take))  # 3
    for presentation in answer.presentations.values():
        _look_at(walk, presentation, asked, lists, policy, now, received or now, sources)
    keys = [claims.holder_key for claims in walk.claims]
    if keys:
        walk.findings.append(check_one_holder(keys))  # 11
    presented = {name: item.credential for name, item in answer.presentations.items()}
    walk.findings.append(check_asked(asked.query, presented))  # 12
    return _report(walk, policy, now, lists, (asked, presented))


def pending_report(policy: Policy, now: dt.datetime, code: str, detail: str, *, retry: bool) -> Report:
    """What can be said while there is no answer to examine: nothing. `code` and `detail` say why there is none."""
    finding = undetermined(HOLDER, code, detail, retry=retry)
    verdict, reading = conclude([finding], policy)
    return Report(verdict, reading, now, policy.name, PRESENTATION, (finding,), NOT_ASKED)


def _own_request(request: bytes, key: RecipientKey) -> PresentationRequest:
    try:
        asked = parse_presentation_request(request)
    except FormatError as error:
        raise UsageError("bad-request", f"the request itself cannot be read: {error.code}") from error
    own = thumbprint(key.public_key()) if isinstance(key, ec.EllipticCurvePrivateKey) else key[0]
    if not same_thumbprint(own, asked.kid):
        raise UsageError("other-key", "the key is not the one of this request")
    return asked


def _open(
    walk: _Walk, response: bytes, asked: PresentationRequest, key: RecipientKey
) -> PresentationResponse | None:
    agree: KeyAgreement = agreement(key) if isinstance(key, ec.EllipticCurvePrivateKey) else key[1]
    try:  # 1
        plaintext = open_presentation_response(response, asked, agree)
    except FormatError as error:
        walk.findings.append(failed_by(DECRYPTION, error))
        return None
    walk.findings.append(passed(DECRYPTION))
    try:  # 2
        answer = parse_presentation_response(plaintext)
    except FormatError as error:
        walk.findings.append(failed_by(FORMAT, error))
        return None
    if answer.error is not None:
        walk.findings.append(failed(FORMAT, "declined", f"the wallet answers {answer.error}"))
        return None
    return answer


def _check_state(
    answer: PresentationResponse, asked: PresentationRequest, response: bytes, take: Take
) -> Finding:
    # The state decides nothing by itself (whoever reads the request knows it), but an answer that carries another one was
    # made for another request.
    if answer.state is None or not same_thumbprint(answer.state, asked.state):
        return failed(HOLDER, "other-request", "the answer carries another state")
    if not take(response):
        return failed(HOLDER, "answered-before", "another answer to this request was taken already")
    return passed(HOLDER)


def _look_at(
    walk: _Walk,
    presentation: Presentation,
    asked: PresentationRequest,
    lists: tuple[TrustList, ...],
    policy: Policy,
    now: dt.datetime,
    received: dt.datetime,
    sources: Sources,
) -> None:
    try:  # 4
        claims = peek_claims(presentation.credential)
    except FormatError as error:
        walk.findings.append(failed_by(FORMAT, error))
        return
    walk.claims.append(claims)
    parts = Parts(None, None, credential=presentation.credential, claims=claims)
    chosen, finding = choose_trust(parts, lists, now)  # 5
    walk.chosen = walk.chosen or chosen
    walk.findings += [passed(FORMAT), finding]
    if chosen is None or chosen.is_expired(now):
        return
    case = Case(parts, chosen.content, policy, now, sources)
    credential_finding, path = check_credential(case)  # 6
    status_finding, moment = check_present_status(case, claims.status)  # 8
    walk.note_status(moment)
    walk.findings += [
        credential_finding,
        check_compromise(case, path, None, ()),  # 7
        status_finding,
        check_validity(case),  # 9
        check_binding(case, presentation, claims, asked, received),  # 10
        check_content(case, claims),
    ]


def _report(
    walk: _Walk,
    policy: Policy,
    now: dt.datetime,
    lists: tuple[TrustList, ...],
    answered: tuple[PresentationRequest, Mapping[str, Credential]] | None,
) -> Report:
    findings = _worst_of_each(walk.findings)
    verdict, reading = conclude(findings, policy)
    content = None if walk.chosen is None else walk.chosen.content
    return Report(
        verdict,
        reading,
        now,
        policy.name,
        PRESENTATION,
        findings,
        not_asked=NOT_ASKED,
        mock=lists[0].content.mock,
        city=None if content is None else content.city,
        city_name=None if content is None else content.name,
        trust_version=None if walk.chosen is None else walk.chosen.version,
        status_as_of=walk.status_as_of,
        certificate=None if verdict is not Verdict.VALID or answered is None else _disclosed(*answered),
    )


def _worst_of_each(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """One finding for each check: one bad credential among several spoils the answer."""
    worst: dict[str, Finding] = {}
    for finding in findings:
        known = worst.get(finding.check)
        if known is None or _weight(finding) > _weight(known):
            worst[finding.check] = finding
    return tuple(worst[check] for check in CHECKS if check in worst)


def _weight(finding: Finding) -> tuple[int, bool]:
    # Of two that passed, the one that has something to say.
    return _GRAVITY.index(finding.outcome), finding.code == "unasked-items"


def _disclosed(asked: PresentationRequest, presented: Mapping[str, Credential]) -> dict[str, JSON]:
    """Only what was asked for, and what a credential always says; by query id where several were asked for."""
    shown: dict[str, JSON] = {
        item.id: sort_members(peek_claims(select_for_query(presented[item.id], item)).disclosed())
        for item in asked.query.credentials
        if item.id in presented
    }
    if len(asked.query.credentials) > 1:
        return shown
    only: dict[str, JSON] = next(iter(shown.values()))
    return only


__all__ = ["PRESENTATION", "Take", "examine_presentation", "pending_report"]
