"""The issuance worker as a process: `python -m app.worker_process`, settings from the environment.

This is the one place where the worker's rooms are put together; the rooms themselves know nothing of each other's
making.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Engine

from app.city_keys import CityKeys
from app.claims.certificate_data import DEMO_AUTHORITY
from app.delivery.confirmation_mail import ConfirmationMail
from app.delivery.notice_mail import NoticeMailer
from app.delivery.sender import Sender
from app.errors import CityError, SettingsError
from app.frames import read_token
from app.identity.card_certificate import load_card_trust
from app.identity.card_evidence import CardChecker
from app.identity.status import Fetch, fetch_as, jpki_status_client
from app.issuance.gatekeeper import Gatekeeper
from app.issuance.intake import Intake, IntakeSettings
from app.issuance.log_door import LogDoor
from app.issuance.maker import Maker, MakerSettings
from app.issuance.monitor import Monitor
from app.issuance.walk import Walk, WalkSettings
from app.mailbox import CityMailbox
from app.registers.gate_client import GateClient
from app.rendering.font_set import FontSet
from app.rendering.renderer import CertificateRenderer
from app.revocation.status_publisher import StatusPublisher, StatusSettings
from app.sealing.signer_client import PublicKeyInfo, SignerClient
from app.sealing.trust_services_client import TrustServicesClient
from app.sealing.validation_material import MaterialSource
from app.settings import WorkerSettings, read_worker_settings
from app.staff.feed import StaffFeed
from app.storage.engine import open_store, upgrade_store
from app.wallets.attesters import load_attesters
from app.wallets.copies_walk import CopiesWalk
from app.wallets.copy_maker import CopyMaker
from app.wallets.exchanges import Exchanges, WalletDesk
from app.wallets.login_rooms import login_handlers
from app.wallets.nonce_keys import NonceKeys
from app.wallets.publisher import MetadataPublisher
from app.wallets.rooms import HANDLERS, WalletRooms
from app.wallets.settings import WalletSettings
from app.worker import Rooms, Worker
from app.zones import Guard, Zone
from mobile_api.exchanges import PROFILES
from verifier.fault import log_to_stderr
from verifier.formats.jose import parse_jwk, thumbprint
from verifier.formats.page_qr import page_key_id
from verifier.trust import TrustList
from verifier.trust_store import TrustStore

log = logging.getLogger("akashi.worker")

MIGRATIONS = Path(__file__).parent / "storage" / "migrations"
MATERIAL = ("page-seal-1", "issuing", "root", "tsa", "tsa-ca")


def utc_now() -> datetime:
    """The wall clock, UTC."""
    return datetime.now(UTC)


def build_worker(settings: WorkerSettings) -> Worker:
    """Put the rooms together. Raises CityError, OSError when one of them cannot be opened."""
    store = open_store(settings.store)
    upgrade_store(store, MIGRATIONS)
    guard = Guard(settings.traffic)
    gate = GateClient(settings.gate_socket, read_token(settings.gate_token_file), guard=guard, clock=utc_now)
    signer = SignerClient.from_token_file(settings.signer_socket, settings.signer_token_file)
    keys = CityKeys(gate, signer, guard=guard, clock=utc_now)
    mailbox = CityMailbox.from_key_file(
        settings.door, settings.mailbox_key_file, city=settings.city, guard=guard
    )
    log_door = LogDoor(settings.log, read_token(settings.log_token_file), guard=guard, clock=utc_now)
    trust = _trust_list(settings)
    status = StatusPublisher(
        store,
        StatusSettings(
            uri=settings.status_uri,
            path=lambda number: f"{settings.city}/status/{number}",
            certificates=signer.public("status_list").certificates,
            life=settings.status_life,
            ttl=settings.status_ttl,
            size=settings.status_size,
            number=settings.status_lists,
            is_known=lambda number: trust.content.names_status_list(settings.status_uri(number)),
        ),
        keys,
        put_public=mailbox.put_public,
        append=lambda entry: log_door.append([entry]),
        clock=utc_now,
    )
    status.tend()
    maker_settings = _maker_settings(settings, signer.public("credential"))
    gatekeeper = Gatekeeper(lambda: trust, utc_now)
    walk_settings = WalkSettings(DEMO_AUTHORITY, validity_days=settings.validity_days)
    walk = Walk(
        store,
        walk_settings,
        gate=gate,
        maker=_build_maker(settings, maker_settings, keys, guard),
        log_door=log_door,
        gatekeeper=gatekeeper,
        status_token=status.token,
        clock=utc_now,
    )
    wallets = _wallet_settings(settings)
    work = threading.Event()
    mail = ConfirmationMail(settings.smtp)
    intake = Intake(
        store,
        IntakeSettings(
            settings.city,
            thumbprint(trust.content.envelope_key),
            wallets=wallets,
            mandate_device_age=settings.mandate_device_days * 86400,
        ),
        agree=keys.agreement(),
        cards=CardChecker(
            load_card_trust(settings.jpki_anchors, profile=settings.profile),
            settings.city,
            jpki_status_client(settings.jpki, fetch=_guarded_fetch(guard, settings)),
        ),
        gate=gate,
        send_mail=_guarded_mail(guard, mail.send),
        clock=utc_now,
    )
    wallet_rooms = None
    if wallets is not None:
        credential = signer.public("credential")
        desk = WalletDesk(
            store,
            wallets,
            gate,
            kid=thumbprint(trust.content.envelope_key),
            agree=keys.agreement(),
            wake=work.set,
            clock=utc_now,
        )
        wallet_rooms = WalletRooms(
            store,
            exchanges=Exchanges(
                desk,
                mailbox,
                {**HANDLERS, **login_handlers(settings, store, gate, keys, guard=guard, clock=utc_now)},
            ),
            walk=CopiesWalk(
                store,
                walk_settings,
                gate=gate,
                maker=CopyMaker(maker_settings),
                keys=keys,
                log_door=log_door,
                gatekeeper=gatekeeper,
                status_token=status.token,
                clock=utc_now,
            ),
            metadata=MetadataPublisher(
                store,
                wallets,
                keys,
                envelope_key=trust.content.envelope_key,
                credential_key=_p256(credential),
                certificates=credential.certificates,
                put_public=mailbox.put_public,
                clock=utc_now,
            ),
            nonce_keys=NonceKeys(store, put=mailbox.put_wallet_nonce_key, clock=utc_now),
            clock=utc_now,
        )
    statement_kid = thumbprint(parse_jwk(dict(signer.public("statement").jwk)))
    sender = Sender(store, mailbox, keys, city=settings.city, statement_kid=statement_kid, clock=utc_now)
    return Worker(
        Rooms(
            store=store,
            mailbox=mailbox,
            intake=intake,
            walk=walk,
            sender=sender,
            notices=NoticeMailer(store, _guarded_notice(guard, mail.tell_new_device), clock=utc_now),
            status=status,
            gate=gate,
            monitor=_build_monitor(settings, store, log_door, gate, guard),
            clock=utc_now,
            status_beat=settings.status_beat,
            nonce_stock=settings.nonce_stock,
            wallets=wallet_rooms,
            work=work,
        )
    )


def _wallet_settings(settings: WorkerSettings) -> WalletSettings | None:
    """None: no wallet of others gets anything."""
    if not settings.wallet_profiles:
        return None
    is_demo = settings.profile == "demo"
    return WalletSettings(
        public_url=settings.public_url,
        city=settings.city,
        profiles=settings.wallet_profiles,
        # Production encrypts between wallet and city in every profile (walls.md section 7).
        encrypted=frozenset({"p2"}) if is_demo else frozenset(PROFILES),
        code_life=settings.wallet_code_life,
        providers=load_attesters(settings.wallet_attesters, profile=settings.profile),
        mock=is_demo,
    )


def _maker_settings(settings: WorkerSettings, credential: PublicKeyInfo) -> MakerSettings:
    return MakerSettings(
        public_url=settings.public_url,
        authority=DEMO_AUTHORITY,
        validity_days=settings.validity_days,
        page_key_id=page_key_id(_p256(credential)),
        iss=settings.issuer,
        vct=settings.vct,
        credential_certificates=credential.certificates,
        status_uri=settings.status_uri,
    )


def _p256(info: PublicKeyInfo) -> ec.EllipticCurvePublicKey:
    key = parse_jwk(dict(info.jwk))
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise SettingsError("bad-key", f"the key for {info.purpose} is not on P-256")
    return key


def _build_maker(
    settings: WorkerSettings, maker_settings: MakerSettings, keys: CityKeys, guard: Guard
) -> Maker:
    certificates = {name: _certificate(settings.certificates / f"{name}.pem") for name in MATERIAL}
    trust_services = TrustServicesClient(settings.trust_services, certificates["tsa"])
    fonts = FontSet.load([] if settings.ipamj_font is None else [settings.ipamj_font])
    log.info("fonts: %s", fonts.describe())
    return Maker(
        maker_settings,
        renderer=CertificateRenderer(fonts),
        keys=keys,
        timestamp=_guarded(guard, "tsa.query", trust_services.timestamp),
        material=MaterialSource(
            [certificates[name] for name in MATERIAL], _guarded(guard, "ca.status", trust_services.fetch_crl)
        ),
        clock=utc_now,
    )


def _build_monitor(
    settings: WorkerSettings, store: Engine, log_door: LogDoor, gate: GateClient, guard: Guard
) -> Monitor | None:
    if not settings.staff or settings.staff_token_file is None:
        return None
    feed = StaffFeed(settings.staff, read_token(settings.staff_token_file))
    return Monitor(store, feed, log_door, gate, guard=guard, clock=utc_now)


Argument = TypeVar("Argument", bytes, str)


def _guarded(guard: Guard, message: str, ask: Callable[[Argument], bytes]) -> Callable[[Argument], bytes]:
    """`ask` behind the zone guard: the city asks a counterpart."""

    def asked(argument: Argument) -> bytes:
        guard.check(Zone.CITY, Zone.COUNTERPART, message, len(argument), now=utc_now())
        return ask(argument)

    return asked


def _guarded_fetch(guard: Guard, settings: WorkerSettings) -> Fetch:
    ask = fetch_as("" if settings.jpki_token_file is None else read_token(settings.jpki_token_file))

    def fetch(url: str, body: bytes | None, limit: int) -> bytes:
        guard.check(Zone.CITY, Zone.COUNTERPART, "jpki.status", len(body or b""), now=utc_now())
        return ask(url, body, limit)

    return fetch


def _guarded_mail(guard: Guard, send: Callable[[str, str], None]) -> Callable[[str, str], None]:
    def sent(address: str, code: str) -> None:
        guard.check(Zone.CITY, Zone.COUNTERPART, "mail.confirmation", len(address) + len(code), now=utc_now())
        send(address, code)

    return sent


def _guarded_notice(guard: Guard, tell: Callable[[str], None]) -> Callable[[str], None]:
    def told(address: str) -> None:
        guard.check(Zone.CITY, Zone.COUNTERPART, "mail.notice", len(address), now=utc_now())
        tell(address)

    return told


def _trust_list(settings: WorkerSettings) -> TrustList:
    trust = TrustStore(settings.trust_dir).find(settings.city)
    if trust is None:
        raise SettingsError("no-trust-list", "AKASHI_TRUST_DIR holds no trust list of this city")
    if trust.content.mock and settings.profile != "demo":
        raise SettingsError("mock-in-production", "the trust list is 模擬/MOCK")
    return trust


def _certificate(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


def main() -> int:
    """0 stopped, 2 must not start."""
    log_to_stderr("worker")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        settings = read_worker_settings(os.environ)
        worker = build_worker(settings)
    except (CityError, OSError, ValueError) as error:
        print(f"worker: {error}", file=sys.stderr)
        return 2
    worker.start()
    log.info("issuance worker ready%s", " (模擬/MOCK)" if settings.profile == "demo" else "")
    try:
        stop.wait()
    except KeyboardInterrupt:
        log.info("interrupted")
    worker.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
