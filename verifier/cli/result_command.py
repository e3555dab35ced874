"""Fetch the answer of a wallet of others and give one verdict. The same result file gives the same answer again."""

from __future__ import annotations

import argparse
import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from verifier.cli.inputs import (
    add_key_options,
    add_network_options,
    add_trust_option,
    make_sources,
    read_keys,
    read_time,
    read_trust,
)
from verifier.cli.newer_trust import has_newer_list
from verifier.cli.terminal import answer, hint, is_unicode_output
from verifier.cli.verify_command import EXIT_CODES, print_report
from verifier.errors import FormatError, SourceError, UsageError
from verifier.policy import WALLET
from verifier.presentation import examine_presentation, pending_report
from verifier.presentation_door import MAX_WAIT, Answered, delete_presentation, fetch_presentation
from verifier.presentation_file import PendingPresentation, read_answer, read_pending, take_answer
from verifier.report import Report, format_report
from verifier.trust import TrustList

MAX_SECONDS = 3600
_PAUSE = 1.0
_REASONS = {
    "http-403": (
        "wrong-response-code",
        "the answer came back with another browser; it needs --response-code",
        False,
    ),
    "http-404": ("request-ended", "the street door does not hold this request any more", False),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `result`."""
    parser.add_argument("result", type=Path, metavar="RESULT", help="the result file of `request --wallet`")
    add_trust_option(parser)
    add_key_options(parser, required=False)
    add_network_options(parser)
    parser.add_argument("--door", metavar="URL", help="default: the address in the result file")
    parser.add_argument("--wait", type=int, default=0, metavar="SECONDS", help="wait for the answer so long")
    parser.add_argument("--response-code", metavar="CODE", help="what the wallet's browser brought back")
    parser.add_argument("--json", action="store_true", help="the whole report as JSON")
    parser.add_argument("--at", metavar="TIME", help="as of this time instead of now")


def run(options: argparse.Namespace) -> int:
    """Fetch once, examine, print; 3 while there is no answer yet."""
    if not 0 <= options.wait <= MAX_SECONDS:
        raise UsageError("bad-wait", f"0 to {MAX_SECONDS} seconds")
    try:
        pending = read_pending(options.result)
    except FormatError as error:
        raise UsageError("bad-result-file", f"{options.result.name}: {error.code}") from error
    trust = read_trust(options.trust)
    keys = read_keys(options.key or Path(pending.desk), options.passphrase_file)
    try:
        key = pending.open_key(keys.encryption)
    except FormatError as error:
        raise UsageError("other-key", "the result file belongs to another key file") from error
    answered, fetched = read_answer(options.result), False
    missing = ("no-answer-yet", "nobody has answered yet", True)
    if answered is None and not options.offline:
        try:
            answered = _fetch(options, pending, keys.for_signing())
        except SourceError as error:
            missing = _REASONS.get(
                error.code, ("door-unreachable", f"no answer from the door: {error.code}", True)
            )
        fetched = answered is not None
        # another process of this desk may have taken it in the meantime, and cleared up at the door
        answered = answered or read_answer(options.result)
    if answered is None:
        code, detail, retry = missing
        report = pending_report(WALLET, read_time(options.at), code, detail, retry=retry)
    else:
        report = _examine(options, pending, key, answered, trust)
    if options.json:
        answer(format_report(report, ascii_only=not is_unicode_output()))
    else:
        print_report(report)
    if fetched and read_answer(options.result) is not None:
        _clear_up(options, pending, keys.for_signing())
    return EXIT_CODES[report.verdict]


def _examine(
    options: argparse.Namespace,
    pending: PendingPresentation,
    key: ec.EllipticCurvePrivateKey,
    answered: Answered,
    trust: tuple[TrustList, ...],
) -> Report:
    def look(lists: tuple[TrustList, ...]) -> Report:
        return examine_presentation(
            answered.response,
            request=pending.request,
            key=key,
            trust=lists,
            policy=WALLET,
            now=read_time(options.at),
            sources=make_sources(options, lists),
            take=lambda response: take_answer(options.result, Answered(response, answered.received)),
            received=answered.received,
        )

    report = look(trust)
    if not options.offline and has_newer_list(options, trust, report.city):
        report = look(read_trust(options.trust))
    return report


def _fetch(
    options: argparse.Namespace, pending: PendingPresentation, signing: ec.EllipticCurvePrivateKey
) -> Answered | None:
    """What lies at the door, waiting as long as was said. Raises: SourceError."""
    door, asked = options.door or pending.door, pending.asked
    end = time.monotonic() + options.wait
    while True:
        left = max(0.0, end - time.monotonic())
        found = fetch_presentation(
            door,
            asked.id,
            signing,
            _clock(options)(),
            wait=min(int(left), MAX_WAIT),
            response_code=options.response_code,
        )
        if found is not None or left <= 0:
            return found
        time.sleep(min(_PAUSE, left))  # a door whose waiting places are all taken answers at once


def _clear_up(
    options: argparse.Namespace, pending: PendingPresentation, signing: ec.EllipticCurvePrivateKey
) -> None:
    # The answer lies in the desk's own folder now. If the door cannot be told, its own clock deletes it.
    try:
        delete_presentation(options.door or pending.door, pending.asked.id, signing, _clock(options)())
    except SourceError as error:
        hint(f"the street door still holds the answer for a while: {error.code}")


def _clock(options: argparse.Namespace) -> Callable[[], dt.datetime]:
    return lambda: read_time(options.at)
