"""Everything around the street door for tests: a door, a fake city in this process, mock cards, a small bundle.

The fake city answers like the real one as far as a phone and a door can tell: it takes what is in the inbox through
`CityMailbox`, checks card evidence with `CardChecker`, and puts back signed and sealed answers and packages. It decides
nothing about taxes: its certificate is a small bundle with a real SD-JWT form.
"""

from __future__ import annotations

import functools
import itertools
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from flask import Flask

from app.counterparts.jpki.authority import IssuedCard, MockJpki
from app.counterparts.jpki.bodies import BodyRegistry
from app.counterparts.jpki.issuing import issue_card
from app.counterparts.jpki.profiles import new_key
from app.counterparts.jpki.reader import CardReader
from app.errors import Refusal
from app.identity.card_certificate import CardCertificate, load_card_trust
from app.identity.card_evidence import CardChecker
from app.identity.refusals import CertificateRevoked, StatusUnverifiable
from app.identity.status import StatusRecord
from app.mailbox import CityMailbox, format_door_keys
from app.registers.card_attributes import CardAttributes
from mobile_api.application import create_app
from mobile_api.client import CardPasswords, CardSignature, Phone, PinnedTrust
from mobile_api.door_client import Reply
from mobile_api.messages import (
    NO_REQUEST,
    STAGES,
    AnswerBody,
    CityAnswer,
    ConfirmMail,
    DeviceRequest,
    History,
    HistoryWish,
    Notice,
    PackageReady,
    Progress,
    Refused,
    Register,
    Registered,
    RequestCertificate,
    StopDevice,
    build_answer,
    open_envelope,
    parse_statement,
    seal_answer,
    verify_device_request,
)
from mobile_api.settings import Profile, Settings
from verifier.errors import FormatError
from verifier.formats.bundle import Bundle, build_bundle
from verifier.formats.encoding import base64url_encode, canonical_json, sha256
from verifier.formats.evidence import Evidence, Part, build_evidence
from verifier.formats.jose import agreement, build_jws, es256_signer, thumbprint
from verifier.formats.names import BUNDLE_TYPE, CREDENTIAL_TYP
from verifier.formats.package import pack

CITY = "992011"
PUBLIC_URL = "https://door.mihon.example"
BASE_URL = "http://127.0.0.1:8440"
NOW = datetime(2026, 11, 20, 1, 2, 3, tzinfo=UTC)
PASSWORDS = CardPasswords("ABC123", "1234")
GONE = Refused("gone", "もう一度申請してください", "Please ask for it again", True)

HANAKO = CardAttributes(
    name="𠮷塚　花子",
    name_substitutes="00000",
    sex="2",
    birthdate="319850315",
    address="見本県見本市中央区本町一丁目２番３号",
    address_substitutes="0" * 18,
)
TARO = CardAttributes(
    name="見本　太郎",
    name_substitutes="00000",
    sex="1",
    birthdate="319800101",
    address="見本県見本市中央区本町二丁目３番４号",
    address_substitutes="0" * 18,
)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@functools.cache
def rsa_keys() -> tuple[rsa.RSAPrivateKey, ...]:
    """Eight RSA keys a test session: four for authorities and responders, four for cards."""
    return tuple(new_key() for _ in range(8))


def key_supply() -> Callable[[], rsa.RSAPrivateKey]:
    """Keys for one MockJpki: its own first, then those of cards again and again."""
    keys = rsa_keys()
    supply = itertools.chain(keys[:4], itertools.cycle(keys[4:]))
    return lambda: next(supply)


def make_jpki(directory: Path, now: datetime = NOW) -> MockJpki:
    """A mock JPKI with cached keys."""
    return MockJpki(directory, now=now, keys=key_supply())


def register_body(jpki: MockJpki, body: str = "mihon-city", **more: Any) -> str:
    """Register a body that may ask about both kinds for ten years; its credential."""
    given: dict[str, Any] = {
        "kinds": ("signature", "authentication"),
        "begin": date(2026, 1, 1),
        "until": date(2036, 1, 1),
    }
    return BodyRegistry(jpki.directory).add(body, f"{body} (模擬/MOCK)", "administrative", **given | more)


