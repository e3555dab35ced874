"""Manage the trust directory: add a city's list by the fingerprint of its letter, show, update."""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

from verifier.cli.inputs import add_network_options, add_trust_option, make_sources, read_file, read_time
from verifier.cli.terminal import UNDETERMINED, VALID, answer, hint, printable, tell
from verifier.errors import SourceError, UsageError
from verifier.trust import TrustList
from verifier.trust_store import MAX_UPDATES, TrustStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `trust add|show|update`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", help="accept a city's trust list by the fingerprint of its letter")
    add.add_argument("file", type=Path, help="the trust list (root.json)")
    add.add_argument("--fingerprint", required=True, metavar="ABCD-…", help="as printed in the city's letter")
    show = actions.add_parser("show", help="show the accepted lists")
    show.add_argument("--at", metavar="TIME", help="as of this time (2026-11-20T01:02:03Z) instead of now")
    update = actions.add_parser("update", help="follow newer versions, from files or from the city")
    update.add_argument(
        "files", type=Path, nargs="*", help="newer versions, oldest first; none = ask the city"
    )
    update.add_argument("--city", metavar="CODE", help="only this city")
    add_network_options(update)
    for action in (add, show, update):
        add_trust_option(action)


def run(options: argparse.Namespace) -> int:
    """Dispatch to the action."""
    store = TrustStore(options.trust)
    if options.action == "add":
        _show(store.add(read_file(options.file), options.fingerprint), None)
        return VALID
    if options.action == "show":
        now = read_time(options.at)
        for trust in store.lists():
            _show(trust, now)
        return VALID
    return _update(store, options)


def _update(store: TrustStore, options: argparse.Namespace) -> int:
    lists = [trust for trust in store.lists() if options.city in (None, trust.content.city)]
    if not lists:
        raise UsageError("no-trust", f"no list of {options.city} is known")
    if options.files:
        if len(lists) != 1:
            raise UsageError("which-city", "name the city with --city")
        _show(store.update(lists[0].content.city, [read_file(path) for path in options.files]), None)
        return VALID
    sources = make_sources(options, tuple(lists))
    result = VALID
    for trust in lists:
        newest = trust
        for _ in range(MAX_UPDATES):
            path = f"/{trust.content.city}/trust/{newest.version + 1}.root.json"
            try:
                data = sources.public_file(newest.content.public_url, path)
            except SourceError as error:
                if error.code != "http-404":
                    tell(f"{trust.content.city}: {error}")
                    result = UNDETERMINED
                break
            newest = store.update(trust.content.city, [data])
        _show(newest, None)
    return result


def _show(trust: TrustList, now: dt.datetime | None) -> None:
    content = trust.content
    mock = "【模擬 / MOCK】" if content.mock else ""
    answer(f"{content.city} {printable(content.name)} {mock}".rstrip())
    answer(f"  version {trust.version}, until {trust.expires:%Y-%m-%dT%H:%M:%SZ}, {trust.threshold} of "
           f"{len(trust.keys)} signers")  # fmt: skip
    answer(f"  fingerprint {trust.fingerprint}")
    answer(f"  address {content.public_url}")
    if now is not None and trust.is_expired(now):
        answer("  期限切れ / EXPIRED: no verdict is possible until it is updated")
        hint("akashi-verify trust update --trust DIR")
