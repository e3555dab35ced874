"""What an audit can find, each with its own code, and the report that carries it.

A finding is TAMPER (what the log has published contradicts itself, its signature, the chain or what it showed before)
or UNFINISHED (somebody did not answer, or not usably: an outage is never a forgery). This module finds nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from verifier.formats.encoding import base64_encode

MAX_FINDINGS: Final = 100
"""More findings than this are counted, not listed."""


class Kind(enum.Enum):
    """Whether a finding accuses, or only says that something could not be checked."""

    TAMPER = "tamper"
    UNFINISHED = "unfinished"


class Outcome(enum.Enum):
    """The one word of a report. TAMPER outweighs UNFINISHED."""

    CLEAN = "clean"
    TAMPER = "tamper"
    UNFINISHED = "unfinished"


TAMPER_TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "checkpoint-malformed": "what is published as checkpoint is no checkpoint",
        "checkpoint-other-origin": "the checkpoint is of another log",
        "checkpoint-unsigned": "the log of the trust list has not signed the checkpoint",
        "checkpoint-bad-signature": "a signature under the checkpoint is wrong",
        "entries-missing": "entries below the signed checkpoint are not published",
        "entries-malformed": "a bundle of entries is no bundle of this log",
        "entries-mismatch": "entries are not the ones that the tree was built from",
        "tile-missing": "a tile below the signed checkpoint is not published",
        "tile-malformed": "a tile has not the length it must have",
        "tile-mismatch": "a tile is not what lies below it",
        "partial-mismatch": "an older, partial tile or bundle contradicts the newer one",
        "root-mismatch": "entries and tiles do not lead to the signed root",
        "fork": "two roots for one size: the log has two histories",
        "rollback": "the log shows less than it has signed before",
        "anchor-refused": "the checkpoint kept for an anchored size is not signed by the log, or not of that size",
        "anchor-fork": "the checkpoint kept for an anchored size has another root than the log at that size",
        "anchor-unpublished": "an anchored checkpoint is not published by the log",
        "receipt-refused": "an anchor receipt is not signed by the log, or not of its size",
        "receipt-other-chain": "an anchor receipt is of another chain or contract than the trust list names",
        "receipt-fork": "an anchor receipt has another root than the log at that size",
        "receipt-missing": "the chain or the log says anchored, and there is no receipt",
        "receipt-contradicted": "the chain holds the anchor elsewhere than its receipt says",
        "anchor-missing": "the chain does not hold an anchor that the log has given a receipt for",
        "chain-fork": "the chain holds another root for a size than the log",
        "chain-gap": "the chain's record of anchors lacks one that a later one names",
        "chain-line": "the chain's record of anchors is not one growing line",
        "no-contract": "the chain holds no contract at the address of the trust list",
    }
)
UNFINISHED_TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "checkpoint-missing": "nothing is published yet, or not here",
        "log-unreachable": "a file of the log could not be had",
        "quorum-missing": "fewer witnesses have signed the checkpoint than the policy asks for",
        "trust-expired": "the trust list has expired",
        "behind-chain": "the chain knows a newer checkpoint than the log or this copy of it shows",
        "chain-unreachable": "the node does not answer, or not in time",
        "chain-bad-answer": "the node's answers cannot be used",
        "chain-other-chain": "the node serves another chain than the trust list names",
        "node-behind": "the node does not know a block that a receipt names",
        "too-many-anchors": "more anchors than one audit checks",
        "not-walked": "the log could not be read to its end, so this was not compared",
    }
)


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One thing that does not fit. `where` is a path below the log's address, or `chain`, or `state`."""

    code: str
    where: str
    detail: str = ""

    @property
    def kind(self) -> Kind:
        """By its code."""
        return Kind.TAMPER if self.code in TAMPER_TEXTS else Kind.UNFINISHED

    @property
    def text(self) -> str:
        """The code as a sentence."""
        return TAMPER_TEXTS.get(self.code) or UNFINISHED_TEXTS[self.code]


@dataclass(slots=True)
class Findings:
    """Gathers findings; bounded, so that a hostile log cannot fill the memory with its faults."""

    listed: list[AuditFinding] = field(default_factory=list)
    more: int = 0
    has_tamper: bool = False
    has_unfinished: bool = False

    def add(self, code: str, where: str, detail: str = "") -> None:
        """Raises: KeyError for a code that is in no table."""
        finding = AuditFinding(code, where, detail)
        _ = finding.text
        if finding in self.listed:
            return
        if finding.kind is Kind.TAMPER:
            self.has_tamper = True
        else:
            self.has_unfinished = True
        if len(self.listed) < MAX_FINDINGS:
            self.listed.append(finding)
        else:
            self.more += 1

    @property
    def outcome(self) -> Outcome:
        """TAMPER if anything accuses, else UNFINISHED if anything is open."""
        if self.has_tamper:
            return Outcome.TAMPER
        return Outcome.UNFINISHED if self.has_unfinished else Outcome.CLEAN


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was audited and what was found.

    size, root      of the log's checkpoint; 0 and b"" if there was none to believe
    started_at      leaves that an earlier audit had walked already
    files           files of the log that were read
    anchors         anchored sizes whose files were compared; `events` = of them seen on the chain
    pending         anchored sizes whose receipt is not due yet
    cosignatures    good witness signatures under the checkpoint; `quorum` None = the policy asks for none
    not_asked       what nobody was asked about (`chain`)
    more            findings beyond the listed ones
    """

    origin: str
    findings: tuple[AuditFinding, ...]
    outcome: Outcome
    size: int = 0
    root: bytes = b""
    started_at: int = 0
    files: int = 0
    anchors: int = 0
    events: int = 0
    pending: int = 0
    cosignatures: int = 0
    quorum: bool | None = None
    not_asked: tuple[str, ...] = ()
    more: int = 0


def report_data(report: AuditReport) -> dict[str, Any]:
    """The report as JSON data."""
    return {
        "v": 1,
        "outcome": report.outcome.value,
        "origin": report.origin,
        "checkpoint": {"size": report.size, "root": base64_encode(report.root)} if report.root else None,
        "walked": {"from": report.started_at, "files": report.files},
        "anchors": {"compared": report.anchors, "on_chain": report.events, "pending": report.pending},
        "witnesses": {"cosignatures": report.cosignatures, "quorum": report.quorum},
        "findings": [
            {
                "code": finding.code,
                "kind": finding.kind.value,
                "where": finding.where,
                "text": finding.text,
                "detail": finding.detail,
            }
            for finding in report.findings
        ],
        "more_findings": report.more,
        "not_asked": list(report.not_asked),
    }
