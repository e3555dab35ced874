"""The city's rooms for wallets of others, in one process: real gate, signer, log, verifier and stores; the door is a fake.

`WalletHouse` is the city, `FakeDoor` keeps what the city puts and asks like the street door, `Wallet` is somebody's wallet
with its keys. All of it is 模擬/MOCK.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.city_keys import CityKeys
from app.claims.certificate_data import DEMO_AUTHORITY
from app.issuance.gatekeeper import Gatekeeper
from app.issuance.log_door import Place
from app.issuance.maker import MakerSettings
from app.issuance.walk import WalkSettings
from app.mailbox import Asked
from app.registers.authorisation import read_gate_key
from app.revocation.status_publisher import StatusPublisher, StatusSettings
from app.sealing.pki import DemoPki, PkiSettings, create_demo_pki
from app.sealing.signer_audit import AuditLog
from app.sealing.signer_client import SignerClient
from app.sealing.signer_service import SignerService
from app.sealing.signer_settings import load_signer_settings, write_demo_settings
from app.sealing.signer_store import upgrade_signer_store
from app.storage.engine import open_store
from app.wallets.copies_walk import CopiesWalk
from app.wallets.copy_maker import CopyMaker
from app.wallets.exchanges import Exchanges, WalletDesk
from app.wallets.nonce_keys import NonceKeys
from app.wallets.offer_codes import PRE_AUTHORIZED
from app.wallets.publisher import MetadataPublisher
from app.wallets.rooms import HANDLERS
from app.wallets.settings import WalletSettings
from app.zones import Guard
from chain.checkpoint_key import SoftwareSigner
from chain.log import Log, create_log
from mobile_api.exchanges import (
    AnswerBody,
    CredentialQuestion,
    DeferredQuestion,
    Issued,
    NotificationQuestion,
    Question,
    QuestionBody,
    ResponseKey,
    open_answer,
    seal_question,
)
from mobile_api.messages import OfferReady
from mobile_api.wallet_nonce import make_nonce, parse_nonce_key
from tests.support.city_rooms import CityRooms, Device, city_rooms
from tests.support.door_house import CITY, PUBLIC_URL
from tests.support.verifier_bundles import ORIGIN, mini_city, new_key, raw_public
from verifier.formats.encoding import base64url_encode, canonical_json, parse_json
from verifier.formats.jose import agreement, build_jws, es256_signer, format_jwk, thumbprint
from verifier.formats.names import KEY_PROOF_TYP
from verifier.formats.page_qr import page_key_id
from verifier.formats.signed_note import build_vkey
from verifier.formats.tlog_proof import format_tlog_proof
from verifier.trust import TrustList, build_trust_list, load_trust_list, sign_trust_list

SETTINGS = WalletSettings(PUBLIC_URL, CITY, ("p1", "p2"), frozenset({"p2"}))


@dataclass
class FakeDoor:
    """What the street door keeps and asks, without HTTP. `nonce_key`: the newest the city handed over."""

    offers: dict[str, dict[str, Any]] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    questions: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)
    public: dict[str, bytes] = field(default_factory=dict)
    nonce_documents: list[bytes] = field(default_factory=list)

    def exchanges(self, *, wait: int, limit: int) -> list[Asked]:
        return [Asked(key, body) for key, body in self.questions.items() if key not in self.answers][:limit]

    def put_exchange_answer(self, exchange: str, body: bytes) -> bool:
        self.answers[exchange] = body
        return exchange in self.questions

    def put_offer(self, grant: str, body: bytes) -> None:
        self.offers[grant] = parse_json(body)

    def delete_offer(self, grant: str) -> None:
        self.ended.append(grant)

    def put_wallet_nonce_key(self, body: bytes) -> None:
        self.nonce_documents.append(body)

    def put_public(self, path: str, body: bytes) -> None:
        self.public[path] = body


@dataclass
class WalletHouse:
    """The city with everything that serves wallets."""

    rooms: CityRooms
    door: FakeDoor
    pki: DemoPki
    keys: CityKeys
    log: Log
    trust: TrustList
    status: StatusPublisher
    walk: CopiesWalk
    exchanges: Exchanges
    metadata: MetadataPublisher
    nonce_keys: NonceKeys
    settings: WalletSettings
    monotonic: list[float]

    def offer(self, device: Device, **options: Any) -> tuple[OfferReady, str]:
        """An offer to this phone: what the phone got, and its grant."""
        known = {row[0] for row in self.rooms.rows("SELECT grant_id FROM wallet_grants")}
        answers = device.send(device.offer_body(**options))
        ready = [body for account, body in answers if isinstance(body, OfferReady)]
        assert len(ready) == 1, answers
        (grant,) = {row[0] for row in self.rooms.rows("SELECT grant_id FROM wallet_grants")} - known
        return ready[0], grant

    def new_nonce(self, *, life: int = 300) -> str:
        """A challenge as the street door makes it."""
        key = parse_nonce_key(self.door.nonce_documents[-1])
        return make_nonce(key, self.rooms.at, life, os.urandom)

    def another_walk(self) -> CopiesWalk:
        """A second worker on the same store."""
        return dataclasses_copy(self.walk)

    def wait_over(self) -> None:
        """The next look is the last one."""
        self.monotonic[0] += 60


def dataclasses_copy(walk: CopiesWalk) -> CopiesWalk:
    """A corridor like this one."""
    other = CopiesWalk.__new__(CopiesWalk)
    other.__dict__.update(walk.__dict__)
    return other


@dataclass
class Wallet:
    """A wallet: its holder keys and the token's key, and a way to ask through the door."""

    house: WalletHouse
    grant: str
    profile: str = "p1"
    dpop: str | None = None
    count: int = 3
    keys: list[ec.EllipticCurvePrivateKey] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.keys = self.keys or [new_key() for _ in range(self.count)]

    def proof(self, key: ec.EllipticCurvePrivateKey, nonce: str, **changes: Any) -> str:
        """A key proof; `changes`: claims, or `header`."""
        header = {"jwk": format_jwk(key.public_key()), "typ": KEY_PROOF_TYP} | changes.pop("header", {})
        claims = {
            "aud": self.house.settings.issuer(self.profile),
            "iat": self.house.rooms.at,
            "nonce": nonce,
        } | changes
        claims = {name: value for name, value in claims.items() if value is not None}
        return build_jws(header, canonical_json(claims), es256_signer(key)).decode("ascii")

    def request(
        self, nonce: str | None = None, *, response: ResponseKey | None = None, **changes: Any
    ) -> CredentialQuestion:
        """A credential request with proofs of all keys."""
        nonce = nonce or self.house.new_nonce()
        proofs = tuple(self.proof(key, nonce, **dict(changes)) for key in self.keys)
        return CredentialQuestion("income_certificate", proofs, response)

    def put(self, body: QuestionBody, *, exchange: str = "") -> tuple[str, ec.EllipticCurvePrivateKey]:
        """Lay a question at the door; its exchange and the reply key."""
        exchange = exchange or base64url_encode(os.urandom(16))
        reply = new_key()
        question = Question(exchange, self.profile, self.grant, self.dpop, reply.public_key(), body)
        city = self.house.rooms.envelope_key.public_key()
        self.house.door.questions[exchange] = seal_question(question, city, os.urandom)
        return exchange, reply

    def answer(self, exchange: str, reply: ec.EllipticCurvePrivateKey) -> AnswerBody | None:
        """The answer that lies at the door by now."""
        package = self.house.door.answers.get(exchange)
        if package is None:
            return None
        said, body = open_answer(package, thumbprint(reply.public_key()), agreement(reply))
        assert said == exchange
        return body

    def ask(self, body: QuestionBody, *, walk: bool = True, exchange: str = "") -> AnswerBody:
        """Ask and be answered; the walk works meanwhile unless `walk` is False."""
        asked = self.put(body, exchange=exchange)
        for _ in range(12):
            self.house.exchanges.run_once()
            found = self.answer(*asked)
            if found is not None:
                return found
            if walk:
                self.house.walk.run_once()
            else:
                self.house.wait_over()
        raise AssertionError("no answer")

    def deferred(self, transaction: str, **options: Any) -> AnswerBody:
        return self.ask(DeferredQuestion(transaction), **options)

    def notify(self, notification: str, event: str) -> AnswerBody:
        return self.ask(NotificationQuestion(notification, event))


