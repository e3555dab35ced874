"""A resident's devices, from one of them: the list, stopping one, locking the adding of more. None of it needs the card."""

from __future__ import annotations

from typing import Any

from mobile_api.errors import StateError
from mobile_api.messages import ListDevices, LockDevices, StopDevice
from mobile_api.phone_correspondence import Correspondence

SHORT = 8
"""Characters of a thumbprint that a person reads and types."""


class PhoneDevices:
    """`Phone` holds one. Every call raises CityRefused, NoAnswerYet, DoorUnavailable, DoorRefused."""

    def __init__(self, letters: Correspondence) -> None:
        self._letters = letters

    def list(self, timeout: float) -> dict[str, Any]:
        """{"devices": [{"thumbprint", "added_at", "state", "this"}], "locked"}, oldest first."""
        return dict(self._letters.ask(ListDevices(), timeout)["result"])

    def lock(self, timeout: float) -> None:
        """From now on no phone is added by card alone; only the counter takes that back."""
        self._letters.ask(LockDevices(), timeout)

    def stop(self, thumbprint: str, timeout: float) -> None:
        """Stop a device by its thumbprint, or by the beginning of it if that names exactly one of the list.

        Raises also: StateError("which-device").
        """
        if len(thumbprint) < 43:
            found = [
                entry["thumbprint"]
                for entry in self.list(timeout)["devices"]
                if len(thumbprint) >= SHORT // 2 and entry["thumbprint"].startswith(thumbprint)
            ]
            if len(found) != 1:
                raise StateError("which-device", "this names no device of the list, or several")
            (thumbprint,) = found
        self._letters.ask(StopDevice(thumbprint), timeout)
