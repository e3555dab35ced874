"""The threshold ladders: what a credential says of an amount without telling it.

A ladder is an object keyed by threshold in yen, e.g. {"1300000": true}; each rung is a disclosure of its own. Only rungs
that hold are issued, as `true`; `false` is never said, or a recipient could demand the negative. In the credential a
decoy digest (RFC 9901 section 4.2.5) stands for each rung that does not hold, so that the number of digests is the same
for everybody. The table below is part of the credential type: another table is another type.

The issuer and every verifier derive the rungs with the one function here. This module knows no procedure: which rung
suffices for what stands in `verifier.presets`. A proof without disclosures could replace it behind the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from verifier.errors import FormatError
from verifier.formats.encoding import JSON


@dataclass(frozen=True, slots=True)
class Ladder:
    """One ladder: its claim name, the leaf of certificate.json it speaks of, its sense, its thresholds in yen."""

    name: str
    source: tuple[str, str]
    at_least: bool
    thresholds: tuple[int, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of all rungs, lowest threshold first."""
        return tuple(map(str, self.thresholds))

    def holds(self, amount: int, threshold: int) -> bool:
        """Whether the rung holds for an amount; the threshold itself is inside in both senses."""
        return amount >= threshold if self.at_least else amount <= threshold


# Why each amount is here, and that none is confirmed, stands in docs/formats/credential.md (a test keeps them the same).
LADDERS: Final = (
    Ladder(
        "income_at_least",
        ("income", "total"),
        at_least=True,
        thresholds=(
            1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000, 6_000_000, 8_000_000, 10_000_000,
        ),
    ),
    Ladder(
        "income_at_most",
        ("income", "total"),
        at_least=False,
        thresholds=(
            480_000, 580_000, 1_030_000, 1_300_000, 1_350_000, 1_500_000, 1_800_000, 5_000_000, 9_000_000, 9_500_000,
            10_000_000,
        ),
    ),
    Ladder(
        "levy_at_most",
        ("tax", "municipal_income_levy"),
        at_least=False,
        thresholds=(48_600, 57_700, 97_000, 169_000, 301_000, 397_000),
    ),
)  # fmt: skip
LADDER_CLAIMS: Final = frozenset(ladder.name for ladder in LADDERS)

_RUNGS: Final = frozenset((ladder.name, key) for ladder in LADDERS for key in ladder.keys)


def derive_ladders(data: Mapping[str, JSON]) -> dict[str, dict[str, bool]]:
    """The rungs that hold for certificate.json, {ladder: {threshold: True}}; an amount that is not there holds none."""
    return {ladder.name: _rungs(ladder, _amount(data, ladder)) for ladder in LADDERS}


def is_rung(path: tuple[object, ...]) -> bool:
    """Whether a claim path names one rung of the table."""
    return path in _RUNGS


def read_ladders(claims: Mapping[str, JSON]) -> dict[str, dict[str, bool]]:
    """The disclosed ladders of processed claims; each rung is of the table and true.

    Raises: FormatError("bad-ladder").
    """
    told: dict[str, dict[str, bool]] = {}
    for name in sorted(LADDER_CLAIMS & set(claims)):
        rungs = claims[name]
        if not isinstance(rungs, dict):
            raise FormatError("bad-ladder", f"{name} is not an object")
        # `is`: in Python 1 == True, in JSON it is not.
        if not all(is_rung((name, key)) and value is True for key, value in rungs.items()):
            raise FormatError(
                "bad-ladder", f"{name} holds something else than true for thresholds of the table"
            )
        told[name] = rungs
    return told


def check_ladders(claims: Mapping[str, JSON], certificate: Mapping[str, JSON] | None) -> None:
    """That the ladders say what the data say: all of it where certificate.json is there, nothing against it otherwise.

    Without the data the rungs are measured against the amounts that were disclosed beside them, and against each other.
    Raises: FormatError("bad-ladder" | "ladder-differs").
    """
    told = read_ladders(claims)
    if certificate is not None:
        if told != derive_ladders(certificate):
            raise FormatError("ladder-differs", "the thresholds are not those that follow from the data")
        return
    for ladder in LADDERS:
        amount = _amount(claims, ladder)
        if amount is not None and not set(told.get(ladder.name, {})) <= set(_rungs(ladder, amount)):
            raise FormatError(
                "ladder-differs", f"{ladder.name} says something else than the amount beside it"
            )
    for low in (ladder for ladder in LADDERS if ladder.at_least):
        for high in (ladder for ladder in LADDERS if not ladder.at_least and ladder.source == low.source):
            lowest = max(map(int, told.get(low.name, {})), default=None)
            highest = min(map(int, told.get(high.name, {})), default=None)
            if lowest is not None and highest is not None and lowest > highest:
                raise FormatError("ladder-differs", f"{low.name} and {high.name} cannot both be true")


def _rungs(ladder: Ladder, amount: int | None) -> dict[str, bool]:
    if amount is None:
        return {}
    return {str(threshold): True for threshold in ladder.thresholds if ladder.holds(amount, threshold)}


def _amount(data: Mapping[str, JSON], ladder: Ladder) -> int | None:
    group, leaf = ladder.source
    inside = data.get(group)
    amount = inside.get(leaf) if isinstance(inside, Mapping) else None
    return amount if isinstance(amount, int) and not isinstance(amount, bool) else None
