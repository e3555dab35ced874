"""The demo city's contract on the embedded chain: deployed once, remembered in a file. 模擬/MOCK."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from app.house.home import Home
from chain.devnode.accounts import load_accounts
from chain.ethereum import deploy_registry
from verifier.formats.trust_list import ChainTrust


@dataclass(frozen=True, slots=True)
class Contract:
    """Where the checkpoints are anchored. `address` is 0x and 40 hexadecimal digits."""

    chain_id: int
    address: str
    rpc: str

    def trust(self) -> ChainTrust:
        """As the trust list says it."""
        return ChainTrust(self.chain_id, bytes.fromhex(self.address.removeprefix("0x")), (self.rpc,))


def find_or_deploy_contract(home: Home, *, rpc: str, chain_id: int) -> Contract:
    """The contract of this home, deployed now if it was not yet. Raises ChainError."""
    if home.contract.exists():
        known = orjson.loads(home.contract.read_bytes())
        return Contract(known["chain_id"], known["address"], rpc)
    accounts = load_accounts(home.chain / "accounts.json")
    address, _gas = deploy_registry(rpc, accounts["owner"].key, accounts["sealer"].address)
    contract = Contract(chain_id, "0x" + address.hex(), rpc)
    home.contract.write_bytes(orjson.dumps({"mock": True, "chain_id": chain_id, "address": contract.address}))
    return contract
