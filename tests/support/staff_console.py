"""A staff console on a temporary store, with a clock a test can move, for the tests of app/staff."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from flask.testing import FlaskClient

from app.staff.console import create_app
from app.staff.doors import Doors
from app.staff.settings import StaffSettings
from app.staff.store import Store

TOKEN = "worker-token-of-a-test-0123456789abcdef"
PASSWORD = "a long enough password"


@dataclass
class Clock:
    """Stands still until a test moves it."""

    now: datetime = field(default_factory=lambda: datetime(2026, 11, 20, 3, 0, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        """Move on."""
        self.now += timedelta(seconds=seconds)


class Console:
    """The application, its doors and clock; `browser()` is a fresh person, `worker(…)` a machine call."""

    def __init__(self, directory: Path, *, profile: str = "demo", store: Store | None = None) -> None:
        self.clock = Clock()
        self.store = store or Store(f"sqlite:///{directory / 'staff.db'}")
        self.store.upgrade()
        city = "992011" if profile == "demo" else "402052"
        self.settings = StaffSettings(profile, city, self.store.url, directory / "token")
        self.app = create_app(self.settings, self.store, clock=self.clock, worker_token=TOKEN.encode())
        self.doors: Doors = self.app.extensions["staff"]

    def close(self) -> None:
        """Give the files back."""
        self.store.close()

    def browser(self) -> FlaskClient:
        """A browser that nobody has used."""
        return self.app.test_client()

    def person(self, name: str) -> FlaskClient:
        """A new member of staff, logged in."""
        # A stored hash names its own cost, so the cheap ones of a test are as good as others.
        with patch("app.staff.passwords.SCRYPT_N", 1 << 10):
            self.doors.logins.add(name, PASSWORD, self.clock())
            browser = self.browser()
            assert login(browser, name, PASSWORD).status_code == 303
        return browser

    def worker(self, method: str, path: str, body: bytes = b"", token: str = TOKEN) -> Any:
        """One call with the worker's token."""
        return self.browser().open(
            path, method=method, data=body, headers={"Authorization": f"Bearer {token}"}
        )


def login(browser: FlaskClient, name: str, password: str, code: str = "") -> Any:
    """Open the form and send it."""
    form = {"csrf": csrf_of(browser.get("/login").text), "name": name, "password": password, "code": code}
    return browser.post("/login", data=form)


def csrf_of(page: str) -> str:
    """The token in the page's first form."""
    match = re.search(r'name="csrf" value="([^"]+)"', page)
    assert match is not None, "a page without a form token"
    return match.group(1)
