"""AnchorRegistry on the embedded chain: which checkpoints and roles it takes, and beside each what it refuses.

tests/interop/test_chain_anvil.py runs the same tests on anvil too.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator

import pytest
from eth_abi import decode
from eth_utils import keccak

from tests.support.anchor_registry import ACCOUNTS, ORIGIN_ID, World, address, new_world, path, root
from verifier.formats.merkle import ProofError, verify_consistency

__all__ = ["new_world"]
BAD = "bad consistency proof"
SHORT, LONG = "consistency proof too short", "consistency proof too long"
FIRST = (ORIGIN_ID, 5, root(5), [], 0, b"")


@pytest.fixture
def world(new_world) -> Iterator[World]:
    world = new_world()
    yield world
    world.close()


@pytest.fixture(scope="module")
def shared_world(new_world) -> World:
    return new_world()


def test_a_line_of_checkpoints_is_taken_and_told(world: World) -> None:
    assert world.call("head", ORIGIN_ID) == (0, bytes(32))
    previous = 0
    for size in [1, 2, 3, 4, 7, 8, 9, 64, 100, 255, 256, 257, 600]:
        proof = path(previous, size) if previous else []
        receipt = world.send("sealer", "submit", ORIGIN_ID, size, root(size), proof, 0, b"")
        assert world.call("head", ORIGIN_ID) == (size, root(size))
        (log,) = receipt.logs
        assert log.topics == (
            keccak(b"Anchored(bytes32,uint64,bytes32,uint64,bytes32,uint256)"),
            ORIGIN_ID,
        )
        told = decode(["uint64", "bytes32", "uint64", "bytes32", "uint256"], log.data)
        assert told == (size, root(size), previous, root(previous) if previous else bytes(32), 0)
        previous = size


@pytest.mark.parametrize(
    "pair", [*itertools.combinations(range(1, 10), 2), (127, 300), (256, 511), (300, 512)]
)
def test_every_consistency_proof_of_small_trees_is_checked_like_in_the_verifier(pair, shared_world) -> None:
    """View calls only: the head is put there by a first submission under an origin of the pair's own."""
    old, new = pair
    origin_id = hashlib.sha256(repr(pair).encode()).digest()
    world = shared_world
    world.send("sealer", "submit", origin_id, old, root(old), [], 0, b"")
    proof = path(old, new)
    world.call("submit", origin_id, new, root(new), proof, 0, b"", sender="sealer")
    world.refuses(BAD, "sealer", "submit", origin_id, new, bytes(32), proof, 0, b"")
    world.refuses(LONG, "sealer", "submit", origin_id, new, root(new), [*proof, bytes(32)], 0, b"")
    world.refuses(SHORT, "sealer", "submit", origin_id, new, root(new), proof[:-1], 0, b"")
    changed = [bytes([proof[0][0] ^ 1]) + proof[0][1:], *proof[1:]]
    world.refuses(BAD, "sealer", "submit", origin_id, new, root(new), changed, 0, b"")
    # a proof does not name its sizes: for another size both judges must at least agree
    try:
        verify_consistency(old, root(old), new + 1, root(new), proof)
    except ProofError:
        both = (BAD, SHORT, LONG)
        world.refuses(both, "sealer", "submit", origin_id, new + 1, root(new), proof, 0, b"")
    else:
        world.call("submit", origin_id, new + 1, root(new), proof, 0, b"", sender="sealer")


def test_a_proof_of_64_elements_is_judged_and_of_65_is_no_argument(shared_world: World) -> None:
    """The longest that the ABI of the contract takes; beyond it there are no words, only a refusal."""
    world, origin_id = shared_world, hashlib.sha256(b"long").digest()
    world.send("sealer", "submit", origin_id, 5, root(5), [], 0, b"")
    world.call("submit", origin_id, 9, root(9), path(5, 9), 0, b"", sender="sealer")
    bad = (origin_id, 9, root(9), [bytes(32)] * 64, 0, b"")
    world.refuses(LONG, "sealer", "submit", *bad)
    too_long = (origin_id, 9, root(9), [bytes(32)] * 65, 0, b"")
    world.refuses("", "sealer", "submit", *too_long)


