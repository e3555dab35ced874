"""AnchorRegistry on the embedded chain: what it takes, and beside each thing what it refuses."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path

import pytest
from eth_abi import decode, encode
from eth_account import Account
from eth_utils import keccak, to_checksum_address
from py_ecc.bls import G2ProofOfPossession as Bls
from py_ecc.bls.g2_primitives import pubkey_to_G1, signature_to_G2
from py_ecc.optimized_bls12_381 import field_modulus, neg, normalize

from chain.devnode.blockchain import Blockchain, Call, RpcError
from chain.tree import EMPTY_TREE, extend
from verifier.formats.merkle import ProofError, verify_consistency
from verifier.formats.tiles import TileReader

ROOT = Path(__file__).resolve().parents[2]
ARTEFACT = json.loads((ROOT / "contracts" / "build" / "AnchorRegistry.json").read_text())
ORIGIN_ID = hashlib.sha256(b"door.mihon.example/992011/log/1").digest()
CHAIN_ID = 992011
ACCOUNTS = {
    name: Account.from_key(hashlib.sha256(name.encode()).digest()) for name in ("owner", "sealer", "other")
}


def address(name: str) -> bytes:
    return bytes.fromhex(ACCOUNTS[name].address[2:])


class World:
    """A chain with the registry on it."""

    def __init__(self, path: Path | str, *, fast: bool = True) -> None:
        self.blockchain = Blockchain(
            path, lambda: 1_800_000_000, funded={address(name): 10**24 for name in ACCOUNTS}, fast=fast
        )
        deploy = bytes.fromhex(ARTEFACT["bytecode"][2:]) + encode(["address"], [ACCOUNTS["sealer"].address])
        self.contract = b""
        receipt = self._send("owner", deploy)
        self.deploy_gas = receipt.gas_used
        self.contract = keccak(_rlp_sender_nonce(address("owner"), 0))[12:]

    def send(self, sender: str, name: str, *values):
        return self._send(sender, self._data(name, values))

    def call(self, name: str, *values, sender: str = "other"):
        data = self.blockchain.call(
            self.blockchain.head(),
            Call(address(sender), self.contract, 0, self._data(name, values), 30_000_000),
        )
        result = decode([item["type"] for item in _function(name)["outputs"]], data)
        return result[0] if len(result) == 1 else result

    def refuses(self, words: str, sender: str, name: str, *values) -> None:
        """The call is refused with these words, and sending it anyway changes nothing."""
        with pytest.raises(RpcError) as caught:
            self.call(name, *values, sender=sender)
        assert caught.value.code == 3
        data = bytes.fromhex(caught.value.data[2:])
        assert decode(["string"], data[4:])[0] == words

    def _data(self, name: str, values) -> bytes:
        types = [item["type"] for item in _function(name)["inputs"]]
        return keccak(f"{name}({','.join(types)})".encode())[:4] + encode(types, values)

    def _send(self, sender: str, data: bytes):
        account = ACCOUNTS[sender]
        head = self.blockchain.head()
        to = to_checksum_address(self.contract) if self.contract else ""
        transaction = {
            "chainId": CHAIN_ID,
            "nonce": self.blockchain.state(head).get_nonce(address(sender)),
            "gas": 10_000_000,
            "maxFeePerGas": 10**12,
            "maxPriorityFeePerGas": 0,
            "to": to,
            "value": 0,
            "data": data,
        }
        if not to:
            del transaction["to"]
        raw = bytes(account.sign_transaction(transaction).raw_transaction)
        included = self.blockchain.find_transaction(self.blockchain.send(raw))
        assert included is not None
        assert included.receipt.state_root == b"\x01", "the transaction was reverted"
        return included


def _rlp_sender_nonce(sender: bytes, nonce: int) -> bytes:
    from rlp import encode as rlp_encode

    return rlp_encode([sender, nonce])


def _function(name: str):
    return next(item for item in ARTEFACT["abi"] if item.get("name") == name and item["type"] == "function")


@pytest.fixture
def world():
    world = World(":memory:")
    yield world
    world.blockchain.close()


class Checkpoints:
    """A log whose roots and consistency paths are those of the verifier's rules."""

    def __init__(self, size: int) -> None:
        extension = extend(EMPTY_TREE, [i.to_bytes(32, "big") for i in range(size)])
        self.files = dict(extension.files)
        self.leaves = extension.leaves
        self.size = size

    def root(self, size: int) -> bytes:
        return self._reader(size).root()

    def path(self, old: int, new: int) -> list[bytes]:
        return list(self._reader(new).consistency_path(old))

    def _reader(self, size: int) -> TileReader:
        extension = extend(EMPTY_TREE, [i.to_bytes(32, "big") for i in range(size)])
        return TileReader(size, dict(extension.files).__getitem__)


