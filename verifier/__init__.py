"""akashi-verifier: checks an akashi certificate, offline and stand-alone.

    from verifier import OFFLINE, OfflineSources, TrustStore, examine

    report = examine(file, trust=TrustStore(directory).lists(), policy=OFFLINE, now=now,
    sources=OfflineSources()) print(report.verdict, report.sentence_ja)

Everything a verdict rests on is an argument: trust, policy, time, sources. Names are loaded when they are
used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verifier.http import HttpSources
    from verifier.policy import ISSUANCE_GATE, OFFLINE, ONLINE, WALLET, Policy
    from verifier.presentation import examine_presentation
    from verifier.report import Finding, Outcome, Report, Verdict, format_report
    from verifier.sources import OfflineSources, Sources
    from verifier.trust import TrustList
    from verifier.trust_store import TrustStore
    from verifier.verify import NotValidError, UndeterminedError, examine

_HOMES = {
    "HttpSources": "http",
    "ISSUANCE_GATE": "policy",
    "OFFLINE": "policy",
    "ONLINE": "policy",
    "WALLET": "policy",
    "Policy": "policy",
    "examine_presentation": "presentation",
    "Finding": "report",
    "Outcome": "report",
    "Report": "report",
    "Verdict": "report",
    "format_report": "report",
    "OfflineSources": "sources",
    "Sources": "sources",
    "TrustList": "trust",
    "TrustStore": "trust_store",
    "NotValidError": "verify",
    "UndeterminedError": "verify",
    "examine": "verify",
}

__all__ = [
    "ISSUANCE_GATE",
    "OFFLINE",
    "ONLINE",
    "WALLET",
    "Finding",
    "HttpSources",
    "NotValidError",
    "OfflineSources",
    "Outcome",
    "Policy",
    "Report",
    "Sources",
    "TrustList",
    "TrustStore",
    "UndeterminedError",
    "Verdict",
    "examine",
    "examine_presentation",
    "format_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"verifier.{_HOMES[name]}"), name)
