"""Was it handed to us, for this request, by the phone it was issued to? Key binding, audience and nonce."""

from __future__ import annotations

import functools
import hmac

from verifier.checks.case import Case, failed, failed_by, instant, not_applicable, passed, undetermined
from verifier.errors import FormatError
from verifier.formats.encoding import JSON
from verifier.formats.key_binding import parse_key_binding, presentation_hash
from verifier.formats.ladder import is_rung
from verifier.formats.submission_request import (
    ALL_ITEMS,
    SubmissionRequest,
    parse_submission_request,
    request_nonce,
)
from verifier.policy import HOLDER
from verifier.report import Finding


def check_holder(case: Case, request: bytes | None) -> Finding:
    """RFC 9901 section 7.3 with the audience and nonce of `request` (the descriptor's bytes).

    Without a request an unbound file is just a certificate; with one it is no submission. A bound file
    cannot be judged without its request.
    """
    bundle, claims = case.parts.bundle, case.parts.claims
    if bundle is None or claims is None or bundle.key_binding is None:
        if request is not None:
            return failed(HOLDER, "not-bound", "the file was not made for a request")
        return not_applicable(HOLDER, "no-binding", "the file is not bound to a request")
    try:
        binding = parse_key_binding(bundle.key_binding)
        binding.jws.verify(claims.holder_key)
        if set(binding.jws.header) != {"alg", "typ"}:
            return failed(HOLDER, "not-canonical", "a key binding header has exactly alg and typ")
        if not hmac.compare_digest(binding.sd_hash.encode(), presentation_hash(bundle.credential).encode()):
            return failed(
                HOLDER, "other-credential", "the binding belongs to another selection or credential"
            )
        issued = instant(binding.issued)
        if request is None:
            return undetermined(HOLDER, "request-needed", "the request it was made for is needed")
        asked, audience = _asked(request)
    except FormatError as error:
        return failed_by(HOLDER, error)
    if not hmac.compare_digest(binding.audience.encode(), audience.encode()):
        return failed(HOLDER, "other-audience", "made for another recipient")
    if not hmac.compare_digest(binding.nonce.encode(), request_nonce(request).encode()):
        return failed(HOLDER, "other-request", "made for another request")
    if issued > case.now + case.policy.clock_skew:
        return failed(HOLDER, "bound-in-the-future", "bound in the future of this computer's clock")
    if case.now - issued > case.policy.max_binding_age:
        return failed(HOLDER, "binding-too-old", "bound too long ago")
    if issued > asked.expires + case.policy.clock_skew:
        return failed(HOLDER, "request-expired", "bound after the request had ended")
    missing = [item for item in asked.items if not _is_there(case, item)]
    if missing:
        # Holding back is the resident's right, and whether it suffices is the recipient's to say.
        detail = f"asked for and not handed over: {', '.join(missing)}"
        if any(is_rung(tuple(item.split("."))) for item in missing):
            detail += "; a threshold that is not there is not confirmed"
        return passed(HOLDER, "items-missing", detail)
    return passed(HOLDER)


@functools.lru_cache(maxsize=8)
def _asked(request: bytes) -> tuple[SubmissionRequest, str]:
    # By all its bytes: a desk examines many answers to one request of its own.
    asked = parse_submission_request(request)
    return asked, asked.audience()


def _is_there(case: Case, item: str) -> bool:
    if item == ALL_ITEMS:
        return case.parts.certificate is not None
    if item == "page":
        return case.parts.sealed is not None
    value: JSON = None if case.parts.claims is None else dict(case.parts.claims.all)
    for name in item.split("."):
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    return bool(value != {})
