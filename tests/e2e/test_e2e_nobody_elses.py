"""A package reaches only the person it is for: many phones at once, some killed and started again, every package compared.

Slow (about 60 s): a hundred certificates are drawn, sealed and logged one after the other.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import app.issuance.walk as walk_module
from app.claims.certificate_data import DEMO_AUTHORITY
from app.delivery.bundle import Documents
from app.errors import GateError
from app.house.people import FISCAL_YEAR, PASSWORDS
from app.issuance.log_door import Place
from app.issuance.maker import Maker, MakerSettings
from app.issuance.walk import Walk, WalkSettings
from app.registers.release import Released
from app.registers.resident import Resident
from app.storage.certificates import Reservation
from app.storage.status_entries import open_status_list
from mobile_api.door_client import Reply, UrllibTransport
from mobile_api.errors import DoorUnavailable, NoAnswerYet
from tests.support.city_rooms import CityRooms, Device, city_rooms
from tests.support.door_house import make_bundle
from tests.support.running_house import (
    Holder,
    RunningHouse,
    certificate_of,
    is_valid,
    wait_for,
)
from verifier.errors import FormatError
from verifier.formats.bundle import parse_bundle
from verifier.formats.credential import parse_credential
from verifier.formats.encoding import canonical_json
from verifier.formats.jose import agreement, parse_jwk, parse_jws, thumbprint
from verifier.formats.names import CREDENTIAL_TYP
from verifier.formats.package import open_package

pytestmark = pytest.mark.slow

PHONES = 25
REQUESTS = 4
ENOUGH_SECONDS = 70
"""No new wish is begun after this; a slow machine makes fewer certificates, but not fewer than AT_LEAST."""
AT_LEAST = 2 * PHONES


@pytest.fixture
def rooms(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityRooms]:
    yield from city_rooms(tmp_path / "rooms", tmp_path_factory)


class Killed(BaseException):
    """kill -9, as far as a phone in a thread can have it: nothing after this line runs."""


class DyingTransport(UrllibTransport):
    """Dies at a random call, before it is sent or after it was answered; then no more until it is wound up again."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self._dice = dice
        self.left = dice.randrange(1, 6)

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> Reply:
        self.left -= 1
        dies = self.left == 0
        if dies and self._dice.random() < 0.5:
            raise Killed
        reply = super().send(method, url, headers, body, timeout)
        if dies:
            raise Killed
        return reply


class Requester:
    """One resident with a phone that is killed now and then and goes on from its directory."""

    def __init__(self, house: RunningHouse, number: int) -> None:
        self.dice = random.Random(number)
        self.name = f"requester-{number}"
        self.dies = number % 3 == 0
        self.deaths = 0
        resident = house.take_resident()
        self.holder = Holder(house, resident, house.card(resident), house.phone(self.name))
        self.purposes: list[str] = []

    def run(self, end: float) -> None:
        """Register, then one wish after the other."""
        self._survive(lambda: self.holder.phone.sign_up(self.holder.card, PASSWORDS, timeout=120))
        for number in range(REQUESTS):
            if time.monotonic() > end:
                return
            purpose = f"{self.name} / {number}"
            self.purposes.append(purpose)
            self._survive(lambda purpose=purpose: self._one(purpose))

    def _one(self, purpose: str) -> None:
        known = [
            r for r in self.holder.phone.requests() if r["purpose"] == purpose and r["state"] == "fetched"
        ]
        if not known:
            request = self.holder.request(purpose)
            self.holder.wait(request, timeout=120)
            self.holder.phone.fetch_package(request)

    def _survive(self, work: Callable[[], None]) -> None:
        while True:
            if self.dies and self.deaths < 12:
                self._restart(DyingTransport(self.dice))
            try:
                work()
                return
            except Killed:
                self.deaths += 1
                self._restart(None)
            except (NoAnswerYet, DoorUnavailable):
                time.sleep(0.2)

    def _restart(self, transport: DyingTransport | None) -> None:
        self.holder.phone.close()
        self.holder.phone = self.holder.house.phone(self.name, transport=transport)


def address_of(person: Resident) -> str:
    """Where the register says that somebody lived on 1 January."""
    address = person.address_on(date(FISCAL_YEAR, 1, 1))
    return "" if address is None else address.text


def mismatches(person: Resident, key: str, purpose: str | None, bundle: bytes) -> list[str]:
    """In what a bundle differs from who asked for it. Two people may share name and birth date, not the address too."""
    data = certificate_of(bundle)
    claims = parse_jws(parse_credential(parse_bundle(bundle).credential).issuer_jwt, typ=CREDENTIAL_TYP)
    bound = parse_jwk(claims.payload_object()["cnf"]["jwk"])
    found = {
        "name": data["subject"]["name"] != person.name,
        "birthdate": data["subject"]["birthdate"] != person.birthdate.isoformat(),
        "address": data["subject"]["address_jan1"] != address_of(person),
        "key": thumbprint(bound) != key,
        "purpose": purpose is not None and data["remarks"] != purpose,
    }
    return [what for what, differs in found.items() if differs]


