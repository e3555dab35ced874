"""The demo house's witnesses: five processes of one operator, who is also the city's. 模擬/MOCK: they vouch for nothing.

Keys and memory are made once, with the house; the contract knows them before the first checkpoint, and the trust list
names them with a quorum of three. In production each witness belongs to another organisation and makes its own keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from app.house.contract import Contract
from app.house.home import Home
from chain.devnode.accounts import load_accounts
from chain.ethereum import RegistryOwner
from chain.witness_keys import PUBLIC_FILE, WitnessIdentity, generate_keys, load_identity, store_keys
from chain.witness_store import create_store
from verifier.formats.signed_note import VerifierKey, format_vkey

WITNESSES: Final = ("w1", "w2", "w3", "w4", "w5")
QUORUM: Final = 3
GROUP: Final = "witnesses"


def make_witnesses(home: Home, log_key: VerifierKey) -> None:
    """Keys and memory of each witness, the log that they watch, and the policy text."""
    identities = []
    for name in WITNESSES:
        directory = home.witness(name)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        keys = generate_keys(f"{name}.witness.mihon.example", is_mock=True)
        identities.append(store_keys(directory, keys))
        create_store(directory)
    home.witness_logs.write_text(f"log {format_vkey(log_key)}\n", encoding="utf-8")
    home.witness_policy.write_text(format_policy(identities), encoding="utf-8")


def format_policy(identities: list[WitnessIdentity]) -> str:
    """The policy text of trust list and log (C2SP tlog-policy): a quorum of any three."""
    lines = [identity.policy_line for identity in identities]
    members = " ".join(identity.name for identity in identities)
    return "\n".join([*lines, f"group {GROUP} {QUORUM} {members}", f"quorum {GROUP}"]) + "\n"


def write_witness_addresses(home: Home, addresses: Mapping[str, str]) -> None:
    """Where the log finds each witness: a line `<name in the policy> <address>` each."""
    lines = [f"{load_identity(_public(home, name)).name} {addresses[name]}\n" for name in WITNESSES]
    home.witness_addresses.write_text("".join(lines), encoding="utf-8")


def register_witnesses(home: Home, contract: Contract) -> int:
    """Make the contract ask for the witnesses, before the first checkpoint; done once. Gas used now, in units of gas.

    Raises: ChainError.
    """
    owner = RegistryOwner(
        contract.rpc,
        bytes.fromhex(contract.address.removeprefix("0x")),
        load_accounts(home.chain / "accounts.json")["owner"].key,
    )
    identities = [load_identity(_public(home, name)) for name in WITNESSES]
    gas = sum(owner.register_witness(item.bls_public_key, item.possession) for item in identities)
    return gas + owner.set_threshold(QUORUM)


def _public(home: Home, name: str) -> Path:
    return home.witness(name) / PUBLIC_FILE
