"""Intake, register gate, registers and card authority in one process, with real stores and real cards, without sockets.

For tests of what the city decides. The street door, the signer and the log are not here: an envelope is handed to
`Intake.handle` as the door would have delivered it, and answers are read from the outbox before they are sealed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from sqlalchemy import Engine

from app.errors import Refusal
from app.house.people import find_people
from app.identity.card_certificate import load_card_trust
from app.identity.card_evidence import OfflineCardChecker
from app.issuance.intake import Intake, IntakeSettings
from app.registers.card_attributes import card_attributes
from app.registers.city.generator import generate_city
from app.registers.counter import CounterSettings
from app.registers.gate import RegisterGate, SealWish
from app.registers.gate_store import upgrade_gate_store
from app.registers.letters import LetterBox
from app.registers.mandates import MandateSettings
from app.registers.migrations import upgrade as upgrade_registers
from app.registers.release import RecordRelease, Released
from app.registers.resident import Resident
from app.registers.store import RegisterStore
from app.sealing.authorisation import Authorisation
from app.storage import nonces as nonce_store
from app.storage.engine import open_store, upgrade_store
from app.storage.inbox import Envelope, store_envelope
from app.wallets.settings import WalletSettings
from app.worker_process import MIGRATIONS
from mobile_api.client import CardSignature
from mobile_api.messages import (
    NO_REQUEST,
    AnswerBody,
    CardStatement,
    CertificateRequest,
    DeviceBody,
    DeviceRequest,
    Register,
    RequestCertificate,
    RequestOffer,
    WalletWish,
    build_device_request,
    format_statement,
    new_message_id,
    parse_answer_body,
    seal_envelope,
)
from tests.support.door_house import (
    CITY,
    PASSWORDS,
    Clock,
    DirectStatus,
    card_checker,
    make_card,
    make_jpki,
)
from verifier.formats.encoding import base64url_encode, parse_canonical_json
from verifier.formats.jose import agreement, es256_signer, thumbprint

YEAR = 2026
KIND = "income_certificate"


class DirectGate:
    """`GateClient` without the socket."""

    def __init__(self, gate: RegisterGate) -> None:
        self.gate = gate
        self.mandates = gate.mandates
        self.counter = gate.counter
        self.calls: list[str] = []

    def register(self, **evidence: Any) -> str:
        self.calls.append("register")
        return self.gate.register(**evidence)

    def open_request(
        self, *, document_kind: str, fiscal_year: int, purpose: str, idempotency_key: str, **evidence: Any
    ) -> None:
        self.calls.append("open_request")
        wish = CertificateRequest(document_kind, fiscal_year, purpose, idempotency_key)
        self.gate.open_request(wish=wish, **evidence)

    def open_login_offer(self, **login: Any) -> tuple[str, bool]:
        self.calls.append("open_login_offer")
        return self.gate.open_login_offer(**login)

    def open_offer(
        self,
        *,
        document_kind: str,
        fiscal_year: int,
        purpose: str,
        idempotency_key: str,
        profile: str,
        copies: int,
        **evidence: Any,
    ) -> str:
        self.calls.append("open_offer")
        wish = WalletWish(document_kind, fiscal_year, purpose, idempotency_key, profile, copies)
        return self.gate.open_offer(wish=wish, **evidence)

    def record(self, *, request_id: str) -> Released:
        self.calls.append("record")
        return self.gate.record(request_id=request_id)

    def recheck(self, *, request_id: str, position: int | None) -> bytes:
        return self.gate.recheck(request_id=request_id, position=position)

    def authorise(self, **wish: Any) -> Authorisation:
        return self.gate.authorise([SealWish(**wish)])[0]

    def authorise_copies(self, request_id: str, digests: dict[str, bytes]) -> list[Authorisation]:
        return self.gate.authorise(
            [SealWish("credential", digest, request_id, serial) for serial, digest in digests.items()]
        )

    def authorise_metadata(self, *, signing_input: bytes, serial: str) -> Authorisation:
        return self.gate.authorise_metadata(signing_input=signing_input, serial=serial)

    def changes(self, *, after: int) -> list[tuple[int, str, str]]:
        return self.gate.changes(after=after)

    def requests_of(self, *, binding: str, fiscal_year: int) -> list[str]:
        return self.gate.requests_of(binding=binding, fiscal_year=fiscal_year)


@dataclass
class Device:
    """A phone's keys and account, and a card to sign with."""

    rooms: CityRooms
    account: str
    card: Any
    signing: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    encryption: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def statement(self, purpose: str, digest: str, nonce: str, **changes: Any) -> str:
        """What the card is to sign."""
        made = CardStatement(
            CITY,
            purpose,
            thumbprint(self.signing.public_key()),
            thumbprint(self.encryption.public_key()),
            digest,
            nonce,
            self.rooms.clock(),
        )
        return format_statement(replace(made, **changes))

    def register_body(self, nonce: str | None = None, *, mail: str | None = None, **changes: Any) -> Register:
        """A registration by this card for these keys."""
        text = self.statement("register", NO_REQUEST, nonce or self.rooms.nonce(), **changes)
        return self.evidence(text, mail=mail)

    def evidence(self, text: str, *, mail: str | None = None) -> Register:
        """A registration with this statement."""
        by_signature: CardSignature = self.card.sign_document(PASSWORDS.signature, text.encode())
        by_pin: CardSignature = self.card.authenticate(PASSWORDS.authentication, text.encode())
        return Register(
            self.signing.public_key(),
            self.encryption.public_key(),
            text,
            by_signature.certificate,
            by_signature.signature,
            by_pin.certificate,
            by_pin.signature,
            mail,
        )

    def request_body(
        self, nonce: str | None = None, *, key: str = "", purpose: str = "", year: int = YEAR, **changes: Any
    ) -> RequestCertificate:
        """A request by this card."""
        wish = CertificateRequest(KIND, year, purpose, key or new_message_id(os.urandom))
        text = self.statement("request", wish.digest(), nonce or self.rooms.nonce(), **changes)
        by_pin = self.card.authenticate(PASSWORDS.authentication, text.encode())
        return RequestCertificate(wish, text, by_pin.certificate, by_pin.signature)

    def offer_body(
        self,
        nonce: str | None = None,
        *,
        key: str = "",
        purpose: str = "",
        profile: str = "p1",
        copies: int = 10,
        by_reference: bool = False,
        **changes: Any,
    ) -> RequestOffer:
        """A wish for an offer to a wallet by this card."""
        wish = WalletWish(KIND, YEAR, purpose, key or new_message_id(os.urandom), profile, copies)
        text = self.statement("request", wish.digest(), nonce or self.rooms.nonce(), **changes)
        by_pin = self.card.authenticate(PASSWORDS.authentication, text.encode())
        return RequestOffer(wish, text, by_pin.certificate, by_pin.signature, by_reference)

    def envelope(
        self, body: DeviceBody, *, message_id: str = "", account: str = "", city: str = CITY, under: str = ""
    ) -> Envelope:
        """The sealed message as the door delivers it; `under` the account the door puts it under."""
        inside = account or self.account
        wire = DeviceRequest(city, inside, message_id or new_message_id(os.urandom), self.rooms.clock(), body)
        signed = build_device_request(wire, thumbprint(self.signing.public_key()), es256_signer(self.signing))
        sealed = seal_envelope(signed, self.rooms.envelope_key.public_key(), os.urandom)
        return Envelope(base64url_encode(os.urandom(16)), under or inside, sealed)

    def send(self, body: DeviceBody, **options: Any) -> list[tuple[str, AnswerBody]]:
        """Hand the message over; the answers it caused."""
        before = len(self.rooms.answers())
        self.rooms.deliver(self.envelope(body, **options))
        return self.rooms.answers()[before:]


