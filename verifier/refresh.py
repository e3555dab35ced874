"""Newer evidence for the same certificate, from public static files only.

    bundle + {anchored, tiles, receipts/<size>, timestamps/<size>, status list} ─▶ bundle with the same
    documents

The sealed documents never change; no file asked for names the certificate or its index (tiles of 256
entries, whole lists). Everything fetched is checked before it is put in: a hostile server can only keep the
evidence as old as it is. This module asks nobody itself: `Sources` does.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

from verifier.checks.status import verify_status_list
from verifier.errors import FormatError, SourceError
from verifier.formats.bundle import Bundle, build_bundle, parse_bundle
from verifier.formats.chain_anchor import verify_anchor_receipt
from verifier.formats.checkpoint import verify_bundled_checkpoint
from verifier.formats.credential import parse_credential, peek_claims
from verifier.formats.encoding import sha256
from verifier.formats.evidence import parse_evidence
from verifier.formats.status_list import parse_status_list
from verifier.formats.timestamp import parse_token, verify_token
from verifier.formats.tlog_proof import format_tlog_proof, parse_tlog_proof, upgrade_tlog_proof
from verifier.formats.x509_path import PathError
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
    if trust.content.chain is not None and bundle.anchor is None:
        bundle = _with_anchor(bundle, trust, sources)
    return build_bundle(bundle)


def _with_anchor(bundle: Bundle, trust: TrustList, sources: Sources) -> Bundle:
    content = trust.content
    chain = content.chain
    if chain is None:
        return bundle
    base = "/" + content.log.name.split("/", 1)[1]

    def fetch(path: str) -> bytes:
        return sources.public_file(content.public_url, f"{base}/{path}")

    try:
        checkpoint = fetch("anchored")
        head = verify_bundled_checkpoint(checkpoint, content.log, content.witness_policy.keys).checkpoint
        proof = upgrade_tlog_proof(
            parse_tlog_proof(bundle.inclusion),
            _entry(bundle),
            checkpoint,
            fetch,
            content.log,
            content.witness_policy.keys,
        )
        anchor = fetch(f"receipts/{head.size}")
        receipt = verify_anchor_receipt(anchor, content.log, chain.chain_id, chain.contract)
        if receipt.checkpoint != head:
            return bundle
    except (SourceError, FormatError):
        return bundle
    timestamp = None
    try:
        token = fetch(f"timestamps/{head.size}")
        verify_token(parse_token(token), digest=sha256(checkpoint))
        timestamp = token
    except (SourceError, FormatError):
        timestamp = None
    return dataclasses.replace(bundle, inclusion=format_tlog_proof(proof), anchor=anchor, timestamp=timestamp)


def _with_status(bundle: Bundle, trust: TrustList, sources: Sources, now: dt.datetime) -> Bundle:
    reference = peek_claims(parse_credential(bundle.credential)).status
    try:
        token = sources.status_list(reference.uri)
        newer = verify_status_list(token, reference.uri, trust.content.credential_cas, now=now)
        if newer.issued > parse_status_list(bundle.status).issued:
            return dataclasses.replace(bundle, status=token.strip(b"\r\n"))
    except (SourceError, FormatError, PathError):
        return bundle
    return bundle


def _entry(bundle: Bundle) -> bytes:
    evidence = parse_evidence(bundle.evidence)
    issuer_signed = parse_credential(bundle.credential).issuer_jwt
    return evidence.entry(data=bundle.certificate, page=bundle.page, credential=issuer_signed)