def credentials(answer: AnswerBody) -> list[str]:
    """The credentials of a plain answer."""
    assert isinstance(answer, Issued), answer
    assert answer.content_type == "application/json"
    return [item["credential"] for item in parse_json(answer.body, max_bytes=1 << 20)["credentials"]]


def notification_id(answer: AnswerBody) -> str:
    assert isinstance(answer, Issued), answer
    return str(parse_json(answer.body, max_bytes=1 << 20)["notification_id"])


def offer_json(ready: OfferReady) -> dict[str, Any]:
    """The offer in a link by value."""
    (text,) = parse_qs(urlsplit(ready.offer).query)["credential_offer"]
    value: dict[str, Any] = parse_json(text.encode())
    return value


def code_of(ready: OfferReady) -> str:
    return str(offer_json(ready)["grants"][PRE_AUTHORIZED]["pre-authorized_code"])


def wallet_house(
    directory: Path, factory: pytest.TempPathFactory, *, settings: WalletSettings = SETTINGS
) -> Iterator[WalletHouse]:
    """The body of a fixture."""
    for rooms in city_rooms(directory, factory, wallets=settings):
        house = build_house(directory, rooms, settings)
        house.nonce_keys.tend()
        house.status.tend()
        yield house


_PKI: dict[str, DemoPki] = {}


def _pki(rooms: CityRooms, settings: WalletSettings) -> DemoPki:
    # Made once a session: keys and certificates take longer than most tests.
    if settings.iss not in _PKI:
        folder = mini_city().pki.directory.parent / f"wallet-pki-{len(_PKI)}-{os.getpid()}"
        _PKI[settings.iss] = create_demo_pki(
            folder, PkiSettings(iss=settings.iss), rooms.clock() - timedelta(hours=1)
        )
    return _PKI[settings.iss]


