"""The authorities' list of issued certificates, and what ends or suspends them.

issued.json: `<kind>:<serial hex>` → {card, carrier, holder, issued, reason, revoked}. `card` names the card, also
in the entries of the phone that belongs to it (`carrier` "phone"); `holder` is the resident's number
in the mock register (it stands in for the 住民票コード, facts unconfirmed; empty: nobody's events reach this
card); `issued` and `revoked` are Unix seconds, `revoked` 0 while it is good. No name and no address is kept.
Several processes may work on it: it is changed under a file lock and replaced whole, so that every answer
after a change tells it.

A suspension (一時停止) can be lifted. Everything else is final, also on top of a suspension; the date stays
that of the suspension, because the certificate was of no use since then.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from app.counterparts.jpki.errors import JpkiError, NotIssued
from app.counterparts.jpki.profiles import CARRIERS, KINDS
from verifier.formats.encoding import canonical_json, parse_json

MAX_LIST: Final = 64 << 20
HOLD: Final = "certificateHold"
REASONS: Final = {
    "affiliationChanged": x509.ReasonFlags.affiliation_changed,
    "cessationOfOperation": x509.ReasonFlags.cessation_of_operation,
    "superseded": x509.ReasonFlags.superseded,
    HOLD: x509.ReasonFlags.certificate_hold,
}
EVENTS: Final[dict[str, tuple[tuple[str, ...], str, tuple[str, ...]]]] = {
    # what happened → which certificates, reason code, on which carriers. A move ends the signature certificate
    # only. What ends a card's certificate ends the phone's of the same kind (unconfirmed).
    "move": (("signature",), "affiliationChanged", CARRIERS),
    "name-change": (("signature",), "affiliationChanged", CARRIERS),
    "death": (KINDS, "cessationOfOperation", CARRIERS),
    # Which code the real authority gives for a loss is unconfirmed; the four above are those that were seen.
    "loss": (KINDS, "cessationOfOperation", CARRIERS),
    "renewal": (KINDS, "superseded", CARRIERS),
    "suspension": (KINDS, HOLD, CARRIERS),
    # A lost or given away phone says nothing about the card.
    "phone-loss": (KINDS, "cessationOfOperation", ("phone",)),
}


class IssuedList:
    """The list in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self) -> dict[str, Any]:
        """All entries as they are now."""
        path = self._directory / "issued.json"
        return parse_json(path.read_bytes(), max_bytes=MAX_LIST) if path.exists() else {}

    def add(
        self, certificates: dict[str, x509.Certificate], card: str, holder: str, *, now: datetime
    ) -> None:
        """Remember what was issued, by kind, for one card."""
        with self._changed() as issued:
            issued.update(_entries(certificates, card, "card", holder, now))

    def add_phone(self, certificates: dict[str, x509.Certificate], card: str, *, now: datetime) -> None:
        """Remember what was issued, by kind, for the phone of one card.

        Raises: NotIssued("card-not-valid") if one of the card's certificates is revoked or suspended,
        NotIssued("phone-exists") if the card has a phone already, JpkiError("unknown-card").
        """
        with self._changed() as issued:
            of_card = _of_card(issued, card).values()
            if any(entry["revoked"] for entry in of_card if _carrier(entry) == "card"):
                raise NotIssued("card-not-valid", "a certificate of the card is revoked")
            if any(not entry["revoked"] for entry in of_card if _carrier(entry) == "phone"):
                raise NotIssued("phone-exists", "the card has a phone already")
            holder = next(str(entry.get("holder", "")) for entry in of_card)
            issued.update(_entries(certificates, card, "phone", holder, now))

    def revoke(self, card: str, event: str, *, now: datetime) -> list[str]:
        """End (or suspend) what `event` (EVENTS) ends on this card; the serials (hex) that it changed.

        Idempotent. Raises: JpkiError("unknown-card").
        """
        kinds, reason, carriers = EVENTS[event]
        gone: list[str] = []
        with self._changed() as issued:
            for name, entry in _of_card(issued, card).items():
                kind, _, serial = name.partition(":")
                if kind not in kinds or _carrier(entry) not in carriers:
                    continue
                # On top of a suspension only something final says anything new.
                if entry["revoked"] and (entry["reason"] != HOLD or reason == HOLD):
                    continue
                entry.update(reason=reason, revoked=entry["revoked"] or int(now.timestamp()))
                gone.append(serial)
        return gone

    def resume(self, card: str) -> list[str]:
        """Lift a suspension; the serials (hex) that are good again. Raises: JpkiError("unknown-card")."""
        back: list[str] = []
        with self._changed() as issued:
            for name, entry in _of_card(issued, card).items():
                if entry["reason"] == HOLD:
                    entry.update(reason="", revoked=0)
                    back.append(name.partition(":")[2])
        return back

    def find_card(self, serial: str) -> str | None:
        """The card a serial (hex) was issued to."""
        for name, entry in self.read().items():
            if name.endswith(f":{serial}"):
                return str(entry["card"])
        return None

    def cards_of(self, holder: str, *, until: int | None = None) -> list[str]:
        """The cards of one resident, oldest first; only those issued until `until` (Unix seconds)."""
        found: dict[str, int] = {}
        for entry in self.read().values():
            issued = int(entry.get("issued", 0))
            if _carrier(entry) != "card" or not holder or entry.get("holder") != holder:
                continue
            if until is None or issued <= until:
                found[entry["card"]] = issued
        return sorted(found, key=lambda card: (found[card], card))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes anything in the directory meanwhile."""
        descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _changed(self) -> Iterator[dict[str, Any]]:
        with self.locked():
            issued = self.read()
            yield issued
            write_file(self._directory / "issued.json", canonical_json(issued))


def write_file(path: Path, content: bytes) -> None:
    """Replace a file (0600) whole, synced."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _entries(
    certificates: dict[str, x509.Certificate], card: str, carrier: str, holder: str, now: datetime
) -> dict[str, Any]:
    return {
        f"{kind}:{certificate.serial_number:x}": {
            "card": card,
            "carrier": carrier,
            "holder": holder,
            "issued": int(now.timestamp()),
            "reason": "",
            "revoked": 0,
        }
        for kind, certificate in certificates.items()
    }


def _carrier(entry: dict[str, Any]) -> str:
    # Lists written before there were phones hold cards only.
    return str(entry.get("carrier", "card"))


def _of_card(issued: dict[str, Any], card: str) -> dict[str, Any]:
    found = {name: entry for name, entry in issued.items() if entry["card"] == card}
    if not found:
        raise JpkiError("unknown-card", "no certificate was issued to this card")
    return found
