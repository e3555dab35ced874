"""Newer evidence for the same certificate, from public static files only.

    bundle + {anchored, tiles, receipts/<size>, timestamps/<size>, status list} ─▶ bundle with the same
    documents

The sealed documents never change; no file asked for names the certificate or its index (tiles of 256
entries, whole lists). Everything fetched is checked before it is put in: a hostile server can only keep the
evidence as old as it is. This module asks nobody itself: `Sources` does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt

from verifier.checks.case import load_certificates
from verifier.checks.compromise import KeyCompromisedError
from verifier.checks.status import verify_status_list
from verifier.errors import FormatError, SourceError
from verifier.formats.bundle import Bundle, build_bundle, parse_bundle
from verifier.formats.chain_anchor import verify_anchor_receipt
from verifier.formats.checkpoint import Checkpoint, peek_checkpoint, verify_bundled_checkpoint
from verifier.formats.compromise import FormerLog
from verifier.formats.credential import parse_credential, peek_claims
from verifier.formats.encoding import sha256
from verifier.formats.evidence import parse_evidence
from verifier.formats.signed_note import VerifierKey
from verifier.formats.status_list import StatusList, parse_status_list
from verifier.formats.tiles import Fetch
from verifier.formats.timestamp import parse_token, verify_token
from verifier.formats.tlog_proof import TlogProof, format_tlog_proof, parse_tlog_proof, upgrade_tlog_proof
from verifier.formats.x509_path import PathError, Usage, verify_path
from verifier.sources import Sources
from verifier.trust import TrustList


def refresh_evidence(data: bytes, trust: TrustList, sources: Sources, *, now: dt.datetime) -> bytes:
    """The bundle `data` with the newest evidence that could be had; the same bytes if there is nothing newer.

    Raises: FormatError for a bundle that is none. An outage raises nothing: what could not be had stays as
    it was.
    """
    bundle = parse_bundle(data)
    if bundle.key_binding is not None:
        raise FormatError("bound-bundle", "evidence of a submission is not changed")
    bundle = _with_status(bundle, trust, sources, now)
    log, former = trust.content.log_of(parse_tlog_proof(bundle.inclusion).checkpoint)
    if former is not None and former.compromised:
        bundle = _under_named_state(bundle, trust, sources, former, now)
    elif trust.content.chain is not None and bundle.anchor is None:
        bundle = _with_anchor(bundle, trust, sources, log, now)
    return build_bundle(bundle)


def _with_anchor(
    bundle: Bundle, trust: TrustList, sources: Sources, log: VerifierKey, now: dt.datetime
) -> Bundle:
    fetch = _fetcher(trust, sources, log)
    try:
        checkpoint = fetch("anchored")
        proof, head = _proof_under(bundle, trust, checkpoint, fetch)
        old = parse_tlog_proof(bundle.inclusion).checkpoint
        if _has_quorum(old, trust) and not _has_quorum(checkpoint, trust):
            return bundle  # newer, but poorer: somebody has cut witnesses off
        anchor = _receipt(trust, head, fetch)
    except (SourceError, FormatError):
        return bundle
    return _with_evidence(bundle, proof, anchor, fetch, trust, now)


def _under_named_state(
    bundle: Bundle, trust: TrustList, sources: Sources, former: FormerLog, now: dt.datetime
) -> Bundle:
    """The proof under the state of a former log that the trust list names: its key alone says nothing any more."""
    if peek_checkpoint(parse_tlog_proof(bundle.inclusion).checkpoint) == former.last:
        return bundle
    fetch = _fetcher(trust, sources, former.log)
    for name in (f"checkpoints/{former.size}", "anchored", "checkpoint"):
        try:
            proof, head = _proof_under(bundle, trust, fetch(name), fetch)
        except (SourceError, FormatError):
            continue
        if head != former.last:
            continue
        anchor = None
        with contextlib.suppress(SourceError, FormatError):
            anchor = _receipt(trust, head, fetch)
        return _with_evidence(bundle, proof, anchor, fetch, trust, now)
    return bundle


def _fetcher(trust: TrustList, sources: Sources, log: VerifierKey) -> Fetch:
    base = "/" + log.name.split("/", 1)[1]
    return lambda path: sources.public_file(trust.content.public_url, f"{base}/{path}")


def _proof_under(
    bundle: Bundle, trust: TrustList, checkpoint: bytes, fetch: Fetch
) -> tuple[TlogProof, Checkpoint]:
    log, witnesses = trust.content.log_of(checkpoint)[0], trust.content.witness_policy.keys
    head = verify_bundled_checkpoint(checkpoint, log, witnesses).checkpoint
    old = parse_tlog_proof(bundle.inclusion)
    return upgrade_tlog_proof(old, _entry(bundle), checkpoint, fetch, log, witnesses), head


def _has_quorum(checkpoint: bytes, trust: TrustList) -> bool:
    log, policy = trust.content.log_of(checkpoint)[0], trust.content.witness_policy
    verified = verify_bundled_checkpoint(checkpoint, log, policy.keys)
    return policy.is_met_by({signature.key for signature in verified.signatures})


def _receipt(trust: TrustList, head: Checkpoint, fetch: Fetch) -> bytes:
    chain = trust.content.chain
    if chain is None:
        raise SourceError("no-chain", "the trust list names no chain")
    anchor = fetch(f"receipts/{head.size}")
    log = trust.content.log_of(anchor)[0]
    if verify_anchor_receipt(anchor, log, chain.chain_id, chain.contract).checkpoint != head:
        raise FormatError("other-checkpoint", "the receipt belongs to another state of the log")
    return anchor


def _with_evidence(
    bundle: Bundle, proof: TlogProof, anchor: bytes | None, fetch: Fetch, trust: TrustList, now: dt.datetime
) -> Bundle:
    checkpoint, head = proof.checkpoint, peek_checkpoint(proof.checkpoint)
    timestamp = None
    try:
        data = fetch(f"timestamps/{head.size}")
        _verify_stamp(data, checkpoint, trust, now)
        timestamp = data
    except (SourceError, FormatError, PathError):
        timestamp = None
    return dataclasses.replace(bundle, inclusion=format_tlog_proof(proof), anchor=anchor, timestamp=timestamp)


def _verify_stamp(data: bytes, checkpoint: bytes, trust: TrustList, now: dt.datetime) -> None:
    # As `checks.timestamp` will: one by a stranger, or of a later time, would make the whole certificate invalid.
    token = parse_token(data)
    authority = verify_token(token, digest=sha256(checkpoint))
    anchors = load_certificates(trust.content.tsa_cas)
    verify_path(authority, intermediates=(), anchors=anchors, at=token.time, usage=Usage.TIME_STAMP)
    if token.time > now:
        raise FormatError("in-the-future", "the time-stamp lies in the future of this device's clock")


def _with_status(bundle: Bundle, trust: TrustList, sources: Sources, now: dt.datetime) -> Bundle:
    reference = peek_claims(parse_credential(bundle.credential)).status
    try:
        token = sources.status_list(reference.uri)
        newer = _verified_list(token, reference.uri, trust, now)
        if newer.issued > parse_status_list(bundle.status).issued or _is_by_stolen_key(
            bundle.status, reference.uri, trust, now
        ):
            return dataclasses.replace(bundle, status=token.strip(b"\r\n"))
    except (SourceError, FormatError, PathError, KeyCompromisedError):
        return bundle
    return bundle


def _verified_list(token: bytes, uri: str, trust: TrustList, now: dt.datetime) -> StatusList:
    content = trust.content
    return verify_status_list(token, uri, content.credential_cas, now=now, compromised=content.compromised)


def _is_by_stolen_key(token: bytes, uri: str, trust: TrustList, now: dt.datetime) -> bool:
    # Such a list may claim any time: a genuine one replaces it, however old.
    try:
        _verified_list(token, uri, trust, now)
    except KeyCompromisedError:
        return True
    return False


def _entry(bundle: Bundle) -> bytes:
    evidence = parse_evidence(bundle.evidence)
    issuer_signed = parse_credential(bundle.credential).issuer_jwt
    return evidence.entry(data=bundle.certificate, page=bundle.page, credential=issuer_signed)
