"""Decrypt a package into a file. Nothing is checked: the content is not yet known to be genuine."""

from __future__ import annotations

import argparse
from pathlib import Path

from verifier.cli.inputs import add_key_options, read_file, read_keys, write_file
from verifier.cli.terminal import VALID, answer, hint
from verifier.errors import UsageError
from verifier.formats.names import BUNDLE_SUFFIX
from verifier.verify import open_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `open`."""
    parser.add_argument("file", type=Path, help='the package ("-" = standard input)')
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"default: beside it, with {BUNDLE_SUFFIX}")
    add_key_options(parser, required=True)


def run(options: argparse.Namespace) -> int:
    """Decrypt, write, print where."""
    if options.out is None and str(options.file) == "-":
        raise UsageError("no-output", "name the output with --out")
    keys = read_keys(options.key, options.passphrase_file)
    target = options.out or options.file.with_suffix(BUNDLE_SUFFIX)
    if target.exists():
        raise UsageError("file-exists", f"{target.name} exists and is not overwritten")
    _, content = open_file(read_file(options.file), keys.encryption)
    write_file(target, content)
    answer(str(target))
    hint(f"not checked yet: akashi-verify verify {target.name} --trust DIR")
    return VALID
