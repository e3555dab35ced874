"""ECDSA witnesses of AnchorRegistry (for chains without EIP-2537), and the switch between the two modes."""

from __future__ import annotations

import pytest

from tests.support.anchor_registry import (
    BLS,
    ECDSA,
    ORDER,
    ORIGIN_ID,
    SECRETS,
    SIGNERS,
    World,
    aggregate,
    ecdsa,
    new_world,
    possession,
    public_key,
    root,
)
from tests.support.witnessed_registry import (
    BITMAP,
    FEW,
    FEWER,
    OTHERS,
    SIGNED,
    STRANGE,
    SUBMIT,
    other_statements,
    own_statement,
    register_five,
    submit_first,
)

__all__ = ["new_world"]
BAD = "bad witness signature"


def account(number: int) -> bytes:
    return bytes.fromhex(SIGNERS[number].address[2:])


@pytest.fixture(scope="module")
def signed(new_world) -> World:
    """ECDSA from the start; one checkpoint from before, five accounts, threshold three."""
    world = new_world(mode=ECDSA)
    for receipt in register_five(world, lambda number: ("register_account", account(number))):
        assert receipt.find("AccountChanged") is not None
    return world


def test_three_of_five_accounts_carry_a_checkpoint(signed: World) -> None:
    message = own_statement(signed)
    assert signed.call("statement", ORIGIN_ID, 9, root(9)) == message
    signed.call(*SUBMIT, BITMAP, ecdsa(message, SIGNED), sender="sealer")
    signed.call(*SUBMIT, 0b11111, ecdsa(message, range(5)), sender="sealer")


def test_too_few_other_or_doubled_signers_do_not(signed: World) -> None:
    message = own_statement(signed)
    good = ecdsa(message, SIGNED)
    signed.refuses(FEW, "sealer", *SUBMIT, 0b00101, ecdsa(message, [0, 2]))
    signed.refuses(FEW, "sealer", *SUBMIT, 0, b"")
    signed.refuses(STRANGE, "sealer", *SUBMIT, 0b110101, good)
    signed.refuses(BAD, "sealer", *SUBMIT, 0b00111, good)
    signed.refuses(BAD, "sealer", *SUBMIT, BITMAP, ecdsa(message, [0, 0, 0]))
    signed.refuses(BAD, "sealer", *SUBMIT, BITMAP, ecdsa(message, [0, 2, 2]))
    signed.refuses(BAD, "sealer", *SUBMIT, BITMAP, ecdsa(message, [4, 2, 0]))  # order of their numbers
    signed.refuses(FEW, "sealer", *SUBMIT, 0b00001, ecdsa(message, [0, 0, 0]))


def test_signatures_of_other_lengths_are_refused(signed: World) -> None:
    good = ecdsa(own_statement(signed), SIGNED)
    for other in (b"", good[:-1], good + b"\0", good[:130], good + good[:65], bytes(256)):
        signed.refuses("bad length", "sealer", *SUBMIT, BITMAP, other)
    signed.call(*SUBMIT, BITMAP, good, sender="sealer")


def test_of_the_two_signatures_of_a_message_one_counts(signed: World) -> None:
    good = ecdsa(own_statement(signed), SIGNED)
    s, v = int.from_bytes(good[32:64], "big"), good[64]
    assert s <= ORDER // 2
    twin = good[:32] + (ORDER - s).to_bytes(32, "big") + bytes([55 - v]) + good[65:]
    signed.refuses("malleable witness signature", "sealer", *SUBMIT, BITMAP, twin)
    signed.call(*SUBMIT, BITMAP, good, sender="sealer")


@pytest.mark.parametrize("kind", ["zero", "r zero", "s zero", "r the order", "v 0", "v 29", "v flipped"])
def test_impossible_signatures_recover_nobody(signed: World, kind: str) -> None:
    good = ecdsa(own_statement(signed), SIGNED)
    first = {
        "zero": bytes(65),
        "r zero": bytes(32) + good[32:65],
        "s zero": good[:32] + bytes(32) + good[64:65],
        "r the order": ORDER.to_bytes(32, "big") + good[32:65],
        "v 0": good[:64] + bytes([good[64] - 27]),
        "v 29": good[:64] + b"\x1d",
        "v flipped": good[:64] + bytes([55 - good[64]]),
    }[kind]
    signed.refuses(BAD, "sealer", *SUBMIT, BITMAP, first + good[65:])


@pytest.mark.parametrize("what", OTHERS)
def test_a_statement_about_something_else_carries_nothing(signed: World, what: str) -> None:
    message = other_statements(signed)[what]
    signed.refuses(BAD, "sealer", *SUBMIT, BITMAP, ecdsa(message, SIGNED))


def test_accounts_are_registered_once_and_can_be_suspended(signed: World) -> None:
    signed.refuses("registered already", "owner", "register_account", account(0))
    signed.refuses("zero address", "owner", "register_account", bytes(20))
    assert signed.call("account_count") == 5
    assert signed.call("witness_account", 3) == SIGNERS[3].address.lower()
    signature = ecdsa(own_statement(signed), SIGNED)
    signed.send("owner", "set_account_active", 4, False)
    signed.refuses(STRANGE, "sealer", *SUBMIT, BITMAP, signature)
    signed.send("owner", "set_account_active", 3, False)
    signed.refuses(FEWER, "owner", "set_account_active", 2, False)
    signed.refuses("no such witness", "owner", "set_account_active", 5, True)
    for number in (3, 4):
        signed.send("owner", "set_account_active", number, True)
    signed.call(*SUBMIT, BITMAP, signature, sender="sealer")


def test_the_mode_is_switched_and_the_threshold_stays(new_world) -> None:
    world = new_world()
    submit_first(world)
    for secret in SECRETS[:2]:
        world.send("owner", "register_witness", public_key(secret), possession(secret))
    world.send("owner", "set_threshold", 2)
    message = own_statement(world)
    both, each = aggregate(message, [0, 1]), ecdsa(message, [0, 1])
    world.call(*SUBMIT, 0b11, both, sender="sealer")
    world.refuses("bad length", "sealer", *SUBMIT, 0b11, each)
    # not before there are enough witnesses of the other kind
    world.refuses("fewer witnesses than the threshold", "owner", "set_mode", ECDSA)
    world.refuses("no such mode", "owner", "set_mode", 2)
    for number in range(2):
        world.send("owner", "register_account", account(number))
    assert world.send("owner", "set_mode", ECDSA).find("ModeChanged") is not None
    world.refuses("bad length", "sealer", *SUBMIT, 0b11, both)
    world.refuses(FEW, "sealer", *SUBMIT, 0, b"")
    world.send("sealer", *SUBMIT, 0b11, each)
    assert world.call("head", ORIGIN_ID) == (9, root(9))
    # the witnesses of the mode that rests do not hold up their own changes
    world.send("owner", "set_witness_active", 0, False)
    world.refuses("fewer witnesses than the threshold", "owner", "set_mode", BLS)
