"""An AnchorRegistry with five witnesses of one kind and a threshold of three, and the submission its tests try on it.

What the tests of BLS and of ECDSA witnesses have in common; the kinds of witnesses are the tests' own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from tests.support.anchor_registry import CHAIN_ID, ORIGIN_ID, Receipt, World, path, root, statement

WITNESSES = 5
THRESHOLD = 3
OLD, NEW = 5, 9
SUBMIT = ("submit", ORIGIN_ID, NEW, root(NEW), path(OLD, NEW))
"""The call without its last two arguments, bitmap and signature."""
SIGNED = (0, 2, 4)
BITMAP = 0b10101
"""Those who signed, by number and as the contract takes them."""
FEW, STRANGE = "too few witnesses", "not an active witness"
FEWER = "fewer witnesses than the threshold"


def submit_first(world: World) -> None:
    """The checkpoint from before there were witnesses."""
    world.send("sealer", "submit", ORIGIN_ID, OLD, root(OLD), [], 0, b"")


def register_five(world: World, registration: Callable[[int], tuple[Any, ...]]) -> list[Receipt]:
    """The first checkpoint, five witnesses by the owner's call `registration(number)`, threshold three."""
    submit_first(world)
    receipts = [world.send("owner", *registration(number)) for number in range(WITNESSES)]
    world.send("owner", "set_threshold", THRESHOLD)
    return receipts


def own_statement(world: World) -> bytes:
    """What the witnesses of this registry sign for the submission."""
    return statement(world.contract, ORIGIN_ID, NEW, OLD)


def other_statements(world: World) -> dict[str, bytes]:
    """Statements that differ from its own in one respect each."""
    contract = world.contract
    return {
        "chain": statement(contract, ORIGIN_ID, NEW, OLD, chain_id=CHAIN_ID + 1),
        "contract": statement(b"\x01" * 20, ORIGIN_ID, NEW, OLD),
        "origin": statement(contract, hashlib.sha256(b"other").digest(), NEW, OLD),
        "size": statement(contract, ORIGIN_ID, NEW + 1, OLD),
        "previous": statement(contract, ORIGIN_ID, NEW, OLD - 1),
        "text": hashlib.sha256(b"other").digest(),
    }


OTHERS = ("chain", "contract", "origin", "size", "previous", "text")
