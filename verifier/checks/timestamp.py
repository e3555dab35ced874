"""When was it sealed and logged, on another's word than the city's? Time-stamps of page and checkpoint."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from cryptography import x509

from verifier.checks.case import (
    Case,
    failed,
    failed_by,
    load_certificates,
    not_applicable,
    passed,
    undetermined,
)
from verifier.checks.compromise import find_compromised
from verifier.errors import FormatError
from verifier.formats.encoding import sha256
from verifier.formats.pdf_seal import VerifiedSeal
from verifier.formats.timestamp import TimestampToken, parse_token, verify_token
from verifier.formats.x509_path import (
    PathError,
    RevocationUnknownError,
    Usage,
    parse_crl,
    verify_path,
    verify_revocation,
)
from verifier.policy import TIMESTAMP
from verifier.report import Finding


def check_timestamp(case: Case, seal: VerifiedSeal | None) -> tuple[Finding, tuple[x509.Certificate, ...]]:
    """The authorities' certificates and times, for the page and for the checkpoint (if it is there).

    Answers the path of the page's authority too, () if there is none. A time-stamp of the checkpoint by a stolen key is
    no evidence of anything and is not counted: no entry of the log contains it, and no verdict rests on it.
    """
    parts = case.parts
    token = None if parts.bundle is None else parts.bundle.timestamp
    if parts.sealed is None and token is None:
        return not_applicable(TIMESTAMP, "no-page", "the file holds no page and no other time-stamp"), ()
    if parts.sealed is not None and seal is None:
        return undetermined(TIMESTAMP, "no-seal", "the seal itself is wrong"), ()
    try:
        crls = () if parts.sealed is None else tuple(parse_crl(der) for der in parts.sealed.crls)
        moments = []
        path: tuple[x509.Certificate, ...] = ()
        if parts.sealed is not None and seal is not None:
            path = _verify_authority(case, seal.authority, parts.sealed.timestamp, crls)
            moments.append(("sealed", seal.sealed_at))
        if token is not None and parts.proof is not None:
            logged_at = _checkpoint_time(case, token, parts.proof.checkpoint)
            moments += [] if logged_at is None else [("logged", logged_at)]
    except (FormatError, PathError) as error:
        return failed_by(TIMESTAMP, error), ()
    except RevocationUnknownError as error:
        return undetermined(TIMESTAMP, error.code, error.detail), ()
    if any(moment > case.now + case.policy.clock_skew for _, moment in moments):
        detail = "a time-stamp lies in the future of this computer's clock"
        return failed(TIMESTAMP, "in-the-future", detail), path
    times = ", ".join(f"{name} {at:%Y-%m-%dT%H:%M:%SZ}" for name, at in moments)
    return passed(TIMESTAMP, detail=times), path


def _verify_authority(
    case: Case,
    authority: x509.Certificate,
    token: TimestampToken,
    crls: Sequence[x509.CertificateRevocationList] | None,
) -> tuple[x509.Certificate, ...]:
    path = verify_path(
        authority,
        intermediates=(),
        anchors=load_certificates(case.trust.tsa_cas),
        at=token.time,
        usage=Usage.TIME_STAMP,
    )
    if crls is not None:
        verify_revocation(path, crls, at=token.time)
    return path


def _checkpoint_time(case: Case, data: bytes, checkpoint: bytes) -> dt.datetime | None:
    # No revocation lists travel with this token: it is evidence beside the log's own, no verdict rests on
    # it alone.
    token = parse_token(data)
    path = _verify_authority(case, verify_token(token, digest=sha256(checkpoint)), token, None)
    return None if find_compromised(path, case.trust.compromised) else token.time
