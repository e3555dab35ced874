"""The whole house, really running: what a phone waits for."""

from __future__ import annotations

import http.client
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from app.counterparts.jpki.authority import MockJpki
from app.frames import read_token
from app.house.home import Home
from app.house.house import House, HouseSettings
from app.house.people import FISCAL_YEAR, PASSWORDS, find_people, is_taxed, make_card
from app.registers.store import RegisterStore
from app.storage.engine import open_store
from chain.client import LogClient
from mobile_api.client import Phone

ANCHORING_SECONDS = 120


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

    def card_logins(self, count: int) -> list[float]:
        """Seconds from the touched card to the city's word on it: nonce fetched, card signs, message posted, nonce, card
        certificate, revocation and gate asked, signed answer read. The certificate that follows is waited for outside.
        """
        times = []
        for number in range(count):
            started = time.perf_counter()
            request = self._phone.request_certificate(
                FISCAL_YEAR, f"login {number}", self._card, PASSWORDS.authentication
            )
            stages = self._phone.wait(request, timeout=60)
            next(stages)
            times.append(time.perf_counter() - started)
            list(stages)
            self._phone.fetch_package(request)
        return times

    def log_times(self, count: int) -> tuple[list[float], list[float]]:
        """Seconds from an entry handed to the log until its checkpoint is signed and published, and until it is anchored.

        Anchored: the log has the receipt of a checkpoint that covers the entry.
        """
        client = LogClient(self._house.address("log"), read_token(self._house.home.token("log")))
        signed, anchored = [], []
        for _ in range(count):
            started = time.perf_counter()
            logged = client.append([os.urandom(32)])[0]
            signed.append(time.perf_counter() - started)
            while _anchored_size(client) <= logged.index:
                if time.perf_counter() - started > ANCHORING_SECONDS:
                    raise SystemExit("the entry was not anchored")
                time.sleep(0.05)
            anchored.append(time.perf_counter() - started)
        return signed, anchored

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


def _anchored_size(client: LogClient) -> int:
    note = client.find_public("anchored")
    return 0 if note is None else int(note.split(b"\n", 2)[1])
