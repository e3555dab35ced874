"""One audit of one log: checkpoint, walk, anchors, chain, and what was remembered or seen elsewhere.

Order of asking: the chain and the anchors before the checkpoint, so that a log that grows meanwhile is never behind
what it is measured against; the tiles last. Sizes that the walk passes are compared with recomputed roots; sizes
before its beginning by a consistency path from the tiles to the root that an earlier audit computed
(RFC 9162 section 2.1.4). Only outcome CLEAN, or an outage without any accusation, gives a new state to remember.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from verifier.audit.anchors import (
    AnchorFiles,
    Claim,
    compare_with_chain,
    limit_anchors,
    list_anchors,
    read_anchor,
)
from verifier.audit.events import AnchorEvent, ChainRecord, LineError, read_chain
from verifier.audit.findings import AuditReport, Findings
from verifier.audit.log_source import NOT_FOUND, LogSource
from verifier.audit.node import Node
from verifier.audit.state import AuditState, ChainMark
from verifier.audit.walk import MAX_TILE_BYTES, Progress, Walk, WalkBrokenError
from verifier.errors import FormatError, LimitError, SourceError
from verifier.formats.checkpoint import Checkpoint, VerifiedCheckpoint, verify_public_checkpoint
from verifier.formats.compromise import FormerLog
from verifier.formats.merkle import ConsistencyError, verify_consistency
from verifier.formats.signed_note import COSIGNATURE_ED25519, MAX_NOTE_BYTES, SignatureError
from verifier.formats.tiles import TILE_WIDTH, TileReader
from verifier.formats.trust_list import TrustContent
from verifier.trust import TrustList

DEFAULT_CONFIRMATIONS: Final = 12
CHECKPOINT: Final = "checkpoint"
_SIGNATURE_CODES: Final = {
    "other-origin": "checkpoint-other-origin",
    "signature-missing": "checkpoint-unsigned",
    "bad-signature": "checkpoint-bad-signature",
}


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """What an audit is given.

    state           of the last audit of this log; None = everything is read
    node            the chain's own word is asked of it; None = nobody is asked
    seen            signed checkpoints of this log that somebody else holds (a phone, a bundle, another auditor)
    former          the former log of the trust list that is audited, in place of the present one; the state that the
                    list names must be a state of its
    confirmations   blocks until an anchor must have a receipt and is final
    now             UTC, for the expiry of the trust list
    """

    source: LogSource
    trust: TrustList
    now: dt.datetime
    state: AuditState | None = None
    node: Node | None = None
    seen: Sequence[bytes] = ()
    former: FormerLog | None = None
    confirmations: int = DEFAULT_CONFIRMATIONS
    progress: Progress = lambda _done, _total: None


@dataclass(frozen=True, slots=True)
class AuditResult:
    """The report, and what to remember for the next audit (None: keep what was remembered)."""

    report: AuditReport
    state: AuditState | None


def audit(request: AuditRequest) -> AuditResult:
    """Audit the log of the trust list.

    Raises: FormatError (a checkpoint in `seen`, or a state of another log): the caller's mistake.
    """
    return _Audit(request).run()


@dataclass(slots=True)
class _Audit:
    request: AuditRequest
    findings: Findings = field(default_factory=Findings)
    record: ChainRecord | None = None
    anchors: list[AnchorFiles] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    verified: VerifiedCheckpoint | None = None
    note: bytes = b""
    walk: Walk | None = None
    started_at: int = 0
    pending: int = 0
    anchors_read: bool = False

    @property
    def _trust(self) -> TrustContent:
        content, former = self.request.trust.content, self.request.former
        return content if former is None else dataclasses.replace(content, log=former.log)

    def run(self) -> AuditResult:
        state = self.request.state
        if state is not None and state.origin != self._trust.log.name:
            raise FormatError("other-origin", "the remembered state is of another log")
        seen = [verify_public_checkpoint(note, self._trust.log).checkpoint for note in self.request.seen]
        if self.request.trust.is_expired(self.request.now):
            self.findings.add("trust-expired", "trust", "nothing is concluded from an expired list")
        self._ask_chain()
        try:
            listed = list_anchors(self.request.source, self._trust, self.findings)
        except LimitError as error:
            self.findings.add("too-many-anchors", "receipts", error.detail)
            listed = None
        except SourceError as error:
            self.findings.add("log-unreachable", "anchored", error.detail)
            listed = None
        if not self._read_checkpoint() or self.verified is None:
            return self._result()
        head = self.verified.checkpoint
        self.claims += [Claim(item.size, item.root, "seen", "fork") for item in seen]
        if self.request.former is not None:
            last = self.request.former.last
            self.claims.append(Claim(last.size, last.root, "trust", "fork"))
        remembered = None if state is None else state.head
        if remembered is not None:
            self.claims.append(Claim(remembered.size, remembered.root, "state", "fork"))
        for claim in self.claims:
            if claim.size > head.size:
                self.findings.add(
                    "rollback", CHECKPOINT, f"size {head.size}, it has signed {claim.size} before"
                )
            elif claim.size == head.size and claim.root != head.root:
                # both notes are signed: a proof of the fork, whatever the tiles say
                self._accuse(claim)
        if listed is not None:
            self._read_anchors(*listed)
        self._walk_tree()
        return self._result()

    # -- what is claimed -----------------------------------------------------------------------------------

    def _ask_chain(self) -> None:
        node, chain, state = self.request.node, self._trust.chain, self.request.state
        if node is None or chain is None:
            return
        since = None if state is None else state.chain
        try:
            self.record = read_chain(node, chain, self._trust.log.name, since)
        except LineError as error:
            self.findings.add(error.code, "chain", error.detail)
        except SourceError as error:
            self.findings.add(error.code, "chain", error.detail)

    def _read_checkpoint(self) -> bool:
        policy = self._trust.witness_policy
        try:
            self.note = self.request.source.fetch(CHECKPOINT, MAX_NOTE_BYTES)
            self.verified = verify_public_checkpoint(self.note, self._trust.log, policy.keys)
        except SignatureError as error:
            self.findings.add(
                _SIGNATURE_CODES.get(error.code, "checkpoint-malformed"), CHECKPOINT, error.detail
            )
        except FormatError as error:
            self.findings.add("checkpoint-malformed", CHECKPOINT, error.detail)
        except SourceError as error:
            code = "checkpoint-missing" if error.code == NOT_FOUND else "log-unreachable"
            self.findings.add(code, CHECKPOINT, error.detail)
            state = self.request.state
            if code == "checkpoint-missing" and state is not None and state.head is not None:
                self.findings.add("rollback", CHECKPOINT, f"none, it has signed {state.head.size} before")
        if self.verified is None:
            return False
        if not policy.is_met_by({signature.key for signature in self.verified.signatures}):
            self.findings.add("quorum-missing", CHECKPOINT, f"{self._cosignatures()} good cosignatures")
        return True

    def _cosignatures(self) -> int:
        signatures = () if self.verified is None else self.verified.signatures
        return sum(signature.key.algorithm == COSIGNATURE_ED25519 for signature in signatures)

    def _read_anchors(self, receipts: list[int], checkpoints: list[int]) -> None:
        state, record = self.request.state, self.record
        size = 0 if self.verified is None else self.verified.checkpoint.size
        known = 0 if state is None else state.anchored
        if record is not None and record.since is None:
            known = 0  # the whole record is compared: all receipts with it
        events: dict[int, AnchorEvent] = {}
        for event in () if record is None else record.events:
            if event.size > size:
                self.findings.add("behind-chain", "chain", f"size {event.size} in block {event.block}")
                continue
            events[event.size] = event
            self.claims.append(Claim(event.size, event.root, "chain", "chain-fork"))
        with_receipt = {item for item in receipts if item > known}
        for item in sorted(with_receipt | set(checkpoints)):
            if item > size:
                self.findings.add("rollback", CHECKPOINT, f"size {size}, it has signed {item} before")
        wanted = with_receipt | {item for item in checkpoints if item > known} | set(events)
        try:
            for item in limit_anchors(sorted(item for item in wanted if item <= size), self.findings):
                self._read_anchor(item, events.get(item), is_listed=item in with_receipt)
            self.anchors_read = True
        except SourceError as error:
            self.findings.add("log-unreachable", "receipts", error.detail)
        for anchor in self.anchors:
            self.claims += anchor.claims
        if record is not None:
            with_files = [anchor.receipt for anchor in self.anchors if anchor.receipt is not None]
            compare_with_chain(with_files, tuple(events.values()), record.latest, self.findings)

    def _read_anchor(self, size: int, event: AnchorEvent | None, *, is_listed: bool) -> None:
        record = self.record
        is_due = is_listed
        if event is not None and record is not None:
            is_young = record.latest - event.block < self.request.confirmations
            is_due = is_listed or not is_young
        files = read_anchor(self.request.source, self._trust, size, self.findings, is_due=is_due)
        if event is not None and files.receipt is None and not is_due:
            self.pending += 1
        self.anchors.append(files)

    # -- what is there -------------------------------------------------------------------------------------

    def _walk_tree(self) -> None:
        if self.verified is None:
            return
        head, state = self.verified.checkpoint, self.request.state
        try:
            walk = self._walk_from(state)
            if walk.root != head.root and self.started_at:
                # what was walked before an outage was never confirmed by a signed root: no accusation on it
                walk = self._walk_from(None)
        except WalkBrokenError:
            self._leave_open()
            return
        except SourceError as error:
            self.findings.add("log-unreachable", "tile", error.detail)
            self._leave_open()
            return
        if walk.root != head.root:
            self.findings.add("root-mismatch", CHECKPOINT, f"size {head.size}")
            return
        self._compare_claims(walk)

    def _walk_from(self, state: AuditState | None) -> Walk:
        head = self.verified.checkpoint if self.verified is not None else Checkpoint("", 0, b"")
        self.walk = walk = Walk(
            self.request.source,
            head.size,
            head.root,
            self.findings,
            wanted=[claim.size for claim in self.claims],
            progress=self.request.progress,
        )
        if state is not None and 0 < state.walked <= head.size:
            walk.resume(state.walked, state.frontier)
        self.started_at = walk.position
        walk.run()
        return walk

    def _leave_open(self) -> None:
        if self.claims:
            self.findings.add(
                "not-walked", "chain" if self.record else "receipts", f"{len(self.claims)} roots"
            )

    def _compare_claims(self, walk: Walk) -> None:
        for claim in self.claims:
            if not 0 < claim.size <= walk.size:
                continue
            known = walk.roots.get(claim.size)
            try:
                root = self._earlier_root(claim) if known is None else known
            except ConsistencyError as error:
                self.findings.add("tile-mismatch", f"tile (size {claim.size})", error.detail)
                continue
            except FormatError as error:
                self.findings.add("tile-malformed", f"tile (size {claim.size})", error.detail)
                continue
            except SourceError as error:
                code = "tile-missing" if error.code == NOT_FOUND else "log-unreachable"
                self.findings.add(code, f"tile (size {claim.size})", error.detail)
                continue
            if root != claim.root:
                self._accuse(claim)

    def _accuse(self, claim: Claim) -> None:
        self.findings.add(claim.code, claim.where, f"another root for size {claim.size}")

    def _earlier_root(self, claim: Claim) -> bytes:
        """The log's root at a size before the walk began; the tiles are believed only as far as they lead to the
        signed root.
        """
        walk = self.walk
        state = self.request.state
        if walk is None or state is None:
            raise SourceError("not-walked", "this size was not passed")
        head = state.head
        if head is not None and claim.size == head.size:
            return head.root
        reader = TileReader(walk.size, lambda path: self.request.source.fetch(path, MAX_TILE_BYTES))
        root = _root_at(reader, claim.size)
        path = reader.consistency_path(claim.size)
        verify_consistency(claim.size, root, walk.size, walk.root, path)
        return root

    # -- the end -------------------------------------------------------------------------------------------

    def _result(self) -> AuditResult:
        findings, head = self.findings, None if self.verified is None else self.verified.checkpoint
        policy = self._trust.witness_policy
        keys = () if self.verified is None else tuple(item.key for item in self.verified.signatures)
        report = AuditReport(
            origin=self._trust.log.name,
            findings=tuple(findings.listed),
            outcome=findings.outcome,
            size=0 if head is None else head.size,
            root=b"" if head is None else head.root,
            started_at=self.started_at,
            files=0 if self.walk is None else self.walk.files,
            anchors=len(self.anchors),
            events=0 if self.record is None else len(self.record.events),
            pending=self.pending,
            cosignatures=self._cosignatures(),
            quorum=None if policy.quorum is None else policy.is_met_by(keys),
            not_asked=() if self.request.node is not None or self._trust.chain is None else ("chain",),
            more=findings.more,
        )
        return AuditResult(report, None if findings.has_tamper else self._new_state())

    def _new_state(self) -> AuditState | None:
        walk, old = self.walk, self.request.state
        if walk is None or walk.position == 0:
            return None
        state = AuditState(
            origin=self._trust.log.name,
            checkpoint=b"" if old is None else old.checkpoint,
            walked=walk.position,
            frontier=tuple(walk.frontier()),
            anchored=0 if old is None else old.anchored,
            chain=None if old is None else old.chain,
        )
        if old is not None and walk.position < old.walked:
            return None
        if walk.position != walk.size:  # an outage on the way: go on from here, with nothing new believed
            return state
        if not self.anchors_read:
            return dataclasses.replace(state, checkpoint=self.note)
        return self._with_anchors(dataclasses.replace(state, checkpoint=self.note))

    def _with_anchors(self, state: AuditState) -> AuditState:
        record, chain = self.record, self._trust.chain
        receipts = [anchor.receipt.size for anchor in self.anchors if anchor.receipt is not None]
        if record is None or chain is None:
            if (
                state.chain is not None
            ):  # the chain will be asked from its mark on, so keep both where they are
                return state
            return dataclasses.replace(state, anchored=max([state.anchored, *receipts]))
        mark, final = record.since, record.latest - self.request.confirmations
        count = 0 if mark is None else mark.events
        for event in record.events:
            if event.block > final or event.size > state.walked:
                break
            count += 1
            mark = ChainMark(
                chain.chain_id, chain.contract, event.block, event.block_hash, event.size, event.root, count
            )
        return dataclasses.replace(state, chain=mark, anchored=0 if mark is None else mark.size)


def _root_at(reader: TileReader, size: int) -> bytes:
    """The root at an earlier size, from the tiles of the newest tree."""

    def fetch(path: str) -> bytes:
        _, level, rest = path.partition(".p/")[0].split("/", 2)
        number = int(rest.replace("x", "").replace("/", ""))
        width = int(path.partition(".p/")[2] or TILE_WIDTH)
        return b"".join(reader.tile(int(level), number)[:width])

    return TileReader(size, fetch).root()
