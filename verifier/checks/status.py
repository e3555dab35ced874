"""Is it still in force? The enclosed status list, and under `online` the list's own present word."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from typing import Final

from cryptography import x509

from verifier.checks.case import Case, failed, failed_by, instant, load_certificates, passed, undetermined
from verifier.checks.compromise import KeyCompromisedError, refuse_compromised
from verifier.errors import FormatError, SourceError
from verifier.formats.compromise import CompromisedKey
from verifier.formats.credential import StatusReference, peek_x5c
from verifier.formats.status_list import VALID, StatusList, parse_status_list
from verifier.formats.x509_path import PathError, Usage, p256_key, verify_path
from verifier.policy import STATUS
from verifier.report import Finding


def check_status(case: Case) -> tuple[Finding, dt.datetime | None]:
    """The finding, and when its evidence was made.

    Revoked in any list that the city signed is a no. A list that is too old, or that did not come, decides
    nothing; nor does one by a stolen key, whatever it says: no entry of the log shows when it was made.
    """
    bundle, claims = case.parts.bundle, case.parts.claims
    if bundle is None or claims is None:
        return undetermined(
            STATUS, "no-status-reference", "a bare page does not say where its status is kept"
        ), None
    reference = claims.status
    if not case.trust.names_status_list(reference.uri):
        return failed(STATUS, "other-list", "a status list that is not on the trust list"), None
    if bundle.status != bundle.status.strip(b"\r\n"):
        # A server may end the file with a line; in a bundle nothing is ignorable.
        return failed(STATUS, "not-canonical", "something stands around the enclosed list"), None
    newest: StatusList | None = None
    try:
        newest = _verified(case, bundle.status, reference)
        if newest.status(reference.index) != VALID:
            return _revoked(newest), instant(newest.issued)
    except (FormatError, PathError) as error:
        return failed_by(STATUS, error), None
    except KeyCompromisedError as error:
        if not case.policy.ask_status:
            return undetermined(STATUS, error.code, error.detail, retry=True), None
    if newest is None or case.policy.ask_status:
        return _present(case, reference, newest)
    return _fresh(case, newest), instant(newest.issued)


def check_present_status(case: Case, reference: StatusReference) -> tuple[Finding, dt.datetime | None]:
    """The same for a credential that comes without a list: the present one is asked for, whatever the policy says."""
    if not case.trust.names_status_list(reference.uri):
        return failed(STATUS, "other-list", "a status list that is not on the trust list"), None
    return _present(case, reference, None)


def _present(
    case: Case, reference: StatusReference, enclosed: StatusList | None
) -> tuple[Finding, dt.datetime | None]:
    before = None if enclosed is None else instant(enclosed.issued)
    try:
        present = _verified(case, case.sources.status_list(reference.uri), reference)
        state = present.status(reference.index)
    except (SourceError, FormatError, PathError, KeyCompromisedError) as error:
        # A list that came over the network and is not what the city signs is an outage of that source.
        detail = f"the present list could not be had: {error.code}"
        return undetermined(STATUS, "list-unreachable", detail, retry=True), before
    if enclosed is not None and present.issued < enclosed.issued:
        detail = "the source answers with an older list than the enclosed one"
        return undetermined(STATUS, "list-too-old", detail, retry=True), before
    if state != VALID:
        return _revoked(present), instant(present.issued)
    return _fresh(case, present), instant(present.issued)


def _fresh(case: Case, newest: StatusList) -> Finding:
    issued = instant(newest.issued)
    limit = min(case.policy.max_status_age, dt.timedelta(seconds=case.trust.max_status_age))
    detail = f"as of {issued:%Y-%m-%dT%H:%M:%SZ}"
    if issued > case.now + case.policy.clock_skew:
        return undetermined(STATUS, "list-in-the-future", f"{detail}; is this computer's clock right?")
    expired = newest.expires is not None and case.now >= instant(newest.expires)
    if case.now - issued > limit or expired:
        return undetermined(STATUS, "stale-status", detail, retry=True)
    return passed(STATUS, detail=detail)


def _verified(case: Case, data: bytes, reference: StatusReference) -> StatusList:
    """The list, if the city signed it for this address. Raises: FormatError, PathError, KeyCompromisedError."""
    trust = case.trust
    return verify_status_list(
        data, reference.uri, trust.credential_cas, now=case.now, compromised=trust.compromised
    )


def verify_status_list(
    data: bytes,
    uri: str,
    credential_cas: tuple[bytes, ...],
    *,
    now: dt.datetime,
    compromised: Sequence[CompromisedKey],
) -> StatusList:
    """The list at `uri`, if a certificate under one of `credential_cas` (DER) for this city signed it.

    Raises: FormatError, PathError, KeyCompromisedError (it is the city's, by a key of `compromised`).
    """
    token = _parsed(data)
    if token.uri != uri:
        raise FormatError("other-list", "the token is of another list")
    chain = load_certificates(peek_x5c(token.jws))
    path = verify_path(
        chain[0],
        intermediates=chain[1:],
        anchors=load_certificates(credential_cas),
        at=min(instant(token.issued), now),
        usage=Usage.STATUS_LIST,
        san_uri=uri.rpartition("/")[0],
    )
    _check_signature(data, chain[0])
    refuse_compromised(path, compromised)
    return token


# One list stands behind very many certificates. What is remembered follows from all the bytes of the list (and of the
# certificate) alone, and only what was found good; path, time, address and stolen keys are asked anew for every file.
MAX_REMEMBERED: Final = 8


@functools.lru_cache(maxsize=MAX_REMEMBERED)
def _parsed(data: bytes) -> StatusList:
    return parse_status_list(data)


@functools.lru_cache(maxsize=MAX_REMEMBERED)
def _check_signature(data: bytes, certificate: x509.Certificate) -> None:
    _parsed(data).jws.verify(p256_key(certificate))


def _revoked(newest: StatusList) -> Finding:
    return failed(STATUS, "revoked", f"as of {instant(newest.issued):%Y-%m-%dT%H:%M:%SZ}")
