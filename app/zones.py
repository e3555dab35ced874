"""The zones of the house and every crossing between them: one table, one guard, one traffic line a crossing.

Zones after house.md section 4 and 三層分離. What is not a row here does not happen: both ends ask the guard before a
message passes. The guard sees kinds and sizes, never contents; the traffic line holds nothing else.
This module opens no connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from app.errors import CrossingError

KIB: Final = 1024
MIB: Final = 1024 * KIB


class Zone(StrEnum):
    """Where a process stands."""

    INTERNET = "internet"
    DMZ = "city-dmz"
    CITY = "city-lgwan"
    NUMBER_USING = "number-using"
    SIGNER = "signer"
    COUNTERPART = "counterpart"


@dataclass(frozen=True, slots=True)
class Crossing:
    """One allowed kind of message. `source` is always the side that connects."""

    source: Zone
    target: Zone
    message: str
    max_bytes: int
    why: str


CROSSINGS: Final[tuple[Crossing, ...]] = (
    Crossing(
        Zone.CITY,
        Zone.INTERNET,
        "mailbox.inbox",
        8 * MIB,
        "the city reaches out and takes what is in the mailbox",
    ),
    Crossing(Zone.CITY, Zone.INTERNET, "mailbox.ack", 64 * KIB, "what was taken may be deleted"),
    Crossing(
        Zone.CITY,
        Zone.INTERNET,
        "mailbox.nonces",
        256 * KIB,
        "nonces made by the city, handed over in advance",
    ),
    Crossing(Zone.CITY, Zone.INTERNET, "mailbox.answer", 64 * KIB, "answers sealed to one phone"),
    Crossing(Zone.CITY, Zone.INTERNET, "mailbox.package", 4 * MIB, "packages sealed to one phone"),
    Crossing(
        Zone.CITY, Zone.INTERNET, "mailbox.offer", 8 * KIB, "hashes of an offer's codes, made by the city"
    ),
    Crossing(
        Zone.CITY, Zone.INTERNET, "mailbox.wallet-nonce-key", 4 * KIB, "the key of the wallets' challenges"
    ),
    Crossing(
        Zone.CITY,
        Zone.INTERNET,
        "mailbox.exchanges",
        8 * MIB,
        "the city reaches out and takes what wallets ask, sealed to it",
    ),
    Crossing(
        Zone.CITY,
        Zone.INTERNET,
        "mailbox.exchange-answer",
        4 * MIB,
        "answers to wallets, sealed to one waiting exchange",
    ),
    Crossing(Zone.CITY, Zone.INTERNET, "public.put", 8 * MIB, "status lists and trust lists for everybody"),
    Crossing(Zone.DMZ, Zone.INTERNET, "public.put", 8 * MIB, "tiles, checkpoints and receipts for everybody"),
    Crossing(
        Zone.CITY, Zone.NUMBER_USING, "gate.register", 64 * KIB, "card evidence in, an opaque binding out"
    ),
    Crossing(
        Zone.CITY,
        Zone.NUMBER_USING,
        "gate.open_request",
        64 * KIB,
        "card evidence in, one authorised request out",
    ),
    Crossing(
        Zone.CITY,
        Zone.NUMBER_USING,
        "gate.open_offer",
        64 * KIB,
        "card evidence in, so many copies for a wallet authorised",
    ),
    Crossing(
        Zone.CITY,
        Zone.NUMBER_USING,
        "gate.open_login_offer",
        64 * KIB,
        "what the login provider signed in, so many copies for a wallet authorised",
    ),
    Crossing(
        Zone.CITY,
        Zone.NUMBER_USING,
        "gate.authorise_metadata",
        128 * KIB,
        "public wallet metadata, read before its signature is authorised",
    ),
    Crossing(Zone.CITY, Zone.NUMBER_USING, "gate.record", 64 * KIB, "one record for one authorised request"),
    Crossing(
        Zone.CITY, Zone.NUMBER_USING, "gate.authorise", 256 * KIB, "single-use authorisations for the signer"
    ),
    Crossing(
        Zone.CITY, Zone.NUMBER_USING, "gate.recheck", 4 * KIB, "protection, death, figures: asked again"
    ),
    Crossing(
        Zone.CITY, Zone.NUMBER_USING, "gate.changes", 4 * KIB, "which opaque bindings are frozen or corrected"
    ),
    Crossing(
        Zone.CITY, Zone.NUMBER_USING, "gate.requests_of", 4 * KIB, "whose requests a correction supersedes"
    ),
    Crossing(Zone.CITY, Zone.NUMBER_USING, "gate.tally", 4 * KIB, "how many documents were authorised"),
    Crossing(
        Zone.CITY, Zone.NUMBER_USING, "gate.mandate_code", 4 * KIB, "a hand-over code for one opaque binding"
    ),
    Crossing(
        Zone.CITY,
        Zone.NUMBER_USING,
        "gate.mandate_give",
        64 * KIB,
        "a mandate with the giver's card evidence",
    ),
    Crossing(Zone.CITY, Zone.NUMBER_USING, "gate.mandate_accept", 4 * KIB, "the agent takes a mandate on"),
    Crossing(Zone.CITY, Zone.NUMBER_USING, "gate.mandate_confirm", 4 * KIB, "the giver confirms a mandate"),
    Crossing(
        Zone.CITY, Zone.NUMBER_USING, "gate.mandate_letter", 4 * KIB, "have the letter with the code sent"
    ),
    Crossing(Zone.CITY, Zone.NUMBER_USING, "gate.mandate_end", 4 * KIB, "giver or agent ends a mandate"),
    Crossing(
        Zone.CITY, Zone.NUMBER_USING, "gate.mandate_entries", 4 * KIB, "the mandates of one opaque binding"
    ),
    Crossing(
        Zone.CITY,
        Zone.NUMBER_USING,
        "gate.mandate_request",
        64 * KIB,
        "the agent's card evidence in, one authorised request out",
    ),
    Crossing(
        Zone.CITY,
        Zone.NUMBER_USING,
        "gate.events",
        4 * KIB,
        "what happened to opaque bindings: words and mandate ids",
    ),
    Crossing(Zone.CITY, Zone.NUMBER_USING, "gate.lines", 4 * KIB, "the history of one opaque binding"),
    Crossing(
        Zone.CITY, Zone.NUMBER_USING, "gate.lock_devices", 4 * KIB, "adding devices is locked to the counter"
    ),
    Crossing(Zone.CITY, Zone.NUMBER_USING, "gate.is_locked", 4 * KIB, "whether adding devices is locked"),
    Crossing(
        Zone.CITY,
        Zone.NUMBER_USING,
        "gate.register_by_code",
        4 * KIB,
        "a printed code in, an opaque binding out (模擬, demo)",
    ),
    Crossing(
        Zone.CITY,
        Zone.NUMBER_USING,
        "gate.counter_qr",
        4 * KIB,
        "the counter prints a code for a demonstration resident (模擬, demo)",
    ),
    Crossing(
        Zone.CITY, Zone.NUMBER_USING, "gate.counter_unlock", 4 * KIB, "two members of staff take a lock back"
    ),
    Crossing(Zone.CITY, Zone.SIGNER, "signer.batch", 1 * MIB, "digests and key agreements, never data"),
    Crossing(
        Zone.DMZ, Zone.SIGNER, "signer.batch", 1 * MIB, "checkpoints and receipts, by the monotone rule"
    ),
    Crossing(Zone.CITY, Zone.DMZ, "log.append", 64 * KIB, "32-byte commitments"),
    Crossing(Zone.CITY, Zone.DMZ, "log.state", 4 * KIB, "size, lag, reasons"),
    Crossing(Zone.CITY, Zone.COUNTERPART, "tsa.query", 4 * KIB, "a digest to be time-stamped (模擬)"),
    Crossing(
        Zone.DMZ, Zone.COUNTERPART, "tsa.query", 4 * KIB, "a checkpoint's digest to be time-stamped (模擬)"
    ),
    Crossing(Zone.CITY, Zone.COUNTERPART, "ca.status", 4 * KIB, "revocation lists of the seal CA (模擬)"),
    Crossing(
        Zone.CITY,
        Zone.COUNTERPART,
        "jpki.status",
        16 * KIB,
        "is this card certificate still good (模擬 J-LIS)",
    ),
    Crossing(
        Zone.CITY,
        Zone.COUNTERPART,
        "login.provider",
        32 * KIB,
        "a login code against an ID token, an access token against userinfo (模擬 デジタル認証アプリ)",
    ),
    Crossing(
        Zone.CITY, Zone.COUNTERPART, "mail.confirmation", 64 * KIB, "a code to the address the resident gave"
    ),
    Crossing(Zone.CITY, Zone.COUNTERPART, "mail.notice", 4 * KIB, "that a phone was added, without a name"),
    Crossing(
        Zone.CITY,
        Zone.CITY,
        "staff.feed",
        256 * KIB,
        "de-identified events; the worker reaches out to the console",
    ),
)

_ALLOWED: Final = {(c.source, c.target, c.message): c for c in CROSSINGS}


class Guard:
    """Asked at both ends of every crossing; writes the traffic line. `traffic` None keeps no file (tests)."""

    def __init__(self, traffic: Path | None) -> None:
        self._traffic = traffic

    def check(self, source: Zone, target: Zone, message: str, size: int, *, now: datetime) -> None:
        """Allow or refuse one message of `size` bytes. Raises CrossingError."""
        crossing = _ALLOWED.get((source, target, message))
        verdict = "allowed"
        if crossing is None:
            verdict = "refused-unlisted"
        elif size > crossing.max_bytes:
            verdict = "refused-too-large"
        if self._traffic is not None:
            line = f"{now.isoformat(timespec='seconds')} {source} {target} {message} {size} {verdict}\n"
            with self._traffic.open("a", encoding="ascii") as file:
                file.write(line)
        if verdict != "allowed":
            raise CrossingError(verdict, f"{source} to {target}: {message}, {size} bytes")
