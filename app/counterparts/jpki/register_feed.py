"""Life events from the register reach the authorities (住基ネット's part, 模擬/MOCK).

Reads the register's change feed and revokes: a move or a new name ends the signature certificate, a death
both. The feed says who and what kind; nothing else of the register is looked at. A card that was issued after
the event already carries the new attributes and stays; in the same second it is unclear, and the card goes.

The place in the feed is stored after what it caused (register.json): a pass that was killed is done again,
which changes nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from app.counterparts.jpki.issued import IssuedList, write_file
from app.registers.store import Change
from verifier.formats.encoding import canonical_json, parse_json

EVENT_OF: Final = {"move": "move", "name-change": "name-change", "deceased": "death"}
"""Kind of a change in the register → event of `issued.EVENTS`; other kinds end no certificate."""


class ChangeFeed(Protocol):
    """What `app.registers.store.RegisterStore` offers of its feed."""

    def changes_since(self, number: int, limit: int = ...) -> list[Change]:
        """Changes after `number`, ascending."""
        ...


def follow_register(directory: Path, feed: ChangeFeed, *, now: datetime) -> list[str]:
    """Apply everything new in the feed; the serials (hex) that were revoked now."""
    issued, place = IssuedList(directory), directory / "register.json"
    gone: list[str] = []
    number = parse_json(place.read_bytes())["number"] if place.exists() else 0
    while changes := feed.changes_since(number):
        gone += _revoke(issued, changes, now)
        number = changes[-1].number
        write_file(place, canonical_json({"number": number}))
    return gone


def _revoke(issued: IssuedList, changes: Iterable[Change], now: datetime) -> list[str]:
    gone: list[str] = []
    for change in changes:
        event = EVENT_OF.get(change.kind)
        if event is None:
            continue
        # The dead have no newer card.
        until = None if event == "death" else change.at
        for card in issued.cards_of(change.resident_id, until=until):
            gone += issued.revoke(card, event, now=now)
    return gone
