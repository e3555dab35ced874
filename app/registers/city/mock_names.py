"""Names of people who do not exist: family names put together from sample words, and rare characters on
purpose.

The lists are mock_names.json: pairs of kanji and kana; rare characters are escaped there, so that no editor
changes them. Rare names hold 𠮷 and 髙, compatibility ideographs (U+FA10, U+FA11), ideographic variation
sequences of both collections (U+E0100 Adobe-Japan1; U+E0102, U+E0110 Moji_Joho) and a supplementary kanji.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from random import Random
from typing import Final, NamedTuple

RARE_SHARE: Final = 0.04


class Name(NamedTuple):
    """A family or given name; no kana for a foreign one."""

    kanji: str
    kana: str


class NameLists(NamedTuple):
    family: tuple[Name, ...]
    rare_family: tuple[Name, ...]
    male: tuple[Name, ...]
    female: tuple[Name, ...]
    foreign_family: tuple[str, ...]
    foreign_male: tuple[str, ...]
    foreign_female: tuple[str, ...]


@cache
def name_lists() -> NameLists:
    """All lists, read once."""
    data = json.loads(resources.files(__package__).joinpath("mock_names.json").read_text(encoding="utf-8"))
    return NameLists(
        family=tuple(
            Name(first + second, kana + more)
            for first, kana in data["first"]
            for second, more in data["second"]
        ),
        rare_family=tuple(Name(*pair) for pair in data["rare"]),
        male=tuple(Name(*pair) for pair in data["male"]),
        female=tuple(Name(*pair) for pair in data["female"]),
        foreign_family=tuple(data["foreign_family"]),
        foreign_male=tuple(data["foreign_male"]),
        foreign_female=tuple(data["foreign_female"]),
    )


def family_name(rng: Random) -> Name:
    """A family name; about one in 25 with a rare character."""
    lists = name_lists()
    names = lists.rare_family if rng.random() < RARE_SHARE else lists.family
    return names[int(rng.random() * len(names))]


def given_name(rng: Random, female: bool) -> Name:
    """A given name."""
    names = name_lists().female if female else name_lists().male
    return names[int(rng.random() * len(names))]


def foreign_name(rng: Random, female: bool) -> tuple[str, str]:
    """Family and given name in romaji."""
    lists = name_lists()
    given = lists.foreign_female if female else lists.foreign_male
    return (
        lists.foreign_family[int(rng.random() * len(lists.foreign_family))],
        given[int(rng.random() * len(given))],
    )
