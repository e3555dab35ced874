"""Anchored checkpoints: the log's own files, and the chain's record of them with every way a node can lie."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from web3 import Web3

from tests.support.audit_logs import (
    CHAIN_ID,
    FakeNode,
    PublishedLog,
    codes,
    event,
    run_audit,
    sign,
    trust,
)
from verifier.audit.events import HEAD_SELECTOR
from verifier.audit.findings import Outcome
from verifier.audit.node import NodeRefusalError
from verifier.audit.state import format_state, parse_state
from verifier.errors import SourceError

STRANGER = Ed25519PrivateKey.from_private_bytes(b"\x0a" * 32)


def anchored_log(*, can_list: bool = True) -> PublishedLog:
    """Anchored at 10, 256, 300 and 700; 777 leaves."""
    log = PublishedLog(10, can_list=can_list).anchor()
    for count in (246, 44, 400):
        log.grow(count).anchor()
    return log.grow(77)


def test_the_selector_is_the_contracts() -> None:
    assert Web3.keccak(text="head(bytes32)")[:4].hex() == HEAD_SELECTOR[2:]


@pytest.mark.parametrize("can_list", [True, False])
def test_a_sound_log_and_an_honest_node_are_clean(can_list: bool) -> None:
    log = anchored_log(can_list=can_list)
    result = run_audit(log, node=FakeNode(log))
    assert codes(result) == []
    assert (result.report.anchors, result.report.events, result.report.pending) == (4, 4, 0)
    assert result.report.not_asked == ()
    assert result.state is not None and result.state.chain is not None
    assert (result.state.chain.size, result.state.chain.events, result.state.anchored) == (700, 4, 700)


def test_without_a_chain_the_anchored_files_are_compared_all_the_same() -> None:
    assert run_audit(anchored_log()).report.anchors == 4
    assert run_audit(anchored_log(can_list=False)).report.anchors == 1  # `anchored` names the newest only


# -- the log's own files -------------------------------------------------------------------------------------------


def test_a_receipt_with_another_root_is_found() -> None:
    log = anchored_log()
    wrong = dataclasses.replace(log.events[1], root=b"\1" * 32)
    log.publish(wrong)
    assert codes(run_audit(log)) == ["anchor-fork", "receipt-fork"]


@pytest.mark.parametrize(
    ("change", "key", "code"),
    [
        ({"chain_id": 1}, None, "receipt-other-chain"),
        ({"contract": b"\1" * 20}, None, "receipt-other-chain"),
        ({"size": 255}, None, "receipt-refused"),
        ({"origin": "door.mihon.example/992011/log/2"}, None, "receipt-refused"),
        ({}, STRANGER, "receipt-refused"),
    ],
)
def test_a_receipt_of_something_else_is_found(change: dict, key: Ed25519PrivateKey | None, code: str) -> None:
    log = anchored_log()
    kept, newest = log.files["checkpoints/256"], log.files["anchored"]
    options = {} if key is None else {"key": key}
    log.publish(dataclasses.replace(log.events[1], **change), name="256", **options)
    log.files |= {"checkpoints/256": kept, "anchored": newest}
    assert [(f.code, f.where) for f in run_audit(log).report.findings] == [(code, "receipts/256")]


def test_a_trust_list_without_a_chain_takes_no_receipt() -> None:
    result = run_audit(anchored_log(), trust=trust(chain=None))
    assert set(codes(result)) == {"receipt-other-chain"}


@pytest.mark.parametrize("can_list", [True, False])
def test_a_kept_checkpoint_that_is_gone_is_found(can_list: bool) -> None:
    log = anchored_log(can_list=can_list)
    del log.files["checkpoints/700"]
    assert codes(run_audit(log)) == ["anchor-unpublished"]


@pytest.mark.parametrize("note", [b"x", sign(PublishedLog(3).head), sign(PublishedLog(256).head, STRANGER)])
def test_a_kept_checkpoint_of_something_else_is_found(note: bytes) -> None:
    log = anchored_log()
    log.files["checkpoints/256"] = note
    assert codes(run_audit(log)) == ["anchor-refused"]


def test_a_kept_checkpoint_without_receipt_is_only_one_on_its_way() -> None:
    log = anchored_log()
    log.files["checkpoints/777"] = log.files["checkpoint"]
    assert codes(run_audit(log)) == []
    log.files["checkpoints/777"] = sign(dataclasses.replace(log.head, root=b"\1" * 32))
    assert codes(run_audit(log)) == ["anchor-fork"]


def test_the_pointer_must_lead_to_a_receipt() -> None:
    log = anchored_log(can_list=False)
    log.files["anchored"] = log.files["checkpoint"]
    assert codes(run_audit(log)) == ["anchor-unpublished", "receipt-missing"]
    log.files["anchored"] = b"garbage"
    assert codes(run_audit(log)) == ["anchor-refused"]
    del log.files["anchored"]
    assert codes(run_audit(log)) == []


def test_a_receipt_larger_than_the_checkpoint_is_a_rollback() -> None:
    log = anchored_log()
    log.files["checkpoint"] = sign(PublishedLog(699).head)
    found = codes(run_audit(log))
    assert "rollback" in found


# -- the chain -----------------------------------------------------------------------------------------------------


def test_a_foreign_event_is_a_fork_on_the_chain() -> None:
    log, other = anchored_log(), PublishedLog(750, salt=1)
    node = FakeNode(log)
    last = log.events[-1]
    foreign = dataclasses.replace(last, size=750, root=other.head.root, block_number=500)
    node.events.append(event(foreign, (last.size, last.root)))
    node.head = (750, other.head.root)
    found = run_audit(log, node=node)
    assert set(codes(found)) == {"chain-fork", "anchor-unpublished", "receipt-missing"}
    young = run_audit(log, node=node, confirmations=900)
    assert codes(young) == ["chain-fork"] and young.report.pending == 1


def test_an_event_that_the_log_never_published_is_found_once_it_is_due() -> None:
    log = anchored_log().anchor(receipt=False)  # size 777, no files
    node = FakeNode(log, blocks=log.events[-1].block_number + 3)
    result = run_audit(log, node=node)
    assert codes(result) == [] and result.report.pending == 1
    assert result.state is not None and result.state.chain is not None and result.state.chain.size == 700
    node.blocks += 20
    assert codes(run_audit(log, node=node)) == ["anchor-unpublished", "receipt-missing"]
    assert codes(run_audit(log, node=node, state=result.state)) == ["anchor-unpublished", "receipt-missing"]
    log.publish(log.events[-1])
    assert codes(run_audit(log, node=node, state=result.state)) == []


def test_a_missing_anchor_is_found() -> None:
    log = anchored_log()
    node = FakeNode(log)
    del node.events[-1]
    node.head = (300, log.events[2].root)
    assert codes(run_audit(log, node=node)) == ["anchor-missing"]


def test_an_anchor_that_vanished_after_it_was_final_is_found() -> None:
    log = anchored_log()
    state = run_audit(log, node=FakeNode(log)).state
    node = FakeNode(log)
    node.hashes[log.events[-1].block_number] = b"\2" * 32  # another chain from here on
    node.events, node.head = node.events[:2], (256, log.events[1].root)
    assert codes(run_audit(log, node=node, state=state)) == ["anchor-missing", "anchor-missing"]


def test_a_receipt_that_names_another_place_is_contradicted() -> None:
    log = anchored_log()
    node = FakeNode(log)
    log.publish(dataclasses.replace(log.events[0], transaction=b"\3" * 32))
    assert codes(run_audit(log, node=node)) == ["receipt-contradicted"]


def test_a_node_that_is_behind_is_no_accusation() -> None:
    log = anchored_log()
    node = FakeNode(log, blocks=30)
    del node.events[-1]
    node.head = (300, log.events[2].root)
    result = run_audit(log, node=node)
    assert codes(result) == ["node-behind"] and result.report.outcome is Outcome.UNFINISHED


def test_a_copy_that_is_older_than_the_chain_is_no_accusation() -> None:
    log = anchored_log()
    node = FakeNode(log)
    copy = PublishedLog(10).anchor()
    result = run_audit(copy, node=node)
    assert set(codes(result)) == {"behind-chain"} and result.report.outcome is Outcome.UNFINISHED
    assert result.state is not None and result.state.chain is not None and result.state.chain.size == 10


def _without(number: int):
    def lie(node: FakeNode) -> None:
        del node.events[number]

    return lie


def _repeat(node: FakeNode) -> None:
    node.events.append(dict(node.events[-1]))


def _other_previous(node: FakeNode) -> None:
    data = node.events[2]["data"]
    node.events[2]["data"] = data[: 2 + 3 * 64] + "11" * 32 + data[2 + 4 * 64 :]


def _shrink(node: FakeNode) -> None:
    data = node.events[2]["data"]
    node.events[2]["data"] = f"0x{9:064x}" + data[2 + 64 :]


def _other_head(node: FakeNode) -> None:
    node.head = (700, b"\1" * 32)


def _larger_head(node: FakeNode) -> None:
    node.head = (701, b"\1" * 32)


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (_without(0), "chain-gap"), (_without(1), "chain-gap"), (_without(3), "chain-gap"),
        (_repeat, "chain-line"), (_other_previous, "chain-line"), (_shrink, "chain-line"),
        (_other_head, "chain-line"), (_larger_head, "chain-gap"), (lambda node: setattr(node, "code", "0x"), "no-contract"),
    ],
)  # fmt: skip
def test_a_record_that_is_not_one_line_is_found(lie, code: str) -> None:
    log = anchored_log()
    node = FakeNode(log)
    lie(node)
    result = run_audit(log, node=node)
    assert codes(result) == [code] and result.report.outcome is Outcome.TAMPER


def test_a_reorganisation_while_reading_is_read_again() -> None:
    log = anchored_log()
    node = FakeNode(log)
    answers = [node.events[:2], node.events]
    node.answers["eth_getLogs"] = lambda _query: answers.pop(0)
    assert codes(run_audit(log, node=node)) == []


GARBAGE: list[Any] = [
    None,
    True,
    7,
    "",
    "0x",
    "0xzz",
    "zz",
    [],
    {},
    ["x"],
    [None],
    [{}],
    {"a": 1},
    "0x" + "f" * 500,
]


@pytest.mark.parametrize(
    "method", ["eth_chainId", "eth_blockNumber", "eth_getLogs", "eth_call", "eth_getCode"]
)
@pytest.mark.parametrize("answer", GARBAGE, ids=repr)
def test_garbage_is_an_unusable_node_and_no_accusation(method: str, answer: Any) -> None:
    log = anchored_log()
    node = FakeNode(log)
    node.answers[method] = lambda *_params: answer
    result = run_audit(log, node=node)
    allowed = {"chain-bad-answer", "chain-other-chain"}
    if method == "eth_getLogs" and answer == []:
        allowed = {"chain-gap"}
    if method == "eth_getCode" and isinstance(answer, str) and answer.startswith("0x"):
        allowed = {"no-contract"} if answer == "0x" else set()
    assert set(codes(result)) <= allowed and (codes(result) or not allowed)


@pytest.mark.parametrize(
    "change",
    [
        {"address": "0x" + "11" * 20}, {"topics": []}, {"topics": ["0x" + "11" * 32, "0x" + "22" * 32]},
        {"data": "0x"}, {"data": "0x" + "ff" * 160}, {"blockNumber": hex(10**9)}, {"blockNumber": 5},
        {"blockHash": "0x11"}, {"transactionHash": None}, {"logIndex": "x"}, {"removed": True},
    ],
)  # fmt: skip
def test_an_event_that_was_not_asked_for_is_an_unusable_answer(change: dict) -> None:
    log = anchored_log()
    node = FakeNode(log)
    node.events[1] |= change
    node.answers["eth_getLogs"] = lambda _query: node.events
    assert codes(run_audit(log, node=node)) == ["chain-bad-answer"]


def test_another_chain_and_a_silent_node_are_outages() -> None:
    log = anchored_log()
    node = FakeNode(log)
    node.chain_id = CHAIN_ID + 1
    result = run_audit(log, node=node)
    assert codes(result) == ["chain-other-chain"] and result.report.outcome is Outcome.UNFINISHED

    def silent(*_params: Any) -> Any:
        raise SourceError("chain-unreachable", "test")

    for method in ("eth_chainId", "eth_getLogs", "eth_call"):
        node = FakeNode(log)
        node.answers[method] = silent
        result = run_audit(log, node=node)
        assert codes(result) == ["chain-unreachable"] and result.report.outcome is Outcome.UNFINISHED
        assert result.state is not None and result.state.chain is None


def test_windows_shrink_until_the_node_answers() -> None:
    log = anchored_log()
    node = FakeNode(log, blocks=20_000)
    node.max_window = 700
    assert codes(run_audit(log, node=node)) == []
    node.max_window = 0
    assert codes(run_audit(log, node=node)) == ["chain-bad-answer"]


def test_a_node_with_an_absurd_number_of_blocks_is_not_followed() -> None:
    log = anchored_log()
    node = FakeNode(log, blocks=2**60)
    assert codes(run_audit(log, node=node)) == ["chain-bad-answer"]
    assert len(node.asked) == 2


def test_more_events_than_the_limit_are_an_open_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.audit.events.MAX_EVENTS", 3)
    log = anchored_log()
    assert codes(run_audit(log, node=FakeNode(log))) == ["too-many-anchors"]


# -- resuming on the chain -----------------------------------------------------------------------------------------


def test_resuming_asks_the_chain_only_for_what_is_new_and_equals_a_whole_audit() -> None:
    log = anchored_log()
    state = run_audit(log, node=FakeNode(log)).state
    assert state is not None
    state = parse_state(format_state(state))
    log.grow(100).anchor().grow(1)
    node = FakeNode(log)
    log.fetched.clear()
    result = run_audit(log, node=node, state=state)
    assert codes(result) == [] and (result.report.events, result.report.anchors) == (1, 1)
    (query,) = [params[0] for method, params in node.asked if method == "eth_getLogs"]
    assert int(query["fromBlock"], 16) == log.events[3].block_number + 1
    assert not {path for path in log.fetched if path in ("receipts/10", "tile/entries/000")}
    assert result.state == run_audit(log, node=FakeNode(log)).state


def test_a_chain_that_begins_to_be_asked_later_is_compared_from_its_first_event() -> None:
    log = anchored_log()
    state = run_audit(log).state
    assert state is not None and (state.anchored, state.chain) == (700, None)
    log.grow(5)
    result = run_audit(log, node=FakeNode(log), state=state)
    assert codes(result) == [] and result.report.events == 4 and result.report.started_at == 777
    assert codes(run_audit(log, state=result.state)) == []
    node = FakeNode(log)
    forged = dataclasses.replace(log.events[0], root=b"\1" * 32)
    node.events[0] = event(forged, (0, bytes(32)))
    node.events[1] = event(log.events[1], (10, b"\1" * 32))
    assert codes(run_audit(log, node=node, state=state)) == ["chain-fork"]


def test_a_refusal_of_one_block_ends_the_questions() -> None:
    log = anchored_log()
    node = FakeNode(log)

    def refuse(_query: Any) -> Any:
        raise NodeRefusalError("chain-bad-answer", "no")

    node.answers["eth_getLogs"] = refuse
    assert codes(run_audit(log, node=node)) == ["chain-bad-answer"]
    assert len(node.asked) < 40
