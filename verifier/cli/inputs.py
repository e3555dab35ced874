"""Reading what the commands are given: files, keys, requests, trust directories, times.

Raises errors of ours only.
"""

from __future__ import annotations

import argparse
import datetime as dt
import getpass
import sys
from pathlib import Path
from typing import Final

from verifier.errors import FormatError, UsageError
from verifier.formats.submission_request import parse_instant
from verifier.http import HttpSources, parse_base_urls
from verifier.key_file import DeskKeys, is_encrypted, parse_desk_keys
from verifier.request_file import RequestFile, parse_request_file
from verifier.sources import OfflineSources, Sources
from verifier.trust import TrustList
from verifier.trust_store import TrustStore

MAX_FILE_BYTES: Final = 8 << 20


def read_file(path: Path) -> bytes:
    """A file of bounded size; "-" is standard input. Raises: UsageError."""
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError("cannot-read", f"{path.name}: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise UsageError("file-too-large", f"{path.name}: more than {MAX_FILE_BYTES} bytes")
    return data


def write_file(path: Path, data: bytes) -> None:
    """Raises: UsageError."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError("cannot-write", f"{path.name}: {error.strerror}") from error


def read_keys(path: Path, passphrase_file: Path | None) -> DeskKeys:
    """The desk's keys; asks for the passphrase at the terminal if the file needs one. Raises: UsageError."""
    data = read_file(path)
    passphrase = None
    if is_encrypted(data):
        passphrase = read_passphrase(passphrase_file, "Passphrase of the key file: ")
    try:
        return parse_desk_keys(data, passphrase)
    except FormatError as error:
        raise UsageError(error.code, f"{path.name}: {error.detail}") from error


def read_passphrase(path: Path | None, prompt: str) -> bytes:
    """From the first line of a file, or typed without echo. Raises: UsageError."""
    if path is not None:
        return read_file(path).split(b"\n", 1)[0].rstrip(b"\r")
    try:
        return getpass.getpass(prompt, stream=sys.stderr).encode("utf-8")
    except (EOFError, OSError) as error:
        raise UsageError("passphrase", "a passphrase is needed; use --passphrase-file") from error


def read_request(path: Path | None) -> RequestFile | None:
    """Raises: UsageError."""
    if path is None:
        return None
    try:
        return parse_request_file(read_file(path))
    except FormatError as error:
        raise UsageError("bad-request", f"{path.name}: {error.code}") from error


def read_statement(path: Path | None) -> str | None:
    """The city's recipient statement from its file. Raises: UsageError."""
    if path is None:
        return None
    try:
        return read_file(path).decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise UsageError("bad-statement", f"{path.name} is not a statement") from error


def read_trust(directory: Path) -> tuple[TrustList, ...]:
    """Raises: UsageError, TrustError, FormatError."""
    return TrustStore(directory).lists()


def read_time(text: str | None) -> dt.datetime:
    """`--at`, or the clock of this computer: the only place where the verifier reads one.

    Raises: UsageError.
    """
    if text is None:
        return dt.datetime.now(dt.UTC)
    try:
        return parse_instant(text)
    except FormatError as error:
        raise UsageError("bad-time", "expected a time like 2026-11-20T01:02:03Z") from error


def make_sources(options: argparse.Namespace, trust: tuple[TrustList, ...]) -> Sources:
    """Nobody with --offline, else HTTP to the addresses of the trust lists. Raises: UsageError."""
    if options.offline:
        return OfflineSources()
    try:
        return HttpSources(trust, parse_base_urls(options.base_url))
    except FormatError as error:
        raise UsageError(error.code, error.detail) from error


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    """`--trust DIR`, always required: there is no default trust."""
    parser.add_argument("--trust", type=Path, required=True, metavar="DIR", help="directory of trust lists")


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """`--offline`, `--base-url`."""
    parser.add_argument("--offline", action="store_true", help="ask nobody")
    parser.add_argument(
        "--base-url",
        action="append",
        default=[],
        metavar="PUBLIC=BASE",
        help="ask BASE instead of PUBLIC (a mirror or test server); may be repeated",
    )


def add_key_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """`--key`, `--passphrase-file`."""
    parser.add_argument("--key", type=Path, required=required, metavar="KEYFILE", help="the desk's key file")
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help="first line = passphrase")
