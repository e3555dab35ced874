"""`python -m app.counterparts.jpki bodies …`: who may ask for the validity of card certificates (模擬/MOCK).

    bodies add      --directory DIR --id ID --name NAME --class CLASS --token-file FILE
                    [--kinds signature,authentication] [--from DAY] [--until DAY]
                    CLASS: administrative, 4, 5, 6, or service (asks through a delegate only; no token file)
    bodies delegate --directory DIR --delegator ID --delegate ID [--kinds …] [--from DAY] [--until DAY]
    bodies revoke   --directory DIR --id ID_OR_CONTRACT
    bodies list     --directory DIR      JSON: bodies, contracts, and how often each asked

Without days a registration holds from today for a year.
"""

from __future__ import annotations

import argparse
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from app.counterparts.jpki.bodies import JAPAN, LEGAL_CLASSES, BodyMeter, BodyRegistry
from app.counterparts.jpki.errors import JpkiError
from app.counterparts.jpki.profiles import KINDS
from app.sealing.key_files import create_private_file
from verifier.formats.encoding import canonical_json


def add_parsers(commands: Any) -> None:
    """The `bodies` command of the mock's command line."""
    actions = commands.add_parser("bodies").add_subparsers(dest="action", required=True)
    for name in ("add", "delegate", "revoke", "list"):
        action = actions.add_parser(name)
        action.add_argument("--directory", type=Path, required=True)
        if name in ("add", "revoke"):
            action.add_argument("--id", required=True)
        if name == "add":
            action.add_argument("--name", required=True)
            action.add_argument("--class", dest="legal_class", choices=sorted(LEGAL_CLASSES), required=True)
            action.add_argument("--token-file", type=Path)
        if name == "delegate":
            action.add_argument("--delegator", required=True)
            action.add_argument("--delegate", required=True)
        if name in ("add", "delegate"):
            action.add_argument("--kinds", default=",".join(KINDS))
            action.add_argument("--from", dest="begin", type=date.fromisoformat)
            action.add_argument("--until", type=date.fromisoformat)


def run(options: argparse.Namespace, *, now: datetime) -> str:
    """Do it; what to print. Raises: JpkiError, OSError."""
    registry = BodyRegistry(options.directory)
    if options.action == "list":
        return _list(registry, options.directory)
    if options.action == "revoke":
        registry.revoke(options.id, now=now)
        return f"模擬/MOCK ended {options.id}"
    begin = options.begin or now.astimezone(JAPAN).date()
    until = options.until or begin + timedelta(days=364)
    kinds = tuple(options.kinds.split(","))
    if options.action == "delegate":
        contract = registry.delegate(
            options.delegator, options.delegate, kinds=kinds, begin=begin, until=until
        )
        return f"模擬/MOCK contract {contract}"
    has_token = options.legal_class != "service"
    if has_token != (options.token_file is not None):
        raise JpkiError("token-file", "a body that asks by itself needs --token-file; another has none")
    if has_token and options.token_file.exists():
        raise JpkiError("token-file", "the token file exists; a credential is not written over another")
    token = registry.add(options.id, options.name, options.legal_class, kinds=kinds, begin=begin, until=until)
    if has_token:
        create_private_file(options.token_file, token.encode("ascii"))
    return f"模擬/MOCK registered {options.id}"


def _list(registry: BodyRegistry, directory: Path) -> str:
    content = registry.read()
    for entry in content["bodies"].values():
        del entry["token"]
    names = ("body", "for", "day", "kind", "method", "count")
    meter = directory / "queries.sqlite"
    rows = BodyMeter(meter).rows() if meter.exists() else []
    content["queries"] = [dict(zip(names, row, strict=True)) for row in rows]
    return canonical_json(content).decode("utf-8")
