"""Bodies about the devices of one resident: the list of them, and locking the adding of more to the counter.

A list names devices by the thumbprint of their signing key and by nothing else: no name, no model, no place.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mobile_api.body_fields import Codec, members
from mobile_api.card_statement import format_instant, parse_instant
from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import JSON
from verifier.formats.jose import parse_thumbprint

MAX_DEVICES: Final = 100
DEVICE_STATES: Final = ("active", "stopped")
"""What a list may say of a device. That one is frozen is nobody's business: it reads as active."""


@dataclass(frozen=True, slots=True)
class ListDevices:
    """Ask for every device of this resident."""


@dataclass(frozen=True, slots=True)
class LockDevices:
    """From now on no device is added by card alone; only the counter takes this back."""


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """thumbprint of the signing key (RFC 7638), when it was registered (UTC), one of DEVICE_STATES, is it who asks."""

    thumbprint: str
    added_at: datetime
    state: str
    this: bool


@dataclass(frozen=True, slots=True)
class Devices:
    """Oldest first. `locked`: adding is locked to the counter."""

    devices: tuple[DeviceEntry, ...]
    locked: bool


def _empty(_body: object) -> JSON:
    return {}


def _parse_list(value: JSON) -> ListDevices:
    members(value, set())
    return ListDevices()


def _parse_lock(value: JSON) -> LockDevices:
    members(value, set())
    return LockDevices()


def _format_devices(body: Devices) -> JSON:
    entries: JSON = [
        {
            "added_at": format_instant(entry.added_at),
            "state": entry.state,
            "this": entry.this,
            "thumbprint": entry.thumbprint,
        }
        for entry in body.devices
    ]
    return {"devices": entries, "locked": body.locked}


def _parse_devices(value: JSON) -> Devices:
    body = members(value, {"devices", "locked"})
    if not isinstance(body["devices"], list) or len(body["devices"]) > MAX_DEVICES:
        raise LimitError("too-many-devices", f"a list of at most {MAX_DEVICES} devices")
    if type(body["locked"]) is not bool:
        raise FormatError("bad-body", "locked is true or false")
    return Devices(tuple(_parse_entry(entry) for entry in body["devices"]), body["locked"])


def _parse_entry(value: JSON) -> DeviceEntry:
    body = members(value, {"thumbprint", "added_at", "state", "this"})
    if body["state"] not in DEVICE_STATES or type(body["this"]) is not bool:
        raise FormatError("bad-body", "state or this has another form")
    return DeviceEntry(
        parse_thumbprint(body["thumbprint"]), parse_instant(body["added_at"]), body["state"], body["this"]
    )


DEVICE_CODECS: Final = (
    Codec("list_devices", ListDevices, _empty, _parse_list),
    Codec("lock_devices", LockDevices, _empty, _parse_lock),
)
ANSWER_CODECS: Final = (Codec("devices", Devices, _format_devices, _parse_devices),)
