"""A witness's two keys and what the world may know of them.

    <directory>/keys.json      mode 0600: {"mock", "name", "ed25519": hex, "bls": hex}, private
    <directory>/witness.json   {"mock", "name", "vkey", "bls_public_key", "possession"}, for log, contract, trust list
    <directory>/witness.sqlite what it has cosigned (chain.witness_store)

Made once, together: a witness whose memory is lost must not sign again with the same keys, because it could be shown
another history. Keys of a demo say `mock` and serve nothing in production; keys of production serve nothing in a
demo.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chain import bls
from chain.errors import SettingsError
from verifier.errors import FormatError
from verifier.formats.encoding import hex_decode, parse_json
from verifier.formats.signed_note import (
    COSIGNATURE_ED25519,
    SignatureLine,
    VerifierKey,
    build_signature_line,
    build_vkey,
    cosigned_bytes,
    format_vkey,
    parse_vkey,
)

KEYS_FILE: Final = "keys.json"
PUBLIC_FILE: Final = "witness.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9./-]{0,99}", re.ASCII)
_TIME_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class WitnessKeys:
    """Both private keys of one witness; never printed."""

    name: str
    is_mock: bool
    ed25519: Ed25519PrivateKey
    bls_secret: int

    def __repr__(self) -> str:
        return f"WitnessKeys(name={self.name!r})"

    @property
    def vkey(self) -> VerifierKey:
        """The key of its cosignatures."""
        return build_vkey(self.name, self.ed25519.public_key().public_bytes_raw(), COSIGNATURE_ED25519)

    def cosign(self, text: str, time: int) -> SignatureLine:
        """Timestamped cosignature (C2SP tlog-cosignature v1) over a checkpoint's text; `time` in Unix seconds."""
        signature = self.ed25519.sign(cosigned_bytes(text, time))
        return build_signature_line(self.vkey, time.to_bytes(_TIME_BYTES, "big") + signature)


@dataclass(frozen=True, slots=True)
class WitnessIdentity:
    """What a witness tells everybody: `witness.json`."""

    name: str
    is_mock: bool
    vkey: VerifierKey
    bls_public_key: bytes  # 48 bytes
    possession: bytes  # 96 bytes

    @property
    def policy_line(self) -> str:
        """Its line in the witness policy of a trust list."""
        return f"witness {self.name} {format_vkey(self.vkey)}"


def generate_keys(name: str, *, is_mock: bool) -> WitnessKeys:
    """Raises: SettingsError("bad-name")."""
    if not _NAME.fullmatch(name):
        raise SettingsError("bad-name", "a witness is named like a host: small letters, digits, . - /")
    return WitnessKeys(name, is_mock, Ed25519PrivateKey.generate(), bls.generate_secret())


def build_identity(keys: WitnessKeys) -> WitnessIdentity:
    """The public half, with a fresh proof of possession."""
    possession = bls.prove_possession(keys.bls_secret)
    return WitnessIdentity(keys.name, keys.is_mock, keys.vkey, bls.public_key(keys.bls_secret), possession)


def store_keys(directory: Path, keys: WitnessKeys) -> WitnessIdentity:
    """Write both files durably; the private one can be read by its owner only.

    Raises: SettingsError("keys-exist"): keys are made once.
    """
    identity = build_identity(keys)
    private = {
        "mock": keys.is_mock,
        "name": keys.name,
        "ed25519": keys.ed25519.private_bytes_raw().hex(),
        "bls": keys.bls_secret.to_bytes(32, "big").hex(),
    }
    public = {
        "mock": identity.is_mock,
        "name": identity.name,
        "vkey": format_vkey(identity.vkey),
        "bls_public_key": identity.bls_public_key.hex(),
        "possession": identity.possession.hex(),
    }
    _write_new(directory / KEYS_FILE, private, 0o600)
    _write_new(directory / PUBLIC_FILE, public, 0o644)
    return identity


def load_keys(directory: Path, *, is_mock: bool) -> WitnessKeys:
    """Raises: SettingsError("keys-missing", "bad-keys", "other-profile")."""
    path = directory / KEYS_FILE
    if not path.is_file():
        raise SettingsError("keys-missing", f"no {KEYS_FILE}: akashi chain witness-keygen makes the keys")
    if path.stat().st_mode & 0o077:
        raise SettingsError("bad-keys", f"{KEYS_FILE} is readable by others")
    value = _read(path, {"mock", "name", "ed25519", "bls"})
    try:
        secret = bls.check_secret(int.from_bytes(hex_decode(value["bls"], 32), "big"))
        private = Ed25519PrivateKey.from_private_bytes(hex_decode(value["ed25519"], 32))
        keys = WitnessKeys(value["name"], value["mock"], private, secret)
        _ = keys.vkey
    except (FormatError, TypeError, ValueError) as error:
        raise SettingsError("bad-keys", f"{KEYS_FILE} holds no usable keys") from error
    if keys.is_mock is not is_mock:
        raise SettingsError("other-profile", "模擬/MOCK keys serve the demo only, and real keys never do")
    return keys


def load_identity(path: Path) -> WitnessIdentity:
    """The identity in a `witness.json`, its proof of possession checked.

    Raises: SettingsError("bad-identity").
    """
    value = _read(path, {"mock", "name", "vkey", "bls_public_key", "possession"})
    try:
        identity = WitnessIdentity(
            name=value["name"],
            is_mock=value["mock"],
            vkey=parse_vkey(value["vkey"]),
            bls_public_key=hex_decode(value["bls_public_key"]),
            possession=hex_decode(value["possession"]),
        )
        bls.verify_possession(identity.bls_public_key, identity.possession)
    except (FormatError, TypeError, AttributeError) as error:
        raise SettingsError("bad-identity", f"{path.name} is no witness's identity") from error
    if identity.vkey.algorithm != COSIGNATURE_ED25519 or identity.vkey.name != identity.name:
        raise SettingsError("bad-identity", f"the vkey in {path.name} is not that of a witness")
    return identity


def _read(path: Path, names: set[str]) -> dict[str, Any]:
    try:
        value = parse_json(path.read_bytes())
    except (OSError, FormatError) as error:
        raise SettingsError("bad-keys", f"{path.name} cannot be read") from error
    if not isinstance(value, dict) or set(value) != names or not isinstance(value["mock"], bool):
        raise SettingsError("bad-keys", f"{path.name} has other members than it should have")
    return value


def _write_new(path: Path, value: dict[str, Any], mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise SettingsError("keys-exist", f"{path.name} is there already: keys are made once") from error
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(value, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
