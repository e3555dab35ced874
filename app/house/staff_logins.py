"""Two members of staff for the demo city, with random passwords in a file of mode 0600. 模擬/MOCK."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Final

from app.house.home import Home
from app.house.setup import CITY
from app.staff.logins import Logins
from app.staff.secret_files import create_secret_file
from app.staff.store import Store

NAMES: Final = ("mihon.ichiro", "mihon.jiro")


def find_or_make_logins(home: Home) -> dict[str, str]:
    """Passwords by name; made at the first call (the console's store must exist: it is running)."""
    path = home.staff_passwords
    if path.exists():
        lines = path.read_text(encoding="ascii").split("\n")
        return dict(line.split(" ", 1) for line in lines if line)
    passwords = {name: secrets.token_urlsafe(18) for name in NAMES}
    logins = Logins(Store(home.store("staff")), CITY)
    for name, password in passwords.items():
        logins.add(name, password, datetime.now(UTC))
    create_secret_file(path, "\n".join(f"{name} {password}" for name, password in passwords.items()))
    return passwords
