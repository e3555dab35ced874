"""Addresses in 見本市 and in the equally fictitious places people move from and to.

The 町字ID are dummies: they all begin with 99, which no real register assigns here. House numbers mean
nothing.
"""

from __future__ import annotations

from random import Random
from typing import Final, NamedTuple

from app.registers.resident import CITY_CODE

OTHER_CITY_CODE: Final = "992020"
"""架空市 (Kakuu City, MOCK): check digit right, no such prefecture."""


class Place(NamedTuple):
    """Where somebody lives; `machiaza_id` None outside the city."""

    text: str
    city_code: str
    machiaza_id: str | None


_KANJI: Final = ("", "一", "二", "三", "四", "五", "六")
TOWNS: Final = (
    *("本町", "中央町", "見本台", "試作町", "例示町", "仮町", "型町", "写町", "雛町", "模範町"),
    *("想定町", "標本町", "東見本", "西見本", "南見本", "北見本", "見本が丘", "駅前町"),
    *("港町", "川端町", "花の木町", "十日町", "センター町"),
)
VILLAGES: Final = (
    *(("例田", "試"), ("仮山", "上"), ("型沢", "下")),
    *(("大\ufa10", "見本"), ("葛\U000e0100原", "中")),
)
BUILDINGS: Final = ("見本ハイツ", "メゾン例示", "コーポ試作", "サンプル荘", "モデルタワー")
OTHER_TOWNS: Final = ("架空町", "空想町", "絵空町", "夢見町")


def place_in_city(rng: Random) -> Place:
    """A place in 見本市: 丁目番号, sometimes a flat, sometimes 大字・番地."""
    draw = rng.random()
    if draw < 0.12:
        index = int(rng.random() * len(VILLAGES))
        village, hamlet = VILLAGES[index]
        text = f"見本県見本市大字{village}字{hamlet}{1 + int(rng.random() * 1999)}番地"
        if draw < 0.06:
            text += f"{1 + int(rng.random() * 9)}"
        return Place(text, CITY_CODE, f"998{index:01d}001")
    town = int(rng.random() * len(TOWNS))
    chome = 1 + int(rng.random() * 6)
    block, house = 1 + int(rng.random() * 40), 1 + int(rng.random() * 30)
    text = f"見本県見本市{TOWNS[town]}{_KANJI[chome]}丁目{block}番{house}号"
    if draw > 0.65:
        building = BUILDINGS[int(rng.random() * len(BUILDINGS))]
        text += f"\u3000{building}{1 + int(rng.random() * 9)}0{1 + int(rng.random() * 8)}号室"
    return Place(text, CITY_CODE, f"99{town:02d}{chome:03d}")


def place_elsewhere(rng: Random) -> Place:
    """A place in another municipality."""
    town = OTHER_TOWNS[int(rng.random() * len(OTHER_TOWNS))]
    chome = 1 + int(rng.random() * 6)
    block, house = 1 + int(rng.random() * 40), 1 + int(rng.random() * 30)
    return Place(f"架空県架空市{town}{_KANJI[chome]}丁目{block}番{house}号", OTHER_CITY_CODE, None)
