"""Gas of AnchorRegistry on the embedded chain, as a table. Run by hand to refresh contracts/README.md; a test
compares.

    python contracts/gas.py

Figures hold for the committed bytecode, Prague rules, cold storage; the submitted trees are the verifier's
own.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from eth_abi import encode  # noqa: E402
from eth_account import Account  # noqa: E402
from eth_utils import keccak, to_checksum_address  # noqa: E402
from py_ecc.bls import G2ProofOfPossession as Bls  # noqa: E402
from py_ecc.bls.g2_primitives import pubkey_to_G1, signature_to_G2  # noqa: E402
from py_ecc.optimized_bls12_381 import normalize  # noqa: E402
from rlp import encode as rlp_encode  # noqa: E402

from chain.devnode.blockchain import Blockchain  # noqa: E402
from verifier.formats.merkle import leaf_hash, node_hash  # noqa: E402

CHAIN_ID = 992011
START = 1_800_000_000
WEEK = 7 * 86_400
BLS, ECDSA = 0, 1
WITNESSES = 5
# the steps whose cost is told: a log that grows by 100 entries at these sizes
SIZES = (1_000, 1_000_000, 1_000_000_000)
STEP = 100


def find_same(height: int) -> bytes:
    """Root of a perfect tree whose leaves are all the same entry: any size can be had without building it."""
    root = leaf_hash(bytes(32))
    for _ in range(height):
        root = node_hash(root, root)
    return root


def compute_root(size: int) -> bytes:
    """Root of a tree of `size` equal leaves."""
    return _range_root(0, size)


def compute_consistency(old: int, new: int) -> list[bytes]:
    """Consistency path between two such trees (RFC 9162 section 2.1.4.1)."""
    begin, end, path, is_whole = 0, new, [], True
    while old != end:
        middle = begin + (1 << ((end - begin - 1).bit_length() - 1))
        if old <= middle:
            path.append(_range_root(middle, end))
            end = middle
        else:
            path.append(_range_root(begin, middle))
            begin, is_whole = middle, False
    if not is_whole:
        path.append(_range_root(begin, end))
    return path[::-1]


def _range_root(begin: int, end: int) -> bytes:
    roots = []
    while begin < end:
        height = (end - begin).bit_length() - 1
        roots.append(find_same(height))
        begin += 1 << height
    result = roots.pop()
    while roots:
        result = node_hash(roots.pop(), result)
    return result


class Registry:
    """The committed contract on a fresh chain."""

    def __init__(self, *, delay: int = 0, mode: int = BLS) -> None:
        artefact = json.loads((ROOT / "contracts" / "build" / "AnchorRegistry.json").read_text())
        self._accounts = [Account.from_key(hashlib.sha256(name).digest()) for name in (b"owner", b"sealer")]
        addresses = [bytes.fromhex(account.address[2:]) for account in self._accounts]
        self.now = START
        self._chain = Blockchain(":memory:", lambda: self.now, funded=dict.fromkeys(addresses, 10**24))
        self._nonces = [0, 0]
        self.address = b""
        values = encode(["address", "uint256", "uint256"], [self._accounts[1].address, delay, mode])
        code = bytes.fromhex(artefact["bytecode"][2:]) + values
        self.runtime_bytes = len(artefact["bytecode_runtime"]) // 2 - 1
        self.deploy_gas = self._send(0, code)
        self.address = keccak(rlp_encode([addresses[0], 0]))[12:]

    def owner(self, signature: str, *values: object) -> int:
        """Gas of a call by the owner."""
        return self._send(0, self._data(signature, values))

    def sealer(self, signature: str, *values: object) -> int:
        """Gas of a call by the sealer."""
        return self._send(1, self._data(signature, values))

    @staticmethod
    def _data(signature: str, values: tuple[object, ...]) -> bytes:
        types = signature[signature.index("(") + 1 : -1].split(",")
        return bytes(keccak(signature.encode())[:4] + encode(types, values))

    def _send(self, who: int, data: bytes) -> int:
        transaction = {
            "chainId": CHAIN_ID,
            "nonce": self._nonces[who],
            "gas": 10_000_000,
            "maxFeePerGas": 10**12,
            "maxPriorityFeePerGas": 0,
            "value": 0,
            "data": data,
        }
        if self.address:
            transaction["to"] = to_checksum_address(self.address)
        raw = bytes(self._accounts[who].sign_transaction(transaction).raw_transaction)
        included = self._chain.find_transaction(self._chain.send(raw))
        if included is None or included.receipt.state_root != b"\x01":
            raise SystemExit("a transaction was reverted")
        self._nonces[who] += 1
        return included.gas_used


SUBMIT = "submit(bytes32,uint64,bytes32,bytes32[],uint256,bytes)"


def measure() -> list[tuple[str, int]]:
    """(what, gas) in the order of the table."""
    registry = Registry()
    rows = [("runtime bytes", registry.runtime_bytes), ("deploy", registry.deploy_gas)]
    first = origin_id(b"first")
    rows.append(
        ("submit, first checkpoint of a log", registry.sealer(SUBMIT, first, 5, compute_root(5), [], 0, b""))
    )
    rows += [(f"submit at {size:,} entries, threshold 0", _grow(registry, size, ())) for size in SIZES]
    secrets = [1_000_003 + 7 * number for number in range(WITNESSES)]
    registered = [
        registry.owner("register_witness(bytes,bytes)", _g1(Bls.SkToPk(key)), _g2(Bls.PopProve(key)))
        for key in secrets
    ]
    rows.append(("register a BLS witness (proof of possession checked)", max(registered)))
    rows.append(("set threshold", registry.owner("set_threshold(uint256)", 3)))
    rows += [
        (f"submit at {size:,} entries, 5 witnesses, BLS", _grow(registry, size, secrets)) for size in SIZES
    ]
    rows += _measure_ecdsa()
    rows += _measure_delay()
    rows.append(("pause", registry.owner("set_paused(bool)", True)))
    rows.append(("name a sealer", registry.owner("set_sealer(address,bool)", "0x" + "01" * 20, True)))
    return rows


def _measure_ecdsa() -> list[tuple[str, int]]:
    registry = Registry(mode=ECDSA)
    accounts = [
        Account.from_key(hashlib.sha256(b"account %d" % number).digest()) for number in range(WITNESSES)
    ]
    registered = [registry.owner("register_account(address)", account.address) for account in accounts]
    registry.owner("set_threshold(uint256)", 3)
    rows = [("register an ECDSA witness", max(registered))]
    rows += [
        (f"submit at {size:,} entries, 5 witnesses, ECDSA", _grow(registry, size, accounts)) for size in SIZES
    ]
    return rows


def _measure_delay() -> list[tuple[str, int]]:
    registry = Registry(delay=WEEK)
    registry.sealer(SUBMIT, origin_id(b"first"), 5, compute_root(5), [], 0, b"")
    change = ("set_sealer(address,bool)", "0x" + "01" * 20, True)
    rows = [("announce a change (naming a sealer)", registry.owner(*change))]
    registry.now += WEEK + 60
    rows.append(("carry it out after the delay", registry.owner(*change)))
    return rows


def origin_id(name: bytes) -> bytes:
    """Id of a log of the measurement."""
    return hashlib.sha256(name).digest()


def _grow(registry: Registry, size: int, signers: Sequence[Any]) -> int:
    origin = origin_id(f"{size} {len(signers)}".encode())
    old, new = (size, compute_root(size)), (size + STEP, compute_root(size + STEP))
    registry.sealer(SUBMIT, origin, *old, [], *_signed(registry, signers, origin, old, (0, bytes(32))))
    path = compute_consistency(size, size + STEP)
    return registry.sealer(SUBMIT, origin, *new, path, *_signed(registry, signers, origin, new, old))


Checkpoint = tuple[int, bytes]


def _signed(
    registry: Registry, signers: Sequence[Any], origin: bytes, new: Checkpoint, old: Checkpoint
) -> tuple[int, bytes]:
    # signers are BLS secrets, or accounts
    if not signers:
        return 0, b""
    numbers = [CHAIN_ID, int.from_bytes(registry.address, "big")]
    message = hashlib.sha256(
        b"akashi/anchor-statement/v1\x00"
        + b"".join(number.to_bytes(32, "big") for number in numbers)
        + origin
        + new[0].to_bytes(32, "big")
        + new[1]
        + old[0].to_bytes(32, "big")
        + old[1]
    ).digest()
    bitmap = (1 << len(signers)) - 1
    if isinstance(signers[0], int):
        return bitmap, _g2(Bls.Aggregate([Bls.Sign(key, message) for key in signers]))
    return bitmap, b"".join(bytes(account.unsafe_sign_hash(message).signature) for account in signers)


def _g1(key: bytes) -> bytes:
    x, y = normalize(pubkey_to_G1(key))
    return b"".join(int(value).to_bytes(64, "big") for value in (x.n, y.n))


def _g2(signature: bytes) -> bytes:
    x, y = normalize(signature_to_G2(signature))
    return b"".join(int(value).to_bytes(64, "big") for value in (*x.coeffs, *y.coeffs))


def format_table(rows: list[tuple[str, int]]) -> str:
    """The table of contracts/README.md."""
    return "| what | gas |\n|---|---:|\n" + "".join(f"| {what} | {gas:,} |\n" for what, gas in rows)


if __name__ == "__main__":
    print(format_table(measure()), end="")
