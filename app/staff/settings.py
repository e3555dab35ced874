"""Settings of the staff console: one table of environment variables, read once, checked before anything
starts.

`AKASHI_PROFILE` has no default. Secrets are never in a variable: variables name files.
This module opens no file and no socket.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.staff.errors import StaffSettingsError

DEMO_CITY: Final = "992011"


@dataclass(frozen=True, slots=True)
class Variable:
    """One row of the table: `default` None means that the variable must be given."""

    name: str
    meaning: str
    default: str | None


VARIABLES: Final = (
    Variable("AKASHI_PROFILE", "demo or production; anything else starts nothing", None),
    Variable("AKASHI_CITY_CODE", "six-digit city code; every row of the store carries it", DEMO_CITY),
    Variable("AKASHI_STAFF_DATABASE_URL", "SQLAlchemy address of the console's own store", None),
    Variable("AKASHI_STAFF_TOKEN_FILE", "file (0600) with the token of the issuance worker", None),
    Variable("AKASHI_STAFF_BIND", "host:port to listen on; demo: loopback only", "127.0.0.1:8084"),
    Variable(
        "AKASHI_STAFF_CONTAINER", "1: the port is published by a container, any bind address is allowed", "0"
    ),
    Variable("AKASHI_STAFF_SESSION_SECONDS", "longest session, in seconds", "28800"),
    Variable("AKASHI_STAFF_IDLE_SECONDS", "a session unused for so long ends", "1800"),
    Variable("AKASHI_STAFF_STUCK_SECONDS", "an unfinished request silent for so long counts as stuck", "120"),
    Variable("AKASHI_STAFF_SLOW_MS", "a step whose 90 % value is above this counts as slow, in ms", "2000"),
    Variable(
        "AKASHI_STAFF_ALARM_SECONDS",
        "seals, leaves and authorised may differ for so long while work flows",
        "60",
    ),
    Variable("AKASHI_STAFF_THREADS", "threads of the server; a waiting worker takes one", "8"),
)


@dataclass(frozen=True, slots=True)
class StaffSettings:
    """A checked set of settings; times in whole seconds, `slow_ms` in milliseconds."""

    profile: str
    city: str
    database_url: str
    token_file: Path
    host: str = "127.0.0.1"
    port: int = 8084
    session_seconds: int = 28_800
    idle_seconds: int = 1_800
    stuck_seconds: int = 120
    slow_ms: int = 2_000
    alarm_seconds: int = 60
    threads: int = 8

    @property
    def is_mock(self) -> bool:
        """True in the demo profile: every screen and log line says 模擬/MOCK."""
        return self.profile == "demo"


def read_settings(environ: Mapping[str, str]) -> StaffSettings:
    """Settings from `environ` (usually os.environ, handed over by the process entry).

    Raises: StaffSettingsError naming the variable, never its value.
    """
    values = {row.name: environ.get(row.name, "") or row.default for row in VARIABLES}
    for name, value in values.items():
        if value is None:
            raise StaffSettingsError("missing-variable", name)
    given: dict[str, str] = {name: value for name, value in values.items() if value is not None}
    profile = given["AKASHI_PROFILE"]
    if profile not in ("demo", "production"):
        raise StaffSettingsError("unknown-profile", "AKASHI_PROFILE must be demo or production")
    city = given["AKASHI_CITY_CODE"]
    if len(city) != 6 or not (city.isascii() and city.isdigit()):
        raise StaffSettingsError("bad-variable", "AKASHI_CITY_CODE must be six digits")
    if profile == "production" and city == DEMO_CITY:
        raise StaffSettingsError("mock-city", "the demo city's code is refused in production")
    host, port = _parse_bind(given["AKASHI_STAFF_BIND"])
    if given["AKASHI_STAFF_CONTAINER"] != "1" and not _is_inside(host, profile):
        raise StaffSettingsError(
            "bad-variable", "AKASHI_STAFF_BIND must be a loopback or (production) private address"
        )
    return StaffSettings(
        profile=profile,
        city=city,
        database_url=given["AKASHI_STAFF_DATABASE_URL"],
        token_file=Path(given["AKASHI_STAFF_TOKEN_FILE"]),
        host=host,
        port=port,
        session_seconds=_whole(given, "AKASHI_STAFF_SESSION_SECONDS", 60, 86_400),
        idle_seconds=_whole(given, "AKASHI_STAFF_IDLE_SECONDS", 60, 86_400),
        stuck_seconds=_whole(given, "AKASHI_STAFF_STUCK_SECONDS", 1, 86_400),
        slow_ms=_whole(given, "AKASHI_STAFF_SLOW_MS", 1, 3_600_000),
        alarm_seconds=_whole(given, "AKASHI_STAFF_ALARM_SECONDS", 0, 3_600),
        threads=_whole(given, "AKASHI_STAFF_THREADS", 2, 64),
    )


def _whole(given: Mapping[str, str], name: str, low: int, high: int) -> int:
    text = given[name]
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and low <= int(text) <= high):
        raise StaffSettingsError("bad-variable", f"{name} must be a whole number from {low} to {high}")
    return int(text)


def _parse_bind(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65_536:
        raise StaffSettingsError("bad-variable", "AKASHI_STAFF_BIND must be host:port")
    return host.strip("[]"), int(port)


def _is_inside(host: str, profile: str) -> bool:
    # A console for staff is never offered to the Internet by a slip of one variable.
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if address.is_unspecified:
        return False
    return address.is_loopback or (profile == "production" and address.is_private)
