"""The whole house as real processes for end-to-end tests: one house a test worker, shared by every file that asks.

    @pytest.fixture(scope="session")
    def house() -> Iterator[RunningHouse]:
        yield from shared_house()

Everybody reaches the street door through `house.door` (`hostile_door.HostileDoor`), which is honest unless a test says
otherwise. Tests that use it lie in tests/e2e, which one worker runs (tests/conftest.py). Nothing is left
running: the last user stops the house, and a watchman process ends it if this process is killed.
"""

from __future__ import annotations

import io
import itertools
import os
import shutil
import sqlite3
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from app.counterparts.jpki.authority import MockJpki
from app.counterparts.jpki.issuing import issue_card
from app.counterparts.jpki.profiles import new_key
from app.counterparts.jpki.reader import CardReader
from app.errors import Refusal
from app.house.home import Home
from app.house.house import House, HouseSettings
from app.house.people import FISCAL_YEAR, PASSWORDS, Candidate, Wanted, find_people
from app.house.processes import Process, Processes, answers, free_port
from app.house.setup import CITY, PUBLIC_URL
from app.house.witnesses import WITNESSES
from app.recipients.cli import run_add
from app.registers.card_attributes import card_attributes
from app.registers.release import RecordRelease
from app.registers.resident import Resident
from app.registers.store import RegisterStore
from app.storage.engine import open_store
from mobile_api.client import CardSignature, Phone
from tests.support.hostile_door import HostileDoor
from tests.support.watched_processes import Watchman, start_watchman
from verifier import door as desk_door
from verifier.formats.bundle import parse_bundle
from verifier.formats.encoding import canonical_json, parse_canonical_json, parse_json
from verifier.formats.jose import agreement, es256_signer, thumbprint
from verifier.formats.package import open_package
from verifier.formats.submission_request import (
    SubmissionRequest,
    build_submission_request,
    format_request_qr,
    request_secret,
)
from verifier.http import HttpSources
from verifier.policy import find_policy
from verifier.refresh import refresh_evidence
from verifier.report import Report, Verdict
from verifier.sources import OfflineSources
from verifier.trust import TrustList
from verifier.verify import examine

RESIDENTS = 600  # a third of them find a certificate; the end-to-end files together take some hundred
CARD_KEYS = 6


def now() -> datetime:
    """UTC."""
    return datetime.now(UTC)


class KnownProcesses(Processes):
    """Tells whether one of them runs."""

    def is_running(self, name: str) -> bool:
        return name in self.names and name not in self.ended()


class DoorBehindProxy(House):
    """A house whose street door stands behind `door`, with limits that many phones on one address do not meet."""

    def __init__(self, home: Home, settings: HouseSettings) -> None:
        super().__init__(home, settings)
        self.processes: KnownProcesses = KnownProcesses(home.logs)
        self._inside = free_port()
        self.door = HostileDoor(self._inside)

    def _read_ports(self) -> dict[str, int]:
        ports = {**super()._read_ports(), "door": self.door.port}
        # Commands of people find the house by this file: they go through the proxy like everybody.
        self.home.addresses.write_bytes(orjson.dumps(ports))
        return ports

    def _door(self) -> Process:
        made = super()._door()
        limits = {
            "AKASHI_DOOR_PORT": str(self._inside),
            "AKASHI_DOOR_RATE_SIGN_UP": "10000",
            "AKASHI_DOOR_RATE_NONCE": "10000",
            "AKASHI_DOOR_RATE_ACCOUNT": "10000",
            "AKASHI_DOOR_RATE_REQUEST": "10000",
            "AKASHI_DOOR_RATE_MAIL": "1000",
            "AKASHI_DOOR_THREADS": "64",
            "AKASHI_DOOR_MAX_WAITERS": "48",
        }
        return Process("door", made.command, {**made.environment, **limits}, answers(self._inside))


