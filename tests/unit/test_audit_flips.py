"""Any one changed, cut or removed file of an anchored log is noticed, and never ends in anything but a finding."""

from __future__ import annotations

import random

import pytest

from tests.support.audit_logs import POLICY, FakeNode, PublishedLog, codes, run_audit, sign, trust
from verifier.audit.findings import Outcome

POLICY_TRUST = trust(witnesses=POLICY)


def published() -> PublishedLog:
    log = PublishedLog(40).anchor().grow(260).anchor().grow(9).anchor()
    log.files["checkpoint"] = sign(log.head, witnesses=True)
    return log


@pytest.mark.parametrize("seed", range(4))
def test_every_file_counts(seed: int) -> None:
    chosen = random.Random(seed)
    for path in sorted(published().files):
        if path == "anchored":
            continue  # a pointer for those who cannot list; here everything is listed
        log = published()
        data = log.files[path]
        place = chosen.randrange(len(data))
        changed = [
            data[:place] + bytes([data[place] ^ 1 << chosen.randrange(8)]) + data[place + 1 :],
            data[:place],
            data + data[:1],
        ]
        for bad in changed:
            log.files[path] = bad
            result = run_audit(log, node=FakeNode(log), trust=POLICY_TRUST)
            assert result.report.outcome is not Outcome.CLEAN, (path, place)
            assert result.state is None or codes(result) == ["quorum-missing"], (path, place)
        del log.files[path]
        if path in ("tile/0/001.p/44", "tile/entries/001.p/44"):
            continue  # an older partial file beside the newer one: damage is found, absence is no contradiction
        assert run_audit(log, node=FakeNode(log), trust=POLICY_TRUST).report.outcome is not Outcome.CLEAN, (
            path
        )


def test_the_same_log_unchanged_is_clean() -> None:
    log = published()
    assert codes(run_audit(log, node=FakeNode(log), trust=POLICY_TRUST)) == []
