"""Settings of a witness process: options of the command line before variables of the environment.

| option | variable | meaning | default |
|---|---|---|---|
| – | AKASHI_PROFILE | demo or production; anything else starts nothing | none |
| --data | AKASHI_WITNESS_DIRECTORY | keys and memory, made once by `akashi chain witness-keygen` | none |
| --port | AKASHI_WITNESS_PORT | port; 0 takes a free one (the line on stdout says which) | none |
| --host | AKASHI_WITNESS_HOST | address to listen on; production puts a TLS proxy in front | 127.0.0.1 |
| --logs | AKASHI_WITNESS_LOGS | file with a line `log <vkey>` for each log it watches | none |
| --anchor | AKASHI_WITNESS_ANCHORS | `<chain id>:0x<contract>`, several with commas; empty: no anchor statements | empty |
| --prefix | AKASHI_WITNESS_PREFIX | path before /add-checkpoint and the others | empty |
| --max-requests | AKASHI_WITNESS_MAX_REQUESTS | requests under way at once; more are told to come again | 32 |
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chain.errors import SettingsError
from chain.witness_rules import AnchorTarget
from verifier.errors import FormatError
from verifier.formats.signed_note import ED25519, VerifierKey, parse_vkey

PREFIX: Final = "AKASHI_WITNESS_"
PROFILES: Final = ("demo", "production")
MAX_LOGS: Final = 1024
_TARGET = re.compile(r"([1-9][0-9]{0,18}):0x([0-9a-fA-F]{40})", re.ASCII)
_PATH = re.compile(r"(/[a-z0-9.-]{1,64}){0,4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class WitnessSettings:
    """Settings of one witness process; no secrets among them."""

    profile: str
    directory: Path
    host: str
    port: int
    logs: tuple[VerifierKey, ...]
    targets: tuple[AnchorTarget, ...]
    prefix: str
    max_requests: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options; each falls back to its variable."""
    for name, help_text in (
        ("data", "directory of the witness's keys and memory"),
        ("port", "port, 0 = any"),
        ("host", "address to listen on (default: 127.0.0.1)"),
        ("logs", "file with a line `log <vkey>` for each log"),
        ("anchor", "<chain id>:0x<contract>[,…]: sign anchor statements for these"),
        ("prefix", "path before /add-checkpoint"),
        ("max-requests", "requests under way at once"),
    ):
        parser.add_argument(f"--{name}", help=help_text)


def read_settings(options: argparse.Namespace, environment: Mapping[str, str]) -> WitnessSettings:
    """Read and check everything before anything starts. Raises: SettingsError naming the setting."""
    profile = environment.get("AKASHI_PROFILE", "")
    if profile not in PROFILES:
        raise SettingsError("no-profile", "AKASHI_PROFILE must be demo or production")

    def text(option: str, variable: str, default: str | None = None) -> str:
        value = getattr(options, option, None) or environment.get(PREFIX + variable, "") or default
        if value is None:
            raise SettingsError("missing-setting", f"{PREFIX}{variable} is not set")
        return str(value)

    def number(option: str, variable: str, default: str | None, least: int, most: int) -> int:
        value = text(option, variable, default)
        if not re.fullmatch(r"[0-9]{1,9}", value, re.ASCII) or not least <= int(value) <= most:
            raise SettingsError("bad-setting", f"{PREFIX}{variable} is a whole number from {least} to {most}")
        return int(value)

    prefix = text("prefix", "PREFIX", "").rstrip("/")
    if not _PATH.fullmatch(prefix):
        raise SettingsError("bad-setting", f"{PREFIX}PREFIX is a path of small letters")
    return WitnessSettings(
        profile=profile,
        directory=Path(text("data", "DIRECTORY")),
        host=text("host", "HOST", "127.0.0.1"),
        port=number("port", "PORT", None, 0, 65535),
        logs=read_logs(Path(text("logs", "LOGS"))),
        targets=parse_targets(text("anchor", "ANCHORS", "")),
        prefix=prefix,
        max_requests=number("max_requests", "MAX_REQUESTS", "32", 1, 1024),
    )


def read_logs(path: Path) -> tuple[VerifierKey, ...]:
    """The keys in a file of lines `log <vkey>`; empty lines and lines that begin with # are passed over.

    Raises: SettingsError("bad-logs").
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError("bad-logs", f"{path.name} cannot be read") from error
    return parse_logs(lines)


def parse_logs(lines: Sequence[str]) -> tuple[VerifierKey, ...]:
    """Raises: SettingsError("bad-logs")."""
    keys: list[VerifierKey] = []
    for line in lines:
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            if words[0] != "log" or len(words) != 2:
                raise FormatError("bad-line", "not a line log <vkey>")
            key = parse_vkey(words[1])
        except FormatError as error:
            raise SettingsError("bad-logs", f"a line that is not `log <vkey>`: {error}") from error
        if key.algorithm != ED25519 or any(key.name == other.name for other in keys):
            raise SettingsError("bad-logs", f"not a key of a log, or a second one: {key.name}")
        keys.append(key)
    if not 0 < len(keys) <= MAX_LOGS:
        raise SettingsError("bad-logs", f"a witness watches 1 to {MAX_LOGS} logs")
    return tuple(keys)


def parse_targets(text: str) -> tuple[AnchorTarget, ...]:
    """Raises: SettingsError("bad-anchor")."""
    targets = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        match = _TARGET.fullmatch(item)
        if match is None:
            raise SettingsError("bad-anchor", "an anchor is <chain id>:0x<40 hexadecimal digits>")
        targets.append(AnchorTarget(int(match[1]), bytes.fromhex(match[2])))
    return tuple(targets)