class WitnessedCard:
    """A card that writes down what it signed: (statement, answer), what an attacker with luck may have recorded."""

    def __init__(self, reader: CardReader) -> None:
        self._reader = reader
        self.documents: list[tuple[bytes, CardSignature]] = []
        self.authentications: list[tuple[bytes, CardSignature]] = []

    def sign_document(self, password: str, data: bytes) -> CardSignature:
        made = self._reader.sign_document(password, data)
        self.documents.append((data, made))
        return made

    def authenticate(self, pin: str, data: bytes) -> CardSignature:
        made = self._reader.authenticate(pin, data)
        self.authentications.append((data, made))
        return made


@dataclass
class Desk:
    """An employer's desk with its keys in this process."""

    house: RunningHouse
    name: str
    purpose: str
    mail: str | None
    key: ec.EllipticCurvePrivateKey
    signing_key: ec.EllipticCurvePrivateKey
    descriptor: bytes = b""
    request_id: str = ""

    @property
    def qr(self) -> str:
        """The text of the QR code."""
        return format_request_qr(PUBLIC_URL, self.request_id, request_secret(self.descriptor))

    def ask(self, *, registered: bool = True) -> str:
        """Store the request at the door; the QR code's text."""
        statement = self.house.recipient_statement(self) if registered else None
        request = SubmissionRequest(
            name=self.name,
            purpose=self.purpose,
            items=("all",),
            keep_until=(now() + timedelta(days=365)).date(),
            keys=(self.key.public_key(),),
            signing_key=self.signing_key.public_key(),
            upload=PUBLIC_URL,
            expires=now().replace(microsecond=0) + timedelta(days=30),
            salt=os.urandom(16),
            statement=statement,
            mail=self.mail,
        )
        self.descriptor = build_submission_request(request, es256_signer(self.signing_key))
        base = self.house.base_url
        self.request_id = desk_door.post_request(base, self.descriptor, self.signing_key, now())
        return self.qr

    def inbox(self) -> tuple[desk_door.Submission, ...]:
        """What has arrived."""
        return desk_door.list_submissions(self.house.base_url, self.request_id, self.signing_key, now())

    def fetch(self, receipt: str) -> bytes:
        """One package."""
        return desk_door.fetch_submission(
            self.house.base_url, self.request_id, receipt, self.signing_key, now()
        )

    def open(self, package: bytes) -> bytes:
        """The presentation inside. Raises: FormatError."""
        return open_package(package, thumbprint(self.key.public_key()), agreement(self.key)).plaintext

    def judge(self, package: bytes, policy: str = "offline") -> Report:
        """The employer's verdict on a package as an answer to this request."""
        return examine(
            self.open(package),
            trust=self.house.trust,
            policy=find_policy(policy),
            now=now(),
            sources=OfflineSources() if policy == "offline" else self.house.sources(),
            request=self.descriptor,
        )


