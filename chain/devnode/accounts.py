"""Demo accounts of the embedded chain: made once at set-up, kept in a file of mode 0600, funded in the
genesis block.

    {"mock": true, "owner": {"address": "0x…", "key": "0x…"}, "sealer": {…}}

Never for a chain with money: the file says so itself, and `load_accounts` refuses one that does not say it.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eth_keys.datatypes import PrivateKey

from chain.errors import SettingsError

ROLES: Final = ("owner", "sealer")
FUNDS: Final = 10**24  # wei


@dataclass(frozen=True, slots=True)
class DemoAccount:
    """An account of the demo chain."""

    address: bytes  # 20 bytes
    key: bytes  # 32 bytes, private


def load_or_create_accounts(path: Path) -> dict[str, DemoAccount]:
    """The accounts in `path`, made if the file is not there.

    Raises: SettingsError("bad-accounts").
    """
    if not path.exists():
        keys = {role: secrets.token_bytes(32) for role in ROLES}
        document = {"mock": True} | {
            role: {"address": "0x" + _address(key).hex(), "key": "0x" + key.hex()}
            for role, key in keys.items()
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(document, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    return load_accounts(path)


def load_accounts(path: Path) -> dict[str, DemoAccount]:
    """The accounts in `path`.

    Raises: SettingsError("bad-accounts").
    """
    try:
        if path.stat().st_mode & 0o077:
            raise SettingsError("bad-accounts", f"{path.name} is readable by others")
        document = json.loads(path.read_text())
        if document["mock"] is not True:
            raise SettingsError("bad-accounts", f"{path.name} is not a file of demo accounts")
        keys = {role: bytes.fromhex(document[role]["key"].removeprefix("0x")) for role in ROLES}
        return {role: DemoAccount(_address(key), key) for role, key in keys.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError("bad-accounts", f"{path.name} cannot be read as demo accounts") from error


def _address(key: bytes) -> bytes:
    return bytes(PrivateKey(key).public_key.to_canonical_address())
