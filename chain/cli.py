"""`akashi chain …`: the log's and the chain's commands. Answers are JSON on stdout, everything else on
stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chain.errors import ChainError, SettingsError


def add_commands(subparsers: Any) -> None:
    """Add `chain` with its subcommands; each sets `run(options) -> exit status`."""
    chain = subparsers.add_parser("chain", help="log, anchoring and the demo chain")
    commands = chain.add_subparsers(dest="chain_command", required=True, metavar="COMMAND")

    create = commands.add_parser("create", help="begin a new log in an empty directory (once)")
    create.add_argument("--directory", type=Path, required=True)
    create.add_argument("--origin", required=True, help="for example door.mihon.example/992011/log/1")
    create.set_defaults(run=_guarded(_create))

    status = commands.add_parser("status", help="size, anchored size, lag and reason of a running log")
    status.add_argument(
        "--address", required=True, help="http://127.0.0.1:port or unix:/path of the log process"
    )
    status.add_argument("--token-file", type=Path, required=True)
    status.set_defaults(run=_guarded(_status))

    deploy = commands.add_parser("deploy", help="deploy AnchorRegistry; prints its address as JSON")
    deploy.add_argument("--rpc", required=True)
    deploy.add_argument(
        "--accounts", type=Path, help="demo accounts file: its owner deploys, its sealer seals"
    )
    deploy.add_argument("--owner-key-file", type=Path, help="instead of --accounts: private key of the owner")
    deploy.add_argument("--sealer", help="with --owner-key-file: address that may submit")
    deploy.set_defaults(run=_guarded(_deploy))

    from chain.besu import add_commands as add_besu_commands
    from chain.witness_cli import add_witness_commands

    add_witness_commands(commands, _guarded, _print)
    add_besu_commands(commands, _guarded)

    devnode = commands.add_parser("devnode", help="模擬/MOCK: run the embedded Ethereum chain (demo only)")
    from chain.devnode.__main__ import add_arguments, run

    add_arguments(devnode)
    devnode.set_defaults(run=_guarded(run))

    backup = commands.add_parser(
        "devnode-backup", help="模擬/MOCK: copy a stopped embedded chain, and check the copy"
    )
    backup.add_argument("--data", type=Path, required=True, help="directory of the chain")
    backup.add_argument("--out", type=Path, required=True, help="new directory of the copy; holds demo keys")
    backup.add_argument("--chain-id", type=int, default=992011)
    backup.set_defaults(run=_guarded(_back_up))

    restore = commands.add_parser(
        "devnode-restore", help="模擬/MOCK: put such a copy back, checked, as a new directory"
    )
    restore.add_argument("--copy", type=Path, required=True)
    restore.add_argument("--data", type=Path, required=True, help="new directory of the chain")
    restore.set_defaults(run=_guarded(_restore))

    fsck = commands.add_parser("fsck", help="re-derive every hash of a log from its entries and compare")
    fsck.add_argument("--directory", type=Path, required=True, help="the directory that holds `checkpoint`")
    fsck.add_argument("--vkey", required=True, help="public key of the log")
    fsck.set_defaults(run=_guarded(_fsck))


def _create(options: argparse.Namespace) -> int:
    from chain.log import create_log

    create_log(options.directory, options.origin)
    _print({"origin": options.origin, "size": 0})
    return 0


def _status(options: argparse.Namespace) -> int:
    from chain.client import LogClient
    from chain.settings import read_secret

    state = LogClient(options.address, read_secret(options.token_file)).state()
    _print(state)
    return 0 if state.get("healthy") else 1


def _deploy(options: argparse.Namespace) -> int:
    from chain.devnode.accounts import load_accounts
    from chain.ethereum import deploy_registry
    from chain.settings import parse_address, read_key

    if options.accounts is not None:
        accounts = load_accounts(options.accounts)
        owner_key, sealer = accounts["owner"].key, accounts["sealer"].address
    elif options.owner_key_file is not None and options.sealer:
        owner_key, sealer = read_key(options.owner_key_file), parse_address(options.sealer)
    else:
        raise SettingsError("missing-setting", "--accounts, or --owner-key-file and --sealer, are needed")
    contract, gas = deploy_registry(options.rpc, owner_key, sealer)
    _print({"contract": "0x" + contract.hex(), "sealer": "0x" + sealer.hex(), "gas": gas})
    return 0


def _back_up(options: argparse.Namespace) -> int:
    from chain.devnode.backup import back_up_chain

    _print(asdict(back_up_chain(options.data, options.out, options.chain_id)))
    return 0


def _restore(options: argparse.Namespace) -> int:
    from chain.devnode.backup import restore_chain

    _print(asdict(restore_chain(options.copy, options.data)))
    return 0


def _fsck(options: argparse.Namespace) -> int:
    from chain.fsck import check_log
    from verifier.errors import FormatError
    from verifier.formats.signed_note import parse_vkey

    try:
        key = parse_vkey(options.vkey)
    except FormatError as error:
        raise SettingsError("bad-vkey", "--vkey is not a verifier key") from error
    report = check_log(options.directory, key)
    _print(
        {
            "size": report.size,
            "tiles": report.tiles,
            "receipts": report.receipts,
            "findings": list(report.findings),
        }
    )
    return 1 if report.findings else 0


def _guarded(run: Any) -> Any:
    def guarded(options: argparse.Namespace) -> int:
        try:
            return int(run(options))
        except ChainError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2

    return guarded


def _print(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=1))