def make_card(
    jpki: MockJpki, path: Path, attributes: CardAttributes = HANAKO, now: datetime = NOW, **options: Any
) -> tuple[CardReader, IssuedCard]:
    """A card in a reader."""
    issued = issue_card(
        jpki, attributes, path, PASSWORDS.signature, PASSWORDS.authentication, now=now, **options
    )
    return CardReader(path), issued


class DirectStatus:
    """A status source that asks the mock authority's list without HTTP; `down` makes everything unverifiable."""

    def __init__(self, jpki: MockJpki) -> None:
        self._jpki = jpki
        self.down = False

    def ask(self, certificate: CardCertificate, *, now: datetime) -> StatusRecord:
        if self.down:
            raise StatusUnverifiable("down")
        entry = self._jpki._read().get(f"{certificate.kind}:{certificate.serial}")
        if entry is None:
            raise StatusUnverifiable("unknown")
        if entry["revoked"]:
            raise CertificateRevoked
        return StatusRecord("00" * 16, "direct", now, certificate.serial)


class FakeCard:
    """A card for tests that are not about cards: certificates and signatures of the right size, nothing in them."""

    def __init__(self) -> None:
        self.signed: list[bytes] = []

    def sign_document(self, password: str, data: bytes) -> CardSignature:
        self.signed.append(data)
        return CardSignature(b"signature certificate", bytes(256))

    def authenticate(self, pin: str, data: bytes) -> CardSignature:
        self.signed.append(data)
        return CardSignature(b"authentication certificate", bytes(256))


def make_settings(directory: Path, city_keys: bytes, **changes: Any) -> Settings:
    """Settings of a demo door in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "city-keys.json").write_bytes(city_keys)
    values: dict[str, Any] = {
        "profile": Profile.DEMO,
        "database_url": f"sqlite:///{directory}/door.sqlite",
        "public_url": PUBLIC_URL,
        "city": CITY,
        "city_keys": directory / "city-keys.json",
        "public_dir": directory / "public",
        "phone_wait": 0,
        "city_wait": 0,
        "rate_account": 100000,
        "rate_nonce": 100000,
        "rate_sign_up": 100000,
        "rate_request": 100000,
        "smtp_sender": "door@mihon.example",
    }
    return Settings(**{**values, **changes})


class WsgiTransport:
    """A phone's transport straight into a Flask application; `before` and `after` may look, change or raise."""

    def __init__(self, app: Flask) -> None:
        self._client = app.test_client()
        self.before: Callable[[str, str, bytes | None], None] = lambda *_: None
        self.after: Callable[[str, str, Reply], Reply] = lambda _method, _url, reply: reply

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> Reply:
        self.before(method, url, body)
        path = url.removeprefix(BASE_URL)
        answer = self._client.open(path, method=method, headers=dict(headers), data=body)
        reply = Reply(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.data)
        return self.after(method, path, reply)


def city_sender(app: Flask) -> Callable[[urllib.request.Request, float], tuple[int, dict[str, str], bytes]]:
    """The same for `CityMailbox`."""
    client = app.test_client()

    def send(request: urllib.request.Request, _timeout: float) -> tuple[int, dict[str, str], bytes]:
        path = request.full_url.removeprefix(BASE_URL)
        answer = client.open(
            path, method=request.get_method(), headers=dict(request.headers), data=request.data
        )
        return answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.data

    return send


@dataclass
class Bound:
    """What the city knows of one account."""

    signing_key: ec.EllipticCurvePublicKey
    encryption_key: ec.EllipticCurvePublicKey
    card: tuple[str, str]
    attributes: CardAttributes | None


@dataclass
class Handled:
    """A message the city has handled: its bytes, its last answer and when that was."""

    envelope: bytes
    answer: AnswerBody | None = None
    at: datetime = NOW
    repeated: int = 0


