"""The whole house, really running: what a phone waits for."""

from __future__ import annotations

import http.client
import time
from datetime import UTC, datetime
from pathlib import Path

from app.counterparts.jpki.authority import MockJpki
from app.house.home import Home
from app.house.house import House, HouseSettings
from app.house.people import FISCAL_YEAR, PASSWORDS, find_people, is_taxed, make_card
from app.registers.store import RegisterStore
from app.storage.engine import open_store
from mobile_api.client import Phone


class HouseBench:
    """A running house with one registered phone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._house = House(Home(directory / "house"), HouseSettings(residents=200))

    def __enter__(self) -> HouseBench:
        try:
            self._house.start()
            home = self._house.home
            person = find_people(RegisterStore(open_store(home.store("registers"))), {"one": is_taxed})["one"]
            authority = MockJpki(home.jpki, now=datetime.now(UTC))
            self._card = make_card(authority, person, self._directory / "card.json", now=datetime.now(UTC))
            assert self._house.trust is not None
            self._phone = Phone(
                self._directory / "phone", self._house.address("door"), self._house.trust.content
            )
            self._phone.sign_up(self._card, PASSWORDS, timeout=60)
        except BaseException:
            self._house.stop()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self._phone.close()
        self._house.stop()

    def public_file_latencies(self, count: int) -> list[float]:
        """Seconds for each GET of the checkpoint over one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self._house.port("door"), timeout=10)
        times = []
        for _ in range(count):
            started = time.perf_counter()
            connection.request("GET", "/992011/log/1/checkpoint")
            connection.getresponse().read()
            times.append(time.perf_counter() - started)
        connection.close()
        return times

    def round_trips(self, count: int) -> list[float]:
        """Seconds from a sealed question of the phone to the city's signed answer (the history)."""
        times = []
        for _ in range(count):
            started = time.perf_counter()
            self._phone.ask_history(timeout=30)
            times.append(time.perf_counter() - started)
        return times

    def certificate_times(self, count: int) -> list[float]:
        """Seconds from the request to the fetched package."""
        times = []
        for number in range(count):
            started = time.perf_counter()
            request = self._phone.request_certificate(
                FISCAL_YEAR, f"bench {number}", self._card, PASSWORDS.authentication
            )
            list(self._phone.wait(request, timeout=60))
            self._phone.fetch_package(request)
            times.append(time.perf_counter() - started)
        return times
