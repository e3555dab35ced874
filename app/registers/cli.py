"""`akashi city create|export|import|show`: make, write, read and look into the mock base system (模擬/MOCK).

The answer is JSON on stdout, everything else goes to stderr. Exit 0; 1 if there is no such resident; 2 for
usage and bad input, with one line that says what. A store that could not be filled to the end is removed
again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError

from app.registers.city.cases import case_ids
from app.registers.city.generator import MAX_RESIDENTS, MIN_RESIDENTS, generate_city
from app.registers.errors import RegisterError
from app.registers.migrations import upgrade
from app.registers.register_file import format_entry, read_register, write_register
from app.registers.resident import CITY_CODE, RegisterEntry
from app.registers.store import RegisterStore
from app.storage.engine import open_store

DEFAULT_STORE: Final = "var/city/registers.sqlite"
DEFAULT_SEED: Final = 2026
NEW_FILE: Final = "SQLite file that must not exist yet"


class CommandError(Exception):
    """One line for the person at the terminal; exit code 2."""


def add_commands(subparsers: Any) -> None:
    """Add the `city` family to the root parser's subparsers; each command sets `run(args) -> exit code`."""
    family = subparsers.add_parser("city", help="the mock base system (模擬/MOCK): residents and tax records")
    commands = family.add_subparsers(dest="city_command", required=True, metavar="COMMAND")

    create = commands.add_parser("create", help="make a city of mock residents")
    create.add_argument("--residents", type=int, required=True, help=f"{MIN_RESIDENTS} to {MAX_RESIDENTS}")
    create.add_argument("--seed", type=int, default=DEFAULT_SEED, help="the same seed gives the same city")
    create.add_argument("--out", metavar="PATH", default=DEFAULT_STORE, help=NEW_FILE)
    create.set_defaults(run=_run(_create))

    export = commands.add_parser("export", help="write a register file (JSON lines)")
    export.add_argument("--store", metavar="PATH", default=DEFAULT_STORE)
    export.add_argument("--out", metavar="FILE", default="-", help="default: standard output")
    export.set_defaults(run=_run(_export))

    load = commands.add_parser("import", help="make a store from a register file, strictly")
    load.add_argument("file", metavar="FILE", help="a register file, or - for standard input")
    load.add_argument("--out", metavar="PATH", default=DEFAULT_STORE, help=NEW_FILE)
    load.set_defaults(run=_run(_import))

    show = commands.add_parser("show", help="print one resident, or what the store holds")
    show.add_argument("resident", nargs="?", help="a resident id (M-0000001) or the key of a case (taxed)")
    show.add_argument("--store", metavar="PATH", default=DEFAULT_STORE)
    show.set_defaults(run=_run(_show))


def _run(work: Any) -> Any:
    def run(args: argparse.Namespace) -> int:
        try:
            return int(work(args))
        except (CommandError, RegisterError) as error:
            print(f"akashi city {args.city_command}: {getattr(error, 'detail', error)}", file=sys.stderr)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            print(f"akashi city {args.city_command}: {where}{error.strerror}", file=sys.stderr)
        except DatabaseError as error:
            print(f"akashi city {args.city_command}: not a usable store: {error.orig}", file=sys.stderr)
        return 2

    return run


def _create(args: argparse.Namespace) -> int:
    try:
        entries = generate_city(args.residents, args.seed)
    except ValueError as error:
        raise CommandError(str(error)) from error
    return _fill(Path(args.out), entries, f"generated: residents={args.residents} seed={args.seed}")


def _import(args: argparse.Namespace) -> int:
    if args.file == "-":
        return _fill(Path(args.out), read_register(sys.stdin.buffer), "imported: standard input")
    with Path(args.file).open("rb") as stream:
        return _fill(Path(args.out), read_register(stream), f"imported: {Path(args.file).name}")


def _fill(path: Path, entries: Iterable[RegisterEntry], origin: str) -> int:
    if path.exists():
        raise CommandError(f"{path} exists already; give another --out or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    engine = open_store(f"sqlite:///{path}")
    complete = False
    try:
        upgrade(engine)
        total = RegisterStore(engine).add_city(entries, origin)
        complete = True
    finally:
        engine.dispose()
        if not complete:
            for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
                path.with_name(name).unlink(missing_ok=True)
    seconds = round(time.perf_counter() - started, 1)
    print(f"模擬/MOCK city of {total} residents in {path} ({seconds} s)", file=sys.stderr)
    _print({"store": str(path), "residents": total, "city_code": CITY_CODE, "origin": origin, "mock": True})
    return 0


def _export(args: argparse.Namespace) -> int:
    with _opened(args.store) as engine:
        store = RegisterStore(engine)
        if args.out == "-":
            total = write_register(sys.stdout.buffer, store.entries())
            sys.stdout.buffer.flush()
            print(f"模擬/MOCK register of {total} residents", file=sys.stderr)
            return 0
        target = Path(args.out)
        if target.exists():
            raise CommandError(f"{target} exists already")
        with target.open("xb") as stream:
            total = _write_or_remove(stream, target, store)
    _print({"file": str(target), "residents": total, "mock": True})
    return 0


def _write_or_remove(stream: BinaryIO, target: Path, store: RegisterStore) -> int:
    try:
        return write_register(stream, store.entries())
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _show(args: argparse.Namespace) -> int:
    with _opened(args.store) as engine:
        store = RegisterStore(engine)
        if args.resident is None:
            _print(
                {
                    "store": args.store,
                    "residents": store.count(),
                    "origin": store.origin(),
                    "cases": case_ids(),
                    "mock": True,
                }
            )
            return 0
        resident_id = case_ids().get(args.resident, args.resident)
        resident = store.find_resident(resident_id)
        if resident is None:
            print(f"akashi city show: no resident {args.resident}", file=sys.stderr)
            return 1
        taxes = tuple(store.tax_records_of(resident_id))
    _print(format_entry(RegisterEntry(resident, taxes)) | {"mock": True})
    return 0


@contextmanager
def _opened(name: str) -> Any:
    path = Path(name)
    if not path.is_file():
        raise CommandError(f"{path} does not exist; make it with `akashi city create`")
    engine: Engine = open_store(f"sqlite:///{path}")
    try:
        upgrade(engine)
        if RegisterStore(engine).origin() is None:
            raise CommandError(f"{path} was not filled to the end; make it again")
        yield engine
    finally:
        engine.dispose()


def _print(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))
