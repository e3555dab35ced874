"""Fetch what residents have submitted to a request; after fetching they cannot withdraw it."""

from __future__ import annotations

import argparse
from pathlib import Path

from verifier.cli.inputs import add_key_options, read_keys, read_request, read_time, write_file
from verifier.cli.terminal import VALID, answer, hint, tell
from verifier.door import fetch_submission, list_submissions
from verifier.errors import UsageError
from verifier.formats.names import PACKAGE_SUFFIX


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `inbox`."""
    add_key_options(parser, required=True)
    parser.add_argument("--request", type=Path, required=True, metavar="FILE", help="the request file")
    parser.add_argument("--door", metavar="URL", help="default: the address in the request file")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="fetch into this directory; without: only list"
    )
    parser.add_argument("--again", action="store_true", help="fetch also what was fetched before")


def run(options: argparse.Namespace) -> int:
    """List, and fetch what is new."""
    request = read_request(options.request)
    if request is None or request.id is None:
        raise UsageError("not-posted", "the street door does not hold this request")
    base = options.door or request.public_url
    if base is None:
        raise UsageError("no-door", "name the street door with --door")
    key = read_keys(options.key, options.passphrase_file).for_signing()
    entries = list_submissions(base, request.id, key, read_time(None))
    if not entries:
        tell("まだ届いていません / nothing has arrived yet")
    for entry in entries:
        if options.out is None:
            state = "fetched" if entry.fetched else "new"
            answer(f"{entry.receipt}\t{entry.received}\t{entry.size}\t{state}")
            continue
        target = options.out / (entry.receipt + PACKAGE_SUFFIX)
        if target.exists() or (entry.fetched and not options.again):
            continue
        data = fetch_submission(base, request.id, entry.receipt, key, read_time(None))
        _make(options.out)
        write_file(target, data)
        answer(str(target))
    if entries and options.out is None:
        hint("fetch them with --out DIR, then check each with `verify --request FILE`")
    return VALID


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError("cannot-write", f"{directory.name}: {error.strerror}") from error