LOG = Checkpoints(1)


def test_a_line_of_checkpoints_is_taken_and_told(world: World) -> None:
    assert world.call("head", ORIGIN_ID) == (0, bytes(32))
    sizes = [1, 2, 3, 4, 7, 8, 9, 64, 100, 255, 256, 257, 600]
    previous = 0
    for size in sizes:
        included = world.send(
            "sealer",
            "submit",
            ORIGIN_ID,
            size,
            LOG.root(size),
            LOG.path(previous, size) if previous else [],
            0,
            b"",
        )
        assert world.call("head", ORIGIN_ID) == (size, LOG.root(size))
        log = included.receipt.logs[-1]
        assert log.topics[0] == int.from_bytes(
            keccak(b"Anchored(bytes32,uint64,bytes32,uint64,bytes32,uint256)"), "big"
        )
        assert log.topics[1] == int.from_bytes(ORIGIN_ID, "big")
        told = decode(["uint64", "bytes32", "uint64", "bytes32", "uint256"], log.data)
        assert told == (size, LOG.root(size), previous, LOG.root(previous) if previous else bytes(32), 0)
        previous = size


@pytest.mark.parametrize(
    "pair", [*itertools.combinations(range(1, 10), 2), (127, 300), (256, 511), (300, 512)]
)
def test_every_consistency_proof_of_small_trees_is_checked_like_in_the_verifier(pair, shared_world) -> None:
    """View calls only: the head is put there by a first submission under an origin of the pair's own."""
    old, new = pair
    origin_id = hashlib.sha256(repr(pair).encode()).digest()
    world = shared_world
    world.send("sealer", "submit", origin_id, old, LOG.root(old), [], 0, b"")
    path = LOG.path(old, new)
    world.call("submit", origin_id, new, LOG.root(new), path, 0, b"", sender="sealer")
    bad = "bad consistency proof"
    world.refuses(bad, "sealer", "submit", origin_id, new, bytes(32), path, 0, b"")
    world.refuses(bad, "sealer", "submit", origin_id, new, LOG.root(new), [*path, bytes(32)], 0, b"")
    world.refuses(bad, "sealer", "submit", origin_id, new, LOG.root(new), path[:-1], 0, b"")
    changed = [bytes([path[0][0] ^ 1]) + path[0][1:], *path[1:]]
    world.refuses(bad, "sealer", "submit", origin_id, new, LOG.root(new), changed, 0, b"")
    # a proof does not name its sizes: for another size both judges must at least agree
    try:
        verify_consistency(old, LOG.root(old), new + 1, LOG.root(new), path)
    except ProofError:
        world.refuses(bad, "sealer", "submit", origin_id, new + 1, LOG.root(new), path, 0, b"")
    else:
        world.call("submit", origin_id, new + 1, LOG.root(new), path, 0, b"", sender="sealer")


@pytest.fixture(scope="module")
def shared_world():
    world = World(":memory:")
    yield world
    world.blockchain.close()


def test_smaller_equal_and_forked_checkpoints_are_refused(world: World) -> None:
    world.send("sealer", "submit", ORIGIN_ID, 5, LOG.root(5), [], 0, b"")
    grow = "size does not grow"
    world.refuses(grow, "sealer", "submit", ORIGIN_ID, 5, LOG.root(5), [], 0, b"")
    world.refuses(grow, "sealer", "submit", ORIGIN_ID, 5, LOG.root(6), [], 0, b"")
    world.refuses(grow, "sealer", "submit", ORIGIN_ID, 4, LOG.root(4), [], 0, b"")
    world.refuses(grow, "sealer", "submit", bytes(32), 0, LOG.root(1), [], 0, b"")
    world.refuses("bad consistency proof", "sealer", "submit", ORIGIN_ID, 9, LOG.root(9), [], 0, b"")
    other = hashlib.sha256(b"another log").digest()
    world.refuses("bad consistency proof", "sealer", "submit", other, 9, LOG.root(9), [bytes(32)], 0, b"")
    world.send("sealer", "submit", other, 3, LOG.root(3), [], 0, b"")
    assert world.call("head", ORIGIN_ID)[0] == 5


