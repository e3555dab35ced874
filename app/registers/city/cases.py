"""The hand-made residents that always come first: one for every case a decision or a match must get right.

cases.json is data in the shape of a register file's lines, each with the key of its case (docs/formats/
resident-register.md lists them); the same in every city whatever its size and seed. Rare characters are
escaped there, so that no editor changes them. Nobody here exists (模擬/MOCK).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

from app.registers.register_file import parse_entry
from app.registers.resident import RegisterEntry


@cache
def _cases() -> tuple[tuple[str, RegisterEntry], ...]:
    text = resources.files(__package__).joinpath("cases.json").read_text(encoding="utf-8")
    items: list[dict[str, Any]] = json.loads(text)
    return tuple((item.pop("case"), parse_entry(item)) for item in items)


def case_entries() -> Iterator[RegisterEntry]:
    """The hand-made residents, ids M-0000001 and on."""
    return (entry for _, entry in _cases())


def case_ids() -> dict[str, str]:
    """The resident id of each case by its key."""
    return {key: entry.resident.resident_id for key, entry in _cases()}
