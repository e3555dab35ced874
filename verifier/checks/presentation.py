"""What a wallet of others handed over, against the request that it answers: by whose hand, and is it all that was asked.

RFC 9901 section 7.3 and OpenID4VP 1.0 sections 6, 8 and 14.1.2 (the nonce). Whether the city signed the credential is
asked by the same checks as for a file of ours.
"""

from __future__ import annotations

import datetime as dt
import hmac
from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric import ec

from verifier.checks.case import Case, failed, failed_by, instant, passed, undetermined
from verifier.checks.data import is_mock
from verifier.errors import FormatError
from verifier.formats.credential import Credential, CredentialClaims
from verifier.formats.dcql import DcqlQuery, check_answer, select_for_query
from verifier.formats.jose import same_thumbprint, thumbprint
from verifier.formats.key_binding import KeyBinding, parse_foreign_key_binding, presentation_hash
from verifier.formats.ladder import check_ladders
from verifier.formats.presentation_request import PresentationRequest
from verifier.formats.presentation_response import Presentation
from verifier.policy import DATA, HOLDER
from verifier.report import Finding


def check_binding(
    case: Case,
    presentation: Presentation,
    claims: CredentialClaims,
    request: PresentationRequest,
    received: dt.datetime,
) -> Finding:
    """The key binding of one credential: by the key it was issued to, over this selection, for this request, just now.

    received   when the answer arrived (UTC): the age of the binding counts to then, not to when somebody looks at it
    """
    try:
        binding = parse_foreign_key_binding(presentation.key_binding)
        binding.jws.verify(claims.holder_key)
        return _check_words(case, presentation, binding, request) or _check_times(
            case, binding, request, received
        )
    except FormatError as error:
        return failed_by(HOLDER, error)


def check_one_holder(keys: Sequence[ec.EllipticCurvePublicKey]) -> Finding:
    """Several credentials are taken for those of one person only where one key shows it."""
    first = thumbprint(keys[0])
    if all(same_thumbprint(thumbprint(key), first) for key in keys[1:]):
        return passed(HOLDER)
    detail = "credentials bound to different keys: nothing shows that they belong to one person"
    return undetermined(HOLDER, "several-holders", detail)


def check_asked(query: DcqlQuery, presented: Mapping[str, Credential]) -> Finding:
    """Everything that was asked for is there. What nobody asked for is named, and not passed on."""
    try:
        check_answer(query, presented)
        unasked = sum(
            len(presented[item.id].disclosures) - len(select_for_query(presented[item.id], item).disclosures)
            for item in query.credentials
            if item.id in presented
        )
    except FormatError as error:
        return failed_by(DATA, error)
    if unasked:
        return passed(
            DATA, "unasked-items", f"{unasked} items that nobody asked for are left out of this report"
        )
    return passed(DATA, "selected")


def check_content(case: Case, claims: CredentialClaims) -> Finding:
    """Thresholds and figures of one credential agree, and mock (模擬) and real never rest on each other."""
    try:
        check_ladders(claims.all, None)
    except FormatError as error:
        return failed_by(DATA, error)
    if is_mock(claims.all) != case.trust.mock:
        return failed(DATA, "mock-mix", "mock (模擬) and real certificates never rest on each other's trust")
    return passed(DATA, "selected")


def _check_words(
    case: Case, presentation: Presentation, binding: KeyBinding, request: PresentationRequest
) -> Finding | None:
    if not _same(binding.sd_hash, presentation_hash(presentation.sd_jwt)):
        return failed(HOLDER, "other-credential", "the binding belongs to another selection or credential")
    # The whole client identifier: without its prefix another kind of verifier could have the same name.
    if not _same(binding.audience, request.client_id):
        return failed(HOLDER, "other-audience", "made for another recipient")
    if not _same(binding.nonce, request.nonce):
        return failed(HOLDER, "other-request", "made for another request")
    return None


def _check_times(
    case: Case, binding: KeyBinding, request: PresentationRequest, received: dt.datetime
) -> Finding:
    skew, issued = case.policy.clock_skew, instant(binding.issued)
    if issued > case.now + skew or (
        binding.not_before is not None and instant(binding.not_before) > case.now + skew
    ):
        return failed(HOLDER, "bound-in-the-future", "bound in the future of this computer's clock")
    if max(issued, received) > instant(request.expires) + skew:
        return failed(HOLDER, "request-expired", "bound or handed over after the request had ended")
    # The door says when the answer came. It is believed within the life of the request only, and never beyond now.
    arrived = min(max(received, instant(request.issued)), case.now)
    if arrived - issued > case.policy.max_binding_age:
        return failed(HOLDER, "binding-too-old", "bound too long before it arrived")
    if issued < instant(request.issued) - skew:
        return failed(HOLDER, "binding-too-old", "bound before the request was made")
    if binding.expires is not None and arrived > instant(binding.expires) + skew:
        return failed(HOLDER, "binding-too-old", "the binding had ended when it arrived")
    return passed(HOLDER)


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