@dataclass
class FakeCity:
    """The city behind one mailbox. `cards` None believes every card (tests that are not about cards)."""

    mailbox: CityMailbox
    cards: CardChecker | None
    clock: Callable[[], datetime]
    envelope_key: ec.EllipticCurvePrivateKey
    statement_key: ec.EllipticCurvePrivateKey
    credential_key: ec.EllipticCurvePrivateKey
    accounts: dict[str, Bound] = field(default_factory=dict)
    nonces: set[str] = field(default_factory=set)
    used_nonces: set[str] = field(default_factory=set)
    handled: dict[str, Handled] = field(default_factory=dict)
    packages: dict[str, bytes] = field(default_factory=dict)
    requests: dict[tuple[str, str], str] = field(default_factory=dict)
    bundles: dict[str, bytes] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    refusals: dict[str, Refused] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)

    @property
    def trust(self) -> PinnedTrust:
        """What a phone pins."""
        return PinnedTrust(CITY, PUBLIC_URL, self.envelope_key.public_key(), self.statement_key.public_key())

    @property
    def statement_kid(self) -> str:
        return thumbprint(self.statement_key.public_key())

    def stock(self, count: int = 50) -> None:
        """Make nonces, store them, hand them over."""
        import os

        made = [base64url_encode(os.urandom(24)) for _ in range(count)]
        self.nonces.update(made)
        self.mailbox.put_nonces(made)

    def work(self, wait: int = 0) -> int:
        """Handle what is in the inbox once; how many envelopes."""
        messages = self.mailbox.take(wait=wait)
        for message in messages:
            self.handle(message.account, message.body)
        if messages:
            self.mailbox.acknowledge([message.message_id for message in messages])
        return len(messages)

    def handle(self, account: str, body: bytes) -> None:
        """One envelope: open, check, answer. What nobody really signed is dropped."""
        try:
            kid = thumbprint(self.envelope_key.public_key())
            request = verify_device_request(
                open_envelope(body, kid, agreement(self.envelope_key)), self._find_key
            )
        except FormatError as error:
            self.dropped.append(error.code)
            return
        if request.account != account or request.city != CITY:
            self.dropped.append("re-addressed")
            return
        if (known := self.handled.get(request.message_id)) is not None:
            if not self._repeat(request, known, body):
                self.dropped.append("replayed")
            return
        self.handled[request.message_id] = Handled(body)
        try:
            self._dispatch(request)
        except Refusal as no:
            self.answer(request, Refused(no.code, no.ja, no.en, no.retry))

    def _repeat(self, request: DeviceRequest, known: Handled, body: bytes) -> bool:
        """As `app.issuance.repeats`: the same bytes, a minute later, get the last answer and the same package."""
        if known.envelope != body or known.answer is None or self.clock() - known.at < timedelta(minutes=1):
            return False
        known.repeated += 1
        said = known.answer
        if isinstance(said, PackageReady):
            package = self.packages.get(said.package_id)
            if package is None:
                said = GONE
            else:
                self.mailbox.delete_package(request.account, said.package_id)
                self.mailbox.put_package(request.account, said.package_id, package)
        self.answer(request, said)
        return True

    def answer(
        self, request: DeviceRequest, body: AnswerBody, key: ec.EllipticCurvePublicKey | None = None
    ) -> None:
        """Sign, seal and put one answer."""
        import os

        known = self.handled.setdefault(request.message_id, Handled(b""))
        known.answer, known.at = body, self.clock()
        sequence = self.sequences[request.account] = self.sequences.get(request.account, 0) + 1
        data = self.seal(request.account, request.message_id, sequence, body, key or self._device(request))
        self.mailbox.put_answer(request.account, base64url_encode(os.urandom(16)), data)

    def seal(
        self,
        account: str,
        in_reply_to: str | None,
        sequence: int,
        body: AnswerBody,
        key: ec.EllipticCurvePublicKey,
        statement_key: ec.EllipticCurvePrivateKey | None = None,
    ) -> bytes:
        """One answer as the door will hold it (also for forging in tests)."""
        import os

        signer = statement_key or self.statement_key
        answer = CityAnswer(CITY, account, in_reply_to, sequence, self.clock(), body)
        message = build_answer(answer, thumbprint(signer.public_key()), es256_signer(signer))
        return seal_answer(message, key, os.urandom)

    def _device(self, request: DeviceRequest) -> ec.EllipticCurvePublicKey:
        if isinstance(request.body, Register):
            return request.body.encryption_key
        return self.accounts[request.account].encryption_key

    def _find_key(self, account: str, kid: str) -> ec.EllipticCurvePublicKey | None:
        bound = self.accounts.get(account)
        return bound.signing_key if bound is not None and thumbprint(bound.signing_key) == kid else None

    def _consume(self, statement: str) -> None:
        try:
            nonce = parse_statement(statement).nonce
        except FormatError:
            raise Refusal("nonce", "やり直してください", "please start again", retry=True) from None
        if nonce not in self.nonces or nonce in self.used_nonces:
            raise Refusal("nonce", "やり直してください", "please start again", retry=True)
        self.used_nonces.add(nonce)

    def _dispatch(self, request: DeviceRequest) -> None:
        body = request.body
        if isinstance(body, Register):
            self._register(request, body)
        elif isinstance(body, RequestCertificate):
            self._certificate(request, body)
        elif isinstance(body, ConfirmMail):
            if body.code != "123456":
                raise Refusal("mail-code", "確認番号が違います", "wrong code", retry=True)
            self.answer(request, Notice("mail-confirmed", "確認しました", "confirmed"))
        elif isinstance(body, StopDevice):
            self.answer(request, Notice("device-stopped", "止めました", "stopped"))
        elif isinstance(body, HistoryWish):
            self.answer(request, History(()))

    def _register(self, request: DeviceRequest, body: Register) -> None:
        self._consume(body.statement)
        card, attributes = ("", ""), None
        if self.cards is not None:
            keys = {
                "signing_key": thumbprint(body.signing_key),
                "encryption_key": thumbprint(body.encryption_key),
                "request_digest": NO_REQUEST,
                "purpose": "register",
                "now": self.clock(),
            }
            signed = self.cards.check_signature(body.statement, body.signature_cert, body.signature, **keys)
            auth = self.cards.check_authentication(
                body.statement, body.auth_cert, body.auth_signature, **keys
            )
            card, attributes = (auth.issuer, auth.serial), signed.attributes
        known = self.accounts.get(request.account)
        if known is not None and thumbprint(known.signing_key) != thumbprint(body.signing_key):
            raise Refusal("account-taken", "使われています", "taken")
        self.accounts[request.account] = Bound(body.signing_key, body.encryption_key, card, attributes)
        self.answer(request, Registered())

    def _certificate(self, request: DeviceRequest, body: RequestCertificate) -> None:
        wish = body.request
        if wish.idempotency_key in self.refusals:
            self.answer(request, self.refusals[wish.idempotency_key])
            return
        self._consume(body.statement)
        bound = self.accounts[request.account]
        if self.cards is not None:
            auth = self.cards.check_authentication(
                body.statement,
                body.auth_cert,
                body.auth_signature,
                purpose="request",
                request_digest=wish.digest(),
                signing_key=thumbprint(bound.signing_key),
                encryption_key=thumbprint(bound.encryption_key),
                now=self.clock(),
            )
            if (auth.issuer, auth.serial) != bound.card:
                raise Refusal("other-card", "別のカードです", "another card")
        key = (request.account, wish.idempotency_key)
        identifier = self.requests.setdefault(key, f"request-{len(self.requests):012d}")
        for stage in STAGES:
            self.answer(request, Progress(identifier, stage))
        bundle = self.bundles.setdefault(identifier, make_bundle(self.credential_key, bound.signing_key))
        package = pack(bundle, [bound.encryption_key], content_type=BUNDLE_TYPE)
        package = self.packages.setdefault(f"package-{identifier}", package)
        self.mailbox.put_package(request.account, f"package-{identifier}", package)
        self.answer(request, PackageReady(identifier, f"package-{identifier}", sha256(package)))


