"""Manage the trust directory: add a city's list by the fingerprint of its letter, show, update.

A list that has expired is taken (the next versions may follow it), and said to be so by the exit code for "undetermined".
"""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

from verifier.cli.inputs import add_network_options, add_trust_option, make_sources, read_file, read_time
from verifier.cli.terminal import UNDETERMINED, VALID, answer, hint, printable, tell
from verifier.errors import SourceError, UsageError
from verifier.trust import TrustList
from verifier.trust_store import TrustStore
from verifier.trust_update import follow_city


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `trust add|show|update`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", help="accept a city's trust list by the fingerprint of its letter")
    add.add_argument("file", type=Path, help="the trust list (root.json)")
    add.add_argument("--fingerprint", required=True, metavar="ABCD-…", help="as printed in the city's letter")
    show = actions.add_parser("show", help="show the accepted lists")
    update = actions.add_parser("update", help="follow newer versions, from files or from the city")
    update.add_argument(
        "files", type=Path, nargs="*", help="newer versions, oldest first; none = ask the city"
    )
    update.add_argument("--city", metavar="CODE", help="only this city")
    add_network_options(update)
    for action in (add, show, update):
        add_trust_option(action)
        action.add_argument(
            "--at", metavar="TIME", help="as of this time (2026-11-20T01:02:03Z) instead of now"
        )


def run(options: argparse.Namespace) -> int:
    """Dispatch to the action."""
    store, now = TrustStore(options.trust), read_time(options.at)
    if options.action == "add":
        return _show(store.add(read_file(options.file), options.fingerprint), now)
    if options.action == "show":
        for trust in store.lists():
            _show(trust, now)
        return VALID
    return _update(store, options, now)


def _update(store: TrustStore, options: argparse.Namespace, now: dt.datetime) -> int:
    lists = [trust for trust in store.lists() if options.city in (None, trust.content.city)]
    if not lists:
        raise UsageError("no-trust", f"no list of {options.city} is known")
    if options.files:
        if len(lists) != 1:
            raise UsageError("which-city", "name the city with --city")
        files = [read_file(path) for path in options.files]
        return _show(store.update(lists[0].content.city, files), now)
    sources = make_sources(options, tuple(lists))
    result = VALID
    for trust in lists:
        update = follow_city(store, trust, sources)
        if isinstance(update.failure, SourceError):
            tell(f"{trust.content.city}: {update.failure}")
            result = UNDETERMINED
        elif update.failure is not None:
            raise update.failure
        result = max(result, _show(update.trust, now))
    return result


def _show(trust: TrustList, now: dt.datetime) -> int:
    content = trust.content
    mock = "【模擬 / MOCK】" if content.mock else ""
    answer(f"{content.city} {printable(content.name)} {mock}".rstrip())
    answer(f"  version {trust.version}, until {trust.expires:%Y-%m-%dT%H:%M:%SZ}, {trust.threshold} of "
           f"{len(trust.keys)} signers")  # fmt: skip
    answer(f"  fingerprint {trust.fingerprint}")
    answer(f"  address {content.public_url}")
    for entry in content.compromised:
        answer(f"  盗まれた鍵 / stolen key {entry.key.hex()[:16]}…: not valid from entry {entry.from_index} of "
               f"{printable(entry.log)} on ({entry.since:%Y-%m-%d}: {printable(entry.reason)})")  # fmt: skip
    for former in content.former_logs:
        words = "盗まれた / stolen" if former.compromised else "終了 / ended"
        answer(f"  前の台帳 / former log {printable(former.log.name)}, {former.size} entries, {words} "
               f"({former.since:%Y-%m-%d}: {printable(former.reason)})")  # fmt: skip
    if trust.is_expired(now):
        answer("  期限切れ / EXPIRED: no verdict is possible until it is updated")
        hint("akashi-verify trust update --trust DIR")
        return UNDETERMINED
    return VALID
