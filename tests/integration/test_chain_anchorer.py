"""Anchoring against a worse chain than any real one: faults, drops, reorgs, resets; it always converges."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chain.anchorer import Anchorer
from chain.anchoring import Reopen, Rules, Submit, Wait
from chain.checkpoint_key import SoftwareSigner
from chain.errors import EthereumError, EthereumUnavailable, LogRefused, LogUnavailable
from chain.floor import SeenHead
from chain.log import Log, create_log
from chain.outbox import FINAL, REVERTED
from chain.transactions import Fees, Identity, Inclusion, SignedTransaction, Submission, compute_origin_id
from verifier.formats.chain_anchor import verify_anchor_receipt
from verifier.formats.merkle import ProofError, verify_consistency
from verifier.formats.signed_note import build_vkey

ORIGIN = "door.mihon.example/992011/log/1"
CHAIN_ID = 992011
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
KEY = build_vkey(ORIGIN, PRIVATE.public_key().public_bytes_raw())
RULES = Rules(interval=0, confirmations=3, resend_after=5, replace_after=20, lost_after=10)


class FakeChain:
    """A chain with one account and one contract, whose blocks the test makes by hand.

    Transactions are JSON; the "signature" is the hash. Everything a node may do wrong can be switched on.
    """

    contract = b"\xaa" * 20

    def __init__(self) -> None:
        self.genesis = b"\x01" * 32
        self.chain_id = CHAIN_ID
        self.has_code = True
        self.blocks: list[list[bytes]] = []
        self.salt = 0
        self.pool: dict[bytes, bytes] = {}  # hash → raw
        self.minimum_fee = 0
        self.suggested = Fees(100, 10)
        self.fault: Callable[[str, bool], None] = lambda _method, _after: None
        self.sent: list[bytes] = []

    # -- the contract, recomputed from the blocks
    # -------------------------------------------------------------

    def _replay(self) -> tuple[dict[bytes, SeenHead], dict[bytes, tuple[int, bool]], int]:
        heads: dict[bytes, SeenHead] = {}
        results: dict[bytes, tuple[int, bool]] = {}
        nonce = 0
        for number, block in enumerate(self.blocks, 1):
            for raw in block:
                tx = json.loads(raw)
                nonce = tx["nonce"] + 1
                results[_hash(raw)] = (number, self._apply(heads, tx))
        return heads, results, nonce

    def _apply(self, heads: dict[bytes, SeenHead], tx: dict) -> bool:
        if "origin" not in tx:
            return True
        origin, new = bytes.fromhex(tx["origin"]), SeenHead(tx["size"], bytes.fromhex(tx["root"]))
        old = heads.get(origin, SeenHead(0, bytes(32)))
        path = [bytes.fromhex(item) for item in tx["path"]]
        if new.size <= old.size:
            return False
        try:
            if old.size:
                verify_consistency(old.size, old.root, new.size, new.root, path)
        except ProofError:
            return False
        heads[origin] = new
        return True

    # -- what the anchorer asks
    # -------------------------------------------------------------------------------

    def identity(self) -> Identity:
        self.fault("identity", False)
        return Identity(self.chain_id, self.genesis)

    def has_contract(self) -> bool:
        return self.has_code

    def head(self, origin_id: bytes) -> SeenHead:
        self.fault("head", False)
        return self._replay()[0].get(origin_id, SeenHead(0, bytes(32)))

    def nonce(self) -> int:
        self.fault("nonce", False)
        return self._replay()[2]

    def latest_block(self) -> int:
        return len(self.blocks)

    def block_hash(self, number: int) -> bytes | None:
        if not 0 < number <= len(self.blocks):
            return None
        return hashlib.sha256(repr((self.genesis, self.blocks[:number])).encode()).digest()

    def fees(self) -> Fees:
        return self.suggested

    def sign_submission(self, submission: Submission, nonce: int, fees: Fees) -> SignedTransaction:
        self.fault("sign", False)
        tx = {
            "nonce": nonce,
            "fee": fees.max_fee,
            "origin": submission.origin_id.hex(),
            "size": submission.size,
            "root": submission.root.hex(),
            "path": [item.hex() for item in submission.consistency_path],
        }
        if not self._apply(self._replay()[0], tx):
            raise EthereumError("refused", "the contract refuses")
        raw = json.dumps(tx).encode()
        return SignedTransaction(raw, _hash(raw))

    def broadcast(self, transaction: SignedTransaction) -> None:
        self.fault("broadcast", False)
        self.sent.append(transaction.raw)
        tx = json.loads(transaction.raw)
        if tx["nonce"] < self._replay()[2] and transaction.tx_hash not in self._replay()[1]:
            raise EthereumError("not-sent", "nonce too low")
        rivals = [item for item in self.pool.values() if json.loads(item)["nonce"] == tx["nonce"]]
        if any(json.loads(item)["fee"] > tx["fee"] for item in rivals):
            raise EthereumError("not-sent", "replacement transaction underpriced")
        for rival in rivals:
            self.pool.pop(_hash(rival))
        if transaction.tx_hash not in self._replay()[1]:
            self.pool[transaction.tx_hash] = transaction.raw
        self.fault("broadcast", True)

    def find_inclusion(self, tx_hash: bytes) -> Inclusion | None:
        self.fault("receipt", False)
        results = self._replay()[1]
        if tx_hash not in results:
            return None
        number, is_success = results[tx_hash]
        block_hash = self.block_hash(number)
        tx = next(json.loads(raw) for raw in self.blocks[number - 1] if _hash(raw) == tx_hash)
        event = (
            (0, tx["size"], bytes.fromhex(tx["root"])) if is_success and self.has_code else (None, None, None)
        )
        return Inclusion(is_success, number, block_hash, *event)

    # -- what the test does to it
    # -----------------------------------------------------------------------------

    def mine(self, count: int = 1) -> None:
        for _ in range(count):
            block = []
            for tx_hash, raw in sorted(self.pool.items(), key=lambda item: json.loads(item[1])["nonce"]):
                tx = json.loads(raw)
                if tx["nonce"] == self._replay()[2] + len(block) and tx["fee"] >= self.minimum_fee:
                    block.append(raw)
                    del self.pool[tx_hash]
            self.blocks.append(block)

    def mine_foreign(self) -> None:
        """Somebody else uses the account's next nonce."""
        self.salt += 1
        self.blocks.append([json.dumps({"nonce": self._replay()[2], "fee": 1, "salt": self.salt}).encode()])

    def reorg(self, depth: int, *, keep: bool) -> None:
        """Replace the last blocks by empty ones; their transactions return to the pool or vanish."""
        dropped = self.blocks[-depth:]
        self.blocks = self.blocks[:-depth]
        if keep:
            self.pool |= {_hash(raw): raw for block in dropped for raw in block}
        self.salt += 1
        self.blocks += [[] for _ in range(depth + 1)]

    def reset(self) -> None:
        """A new chain under the same id and address."""
        self.salt += 1
        self.genesis = hashlib.sha256(self.genesis + bytes([self.salt])).digest()
        self.blocks, self.pool = [], {}