def test_only_sealers_submit_and_only_while_not_paused(world: World) -> None:
    first = (ORIGIN_ID, 5, LOG.root(5), [], 0, b"")
    world.refuses("not a sealer", "other", "submit", *first)
    world.refuses("not a sealer", "owner", "submit", *first)
    world.send("owner", "set_paused", True)
    world.refuses("paused", "sealer", "submit", *first)
    world.send("owner", "set_paused", False)
    world.send("owner", "set_sealer", address("other"), True)
    world.send("other", "submit", *first)
    world.send("owner", "set_sealer", address("sealer"), False)
    world.refuses("not a sealer", "sealer", "submit", ORIGIN_ID, 6, LOG.root(6), LOG.path(5, 6), 0, b"")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("offer_ownership", [b"\x01" * 20]),
        ("set_sealer", [b"\x01" * 20, True]),
        ("set_paused", [True]),
        ("set_threshold", [0]),
        ("set_witness_active", [0, True]),
        ("register_witness", [bytes(128), bytes(256)]),
    ],
)
@pytest.mark.parametrize("sender", ["sealer", "other"])
def test_only_the_owner_governs(shared_world: World, sender: str, name: str, values) -> None:
    shared_world.refuses("not the owner", sender, name, *values)


def test_ownership_is_handed_over_in_two_steps(world: World) -> None:
    world.refuses("not the pending owner", "other", "accept_ownership")
    world.send("owner", "offer_ownership", address("other"))
    world.refuses("not the pending owner", "sealer", "accept_ownership")
    assert world.call("owner") == ACCOUNTS["owner"].address.lower()
    world.send("other", "accept_ownership")
    assert world.call("owner") == ACCOUNTS["other"].address.lower()
    world.refuses("not the owner", "owner", "set_paused", True)
    world.refuses("not the pending owner", "other", "accept_ownership")


# -- witnesses
# ------------------------------------------------------------------------------------------------------

SECRETS = [int.from_bytes(hashlib.sha256(b"witness" + bytes([i])).digest(), "big") % 2**250 for i in range(5)]


def g1(point) -> bytes:
    x, y = normalize(point)
    return b"".join(int(value).to_bytes(64, "big") for value in (x.n, y.n))


def g2(signature: bytes) -> bytes:
    x, y = normalize(signature_to_G2(signature))
    return b"".join(int(value).to_bytes(64, "big") for value in (*x.coeffs, *y.coeffs))


def public_key(secret: int) -> bytes:
    return g1(pubkey_to_G1(Bls.SkToPk(secret)))


@pytest.fixture(scope="module")
def witnessed():
    """Five registered witnesses, threshold three, and one checkpoint from before."""
    world = World(":memory:")
    world.send("sealer", "submit", ORIGIN_ID, 5, LOG.root(5), [], 0, b"")
    world.register_gas = [
        world.send("owner", "register_witness", public_key(secret), g2(Bls.PopProve(secret))).gas_used
        for secret in SECRETS
    ]
    world.send("owner", "set_threshold", 3)
    yield world
    world.blockchain.close()


def aggregate(message: bytes, numbers) -> bytes:
    return g2(Bls.Aggregate([Bls.Sign(SECRETS[number], message) for number in numbers]))


def test_three_of_five_witnesses_carry_a_checkpoint(witnessed: World) -> None:
    message = witnessed.call("statement", ORIGIN_ID, 9, LOG.root(9))
    path = LOG.path(5, 9)
    expected = hashlib.sha256(
        b"akashi/anchor-statement/v1\x00"
        + CHAIN_ID.to_bytes(32, "big")
        + bytes(12)
        + witnessed.contract
        + ORIGIN_ID
        + (9).to_bytes(32, "big")
        + LOG.root(9)
        + (5).to_bytes(32, "big")
        + LOG.root(5)
    ).digest()
    assert message == expected
    good = aggregate(message, [0, 2, 4])
    submit = ("submit", ORIGIN_ID, 9, LOG.root(9), path)
    witnessed.call(*submit, 0b10101, good, sender="sealer")
    few, bad = "too few witnesses", "bad aggregate signature"
    witnessed.refuses(few, "sealer", *submit, 0b00101, aggregate(message, [0, 2]))
    witnessed.refuses(few, "sealer", *submit, 0, b"")
    witnessed.refuses(bad, "sealer", *submit, 0b00111, good)  # others than those who signed
    witnessed.refuses(bad, "sealer", *submit, 0b11111, good)
    witnessed.refuses(bad, "sealer", *submit, 0b10101, b"")
    witnessed.refuses(bad, "sealer", *submit, 0b10101, good[:255])
    other = aggregate(hashlib.sha256(b"other").digest(), [0, 2, 4])
    witnessed.refuses(bad, "sealer", *submit, 0b10101, other)
    witnessed.refuses("not an active witness", "sealer", *submit, 0b1010100, good)
    witnessed.refuses("not an active witness", "sealer", *submit, 1 << 255 | 0b10101, good)