@dataclass
class House:
    """A door, a city and how to get phones."""

    app: Flask
    city: FakeCity
    clock: Clock
    directory: Path
    settings: Settings
    mails: list[EmailMessage]
    mailbox_key: ec.EllipticCurvePrivateKey

    def phone(self, name: str = "phone", transport: WsgiTransport | None = None, **options: Any) -> Phone:
        """A phone whose waiting lets the city work."""
        return Phone(
            self.directory / name,
            BASE_URL,
            self.city.trust,
            transport=transport or self.transport(),
            clock=self.clock,
            sleep=lambda _seconds: None,
            **options,
        )

    def transport(self) -> WsgiTransport:
        """A transport into this door; the city works before every poll of a phone."""
        transport = WsgiTransport(self.app)

        def before(method: str, url: str, _body: bytes | None) -> None:
            if method == "GET" and "/answers" in url:
                self.city.work()

        transport.before = before
        return transport

    def registered_phone(self, name: str = "phone", transport: WsgiTransport | None = None) -> Phone:
        """A phone after sign-up with a fake card."""
        phone = self.phone(name, transport)
        phone.sign_up(FakeCard(), PASSWORDS)
        return phone


def make_house(directory: Path, *, cards: CardChecker | None = None, **changes: Any) -> House:
    """Everything in this process, no socket."""
    mailbox_key = ec.generate_private_key(ec.SECP256R1())
    clock = Clock()
    mails: list[EmailMessage] = []
    door_keys = format_door_keys([(mailbox_key.public_key(), ["mailbox", "public"])])
    settings = make_settings(directory / "door", door_keys, **changes)
    app = create_app(settings, clock=clock, deliver=mails.append)
    mailbox = CityMailbox(
        BASE_URL, mailbox_key, city=CITY, clock=clock, send=city_sender(app), sleep=lambda _seconds: None
    )
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    city = FakeCity(mailbox, cards, clock, keys[0], keys[1], keys[2])
    city.stock()
    return House(app, city, clock, directory, settings, mails, mailbox_key)


