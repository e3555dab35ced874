"""Did others see the same log? Cosignatures of the checkpoint against the policy of the trust list.

The signers of the trust list are others too: the last state that they name of a former log needs no cosignature.
"""

from __future__ import annotations

from verifier.checks.case import Case, not_applicable, passed, undetermined
from verifier.formats.checkpoint import VerifiedCheckpoint
from verifier.policy import WITNESSES
from verifier.report import Finding


def check_witnesses(case: Case, verified: VerifiedCheckpoint | None) -> Finding:
    """The quorum of the policy. Too few is no forgery: newer evidence may carry more."""
    policy, proof = case.trust.witness_policy, case.parts.proof
    if case.parts.bundle is None:
        return not_applicable(WITNESSES, "no-evidence", "a bare page carries no proof from the log")
    if verified is not None and proof is not None:
        _log, former = case.trust.log_of(proof.checkpoint)
        if former is not None and former.last == verified.checkpoint:
            return passed(WITNESSES, "named-state", "the trust list names this state of the log")
    if policy.quorum is None:
        return not_applicable(WITNESSES, "no-quorum", "the trust list asks for no witnesses")
    if verified is None:
        return undetermined(WITNESSES, "no-checkpoint", "the checkpoint itself is wrong")
    keys = {signature.key for signature in verified.signatures}
    if not policy.is_met_by(keys):
        return undetermined(
            WITNESSES, "quorum-missing", "fewer witnesses than the policy asks for", retry=True
        )
    return passed(WITNESSES)
