"""Which resident: the four attributes of a signature certificate to exactly one record, or a refusal. Never
a guess.

Pure (walls.md section 3.3). A record fits only if sex and birth date are equal, the name is one of the
record's names (present name, with or instead of 旧氏, 通称) and the address is one of its history (moves,
and the address after moving out). Spellings are compared by the search forms of `characters` and
`address_key`; a character that the certificate flags as a substitute fits any one character at that place.
If two records fit, neither is chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Final

from app.registers.address_key import WILDCARD, address_fits, address_key
from app.registers.card_attributes import CardAttributes, parse_era_date
from app.registers.characters import fold, folded
from app.registers.resident import Resident

MAX_NAME: Final = 100
MAX_ADDRESS: Final = 200


class MatchRefusal(Enum):
    """Why nobody was chosen. All three go to the counter and read alike there (`app.claims.refusals`)."""

    NONE = "none"
    SEVERAL = "several"
    INSUFFICIENT = "insufficient"


@dataclass(frozen=True, slots=True)
class Matched:
    """Exactly one record fits."""

    resident_id: str


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The attributes in search form; a None in `name` is a substitute."""

    name: tuple[str | None, ...]
    sex: int
    birthdate: date
    address: str


def match_resident(attributes: CardAttributes, candidates: Iterable[Resident]) -> Matched | MatchRefusal:
    """Choose among `candidates` (all residents with that birth date at least; others never fit).

    Total: any strings give an answer, malformed or too empty ones INSUFFICIENT.
    """
    wanted = _read(attributes)
    if wanted is None:
        return MatchRefusal.INSUFFICIENT
    fitting = {resident.resident_id for resident in candidates if _fits(wanted, resident)}
    if len(fitting) == 1:
        return Matched(fitting.pop())
    return MatchRefusal.SEVERAL if fitting else MatchRefusal.NONE


def wanted_birthdate(attributes: CardAttributes) -> date | None:
    """The birth date to fetch candidates by; None if it is unknown or malformed (then nobody can be
    chosen).
    """
    return parse_era_date(attributes.birthdate)


def _read(attributes: CardAttributes) -> _Wanted | None:
    birthdate = parse_era_date(attributes.birthdate)
    if birthdate is None or attributes.sex not in ("1", "2", "3"):
        return None
    name_flags = _flags(attributes.name, attributes.name_substitutes, MAX_NAME)
    address_flags = _flags(attributes.address, attributes.address_substitutes, MAX_ADDRESS)
    if name_flags is None or address_flags is None:
        return None
    name = _name_pattern(attributes.name, name_flags)
    address = address_key(
        "".join(
            WILDCARD if flag else char.replace(WILDCARD, "")
            for char, flag in zip(attributes.address, address_flags, strict=True)
        )
    )
    known = [part for part in name if part not in (None, " ")]
    unknown_in_address = address.count(WILDCARD)
    # A name of substitutes alone, or an address that is half unknown, would choose by chance.
    if not known or not any(char.isdigit() for char in address) or unknown_in_address * 2 >= len(address):
        return None
    return _Wanted(name, int(attributes.sex), birthdate, address)


def _flags(text: str, positions: str, limit: int) -> list[bool] | None:
    """One flag for each code point; an empty string means no substitute. None if malformed."""
    if not text.strip() or len(text) > limit:
        return None
    if not positions:
        return [False] * len(text)
    if len(positions) != len(text) or positions.strip("01"):
        return None
    return [position == "1" for position in positions]


def _name_pattern(text: str, flags: list[bool]) -> tuple[str | None, ...]:
    """Unflagged runs folded as the register's names are (combining marks join their base), substitutes as
    None.
    """
    pattern: list[str | None] = []
    run = ""
    for char, flag in zip(text, flags, strict=True):
        if not flag:
            run += char
            continue
        pattern += _folded_run(run)
        pattern.append(None)
        run = ""
    pattern += _folded_run(run)
    spaced: list[str | None] = []
    for part in pattern:
        if part == " " and (not spaced or spaced[-1] == " "):
            continue
        spaced.append(part)
    return tuple(spaced[:-1] if spaced and spaced[-1] == " " else spaced)


def _folded_run(run: str) -> list[str]:
    if not run:
        return []
    forms = list(folded(run))
    # `folded` trims spaces at the ends of the whole; inside a name the run's own edges are separators.
    if fold(run[0]) == " " and (not forms or forms[0] != " "):
        forms.insert(0, " ")
    if fold(run[-1]) == " " and forms[-1] != " ":
        forms.append(" ")
    return forms


def _fits(wanted: _Wanted, resident: Resident) -> bool:
    return (
        resident.birthdate == wanted.birthdate
        and resident.sex == wanted.sex
        and any(_name_fits(wanted.name, form) for form in _name_forms(resident))
        and any(address_fits(wanted.address, address_key(address.text)) for address in resident.addresses)
    )


def _name_fits(pattern: tuple[str | None, ...], name: str) -> bool:
    forms = folded(name)
    return len(forms) == len(pattern) and all(
        (part is None and form != " ") or part == form for part, form in zip(pattern, forms, strict=True)
    )


def _name_forms(resident: Resident) -> Iterator[str]:
    """Every way a certificate may name this person. Earlier names that are not 旧氏 are not among them."""
    yield resident.name
    former = resident.former_family_name
    if former is not None:
        yield f"{former}\u3000{resident.given_name}"
        for left, right in ("[]", "()", "［］", "（）"):
            yield f"{resident.family_name}{left}{former}{right}\u3000{resident.given_name}"
    if resident.alias is not None:
        yield resident.alias
        for left, right in ("()", "[]"):
            yield f"{resident.name}{left}{resident.alias}{right}"