def _hash(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        create_log(directory, ORIGIN)
        self.chain = FakeChain()
        self.now = 1_800_000_000
        self.signer = SoftwareSigner(PRIVATE)
        self.log: Log | None = None
        self.restart()

    def restart(self) -> None:
        """As after a crash: everything in memory is gone."""
        if self.log is not None:
            self.log.close()
        self.log = Log(self.directory, KEY, self.signer, padding=1)
        self.anchorer = Anchorer(self.log, self.chain, CHAIN_ID, self.signer, lambda: self.now, RULES)

    def append(self, number: int, count: int = 3) -> None:
        self.log.append([hashlib.sha256(repr((number, i)).encode()).digest() for i in range(count)])

    def head(self) -> SeenHead:
        return self.chain._replay()[0].get(compute_origin_id(ORIGIN), SeenHead(0, bytes(32)))

    def settle(self, rounds: int = 60) -> None:
        """Let time and blocks pass until everything is anchored and final."""
        for _ in range(rounds):
            self.now += 3
            self.anchorer.run()
            self.chain.mine()
            if self.anchorer.reason == "" and self.head().size == self.log.published.size:
                return
        raise AssertionError(f"not anchored: {self.anchorer.reason}")

    def assert_anchored(self) -> None:
        published = self.log.published
        assert self.head() == SeenHead(published.size, published.root)
        receipt = self.log.files.read(f"receipts/{published.size}")
        verified = verify_anchor_receipt(receipt, KEY, CHAIN_ID, self.chain.contract)
        assert (verified.size, verified.root) == (published.size, published.root)
        assert self.chain.block_hash(verified.block_number) == verified.block_hash


@pytest.fixture
def world(tmp_path: Path):
    world = World(tmp_path / "log")
    yield world
    world.log.close()


def test_checkpoints_are_anchored_one_nonce_at_a_time_and_receipts_written(world: World) -> None:
    for number in range(4):
        world.append(number)
        world.settle()
        world.assert_anchored()
    assert [json.loads(raw)["nonce"] for block in world.chain.blocks for raw in block] == [0, 1, 2, 3]
    # the receipt, the checkpoint it is of, and the pointer to it, in the order in which a reader needs them
    size = world.log.published.size
    queued = [upload.path for upload in world.log.store.next_uploads(100)][-3:]
    assert queued == [f"receipts/{size}", f"checkpoints/{size}", "anchored"]
    for path in ("anchored", f"checkpoints/{size}"):
        assert world.log.files.read(path) == world.log.published.checkpoint
    assert world.anchorer.run() is None
    assert world.anchorer.reason == ""


def test_nothing_is_sent_before_it_is_stored(world: World) -> None:
    world.append(0)

    def die(method: str, after: bool) -> None:
        if method == "broadcast" and not after:
            with world.log.engine.connect() as connection:
                assert connection.exec_driver_sql("SELECT count(*) FROM outbox").scalar() == 1
            raise EthereumUnavailable("chain-away", "injected")

    world.chain.fault = die
    world.anchorer.run()
    assert "chain-away" in world.anchorer.reason
    world.chain.fault = lambda _method, _after: None
    world.restart()
    world.settle()
    assert len(set(world.chain.sent)) == 1, "the same bytes again, not a new transaction"


class Crash(BaseException):
    """The process dies here."""


ACTS = [
    ("chain.sign_submission", "sign"),
    ("outbox.add", "store"),
    ("chain.broadcast", "send"),
    ("outbox.mark_sent", "mark sent"),
    ("outbox.settle", "settle"),
    ("outbox.set_state", "final"),
    ("signer.sign", "sign receipt"),
    ("files.create", "keep checkpoint"),
    ("files.replace", "write receipt"),
    ("store.queue_replacement", "queue receipt"),
    ("store.queue_upload", "queue checkpoint"),
    ("outbox.mark_receipt", "mark receipt"),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("target", [name for name, _ in ACTS], ids=[words for _, words in ACTS])
def test_a_crash_at_any_step_converges_to_one_line(
    world: World, target: str, after: bool, monkeypatch
) -> None:
    world.append(0)
    world.settle()
    world.append(1)
    owner_name, name = target.split(".")
    from chain.outbox import Outbox

    owner = {
        "chain": FakeChain,
        "outbox": Outbox,
        "signer": SoftwareSigner,
        "files": type(world.log.files),
        "store": type(world.log.store),
    }[owner_name]
    original = getattr(owner, name)
    hits: list[str] = []

    def dying(*arguments, **options):
        if after:
            original(*arguments, **options)
        hits.append(name)
        raise Crash(name)

    monkeypatch.setattr(owner, name, dying)
    with pytest.raises(Crash):
        for _ in range(40):
            world.now += 3
            world.anchorer.run()
            world.chain.mine()
    assert hits, "the fault must have hit"
    monkeypatch.undo()
    world.restart()
    world.settle()
    world.assert_anchored()
    nonces = [json.loads(raw)["nonce"] for block in world.chain.blocks for raw in block]
    assert nonces == [0, 1], "nothing sent twice, no gap"


@pytest.mark.parametrize("keep", [True, False], ids=["returns to the pool", "vanishes"])
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_reorg_is_noticed_and_the_same_bytes_go_out_again(world: World, depth: int, keep: bool) -> None:
    world.append(0)
    world.settle()  # deeper than the confirmations: below finality for the larger depths
    world.append(1)
    world.anchorer.run()
    world.chain.mine(2)
    world.anchorer.run()
    world.chain.reorg(min(depth, len(world.chain.blocks)), keep=keep)
    world.settle()
    assert world.head().size == world.log.published.size
    sizes = [json.loads(raw)["size"] for block in world.chain.blocks for raw in block]
    assert sizes == sorted(set(sizes)), "the chain's history is one line"


def test_a_transaction_that_moved_to_another_block_is_receipted_there(world: World) -> None:
    world.append(0)
    world.anchorer.run()
    world.chain.mine()
    world.anchorer.run()  # mined, not final; its block is now replaced by another one that holds it too
    world.chain.reorg(1, keep=True)
    world.chain.mine()
    world.settle()
    world.assert_anchored()


def moved_behind_final_anchors(world: World, keep: bool) -> dict[str, bytes]:
    """Three final anchors with receipts, then a reorganisation deeper than all of them; answers the receipts."""
    for number in range(3):
        world.append(number)
        world.settle()
        world.chain.mine(RULES.confirmations)
    before = {f"receipts/{size}": world.log.files.read(f"receipts/{size}") for size in (3, 6, 9)}
    world.log.store.finish_uploads(10**6)
    world.chain.reorg(len(world.chain.blocks), keep=keep)
    world.chain.mine(RULES.confirmations)
    return before


@pytest.mark.parametrize("keep", [True, False], ids=["returns to the pool", "vanishes"])
def test_receipts_of_vanished_blocks_are_made_again(world: World, keep: bool) -> None:
    """Deeper than the confirmations that were waited for: nobody may keep a receipt that leads nowhere."""
    before = moved_behind_final_anchors(world, keep)
    world.settle()
    world.assert_anchored()
    outbox = world.anchorer._open_outbox()
    assert outbox.newest_final().size == 9
    for path, old in before.items():
        note = world.log.files.read(path)
        receipt = verify_anchor_receipt(note, KEY, CHAIN_ID, world.chain.contract)
        assert note != old, path
        assert world.chain.block_hash(receipt.block_number) == receipt.block_hash, path
        assert receipt.transaction == verify_anchor_receipt(old, KEY, CHAIN_ID, b"\xaa" * 20).transaction
    # the street door gets them with their bytes, each before the pointer, and the pointer ends at the newest
    queued = [(upload.path, upload.data) for upload in world.log.store.next_uploads(100)]
    assert {path: data for path, data in queued if path in before} == {
        path: world.log.files.read(path) for path in before
    }
    assert queued[-1] == ("anchored", world.log.files.read("checkpoints/9"))
    sent = len(world.chain.sent)
    world.anchorer.run()
    assert (world.anchorer.reason, len(world.chain.sent)) == ("", sent), "and then there is peace"


def test_an_anchorer_that_forgets_final_anchors_keeps_receipts_of_vanished_blocks(
    world: World, monkeypatch
) -> None:
    """The control: without the look at the newest final anchor the receipts stay as they were."""
    before = moved_behind_final_anchors(world, keep=True)
    monkeypatch.setattr("chain.outbox.Outbox.newest_final", lambda _self: None)
    world.settle()
    assert {path: world.log.files.read(path) for path in before} == before


def test_a_rival_that_wins_after_a_reorganisation_gets_the_receipt(world: World) -> None:
    """Two transactions for one nonce: the loser of the first history is the winner of the second."""
    world.append(0)
    world.anchorer.run()
    world.chain.minimum_fee = 110
    world.append(1)
    world.now += RULES.replace_after
    world.anchorer.run()
    world.chain.minimum_fee = 0
    first, second = dict.fromkeys(world.chain.sent)
    world.settle()
    assert second in world.chain.blocks[0]
    world.chain.reorg(len(world.chain.blocks), keep=False)
    world.chain.blocks[0] = [first]
    world.settle()
    world.assert_anchored()
    receipt = verify_anchor_receipt(world.log.files.read("receipts/3"), KEY, CHAIN_ID, world.chain.contract)
    assert receipt.transaction == hashlib.sha256(first).digest()


def test_a_missing_earlier_nonce_is_filled_after_a_while(world: World) -> None:
    """A gap: something of the account that this outbox does not know has vanished from the chain."""
    world.chain.mine_foreign()
    world.append(0)
    world.anchorer.run()
    assert json.loads(world.chain.sent[-1])["nonce"] == 1
    world.chain.blocks.clear()
    world.anchorer.run()
    assert "earlier nonce" in world.anchorer.reason
    world.settle()
    assert world.head() == SeenHead(world.log.published.size, world.log.published.root)
    world.append(1)
    world.settle()
    nonces = [json.loads(raw)["nonce"] for block in world.chain.blocks for raw in block]
    assert nonces == list(range(len(nonces)))
    world.assert_anchored()


def test_a_rising_fee_is_followed_and_never_above_the_limit(world: World) -> None:
    """The node asks for more while a transaction waits: each replacement bids at least that, until the limit."""
    world.append(0)
    world.anchorer.run()
    for fee in (200, 400, 800):
        world.chain.suggested, world.chain.minimum_fee = Fees(fee, 10), fee
        world.now += RULES.replace_after
        world.anchorer.run()
    bids = [json.loads(raw)["fee"] for raw in dict.fromkeys(world.chain.sent)]
    assert bids == [100, 200, 400, 800]
    world.chain.suggested, world.chain.minimum_fee = Fees(RULES.max_fee + 1, 10), RULES.max_fee + 1
    for _ in range(5):
        world.now += RULES.replace_after
        world.anchorer.run()
    assert max(json.loads(raw)["fee"] for raw in world.chain.sent) == 800
    world.chain.suggested, world.chain.minimum_fee = Fees(100, 10), 0
    world.settle()
    world.assert_anchored()
    assert {json.loads(raw)["nonce"] for raw in world.chain.sent} == {0}


def test_a_dropped_transaction_is_sent_again_and_a_stuck_one_replaced_by_the_newest(world: World) -> None:
    world.append(0)
    world.anchorer.run()
    world.chain.pool.clear()
    world.now += RULES.resend_after
    world.anchorer.run()
    assert len(world.chain.pool) == 1
    assert len(world.chain.sent) == 2
    assert len(set(world.chain.sent)) == 1
    world.chain.minimum_fee = 110  # too cheap now
    world.append(1)
    for _ in range(10):
        world.now += 3
        world.anchorer.run()
        world.chain.mine()
    world.settle()
    replaced = [json.loads(raw) for raw in world.chain.sent]
    assert {tx["nonce"] for tx in replaced} == {0}
    assert replaced[-1]["fee"] > 110
    assert replaced[-1]["size"] == world.log.published.size, "a replacement carries the newest checkpoint"
    world.assert_anchored()


def test_a_nonce_used_by_somebody_else_is_given_up(world: World) -> None:
    world.append(0)
    world.anchorer.run()
    world.chain.pool.clear()
    world.chain.mine_foreign()
    world.anchorer.run()
    assert "nonce is used" in world.anchorer.reason
    world.settle()
    world.assert_anchored()
    assert json.loads(world.chain.sent[-1])["nonce"] == 1


def test_a_reset_chain_is_begun_again(world: World) -> None:
    for number in range(3):
        world.append(number)
        world.settle()
    world.chain.reset()
    world.settle()
    world.assert_anchored()  # the receipt of the same size names the new chain's block
    assert [json.loads(raw)["nonce"] for block in world.chain.blocks for raw in block] == [0]
    world.append(9)
    world.settle()
    world.assert_anchored()


def test_a_chain_restored_from_an_older_state_gets_its_history_again(world: World) -> None:
    for number in range(3):
        world.append(number)
        world.settle()
    first = next(i for i, block in enumerate(world.chain.blocks) if block) + 1
    world.chain.blocks = world.chain.blocks[:first]
    world.settle()
    world.append(9)
    world.settle()
    world.assert_anchored()
    assert [json.loads(raw)["nonce"] for block in world.chain.blocks for raw in block] == [0, 1, 2, 3]


def test_lost_answers_and_closed_connections_do_no_harm(world: World) -> None:
    rng = random.Random(4)
    faults = 0

    def fault(_method: str, _after: bool) -> None:
        nonlocal faults
        if rng.random() < 0.25:
            faults += 1
            raise EthereumUnavailable("chain-away", "injected")

    world.chain.fault = fault
    for number in range(6):
        world.append(number)
        for _ in range(6):
            world.now += 3
            world.anchorer.run()
            if rng.random() < 0.7:
                world.chain.mine()
            if rng.random() < 0.2 and len(world.chain.blocks) > 2:
                world.chain.reorg(rng.randint(1, 2), keep=rng.random() < 0.5)
            if rng.random() < 0.1:
                world.restart()
    assert faults > 20
    world.chain.fault = lambda _method, _after: None
    world.settle()
    assert world.head() == SeenHead(world.log.published.size, world.log.published.root)


def test_another_chain_or_a_missing_contract_is_waited_out(world: World) -> None:
    world.append(0)
    world.chain.chain_id = 1
    world.anchorer.run()
    assert "other-chain" in world.anchorer.reason
    world.chain.chain_id, world.chain.has_code = CHAIN_ID, False
    world.anchorer.run()
    assert "contract-missing" in world.anchorer.reason
    assert world.chain.sent == []
    world.chain.has_code = True
    world.settle()


def test_success_without_the_event_is_no_anchor(world: World) -> None:
    world.append(0)
    world.anchorer.run()
    world.chain.mine()
    real = world.chain.find_inclusion
    world.chain.find_inclusion = lambda tx_hash: Inclusion(
        True, real(tx_hash).block_number, real(tx_hash).block_hash, None, None, None
    )
    world.anchorer.run()
    outbox = world.anchorer._open_outbox()
    assert outbox.newest().state == REVERTED
    assert world.log.files.find(f"receipts/{world.log.published.size}") is None


@pytest.mark.parametrize("kind", ["larger", "fork"])
def test_a_contract_that_contradicts_the_log_stops_it(world: World, kind: str) -> None:
    world.append(0)
    size = world.log.published.size + (1 if kind == "larger" else 0)
    tx = {
        "nonce": 0,
        "fee": 1,
        "origin": compute_origin_id(ORIGIN).hex(),
        "size": size,
        "root": "11" * 32,
        "path": [],
    }
    world.chain.blocks.append([json.dumps(tx).encode()])
    code = {"larger": "seen-larger", "fork": "seen-fork"}[kind]
    with pytest.raises(LogRefused, match=code):
        world.anchorer.run()
    with pytest.raises(LogRefused):
        world.append(1)


def test_an_absent_signer_delays_the_receipt_and_not_the_anchor(world: World, monkeypatch) -> None:
    world.append(0)

    def away(_self, _text: str) -> bytes:
        raise LogUnavailable("signer-away", "injected")

    with monkeypatch.context() as patch:
        patch.setattr(SoftwareSigner, "sign", away)
        for _ in range(8):
            world.now += 1
            world.anchorer.run()
            world.chain.mine()
    assert world.head().size == 3
    assert world.anchorer._open_outbox().newest_final().state == FINAL
    assert world.log.files.find("receipts/3") is None
    world.now += 60
    world.anchorer.run()
    world.assert_anchored()


def test_gas_above_the_limit_is_not_paid(world: World) -> None:
    world.append(0)
    world.chain.suggested = Fees(RULES.max_fee + 1, 1)
    world.anchorer.run()
    assert "dearer" in world.anchorer.reason
    assert world.chain.sent == []
    world.chain.suggested = Fees(0, 0)  # a network without a base fee
    world.settle()
    world.assert_anchored()


def test_the_interval_between_submissions_is_kept(world: World) -> None:
    rules = Rules(interval=100, confirmations=1)
    world.anchorer = Anchorer(world.log, world.chain, CHAIN_ID, world.signer, lambda: world.now, rules)
    world.append(0)
    world.settle()
    world.append(1)
    world.now += 10
    assert isinstance(world.anchorer.step(), Wait)
    world.now += 100
    assert isinstance(world.anchorer.step(), Submit)


def test_going_back_is_seen_as_such(world: World) -> None:
    world.append(0)
    world.settle()
    world.chain.blocks = []
    assert isinstance(world.anchorer.step(), Reopen)