@pytest.fixture(scope="module")
def requesters(house: RunningHouse) -> list[Requester]:
    """Everybody at once, until each wish is fetched."""
    made = [Requester(house, number) for number in range(PHONES)]
    end = time.monotonic() + ENOUGH_SECONDS
    with ThreadPoolExecutor(PHONES) as pool:
        for done in [pool.submit(requester.run, end) for requester in made]:
            done.result()
    return made


def test_every_package_is_its_requesters(house: RunningHouse, requesters: list[Requester]) -> None:
    """Decrypted with the requester's key: name, birth date, purpose, holder key are the requester's. 0 mismatches."""
    compared = 0
    for requester in requesters:
        resident, phone = requester.holder.resident, requester.holder.phone
        entries = {entry["purpose"]: entry for entry in phone.requests()}
        assert sorted(entries) == sorted(requester.purposes)
        for purpose, entry in entries.items():
            bundle = phone.open(entry["id"])
            wrong = mismatches(resident, phone.signing_thumbprint, purpose, bundle)
            assert wrong == [], f"{requester.name}: {wrong}"
            assert entry["fiscal_year"] == certificate_of(bundle)["fiscal_year"] == FISCAL_YEAR
            compared += 1
        # The verifier's own word, on one of each: the whole walk takes a tenth of a second.
        assert is_valid(house, phone.open(next(iter(entries.values()))["id"]))
    assert compared >= AT_LEAST
    assert len({r.holder.resident.resident_id for r in requesters}) == PHONES


def test_phones_really_died(requesters: list[Requester]) -> None:
    assert sum(requester.deaths for requester in requesters) >= 20
    assert not [requester for requester in requesters if requester.dies and not requester.deaths]


def test_nobody_opens_anothers_package(requesters: list[Requester]) -> None:
    keys = [(r.holder.phone.encryption_thumbprint, r.holder.phone._home.encryption_key) for r in requesters]
    tried = 0
    for number, requester in enumerate(requesters):
        directory = requester.holder.phone._home.directory / "packages"
        package = next(path for path in sorted(directory.iterdir()) if path.suffix == ".akashi").read_bytes()
        for other, (kid, key) in enumerate(keys):
            if other == number:
                assert open_package(package, kid, agreement(key)).plaintext
                continue
            with pytest.raises(FormatError):
                open_package(package, kid, agreement(key))
            with pytest.raises(FormatError):  # nor by saying that one is the recipient
                open_package(package, keys[number][0], agreement(key))
            tried += 1
    assert tried == PHONES * (PHONES - 1)


def test_each_wish_is_exactly_one_certificate(house: RunningHouse, requesters: list[Requester]) -> None:
    wishes = sum(len(requester.purposes) for requester in requesters)
    accounts = [requester.holder.phone.account for requester in requesters]
    marks = ",".join("?" * len(accounts))
    rows = house.rows(
        "worker",
        "SELECT r.account, r.idempotency_key, c.certificate_id, c.entry, c.status_list, c.status_index, r.state"
        f" FROM requests r LEFT JOIN certificates c ON c.request_id = r.request_id WHERE r.account IN ({marks})",
        *accounts,
    )
    assert len(rows) == wishes
    assert {row[6] for row in rows} == {"released"}
    assert (
        len({row[:2] for row in rows})
        == len({row[2] for row in rows})
        == len({row[3] for row in rows})
        == wishes
    )
    assert len({row[4:6] for row in rows}) == wishes
    bound = house.rows(
        "worker", f"SELECT count(DISTINCT binding) FROM accounts WHERE account IN ({marks})", *accounts
    )
    assert bound == [(PHONES,)]
    wait_for(
        lambda: house.rows("worker", "SELECT count(*) FROM outbox WHERE sent_at IS NULL")[0][0] == 0,
        30,
        "the outbox",
    )


# ---- controls: a planted mix-up ------------------------------------------------------------


def reservation() -> Reservation:
    return Reservation(
        bytes(16), "r" * 22, 1_795_136_523, "2027-02-20", 1, 1, bytes(32), bytes(32), bytes(32)
    )


def make(rooms: CityRooms, released: Released) -> Documents:
    settings = MakerSettings(
        "https://door.mihon.example",
        DEMO_AUTHORITY,
        92,
        bytes(8),
        "iss",
        "vct",
        (),
        lambda number: str(number),
    )
    nobody: Any = None
    maker = Maker(
        settings, renderer=nobody, keys=nobody, timestamp=nobody, material=nobody, clock=rooms.clock
    )
    return maker.make(
        released, reservation(), issued_on=date(2026, 11, 20), purpose="", phone_signing_jwk="{}"
    )


