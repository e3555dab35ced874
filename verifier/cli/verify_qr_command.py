"""Check the text of the code printed on a page: signed by the city, or not.

It never says "still in force".
"""

from __future__ import annotations

import argparse

from verifier.cli.inputs import add_trust_option, read_time, read_trust
from verifier.cli.terminal import answer, printable
from verifier.cli.verify_command import EXIT_CODES, print_report
from verifier.verify_qr import examine_page_qr, statement_lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `verify-qr`."""
    parser.add_argument("text", help="what a camera reads from the code")
    add_trust_option(parser)
    parser.add_argument("--at", metavar="TIME", help="as of this time (2026-11-20T01:02:03Z) instead of now")


def run(options: argparse.Namespace) -> int:
    """Examine the code; the signed statement is printed only if the signature is the city's."""
    report, statement = examine_page_qr(
        options.text, trust=read_trust(options.trust), now=read_time(options.at)
    )
    print_report(report)
    if statement is not None:
        answer("")
        answer("  紙面とくらべてください / compare with the paper:")
        for name, value in statement_lines(statement):
            answer(f"  {name}: {printable(value)}")
    return EXIT_CODES[report.verdict]
