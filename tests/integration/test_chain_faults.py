"""SIGKILL of the log process 200 times while 2,000 entries go in, with the chain killed too; then everything is checked.

Slow (about a minute, two on a busy machine): 200 lives of the log process, each long enough to do something. Most of them
are forked from a process that has imported the libraries (tests/support/forge.py), some are new interpreters.
AKASHI_SOAK_SEED repeats a run's dice; `make soak` does the same 10,000 times.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chain.checkpoint_key import SoftwareSigner, sign_note
from tests.support.log_history import Anchored, Evidence, count_repeats, examine
from tests.support.log_signer import KEY, ORIGIN, PRIVATE
from tests.support.log_stage import ANCHORING, LOGGING, STAGES
from tests.support.log_storm import LogStorm, Plan
from tests.support.watched_processes import watched
from verifier.formats.checkpoint import Checkpoint, format_checkpoint_text, verify_public_checkpoint

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("AKASHI_SOAK_SEED") or 20261120)
KILLS = 200
ENTRIES = 2000
CHAIN_KILLS = 20
ANCHOR_SECONDS = 60.0


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogStorm]:
    """After the storm and the calm; the chain still runs."""
    root = tmp_path_factory.mktemp("storm")
    with watched(root), LogStorm(root, Plan(SEED, KILLS, ENTRIES)) as storm:
        print(f"AKASHI_SOAK_SEED={SEED}")
        storm.rage()
        storm.settle(ANCHOR_SECONDS)
        print(storm.progress(), dict(storm.stages))
        yield storm


@pytest.fixture(scope="module")
def evidence(storm: LogStorm) -> Evidence:
    return storm.evidence()


def test_the_kills_hit_every_part_of_the_work(storm: LogStorm) -> None:
    assert storm.kills == KILLS
    assert storm.chain_kills >= CHAIN_KILLS
    assert set(storm.stages) <= set(STAGES)
    hits = storm.stages
    assert sum(hits[stage] for stage in LOGGING) >= 10, hits
    assert hits["staging"] + hits["signing"] > 0, hits
    assert hits["publishing"] + hits["clearing"] > 0, hits
    assert hits["uploading"] > 0, hits
    assert sum(hits[stage] for stage in ANCHORING) >= 10, hits
    assert storm.troubles["log-away"] > 0


def test_nothing_is_lost_nothing_is_there_twice_and_every_proof_verifies(
    storm: LogStorm, evidence: Evidence
) -> None:
    assert len(evidence.acknowledged) == len(evidence.entries) == ENTRIES
    assert sum(len(answers) for answers in evidence.acknowledged.values()) > ENTRIES, "some were sent twice"
    assert examine(evidence) == [], f"AKASHI_SOAK_SEED={SEED}"


def test_everything_is_anchored_within_a_minute_and_the_chain_is_one_line(
    storm: LogStorm, evidence: Evidence
) -> None:
    """A limit on how long it may take to converge, which is promised; how fast it is belongs to the benches."""
    assert storm.settled_after <= ANCHOR_SECONDS
    newest = verify_public_checkpoint((storm.street / "checkpoint").read_bytes(), KEY).checkpoint
    events = evidence.chain.events
    assert (events[-1].size, events[-1].root) == (newest.size, newest.root)
    assert (storm.street / "anchored").read_bytes() == (storm.street / "checkpoint").read_bytes()
    assert len(events) >= 3
    assert sorted({event.size for event in events}) == [event.size for event in events]
    # `examine` has compared the roots, the predecessors, the receipts and the number of transactions


# -- the same evidence with one lie in it is found out
# -----------------------------------------------------------------


def lost_entry(evidence: Evidence) -> Evidence:
    return dataclasses.replace(evidence, entries=[*evidence.entries, b"\x00" * 32])


def moved_index(evidence: Evidence) -> Evidence:
    entry, answers = next(iter(evidence.acknowledged.items()))
    moved = [(index + 1, proof) for index, proof in answers]
    return dataclasses.replace(evidence, acknowledged={**evidence.acknowledged, entry: moved})


def two_indices(evidence: Evidence) -> Evidence:
    entry, answers = next(iter(evidence.acknowledged.items()))
    both = [*answers, (answers[0][0] + 1, answers[0][1])]
    return dataclasses.replace(evidence, acknowledged={**evidence.acknowledged, entry: both})


def foreign_proof(evidence: Evidence) -> Evidence:
    first, second = list(evidence.acknowledged)[:2]
    index, _ = evidence.acknowledged[first][0]
    proof = evidence.acknowledged[second][0][1]
    return dataclasses.replace(evidence, acknowledged={**evidence.acknowledged, first: [(index, proof)]})


def forked_checkpoint(evidence: Evidence) -> Evidence:
    size = max(evidence.signed) - 1
    text = format_checkpoint_text(Checkpoint(ORIGIN, size, b"\x11" * 32))
    return dataclasses.replace(evidence, seen=[*evidence.seen, sign_note(text, KEY, SoftwareSigner(PRIVATE))])


def forked_signature(evidence: Evidence) -> Evidence:
    return dataclasses.replace(evidence, signed={**evidence.signed, min(evidence.signed): b"\x11" * 32})


def with_events(change: Callable[[list[Anchored]], list[Anchored]]) -> Callable[[Evidence], Evidence]:
    def doctored(evidence: Evidence) -> Evidence:
        chain = evidence.chain
        events = change(list(chain.events))
        return dataclasses.replace(evidence, chain=dataclasses.replace(chain, events=events))

    return doctored


LIES: dict[str, tuple[Callable[[Evidence], Evidence], str]] = {
    "an entry that is nowhere": (lost_entry, "lost: 1 of"),
    "an index that holds another entry": (moved_index, "holds another entry"),
    "an entry with two indices": (two_indices, "two indices"),
    "a proof of another entry": (foreign_proof, "proof: "),
    "a signed checkpoint with another root": (forked_checkpoint, "fork: another checkpoint"),
    "a root that only the signer knows": (forked_signature, "fork: another root was signed"),
    "an anchor with another root": (
        with_events(lambda events: [dataclasses.replace(events[0], root=b"\x11" * 32), *events[1:]]),
        "a root that our log never had",
    ),
    "anchors in another order": (
        with_events(lambda events: [events[1], events[0], *events[2:]]),
        "stands after",
    ),
    "an anchor left out": (with_events(lambda events: [events[0], *events[2:]]), "another predecessor"),
    "an anchor paid twice": (with_events(lambda events: [*events, events[-1]]), "transactions for"),
    "an anchor in another block": (
        with_events(lambda events: [*events[:-1], dataclasses.replace(events[-1], block_hash=b"\x11" * 32)]),
        "is not what the contract has",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_planted_lie_is_found(evidence: Evidence, lie: str) -> None:
    doctor, words = LIES[lie]
    few = evidence.entries[:20]
    small = dataclasses.replace(
        evidence, entries=few, acknowledged={entry: evidence.acknowledged[entry] for entry in few}
    )
    assert examine(small) == []
    faults = examine(doctor(small))
    assert any(words in fault for fault in faults), faults


@pytest.mark.parametrize(("mistake", "kind"), [("adds-again", "twice"), ("signs-first", "fork")])
def test_a_log_with_a_mistake_does_not_outlive_the_kills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: str, kind: str
) -> None:
    """The same storm over a log process with one line wrong (tests/support/broken_logs.py); it ends when that shows."""
    monkeypatch.setenv("AKASHI_TEST_MISTAKE", mistake)
    # thrice as long as the storm, so that it is no matter of luck; it ends much earlier
    plan = Plan(SEED, 3 * KILLS, 3 * ENTRIES, lives=(0.05, 0.1), module="tests.support.broken_logs")
    with watched(tmp_path), LogStorm(tmp_path, plan) as storm:

        def shows() -> bool:
            if kind == "fork":
                return bool(storm.signer.violations)
            return (storm.public / "checkpoint").exists() and count_repeats(storm.public) > 0

        storm.rage(until=shows)
        assert shows(), f"{storm.kills} kills and {mistake} was not found"
