"""`tests/vectors/bad/history.json`: bad input of log, witnesses, contract and chain. Each is refused with its own code.

Cases of the doors below are built and run here, beside the good input they were made from. Those of contract and anchorer
need a chain: the list names their tests, and this file checks that the named test speaks of the named refusal.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chain import bls
from chain.bls_engines import FIELD_MODULUS
from chain.witness_keys import generate_keys, load_keys, store_keys
from chain.witness_rules import Witness, WitnessRefusal
from chain.witness_store import WitnessStore, create_store
from tests.support.audit_logs import LOG_KEY, VKEY, FakeNode, PublishedLog, codes, run_audit, sign
from tests.unit.test_witness_bls import SECRETS, STATEMENT
from tests.unit.test_witness_rules import FORK, KEY, LOG, NOW, OTHER, TARGET
from verifier.errors import FormatError
from verifier.formats.checkpoint import format_checkpoint_text
from verifier.formats.signed_note import SignedNote, build_signature_line, format_note

ROOT = Path(__file__).resolve().parents[2]
CASES = json.loads((ROOT / "tests/vectors/bad/history.json").read_text())["cases"]
OTHER_ORIGIN = "door.other.example/1/log/1"
BUILT: dict[str, Callable[..., Any]] = {}


def case(build: Callable[..., Any]) -> Callable[..., Any]:
    """The builder of the case of the same name."""
    BUILT[build.__name__.replace("_", "-")] = build
    return build


# -- auditor: answers the codes of an audit ------------------------------------------------------------------


def sound() -> PublishedLog:
    return PublishedLog(600).anchor()


@case
def tile_with_a_changed_hash() -> list[str]:
    return codes(run_audit(sound().flip("tile/0/001", 40)))


@case
def entry_changed_below_its_tile() -> list[str]:
    return codes(run_audit(sound().flip("tile/entries/001", 40)))


@case
def tiles_of_another_history() -> list[str]:
    log = PublishedLog(5)
    return codes(run_audit(_with_checkpoint(PublishedLog(5, salt=1), log.files["checkpoint"])))


@case
def checkpoint_of_another_origin() -> list[str]:
    log = PublishedLog(5)
    text = format_checkpoint_text(dataclasses.replace(log.head, origin=OTHER_ORIGIN))
    line = build_signature_line(VKEY, LOG_KEY.sign(text.encode()))
    return codes(run_audit(_with_checkpoint(log, format_note(SignedNote(text, (line,))))))


@case
def checkpoint_by_another_key() -> list[str]:
    log = PublishedLog(5)
    return codes(run_audit(_with_checkpoint(log, sign(log.head, OTHER))))


@case
def smaller_size_with_valid_signature() -> list[str]:
    known = run_audit(PublishedLog(9)).state
    return codes(run_audit(PublishedLog(5), state=known))


@case
def same_size_with_another_root() -> list[str]:
    return codes(run_audit(PublishedLog(9), seen=[PublishedLog(9, salt=1).files["checkpoint"]]))


@case
def chain_with_another_root() -> list[str]:
    log = sound()
    node = FakeNode(log)
    node.events[0]["data"] = node.events[0]["data"].replace(log.head.root.hex(), "ab" * 32)
    node.head = (node.head[0], bytes.fromhex("ab" * 32))
    return codes(run_audit(log, node=node))


@case
def node_of_another_chain() -> list[str]:
    log = sound()
    node = FakeNode(log)
    node.chain_id += 1
    return codes(run_audit(log, node=node))


@case
def node_that_answers_garbage() -> list[str]:
    log = sound()
    node = FakeNode(log)
    node.answers["eth_getLogs"] = lambda *_: "garbage"
    return codes(run_audit(log, node=node))


def _with_checkpoint(log: PublishedLog, note: bytes) -> PublishedLog:
    log.files["checkpoint"] = note
    return log


# -- witness: a body of add-checkpoint, after size 5 was cosigned ----------------------------------------------


@case
def checkpoint_of_an_unknown_origin() -> bytes:
    return LOG.add(5, 9, note=LOG.note(9, origin=OTHER_ORIGIN))


@case
def checkpoint_without_the_logs_signature() -> bytes:
    return LOG.add(5, 9, note=LOG.note(9, private=OTHER))


@case
def old_size_above_the_new() -> bytes:
    return LOG.add(10, 9, proof=())


@case
def smaller_size_recorded_larger() -> bytes:
    return LOG.add(3, 4)


@case
def same_size_other_root() -> bytes:
    return FORK.add(5, 5)


@case
def consistency_proof_too_short() -> bytes:
    return LOG.add(5, 9, proof=LOG.path(5, 9)[:-1])


@case
def consistency_proof_too_long() -> bytes:
    return LOG.add(5, 9, proof=(*LOG.path(5, 9), bytes(32)))


@case
def larger_size_of_another_history() -> bytes:
    return FORK.add(5, 9)


# -- statement: a body of anchor-statement, after sizes 5 and 9 were cosigned ------------------------------------


@case
def statement_never_cosigned() -> bytes:
    return LOG.vouch(5, 10)


@case
def statement_with_another_root() -> bytes:
    return FORK.vouch(5, 9)


@case
def statement_from_another_past() -> bytes:
    return LOG.vouch(5, 9, previous_root=FORK.root(5))


@case
def statement_for_another_contract() -> bytes:
    return LOG.vouch(5, 9, contract=b"\x60" * 20)


@case
def statement_that_does_not_grow() -> bytes:
    return LOG.vouch(9, 9)


# -- BLS: raises -------------------------------------------------------------------------------------------------


@case
def point_at_infinity() -> None:
    bls.decode_point(bytes(256))


@case
def non_canonical_field_element() -> None:
    good = bls.encode_point(bls.public_key(SECRETS[0]))
    bls.decode_point((int.from_bytes(good[:64], "big") + FIELD_MODULUS).to_bytes(64, "big") + good[64:])


@case
def point_outside_the_group() -> None:
    good = bls.encode_point(bls.public_key(SECRETS[0]))
    bls.decode_point(good[:127] + bytes([good[127] ^ 1]))


@case
def rogue_key() -> None:
    key = bls.public_key(SECRETS[0])
    bls.verify_possession(bytes([key[0] ^ 0x20]) + key[1:], bls.prove_possession(SECRETS[0]))


@case
def signature_of_too_few() -> None:
    bls.verify_aggregate([bls.public_key(secret) for secret in SECRETS], STATEMENT, _sum(SECRETS[:2]))


def _sum(secrets: list[int]) -> bytes:
    return bls.aggregate([bls.sign_statement(secret, STATEMENT) for secret in secrets])


# -- running them --------------------------------------------------------------------------------------------------


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    store_keys(tmp_path, generate_keys("w1.witness.example", is_mock=True))
    create_store(tmp_path)
    store = WitnessStore(tmp_path)
    yield Witness(load_keys(tmp_path, is_mock=True), store, [KEY], lambda: NOW, [TARGET])
    store.close()


def of(*doors: str) -> Any:
    found = [item for item in CASES if item["door"] in doors]
    assert found
    return pytest.mark.parametrize("item", found, ids=lambda item: item["name"])


@of("auditor")
def test_the_auditor_names_it(item: dict) -> None:
    assert item["code"] in BUILT[item["name"]]()
    log = sound()
    assert codes(run_audit(log, node=FakeNode(log))) == []  # the control


@of("witness")
def test_a_witness_refuses_it(witness: Witness, item: dict) -> None:
    witness.add_checkpoint(LOG.add(0, 5))
    with pytest.raises(WitnessRefusal) as caught:
        witness.add_checkpoint(BUILT[item["name"]]())
    assert caught.value.code == item["code"]
    witness.add_checkpoint(LOG.add(5, 9))  # the control


@of("statement")
def test_a_witness_does_not_vouch_for_it(witness: Witness, item: dict) -> None:
    for old, new in ((0, 5), (5, 9)):
        witness.add_checkpoint(LOG.add(old, new))
    with pytest.raises(WitnessRefusal) as caught:
        witness.sign_statement(BUILT[item["name"]]())
    assert caught.value.code == item["code"]
    witness.sign_statement(LOG.vouch(5, 9))  # the control


@of("bls")
def test_bls_refuses_it(item: dict) -> None:
    with pytest.raises(FormatError) as caught:
        BUILT[item["name"]]()
    assert caught.value.code == item["code"]
    key = bls.public_key(SECRETS[0])  # the controls
    assert bls.decode_point(bls.encode_point(key)) == key
    bls.verify_possession(key, bls.prove_possession(SECRETS[0]))
    bls.verify_aggregate([bls.public_key(secret) for secret in SECRETS], STATEMENT, _sum(SECRETS))


@of("contract", "anchorer")
def test_the_named_test_asks_for_the_named_refusal(item: dict) -> None:
    file, _, name = item["test"].partition("::")
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    function = getattr(module, name)
    # the marks of a test hold its parameters
    marks = [part for mark in getattr(function, "pytestmark", []) for part in _flat(mark.args)]
    nodes = list(ast.walk(ast.parse(inspect.getsource(function))))
    named = [vars(module).get(node.id) for node in nodes if isinstance(node, ast.Name)]
    said = [node.value for node in nodes if isinstance(node, ast.Constant)]
    assert item["code"] in [*marks, *named, *said]


def _flat(value: Any) -> list[Any]:
    return [part for item in value for part in _flat(item)] if isinstance(value, list | tuple) else [value]


def test_each_case_is_built_once_and_each_refusal_of_a_door_is_its_own() -> None:
    run_here = {item["name"] for item in CASES if "test" not in item}
    assert run_here == BUILT.keys()
    assert len({item["name"] for item in CASES}) == len(CASES)
    for door in {item["door"] for item in CASES}:
        told = [item["code"] for item in CASES if item["door"] == door]
        assert len(told) == len(set(told)), door
