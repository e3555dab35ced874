"""`akashi revoke`: a script revokes as the demo city's two members of staff do it, at the console. 模擬/MOCK, demo only.

There is no way round the two: one asks, the other confirms, over HTTP with their own logins, and the worker does what the
console hands it. In production nobody has both passwords, and this refuses to try.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, select

from app.claims.certificate_number import certificate_number
from app.errors import CityError
from app.house.home import Home
from app.house.house import read_addresses
from app.house.staff_browser import StaffBrowser
from app.house.staff_logins import find_or_make_logins
from app.settings import require_demo
from app.staff.revocations import REASONS
from app.storage.certificates import find_package_id
from app.storage.copies import has_released_copies
from app.storage.engine import open_store
from app.storage.tables import certificates, copies, requests, revocations

WAIT_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 0.2
_CERTIFICATE_NUMBER: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]{4}(?:-[0-9A-HJKMNP-TV-Z]{4}){2}")


@dataclass(frozen=True, slots=True)
class Revoked:
    """request: its number at the console. revoked: by this call or before."""

    request: str
    reason: str
    again: bool

    def as_json(self) -> dict[str, object]:
        """For stdout."""
        return {"revoked": True, "request": self.request, "reason": self.reason, "again": self.again}


def check_demo(home: Home, environ: Mapping[str, str]) -> None:
    """Raises SettingsError in the production profile, CityError for a directory that is no demo city."""
    require_demo(environ.get("AKASHI_PROFILE") or "demo", "akashi revoke")
    if not (home.root / "set-up.json").exists():
        raise CityError("no-demo-city", f"{home.root} was not made by `akashi up`")


def revoke_as_two(
    home: Home,
    number: str,
    reason: str,
    *,
    wait: float = WAIT_SECONDS,
    browser: Callable[[str], StaffBrowser] = StaffBrowser,
) -> Revoked:
    """Have a request's documents revoked and wait until the worker has done it. The house must run.

    `number`: a request's number as the console shows it (phone or wallet), or the number of a certificate or copy.
    `reason`: one of the console's words. Raises CityError: "no-such-reason", "no-such-number", "nothing-to-revoke",
    "not-revocable" (the console does not offer it), "not-done" (the worker did not do it in `wait` seconds); OSError
    when the console is away.
    """
    if reason not in REASONS:
        raise CityError("no-such-reason", f"one of {', '.join(REASONS)}")
    store = open_store(home.store("worker"))
    try:
        request = find_request_number(store, number)
        if request is None:
            raise CityError("no-such-number", number[:64])
        with store.begin() as connection:
            handed_over = _is_handed_over(connection, request)
        if not handed_over:
            raise CityError("nothing-to-revoke", f"nothing was handed over for {request}")
        if _is_revoked(store, request):
            return Revoked(request, reason, again=True)
        first, second = (browser(f"http://127.0.0.1:{read_addresses(home)['staff']}") for _ in range(2))
        for person, (name, password) in zip((first, second), find_or_make_logins(home).items(), strict=True):
            person.log_in(name, password)
        end, agreed = time.monotonic() + wait, False
        while not _is_revoked(store, request):
            if time.monotonic() > end:
                what = "the worker has not done it" if agreed else "the console does not offer it"
                raise CityError("not-done" if agreed else "not-revocable", f"{what}: {request}")
            if not agreed:
                # The console hears of a request a moment after it ended. Asked before, by whomever: not asked twice.
                with contextlib.suppress(OSError):
                    first.ask_revocation(request, reason, "")
                agreed = any(_confirms(person, request) for person in (second, first))
            time.sleep(PAUSE_SECONDS)
        return Revoked(request, reason, again=False)
    finally:
        store.dispose()


def find_request_number(store: Engine, number: str) -> str | None:
    """The request behind a request number or a certificate's number (also of a copy); None if there is none.

    A wallet's copy says a number of its own (claim `certificate_number`); it counts like a printed one. A number on two
    certificates (60 of 128 bits) is no number of one: None.
    """
    with store.begin() as connection:
        known = connection.execute(
            select(requests.c.request_id).where(requests.c.request_id == number)
        ).scalar_one_or_none()
        if known is not None:
            return str(known)
        if _CERTIFICATE_NUMBER.fullmatch(number) is None:
            return None
        rows = connection.execute(
            select(certificates.c.certificate_id, certificates.c.request_id).union_all(
                select(copies.c.copy_id, copies.c.request_id)
            )
        ).all()
    found = [request for document, request in rows if certificate_number(bytes.fromhex(document)) == number]
    return str(found[0]) if len(found) == 1 else None


def _is_handed_over(connection: Connection, request: str) -> bool:
    return find_package_id(connection, request) is not None or has_released_copies(connection, request)


def _confirms(person: StaffBrowser, request: str) -> bool:
    # Refused to whoever asked himself.
    try:
        person.confirm_revocation(request)
    except OSError:
        return False
    return True


def _is_revoked(store: Engine, request: str) -> bool:
    with store.begin() as connection:
        found = connection.execute(
            select(revocations.c.request_id).where(revocations.c.request_id == request)
        ).first()
    return found is not None
