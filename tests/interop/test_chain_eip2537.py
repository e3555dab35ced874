"""The EIP-2537 vectors on the embedded chain: the native engine and py_ecc, the same answers, gas and
refusals.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chain.devnode.blockchain import Blockchain, Call, RpcError
from chain.devnode.precompiles import find_library

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "eip2537"
pytestmark = pytest.mark.skipif(
    not VECTORS.is_dir(), reason="foreign vectors absent: ../shared/vectors/eip2537 beside the project"
)
ADDRESSES = {
    "pairing_check": (0x0F, "pairing_check_bls"),
    "map_fp2_to_G2": (0x11, "map_fp2_to_G2_bls"),
    "add_G1": (0x0B, "add_G1_bls"),
    "add_G2": (0x0D, "add_G2_bls"),
}
# py_ecc takes up to a second a pairing: the reference runs the short vectors only
REFERENCE_LIMIT = 384


def read(name: str) -> list[dict]:
    path = VECTORS / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else []


@pytest.fixture(scope="module", params=["native", "py_ecc"])
def engine(request):
    if request.param == "native" and find_library() is None:
        pytest.skip("py_arkworks_bls12381 is not installed")
    blockchain = Blockchain(":memory:", lambda: 1_800_000_000, fast=request.param == "native")
    yield request.param, blockchain
    blockchain.close()


def run(blockchain: Blockchain, address: int, data: bytes) -> bytes:
    call = Call(b"\x01" * 20, address.to_bytes(20, "big"), 0, data, 30_000_000)
    return blockchain.call(blockchain.head(), call)


@pytest.mark.parametrize("name", ADDRESSES)
def test_vectors_that_must_pass(engine, name: str) -> None:
    kind, blockchain = engine
    address, file = ADDRESSES[name]
    vectors = [bytes.fromhex(item["Input"]) for item in read(file)]
    expected = [bytes.fromhex(item["Expected"]) for item in read(file)]
    assert vectors
    for data, answer in zip(vectors, expected, strict=True):
        if kind == "native" or name != "pairing_check" or len(data) <= REFERENCE_LIMIT:
            assert run(blockchain, address, data) == answer


@pytest.mark.parametrize("name", ADDRESSES)
def test_vectors_that_must_fail(engine, name: str) -> None:
    _, blockchain = engine
    address, file = ADDRESSES[name]
    vectors = read(f"fail-{file}")
    assert vectors
    for item in vectors:
        with pytest.raises(RpcError):
            run(blockchain, address, bytes.fromhex(item["Input"]))
