"""The witness policy text of a trust list: which cosignatures of a checkpoint are enough.

Source: C2SP tlog-policy. Lines, order free except that a name is defined before it is used:

    witness <name> <vkey>
    group <name> <any|all|number> <member> <member>…
    quorum <name|none>

Empty text means the same as `quorum none`: this log has no witnesses (yet). The log itself is named by the
trust list, so `log` lines are refused. This module counts verified signatures; it verifies none.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from verifier.errors import FormatError, LimitError
from verifier.formats.signed_note import VerifierKey, parse_vkey

MAX_POLICY_BYTES: Final = 16 << 10
MAX_NAMES: Final = 64
NO_QUORUM: Final = "none"


@dataclass(frozen=True, slots=True)
class Group:
    """`threshold` of `members` (names of witnesses or earlier groups)."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WitnessPolicy:
    """A policy taken apart; `witnesses` in the order of the text, `quorum` None = none needed."""

    witnesses: tuple[tuple[str, VerifierKey], ...] = ()
    groups: tuple[tuple[str, Group], ...] = ()
    quorum: str | None = None

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """The witness keys in policy order."""
        return tuple(key for _, key in self.witnesses)

    def is_met_by(self, keys: Collection[VerifierKey]) -> bool:
        """Whether cosignatures by `keys` (already verified) make the quorum."""
        met = {name: key in keys for name, key in self.witnesses}
        for name, group in self.groups:
            met[name] = sum(met[member] for member in group.members) >= group.threshold
        return self.quorum is None or met[self.quorum]


def parse_witness_policy(text: str) -> WitnessPolicy:
    """Raises: LimitError, FormatError("bad-witness-policy"), FormatError of the keys."""
    if len(text) > MAX_POLICY_BYTES:
        raise LimitError("witness-policy-too-large", f"more than {MAX_POLICY_BYTES} characters")
    witnesses: list[tuple[str, VerifierKey]] = []
    groups: list[tuple[str, Group]] = []
    names: set[str] = set()
    quorum: str | None = NO_QUORUM if not text.strip() else None
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if quorum is not None or len(names) >= MAX_NAMES:
            raise FormatError("bad-witness-policy", "lines after the quorum, or too many names")
        keyword, arguments = words[0], words[1:]
        if keyword == "quorum" and len(arguments) == 1:
            quorum = arguments[0]
            if quorum != NO_QUORUM and quorum not in names:
                raise FormatError("bad-witness-policy", "the quorum is not defined")
            continue
        if len(arguments) < 2 or arguments[0] in names | {NO_QUORUM}:
            raise FormatError("bad-witness-policy", "a line without a new name")
        if keyword == "witness" and len(arguments) == 2:
            witnesses.append((arguments[0], parse_vkey(arguments[1])))
        elif keyword == "group":
            groups.append((arguments[0], _group(arguments[1], arguments[2:], names)))
        else:
            raise FormatError("bad-witness-policy", "an unknown line")
        names.add(arguments[0])
    if quorum is None:
        raise FormatError("bad-witness-policy", "no quorum line")
    if len({key for _, key in witnesses}) != len(witnesses):
        raise FormatError("bad-witness-policy", "one key under two names")
    return WitnessPolicy(tuple(witnesses), tuple(groups), None if quorum == NO_QUORUM else quorum)


def _group(threshold: str, members: list[str], names: set[str]) -> Group:
    if not members or len(set(members)) != len(members) or not set(members) <= names:
        raise FormatError("bad-witness-policy", "a group of unknown or repeated members")
    if threshold in ("any", "all"):
        return Group(1 if threshold == "any" else len(members), tuple(members))
    if not threshold.isascii() or not threshold.isdigit() or not 1 <= int(threshold[:4]) <= len(members):
        raise FormatError("bad-witness-policy", "a threshold between 1 and the number of members")
    return Group(int(threshold[:4]), tuple(members))
