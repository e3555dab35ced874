"""The last door inside: the city checks its own bundle with the employer's verifier, and refuses to let out what fails.

It is asked with the trust list that everybody has, under the policy `issuance-gate` (a copy for a wallet, which has no
page: `copy-gate`), and compares besides what the
verifier showed with what was meant: the same data, the same holder key.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec

from app.errors import GateError
from app.registers.subject import subject_digest
from verifier.errors import AkashiVerifierError
from verifier.formats.bundle import parse_bundle
from verifier.formats.credential import parse_credential, peek_claims
from verifier.formats.encoding import parse_canonical_json
from verifier.formats.evidence import parse_evidence
from verifier.formats.jose import same_thumbprint, thumbprint
from verifier.policy import COPY_GATE, ISSUANCE_GATE, Policy
from verifier.report import Outcome, Verdict
from verifier.sources import OfflineSources
from verifier.trust import TrustList
from verifier.verify import examine


class Gatekeeper:
    """Checks finished bundles. `trust` gives the city's current trust list."""

    def __init__(self, trust: Callable[[], TrustList], clock: Callable[[], datetime]) -> None:
        self._trust = trust
        self._clock = clock

    def check(self, bundle: bytes, *, data: bytes, holder: ec.EllipticCurvePublicKey) -> None:
        """Raises GateError unless the bundle is VALID, shows exactly `data`, and is bound to `holder`."""
        self._check(bundle, ISSUANCE_GATE, data=data, holder=holder)

    def check_copy(self, bundle: bytes, *, data: bytes, holder: ec.EllipticCurvePublicKey) -> None:
        """The same of a copy that was made without a page. Raises GateError, also if there is a trace of one."""
        self._check(bundle, COPY_GATE, data=data, holder=holder)
        try:
            parts = parse_bundle(bundle)
            names_page = peek_claims(parse_credential(parts.credential)).page_digest is not None
            is_bare = parts.page is None and parse_evidence(parts.evidence).page.salt is not None
        except AkashiVerifierError as error:
            raise GateError("not-readable", error.code) from error
        if names_page or not is_bare:
            raise GateError("not-a-copy", "a copy for a wallet is made without a page")

    def _check(
        self, bundle: bytes, policy: Policy, *, data: bytes, holder: ec.EllipticCurvePublicKey
    ) -> None:
        report = examine(
            bundle, trust=self._trust(), policy=policy, now=self._clock(), sources=OfflineSources()
        )
        if report.verdict is not Verdict.VALID:
            bad = (Outcome.FAIL, Outcome.UNDETERMINED)
            codes = ",".join(finding.code for finding in report.findings if finding.outcome in bad)
            raise GateError("not-accepted", codes)
        try:
            parts = parse_bundle(bundle)
            claimed = peek_claims(parse_credential(parts.credential)).holder_key
            same_holder = same_thumbprint(thumbprint(claimed), thumbprint(holder))
        except AkashiVerifierError as error:
            raise GateError("not-readable", error.code) from error
        if parts.certificate != data:
            raise GateError("other-data", "the bundle shows other data than was meant")
        if not same_holder:
            raise GateError("other-holder", "the credential is bound to another key")


def check_subject(data: bytes, expected: bytes) -> None:
    """Nobody else's certificate: the person in certificate.json is the one the gate opened the request for.

    Raises GateError("other-person").
    """
    subject = parse_canonical_json(data)["subject"]
    said = subject_digest(subject["name"], subject["birthdate"], subject["address_jan1"])
    if not hmac.compare_digest(said, expected):
        raise GateError("other-person", "the certificate is about somebody else than the request")
