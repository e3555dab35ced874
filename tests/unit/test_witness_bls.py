"""BLS of witnesses: py_ecc and its fast twin answer the same, and refuse the same.

One verification on py_ecc takes 0.3 s of pure Python, so this file takes some seconds.
"""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
from py_ecc.bls import G2ProofOfPossession as Suite

from chain import bls
from chain.bls_engines import CURVE_ORDER, FIELD_MODULUS, ArkworksEngine, PyEccEngine, find_engine
from verifier.errors import FormatError

SECRETS = [1_000_003 + 7 * number for number in range(3)]
STATEMENT = bls.AnchorStatement(
    chain_id=992011,
    contract=b"\x5f" * 20,
    origin_id=b"\x01" * 32,
    size=9,
    root=b"\x02" * 32,
    previous_size=5,
    previous_root=b"\x03" * 32,
)


def engines():
    found = [PyEccEngine()]
    with contextlib.suppress(ImportError):  # the twin is optional
        found.append(ArkworksEngine())
    return found


ENGINES = engines()
both = pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)


@pytest.fixture(scope="module")
def keys() -> list[bytes]:
    return [bls.public_key(secret) for secret in SECRETS]


@pytest.fixture(scope="module")
def signatures() -> list[bytes]:
    return [bls.sign_statement(secret, STATEMENT) for secret in SECRETS]


@both
def test_every_engine_makes_what_the_suite_of_py_ecc_makes(engine, keys, signatures) -> None:
    secret = SECRETS[0]
    assert bls.public_key(secret, engine) == Suite.SkToPk(secret) == keys[0]
    assert bls.sign_statement(secret, STATEMENT, engine) == signatures[0]
    assert signatures[0] == Suite.Sign(secret, STATEMENT.message())
    assert bls.prove_possession(secret, engine) == Suite.PopProve(secret)
    assert bls.aggregate(signatures, engine) == Suite.Aggregate(signatures)


@both
def test_a_statement_verifies_under_its_key_and_no_other(engine, keys, signatures) -> None:
    bls.verify_statement(keys[0], STATEMENT, signatures[0], engine)
    for key, statement in (
        (keys[1], STATEMENT),
        (keys[0], dataclasses.replace(STATEMENT, size=10)),
    ):
        with pytest.raises(FormatError, match="bad-statement-signature"):
            bls.verify_statement(key, statement, signatures[0], engine)


@both
def test_a_possession_is_no_signature_and_a_signature_no_possession(engine, keys) -> None:
    possession = bls.prove_possession(SECRETS[0])
    bls.verify_possession(keys[0], possession, engine)
    with pytest.raises(FormatError, match="bad-possession"):
        bls.verify_possession(keys[0], Suite.Sign(SECRETS[0], keys[0]), engine)
    if engine.name == "py_ecc":
        return
    with pytest.raises(FormatError, match="bad-possession"):
        bls.verify_possession(keys[1], possession, engine)


@both
def test_an_aggregate_stands_for_exactly_its_signers(engine, keys, signatures) -> None:
    both_signed = bls.aggregate(signatures[:2], engine)
    bls.verify_aggregate(keys[:2], STATEMENT, both_signed, engine)
    with pytest.raises(FormatError, match="bad-statement-signature"):
        bls.verify_aggregate(keys, STATEMENT, both_signed, engine)


@both
def test_points_that_cancel_out_are_refused(engine, keys, signatures) -> None:
    for total, point in ((engine.sum_g1, keys[0]), (engine.sum_g2, signatures[0])):
        opposite = bytes([point[0] ^ 0x20]) + point[1:]
        with pytest.raises(FormatError, match="point-at-infinity"):
            total([point, opposite])


@both
def test_encodings_go_there_and_back(engine, keys, signatures) -> None:
    for point, length in ((keys[0], 128), (keys[1], 128), (signatures[0], 256)):
        encoded = bls.encode_point(point, engine)
        assert len(encoded) == length
        assert bls.decode_point(encoded, engine) == point
        assert encoded == bls.encode_point(point, find_engine())


