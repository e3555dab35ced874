"""A city behind the street door for tests of wallets: publishes metadata, answers exchanges with its real key.

It opens every question with the city's envelope key and seals every answer to the question's reply key, as the real one
does; what it answers a test says (`answers`). It issues nothing by itself.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask

from mobile_api.exchanges import (
    AnswerBody,
    CredentialQuestion,
    DeferredQuestion,
    Granted,
    Issued,
    LoginFinish,
    LoginStart,
    Noted,
    NotificationQuestion,
    Question,
    Redirect,
    open_question,
    seal_answer,
)
from mobile_api.wallet_nonce import NonceKey, format_nonce_key
from tests.support.door_house import CITY, NOW, PUBLIC_URL, House, make_house
from tests.support.wallet_client import FlaskTransport, WalletClient
from tests.support.wallet_provider import WalletProvider, make_wallet_provider
from verifier.errors import FormatError
from verifier.formats.compact_jwe import encrypt_compact
from verifier.formats.encoding import base64url_encode, canonical_json, sha256
from verifier.formats.jose import agreement, build_jws, es256_signer, format_jwk, thumbprint

CONFIGURATION = "income_certificate"
SCOPE = "income_certificate"
LOGIN = "https://login.mihon.example/authorize?client_id=akashi&state=abc"
PLAIN = b'{"credentials":[{"credential":"CANARY-CREDENTIAL"}],"notification_id":"notification-id-0001"}'
ISSUERS = {"p1": f"{PUBLIC_URL}/{CITY}", "p2": f"{PUBLIC_URL}/{CITY}/haip"}


def new_grant() -> str:
    return base64url_encode(os.urandom(16))


@dataclass(frozen=True)
class MadeOffer:
    """What the city minted: the door knows hashes of `code` and `tx_code` only."""

    grant: str
    code: str
    tx_code: str | None


def offer_body(offer: MadeOffer, expires: int, profile: str = "p1", **changes: Any) -> dict[str, Any]:
    """The body of PUT /city/offers/<grant>, made without the door's own code."""
    tx_code = None
    if offer.tx_code is not None:
        digest = hashlib.sha256(b"akashi/tx-code/v1\0" + f"{offer.grant}\0{offer.tx_code}".encode()).digest()
        tx_code = {"hash": _b64(digest), "input_mode": "numeric", "length": len(offer.tx_code)}
    return {
        "code_hash": _b64(hashlib.sha256(offer.code.encode("ascii")).digest()),
        "tx_code": tx_code,
        "profile": profile,
        "configuration": CONFIGURATION,
        "copies": 10,
        "expires": expires,
        **changes,
    }


@dataclass
class WalletCity:
    """`answers` decides by the question; the default issues a canary, notes, redirects and grants."""

    app: Flask
    mailbox_key: ec.EllipticCurvePrivateKey
    clock: Callable[[], Any]
    envelope_key: ec.EllipticCurvePrivateKey
    nonce_key: NonceKey
    answers: Callable[[Question], AnswerBody | None] | None = None
    questions: list[Question] = field(default_factory=list)
    grants: dict[str, str] = field(default_factory=dict)
    login_grant: str = field(default_factory=new_grant)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    # --- speaking to the door ------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: bytes = b"", app: Flask | None = None) -> Any:
        """One authenticated call."""
        token = city_token(self.mailbox_key, method, path.partition("?")[0], body, self.clock())
        client = (app or self.app).test_client()
        return client.open(path, method=method, data=body, headers={"Authorization": f"Bearer {token}"})

    def publish(self, profile: str, **changes: Any) -> None:
        """The metadata of a profile, as a public file."""
        document = issuer_metadata(profile, self.envelope_key, **changes)
        answer = self.call(
            "PUT", f"/city/public/{CITY}/wallets/{profile}.json", json.dumps(document).encode()
        )
        assert answer.status_code in (200, 201), answer.data

    def send_nonce_key(self) -> None:
        answer = self.call("PUT", "/city/wallet-nonce-key", format_nonce_key(self.nonce_key))
        assert answer.status_code == 200, answer.data

    def offer(
        self, profile: str = "p1", tx_code: str | None = None, life: int = 600, **changes: Any
    ) -> MadeOffer:
        """Mint a code and tell the door its hash."""
        made = MadeOffer(new_grant(), _b64(os.urandom(32)), tx_code)
        expires = int(self.clock().timestamp()) + life
        body = canonical_json(offer_body(made, expires, profile, **changes))
        answer = self.call("PUT", f"/city/offers/{made.grant}", body)
        assert answer.status_code == 200, answer.data
        return made

    # --- answering -----------------------------------------------------------------------------------------

    def work(self, app: Flask | None = None) -> int:
        """Answer what waits, once."""
        answer = self.call("GET", "/city/exchanges", app=app)
        if answer.status_code != 200:
            # A test moved the clock between the making of the token and its use: ask again.
            return 0
        found = answer.json["exchanges"]
        for entry in found:
            # What is not sealed to this city is left alone, as the real one does.
            with contextlib.suppress(FormatError):
                self.answer(entry["id"], base64.b64decode(entry["body"]), app)
        return len(found)

    def answer(self, exchange: str, body: bytes, app: Flask | None = None) -> None:
        kid = thumbprint(self.envelope_key.public_key())
        question = open_question(body, kid, agreement(self.envelope_key))
        assert question.exchange == exchange
        self.questions.append(question)
        said = (self.answers or self.usual)(question)
        if said is not None:
            sealed = seal_answer(exchange, said, question.reply_key, os.urandom)
            self.call("PUT", f"/city/exchanges/{exchange}", sealed, app)

    def usual(self, question: Question) -> AnswerBody:
        """Everything goes well."""
        match question.body:
            case LoginStart():
                return Redirect(LOGIN)
            case LoginFinish():
                return Granted(self.login_grant)
            case NotificationQuestion():
                return Noted()
            case CredentialQuestion(_, _, response) | DeferredQuestion(_, response) if response is not None:
                return Issued("application/jwt", encrypt_compact(PLAIN, response.key, enc=response.enc))
            case CredentialQuestion() | DeferredQuestion():
                return Issued("application/json", PLAIN)
            case _:
                return Issued("application/jwt", b"e30..aaaa.aaaa.aaaa")

    def start(self) -> None:
        """Answer in a thread until `stop`."""
        self._stop.clear()

        def run() -> None:
            while not self._stop.is_set():
                if not self.work():
                    time.sleep(0.005)

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)


