"""anvil as a second, independent EVM: the contract's tests say the same there, to the unit of gas, and the anchoring
loop converges on it through dropped transactions, reorganisations and a node that forgets everything.

Every contract test of tests/integration runs here once more against the embedded chain and anvil at once
(`tests/support/anchor_registry.py` compares each answer). The file takes about half a minute for that reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chain.anchorer import Anchorer
from chain.anchoring import Reopen, Rules
from chain.checkpoint_key import SoftwareSigner
from chain.errors import EthereumError
from chain.ethereum import EthereumClient, deploy_registry
from chain.floor import SeenHead
from chain.log import Log, create_log
from chain.outbox import FINAL
from chain.transactions import compute_origin_id
from tests.integration import (
    test_contracts_delay,
    test_contracts_ecdsa,
    test_contracts_registry,
    test_contracts_witnesses,
)
from tests.support.anchor_registry import (
    ACCOUNTS,
    CHAIN_ID,
    ECDSA,
    ORIGIN_ID,
    SECRETS,
    SIGNERS,
    START,
    EmbeddedNode,
    World,
    address,
    ecdsa,
    hexed,
    path,
    possession,
    public_key,
    root,
    statement,
)
from tests.support.anvil_node import AnvilNode, find_anvil
from verifier.formats.chain_anchor import verify_anchor_receipt
from verifier.formats.signed_note import build_vkey

# the fixtures of the files whose tests run here too; they ask for `new_world`, which is this file's own
world, shared_world = test_contracts_registry.world, test_contracts_registry.shared_world
witnessed, signed = test_contracts_witnesses.witnessed, test_contracts_ecdsa.signed
registry, patient = test_contracts_delay.registry, test_contracts_delay.patient

ORIGIN = "door.mihon.example/992011/log/1"
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
KEY = build_vkey(ORIGIN, PRIVATE.public_key().public_bytes_raw())
RULES = Rules(interval=0, confirmations=3, resend_after=5, replace_after=20, lost_after=10)


@pytest.fixture(scope="module")
def anvil() -> Path:
    return find_anvil()


@pytest.fixture(scope="module")
def new_world(anvil: Path, tmp_path_factory) -> Iterator[Any]:
    nodes: list[Any] = []

    def make(**options: Any) -> World:
        chain_id = options.get("chain_id", CHAIN_ID)
        pair = (
            EmbeddedNode(chain_id=chain_id),
            AnvilNode(anvil, tmp_path_factory.mktemp("anvil"), chain_id=chain_id),
        )
        nodes.extend(pair)
        return World(*pair, **options)

    yield make
    for node in nodes:
        node.close()


def on_both(module: Any) -> type:
    """The tests of a file as a class of this one."""
    tests = {name: staticmethod(value) for name, value in vars(module).items() if name.startswith("test_")}
    assert tests
    return type("OnBoth", (), tests)


class TestRegistry(on_both(test_contracts_registry)):
    pass


class TestWitnesses(on_both(test_contracts_witnesses)):
    pass


class TestEcdsa(on_both(test_contracts_ecdsa)):
    pass


class TestDelay(on_both(test_contracts_delay)):
    pass


def test_the_two_nodes_are_two(new_world) -> None:
    world = new_world()
    versions = [node.request("web3_clientVersion") for node in world.nodes]
    assert versions[0].startswith("akashi-devnode/")
    assert versions[1].startswith("anvil/")
    codes = {node.request("eth_getCode", hexed(world.contract), "latest") for node in world.nodes}
    assert len(codes) == 1
    world.close()


def test_a_chain_without_eip_2537_takes_ecdsa_and_nothing_else(anvil: Path, tmp_path) -> None:
    """Cancun rules: BLS keys are refused, the ECDSA mode carries a checkpoint."""
    node = AnvilNode(anvil, tmp_path / "anvil", hardfork="cancun")
    try:
        world = World(node, mode=ECDSA)
        assert node.request("eth_call", {"to": "0x" + "00" * 19 + "0f", "data": "0x"}, "latest") == "0x"
        key = (public_key(SECRETS[0]), possession(SECRETS[0]))
        world.refuses("no EIP-2537 here", "owner", "register_witness", *key)
        world.send("sealer", "submit", ORIGIN_ID, 5, root(5), [], 0, b"")
        for signer in SIGNERS[:2]:
            world.send("owner", "register_account", bytes.fromhex(signer.address[2:]))
        world.send("owner", "set_threshold", 2)
        submit = ("submit", ORIGIN_ID, 9, root(9), path(5, 9))
        world.refuses("too few witnesses", "sealer", *submit, 0, b"")
        signature = ecdsa(statement(world.contract, ORIGIN_ID, 9, 5), [0, 1])
        world.send("sealer", *submit, 0b11, signature)
        assert world.call("head", ORIGIN_ID) == (9, root(9))
    finally:
        node.close()


# -- the anchoring loop --------------------------------------------------------------------------------------


class House:
    """A log, its anchorer and an anvil that makes blocks only when it is told to."""

    def __init__(self, program: Path, directory: Path) -> None:
        self.now = START
        self.node = AnvilNode(program, directory / "anvil", options=("--no-mining",))
        self.contract = self.deploy()
        create_log(directory / "log", ORIGIN)
        self.directory = directory / "log"
        self.signer = SoftwareSigner(PRIVATE)
        self.log: Log | None = None
        self.restart()

    def deploy(self) -> bytes:
        self.node.request("evm_setAutomine", True)
        contract, _ = deploy_registry(self.node.url, bytes(ACCOUNTS["owner"].key), address("sealer"))
        self.node.request("evm_setAutomine", False)
        return contract

    def restart(self) -> None:
        """As after a crash: everything in memory is gone."""
        if self.log is not None:
            self.log.close()
        self.log = Log(self.directory, KEY, self.signer, padding=1)
        self.client = EthereumClient(self.node.url, self.contract, bytes(ACCOUNTS["sealer"].key))
        self.anchorer = Anchorer(self.log, self.client, CHAIN_ID, self.signer, lambda: self.now, RULES)

    def append(self, number: int) -> None:
        self.log.append([hashlib.sha256(repr((number, i)).encode()).digest() for i in range(3)])

    def head(self) -> SeenHead:
        return self.client.head(compute_origin_id(ORIGIN))

    def send(self) -> str:
        """Until a transaction is in the node's pool; answers its hash."""
        self.anchorer.run()
        (by_nonce,) = self.node.request("txpool_content")["pending"].values()
        (transaction,) = by_nonce.values()
        return transaction["hash"]

    def settle(self) -> None:
        """Let time and blocks pass until everything is anchored and final."""
        for _ in range(40):
            self.now += 3
            self.anchorer.run()
            self.node.mine()
            if self.anchorer.reason == "" and self.head().size == self.log.published.size:
                break
        published = self.log.published
        assert self.anchorer.reason == ""
        assert self.head() == SeenHead(published.size, published.root)
        receipt = verify_anchor_receipt(
            self.log.files.read(f"receipts/{published.size}"), KEY, CHAIN_ID, self.contract
        )
        assert receipt.root == published.root
        included = self.client.find_inclusion(receipt.transaction)
        assert (included.block_number, included.block_hash) == (receipt.block_number, receipt.block_hash)
        assert included.log_index == receipt.log_index

    def close(self) -> None:
        self.log.close()
        self.node.close()


