"""The running house that the end-to-end files share, and the scene of an attack in it.

A file of its own may define `house` again (`shared_house` counts its users); what is here saves most of them doing so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.house.people import Candidate
from app.registers.resident import Resident
from tests.support.foreign_house import ForeignHouse
from tests.support.hostile_scene import Scene, watched_scene
from tests.support.running_house import RunningHouse, shared_house


@pytest.fixture(scope="session")
def house() -> Iterator[RunningHouse]:
    """Every process of the house, one house a test process."""
    yield from shared_house()


@pytest.fixture(scope="module")
def scene(house: RunningHouse) -> Iterator[Scene]:
    """The house with a hostile operator at its door, watched while the file runs."""
    yield from watched_scene(house)


# ---- strangers with programs of their own: one resident, one employer, one set of ten copies for all files -------------


@pytest.fixture(scope="session")
def foreign(house: RunningHouse, tmp_path_factory: pytest.TempPathFactory) -> ForeignHouse:
    made = ForeignHouse(house, tmp_path_factory.mktemp("foreign"))
    made.set_up_desk()
    return made


@pytest.fixture(scope="session")
def resident(house: RunningHouse) -> Resident:
    """Somebody whose income is low enough for every preset."""

    def fits(candidate: Candidate) -> bool:
        return candidate.figures is not None and candidate.figures.income["total"] <= 1_300_000

    return house.take_resident(fits)


@pytest.fixture(scope="session")
def login_card(foreign: ForeignHouse) -> Path:
    """A card beside the login provider's reader, of another resident."""
    return foreign.login_card(foreign.house.take_resident())


@pytest.fixture(scope="session")
def ten_copies(foreign: ForeignHouse, resident: Resident) -> dict[str, Any]:
    """What oid4vc-ts collected with a token bound to its key: ten copies and their keys."""
    return foreign.collect(foreign.offer(resident), batch=10, dpop=True)
