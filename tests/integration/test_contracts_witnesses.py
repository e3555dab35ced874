"""BLS witnesses of AnchorRegistry: k of n carry a checkpoint; every near miss is refused with its own words."""

from __future__ import annotations

import pytest
from py_ecc.bls import G2ProofOfPossession as Bls
from py_ecc.bls.g2_primitives import pubkey_to_G1
from py_ecc.optimized_bls12_381 import field_modulus, neg

from tests.support.anchor_registry import (
    ORIGIN_ID,
    SECRETS,
    EmbeddedNode,
    World,
    aggregate,
    g1,
    g2,
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
)

__all__ = ["new_world"]
BAD = "bad aggregate signature"
LENGTH, INFINITY = "bad length", "point at infinity"
FIELD, GROUP = "not a field element", "not a point of the group"


@pytest.fixture(scope="module")
def witnessed(new_world) -> World:
    """One checkpoint from before, five registered witnesses, threshold three."""
    world = new_world()
    receipts = register_five(world, registration)
    world.register_gas = [receipt.gas_used for receipt in receipts]
    return world


def registration(number: int) -> tuple[str, bytes, bytes]:
    return "register_witness", public_key(SECRETS[number]), possession(SECRETS[number])


def test_three_of_five_witnesses_carry_a_checkpoint(witnessed: World) -> None:
    message = own_statement(witnessed)
    assert witnessed.call("statement", ORIGIN_ID, 9, root(9)) == message
    witnessed.call(*SUBMIT, BITMAP, aggregate(message, SIGNED), sender="sealer")
    witnessed.call(*SUBMIT, 0b11111, aggregate(message, range(5)), sender="sealer")


def test_too_few_or_other_signers_do_not(witnessed: World) -> None:
    message = own_statement(witnessed)
    good = aggregate(message, SIGNED)
    witnessed.refuses(FEW, "sealer", *SUBMIT, 0b00101, aggregate(message, [0, 2]))
    witnessed.refuses(FEW, "sealer", *SUBMIT, 0, b"")
    witnessed.refuses(BAD, "sealer", *SUBMIT, 0b00111, good)  # others than those who signed
    witnessed.refuses(BAD, "sealer", *SUBMIT, 0b11111, good)
    witnessed.refuses(STRANGE, "sealer", *SUBMIT, 0b1010100, good)
    witnessed.refuses(STRANGE, "sealer", *SUBMIT, 1 << 255 | BITMAP, good)
    # one witness three times is one witness
    thrice = g2(Bls.Aggregate([Bls.Sign(SECRETS[0], message)] * 3))
    witnessed.refuses(BAD, "sealer", *SUBMIT, BITMAP, thrice)
    witnessed.refuses(FEW, "sealer", *SUBMIT, 0b00001, thrice)


def test_signatures_of_other_lengths_are_refused(witnessed: World) -> None:
    good = aggregate(own_statement(witnessed), SIGNED)
    for other in (b"", good[:255], good + b"\0", good[:65] * 3, good * 4):
        witnessed.refuses(LENGTH, "sealer", *SUBMIT, BITMAP, other)
    witnessed.refuses("", "sealer", *SUBMIT, BITMAP, bytes(1041))  # longer than any: no argument at all
    witnessed.call(*SUBMIT, BITMAP, good, sender="sealer")


@pytest.mark.parametrize("what", OTHERS)
def test_a_statement_about_something_else_carries_nothing(witnessed: World, what: str) -> None:
    message = other_statements(witnessed)[what]
    witnessed.refuses(BAD, "sealer", *SUBMIT, BITMAP, aggregate(message, SIGNED))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("infinity", INFINITY),
        ("non-canonical", FIELD),
        ("the modulus", FIELD),
        ("padding", FIELD),
        ("not on the curve", GROUP),
        ("negated", BAD),
    ],
)
def test_impossible_points_are_no_signature(witnessed: World, kind: str, words: str) -> None:
    good = aggregate(own_statement(witnessed), SIGNED)
    y = [int.from_bytes(good[start : start + 64], "big") for start in (128, 192)]
    point = {
        "infinity": bytes(256),
        "non-canonical": (int.from_bytes(good[:64], "big") + field_modulus).to_bytes(64, "big") + good[64:],
        "the modulus": good[:192] + field_modulus.to_bytes(64, "big"),
        "padding": b"\x01" + good[1:],
        "not on the curve": good[:63] + bytes([good[63] ^ 1]) + good[64:],
        "negated": good[:128] + b"".join((field_modulus - value).to_bytes(64, "big") for value in y),
    }[kind]
    witnessed.refuses(words, "sealer", *SUBMIT, BITMAP, point)
    witnessed.call(*SUBMIT, BITMAP, good, sender="sealer")


