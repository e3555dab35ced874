"""What the views of the console call, gathered once when the application is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from app.staff.events import Events
from app.staff.logins import Logins
from app.staff.revocations import Revocations
from app.staff.sessions import Sessions
from app.staff.settings import StaffSettings
from app.staff.store import Store


@dataclass(frozen=True, slots=True)
class Doors:
    """What the views call: one door a noun, the settings, the clock and the worker's token (bytes, never
    shown).
    """

    settings: StaffSettings
    clock: Callable[[], datetime]
    worker_token: bytes
    store: Store
    logins: Logins
    sessions: Sessions
    events: Events
    revocations: Revocations