def _outside_the_subgroup() -> bytes:
    """A compressed point of the curve of G1 that is not in the subgroup of prime order."""
    from py_ecc.bls.g2_primitives import G1_to_pubkey, subgroup_check
    from py_ecc.optimized_bls12_381 import FQ, b

    for x in range(1, 100):
        square = FQ(x) ** 3 + b
        y = square ** ((FIELD_MODULUS + 1) // 4)
        if y * y == square and not subgroup_check((FQ(x), y, FQ(1))):
            return bytes(G1_to_pubkey((FQ(x), y, FQ(1))))
    raise AssertionError("no such point")


@both
def test_impossible_points_are_refused(engine, keys, signatures) -> None:
    key, signature = keys[0], signatures[0]
    modulus = (FIELD_MODULUS).to_bytes(48, "big")
    bad = {
        "infinity of G1": bytes([0xC0]) + bytes(47),
        "infinity of G2": bytes([0xC0]) + bytes(95),
        "not compressed": bytes([key[0] & 0x7F]) + key[1:],
        "not below the modulus": bytes([modulus[0] | 0x80]) + modulus[1:],
        "outside the subgroup": _outside_the_subgroup(),
        "short": key[:47],
        "empty": b"",
        "c0 not below the modulus": signature[:48] + modulus,
    }
    for name, point in bad.items():
        with pytest.raises(FormatError):
            engine.expand(point)
            raise AssertionError(name)
    engine.expand(key)
    encoded = bls.encode_point(key, engine)
    for name, data in {
        "padding": b"\x01" + encoded[1:],
        "not on the curve": encoded[:-1] + bytes([encoded[-1] ^ 1]),
        "zero": bytes(128),
        "zero of G2": bytes(256),
        "length": encoded + bytes(64),
        "half": encoded[:64],
        "not canonical": bytes(16) + modulus + encoded[64:],
    }.items():
        with pytest.raises(FormatError):
            bls.decode_point(data, engine)
            raise AssertionError(name)


def test_the_statement_binds_every_field_and_refuses_impossible_ones() -> None:
    changed = {
        "chain_id": 1,
        "contract": b"\x60" * 20,
        "origin_id": bytes(32),
        "size": 10,
        "root": bytes(32),
        "previous_size": 6,
        "previous_root": b"\x04" * 32,
    }
    assert set(changed) == {field.name for field in dataclasses.fields(STATEMENT)}
    messages = {dataclasses.replace(STATEMENT, **{name: value}).message() for name, value in changed.items()}
    assert len(messages | {STATEMENT.message()}) == 1 + len(changed)
    for name, value in (
        ("size", 5),
        ("size", 1 << 63),
        ("previous_size", -1),
        ("previous_size", 0),  # with a root that is not zero
        ("chain_id", 0),
        ("chain_id", 1 << 64),
        ("contract", b"\x5f" * 19),
        ("root", bytes(31)),
    ):
        with pytest.raises(FormatError, match="bad-statement"):
            dataclasses.replace(STATEMENT, **{name: value}).message()
    dataclasses.replace(STATEMENT, previous_size=0, previous_root=bytes(32)).message()


def test_secrets_are_within_the_order() -> None:
    assert bls.generate_secret(lambda n: 0) == 1
    assert bls.generate_secret(lambda n: n - 1) == CURVE_ORDER - 1
    for secret in (0, CURVE_ORDER, -1):
        with pytest.raises(FormatError, match="bad-secret"):
            bls.public_key(secret)


def test_nothing_and_too_much_are_not_summed(signatures) -> None:
    for points in ([], [signatures[0]] * 17, [signatures[0][:95]]):
        with pytest.raises(FormatError):
            bls.aggregate(points)
