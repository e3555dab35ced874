"""Read a whole log, recompute every root, and compare it with its signatures, its anchors and what it showed before.

Exit codes: 0 clean, 1 fork or tampering found, 2 wrong use, 3 could not be finished (an outage is no forgery).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Final

from verifier.audit.auditor import DEFAULT_CONFIRMATIONS, AuditRequest, audit
from verifier.audit.findings import AuditReport, Kind, Outcome, report_data
from verifier.audit.log_source import open_log
from verifier.audit.node import Node
from verifier.audit.state import load_state, save_state
from verifier.cli.inputs import add_trust_option, read_file, read_time, read_trust
from verifier.cli.terminal import NOT_VALID, UNDETERMINED, VALID, answer, hint, printable, tell
from verifier.errors import FormatError, UsageError
from verifier.formats.compromise import FormerLog
from verifier.formats.encoding import base64_encode, canonical_json
from verifier.trust import TrustList

EXIT_CODES: Final = {
    Outcome.CLEAN: VALID,
    Outcome.TAMPER: NOT_VALID,
    Outcome.UNFINISHED: UNDETERMINED,
}
SENTENCES: Final = {
    Outcome.CLEAN: ("✓ 記録に矛盾はありません", "the log is one history, and everything fits"),
    Outcome.TAMPER: ("✕ 記録に矛盾があります", "the log has been changed or forked"),
    Outcome.UNFINISHED: ("? 確認が終わっていません", "could not be finished; this is no accusation"),
}
PROGRESS_SECONDS: Final = 2.0
MAX_SEEN: Final = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `audit`."""
    parser.add_argument(
        "--log", required=True, metavar="URL_OR_DIRECTORY", help="the log's address, or a copy of its files"
    )
    add_trust_option(parser)
    parser.add_argument("--city", metavar="CODE", help="which city, if several lists are trusted")
    parser.add_argument(
        "--former", metavar="ORIGIN", help="the log is one that has ended, of this name on the trust list"
    )
    parser.add_argument("--rpc", metavar="URL", help="a node of the chain: its own record is compared too")
    parser.add_argument(
        "--state", type=Path, metavar="FILE", help="remember this audit, and go on from the last"
    )
    parser.add_argument(
        "--seen",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a signed checkpoint that somebody else holds; may be repeated",
    )
    parser.add_argument(
        "--confirmations",
        type=int,
        default=DEFAULT_CONFIRMATIONS,
        metavar="N",
        help=f"blocks until an anchor must have its receipt (default {DEFAULT_CONFIRMATIONS})",
    )
    parser.add_argument("--at", metavar="TIME", help="as of this time (2026-11-20T01:02:03Z) instead of now")
    parser.add_argument("--json", action="store_true", help="the report as JSON")


def run(options: argparse.Namespace) -> int:
    """Audit, remember, print the report."""
    trust = _select(read_trust(options.trust), options.city)
    if options.rpc is not None and trust.content.chain is None:
        raise UsageError("no-chain", "the trust list names no chain, so there is nothing to ask a node for")
    if options.confirmations < 1:
        raise UsageError("bad-confirmations", "at least 1")
    if len(options.seen) > MAX_SEEN:
        raise UsageError("too-many-files", f"at most {MAX_SEEN} checkpoints")
    request = AuditRequest(
        source=open_log(options.log),
        trust=trust,
        now=read_time(options.at),
        state=None if options.state is None else load_state(options.state),
        node=None if options.rpc is None else Node(options.rpc),
        seen=[read_file(path) for path in options.seen],
        former=None if options.former is None else _former(trust, options.former),
        confirmations=options.confirmations,
        progress=_Progress(),
    )
    try:
        result = audit(request)
    except FormatError as error:
        raise UsageError(error.code, f"--seen or --state: {error.detail}") from error
    if options.state is not None and result.state is not None:
        save_state(options.state, result.state)
    if options.json:
        answer(canonical_json(report_data(result.report)).decode("utf-8"))
    else:
        _print(result.report, is_mock=trust.content.mock)
    return EXIT_CODES[result.report.outcome]


class _Progress:
    """A line on stderr now and then, only for logs that take a while."""

    def __init__(self) -> None:
        self._next = time.monotonic() + PROGRESS_SECONDS

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PROGRESS_SECONDS
            tell(f"audit: {done:,} of {total:,} leaves ({100 * done // max(1, total)} %)")


def _select(lists: tuple[TrustList, ...], city: str | None) -> TrustList:
    found = [trust for trust in lists if city in (None, trust.content.city)]
    if not found:
        raise UsageError("no-trust", f"no list of {city} is known")
    if len(found) > 1:
        raise UsageError("which-city", "name the city with --city")
    return found[0]


def _former(trust: TrustList, origin: str) -> FormerLog:
    found = [entry for entry in trust.content.former_logs if entry.log.name == origin]
    if not found:
        raise UsageError("no-such-log", f"the trust list names no former log {origin}")
    return found[-1]


def _print(report: AuditReport, *, is_mock: bool) -> None:
    japanese, english = SENTENCES[report.outcome]
    answer(f"{japanese} / {english}" + ("【模擬 / MOCK】" if is_mock else ""))
    answer(f"  log {report.origin}")
    if report.root:
        answer(f"  size {report.size}, root {base64_encode(report.root)}")
        answer(f"  walked from leaf {report.started_at}, {report.files} files")
        answer(
            f"  anchors: {report.anchors} compared, {report.events} on the chain, {report.pending} not due yet"
        )
        if report.quorum is not None:
            answer(
                f"  witnesses: {report.cosignatures} good cosignatures, quorum {'yes' if report.quorum else 'no'}"
            )
    for finding in report.findings:
        mark = "✕" if finding.kind is Kind.TAMPER else "?"
        detail = f" ({printable(finding.detail)})" if finding.detail else ""
        answer(f"  {mark} [{finding.code}] {printable(finding.where)}: {finding.text}{detail}")
    if report.more:
        answer(f"  … and {report.more} more")
    if "chain" in report.not_asked:
        tell("  ・チェーンには聞いていません / the chain was not asked (--rpc)")
    if report.outcome is Outcome.UNFINISHED:
        hint("try again later; with --state an audit goes on where it stopped")
    if report.outcome is Outcome.TAMPER:
        hint("keep the state file, the checkpoint and this report: they are the evidence")
    sys.stdout.flush()
