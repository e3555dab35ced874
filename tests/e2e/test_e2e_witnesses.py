"""Five witness processes in the running house: what reaches a phone carries their quorum, and without them nothing does.

About 15 s: witnesses are stopped and come back, and a log that signs nothing has to be watched for a while.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.house.log_story import read_stage
from app.house.witnesses import QUORUM, WITNESSES
from mobile_api.errors import NoAnswerYet
from tests.support.running_house import RunningHouse, is_valid, judge
from verifier.formats.bundle import parse_bundle
from verifier.formats.checkpoint import peek_checkpoint
from verifier.policy import WITNESSES as WITNESS_CHECK
from verifier.report import Outcome

WATCHED_SECONDS = 3.0


@pytest.fixture
def whole(house: RunningHouse) -> Iterator[RunningHouse]:
    """The house, and whatever a test has stopped comes back."""
    house.make_whole()
    yield house
    house.make_whole()


def checkpoint_size(house: RunningHouse) -> int:
    """Size of the newest checkpoint in the log's own files."""
    return peek_checkpoint((house.home.log / "public" / "checkpoint").read_bytes()).size


def test_a_certificate_arrives_witnessed_and_is_valid_before_it_is_anchored(whole: RunningHouse) -> None:
    bundle = whole.holder().register().certify("witnessed")
    stage = read_stage(bundle, whole.trust)
    assert len(stage.witnesses) >= QUORUM
    assert parse_bundle(bundle).anchor is None, "nothing was waited for"
    assert is_valid(whole, bundle, "offline")


def test_two_witnesses_away_hold_up_nobody(whole: RunningHouse) -> None:
    for name in WITNESSES[: len(WITNESSES) - QUORUM]:
        whole.kill(name)
    stage = read_stage(whole.holder().register().certify("two away"), whole.trust)
    assert [name.partition(".")[0] for name in stage.witnesses] == list(WITNESSES[-QUORUM:])


def test_without_a_quorum_and_without_the_chain_nothing_is_signed_and_nothing_is_lost(
    whole: RunningHouse,
) -> None:
    holder = whole.holder().register()
    whole.kill("chain")
    for name in WITNESSES[:QUORUM]:
        whole.kill(name)
    before = checkpoint_size(whole)
    request = holder.request("nobody is there")
    with pytest.raises(NoAnswerYet):
        holder.wait(request, timeout=WATCHED_SECONDS)
    assert checkpoint_size(whole) == before
    # the quorum alone is enough, the chain stays away
    whole.restart(WITNESSES[0])
    holder.wait(request)
    holder.phone.fetch_package(request)
    bundle = holder.phone.open(request)
    report = judge(whole, bundle, "offline")
    assert next(f for f in report.findings if f.check == WITNESS_CHECK).outcome is Outcome.PASS
    assert checkpoint_size(whole) > before