@dataclass
class CityRooms:
    """The rooms and their stores."""

    directory: Path
    clock: Clock
    registers: RegisterStore
    gate: RegisterGate
    direct: DirectGate
    gate_store: Engine
    store: Engine
    envelope_key: ec.EllipticCurvePrivateKey
    intake: Intake
    status: DirectStatus
    jpki: Any
    gate_key: ed25519.Ed25519PrivateKey
    mails: list[tuple[str, str]] = field(default_factory=list)
    _people: list[Resident] = field(default_factory=list)
    _cards: int = 0

    @property
    def people(self) -> list[Resident]:
        """Adults who get a certificate and whose card leads to them."""
        if not self._people:
            release = RecordRelease(self.registers, CITY)
            wanted = {str(number): (lambda c: c.figures is not None) for number in range(20)}
            for resident in find_people(self.registers, wanted).values():
                try:
                    if release.match(card_attributes(resident), today=self.clock()) == resident.resident_id:
                        self._people.append(resident)
                except Refusal:
                    continue
        return self._people

    def card(self, resident: Resident) -> Any:
        """A fresh card in a reader."""
        self._cards += 1
        path = self.directory / f"card-{self._cards}.json"
        return make_card(self.jpki, path, card_attributes(resident), self.clock())[0]

    def device(self, resident: Resident, *, card: Any = None) -> Device:
        """A phone, not registered yet."""
        return Device(self, new_message_id(os.urandom), card or self.card(resident))

    def registered(self, resident: Resident, *, announced: bool = True, **options: Any) -> Device:
        """A phone after its registration; the notices about it have gone out, unless a test is about that."""
        device = self.device(resident, **options)
        answers = device.send(device.register_body())
        assert [type(body).__name__ for account, body in answers if account == device.account] == [
            "Registered"
        ]
        if announced:
            with self.store.begin() as connection:
                connection.exec_driver_sql(
                    "UPDATE outbox SET sent_at = 1 WHERE item_id = ?", (f"device-{device.account}",)
                )
        return device

    def nonce(self) -> str:
        """A nonce of the city, stored."""
        value = base64url_encode(os.urandom(24))
        with self.store.begin() as connection:
            nonce_store.store_nonces(connection, [value], at=self.at)
        return value

    @property
    def at(self) -> int:
        return int(self.clock().timestamp())

    def deliver(self, envelope: Envelope) -> None:
        """As the worker does: store, then handle."""
        with self.store.begin() as connection:
            store_envelope(connection, envelope, at=self.at)
        self.intake.handle(envelope)

    def answers(self, account: str = "") -> list[tuple[str, AnswerBody]]:
        """(account, body) of every answer queued, in order; what a sender has sent is not there any more."""
        return [
            (row[0], parse_answer_body(content["kind"], content["body"]))
            for row in self.rows(
                "SELECT account, body FROM outbox WHERE kind = 'answer' AND length(body) > 0 ORDER BY position"
            )
            if (not account or row[0] == account)
            for content in [parse_canonical_json(bytes(row[1]))]
        ]

    def rows(self, query: str) -> list[Sequence[Any]]:
        """Rows of the worker's store."""
        with self.store.begin() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def gate_rows(self, query: str) -> list[Sequence[Any]]:
        """Rows of the gate's store."""
        with self.gate_store.begin() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def close(self) -> None:
        self.store.dispose()
        self.gate_store.dispose()


