"""The states of a request: every pair, nothing goes back, what the phone is told."""

from __future__ import annotations

import itertools

import pytest

from app.issuance.states import ENDED, OPEN, STAGE_OF, State, may_follow
from mobile_api.messages import STAGES

S = State
MAY = {
    (S.AWAITING_PAYMENT, S.ACCEPTED),
    (S.ACCEPTED, S.RESERVED),
    (S.RESERVED, S.SEALED),
    (S.SEALED, S.LOGGED),
    (S.LOGGED, S.RELEASED),
    (S.RELEASED, S.WITHDRAWN),
    *((state, end) for state in OPEN for end in (S.REFUSED, S.FAILED)),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_the_whole_table(before: State, after: State) -> None:
    assert may_follow(before, after) == ((before, after) in MAY)


def test_open_and_ended_are_everything() -> None:
    assert frozenset(State) == OPEN | ENDED
    assert not OPEN & ENDED
    assert {S.RELEASED, S.REFUSED, S.WITHDRAWN, S.FAILED} == ENDED


def test_no_way_leads_back() -> None:
    seen: dict[State, set[State]] = {}

    def reach(state: State) -> set[State]:
        if state not in seen:
            seen[state] = set()
            following = {after for after in State if may_follow(state, after)}
            seen[state] = following | set().union(*(reach(after) for after in following), set())
        return seen[state]

    for state in State:
        assert state not in reach(state)
    assert reach(S.AWAITING_PAYMENT) == frozenset(State) - {S.AWAITING_PAYMENT}


def test_nothing_leaves_a_refused_failed_or_withdrawn_request() -> None:
    for state in (S.REFUSED, S.FAILED, S.WITHDRAWN):
        assert not [after for after in State if may_follow(state, after)]


def test_the_phone_is_told_known_stages_in_order() -> None:
    order = [STAGE_OF[state] for state in State if state in STAGE_OF]
    assert set(order) <= set(STAGES)
    assert order == sorted(order, key=STAGES.index)
    assert order[0] == "accepted"
    assert order[-1] == "ready"
