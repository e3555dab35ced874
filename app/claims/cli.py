"""`akashi claims compute FILE.json`: the figures of one taxpayer record, on stdout, as JSON.

Exit 0 with figures, 1 with a refusal (the record says 未申告), 2 with one line on stderr for usage and bad
input.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from app.claims.errors import ClaimsError, RecordError
from app.claims.figures import compute_figures
from app.claims.record_json import parse_record
from app.claims.refusals import UNDECLARED
from verifier.errors import FormatError
from verifier.formats.encoding import parse_json

MAX_RECORD_BYTES: Final = 256 * 1024


def add_commands(subparsers: Any) -> None:
    """Add the `claims` family to the root parser's subparsers; each command sets `run(args) -> exit code`."""
    family = subparsers.add_parser("claims", help="compute the figures of a certificate (模擬/MOCK data)")
    commands = family.add_subparsers(dest="claims_command", required=True, metavar="COMMAND")
    compute = commands.add_parser("compute", help="print the figures of one taxpayer record as JSON")
    compute.add_argument("file", metavar="FILE.json", help="a taxpayer record, or - for standard input")
    compute.set_defaults(run=run_compute)


def run_compute(args: argparse.Namespace) -> int:
    """Print figures or a refusal; see the module docstring for the exit codes."""
    try:
        data = _read(args.file)
        record = parse_record(parse_json(data, max_bytes=MAX_RECORD_BYTES))
        figures = compute_figures(record)
    except (ClaimsError, FormatError) as error:
        print(f"akashi claims compute: {error.detail or error.code}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"akashi claims compute: {args.file}: {error.strerror}", file=sys.stderr)
        return 2
    if not record.declared:
        _print({"fiscal_year": record.fiscal_year, "refusal": asdict(UNDECLARED)})
        return 1
    _print(figures.as_json())
    return 0


def _read(name: str) -> bytes:
    if name == "-":
        data = sys.stdin.buffer.read(MAX_RECORD_BYTES + 1)
    else:
        with Path(name).open("rb") as stream:
            data = stream.read(MAX_RECORD_BYTES + 1)
    if not data.strip():
        raise RecordError("record", "the file is empty")
    return data


def _print(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))
