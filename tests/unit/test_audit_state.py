"""Two audits and more: resuming equals reading everything, forks and rollbacks are found, outages lose nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.audit_logs import (
    LOG_KEY,
    NOW,
    ORIGIN,
    POLICY,
    PublishedLog,
    codes,
    run_audit,
    sign,
    trust,
)
from verifier.audit.findings import Outcome
from verifier.audit.state import AuditState, format_state, load_state, parse_state, save_state
from verifier.errors import FormatError, SourceError, UsageError
from verifier.formats.checkpoint import Checkpoint
from verifier.formats.encoding import canonical_json, parse_canonical_json
from verifier.formats.merkle import EMPTY_ROOT

STEPS = [1, 1, 3, 250, 1, 1, 255, 256, 300, 5]


def state_of(log: PublishedLog) -> AuditState:
    state = run_audit(log).state
    assert state is not None
    return parse_state(format_state(state))


# -- resuming ------------------------------------------------------------------------------------------------------


def test_resuming_equals_a_whole_audit_at_every_size() -> None:
    log, state = PublishedLog(0), None
    for step in STEPS:
        log.grow(step)
        resumed, whole = run_audit(log, state=state), run_audit(log)
        assert codes(resumed) == codes(whole) == []
        assert resumed.state == whole.state and resumed.report.root == whole.report.root
        state = resumed.state
    assert resumed.report.started_at == log.tree.size - STEPS[-1]


def test_resuming_reads_only_what_is_new() -> None:
    log = PublishedLog(20_000)
    state = state_of(log)
    log.grow(300)
    log.fetched.clear()
    result = run_audit(log, state=state)
    assert codes(result) == [] and result.report.started_at == 20_000
    assert len([path for path in log.fetched if path.startswith("tile/")]) < 15


def test_the_same_log_again_is_clean() -> None:
    for size in (1, 256, 300):
        log = PublishedLog(size)
        result = run_audit(log, state=state_of(log))
        assert codes(result) == [] and result.report.started_at == size


def test_an_interrupted_walk_goes_on_where_it_stopped() -> None:
    log = PublishedLog(2000)
    log.fails = lambda path: SourceError("http-503", "test") if path == "tile/0/005" else None
    broken = run_audit(log)
    assert codes(broken) == ["log-unreachable"] and broken.state is not None
    assert (broken.state.walked, broken.state.checkpoint) == (5 * 256, b"")
    log.fails = lambda _path: None
    log.grow(100)
    log.fetched.clear()
    result = run_audit(log, state=parse_state(format_state(broken.state)))
    assert codes(result) == [] and result.report.started_at == 5 * 256
    assert "tile/entries/004" not in log.fetched
    assert result.state == run_audit(log).state


def test_an_interruption_between_two_levels_leaves_a_usable_state() -> None:
    log = PublishedLog(256 * 256 + 300)
    log.fails = lambda path: SourceError("unreachable", "test") if path == "tile/1/000" else None
    broken = run_audit(log).state
    assert broken is not None and broken.walked == 255 * 256
    log.fails = lambda _path: None
    assert codes(run_audit(log, state=parse_state(format_state(broken)))) == []


def test_what_was_walked_before_an_outage_accuses_nobody() -> None:
    log = PublishedLog(2000)
    healthy = dict(log.files)
    log.files |= {
        path: data for path, data in PublishedLog(2000, salt=1).files.items() if path.startswith("tile/")
    }
    log.fails = lambda path: SourceError("unreachable", "test") if path == "tile/0/005" else None
    broken = run_audit(log).state
    assert broken is not None
    log.files, log.fails = healthy, lambda _path: None
    assert codes(run_audit(log, state=broken)) == []
    # with the edge made to agree with the false walk, the signed root still decides, after a second, whole walk
    forged = dataclasses.replace(broken, walked=256, frontier=(b"\1" * 32,))
    assert codes(run_audit(log, state=forged)) == []


def test_an_outage_while_resuming_keeps_the_older_state() -> None:
    log = PublishedLog(1000)
    state = state_of(log)
    log.grow(1000)
    log.fails = lambda path: SourceError("unreachable", "test") if path.startswith("tile/0/") else None
    result = run_audit(log, state=state)
    assert result.report.outcome is Outcome.UNFINISHED
    assert result.state is None or (result.state.walked, result.state.checkpoint) == (1000, state.checkpoint)


# -- forks and rollbacks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 255, 256, 300, 512])
def test_two_roots_for_one_size_are_a_fork(size: int) -> None:
    state = state_of(PublishedLog(size))
    result = run_audit(PublishedLog(size, salt=1), state=state)
    assert codes(result) == ["fork"] and result.state is None
    assert codes(run_audit(PublishedLog(size), state=state)) == []


@pytest.mark.parametrize(("size", "common"), [(300, 0), (300, 299), (256, 255), (512, 256), (700, 1)])
def test_a_log_that_rewrote_what_was_audited_is_a_fork(size: int, common: int) -> None:
    state = state_of(PublishedLog(size))
    rewritten = PublishedLog(common).grow(size - common, salt=1).grow(500)
    assert codes(run_audit(rewritten, state=state)) == ["fork"]
    assert codes(run_audit(PublishedLog(size).grow(500, salt=1), state=state)) == []


@pytest.mark.parametrize("size", [1, 255, 299])
def test_a_smaller_checkpoint_is_a_rollback_even_if_it_is_sound(size: int) -> None:
    state = state_of(PublishedLog(300))
    result = run_audit(PublishedLog(size), state=state)
    assert codes(result) == ["rollback"] and result.state is None


def test_a_checkpoint_that_is_gone_is_a_rollback_only_for_who_remembers_one() -> None:
    log = PublishedLog(300)
    state = state_of(log)
    del log.files["checkpoint"]
    assert codes(run_audit(log, state=state)) == ["checkpoint-missing", "rollback"]
    assert run_audit(log).report.outcome is Outcome.UNFINISHED


def test_a_changed_tile_of_the_edge_is_named_when_resuming() -> None:
    log = PublishedLog(300)
    state = state_of(log)
    log.grow(30).flip("tile/0/001.p/74", 0)
    result = run_audit(log, state=state)
    assert [(f.code, f.where) for f in result.report.findings] == [("tile-mismatch", "tile/0/001.p/74")]


# -- what others have seen -----------------------------------------------------------------------------------------


def test_a_checkpoint_that_somebody_holds_is_compared_by_recomputation() -> None:
    log = PublishedLog(700)
    honest = PublishedLog(123).files["checkpoint"]
    assert codes(run_audit(log, seen=[honest, log.files["checkpoint"]])) == []
    assert codes(run_audit(log, seen=[PublishedLog(123, salt=1).files["checkpoint"]])) == ["fork"]
    assert codes(run_audit(log, seen=[PublishedLog(700, salt=1).files["checkpoint"]])) == ["fork"]
    assert codes(run_audit(log, seen=[PublishedLog(701).files["checkpoint"]])) == ["rollback"]


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 699])
def test_a_checkpoint_before_the_walk_is_compared_by_a_consistency_proof(size: int) -> None:
    log = PublishedLog(700)
    state = state_of(log)
    log.grow(44)
    log.fetched.clear()
    honest, forged = PublishedLog(size), PublishedLog(size, salt=1)
    assert codes(run_audit(log, state=state, seen=[honest.files["checkpoint"]])) == []
    assert "tile/entries/000" not in log.fetched
    assert codes(run_audit(log, state=state, seen=[forged.files["checkpoint"]])) == ["fork"]


def test_a_damaged_old_tile_under_a_consistency_proof_is_not_called_a_fork() -> None:
    log = PublishedLog(700)
    state = state_of(log)
    log.flip("tile/0/000", 0)
    note = PublishedLog(100).files["checkpoint"]
    assert codes(run_audit(log, state=state, seen=[note])) == ["tile-mismatch"]
    del log.files["tile/0/000"]
    assert codes(run_audit(log, state=state, seen=[note])) == ["tile-missing"]
    log.files["tile/0/000"] = b"short"
    assert codes(run_audit(log, state=state, seen=[note])) == ["tile-malformed"]


def test_what_the_log_has_not_signed_is_no_evidence() -> None:
    other = sign(Checkpoint(ORIGIN, 5, b"\1" * 32), Ed25519PrivateKey.from_private_bytes(b"\x0a" * 32))
    with pytest.raises(FormatError) as caught:
        run_audit(PublishedLog(5), seen=[other])
    assert caught.value.code == "signature-missing"


# -- the checkpoint ------------------------------------------------------------------------------------------------


def test_checkpoints_of_others_are_refused_each_with_its_own_code() -> None:
    log = PublishedLog(5)
    root, stranger = log.head.root, Ed25519PrivateKey.from_private_bytes(b"\x0a" * 32)
    good = log.files["checkpoint"]
    bad_signature = good[:-10] + (b"A" if good[-10:-9] != b"A" else b"B") + good[-9:]
    other = "door.mihon.example/992011/log/2"
    cases = {
        "checkpoint-unsigned": sign(Checkpoint(ORIGIN, 5, root), stranger),
        "checkpoint-bad-signature": bad_signature,
        "checkpoint-malformed": b"<html>",
    }
    for code, note in cases.items():
        log.files["checkpoint"] = note
        result = run_audit(log)
        assert codes(result) == [code] and result.state is None and result.report.root == b""
    log.files["checkpoint"] = sign(Checkpoint(other, 5, root))
    assert codes(run_audit(log)) == ["checkpoint-unsigned"]  # another log's key has another name, too
    text = good.replace(ORIGIN.encode() + b"\n5\n", other.encode() + b"\n5\n", 1)
    log.files["checkpoint"] = text
    assert codes(run_audit(log)) == ["checkpoint-bad-signature"]
    log.files["checkpoint"] = good
    assert codes(run_audit(log)) == []


def test_a_checkpoint_of_another_origin_signed_by_the_logs_key_is_refused() -> None:
    from verifier.formats.signed_note import SignedNote, build_signature_line, format_note

    log = PublishedLog(5)
    text = log.files["checkpoint"].decode().partition("\n\n")[0].replace("log/1", "log/2") + "\n"
    line = build_signature_line(trust().content.log, LOG_KEY.sign(text.encode()))
    log.files["checkpoint"] = format_note(SignedNote(text, (line,)))
    assert codes(run_audit(log)) == ["checkpoint-other-origin"]


def test_the_quorum_of_witnesses_is_asked_for_when_the_policy_does() -> None:
    log, policy = PublishedLog(5), trust(witnesses=POLICY)
    result = run_audit(log, trust=policy)
    assert codes(result) == ["quorum-missing"] and result.report.outcome is Outcome.UNFINISHED
    note = sign(log.head, witnesses=True)
    log.files["checkpoint"] = note
    result = run_audit(log, trust=policy)
    assert codes(result) == [] and (result.report.cosignatures, result.report.quorum) == (1, True)
    log.files["checkpoint"] = note[:-10] + (b"A" if note[-10:-9] != b"A" else b"B") + note[-9:]
    assert codes(run_audit(log, trust=policy)) == ["checkpoint-bad-signature"]


def test_an_expired_trust_list_concludes_nothing() -> None:
    result = run_audit(PublishedLog(5), trust=trust(expires=NOW))
    assert codes(result) == ["trust-expired"] and result.report.outcome is Outcome.UNFINISHED


# -- the file ------------------------------------------------------------------------------------------------------


def test_the_state_file_is_read_back_and_a_missing_one_is_a_beginning(tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    assert load_state(path) is None
    state = state_of(PublishedLog(300).anchor())
    save_state(path, state)
    assert load_state(path) == state and [item.name for item in tmp_path.iterdir()] == ["audit.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2}, {"walked": 299}, {"walked": -1}, {"walked": True}, {"frontier": []}, {"frontier": "x"},
        {"checkpoint": "x"}, {"checkpoint": 1}, {"origin": "elsewhere"}, {"anchored": "1"}, {"chain": {}}, {"more": 1},
    ],
)  # fmt: skip
def test_a_damaged_state_is_refused_and_never_begun_anew(change: dict, tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    value = parse_canonical_json(format_state(state_of(PublishedLog(300)))) | change
    path.write_bytes(canonical_json(value))
    with pytest.raises(UsageError):
        load_state(path)


def test_a_state_whose_frontier_is_not_the_checkpoints_is_refused() -> None:
    state = state_of(PublishedLog(300))
    value = parse_canonical_json(format_state(state))
    value["frontier"] = list(reversed(value["frontier"]))
    with pytest.raises(FormatError):
        parse_state(canonical_json(value))
    with pytest.raises(FormatError):
        parse_state(b"x" * 300_000)


def test_a_state_of_another_log_is_the_callers_mistake() -> None:
    state = dataclasses.replace(state_of(PublishedLog(3)), origin="door.mihon.example/992011/log/2")
    with pytest.raises(FormatError) as caught:
        run_audit(PublishedLog(3), state=state)
    assert caught.value.code == "other-origin"


def test_an_empty_log_leaves_nothing_to_remember() -> None:
    result = run_audit(PublishedLog(0))
    assert result.state is None and result.report.root == EMPTY_ROOT
