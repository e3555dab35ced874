"""`akashi chain witness-keygen` and `akashi chain witness-register`: a witness's keys, and their place in the contract."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chain.errors import SettingsError
from chain.witness_settings import PROFILES
from verifier.formats.signed_note import format_vkey

Guard = Callable[[Callable[[argparse.Namespace], int]], Callable[[argparse.Namespace], int]]


def add_witness_commands(commands: Any, guard: Guard, show: Callable[[dict[str, Any]], None]) -> None:
    """Add both commands; `guard` turns our errors into exit statuses, `show` prints an answer."""
    keygen = commands.add_parser(
        "witness-keygen", help="make a witness's keys and memory (once), in its own directory"
    )
    keygen.add_argument("--directory", type=Path, required=True)
    keygen.add_argument("--name", required=True, help="for example w1.witness.example")
    keygen.set_defaults(run=guard(lambda options: _keygen(options, show)))

    register = commands.add_parser(
        "witness-register", help="register witnesses in AnchorRegistry by their proof of possession"
    )
    register.add_argument("--rpc", required=True)
    register.add_argument("--contract", required=True, help="0x address of AnchorRegistry")
    register.add_argument("--accounts", type=Path, help="demo accounts file: its owner registers")
    register.add_argument("--owner-key-file", type=Path, help="instead: private key of the owner")
    register.add_argument(
        "--witness",
        type=Path,
        action="append",
        required=True,
        help="a witness.json; its bit is its place in the contract",
    )
    register.add_argument("--threshold", type=int, help="how many witnesses a submission needs from now on")
    register.set_defaults(run=guard(lambda options: _register(options, show)))


def _keygen(options: argparse.Namespace, show: Callable[[dict[str, Any]], None]) -> int:
    from chain.witness_keys import generate_keys, store_keys
    from chain.witness_store import create_store

    profile = os.environ.get("AKASHI_PROFILE", "")
    if profile not in PROFILES:
        raise SettingsError("no-profile", "AKASHI_PROFILE must be demo or production")
    options.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    identity = store_keys(options.directory, generate_keys(options.name, is_mock=profile == "demo"))
    create_store(options.directory)
    show(
        {
            "mock": identity.is_mock,
            "name": identity.name,
            "vkey": format_vkey(identity.vkey),
            "policy": identity.policy_line,
            "bls_public_key": identity.bls_public_key.hex(),
            "possession": identity.possession.hex(),
        }
    )
    return 0


def _register(options: argparse.Namespace, show: Callable[[dict[str, Any]], None]) -> int:
    from chain.devnode.accounts import load_accounts
    from chain.ethereum import EthereumClient, RegistryOwner
    from chain.settings import parse_address, read_key
    from chain.witness_keys import load_identity

    if options.accounts is not None:
        owner_key = load_accounts(options.accounts)["owner"].key
    elif options.owner_key_file is not None:
        owner_key = read_key(options.owner_key_file)
    else:
        raise SettingsError("missing-setting", "--accounts or --owner-key-file is needed")
    contract = parse_address(options.contract)
    identities = [load_identity(path) for path in options.witness]
    owner = RegistryOwner(options.rpc, contract, owner_key)
    gas = {item.name: owner.register_witness(item.bls_public_key, item.possession) for item in identities}
    threshold_gas = 0 if options.threshold is None else owner.set_threshold(options.threshold)
    known = EthereumClient(options.rpc, contract).witnesses()
    show(
        {
            "threshold": known.threshold,
            "threshold_gas": threshold_gas,
            "witnesses": [
                {"name": item.name, "number": known.numbers.get(item.bls_public_key), "gas": gas[item.name]}
                for item in identities
            ],
        }
    )
    return 0
