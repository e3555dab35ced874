"""Policies: which checks a verdict needs, and how old its evidence may be.

Four are for files (docs/formats/report.md): `issuance-gate` (the city, before a bundle leaves), `copy-gate` (the city,
before a copy without page leaves for a wallet), `offline` (an employer without a network) and `online` (an employer with
one). `wallet` is for what wallets of others present (`verifier.presentation`): they carry no log evidence, so it is not
among the policies for files. A policy is an argument of every verification; there is no default. This module decides
nothing: `verifier.verify` does.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from verifier.errors import UsageError

FORMAT: Final = "format"
TRUST: Final = "trust"
DECRYPTION: Final = "decryption"
SEAL: Final = "seal"
PATH: Final = "path"
TIMESTAMP: Final = "timestamp"
DATA: Final = "data"
CREDENTIAL: Final = "credential"
INCLUSION: Final = "inclusion"
ANCHOR: Final = "anchor"
CHAIN: Final = "chain"
WITNESSES: Final = "witnesses"
COMPROMISE: Final = "compromise"
STATUS: Final = "status"
VALIDITY: Final = "validity"
HOLDER: Final = "holder"

CHECKS: Final = (
    FORMAT, TRUST, DECRYPTION, SEAL, PATH, TIMESTAMP, DATA, CREDENTIAL,
    INCLUSION, ANCHOR, CHAIN, WITNESSES, COMPROMISE, STATUS, VALIDITY, HOLDER,
)  # fmt: skip
"""Every check, in the order of the walk."""

MAX_STATUS_AGE: Final = dt.timedelta(days=7)
CLOCK_SKEW: Final = dt.timedelta(minutes=5)
MAX_BINDING_AGE: Final = dt.timedelta(days=92)
"""A key binding is older than its arrival: mail and desks take days; the request's own end limits it too."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What has to be known before a verdict is VALID.

    name
    required         checks that must pass (or not apply)
    evidence         one of these must pass, when any is named: proof that the log cannot deny the entry
    max_status_age   age of the newest status evidence; the trust list may name less, never more
    clock_skew       how far clocks may differ
    max_binding_age  age of a key binding
    ask_chain        ask a node whether the anchor stands
    ask_status       ask for the list instead of relying on the snapshot
    """

    name: str
    required: frozenset[str]
    evidence: frozenset[str] = frozenset()
    max_status_age: dt.timedelta = MAX_STATUS_AGE
    clock_skew: dt.timedelta = CLOCK_SKEW
    max_binding_age: dt.timedelta = MAX_BINDING_AGE
    ask_chain: bool = False
    ask_status: bool = False


_ALWAYS: Final = frozenset(
    {
        *(FORMAT, TRUST, DECRYPTION, SEAL, PATH, TIMESTAMP, DATA, CREDENTIAL),
        *(INCLUSION, COMPROMISE, STATUS, VALIDITY),
    }
)

ISSUANCE_GATE: Final = Policy("issuance-gate", _ALWAYS)
COPY_GATE: Final = Policy("copy-gate", _ALWAYS - {SEAL, PATH, TIMESTAMP})
OFFLINE: Final = Policy("offline", _ALWAYS | {HOLDER}, evidence=frozenset({WITNESSES, ANCHOR}))
ONLINE: Final = Policy("online", _ALWAYS | {HOLDER, ANCHOR, CHAIN}, ask_chain=True, ask_status=True)
WALLET: Final = Policy(
    "wallet",
    frozenset({FORMAT, TRUST, DECRYPTION, DATA, CREDENTIAL, COMPROMISE, STATUS, VALIDITY, HOLDER}),
    max_binding_age=dt.timedelta(minutes=5),
    ask_status=True,
)
POLICIES: Final[Mapping[str, Policy]] = MappingProxyType(
    {policy.name: policy for policy in (ISSUANCE_GATE, COPY_GATE, OFFLINE, ONLINE)}
)


def find_policy(name: str) -> Policy:
    """The named policy. Raises: UsageError("unknown-policy")."""
    if name not in POLICIES:
        raise UsageError("unknown-policy", f"known policies: {', '.join(POLICIES)}")
    return POLICIES[name]