@pytest.mark.parametrize("kind", ["infinity", "non-canonical", "not on the curve"])
def test_impossible_points_are_no_signature(witnessed: World, kind: str) -> None:
    message = witnessed.call("statement", ORIGIN_ID, 9, LOG.root(9))
    good = aggregate(message, [0, 2, 4])
    point = {
        "infinity": bytes(256),
        "non-canonical": (int.from_bytes(good[:64], "big") + field_modulus).to_bytes(64, "big") + good[64:],
        "not on the curve": good[:63] + bytes([good[63] ^ 1]) + good[64:],
    }[kind]
    submit = ("submit", ORIGIN_ID, 9, LOG.root(9), LOG.path(5, 9), 0b10101)
    with pytest.raises(RpcError):
        witnessed.call(*submit, point, sender="sealer")
    witnessed.call(*submit, good, sender="sealer")


def test_keys_without_their_own_possession_are_refused(witnessed: World) -> None:
    secret = 77
    key, possession = public_key(secret), g2(Bls.PopProve(secret))
    no = "no proof of possession"
    witnessed.call("register_witness", key, possession, sender="owner")
    witnessed.refuses(no, "owner", "register_witness", key, g2(Bls.PopProve(78)))
    # the rogue key: another's key subtracted from one's own needs a possession that nobody can make
    rogue = g1(neg(pubkey_to_G1(Bls.SkToPk(secret))))
    witnessed.refuses(no, "owner", "register_witness", rogue, possession)
    # a signature over the same bytes under the other tag is no possession
    witnessed.refuses(no, "owner", "register_witness", key, g2(Bls.Sign(secret, Bls.SkToPk(secret))))
    witnessed.refuses("point at infinity", "owner", "register_witness", bytes(128), bytes(256))
    witnessed.refuses("bad length", "owner", "register_witness", key[:127], possession)
    witnessed.refuses(
        "registered already",
        "owner",
        "register_witness",
        public_key(SECRETS[0]),
        g2(Bls.PopProve(SECRETS[0])),
    )


def test_the_compressed_key_has_the_right_sign_for_both_halves(witnessed: World) -> None:
    """Possession signs the compressed key, whose sign bit depends on y: keys of both kinds must register."""
    signs = {Bls.SkToPk(secret)[0] & 0x20 for secret in SECRETS}
    assert signs == {0, 0x20}, "the five secrets cover both signs"
    assert witnessed.call("witness_count") == 5


def test_a_suspended_witness_does_not_count(witnessed: World) -> None:
    message = witnessed.call("statement", ORIGIN_ID, 9, LOG.root(9))
    submit = ("submit", ORIGIN_ID, 9, LOG.root(9), LOG.path(5, 9))
    signature = aggregate(message, [0, 2, 4])
    witnessed.send("owner", "set_witness_active", 4, False)
    witnessed.refuses("not an active witness", "sealer", *submit, 0b10101, signature)
    witnessed.send("owner", "set_witness_active", 4, True)
    witnessed.call(*submit, 0b10101, signature, sender="sealer")
    witnessed.refuses("fewer witnesses than the threshold", "owner", "set_threshold", 6)
    witnessed.refuses("no such witness", "owner", "set_witness_active", 5, True)


def test_the_native_engine_and_py_ecc_agree_in_result_and_gas(witnessed: World) -> None:
    """One registration and one submission on py_ecc alone, the reference: 4 s of pure Python pairing."""
    reference = World(":memory:", fast=False)
    reference.send("sealer", "submit", ORIGIN_ID, 5, LOG.root(5), [], 0, b"")
    gas = reference.send(
        "owner", "register_witness", public_key(SECRETS[0]), g2(Bls.PopProve(SECRETS[0]))
    ).gas_used
    assert gas == witnessed.register_gas[0]
    message = reference.call("statement", ORIGIN_ID, 9, LOG.root(9))
    submit = ("submit", ORIGIN_ID, 9, LOG.root(9), LOG.path(5, 9))
    reference.call(*submit, 1, aggregate(message, [0]), sender="sealer")
    reference.blockchain.close()