def test_smaller_equal_and_forked_checkpoints_are_refused(world: World) -> None:
    world.send("sealer", "submit", *FIRST)
    grow = "size does not grow"
    world.refuses(grow, "sealer", "submit", *FIRST)
    world.refuses(grow, "sealer", "submit", ORIGIN_ID, 5, root(6), [], 0, b"")
    world.refuses(grow, "sealer", "submit", ORIGIN_ID, 4, root(4), [], 0, b"")
    world.refuses(grow, "sealer", "submit", bytes(32), 0, root(1), [], 0, b"")
    world.refuses(SHORT, "sealer", "submit", ORIGIN_ID, 9, root(9), [], 0, b"")
    # a history of its own, with the proof that belongs to it
    fork = [bytes(32), *path(5, 9)[1:]]
    world.refuses(BAD, "sealer", "submit", ORIGIN_ID, 9, root(9), fork, 0, b"")
    # a proof from another checkpoint than the last one
    world.refuses((BAD, SHORT), "sealer", "submit", ORIGIN_ID, 9, root(9), path(4, 9), 0, b"")
    world.refuses((BAD, SHORT), "sealer", "submit", ORIGIN_ID, 9, root(9), path(6, 9), 0, b"")
    other = hashlib.sha256(b"another log").digest()
    world.refuses(LONG, "sealer", "submit", other, 9, root(9), [bytes(32)], 0, b"")
    world.send("sealer", "submit", other, 3, root(3), [], 0, b"")
    world.send("sealer", "submit", ORIGIN_ID, 9, root(9), path(5, 9), 0, b"")
    assert world.call("head", ORIGIN_ID) == (9, root(9))
    assert world.call("head", other) == (3, root(3))


def test_only_sealers_submit_and_only_while_not_paused(world: World) -> None:
    world.refuses("not a sealer", "other", "submit", *FIRST)
    world.refuses("not a sealer", "owner", "submit", *FIRST)
    world.send("owner", "set_paused", True)
    assert world.call("paused")
    world.refuses("paused", "sealer", "submit", *FIRST)
    world.send("owner", "set_paused", False)
    assert not world.call("paused")
    world.send("owner", "set_sealer", address("other"), True)
    world.send("other", "submit", *FIRST)
    world.send("owner", "set_sealer", address("sealer"), False)
    world.refuses("not a sealer", "sealer", "submit", ORIGIN_ID, 6, root(6), path(5, 6), 0, b"")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("offer_ownership", [b"\x01" * 20]),
        ("set_sealer", [b"\x01" * 20, True]),
        ("set_sealer", [b"\x01" * 20, False]),
        ("set_paused", [True]),
        ("set_threshold", [0]),
        ("set_mode", [1]),
        ("set_witness_active", [0, True]),
        ("register_witness", [bytes(128), bytes(256)]),
        ("set_account_active", [0, True]),
        ("register_account", [b"\x01" * 20]),
        ("cancel", [bytes(32)]),
    ],
)
@pytest.mark.parametrize("sender", ["sealer", "other"])
def test_only_the_owner_governs(shared_world: World, sender: str, name: str, values) -> None:
    shared_world.refuses("not the owner", sender, name, *values)


def test_ownership_is_handed_over_in_two_steps(world: World) -> None:
    no = "not the pending owner"
    world.refuses(no, "other", "accept_ownership")
    world.send("owner", "offer_ownership", address("other"))
    world.refuses(no, "sealer", "accept_ownership")
    world.refuses(no, "owner", "accept_ownership")
    assert world.call("owner") == ACCOUNTS["owner"].address.lower()
    # withdrawn, then offered again
    world.send("owner", "offer_ownership", bytes(20))
    world.refuses(no, "other", "accept_ownership")
    world.send("owner", "offer_ownership", address("other"))
    receipt = world.send("other", "accept_ownership")
    assert receipt.find("OwnershipTransferred") is not None
    assert world.call("owner") == ACCOUNTS["other"].address.lower()
    world.refuses("not the owner", "owner", "set_paused", True)
    world.refuses(no, "other", "accept_ownership")
