"""The running house that the end-to-end files share, and the scene of an attack in it.

A file of its own may define `house` again (`shared_house` counts its users); what is here saves most of them doing so.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
