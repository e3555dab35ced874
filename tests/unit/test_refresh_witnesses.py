"""Newer evidence is never poorer: whoever serves the public files can take no witness's signature from a certificate."""

from __future__ import annotations

import dataclasses

import pytest

from chain.tree import EMPTY_TREE, extend
from tests.support.verifier_bundles import NOW, changed, head_of, mini_city
from verifier import OFFLINE, OfflineSources, Verdict, examine
from verifier.errors import SourceError
from verifier.formats.bundle import parse_bundle
from verifier.formats.credential import parse_credential
from verifier.formats.encoding import sha256
from verifier.formats.evidence import parse_evidence
from verifier.formats.tlog_proof import format_tlog_proof, parse_tlog_proof
from verifier.refresh import refresh_evidence
from verifier.sources import StaticSources

CITY = mini_city()
TRUST = CITY.trust(witnesses=CITY.witness_policy)


class PublicFiles(StaticSources):
    """The log's files with its newest anchored checkpoint, cosigned or not."""

    def __init__(self, bundle: bytes, *, witnessed: bool) -> None:
        super().__init__()
        whole, head = parse_bundle(bundle), head_of(bundle)
        credential = parse_credential(whole.credential).issuer_jwt
        entry = parse_evidence(whole.evidence).entry(
            data=whole.certificate, page=CITY.page, credential=credential
        )
        entries = [sha256(bytes([n])) for n in range(4)] + [entry] + [sha256(bytes([n])) for n in range(2)]
        files = dict(extend(EMPTY_TREE, entries).files)
        files["anchored"] = CITY.checkpoint_note(head, witnessed=witnessed)
        files[f"receipts/{head.size}"] = CITY.anchor_note(CITY.receipt(head))
        object.__setattr__(self, "files", files)

    def public_file(self, public_url: str, path: str) -> bytes:
        """A file of the log."""
        data = self.files.get(path.removeprefix("/992011/log/1/"))
        if data is None:
            raise SourceError("http-404", "no such file")
        return bytes(data)


def verdict(bundle: bytes, *, online_receipt: bool = True) -> Verdict:
    file = bundle if online_receipt else changed(bundle, anchor=None)
    return examine(file, trust=TRUST, policy=OFFLINE, now=NOW, sources=OfflineSources()).verdict


@pytest.fixture(scope="module")
def bundle() -> bytes:
    """Witnessed, not anchored yet."""
    return CITY.issue(anchored=False, stamped=False, witnessed=True)


def test_a_cosigned_checkpoint_is_taken_with_its_receipt(bundle: bytes) -> None:
    refreshed = refresh_evidence(bundle, TRUST, PublicFiles(bundle, witnessed=True), now=NOW)
    assert parse_bundle(refreshed).anchor is not None
    assert verdict(refreshed) is Verdict.VALID
    assert verdict(refreshed, online_receipt=False) is Verdict.VALID, "by the witnesses alone"


def test_a_checkpoint_whose_witnesses_were_cut_off_is_left(bundle: bytes) -> None:
    assert verdict(bundle) is Verdict.VALID
    refreshed = refresh_evidence(bundle, TRUST, PublicFiles(bundle, witnessed=False), now=NOW)
    assert parse_bundle(refreshed).inclusion == parse_bundle(bundle).inclusion
    assert verdict(refreshed, online_receipt=False) is Verdict.VALID
    # what it would have become
    old = parse_tlog_proof(parse_bundle(bundle).inclusion)
    bare = dataclasses.replace(old, checkpoint=CITY.checkpoint_note(head_of(bundle)))
    assert verdict(changed(bundle, inclusion=format_tlog_proof(bare))) is Verdict.UNDETERMINED


def test_evidence_without_witnesses_still_gets_its_receipt() -> None:
    bare = CITY.issue(anchored=False, stamped=False)
    assert verdict(bare) is Verdict.UNDETERMINED
    refreshed = refresh_evidence(bare, TRUST, PublicFiles(bare, witnessed=False), now=NOW)
    assert verdict(refreshed) is Verdict.VALID
