"""What every route of the street door shares: settings, store, clock, limits. Put together once by
`create_app`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from typing import Final, TypeVar

from flask import current_app

from mobile_api.city_authentication import CityKey
from mobile_api.limits import RateLimits
from mobile_api.settings import Settings
from mobile_api.store.engine import Store
from mobile_api.store.sweep import to_minute

EXTENSION: Final = "akashi-door"
POLL_SECONDS: Final = 0.4
Found = TypeVar("Found", bound=list)


class Waiters:
    """Long polls: asks again on every notice of this process and every 0.4 s for those of other processes."""

    def __init__(self, limit: int) -> None:
        self._free = threading.Semaphore(limit) if limit else None
        self._changed = threading.Condition()

    def notify(self) -> None:
        """Something new lies in the store."""
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, look: Callable[[], Found], seconds: float) -> Found:
        """Call `look` until it finds something or the time is over; with no free place only once."""
        found = look()
        if found or seconds <= 0 or self._free is None or not self._free.acquire(blocking=False):
            return found
        try:
            end = time.monotonic() + seconds
            while not found and (left := end - time.monotonic()) > 0:
                with self._changed:
                    self._changed.wait(min(POLL_SECONDS, left))
                found = look()
            return found
        finally:
            self._free.release()


@dataclass(frozen=True, slots=True)
class Door:
    """One street door. `deliver` hands one mail to the mail server; None = this door relays no mail."""

    settings: Settings
    store: Store
    clock: Callable[[], datetime]
    random: Callable[[int], bytes]
    limits: RateLimits
    waiters: Waiters
    city_keys: Mapping[str, CityKey]
    deliver: Callable[[EmailMessage], None] | None

    def minute(self) -> int:
        """Now, as the store knows it."""
        return to_minute(self.clock())


def the_door() -> Door:
    """The door of the application that handles this request."""
    return current_app.extensions[EXTENSION]