def card_checker(jpki: MockJpki, status: Any) -> CardChecker:
    """The city's checker of a mock JPKI's cards."""
    return CardChecker(load_card_trust(jpki.anchors, profile="demo"), CITY, status)


def make_bundle(credential_key: ec.EllipticCurvePrivateKey, holder: ec.EllipticCurvePublicKey) -> bytes:
    """A bundle whose parts have the right forms: an SD-JWT with two disclosures, evidence, a page, data."""
    from verifier.formats.jose import format_jwk

    disclosures = [
        base64url_encode(canonical_json([base64url_encode(bytes([n]) * 16), name, value]))
        for n, (name, value) in enumerate({"title": "課税証明書", "remarks": "模擬"}.items())
    ]
    digests = sorted((base64url_encode(sha256(d.encode())), d) for d in disclosures)
    payload = {
        "_sd": [digest for digest, _ in digests],
        "_sd_alg": "sha-256",
        "cnf": {"jwk": format_jwk(holder)},
        "iss": f"{PUBLIC_URL}/{CITY}",
        "vct": f"{PUBLIC_URL}/vct/income-certificate/1",
    }
    jwt = build_jws({"typ": CREDENTIAL_TYP}, canonical_json(payload), es256_signer(credential_key)).decode()
    credential = "~".join([jwt, *(d for _, d in digests)]) + "~"
    page, data = b"%PDF-1.7 mock page", canonical_json({"title": "課税証明書", "remarks": "模擬"})
    evidence = Evidence(
        "income_certificate",
        "2026-11-20/2027-02-20",
        data=Part(salt=b"d" * 32),
        page=Part(salt=b"p" * 32),
        credential=Part(salt=b"c" * 32),
    )
    return build_bundle(
        Bundle(
            credential=credential.encode(),
            evidence=build_evidence(evidence),
            inclusion=b"mock inclusion proof",
            status=b"mock status token",
            page=page,
            certificate=data,
        )
    )
