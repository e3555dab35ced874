"""Was a key that it rests on stolen before it was logged? The trust list's word against the place in the log.

Whoever has a stolen key can write any date into what he signs, but he cannot get an old place in a log that he does not
have: an entry below `from_index` was there before the theft. So what was logged earlier stays valid, what was logged
from there on is not, and what no proof from the log stands behind cannot be told apart (UNDETERMINED).

Whoever has the log's key can make places too. Under a former log key that was stolen the proof counts only if somebody
else vouches for the checkpoint: the trust list (the last state that it names), a quorum of witnesses, or the chain when
it was asked. The anchor receipt does not: it is the same key's word. This module asks nobody.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509

from verifier.checks.case import Case, failed, passed, undetermined
from verifier.errors import AkashiVerifierError
from verifier.formats.checkpoint import VerifiedCheckpoint
from verifier.formats.compromise import CompromisedKey, FormerLog, key_digest
from verifier.formats.trust_list import TrustContent
from verifier.policy import COMPROMISE
from verifier.report import Finding, Outcome


class KeyCompromisedError(AkashiVerifierError):
    """Signed with a key that the trust list calls stolen, and no place in the log shows when."""


def check_compromise(
    case: Case,
    relied: Sequence[x509.Certificate],
    verified: VerifiedCheckpoint | None,
    confirmed: Sequence[Finding],
) -> Finding:
    """Every key that the file rests on, against the list of stolen ones.

    relied     certificates of seal, time-stamp and credential with everything above them, as far as they were verified
    verified   the checkpoint of the verified inclusion proof; None = there is none, or it is wrong
    confirmed  findings of those who vouch for a checkpoint besides the log: witnesses, chain
    """
    stolen = find_compromised(relied, case.trust.compromised)
    proof = case.parts.proof
    if verified is None or proof is None:
        if stolen:
            detail = "signed with a key that was stolen, and no proof from the log shows when"
            return undetermined(COMPROMISE, "no-log-evidence", detail)
        return passed(COMPROMISE)
    late = [entry for entry in stolen if not _was_logged_before(case.trust, verified, proof.index, entry)]
    if late:
        entry = late[0]
        detail = (
            f"entry {proof.index} of {verified.checkpoint.origin}; "
            f"the key counts as stolen from entry {entry.from_index} of {entry.log} on: {entry.reason}"
        )
        return failed(COMPROMISE, "key-compromised", detail)
    _log, former = case.trust.log_of(proof.checkpoint)
    if former is not None:
        doubt = _doubt_about_log(former, verified, confirmed)
        if doubt is not None:
            return doubt
    if stolen:
        return passed(COMPROMISE, "logged-before", f"entry {proof.index}, logged before the key was stolen")
    return passed(COMPROMISE)


def find_compromised(
    certificates: Sequence[x509.Certificate], compromised: Sequence[CompromisedKey]
) -> tuple[CompromisedKey, ...]:
    """Which of the stolen keys are among those of `certificates`."""
    if not compromised:
        return ()
    digests = {key_digest(certificate.public_key()) for certificate in certificates}
    return tuple(entry for entry in compromised if entry.key in digests)


def refuse_compromised(
    certificates: Sequence[x509.Certificate], compromised: Sequence[CompromisedKey]
) -> None:
    """For what no entry of the log contains (status lists). Raises: KeyCompromisedError."""
    if find_compromised(certificates, compromised):
        raise KeyCompromisedError("key-compromised", "signed with a key that the trust list calls stolen")


def _doubt_about_log(
    former: FormerLog, verified: VerifiedCheckpoint, confirmed: Sequence[Finding]
) -> Finding | None:
    head = verified.checkpoint
    if head.size == former.size and head.root != former.root:
        return failed(COMPROMISE, "log-fork", "another state of the log than the one the trust list names")
    if head == former.last or any(finding.outcome is Outcome.PASS for finding in confirmed):
        return None
    if former.compromised:
        detail = "the log's key was stolen, and neither witnesses nor the chain confirm its checkpoint"
        return undetermined(COMPROMISE, "log-key-compromised", detail, retry=True)
    if head.size > former.size:
        detail = "a checkpoint beyond the end of that log, and nobody else confirms it"
        return undetermined(COMPROMISE, "log-ended", detail, retry=True)
    return None


def _was_logged_before(
    trust: TrustContent, verified: VerifiedCheckpoint, index: int, entry: CompromisedKey
) -> bool:
    # Logs follow each other: all of an ended log lies before every entry of a later one, as far as it had come.
    origin = verified.checkpoint.origin
    if origin == entry.log:
        return index < entry.from_index
    ends: dict[str, int | None] = {}
    for former in trust.former_logs:
        ends.pop(former.log.name, None)
        ends[former.log.name] = former.size
    ends.pop(trust.log.name, None)
    ends[trust.log.name] = None  # has not ended
    order, end = list(ends), ends[origin]
    return end is not None and index < end and order.index(origin) < order.index(entry.log)
