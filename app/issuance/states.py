"""The states of one request for a certificate, and which may follow which. Pure: no clock, no store, no door.

    awaiting_payment ─▶ accepted ─▶ reserved ─▶ sealed ─▶ logged ─▶ released
                                └──────┴─────────┴─────────┴──▶ refused
    released ─▶ withdrawn (protection set before pick-up)        any open state ─▶ failed (a person has to look)

A request moves only forward. Each arrow is one compare-and-set in the worker's store (`walk`); what has to survive a
crash is stored in the same transaction as the arrow. docs/issuance-cycle.md tells what happens if we die between.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a request stands."""

    AWAITING_PAYMENT = "awaiting_payment"
    ACCEPTED = "accepted"
    RESERVED = "reserved"
    SEALED = "sealed"
    LOGGED = "logged"
    RELEASED = "released"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    FAILED = "failed"


_FORWARD: Final[dict[State, frozenset[State]]] = {
    State.AWAITING_PAYMENT: frozenset({State.ACCEPTED, State.REFUSED, State.FAILED}),
    State.ACCEPTED: frozenset({State.RESERVED, State.REFUSED, State.FAILED}),
    State.RESERVED: frozenset({State.SEALED, State.REFUSED, State.FAILED}),
    State.SEALED: frozenset({State.LOGGED, State.REFUSED, State.FAILED}),
    State.LOGGED: frozenset({State.RELEASED, State.REFUSED, State.FAILED}),
    State.RELEASED: frozenset({State.WITHDRAWN}),
    State.REFUSED: frozenset(),
    State.WITHDRAWN: frozenset(),
    State.FAILED: frozenset(),
}

OPEN: Final = frozenset({State.AWAITING_PAYMENT, State.ACCEPTED, State.RESERVED, State.SEALED, State.LOGGED})
ENDED: Final = frozenset(State) - OPEN


def may_follow(before: State, after: State) -> bool:
    """Whether `after` may directly follow `before`."""
    return after in _FORWARD[before]


# What the resident's phone is told on reaching a state (messages of the mailbox).
STAGE_OF: Final[dict[State, str]] = {
    State.ACCEPTED: "accepted",
    State.SEALED: "sealed",
    State.LOGGED: "logged",
    State.RELEASED: "ready",
}