@dataclass
class RunningHouse:
    """A started house and everything a test needs around it."""

    root: Path
    house: DoorBehindProxy
    watchman: Watchman
    start_seconds: float
    users: int = 0
    witnessed: list[WitnessedCard] = field(default_factory=list)
    _people: list[Candidate] | None = None
    _keys: Iterator[rsa.RSAPrivateKey] | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def start(cls) -> RunningHouse:
        """Start every process in a new temporary directory. Raises CityError."""
        root = Path(tempfile.mkdtemp(prefix="akashi-e2e-"))
        watchman = start_watchman(root)
        begun = time.monotonic()
        house = DoorBehindProxy(Home(root / "house"), HouseSettings(residents=RESIDENTS))
        running = cls(root, house, watchman, 0.0)
        try:
            house.start()
        except BaseException:
            running.stop()
            raise
        running.start_seconds = time.monotonic() - begun
        return running

    def stop(self) -> None:
        """End everything and remove the directory."""
        try:
            self.house.stop()
            self.house.door.close()
        finally:
            self.watchman.farewell()
            shutil.rmtree(self.root, ignore_errors=True)

    # ---- where things are ---------------------------------------------------------------------------------------

    @property
    def home(self) -> Home:
        return self.house.home

    @property
    def door(self) -> HostileDoor:
        """The proxy everybody speaks to."""
        return self.house.door

    @property
    def base_url(self) -> str:
        """Where phones and employers reach the door."""
        return self.house.address("door")

    @property
    def trust(self) -> TrustList:
        if self.house.trust is None:
            raise RuntimeError("not started")
        return self.house.trust

    def sources(self) -> HttpSources:
        return HttpSources([self.trust], base_urls={PUBLIC_URL: self.base_url}, timeout=5.0)

    def rows(self, store: str, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Read from one process's store beside it."""
        return read_rows(self.home.store_path(store), query, *parameters)

    def registers(self) -> RegisterStore:
        return RegisterStore(open_store(self.home.store("registers")))

    # ---- people, cards, phones -------------------------------------------------------------------------------------

    def take_resident(self, fits: Wanted = lambda _candidate: True) -> Resident:
        """A resident nobody else was given: adult, gets a certificate, found by their own card. `fits`: a wish more."""
        if self._people is None:
            self._people = find_issuable(self.registers(), now())
        found = next((candidate for candidate in self._people if fits(candidate)), None)
        if found is None:
            raise AssertionError(f"{len(self._people)} residents are left, none fits: RESIDENTS is too small")
        self._people.remove(found)
        return found.resident

    def card(self, resident: Resident) -> WitnessedCard:
        """A fresh mock card of this resident."""
        if self._keys is None:
            self._keys = itertools.cycle([new_key() for _ in range(CARD_KEYS)])
        keys = self._keys
        authority = MockJpki(self.home.jpki, now=now(), keys=lambda: next(keys))
        path = self.root / f"card-{next(self._numbers)}.json"
        issue_card(
            authority,
            card_attributes(resident),
            path,
            PASSWORDS.signature,
            PASSWORDS.authentication,
            now=now(),
        )
        card = WitnessedCard(CardReader(path))
        self.witnessed.append(card)
        return card

    def phone(self, name: str = "", **options: Any) -> Phone:
        """A new phone, or the one of that name again."""
        directory = self.root / "phones" / (name or f"phone-{next(self._numbers)}")
        return Phone(directory, self.base_url, self.trust.content, **options)

    def holder(self, name: str = "", **options: Any) -> Holder:
        """A resident with card and phone, not registered yet."""
        resident = self.take_resident()
        return Holder(self, resident, self.card(resident), self.phone(name, **options))

    # ---- employers ----------------------------------------------------------------------------------------------------

    def desk(self, name: str, purpose: str = "住居手当の確認のため", mail: str | None = None) -> Desk:
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
        return Desk(self, name, purpose, mail, keys[0], keys[1])

    def recipient_statement(self, desk: Desk) -> str:
        """The city's statement about a desk, as `akashi recipient add` makes it."""
        number = next(self._numbers)
        keys, out = self.root / f"keys-{number}.json", self.root / f"statement-{number}.jws"
        keys.write_bytes(
            canonical_json(
                {
                    "keys": [thumbprint(desk.key.public_key())],
                    "signing_key": thumbprint(desk.signing_key.public_key()),
                }
            )
        )
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            run_add(Namespace(home=self.home.root, name=desk.name, corporate_number=None, keys=keys, out=out))
        return out.read_text("ascii")

    def audit(self) -> list[dict[str, Any]]:
        """The signer's audit, line by line."""
        lines = (self.home.signer / "signer-audit.jsonl").read_bytes().splitlines()
        return [dict(parse_json(line)) for line in lines]

    # ---- crashes ------------------------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """kill -9."""
        self.house.processes.kill(name)

    def restart(self, name: str) -> None:
        """Start it again and wait until it answers."""
        self.house.restart(name)

    def make_whole(self) -> None:
        """Whatever a test left dead lives again."""
        for name in ORDER:
            if not self.house.processes.is_running(name):
                with suppress(KeyError):
                    self.house.processes.kill(name)
                self.restart(name)

    def log_text(self, name: str) -> str:
        """What a process has written."""
        path = self.home.logs / f"{name}.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def log_tail(self, name: str, lines: int = 20) -> str:
        """The end of it, for messages of failing tests."""
        return "\n".join(self.log_text(name).splitlines()[-lines:])


ORDER = (
    "chain",
    "trust-services",
    "jpki",
    "digital-auth",
    "mail",
    "door",
    "signer",
    "gate",
    *WITNESSES,
    "log",
    "staff",
    "worker",
)


@dataclass
class Holder:
    """One resident with card and phone."""

    house: RunningHouse
    resident: Resident
    card: WitnessedCard
    phone: Phone

    def register(self, mail: str | None = None, timeout: float = 60) -> Holder:
        self.phone.sign_up(self.card, PASSWORDS, mail, timeout=timeout)
        return self

    def request(self, purpose: str = "") -> str:
        return self.phone.request_certificate(FISCAL_YEAR, purpose, self.card, PASSWORDS.authentication)

    def wait(self, request: str, timeout: float = 60) -> list[str]:
        return list(self.phone.wait(request, timeout=timeout))

    def certify(self, purpose: str = "", timeout: float = 60) -> bytes:
        """Request, wait, fetch; the bundle."""
        request = self.request(purpose)
        self.wait(request, timeout)
        self.phone.fetch_package(request)
        return self.phone.open(request)

    def anchored(self, request: str, timeout: float = 60) -> bytes:
        """The bundle as soon as it is VALID offline with an anchor."""

        def anchored() -> bytes | None:
            bundle = self.phone.refresh_evidence(
                request,
                lambda old: refresh_evidence(old, self.house.trust, self.house.sources(), now=now()),
            )
            return bundle if parse_bundle(bundle).anchor is not None else None

        return wait_for(anchored, timeout, "the anchor")


def certificate_of(bundle: bytes) -> dict[str, Any]:
    """certificate.json of a bundle."""
    return dict(parse_canonical_json(parse_bundle(bundle).certificate or b"{}"))


def judge(house: RunningHouse, bundle: bytes, policy: str = "issuance-gate") -> Report:
    """The verifier's report on a holder's own bundle, asking nobody."""
    return examine(bundle, trust=house.trust, policy=find_policy(policy), now=now(), sources=OfflineSources())


def is_valid(house: RunningHouse, bundle: bytes, policy: str = "issuance-gate") -> bool:
    return judge(house, bundle, policy).verdict is Verdict.VALID


def find_issuable(registers: RegisterStore, today: datetime) -> list[Candidate]:
    """Adults who get a certificate and whose card leads to exactly them."""
    seen: dict[str, Candidate] = {}

    def gets_one(candidate: Candidate) -> bool:
        seen[candidate.resident.resident_id] = candidate
        return candidate.figures is not None

    found: list[Candidate] = []
    release = RecordRelease(registers, CITY)
    wanted = {f"one-{number}": gets_one for number in range(RESIDENTS // 3)}
    for resident in find_people(registers, wanted).values():
        with suppress(Refusal, ValueError):
            if release.match(card_attributes(resident), today=today) == resident.resident_id:
                found.append(seen[resident.resident_id])
    return found


def read_rows(path: Path, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Rows of a SQLite store, without writing to it."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)
    try:
        return connection.execute(query, parameters).fetchall()
    finally:
        connection.close()


def wait_for(look: Callable[[], Any], seconds: float, what: str, pause: float = 0.2) -> Any:
    """The first true answer of `look`. Raises AssertionError when the time is over."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(pause)
    return found


_SHARED: list[RunningHouse] = []


def shared_house() -> Iterator[RunningHouse]:
    """The body of a session fixture: the same house for every file; the last one out stops it."""
    if not _SHARED:
        _SHARED.append(RunningHouse.start())
    house = _SHARED[0]
    house.users += 1
    house.make_whole()
    try:
        yield house
    finally:
        house.users -= 1
        if house.users == 0:
            _SHARED.clear()
            house.stop()


def pid_is_alive(pid: int) -> bool:
    """Whether a process of this number exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
