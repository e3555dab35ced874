"""Characters of names and addresses: which a signature certificate can carry, and what a search treats as
one.

A signature certificate writes JIS level 1 and 2 and the supplementary kanji (JIS X 0208 + X 0212) and puts
a substitute character for anything else. So two spellings are equal for a search only if one of them is
outside that set: 髙 (U+9AD9) may stand as 高, but 邊 and 邉 are both inside and stay two. Signed data never
pass through here.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

SUBSTITUTE: Final = "〓"
"""What our 模擬 cards print for a character outside the set (J-LIS's own is unconfirmed)."""

# Characters outside JIS X 0208/0212 that a certificate may show as their everyday form. NFKC covers the
# compatibility ideographs (U+FA10 as U+585A, U+FA19 as U+795E) by itself.
EVERYDAY_FORM: Final = {
    "\u9ad9": "\u9ad8",  # 髙 高
    "\ufa11": "\u5d0e",  # 﨑 崎
    "\U00020bb7": "\u5409",  # 𠮷 吉
    "\u974d": "\u9db4",  # 靍 鶴
    "\u6801": "\u67f3",  # 栁 柳
    "\u5fb7": "\u5fb3",  # 德 徳
}

# NFKC leaves some of the dash and tilde family alone; addresses need them as one (domain facts section 2).
DASHES: Final = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\uff0d\uff70\u30fc"
TILDES: Final = "~\u301c\uff5e"


def is_variation_selector(char: str) -> bool:
    """Standardised (U+FE00..) and ideographic (U+E0100..) variation selectors."""
    return "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"


@lru_cache(maxsize=65_536)
def is_on_card(char: str) -> bool:
    """True if a signature certificate can carry the character: JIS X 0208 or X 0212, or ASCII."""
    try:
        char.encode("euc_jp")
    except UnicodeEncodeError:
        return False
    return True


def clusters(text: str) -> list[str]:
    """Split into characters with their combining marks and variation selectors."""
    found: list[str] = []
    for char in text:
        if found and (is_variation_selector(char) or unicodedata.combining(char)):
            found[-1] += char
        else:
            found.append(char)
    return found


@lru_cache(maxsize=65_536)
def fold(cluster: str) -> str:
    """The search form of one cluster: selectors off, NFKC, everyday form, capital letters, one kind of
    space.
    """
    base = "".join(char for char in cluster if not is_variation_selector(char))
    plain = unicodedata.normalize("NFKC", base)
    plain = EVERYDAY_FORM.get(plain, plain)
    return " " if plain.isspace() else plain.upper()


def folded(text: str) -> tuple[str, ...]:
    """Search forms of every cluster; runs of spaces count as one, none at the ends."""
    result: list[str] = []
    for cluster in clusters(text):
        form = fold(cluster)
        if form == " " and (not result or result[-1] == " "):
            continue
        result.append(form)
    if result and result[-1] == " ":
        result.pop()
    return tuple(result)


def search_key(text: str) -> str:
    """`folded` as one string: what the store's index holds."""
    return "".join(folded(text))