@pytest.fixture
def house(anvil: Path, tmp_path: Path) -> Iterator[House]:
    house = House(anvil, tmp_path)
    yield house
    house.close()


def test_checkpoints_are_anchored(house: House) -> None:
    for number in range(3):
        house.append(number)
        house.settle()
    assert house.client.nonce() == 3, "one transaction a checkpoint"


def test_a_dropped_transaction_is_sent_again(house: House) -> None:
    house.append(0)
    dropped = house.send()
    house.node.request("anvil_dropTransaction", dropped)
    assert house.node.request("eth_getTransactionByHash", dropped) is None
    house.now += RULES.resend_after
    assert house.send() == dropped, "the same bytes"
    house.settle()
    assert house.client.nonce() == 1


def test_a_transaction_that_waits_too_long_is_replaced_by_a_dearer_one(house: House) -> None:
    house.append(0)
    first = house.send()
    house.append(1)
    house.now += RULES.replace_after
    second = house.send()
    assert second != first
    house.settle()
    assert house.client.nonce() == 1, "one of the two"
    assert house.head().size == 6, "and it carries the newest checkpoint"


def test_a_reorganisation_opens_the_anchor_again(house: House) -> None:
    house.append(0)
    tx_hash = bytes.fromhex(house.send()[2:])
    house.node.mine()
    house.anchorer.run()
    included = house.client.find_inclusion(tx_hash)
    assert "confirmations" in house.anchorer.reason
    # the block is replaced by empty ones, and the transaction is in no pool
    house.node.request("anvil_reorg", 1, [])
    house.node.mine(2)
    assert house.client.find_inclusion(tx_hash) is None
    assert house.client.block_hash(included.block_number) != included.block_hash
    assert house.head().size == 0
    assert isinstance(house.anchorer.step(), Reopen)
    house.settle()
    again = house.client.find_inclusion(tx_hash)
    assert again.block_hash != included.block_hash
    assert house.client.nonce() == 1


