"""What an attack of the catalogue is: bytes at one of our doors, and what that door answers.

Builders are registered under their own name (`seal_by_credential_key` is the attack `seal-by-credential-key`);
what each story is, and what it must end in, stands in tests/vectors/bad/catalogue.json, not here. A control is
the same kind of thing without the attack.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.mini_city import NOW, city
from verifier import OFFLINE, OfflineSources, Outcome, Policy, Verdict, examine
from verifier.errors import AkashiVerifierError
from verifier.formats.jose import thumbprint
from verifier.formats.recipient import verify_recipient_statement
from verifier.report import Report
from verifier.sources import Sources
from verifier.trust import accept_trust_list, load_trust_list, verify_trust_list
from verifier.verify_qr import examine_page_qr

VERIFY: Final = "verify"
TRUST_ADD: Final = "trust-add"
TRUST_UPDATE: Final = "trust-update"
STATEMENT: Final = "statement"
PAGE_CODE: Final = "page-code"
REFUSED: Final = "refused"
ACCEPTED: Final = "accepted"


@dataclass(frozen=True)
class Attempt:
    """What is brought to a door, and under which circumstances.

    file     the bytes (verify), the list (trust-*), the JWS (statement), the text in UTF-8 (page-code)
    door     which function of the verifier is asked
    trust    the trust lists that the desk holds; empty = the city's genuine one
    request  descriptor of the request that the desk has made; key = the desk's key for packages
    """

    file: bytes
    door: str = VERIFY
    trust: tuple[bytes, ...] = ()
    request: bytes | None = None
    key: ec.EllipticCurvePrivateKey | None = None
    at: dt.datetime = NOW
    policy: Policy = OFFLINE
    sources: Sources | None = None
    fingerprint: str = ""

    @property
    def trust_lists(self) -> tuple[bytes, ...]:
        return self.trust or (city().trust_list,)


@dataclass(frozen=True)
class Answer:
    """verdict (a Verdict's value, "refused" or "accepted"), and the findings that made it: "check:code"."""

    verdict: str
    findings: tuple[str, ...]
    report: Report | None = None


Builder = Callable[[], Attempt]
ATTACKS: Final[dict[str, Builder]] = {}
CONTROLS: Final[dict[str, Builder]] = {}


def attack(builder: Builder) -> Builder:
    """Put the builder into the catalogue."""
    return _register(ATTACKS, builder)


def control(builder: Builder) -> Builder:
    """The genuine thing beside an attack."""
    return _register(CONTROLS, builder)


def bring(attempt: Attempt) -> Answer:
    """Ask the door."""
    try:
        if attempt.door == VERIFY:
            return _told(_examine(attempt))
        if attempt.door == PAGE_CODE:
            lists = tuple(map(load_trust_list, attempt.trust_lists))
            return _told(examine_page_qr(attempt.file.decode(), trust=lists, now=attempt.at)[0])
        if attempt.door == TRUST_ADD:
            accept_trust_list(attempt.file, attempt.fingerprint)
        elif attempt.door == TRUST_UPDATE:
            verify_trust_list(attempt.file, load_trust_list(attempt.trust_lists[0]))
        else:
            key, now = city().statement_key.public_key(), int(attempt.at.timestamp())
            stated = verify_recipient_statement(attempt.file, key, city="992011", now=now)
            # As the phone reads it: the statement speaks for these keys and no others.
            assert stated.keys == (thumbprint(city().base.desk.public_key()),)
    except AkashiVerifierError as error:
        return Answer(REFUSED, (f"error:{error.code}",))
    return Answer(ACCEPTED, ())


def _examine(attempt: Attempt) -> Report:
    return examine(
        attempt.file,
        trust=tuple(map(load_trust_list, attempt.trust_lists)),
        policy=attempt.policy,
        now=attempt.at,
        sources=attempt.sources or OfflineSources(),
        request=attempt.request,
        key=attempt.key,
    )


def _told(report: Report) -> Answer:
    # What follows only from an earlier failure ("could not be checked because …") is not a reason.
    decisive = {Verdict.NOT_VALID: Outcome.FAIL, Verdict.UNDETERMINED: Outcome.UNDETERMINED}
    wanted = decisive.get(report.verdict)
    found = tuple(f"{item.check}:{item.code}" for item in report.findings if item.outcome is wanted)
    return Answer(report.verdict.value, found, report)


def _register(where: dict[str, Builder], builder: Builder) -> Builder:
    name = builder.__name__.strip("_").replace("_", "-")
    assert name not in where, name
    where[name] = builder
    return builder
