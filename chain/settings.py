"""Settings of the log process, from the environment. Nothing has a default that decides who is trusted.

| variable | meaning | default |
|---|---|---|
| AKASHI_PROFILE | demo or production; anything else starts nothing | none |
| AKASHI_LOG_DIRECTORY | the log's own directory, made once by `akashi chain create` | none |
| AKASHI_LOG_ORIGIN | origin, for example door.mihon.example/992011/log/1 | none |
| AKASHI_LOG_VKEY | public key of the log (C2SP vkey); empty: asked from the signer at start | empty |
| AKASHI_LOG_SIGNER_SOCKET | Unix socket of the signer | none |
| AKASHI_LOG_SIGNER_TOKEN_FILE | file (mode 0600) with the signer's token for channel log | none |
| AKASHI_LOG_SIGNER_KEY_ID | key id of the checkpoint key at the signer | checkpoint-1 |
| AKASHI_LOG_PORT | door of this process: loopback port | none |
| AKASHI_LOG_SOCKET | instead of the port: a Unix socket | none |
| AKASHI_LOG_TOKEN_FILE | file (mode 0600) with the token that callers of the door must send | none |
| AKASHI_LOG_BEAT | seconds between two batches, for example 0.5 | 0.5 |
| AKASHI_LOG_PADDING | batches are filled with dummies to a multiple of this; 1: no dummies | 8 |
| AKASHI_LOG_MIX | 1: leaves of a batch in the order of their values; 0: as they came | 1 |
| AKASHI_LOG_COVER | 1: an idle beat adds dummies, so that nobody sees when something was issued | 0 |
| AKASHI_LOG_MAX_WAITING | entries that may wait for a beat; more are refused | 100000 |
| AKASHI_LOG_MAX_ENTRIES | entries in one request | 512 |
| AKASHI_LOG_APPEND_SECONDS | how long a request waits for its beat before it is told to come again | 20 |
| AKASHI_LOG_ANCHORING | ethereum, or off (demo only) | ethereum |
| AKASHI_LOG_RPC | address of the Ethereum node | none |
| AKASHI_LOG_CHAIN_ID | the chain it must serve | none |
| AKASHI_LOG_CONTRACT | 0x address of AnchorRegistry | none |
| AKASHI_LOG_SEALER_KEY_FILE | file (mode 0600): the sealer's private key in hexadecimal | none |
| AKASHI_LOG_ACCOUNTS | instead, demo only: the embedded chain's accounts file | none |
| AKASHI_LOG_ANCHOR_SECONDS | at least this long between two submissions | 10 |
| AKASHI_LOG_CONFIRMATIONS | blocks until an anchor is final | 1 |
| AKASHI_LOG_RESEND_SECONDS | the same transaction is sent again after this | 30 |
| AKASHI_LOG_REPLACE_SECONDS | a stuck transaction is replaced after this | 120 |
| AKASHI_LOG_MAX_FEE_GWEI | no submission above this gas price | 500 |
| AKASHI_LOG_DOOR | base address of the street door for public files; empty: not uploaded | empty |
| AKASHI_LOG_DOOR_KEY_FILE | P-256 key (PEM) for the street door's bearer token, scope public | empty |
| AKASHI_LOG_PUBLIC_DIRECTORY | instead of the street door: a directory that somebody serves | empty |
| AKASHI_LOG_TSA | RFC 3161 authority for stamps over checkpoints; empty: none | empty |
| AKASHI_LOG_WITNESS_POLICY | file with the witness policy (C2SP tlog-policy, no log lines), as in the trust list | empty |
| AKASHI_LOG_WITNESS_URLS | file with a line `<name> <address>` for each witness of the policy | empty |
| AKASHI_LOG_WITNESS_SECONDS | how long a checkpoint waits for its quorum before it is tried again | 5 |
| AKASHI_LOG_MAX_LAG_SECONDS | longer behind the chain than this is unhealthy | 600 |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chain.anchoring import Rules
from chain.errors import SettingsError
from chain.http_client import check_address
from verifier.errors import FormatError
from verifier.formats.signed_note import VerifierKey, parse_vkey
from verifier.formats.witness_policy import WitnessPolicy, parse_witness_policy

PREFIX: Final = "AKASHI_LOG_"
PROFILES: Final = ("demo", "production")
MIN_TOKEN_CHARS: Final = 16
_ORIGIN = re.compile(r"[a-z0-9.-]{1,64}/[0-9]{6}/log/[1-9][0-9]{0,3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Anchoring:
    """Which contract on which chain, and as whom."""

    rpc: str
    chain_id: int
    contract: bytes
    sealer_key: bytes
    rules: Rules


@dataclass(frozen=True, slots=True)
class Witnessing:
    """Which witnesses cosign, and where they are."""

    policy: WitnessPolicy
    urls: dict[str, str]  # by the policy's names
    timeout: float  # seconds


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the log process; secrets among them are never printed."""

    profile: str
    directory: Path
    origin: str
    vkey: VerifierKey | None
    signer: Path
    signer_token: str
    signer_key_id: str
    listen: str  # "unix:/path" or "127.0.0.1:port"
    token: str
    beat_seconds: float
    padding: int
    mix: bool
    cover: bool
    max_waiting: int
    max_entries: int
    append_seconds: int
    anchoring: Anchoring | None
    door_url: str
    door_key_file: Path | None
    public_directory: Path | None
    tsa_url: str
    max_lag_seconds: int
    witnessing: Witnessing | None = None

    @property
    def public_prefix(self) -> str:
        """Where the log lies below the public address: the origin without its host."""
        return self.origin.partition("/")[2]

    def __repr__(self) -> str:
        return f"Settings(profile={self.profile!r}, origin={self.origin!r})"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read and check everything before anything starts.

    Raises: SettingsError naming the variable.
    """
    profile = environment.get("AKASHI_PROFILE", "")
    if profile not in PROFILES:
        raise SettingsError("no-profile", "AKASHI_PROFILE must be demo or production")
    values = _Values(environment)
    origin = values.text("ORIGIN")
    if not _ORIGIN.fullmatch(origin):
        raise SettingsError("bad-setting", "AKASHI_LOG_ORIGIN is not <host>/<six digits>/log/<n>")
    door_url, directory = values.text("DOOR", ""), values.text("PUBLIC_DIRECTORY", "")
    door_key = values.text("DOOR_KEY_FILE", "")
    if bool(door_url) != bool(door_key) or (door_url and directory):
        raise SettingsError(
            "bad-setting", "AKASHI_LOG_DOOR needs AKASHI_LOG_DOOR_KEY_FILE, or a directory alone"
        )
    tsa_url = values.text("TSA", "")
    return Settings(
        profile=profile,
        directory=Path(values.text("DIRECTORY")),
        origin=origin,
        vkey=_vkey(values.text("VKEY", ""), origin),
        signer=Path(values.text("SIGNER_SOCKET")),
        signer_token=read_secret(Path(values.text("SIGNER_TOKEN_FILE"))),
        signer_key_id=values.text("SIGNER_KEY_ID", "checkpoint-1"),
        listen=_listen(values),
        token=read_secret(Path(values.text("TOKEN_FILE"))),
        beat_seconds=values.seconds("BEAT", "0.5"),
        padding=values.number("PADDING", 8, 1, 4096),
        mix=bool(values.number("MIX", 1, 0, 1)),
        cover=bool(values.number("COVER", 0, 0, 1)),
        max_waiting=values.number("MAX_WAITING", 100_000, 1, 10_000_000),
        max_entries=values.number("MAX_ENTRIES", 512, 1, 16_384),
        append_seconds=values.number("APPEND_SECONDS", 20, 1, 600),
        anchoring=_anchoring(values, profile),
        door_url=check_address(door_url) if door_url else "",
        door_key_file=Path(door_key) if door_key else None,
        public_directory=Path(directory) if directory else None,
        tsa_url=check_address(tsa_url) if tsa_url else "",
        max_lag_seconds=values.number("MAX_LAG_SECONDS", 600, 1, 10_000_000),
        witnessing=_witnessing(values),
    )


def read_secret(path: Path) -> str:
    """A token from a file that only its owner can read.

    Raises: SettingsError("bad-secret-file").
    """
    token = read_secret_text(path)
    if len(token) < MIN_TOKEN_CHARS or not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError("bad-secret-file", f"{path.name} holds no usable token")
    return token


def read_key(path: Path) -> bytes:
    """A private key of Ethereum, 32 bytes, in hexadecimal from a file that only its owner can read.

    Raises: SettingsError("bad-secret-file", "bad-key").
    """
    text = read_secret_text(path)
    if not re.fullmatch(r"(0x)?[0-9a-fA-F]{64}", text, re.ASCII):
        raise SettingsError("bad-key", f"{path.name} does not hold 32 bytes in hexadecimal")
    return bytes.fromhex(text.removeprefix("0x"))


def read_secret_text(path: Path) -> str:
    """Text of a file that only its owner can read.

    Raises: SettingsError("bad-secret-file").
    """
    try:
        if path.stat().st_mode & 0o077:
            raise SettingsError("bad-secret-file", f"{path.name} is readable by others")
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError("bad-secret-file", f"{path.name} cannot be read") from error


def parse_address(text: str) -> bytes:
    """An Ethereum address, 0x and 40 hexadecimal digits.

    Raises: SettingsError("bad-address").
    """
    if not re.fullmatch(r"0x[0-9a-fA-F]{40}", text, re.ASCII):
        raise SettingsError("bad-address", "an Ethereum address is 0x and 40 digits")
    return bytes.fromhex(text[2:])


def _anchoring(values: _Values, profile: str) -> Anchoring | None:
    kind = values.text("ANCHORING", "ethereum")
    if kind == "off" and profile == "demo":
        return None
    if kind != "ethereum":
        raise SettingsError("bad-setting", "AKASHI_LOG_ANCHORING is ethereum, or off in the demo profile")
    return Anchoring(
        rpc=check_address(values.text("RPC")),
        chain_id=values.number("CHAIN_ID", None, 1, (1 << 63) - 1),
        contract=parse_address(values.text("CONTRACT")),
        sealer_key=_sealer_key(values, profile),
        rules=Rules(
            interval=values.number("ANCHOR_SECONDS", 10, 0, 1_000_000),
            confirmations=values.number("CONFIRMATIONS", 1, 1, 10_000),
            resend_after=values.number("RESEND_SECONDS", 30, 1, 100_000),
            replace_after=values.number("REPLACE_SECONDS", 120, 1, 100_000),
            max_fee=values.number("MAX_FEE_GWEI", 500, 0, 1_000_000) * 10**9,
        ),
    )


def _witnessing(values: _Values) -> Witnessing | None:
    file = values.text("WITNESS_POLICY", "")
    if not file:
        return None
    try:
        policy = parse_witness_policy(Path(file).read_text("utf-8"))
        lines = Path(values.text("WITNESS_URLS", "")).read_text("utf-8").splitlines()
        pairs = [line.split() for line in lines if line.strip() and not line.startswith("#")]
        urls = {name: check_address(url) for name, url in pairs}
    except (OSError, UnicodeDecodeError, FormatError, ValueError) as error:
        raise SettingsError("bad-setting", f"AKASHI_LOG_WITNESS_POLICY or _URLS: {error}") from error
    missing = [name for name, _ in policy.witnesses if name not in urls]
    if missing:
        raise SettingsError("bad-setting", f"AKASHI_LOG_WITNESS_URLS has no address of {missing[0]}")
    return Witnessing(policy, urls, values.seconds("WITNESS_SECONDS", "5"))


def _sealer_key(values: _Values, profile: str) -> bytes:
    accounts = values.text("ACCOUNTS", "")
    if not accounts:
        return read_key(Path(values.text("SEALER_KEY_FILE")))
    if profile != "demo":
        raise SettingsError("bad-setting", "AKASHI_LOG_ACCOUNTS is for the demo profile")
    from chain.devnode.accounts import load_accounts

    return load_accounts(Path(accounts))["sealer"].key


def _listen(values: _Values) -> str:
    unix = values.text("SOCKET", "")
    return f"unix:{unix}" if unix else f"127.0.0.1:{values.number('PORT', None, 1, 65535)}"


def _vkey(text: str, origin: str) -> VerifierKey | None:
    if not text:
        return None
    try:
        key = parse_vkey(text)
    except FormatError as error:
        raise SettingsError("bad-setting", "AKASHI_LOG_VKEY is not a verifier key") from error
    if key.name != origin:
        raise SettingsError("bad-setting", "AKASHI_LOG_VKEY is not named like AKASHI_LOG_ORIGIN")
    return key


class _Values:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str, default: str | None = None) -> str:
        value = self._environment.get(PREFIX + name, "")
        if value:
            return value
        if default is None:
            raise SettingsError("missing-setting", f"{PREFIX}{name} is not set")
        return default

    def seconds(self, name: str, default: str) -> float:
        text = self.text(name, default)
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", text, re.ASCII) or float(text) < 0.01:
            raise SettingsError("bad-setting", f"{PREFIX}{name} is a number of seconds, at least 0.01")
        return float(text)

    def number(self, name: str, default: int | None, least: int, most: int) -> int:
        text = self.text(name, None if default is None else str(default))
        if not re.fullmatch(r"[0-9]{1,20}", text, re.ASCII) or not least <= int(text) <= most:
            raise SettingsError("bad-setting", f"{PREFIX}{name} is a whole number from {least} to {most}")
        return int(text)