def _signer(directory: Path, rooms: CityRooms, pki: DemoPki) -> SignerClient:
    path = write_demo_settings(pki, origin=ORIGIN, runtime=directory / "signer")
    wanted = load_signer_settings(path, profile="demo")
    rooms.gate._key = read_gate_key(pki.directory / "gate" / "authorisation.key.pem")
    engine = open_store(wanted.store_url)
    upgrade_signer_store(engine)
    service = SignerService(wanted, engine, AuditLog(wanted.audit), rooms.clock)
    client = SignerClient(directory / "no-socket", wanted.tokens["worker"])
    client._frames = SimpleNamespace(call=service.handle)  # type: ignore[assignment]
    return client


def _trust(rooms: CityRooms, pki: DemoPki, vkey: Any, settings: WalletSettings) -> TrustList:
    content = dataclasses.replace(
        mini_city().content(),
        city=settings.city,
        public_url=settings.public_url,
        iss=settings.iss,
        vct=(settings.vct,),
        seal_cas=(pki.der("root"),),
        credential_cas=(pki.der("root"),),
        tsa_cas=(pki.der("tsa-ca"),),
        log=vkey,
        envelope_key=rooms.envelope_key.public_key(),
        status_lists=(f"{settings.iss}/status/1",),
        chain=None,
    )
    keys = [Ed25519PrivateKey.generate() for _ in range(2)]
    data = build_trust_list(
        content,
        version=1,
        expires=rooms.clock() + timedelta(days=365),
        keys=[raw_public(key) for key in keys],
        threshold=2,
    )
    for key in keys:
        data = sign_trust_list(data, key)
    return load_trust_list(data)


class _LogDoor:
    """The log itself, without HTTP: 32-byte entries in, places out; the same entry always gets the same place."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.calls: list[list[bytes]] = []

    def append(self, entries: list[bytes]) -> list[Place]:
        self.calls.append(list(entries))
        return [
            Place(index, format_tlog_proof(self.log.prove(index)).decode())
            for index in self.log.append(list(entries))
        ]


def build_house(directory: Path, rooms: CityRooms, settings: WalletSettings) -> WalletHouse:
    """Everything for wallets around these rooms."""
    pki, door = _pki(rooms, settings), FakeDoor()
    signer = _signer(directory, rooms, pki)
    gate: Any = rooms.direct
    keys = CityKeys(gate, signer, guard=Guard(None), clock=rooms.clock)
    log_key = Ed25519PrivateKey.generate()
    vkey = build_vkey(ORIGIN, raw_public(log_key))
    create_log(directory / "log", ORIGIN)
    log = Log(directory / "log", vkey, SoftwareSigner(log_key), padding=4)
    log_door: Any = _LogDoor(log)
    trust = _trust(rooms, pki, vkey, settings)
    status = StatusPublisher(
        rooms.store,
        StatusSettings(
            uri=lambda number: f"{settings.iss}/status/{number}",
            path=lambda number: f"{CITY}/status/{number}",
            certificates=signer.public("status_list").certificates,
            life=604800,
            ttl=3600,
            size=4096,
            number=1,
            is_known=lambda number: number == 1,
        ),
        keys,
        put_public=door.put_public,
        append=lambda entry: log_door.append([entry]),
        clock=rooms.clock,
    )
    credential = signer.public("credential")
    public_key = pki.certificates["credential-1"].public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    maker = MakerSettings(
        settings.public_url,
        DEMO_AUTHORITY,
        92,
        page_key_id(public_key),
        settings.iss,
        settings.vct,
        credential.certificates,
        lambda number: f"{settings.iss}/status/{number}",
    )
    walk = CopiesWalk(
        rooms.store,
        WalkSettings(DEMO_AUTHORITY, patience=0),
        gate=gate,
        maker=CopyMaker(maker),
        keys=keys,
        log_door=log_door,
        gatekeeper=Gatekeeper(lambda: trust, rooms.clock),
        status_token=status.token,
        clock=rooms.clock,
    )
    desk = WalletDesk(
        rooms.store,
        settings,
        gate,
        kid=thumbprint(rooms.envelope_key.public_key()),
        agree=agreement(rooms.envelope_key),
        wake=lambda: None,
        clock=rooms.clock,
    )
    monotonic = [0.0]
    return WalletHouse(
        rooms=rooms,
        door=door,
        pki=pki,
        keys=keys,
        log=log,
        trust=trust,
        status=status,
        walk=walk,
        exchanges=Exchanges(desk, door, HANDLERS, monotonic=lambda: monotonic[0]),
        metadata=MetadataPublisher(
            rooms.store,
            settings,
            keys,
            envelope_key=rooms.envelope_key.public_key(),
            credential_key=public_key,
            certificates=credential.certificates,
            put_public=door.put_public,
            clock=rooms.clock,
        ),
        nonce_keys=NonceKeys(rooms.store, put=door.put_wallet_nonce_key, clock=rooms.clock),
        settings=settings,
        monotonic=monotonic,
    )
