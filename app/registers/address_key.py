"""One search form for an address, so that the card's and the register's way of writing it can be compared.

In this order (domain facts section 2): NFKC and everyday forms, one dash; kanji numerals before 丁目 番地
番 号; 番地の and 番の, 丁目, 番地, 番 become a dash; 号室, 号, 大字, 小字, 字 and spaces go. の becomes a
dash between digits only, so that no town name changes. A WILDCARD stands for one character nobody knows and
survives unchanged.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from app.registers.characters import DASHES, TILDES, clusters, fold

WILDCARD: Final = "\ufffc"

_DIGITS: Final = {digit: value for value, digit in enumerate("〇一二三四五六七八九")}
_NUMERAL = re.compile("[〇一二三四五六七八九十百]+(?=丁目|番地|番|号)")
_TO_DASH = re.compile("番地の|番の|丁目|番地|番")
_DROPPED = re.compile("号室|号|大字|小字|字")
_BETWEEN_DIGITS = re.compile("(?<=[0-9])の(?=[0-9])")
_RUNS = re.compile("-+")
_DASH_TABLE: Final = str.maketrans(dict.fromkeys(DASHES + TILDES, "-"))


@lru_cache(maxsize=65_536)
def address_key(text: str) -> str:
    """The search form of an address; WILDCARD characters are kept."""
    plain = "".join(_fold(cluster) for cluster in clusters(text))
    plain = _NUMERAL.sub(lambda match: str(_number(match.group())), plain)
    plain = _TO_DASH.sub("-", plain)
    plain = _DROPPED.sub("", plain)
    plain = _BETWEEN_DIGITS.sub("-", plain)
    plain = re.sub("(?<=[0-9])ー(?=[0-9])", "-", plain)
    return _RUNS.sub("-", plain).strip("-")


def address_fits(pattern: str, key: str) -> bool:
    """True if `key` is `pattern`, where a WILDCARD fits any one character but a digit or a dash.

    Digits and dashes can always be printed, so an unknown character is never one of them.
    """
    if WILDCARD not in pattern:
        return pattern == key
    return len(pattern) == len(key) and all(
        wanted == there or (wanted == WILDCARD and not there.isdigit() and there != "-")
        for wanted, there in zip(pattern, key, strict=True)
    )


def _fold(cluster: str) -> str:
    if cluster == WILDCARD:
        return cluster
    # The long vowel mark is a dash only between digits (see above): it is a letter in building names.
    if cluster in ("ー", "\uff70"):
        return "ー"
    form = fold(cluster).translate(_DASH_TABLE)
    return "" if form == " " else form


def _number(kanji: str) -> int:
    if "十" not in kanji and "百" not in kanji:
        return int("".join(str(_DIGITS[char]) for char in kanji))
    total = current = 0
    for char in kanji:
        if char in _DIGITS:
            current = _DIGITS[char]
        else:
            total += (current or 1) * (100 if char == "百" else 10)
            current = 0
    return total + current
