"""A credential of 25 claims: made and signed; verified with key binding and status. Both against their limits.

The certificate path and the status list are remembered by the verifier, as at a desk that examines one answer after the
other; the signatures of credential and key binding are made anew for every round.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from tests.bench.measure import Table
from tests.support.verifier_bundles import DATA, ISS, NOW, STATUS_URI, VCT, mini_city
from verifier.checks.case import Case, parse_parts
from verifier.checks.credential import check_credential
from verifier.checks.data import check_data
from verifier.checks.holder import check_holder
from verifier.checks.status import check_status
from verifier.formats.credential import parse_credential, peek_claims
from verifier.formats.jose import format_jwk
from verifier.policy import OFFLINE
from verifier.report import Outcome
from verifier.sources import OfflineSources

MAX_ISSUE_MS, MAX_VERIFY_MS = 0.25, 0.6
ROUNDS, RUNS = 100, 15
_LEAVES = {
    "subject": tuple(DATA["subject"]),
    "income": ("total", "gross_total", "salary_revenue", "salary_income"),
    "deductions": ("total", "basic", "social_insurance"),
    "dependants": ("count", "none"),
    "person_status": ("disability",),
    "tax": ("municipal_income_levy", "annual_total", "exempt"),
}
CLAIMS = {
    name: {leaf: value[leaf] for leaf in _LEAVES[name]} if name in _LEAVES else value
    for name, value in DATA.items()
}
"""Five plain claims and twenty leaves; year, kind and authority are in the clear."""


def bench_credentials(table: Table) -> None:
    """The two limits, and the credential of a whole certificate for comparison."""
    table.compare("SD-JWT of 25 claims: made, ES256", "CPU ms", issue_ms(CLAIMS), MAX_ISSUE_MS)
    table.compare("SD-JWT of 25 claims: key binding, status", "CPU ms", verify_ms(), MAX_VERIFY_MS)
    whole = issue_ms(DATA)
    note = f"{whole:.3f} CPU ms each; thresholds and decoys are in all of these"
    # Milliseconds of one are the seconds of a thousand.
    table.add("SD-JWT of a whole certificate: made", "credentials", 1000, wall=0.0, cpu=whole, note=note)


def issue_ms(data: dict) -> float:  # type: ignore[type-arg]
    """CPU milliseconds for one credential, software key."""
    from app.sealing.credential import CredentialFrame, finish_credential, prepare_credential

    city = mini_city()
    sign = city.signer("credential-1")
    certificates = (city.pki.der("credential-1"), city.pki.der("issuing"))
    holder = format_jwk(city.holder.public_key())

    def issue() -> None:
        frame = CredentialFrame(ISS, VCT, holder, STATUS_URI, 7, None, certificates)
        prepared = prepare_credential(data, frame)
        finish_credential(prepared, sign(prepared.digest))

    return _cpu_ms(issue)


def verify_ms() -> float:
    """CPU milliseconds from the bytes of a presentation of all 25 claims to the last finding about it."""
    city = mini_city()
    paths = [(name, leaf) for name, leaves in _LEAVES.items() for leaf in leaves]
    paths += [(name,) for name in ("title", "certificate_number", "issued_on", "valid_until", "remarks")]
    assert len(paths) == 25
    request = city.request(items=("subject", "income"))
    bundle = city.issue(CLAIMS, with_page=False)
    parts = parse_parts(city.bind(city.present(bundle, paths), request))
    assert parts.bundle is not None
    raw, trust = parts.bundle.credential, city.trust().content

    def verify() -> None:
        credential = parse_credential(raw)
        own = dataclasses.replace(parts, credential=credential, claims=peek_claims(credential))
        case = Case(own, trust, OFFLINE, NOW, OfflineSources())
        findings = (
            check_data(case),
            check_credential(case)[0],
            check_status(case)[0],
            check_holder(case, request),
        )
        assert all(finding.outcome is Outcome.PASS for finding in findings), findings

    return _cpu_ms(verify)


def _cpu_ms(work: Callable[[], None]) -> float:
    """The least of some runs, after one that is not counted: what others on the machine do can only add to it."""
    work()
    runs = []
    for _ in range(RUNS):
        started = time.process_time()
        for _ in range(ROUNDS):
            work()
        runs.append((time.process_time() - started) / ROUNDS * 1000)
    return min(runs)
