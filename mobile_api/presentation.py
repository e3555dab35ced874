"""What leaves the phone for one request: the bundle cut down to what was asked, bound to recipient and
request.

Pure. Asked for everything: the whole bundle. Asked for single claims: their disclosures only;
certificate.json stays (its hash goes), and the page stays unless it was asked for. A threshold that does not hold is
left out: nothing goes in its place. The binding is last, so that it covers what is shown.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime

from verifier.formats.bundle import Bundle, add_key_binding, build_bundle, parse_bundle
from verifier.formats.credential import Credential, parse_credential, peek_processed, select_disclosures
from verifier.formats.evidence import build_evidence, parse_evidence, withhold
from verifier.formats.jose import SignDigest
from verifier.formats.key_binding import build_key_binding
from verifier.formats.ladder import is_rung, read_ladders
from verifier.formats.submission_request import ALL_ITEMS, SubmissionRequest, request_nonce


def select_for(bundle: Bundle, request: SubmissionRequest) -> Bundle:
    """The bundle with nothing in it that `request` did not ask for. Raises: FormatError for an unknown
    claim; a threshold of the table that does not hold is not unknown, see `unanswered_items`.
    """
    if ALL_ITEMS in request.items:
        return bundle
    with_page = request.asks_for_page()
    evidence = withhold(
        parse_evidence(bundle.evidence), data=bundle.certificate, page=None if with_page else bundle.page
    )
    credential = parse_credential(bundle.credential)
    unanswered = _unanswered(credential, request)
    paths = [tuple(item.split(".")) for item in request.items if item != "page" and item not in unanswered]
    chosen = select_disclosures(credential, paths)
    return dataclasses.replace(
        bundle,
        page=bundle.page if with_page else None,
        certificate=None,
        credential=chosen.serialise(),
        evidence=build_evidence(evidence),
    )


def unanswered_items(bundle: Bundle, request: SubmissionRequest) -> tuple[str, ...]:
    """The thresholds of the request that the credential does not confirm, for the person to see before handing over.

    Raises: FormatError.
    """
    return _unanswered(parse_credential(bundle.credential), request)


def _unanswered(credential: Credential, request: SubmissionRequest) -> tuple[str, ...]:
    held = {
        f"{name}.{rung}" for name, rungs in read_ladders(peek_processed(credential)).items() for rung in rungs
    }
    return tuple(item for item in request.items if is_rung(tuple(item.split("."))) and item not in held)


def build_presentation(
    bundle: bytes, request: SubmissionRequest, descriptor: bytes, sign: SignDigest, now: datetime
) -> bytes:
    """The submission's bytes. `sign` by the device's signing key (cnf). Raises: FormatError, LimitError."""
    chosen = select_for(parse_bundle(bundle), request)
    binding = build_key_binding(
        chosen.credential,
        audience=request.audience(),
        nonce=request_nonce(descriptor),
        issued=int(now.timestamp()),
        sign=sign,
    )
    return add_key_binding(build_bundle(chosen), binding)
