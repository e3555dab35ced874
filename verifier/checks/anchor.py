"""Was the log's state anchored outside? The receipt, on the log key's word; `chain` asks the chain itself."""

from __future__ import annotations

from verifier.checks.case import Case, failed, failed_by, not_applicable, passed, undetermined
from verifier.errors import FormatError, SourceError
from verifier.formats.chain_anchor import AnchorReceipt, verify_anchor_receipt
from verifier.formats.checkpoint import VerifiedCheckpoint, verify_bundled_checkpoint
from verifier.formats.tlog_proof import upgrade_tlog_proof
from verifier.formats.trust_list import ChainTrust
from verifier.policy import ANCHOR
from verifier.report import Finding


def check_anchor(case: Case, verified: VerifiedCheckpoint | None) -> tuple[Finding, AnchorReceipt | None]:
    """The receipt is signed by the log, for the chain of the trust list, over the checkpoint of the proof."""
    bundle, chain = case.parts.bundle, case.trust.chain
    if bundle is None:
        return not_applicable(ANCHOR, "no-evidence", "a bare page carries no proof from the log"), None
    if bundle.anchor is None:
        if chain is None:
            return not_applicable(ANCHOR, "no-chain", "the trust list names no chain"), None
        return _anchored_since(case, verified)
    if chain is None:
        return failed(ANCHOR, "other-chain", "a receipt although the trust list names no chain"), None
    if verified is None:
        return undetermined(ANCHOR, "no-checkpoint", "the checkpoint itself is wrong"), None
    try:
        log, _former = case.trust.log_of(bundle.anchor)
        receipt = verify_anchor_receipt(bundle.anchor, log, chain.chain_id, chain.contract)
    except FormatError as error:
        return failed_by(ANCHOR, error), None
    if receipt.checkpoint != verified.checkpoint:
        return failed(ANCHOR, "other-checkpoint", "the receipt belongs to another state of the log"), None
    return passed(ANCHOR, detail=f"block {receipt.block_number} of chain {receipt.chain_id}"), receipt


def _anchored_since(case: Case, verified: VerifiedCheckpoint | None) -> tuple[Finding, AnchorReceipt | None]:
    # Only for an entry that was shown to be in the log: `check_inclusion` has read its evidence without
    # error.
    receipt = _newer_receipt(case) if case.policy.ask_chain and verified is not None else None
    if receipt is None:
        detail = "the file was made before anchoring"
        return undetermined(ANCHOR, "not-anchored-yet", detail, retry=True), None
    return passed(ANCHOR, "anchored-since", f"block {receipt.block_number}"), receipt


def _newer_receipt(case: Case) -> AnchorReceipt | None:
    """The receipt of a later state of the log that holds the same entry, from the city's public files.

    The files are checked like those of a bundle; whoever serves others only keeps the evidence as old as it
    is.
    """
    parts, trust = case.parts, case.trust
    if parts.bundle is None or parts.evidence is None or parts.proof is None or parts.credential is None:
        return None
    if trust.chain is None:
        return None
    entry = parts.evidence.entry(
        data=parts.bundle.certificate,
        page=None if parts.sealed is None else parts.sealed.revision,
        credential=parts.credential.issuer_jwt,
    )
    # The file's own state of the log may have been anchored since; else a newer one that holds the entry too.
    for name in (None, "anchored", "checkpoint"):
        try:
            note = parts.proof.checkpoint if name is None else _fetch(case, name)
            receipt = _receipt_over(case, note, trust.chain)
            if name is not None:
                keys = (trust.log_of(note)[0], trust.witness_policy.keys)
                upgrade_tlog_proof(parts.proof, entry, note, lambda path: _fetch(case, path), *keys)
        except (SourceError, FormatError):
            continue
        return receipt
    return None


def _receipt_over(case: Case, note: bytes, chain: ChainTrust) -> AnchorReceipt:
    trust = case.trust
    head = verify_bundled_checkpoint(note, trust.log_of(note)[0], trust.witness_policy.keys).checkpoint
    data = _fetch(case, f"receipts/{head.size}")
    receipt = verify_anchor_receipt(data, trust.log_of(data)[0], chain.chain_id, chain.contract)
    if receipt.checkpoint != head:
        raise FormatError("other-checkpoint", "the receipt belongs to another state of the log")
    return receipt


def _fetch(case: Case, path: str) -> bytes:
    log = case.trust.log if case.parts.proof is None else case.trust.log_of(case.parts.proof.checkpoint)[0]
    base = "/" + log.name.partition("/")[2]
    return case.sources.public_file(case.trust.public_url, f"{base}/{path}")
