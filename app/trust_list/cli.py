"""`akashi trust draft|sign|check|publish|key`: for the people who keep the city's trust list.

Drafting and publishing happen at the city, signing at a computer without a network, one person and one key file at a time.
What a version changes is shown in plain words before anything is signed. Answers on standard output.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

LIFE_DAYS: Final = 365


def add_commands(commands: Any) -> None:
    """Add the commands of this room to `akashi`."""
    trust = commands.add_parser("trust", help="信頼リストの改版 / next versions of the trust list")
    actions = trust.add_subparsers(dest="action", required=True, metavar="ACTION")

    key = actions.add_parser("key", help="make one signer's key (on the signer's own computer)")
    key.add_argument("file", type=Path, help="the private key file to make; FILE.pub gets the public half")
    key.add_argument("--no-passphrase", action="store_true", help="leave the key file open (demo, hardware)")
    _add_passphrase(key)
    key.set_defaults(run=run_key)

    draft = actions.add_parser("draft", help="the next version, without signatures")
    _add_current(draft)
    draft.add_argument("--out", type=Path, required=True, help="the draft to write")
    draft.add_argument("--days", type=int, default=LIFE_DAYS, help=f"how long it lives (default {LIFE_DAYS})")
    draft.add_argument(
        "--compromised",
        action="append",
        default=[],
        metavar="KEY",
        help="a stolen key: certificate or public key file, or SHA-256 of its SubjectPublicKeyInfo; repeatable",
    )
    draft.add_argument(
        "--from-index", type=int, metavar="N", help="first log entry that is not valid any more"
    )
    draft.add_argument("--since", metavar="INSTANT", help="when it happened (2027-01-10T00:00:00Z)")
    draft.add_argument("--reason", metavar="TEXT", help="one line for people")
    draft.add_argument("--log", metavar="VKEY", help="the next log's name and key")
    draft.add_argument(
        "--last-checkpoint",
        type=Path,
        metavar="FILE",
        help="with --log: the present log's last good checkpoint",
    )
    draft.add_argument(
        "--log-compromised", action="store_true", help="with --log: the present log's key was stolen"
    )
    draft.add_argument(
        "--replace",
        action="append",
        nargs=2,
        default=[],
        metavar=("MEMBER", "FILE"),
        help="another value (JSON) for a whole member of x-akashi; null takes it away; repeatable",
    )
    draft.add_argument(
        "--signer",
        action="append",
        type=Path,
        metavar="FILE",
        help="a new signer's public key; repeat for all",
    )
    draft.add_argument("--threshold", type=int, metavar="K", help="how many of them have to sign")
    draft.set_defaults(run=run_draft)

    sign = actions.add_parser("sign", help="show what changes, and add one signature")
    sign.add_argument("draft", type=Path, help="the draft; it is replaced by the signed one")
    _add_current(sign)
    sign.add_argument("--key", type=Path, required=True, help="the signer's private key file")
    sign.add_argument("--yes", action="store_true", help="do not ask")
    _add_passphrase(sign)
    sign.set_defaults(run=run_sign)

    check = actions.add_parser("check", help="what changes, who has signed, and whether it may follow")
    check.add_argument("draft", type=Path)
    _add_current(check)
    check.set_defaults(run=run_check)

    publish = actions.add_parser("publish", help="put a finished version at the street door")
    publish.add_argument("draft", type=Path, help="the signed version")
    _add_current(publish)
    publish.add_argument("--door", required=True, help="where the street door is reached")
    publish.add_argument("--key", type=Path, required=True, help="the city's key at the street door")
    publish.set_defaults(run=run_publish)


def run_key(options: argparse.Namespace) -> int:
    """One Ed25519 key pair; the private half in a new file of mode 0600."""
    from app.trust_list.signer_key import create_signer_key, raw_public_key
    from verifier.formats.trust_list import tuf_key

    passphrase = None if options.no_passphrase else _passphrase(options, twice=True)
    key = create_signer_key(options.file, passphrase)
    print(options.file.with_name(options.file.name + ".pub"))
    print(tuf_key(raw_public_key(key))[0])
    return 0


def run_draft(options: argparse.Namespace) -> int:
    """Write the draft and show what it changes."""
    from app.trust_list import draft as drafting
    from verifier.formats.encoding import parse_json
    from verifier.formats.signed_note import parse_vkey
    from verifier.formats.submission_request import parse_instant

    current = _current(options)
    content = current.content
    happened = (options.since, options.reason)
    if options.replace:
        members = {
            name: parse_json(Path(file).read_bytes(), max_bytes=256 << 10) for name, file in options.replace
        }
        content = drafting.replace_members(content, members)
    if options.compromised:
        if None in happened or options.from_index is None:
            raise drafting.DraftError("incomplete", "--compromised needs --from-index, --since and --reason")
        digests = [drafting.read_key_digest(text) for text in options.compromised]
        content = drafting.name_stolen_keys(
            content,
            digests,
            from_index=options.from_index,
            since=parse_instant(options.since),
            reason=options.reason,
        )
    if options.log is not None:
        if None in happened or options.last_checkpoint is None:
            raise drafting.DraftError("incomplete", "--log needs --last-checkpoint, --since and --reason")
        content = drafting.change_log(
            content,
            parse_vkey(options.log),
            options.last_checkpoint.read_bytes(),
            compromised=options.log_compromised,
            since=parse_instant(options.since),
            reason=options.reason,
        )
    try:
        expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=options.days)
    except OverflowError as error:
        raise drafting.DraftError("bad-days", "no calendar goes so far") from error
    data = drafting.draft_next(
        current,
        content,
        expires=expires,
        signers=None if options.signer is None else [drafting.read_signer(path) for path in options.signer],
        threshold=options.threshold,
    )
    options.out.write_bytes(data)
    _show_changes(options, data)
    print(options.out)
    return 0


def run_sign(options: argparse.Namespace) -> int:
    """Show, ask, sign. A key that is neither a present nor a next signer's signs nothing."""
    from app.trust_list.draft import DraftError
    from app.trust_list.signer_key import is_protected, raw_public_key, read_signer_key
    from verifier.formats.trust_list import parse_trust_list
    from verifier.trust import sign_trust_list

    data, current = options.draft.read_bytes(), _current(options)
    document = parse_trust_list(data)
    _show_changes(options, data)
    key = read_signer_key(options.key, _passphrase(options) if is_protected(options.key) else None)
    if raw_public_key(key) not in (*current.keys.values(), *document.keys.values()):
        raise DraftError("unknown-key", "this key is neither a present nor a next signer's")
    if document.version != current.version + 1:
        raise DraftError("other-version", f"version {current.version + 1} comes next")
    if not options.yes and input("署名しますか / sign? [y/N] ").strip().lower() != "y":
        print("署名しませんでした / not signed", file=sys.stderr)
        return 1
    _replace(options.draft, sign_trust_list(data, key))
    _show_signatures(options, options.draft.read_bytes())
    return 0