def test_control_a_record_of_somebody_else_is_not_even_drawn(rooms: CityRooms) -> None:
    """Two records mixed up between the registers and the maker: stopped before anything is signed."""
    one, two = rooms.people[:2]
    release = rooms.gate._registers
    mine = release.release(one.resident_id, "income_certificate", FISCAL_YEAR)
    theirs = release.release(two.resident_id, "income_certificate", FISCAL_YEAR)
    with pytest.raises(GateError, match="other-person"):
        make(rooms, replace(mine, record=theirs.record))
    # The right record passes this check and falls over the missing keys behind it.
    with pytest.raises(AttributeError):
        make(rooms, mine)


class MixedUpMaker:
    """Makes documents in the right form, about whoever is in `about`, in turn."""

    def __init__(self, about: list[Any]) -> None:
        self.about = about
        self.lock = threading.Lock()

    def make(
        self, _released: Released, _reservation: Reservation, *, phone_signing_jwk: str, **_more: Any
    ) -> Documents:
        from cryptography.hazmat.primitives.asymmetric import ec

        from verifier.formats.encoding import parse_canonical_json
        from verifier.formats.jose import parse_jwk

        person = self.about.pop(0)
        holder = parse_jwk(parse_canonical_json(phone_signing_jwk.encode()))
        parts = parse_bundle(make_bundle(ec.generate_private_key(ec.SECP256R1()), holder))
        subject = {
            "address_jan1": address_of(person),
            "birthdate": person.birthdate.isoformat(),
            "name": person.name,
        }
        data = canonical_json({"remarks": "", "subject": subject})
        return Documents(parts.page or b"", data, parts.credential.decode())


def corridor(rooms: CityRooms, maker: MixedUpMaker) -> Walk:
    """The real corridor with the real register gate; page, seal, log and verifier are left out."""
    with rooms.store.begin() as connection:
        open_status_list(connection, 1, size=1024)
    return Walk(
        rooms.store,
        WalkSettings(DEMO_AUTHORITY),
        gate=rooms.direct,  # type: ignore[arg-type]
        maker=maker,  # type: ignore[arg-type]
        log_door=SimpleNamespace(append=lambda entries: [Place(n, "proof") for n, _ in enumerate(entries)]),  # type: ignore[arg-type]
        gatekeeper=SimpleNamespace(check=lambda *_a, **_b: None),  # type: ignore[arg-type]
        status_token=lambda _number: b"status",
        clock=rooms.clock,
    )


def delivered(rooms: CityRooms, device: Device) -> list[bytes]:
    """What this phone would open of what is on its way to it."""
    rows = rooms.rows(
        f"SELECT body FROM outbox WHERE kind = 'package' AND account = '{device.account}' ORDER BY position"
    )
    kid = thumbprint(device.encryption.public_key())
    return [open_package(bytes(body), kid, agreement(device.encryption)).plaintext for (body,) in rows]


def two_requests(rooms: CityRooms) -> list[Device]:
    devices = [rooms.registered(person) for person in rooms.people[:2]]
    for device in devices:
        device.send(device.request_body())
        rooms.clock.forward(seconds=1)
    return devices


def wrong(rooms: CityRooms, devices: list[Device]) -> list[str]:
    found: list[str] = []
    for device, person in zip(devices, rooms.people, strict=False):
        for bundle in delivered(rooms, device):
            found += mismatches(person, thumbprint(device.signing.public_key()), None, bundle)
    return found


def test_the_corridor_without_a_mix_up(rooms: CityRooms) -> None:
    devices = two_requests(rooms)
    corridor(rooms, MixedUpMaker(list(rooms.people[:2]))).run_once()
    assert [len(delivered(rooms, device)) for device in devices] == [1, 1]
    assert wrong(rooms, devices) == []


def test_control_documents_of_two_residents_exchanged_are_stopped_at_the_last_door(rooms: CityRooms) -> None:
    devices = two_requests(rooms)
    corridor(rooms, MixedUpMaker([rooms.people[1], rooms.people[0]])).run_once()
    assert [delivered(rooms, device) for device in devices] == [[], []]
    assert rooms.rows("SELECT DISTINCT state, refusal_code FROM requests") == [("failed", "other-person")]
    assert rooms.rows("SELECT count(*) FROM artifacts") == [(0,)]


def test_control_without_the_last_door_the_comparison_finds_them(
    rooms: CityRooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk_module, "check_subject", lambda *_arguments: None)
    devices = two_requests(rooms)
    corridor(rooms, MixedUpMaker([rooms.people[1], rooms.people[0]])).run_once()
    found = wrong(rooms, devices)
    assert found.count("name") == found.count("birthdate") == 2
