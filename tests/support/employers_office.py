"""An employer's office for tests over sockets: a desk's folder and commands, a door of two workers, a city of today.

Everything is dated by the wall clock, because the door's is. 模擬/MOCK.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.sealing.pki import PkiSettings, create_demo_pki
from tests.support.door_process import ROOT, door_process
from tests.support.verifier_bundles import ISS, PUBLIC_URL, MiniCity, mini_city, with_data
from tests.support.wallet_of_others import Wallet

DAY = dt.timedelta(days=1)
JAPAN = dt.timezone(dt.timedelta(hours=9))


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


class Office:
    """A desk with its folder, a door and a city of today."""

    def __init__(self, folder: Path, base: str, city: MiniCity) -> None:
        self.folder, self.base, self.city = folder, base, city

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(self._command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert "Traceback" not in done.stderr
        return done

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command(*arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    @staticmethod
    def _command(*arguments: object) -> list[str]:
        return [sys.executable, "-m", "verifier", *map(str, arguments)]

    def ask(self, *more: object, items: tuple[str, ...] = ("subject.name", "income.total")) -> dict[str, str]:
        wanted = [word for item in items for word in ("--item", item)]
        done = self.run(
            *("request", *wanted, "--trust", self.folder / "trust", "--key", self.folder / "desk.key"),
            *("--public-url", PUBLIC_URL, "--door", self.base, "--json", *more),
        )
        assert done.returncode == 0, done.stderr
        value = json.loads(done.stdout)
        assert set(value) == {"request", "link", "result", "qr"}
        return value

    def result_arguments(self, result: str, *more: object) -> tuple[object, ...]:
        base = f"{PUBLIC_URL}={self.base}"
        return ("result", result, "--trust", self.folder / "trust", "--base-url", base, *more)

    def result(self, result: str, *more: object) -> subprocess.CompletedProcess[str]:
        return self.run(*self.result_arguments(result, *more))

    def wallet(self) -> Wallet:
        today = now().astimezone(JAPAN).date()
        data = with_data(issued_on=today.isoformat(), valid_until=(today + 90 * DAY).isoformat())
        return Wallet(self.city.credential(data), self.city.holder, int(now().timestamp()))

    def to(self, address: str) -> str:
        return address.replace(PUBLIC_URL, self.base, 1)

    def publish_status(self, **changes: object) -> None:
        file = self.folder / "public" / "992011" / "status" / "1"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.city.status(issued=now(), **changes))


@contextmanager
def open_office(folder: Path) -> Iterator[Office]:
    """The door runs, the trust list is accepted, the desk has its keys."""
    pki = create_demo_pki(folder / "pki", PkiSettings(iss=ISS), now() - dt.timedelta(hours=1))
    city = dataclasses.replace(mini_city(), pki=pki)
    (folder / "root.json").write_bytes(city.trust_data(expires=now() + 30 * DAY))
    with door_process(folder) as base:
        office = Office(folder, base, city)
        office.publish_status()
        added = office.run(
            *("trust", "add", folder / "root.json", "--trust", folder / "trust"),
            *("--fingerprint", city.trust().fingerprint),
        )
        assert added.returncode == 0, added.stderr
        made = office.run("keygen", folder / "desk.key")
        assert json.loads(made.stdout)["client_id"].startswith("x509_hash:")
        yield office
