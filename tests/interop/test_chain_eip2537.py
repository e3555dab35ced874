"""The EIP-2537 vectors on three engines: the embedded chain with the native library and with py_ecc, and anvil. The
same answers and refusals.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from chain.devnode.precompiles import find_library
from tests.support.anchor_registry import EmbeddedNode, Node, NodeError, hexed
from tests.support.anvil_node import AnvilNode, find_anvil

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "eip2537"
needs_vectors = pytest.mark.skipif(
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


@pytest.fixture(scope="module", params=["native", "py_ecc", "anvil"])
def engine(request, tmp_path_factory) -> Iterator[tuple[str, Node]]:
    if request.param == "native" and find_library() is None:
        pytest.skip("py_arkworks_bls12381 is not installed")
    if request.param == "anvil":
        node: Node = AnvilNode(find_anvil(), tmp_path_factory.mktemp("anvil"))
    else:
        node = EmbeddedNode(fast=request.param == "native")
    yield request.param, node
    node.close()


def run(node: Node, address: int, data: bytes) -> bytes:
    call = {"to": hexed(address.to_bytes(20, "big")), "data": hexed(data), "gas": hex(29_000_000)}
    return bytes.fromhex(node.request("eth_call", call, "latest")[2:])


@needs_vectors
@pytest.mark.parametrize("name", ADDRESSES)
def test_vectors_that_must_pass(engine, name: str) -> None:
    kind, node = engine
    address, file = ADDRESSES[name]
    vectors = [bytes.fromhex(item["Input"]) for item in read(file)]
    expected = [bytes.fromhex(item["Expected"]) for item in read(file)]
    assert vectors
    for data, answer in zip(vectors, expected, strict=True):
        if kind == "native" or name != "pairing_check" or len(data) <= REFERENCE_LIMIT:
            assert run(node, address, data) == answer


@needs_vectors
@pytest.mark.parametrize("name", ADDRESSES)
def test_vectors_that_must_fail(engine, name: str) -> None:
    _, node = engine
    address, file = ADDRESSES[name]
    vectors = read(f"fail-{file}")
    assert vectors
    for item in vectors:
        with pytest.raises(NodeError):
            run(node, address, bytes.fromhex(item["Input"]))


def test_the_question_that_finds_out_whether_a_chain_has_eip_2537(engine) -> None:
    """What docs/how-to/run-on-besu.md tells to ask: one pair of points at infinity, whose pairing is 1."""
    _, node = engine
    assert run(node, 0x0F, bytes(384)) == (1).to_bytes(32, "big")
    with pytest.raises(NodeError):
        run(node, 0x0F, bytes(383))
