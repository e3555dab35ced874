"""The four attributes of a signature certificate (JPKI 署名用), and what a card of a resident would carry.

`CardAttributes` is the door: seven strings, as they stand in the certificate's subject alternative names
(domain facts 3.1). `card_attributes` is used by the 模擬 JPKI counterpart; it invents nothing that a
certificate would not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

from app.registers.characters import SUBSTITUTE, clusters, is_on_card, is_variation_selector
from app.registers.resident import Resident

ERAS: Final = (
    ("5", date(2019, 5, 1)),
    ("4", date(1989, 1, 8)),
    ("3", date(1926, 12, 25)),
    ("2", date(1912, 7, 30)),
    ("1", date(1868, 1, 25)),
)
ROMAJI_TO_FULL_WIDTH: Final = {code: code + 0xFEE0 for code in range(0x21, 0x7F)} | {0x20: 0x3000}


@dataclass(frozen=True, slots=True)
class CardAttributes:
    """`name` with U+3000 between family and given name; `*_substitutes` one 0 or 1 for each character (code
    point).

    `sex` is 1 male, 2 female, 3 unknown; `birthdate` EYYYYMMDD with the era digit (1 明治 .. 5 令和, 0
    unknown) and the year of the Common Era; `address` from the prefecture on, at most 200 characters.
    """

    name: str
    name_substitutes: str
    sex: str
    birthdate: str
    address: str
    address_substitutes: str


def card_attributes(
    resident: Resident, *, on: date | None = None, with_former_name: bool = False, with_alias: bool = False
) -> CardAttributes:
    """What the card of `resident` carries on the day `on` (default: with the newest address).

    `with_former_name`: 旧氏 in brackets after the family name; `with_alias`: the 通称 instead of the romaji
    name (both forms are unconfirmed). Raises ValueError if the resident had no address on that day or lacks
    that name.
    """
    address = resident.addresses[-1] if on is None else resident.address_on(on)
    if address is None:
        raise ValueError("no address on that day")
    name = resident.name
    if with_former_name:
        if resident.former_family_name is None:
            raise ValueError("no registered former name")
        name = f"{resident.family_name}［{resident.former_family_name}］\u3000{resident.given_name}"
    if with_alias:
        if resident.alias is None:
            raise ValueError("no registered alias")
        name = resident.alias
    if name.isascii():
        name = name.translate(ROMAJI_TO_FULL_WIDTH)
    printed_name, name_positions = print_on_card(name)
    printed_address, address_positions = print_on_card(address.text)
    return CardAttributes(
        name=printed_name,
        name_substitutes=name_positions,
        sex=str(resident.sex),
        birthdate=era_date(resident.birthdate),
        address=printed_address,
        address_substitutes=address_positions,
    )


def print_on_card(text: str) -> tuple[str, str]:
    """The text with substitutes, and the 0/1 string of their positions. Variation selectors cannot be
    carried.
    """
    printed, positions = [], []
    for cluster in clusters(text):
        base = "".join(char for char in cluster if not is_variation_selector(char))
        for char in base:
            fits = is_on_card(char)
            printed.append(char if fits else SUBSTITUTE)
            positions.append("0" if fits else "1")
    return "".join(printed), "".join(positions)


def era_date(day: date) -> str:
    """EYYYYMMDD of a date; era 0 before 1868-01-25."""
    digit = next((digit for digit, first in ERAS if day >= first), "0")
    return f"{digit}{day:%Y%m%d}"


def parse_era_date(text: str) -> date | None:
    """Inverse of `era_date`; None unless the era is known and the day lies in it."""
    if len(text) != 9 or not text.isascii() or not text.isdigit():
        return None
    try:
        day = date(int(text[1:5]), int(text[5:7]), int(text[7:9]))
    except ValueError:
        return None
    return day if text[0] != "0" and era_date(day) == text else None