_EMPTY: dict[Path, Path] = {}


def _empty_city(factory: pytest.TempPathFactory) -> Path:
    """The stores as they are at first, made once a session: bringing them up takes longer than most tests."""
    base = factory.getbasetemp()
    if base in _EMPTY:
        return _EMPTY[base]
    directory = factory.mktemp("empty-city")
    registers = open_store(f"sqlite:///{directory}/registers.sqlite")
    upgrade_registers(registers)
    RegisterStore(registers).add_city(generate_city(100, 8), "test")
    gate = open_store(f"sqlite:///{directory}/gate.sqlite")
    upgrade_gate_store(gate)
    worker = open_store(f"sqlite:///{directory}/worker.sqlite")
    upgrade_store(worker, MIGRATIONS)
    for engine in (registers, gate, worker):
        engine.dispose()
    _EMPTY[base] = directory
    return directory


def city_rooms(
    directory: Path, factory: pytest.TempPathFactory, *, wallets: WalletSettings | None = None
) -> Iterator[CityRooms]:
    """The body of a fixture: a new city of 100 residents in `directory`; `factory` holds the empty one."""
    shutil.copytree(_empty_city(factory), directory, dirs_exist_ok=True)
    clock = Clock()
    registers = open_store(f"sqlite:///{directory}/registers.sqlite")
    books = RegisterStore(registers)
    gate_store = open_store(f"sqlite:///{directory}/gate.sqlite")
    store = open_store(f"sqlite:///{directory}/worker.sqlite")
    jpki = make_jpki(directory / "jpki", clock())
    trust = load_card_trust(jpki.anchors, profile="demo")
    gate_key = ed25519.Ed25519PrivateKey.generate()
    gate = RegisterGate(
        gate_store,
        RecordRelease(books, CITY),
        OfflineCardChecker(trust, CITY),
        gate_key,
        clock,
        mandates=MandateSettings(CITY, letters=LetterBox(directory / "letters")),
        counter=CounterSettings("demo"),
    )
    direct, status = DirectGate(gate), DirectStatus(jpki)
    envelope_key = ec.generate_private_key(ec.SECP256R1())
    mails: list[tuple[str, str]] = []
    intake = Intake(
        store,
        IntakeSettings(CITY, thumbprint(envelope_key.public_key()), wallets=wallets),
        agree=agreement(envelope_key),
        cards=card_checker(jpki, status),
        gate=direct,  # type: ignore[arg-type]
        send_mail=lambda address, code: mails.append((address, code)),
        clock=clock,
    )
    rooms = CityRooms(
        directory, clock, books, gate, direct, gate_store, store, envelope_key, intake, status, jpki, gate_key, mails
    )  # fmt: skip
    try:
        yield rooms
    finally:
        rooms.close()
        registers.dispose()