def test_a_point_outside_the_subgroup_is_no_signature(witnessed: World) -> None:
    """On the curve and outside G2: a square root exists for one of the first few x."""
    from py_ecc.bls.point_compression import modular_squareroot_in_FQ2
    from py_ecc.optimized_bls12_381 import FQ2, b2, curve_order, is_on_curve, multiply

    for number in range(1, 50):
        x = FQ2([number, 0])
        y = modular_squareroot_in_FQ2(x * x * x + b2)
        if y is not None and multiply((x, y, FQ2.one()), curve_order)[2] != FQ2.zero():
            break
    assert is_on_curve((x, y, FQ2.one()), b2)
    point = b"".join(int(value).to_bytes(64, "big") for value in (*x.coeffs, *y.coeffs))
    witnessed.refuses(GROUP, "sealer", *SUBMIT, BITMAP, point)
    witnessed.refuses(GROUP, "owner", "register_witness", public_key(77), point)


def test_keys_without_their_own_possession_are_refused(witnessed: World) -> None:
    secret = 77
    key, proof = public_key(secret), possession(secret)
    no = "no proof of possession"
    witnessed.call("register_witness", key, proof, sender="owner")
    witnessed.refuses(no, "owner", "register_witness", key, possession(78))
    # the rogue key: another's key subtracted from one's own needs a possession that nobody can make
    rogue = g1(neg(pubkey_to_G1(Bls.SkToPk(secret))))
    witnessed.refuses(no, "owner", "register_witness", rogue, proof)
    # a signature over the same bytes under the other tag is no possession
    witnessed.refuses(no, "owner", "register_witness", key, g2(Bls.Sign(secret, Bls.SkToPk(secret))))
    witnessed.refuses(INFINITY, "owner", "register_witness", key, bytes(256))
    witnessed.refuses(INFINITY, "owner", "register_witness", bytes(128), bytes(256))
    big = (int.from_bytes(key[:64], "big") + field_modulus).to_bytes(64, "big")
    witnessed.refuses(FIELD, "owner", "register_witness", big + key[64:], proof)
    witnessed.refuses(FIELD, "owner", "register_witness", key[:64] + b"\x01" + key[65:], proof)
    witnessed.refuses(GROUP, "owner", "register_witness", key[:127] + bytes([key[127] ^ 1]), proof)
    witnessed.refuses(LENGTH, "owner", "register_witness", key[:127], proof)
    witnessed.refuses(LENGTH, "owner", "register_witness", key, proof[:255])
    again = (public_key(SECRETS[0]), possession(SECRETS[0]))
    witnessed.refuses("registered already", "owner", "register_witness", *again)


def test_the_compressed_key_has_the_right_sign_for_both_halves(witnessed: World) -> None:
    """Possession signs the compressed key, whose sign bit depends on y: keys of both kinds must register."""
    signs = {Bls.SkToPk(secret)[0] & 0x20 for secret in SECRETS}
    assert signs == {0, 0x20}, "the five secrets cover both signs"
    assert witnessed.call("witness_count") == 5
    assert witnessed.call("witness_key", 4) == public_key(SECRETS[4])
    assert witnessed.call("witness_key", 5) == b""


def test_a_suspended_witness_does_not_count(witnessed: World) -> None:
    signature = aggregate(own_statement(witnessed), SIGNED)
    witnessed.send("owner", "set_witness_active", 4, False)
    witnessed.refuses(STRANGE, "sealer", *SUBMIT, BITMAP, signature)
    witnessed.send("owner", "set_witness_active", 3, False)
    witnessed.refuses(FEWER, "owner", "set_witness_active", 2, False)
    for number in (3, 4):
        witnessed.send("owner", "set_witness_active", number, True)
    witnessed.call(*SUBMIT, BITMAP, signature, sender="sealer")
    witnessed.refuses(FEWER, "owner", "set_threshold", 6)
    witnessed.refuses("no such witness", "owner", "set_witness_active", 5, True)


def test_sixteen_witnesses_are_the_most(new_world) -> None:
    world = new_world()
    for secret in range(101, 117):
        world.send("owner", "register_witness", public_key(secret), possession(secret))
    world.refuses("too many witnesses", "owner", "register_witness", public_key(77), possession(77))
    world.call("set_threshold", 16, sender="owner")
    world.refuses("fewer witnesses than the threshold", "owner", "set_threshold", 17)


def test_the_native_engine_and_py_ecc_agree_in_result_and_gas(witnessed: World) -> None:
    """One registration and one submission on py_ecc alone, the reference: 4 s of pure Python pairing."""
    reference = World(EmbeddedNode(fast=False))
    reference.send("sealer", "submit", ORIGIN_ID, 5, root(5), [], 0, b"")
    gas = reference.send("owner", "register_witness", public_key(SECRETS[0]), possession(SECRETS[0])).gas_used
    assert gas == witnessed.register_gas[0]
    reference.call(*SUBMIT, 1, aggregate(own_statement(reference), [0]), sender="sealer")
    reference.close()
