"""Is it in the city's log? The leaf, computed from the contents, under a checkpoint that the log signed.

What a signature by a former key of the log is still worth is asked in `compromise`.
"""

from __future__ import annotations

from verifier.checks.case import Case, failed_by, not_applicable, passed
from verifier.errors import FormatError
from verifier.formats.checkpoint import VerifiedCheckpoint
from verifier.formats.tlog_proof import verify_tlog_proof
from verifier.policy import INCLUSION
from verifier.report import Finding


def check_inclusion(case: Case) -> tuple[Finding, VerifiedCheckpoint | None]:
    """Leaf v1 over the contents, inclusion proof, log signature, nothing unknown in the checkpoint."""
    parts = case.parts
    if parts.bundle is None or parts.evidence is None or parts.proof is None or parts.credential is None:
        return not_applicable(INCLUSION, "no-evidence", "a bare page carries no proof from the log"), None
    try:
        entry = parts.evidence.entry(
            data=parts.bundle.certificate,
            page=None if parts.sealed is None else parts.sealed.revision,
            credential=parts.credential.issuer_jwt,
        )
        log, _former = case.trust.log_of(parts.proof.checkpoint)
        verified = verify_tlog_proof(parts.proof, entry, log, case.trust.witness_policy.keys)
    except FormatError as error:
        return failed_by(INCLUSION, error), None
    head = verified.checkpoint
    return passed(INCLUSION, detail=f"entry {parts.proof.index} of {head.size} in {head.origin}"), verified
