"""The last door inside: the city checks its own bundle with the employer's verifier, and refuses to let out what fails.

It is asked with the trust list that everybody has, under the policy `issuance-gate`, and compares besides what the
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
from verifier.formats.jose import same_thumbprint, thumbprint
from verifier.policy import ISSUANCE_GATE
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
        report = examine(
            bundle, trust=self._trust(), policy=ISSUANCE_GATE, now=self._clock(), sources=OfflineSources()
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