def test_a_reorganisation_behind_a_final_anchor_is_repaired_too(house: House) -> None:
    """Deeper than the confirmations that were waited for: the receipt has gone out, and the chain is told again."""
    house.append(0)
    house.settle()
    blocks = house.client.latest_block()
    contract_block = 1
    house.node.request("anvil_reorg", blocks - contract_block, [])
    assert house.head().size == 0
    house.append(1)
    for _ in range(30):
        house.now += 3
        house.anchorer.run()
        house.node.mine()
    published = house.log.published
    assert house.head() == SeenHead(published.size, published.root)
    assert house.anchorer.reason == ""


def test_a_crash_between_sending_and_the_block_sends_nothing_twice(house: House) -> None:
    house.append(0)
    tx_hash = house.send()
    house.restart()
    house.node.mine()
    house.restart()
    house.settle()
    assert house.client.nonce() == 1
    assert house.anchorer._open_outbox().newest_final().transaction.tx_hash.hex() == tx_hash[2:]


def test_a_node_that_has_forgotten_everything_is_noticed_and_served_again(house: House) -> None:
    house.append(0)
    house.settle()
    old = house.anchorer._open_outbox().identity
    house.node.kill()
    house.append(1)
    house.anchorer.run()
    assert "chain-away" in house.anchorer.reason
    house.node.start(START + 1_000)
    assert house.client.identity().genesis != old.genesis
    house.anchorer.run()
    assert "contract-missing" in house.anchorer.reason, (
        "status 1 of a transaction to nobody would prove nothing"
    )
    assert house.deploy() == house.contract
    house.settle()
    outbox = house.anchorer._open_outbox()
    assert outbox.identity.genesis != old.genesis
    assert outbox.newest_final().state == FINAL
    assert house.client.nonce() == 1


def test_another_chain_on_the_port_is_refused(house: House) -> None:
    house.append(0)
    other = Anchorer(house.log, house.client, CHAIN_ID + 1, house.signer, lambda: house.now, RULES)
    with pytest.raises(EthereumError, match="other-chain"):
        other.step()
    house.settle()


def test_nothing_is_left_behind(anvil: Path, tmp_path: Path) -> None:
    house = House(anvil, tmp_path)
    process = house.node.process
    house.append(0)
    house.settle()
    house.close()
    assert process.poll() is not None
    assert not (tmp_path / "anvil").exists()