def make_wallet_city(house: House, *, publish: bool = True) -> WalletCity:
    """A city for the door of `house`, with metadata of both profiles and a key of challenges at the door."""
    seconds = int(house.clock().timestamp())
    city = WalletCity(
        house.app,
        house.mailbox_key,
        house.clock,
        ec.generate_private_key(ec.SECP256R1()),
        NonceKey(os.urandom(4), os.urandom(32), seconds - 60, seconds + 86400),
    )
    if publish:
        city.publish("p1")
        city.publish("p2")
        city.send_nonce_key()
    return city


def issuer_metadata(profile: str, key: ec.EllipticCurvePrivateKey, **changes: Any) -> dict[str, Any]:
    """Credential issuer metadata as the city makes it, with what a wallet and the door need."""
    issuer, required = ISSUERS[profile], profile == "p2"
    jwk = {
        **format_jwk(key.public_key()),
        "kid": thumbprint(key.public_key()),
        "alg": "ECDH-ES",
        "use": "enc",
    }
    document = {
        "credential_issuer": issuer,
        "credential_endpoint": f"{issuer}/credential",
        "nonce_endpoint": f"{issuer}/nonce",
        "deferred_credential_endpoint": f"{issuer}/deferred_credential",
        "notification_endpoint": f"{issuer}/notification",
        "batch_credential_issuance": {"batch_size": 10},
        "credential_request_encryption": {
            "jwks": {"keys": [jwk]},
            "enc_values_supported": ["A128GCM", "A256GCM"],
            "encryption_required": False,
        },
        "credential_response_encryption": {
            "alg_values_supported": ["ECDH-ES"],
            "enc_values_supported": ["A128GCM", "A256GCM"],
            "encryption_required": required,
        },
        "credential_configurations_supported": {
            CONFIGURATION: {
                "format": "dc+sd-jwt",
                "vct": f"{PUBLIC_URL}/vct/income-certificate/1",
                "scope": SCOPE,
                "cryptographic_binding_methods_supported": ["jwk"],
                "credential_signing_alg_values_supported": ["ES256"],
                "proof_types_supported": {"jwt": {"proof_signing_alg_values_supported": ["ES256"]}},
                "credential_metadata": {"display": [{"name": "模擬 所得課税証明書", "locale": "ja"}]},
            }
        },
    }
    return {**document, **changes}


def city_token(key: ec.EllipticCurvePrivateKey, method: str, path: str, body: bytes, now: Any) -> str:
    seconds = int(now.timestamp())
    claims = {
        "htm": method,
        "htu": path,
        "iat": seconds,
        "exp": seconds + 30,
        "jti": base64url_encode(os.urandom(16)),
        "body": base64url_encode(sha256(body)),
    }
    header = {"kid": thumbprint(key.public_key()), "typ": "JWT"}
    return build_jws(header, canonical_json(claims), es256_signer(key)).decode()


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class WalletWorld:
    """A door, its city, a wallet provider it trusts, and wallets."""

    house: House
    city: WalletCity
    provider: WalletProvider
    transport: FlaskTransport

    def wallet(self, profile: str = "p1", **options: Any) -> WalletClient:
        """An anonymous wallet (p1) or an attested one (p2)."""
        if profile == "p2":
            options = {"dpop": True, "provider": self.provider, **options}
        return WalletClient(self.transport, ISSUERS[profile], self.house.clock, **options)

    def with_token(self, profile: str = "p1", **options: Any) -> WalletClient:
        """A wallet that has redeemed an offer."""
        wallet = self.wallet(profile, **options)
        offer = self.city.offer(profile)
        answer = wallet.redeem(offer.code)
        assert answer.status == 200, answer.body
        return wallet


def make_wallet_world(directory: Path, *, publish: bool = True, **changes: Any) -> WalletWorld:
    """Everything in this process. The city answers when it is started or told to work."""
    provider = make_wallet_provider(NOW)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "attesters.pem").write_bytes(provider.pem())
    settings = {
        "wallet_attesters": directory / "attesters.pem",
        "rate_wallet": 1_000_000,
        "rate_grant": 100_000,
        "wallet_wait": 5,
        **changes,
    }
    house = make_house(directory, **settings)
    city = make_wallet_city(house, publish=publish)
    return WalletWorld(house, city, provider, FlaskTransport(house.app, PUBLIC_URL))
