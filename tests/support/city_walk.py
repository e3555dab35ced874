"""The corridor over the rooms of `city_rooms`: the real `Walk`, with documents that say only whom they are about.

And a real street door in front of them, for real phones: `Street` lets the city take, handle, walk and send.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from app.claims.certificate_data import DEMO_AUTHORITY
from app.delivery.bundle import Documents
from app.delivery.sender import Sender
from app.errors import UnavailableError
from app.issuance.walk import Walk, WalkSettings
from app.mailbox import CityMailbox, format_door_keys
from app.mandates.following import follow_events
from app.revocation.protection import follow_changes
from app.storage import nonces as nonce_store
from app.storage.inbox import Envelope, store_envelope
from app.storage.status_entries import open_status_list
from mobile_api.application import create_app
from mobile_api.client import Phone, PinnedTrust
from tests.support.city_rooms import CityRooms
from tests.support.door_house import BASE_URL, CITY, PUBLIC_URL, WsgiTransport, city_sender, make_settings
from verifier.formats.encoding import base64url_encode, canonical_json
from verifier.formats.jose import es256_signer, thumbprint


class PlainMaker:
    """Makes documents whose data name the person of the record, and nothing else."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []
        self.instead: dict[str, Any] | None = None

    def make(self, released: Any, _reservation: Any, *, purpose: str, **_options: Any) -> Documents:
        person = {**released.record["person"], **(self.instead or {})}
        subject = {name: person.get(name, "") for name in ("name", "birthdate", "address_jan1")}
        self.made.append((person["name"], purpose))
        return Documents(b"%PDF-1.7 mock", canonical_json({"subject": subject}), "a.b.c~")


class PlainLog:
    """A log that has a place for everything."""

    def append(self, entries: Sequence[bytes]) -> list[Any]:
        return [SimpleNamespace(proof="mock proof", index=number) for number, _ in enumerate(entries)]


def make_walk(rooms: CityRooms, maker: PlainMaker | None = None) -> Walk:
    """The corridor; nothing that the verifier would say is asked."""
    with rooms.store.begin() as connection:
        open_status_list(connection, 1, size=1024)
    return Walk(
        rooms.store,
        WalkSettings(DEMO_AUTHORITY),
        gate=rooms.direct,  # type: ignore[arg-type]
        maker=maker or PlainMaker(),  # type: ignore[arg-type]
        log_door=PlainLog(),  # type: ignore[arg-type]
        gatekeeper=SimpleNamespace(check=lambda *_a, **_o: None),  # type: ignore[arg-type]
        status_token=lambda _number: b"token",
        clock=rooms.clock,
    )


@dataclass
class Street:
    """A street door, the rooms behind it, and phones before it."""

    rooms: CityRooms
    directory: Path
    maker: PlainMaker = field(default_factory=PlainMaker)
    statement_key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    sends: bool = True

    def __post_init__(self) -> None:
        mailbox_key = ec.generate_private_key(ec.SECP256R1())
        keys = format_door_keys([(mailbox_key.public_key(), ["mailbox", "public"])])
        self.app = create_app(make_settings(self.directory / "door", keys), clock=self.rooms.clock)
        self.mailbox = CityMailbox(
            BASE_URL,
            mailbox_key,
            city=CITY,
            clock=self.rooms.clock,
            send=city_sender(self.app),
            sleep=lambda _seconds: None,
        )
        self.walk = make_walk(self.rooms, self.maker)
        kid = thumbprint(self.statement_key.public_key())
        signing = SimpleNamespace(signing=lambda *_a, **_o: es256_signer(self.statement_key))
        self.sender = Sender(
            self.rooms.store,
            self.mailbox,
            signing,  # type: ignore[arg-type]
            city=CITY,
            statement_kid=kid,
            clock=self.rooms.clock,
        )
        self.stock()

    @property
    def trust(self) -> PinnedTrust:
        """What a phone pins."""
        return PinnedTrust(
            CITY, PUBLIC_URL, self.rooms.envelope_key.public_key(), self.statement_key.public_key()
        )

    def stock(self, count: int = 50) -> None:
        """Make nonces, store them, hand them over; older ones at the door are gone."""
        with closing(sqlite3.connect(self.directory / "door" / "door.sqlite", isolation_level=None)) as door:
            door.execute("DELETE FROM nonces")
        made = [base64url_encode(os.urandom(24)) for _ in range(count)]
        with self.rooms.store.begin() as connection:
            nonce_store.store_nonces(connection, made, at=self.rooms.at)
        self.mailbox.put_nonces(made)

    def work(self) -> None:
        """What the worker's loops do, once each."""
        rooms = self.rooms
        messages = self.mailbox.take(wait=0)
        for message in messages:
            envelope = Envelope(message.message_id, message.account, message.body)
            with rooms.store.begin() as connection:
                store_envelope(connection, envelope, at=rooms.at)
            try:
                rooms.intake.handle(envelope)
            except UnavailableError:
                continue
        if messages:
            self.mailbox.acknowledge([message.message_id for message in messages])
        follow_changes(rooms.store, rooms.direct, at=rooms.at)  # type: ignore[arg-type]
        follow_events(rooms.store, rooms.direct, at=rooms.at)  # type: ignore[arg-type]
        self.walk.run_once()
        if self.sends:
            self.sender.send_due()

    def phone(self, name: str) -> Phone:
        """A phone; the city works before each of its polls."""
        transport = WsgiTransport(self.app)

        def before(method: str, url: str, _body: bytes | None) -> None:
            if method == "GET" and "/answers" in url:
                self.work()

        transport.before = before
        return Phone(
            self.directory / name,
            BASE_URL,
            self.trust,
            transport=transport,
            clock=self.rooms.clock,
            sleep=lambda _seconds: None,
        )
