"""The log's door, seen from the worker: 32-byte entries in, places with proofs out.

The worker connects (zone table: log.append). It sends nothing but hashes; the log process never learns whose they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from app.errors import UnavailableError
from app.zones import Guard, Zone
from chain.client import LogClient
from chain.errors import ChainError
from verifier.errors import FormatError
from verifier.formats.tlog_proof import parse_tlog_proof

ENTRY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry stands: its index and the C2SP tlog-proof text with the checkpoint."""

    index: int
    proof: str


class LogDoor:
    """The log process at `address` (`http://127.0.0.1:port` or `unix:/path`), behind the zone guard."""

    def __init__(self, address: str, token: str, *, guard: Guard, clock: Callable[[], datetime]) -> None:
        self._client = LogClient(address, token)
        self._guard = guard
        self._clock = clock

    def append(self, entries: Sequence[bytes]) -> list[Place]:
        """Append entries (32 bytes each) and wait for their proofs. Raises UnavailableError; repeating is safe."""
        self._guard.check(
            Zone.CITY, Zone.DMZ, "log.append", ENTRY_BYTES * 2 * len(entries), now=self._clock()
        )
        try:
            logged = self._client.append(entries)
            for place in logged:
                parse_tlog_proof(place.proof)
        except ChainError as error:
            raise UnavailableError(f"log-{error.code}", error.detail) from error
        except FormatError as error:
            raise UnavailableError("log-answer", error.code) from error
        return [Place(place.index, place.proof.decode("utf-8")) for place in logged]

    def state(self) -> dict[str, Any]:
        """Size, anchored size, lag and its reason, as the log reports them. Raises UnavailableError."""
        self._guard.check(Zone.CITY, Zone.DMZ, "log.state", 0, now=self._clock())
        try:
            return self._client.state()
        except ChainError as error:
            raise UnavailableError(f"log-{error.code}", error.detail) from error
