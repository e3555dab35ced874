"""Check a package, bundle, submission or sealed page and give one verdict."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from verifier.cli.inputs import (
    add_key_options,
    add_network_options,
    add_trust_option,
    make_sources,
    read_file,
    read_keys,
    read_request,
    read_time,
    read_trust,
)
from verifier.cli.newer_trust import has_newer_list
from verifier.cli.terminal import (
    NOT_VALID,
    UNDETERMINED,
    VALID,
    answer,
    hint,
    is_unicode_output,
    printable,
    tell,
)
from verifier.policy import POLICIES, find_policy
from verifier.report import NOT_ASKED_TEXTS, SYMBOLS, TITLES, Outcome, Report, Verdict, format_report
from verifier.trust import TrustList
from verifier.verify import examine

EXIT_CODES: Final = {
    Verdict.VALID: VALID,
    Verdict.NOT_VALID: NOT_VALID,
    Verdict.UNDETERMINED: UNDETERMINED,
}
_MARKS: Final = {
    Outcome.PASS: "✓",
    Outcome.FAIL: "✕",
    Outcome.UNDETERMINED: "?",
    Outcome.NOT_APPLICABLE: "-",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `verify`."""
    parser.add_argument("file", type=Path, help='the file to check ("-" = standard input)')
    add_trust_option(parser)
    add_key_options(parser, required=False)
    add_network_options(parser)
    parser.add_argument("--request", type=Path, metavar="FILE", help="the request that the file answers")
    parser.add_argument("--at", metavar="TIME", help="as of this time (2026-11-20T01:02:03Z) instead of now")
    parser.add_argument("--json", action="store_true", help="the whole report as JSON")
    parser.add_argument("--policy", choices=sorted(POLICIES), help="default: online, with --offline: offline")


def run(options: argparse.Namespace) -> int:
    """Examine the file and print the report."""
    trust = read_trust(options.trust)
    policy = find_policy(options.policy or ("offline" if options.offline else "online"))
    request = read_request(options.request)
    keys = None if options.key is None else read_keys(options.key, options.passphrase_file)
    file, now = read_file(options.file), read_time(options.at)

    def look(lists: tuple[TrustList, ...]) -> Report:
        return examine(
            file,
            trust=lists,
            policy=policy,
            now=now,
            sources=make_sources(options, lists),
            request=None if request is None else request.descriptor,
            key=None if keys is None else keys.encryption,
        )

    report = look(trust)
    if policy.ask_status and not options.offline and has_newer_list(options, trust, report.city):
        report = look(read_trust(options.trust))
    if options.json:
        answer(format_report(report, ascii_only=not is_unicode_output()))
    else:
        print_report(report)
    return EXIT_CODES[report.verdict]


def print_report(report: Report) -> None:
    """Verdict first, then the checks, then what was not asked, then the data."""
    answer(f"{SYMBOLS[report.verdict]} {report.sentence_ja}")
    answer(f"  {report.sentence_en}")
    answer(f"  {report.as_of:%Y-%m-%dT%H:%M:%SZ} の時点 / as of; policy {report.policy}")
    answer("")
    for finding in report.findings:
        ja, en = TITLES[finding.check]
        detail = f": {printable(finding.detail)}" if finding.detail else ""
        code = "" if finding.code == "ok" else f" [{finding.code}]"
        answer(f"  {_MARKS[finding.outcome]} {ja} / {en}{code}{detail}")
    for word in report.not_asked:
        ja, en = NOT_ASKED_TEXTS[word]
        tell(f"  ・{ja} / {en}")
    if report.certificate is not None:
        answer("")
        _print_data(report.certificate, "  ")
    if any(finding.retry for finding in report.findings if finding.outcome is Outcome.UNDETERMINED):
        hint(
            "あとで、またはネットワークにつないで、もう一度確かめてください / try again later, with a network"
        )


def _print_data(value: object, indent: str) -> None:
    if not isinstance(value, dict):
        return
    for name, item in value.items():
        if isinstance(item, dict):
            answer(f"{indent}{name}:")
            _print_data(item, indent + "  ")
        else:
            answer(f"{indent}{name}: {printable(str(item))}")
