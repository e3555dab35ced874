"""generate_city: the mock city as a stream, the hand-made cases first, then households from the seed."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Final

from app.registers.city.cases import case_entries
from app.registers.city.household import draw_household, household_entries
from app.registers.resident import RegisterEntry

MIN_RESIDENTS: Final = 100
MAX_RESIDENTS: Final = 130_000


def generate_city(residents: int, seed: int) -> Iterator[RegisterEntry]:
    """Exactly `residents` entries, ascending by resident id; the same arguments give the same city.

    Each household is drawn from the seed and its own number, so memory does not grow. Raises: ValueError
    outside 100 .. 130,000 or for a negative seed.
    """
    if not MIN_RESIDENTS <= residents <= MAX_RESIDENTS:
        raise ValueError(f"residents must be {MIN_RESIDENTS} to {MAX_RESIDENTS}")
    if seed < 0:
        raise ValueError("seed must not be negative")
    return _entries(residents, seed)


def _entries(residents: int, seed: int) -> Iterator[RegisterEntry]:
    number = 1
    for entry in case_entries():
        yield entry
        number += 1
    household = 1_000
    while number <= residents:
        # An integer seed is mixed by the generator's own initialisation; no two households share one.
        rng = Random(seed << 32 | household)
        members, addresses = draw_household(rng, residents - number + 1)
        for entry in household_entries(members, addresses, f"H-{household:07d}", number):
            yield entry
            number += 1
        household += 1