def _replace(path: Path, data: bytes) -> None:
    # never in place: a crash half way would lose the signatures that others have made
    new = path.with_name(path.name + ".new")
    new.write_bytes(data)
    new.replace(path)


def run_check(options: argparse.Namespace) -> int:
    """0 if a verifier that holds the current version would take it, 1 if not (yet)."""
    from verifier.errors import TrustError
    from verifier.trust import verify_trust_list

    data = options.draft.read_bytes()
    _show_changes(options, data)
    _show_signatures(options, data)
    try:
        verify_trust_list(data, _current(options))
    except TrustError as error:
        print(f"✕ まだ公開できません / must not be published: {error}")
        return 1
    print("✓ 公開できます / may be published")
    return 0


def run_publish(options: argparse.Namespace) -> int:
    """The numbered version first, then the newest; a door that holds other bytes under that number refuses."""
    from app.mailbox import CityMailbox
    from app.zones import Guard
    from verifier.trust import verify_trust_list

    current = _current(options)
    trust = verify_trust_list(options.draft.read_bytes(), current)
    if trust.is_expired(datetime.now(UTC)):
        from app.trust_list.draft import DraftError

        raise DraftError("expired", "the version has ended before it was published")
    city = trust.content.city
    door = CityMailbox.from_key_file(options.door, options.key, city=city, guard=Guard(None))
    door.put_public(f"{city}/trust/{trust.version}.root.json", trust.data)
    door.put_public(f"{city}/trust/root.json", trust.data)
    print(f"第{trust.version}版を公開しました / version {trust.version} is published")
    print(f"hint: akashi-verify trust update {options.draft} --trust DIR", file=sys.stderr)
    return 0


def _add_passphrase(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help="first line = passphrase of the key; else it is asked for",
    )


def _passphrase(options: argparse.Namespace, *, twice: bool = False) -> bytes:
    import getpass

    from app.trust_list.draft import DraftError

    if options.passphrase_file is not None:
        words = options.passphrase_file.read_bytes().split(b"\n", 1)[0].rstrip(b"\r")
    else:
        words = getpass.getpass("パスフレーズ / passphrase: ", stream=sys.stderr).encode("utf-8")
        if twice and getpass.getpass("もう一度 / again: ", stream=sys.stderr).encode("utf-8") != words:
            raise DraftError("other-passphrase", "the two do not agree")
    if not words:
        raise DraftError("no-passphrase", "it is empty; --no-passphrase leaves the file open")
    return bytes(words)


def _add_current(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--current", type=Path, required=True, help="the version in force (root.json)")


def _current(options: argparse.Namespace) -> Any:
    from verifier.trust import load_trust_list

    return load_trust_list(options.current.read_bytes())


def _show_changes(options: argparse.Namespace, data: bytes) -> None:
    from app.trust_list.changes import describe_changes
    from verifier.formats.trust_list import parse_trust_list

    _show(describe_changes(_current(options), parse_trust_list(data)))


def _show_signatures(options: argparse.Namespace, data: bytes) -> None:
    from app.trust_list.changes import describe_signatures
    from verifier.formats.trust_list import parse_trust_list

    _show(describe_signatures(_current(options), parse_trust_list(data)))


def _show(lines: list[tuple[str, str]]) -> None:
    from verifier.cli.terminal import printable

    for ja, en in lines:
        print(f"・{printable(ja)}\n    {printable(en)}")
