"""Changes of AnchorRegistry wait: announced, carried out after the delay, cancellable, and never quietly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from eth_abi import decode, encode
from eth_utils import keccak

from tests.support.anchor_registry import (
    ACCOUNTS,
    DAY,
    ECDSA,
    ORIGIN_ID,
    SECRETS,
    SIGNERS,
    World,
    address,
    new_world,
    path,
    possession,
    public_key,
    root,
)

__all__ = ["new_world"]
DELAY = 7 * DAY
GRACE = 14 * DAY
EARLY = "delay not over"
ACCOUNT = bytes.fromhex(SIGNERS[0].address[2:])
# what waits: call, kind and data as they are announced, and the event of the change
CHANGES = {
    "sealer": (
        ("set_sealer", address("other"), True),
        encode(["address"], [address("other")]),
        "SealerChanged",
    ),
    "threshold": (("set_threshold", 1), encode(["uint256"], [1]), "ThresholdChanged"),
    "mode": (("set_mode", ECDSA), encode(["uint256"], [ECDSA]), "ModeChanged"),
    "witness key": (
        ("register_witness", public_key(SECRETS[1]), possession(SECRETS[1])),
        public_key(SECRETS[1]),
        "WitnessChanged",
    ),
    "witness active": (
        ("set_witness_active", 0, False),
        encode(["uint256", "bool"], [0, False]),
        "WitnessChanged",
    ),
    "account": (("register_account", ACCOUNT), encode(["address"], [ACCOUNT]), "AccountChanged"),
    "account active": (
        ("set_account_active", 0, False),
        encode(["uint256", "bool"], [0, False]),
        "AccountChanged",
    ),
}


def change_id(kind: str, data: bytes) -> bytes:
    return bytes(keccak(encode(["string", "bytes"], [kind, data])))


def begun(new_world) -> World:
    """A registry with a delay of a week, two witnesses of each kind from the set-up, and its first checkpoint: with two,
    one can be suspended whatever the threshold of a test that ran before."""
    registry = new_world(delay=DELAY)
    assert not registry.call("is_set_up")
    for secret in (SECRETS[0], SECRETS[2]):
        registry.send("owner", "register_witness", public_key(secret), possession(secret))
    for signer in SIGNERS[3:]:
        registry.send("owner", "register_account", bytes.fromhex(signer.address[2:]))
    registry.send("sealer", "submit", ORIGIN_ID, 5, root(5), [], 0, b"")
    assert registry.call("is_set_up")
    return registry


@pytest.fixture
def registry(new_world) -> Iterator[World]:
    registry = begun(new_world)
    yield registry
    registry.close()


@pytest.fixture(scope="module")
def patient(new_world) -> World:
    """One for tests whose changes do not meet each other."""
    return begun(new_world)


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_is_announced_and_carried_out_after_the_delay(patient: World, kind: str) -> None:
    call, data, event = CHANGES[kind]
    announced = patient.send("owner", *call)
    assert announced.find(event) is None, "nothing has changed yet"
    (log,) = announced.logs
    assert log.topics == (keccak(b"ChangeAnnounced(bytes32,string,bytes,uint256)"), change_id(kind, data))
    due_at = announced.time + DELAY
    assert decode(["string", "bytes", "uint256"], log.data) == (kind, data, due_at)
    assert patient.call("due_at", change_id(kind, data)) == due_at
    patient.refuses(EARLY, "owner", *call)
    patient.advance(due_at - patient.now - 60)
    patient.refuses(EARLY, "owner", *call)
    patient.advance(57)
    executed = patient.send("owner", *call)
    assert executed.time == due_at, "the first second at which it may"
    assert executed.find("ChangeExecuted").topics[1] == change_id(kind, data)
    assert executed.find(event) is not None
    assert patient.call("due_at", change_id(kind, data)) == 0


def test_one_second_early_is_early(registry: World) -> None:
    announced = registry.send("owner", "set_threshold", 1)
    registry.now = announced.time + DELAY - 2
    receipt = registry._send("owner", registry._data("set_threshold", [1]))
    assert (receipt.time, receipt.is_success) == (announced.time + DELAY - 1, False)
    assert registry.call("threshold") == 0
    registry.send("owner", "set_threshold", 1)
    assert registry.call("threshold") == 1


def test_a_cancelled_change_is_not_carried_out(registry: World) -> None:
    kind, (call, data, _) = "threshold", CHANGES["threshold"]
    registry.refuses("not announced", "owner", "cancel", change_id(kind, data))
    registry.send("owner", *call)
    receipt = registry.send("owner", "cancel", change_id(kind, data))
    assert receipt.find("ChangeCancelled").topics[1] == change_id(kind, data)
    registry.refuses("not announced", "owner", "cancel", change_id(kind, data))
    registry.advance(DELAY + 1)
    # the same call is a new announcement now, and waits again
    again = registry.send("owner", *call)
    assert again.find("ChangeAnnounced") is not None
    assert registry.call("threshold") == 0
    registry.refuses(EARLY, "owner", *call)


def test_another_value_than_announced_waits_by_itself(registry: World) -> None:
    registry.send("owner", "set_sealer", address("other"), True)
    registry.advance(DELAY)
    other = registry.send("owner", "set_sealer", b"\x07" * 20, True)
    assert other.find("ChangeAnnounced") is not None
    assert not registry.call("is_sealer", b"\x07" * 20)
    registry.send("owner", "set_sealer", address("other"), True)
    assert registry.call("is_sealer", address("other"))


def test_an_announcement_does_not_lie_in_wait_for_ever(registry: World) -> None:
    registry.send("owner", "set_threshold", 1)
    registry.advance(DELAY + GRACE + 10)
    receipt = registry.send("owner", "set_threshold", 1)
    assert receipt.find("ChangeAnnounced") is not None
    assert registry.call("threshold") == 0
    registry.send("owner", "offer_ownership", address("other"))
    registry.advance(DELAY + GRACE + 10)
    registry.refuses("announced too long ago", "other", "accept_ownership")


def test_conditions_hold_when_a_change_is_carried_out_too(registry: World) -> None:
    """Threshold two is announced while there are two witnesses, and is impossible when one has been suspended."""
    registry.send("owner", "set_threshold", 2)
    registry.send("owner", "set_witness_active", 0, False)
    registry.advance(DELAY)
    registry.send("owner", "set_witness_active", 0, False)
    registry.refuses("fewer witnesses than the threshold", "owner", "set_threshold", 2)


def test_what_takes_power_away_acts_at_once(registry: World) -> None:
    registry.send("owner", "set_paused", True)
    registry.refuses("paused", "sealer", "submit", ORIGIN_ID, 9, root(9), path(5, 9), 0, b"")
    registry.send("owner", "set_paused", False)
    registry.send("owner", "set_sealer", address("sealer"), False)
    registry.refuses("not a sealer", "sealer", "submit", ORIGIN_ID, 9, root(9), path(5, 9), 0, b"")


def test_ownership_waits_even_during_set_up(new_world) -> None:
    registry = new_world(delay=DELAY)
    offered = registry.send("owner", "offer_ownership", address("other"))
    assert offered.find("ChangeAnnounced") is not None
    registry.refuses(EARLY, "other", "accept_ownership")
    registry.advance(DELAY)
    registry.send("other", "accept_ownership")
    assert registry.call("owner") == ACCOUNTS["other"].address.lower()


@pytest.mark.parametrize("how", ["cancel", "zero", "another"])
def test_an_offer_is_withdrawn(registry: World, how: str) -> None:
    registry.send("owner", "offer_ownership", address("other"))
    waiting = change_id("owner", encode(["address"], [address("other")]))
    if how == "cancel":
        registry.send("owner", "cancel", waiting)
    else:
        registry.send("owner", "offer_ownership", bytes(20) if how == "zero" else address("sealer"))
    registry.advance(DELAY)
    registry.refuses("not the pending owner", "other", "accept_ownership")
    assert registry.call("due_at", waiting) == 0
    if how == "another":
        registry.send("sealer", "accept_ownership")
        assert registry.call("owner") == ACCOUNTS["sealer"].address.lower()


def test_the_set_up_ends_with_the_first_checkpoint_of_any_log(new_world) -> None:
    registry = new_world(delay=DELAY)
    assert registry.send("owner", "set_sealer", address("other"), True).find("SealerChanged") is not None
    registry.send("other", "submit", hashlib.sha256(b"some log").digest(), 1, root(1), [], 0, b"")
    receipt = registry.send("owner", "set_sealer", b"\x05" * 20, True)
    assert receipt.find("SealerChanged") is None
    assert receipt.find("ChangeAnnounced") is not None


def test_only_the_demo_chain_may_do_without_a_delay(new_world) -> None:
    assert new_world(delay=0).call("delay") == 0
    assert new_world(delay=1).call("delay") == 1
    assert new_world(delay=30 * DAY).call("delay") == 30 * DAY
    assert new_world(delay=DAY, chain_id=20250).call("delay") == DAY
    for options in ({"delay": 0}, {"delay": DAY - 1}, {"delay": 30 * DAY + 1}, {"delay": DAY, "mode": 2}):
        with pytest.raises(ValueError, match="not deployed"):
            new_world(chain_id=20250, **options)
