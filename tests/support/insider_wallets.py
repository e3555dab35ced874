"""The insider's wallets: what `insider_calls` needs so that the inside of the end points for wallets is reached.

Each call gets what it needs anew: a code, a challenge, a token with the proof of its key, an exchange that waits. The
city answers as it is asked, in the same process: what a credential call waits for is there at once.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from pathlib import Path
from typing import Any

from mobile_api.door import EXTENSION
from mobile_api.exchanges import Issued, Pending, Question, seal_answer
from mobile_api.store.wallet_exchanges import add_exchange
from mobile_api.wallet_nonce import NonceKey, format_nonce_key
from tests.support.door_house import CITY, NOW, PUBLIC_URL, House, make_house
from tests.support.wallet_city import (
    ISSUERS,
    PLAIN,
    MadeOffer,
    WalletCity,
    make_wallet_city,
    new_grant,
    offer_body,
)
from tests.support.wallet_client import FlaskTransport, WalletClient, new_key, new_verifier
from tests.support.wallet_provider import make_wallet_provider
from verifier.formats.compact_jwe import encrypt_compact
from verifier.formats.encoding import base64url_encode, parse_json

_PATHS = re.compile(r"/(?:\.well-known|vct)/.*|/[^/]+(?:/haip)?/(?:token|nonce|credential|deferred_credential|"
                    r"notification|par|authorize|login/callback|offers/.*|\.well-known/.*)")  # fmt: skip


def is_for_wallets(path: str) -> bool:
    """Whether a wallet calls here (the city's and the phones' paths end otherwise)."""
    return not path.startswith(("/v1/", "/city/")) and _PATHS.fullmatch(path) is not None


def make_described_door(directory: Path, **changes: Any) -> House:
    """A door that trusts a wallet provider of ours."""
    provider = make_wallet_provider(NOW)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "attesters.pem").write_bytes(provider.pem())
    house = make_house(
        directory, wallet_attesters=directory / "attesters.pem", wallet_wait=1, wallet_login_wait=1, **changes
    )
    house.app.extensions["akashi-test-provider"] = provider
    return house


def publish_for_wallets(house: House) -> WalletCity:
    """Everything the city publishes for wallets, and a city that answers at once."""
    city = make_wallet_city(house)
    documents = {
        "vct.json": {"vct": f"{PUBLIC_URL}/vct/income-certificate/1"},
        "jwt-vc-issuer.json": {"issuer": ISSUERS["p1"], "jwks": {"keys": []}},
    }
    for name, value in documents.items():
        city.call("PUT", f"/city/public/{CITY}/wallets/{name}", json.dumps(value).encode())
    for profile in ("p1", "p2"):
        city.call("PUT", f"/city/public/{CITY}/wallets/{profile}.jwt", b"a.b.c")
    waiters = house.app.extensions[EXTENSION].waiters
    told = waiters.notify
    busy: list[bool] = []

    def notify() -> None:
        told()
        if not busy:
            busy.append(True)
            try:
                city.work()
            finally:
                busy.clear()

    waiters.notify = notify  # type: ignore[method-assign]
    house.app.extensions["akashi-test-city"] = city
    return city


class InsiderWallets:
    """One wallet in each profile. `known`: what stands in paths."""

    def __init__(self, house: House) -> None:
        self.city: WalletCity = house.app.extensions["akashi-test-city"]
        self._house = house
        provider = house.app.extensions["akashi-test-provider"]
        transport = FlaskTransport(house.app, PUBLIC_URL)
        self._wallets = {
            "P1": WalletClient(transport, ISSUERS["p1"], house.clock),
            "P2": WalletClient(transport, ISSUERS["p2"], house.clock, dpop=True, provider=provider),
        }
        for name, wallet in self._wallets.items():
            assert wallet.redeem(self.city.offer(name.lower()).code).status == 200
        self._turn = itertools.count()
        self.city.answers = self._answer
        self.known: dict[str, str] = {}

    def prepare(self, name: str, case: Any, *, lucky: bool) -> None:
        """Put in what this operation needs."""
        profile = name[-2:] if name[-2:] in self._wallets else "P2"
        wallet, kind = self._wallets[profile], name.removesuffix(profile)
        self.known = {
            "code": self.city.offer(profile.lower()).code,
            "grant": new_grant(),
            "exchange": "A" * 22,
        }
        headers: dict[str, str] = {}
        body: Any = None
        if kind == "token":
            form = {"grant_type": "urn:ietf:params:oauth:grant-type:pre-authorized_code"}
            body = {**form, "pre-authorized_code": self.known["code"]}
            headers = wallet.attestation_headers()
            if profile == "P2":
                headers["DPoP"] = wallet.dpop_proof(f"{wallet.issuer}/token")
        elif kind == "pushAuthorization":
            headers, body = self._push(wallet)
        elif kind in ("credential", "deferredCredential", "notification"):
            end_point = {"deferredCredential": "deferred_credential"}.get(kind, kind)
            headers = wallet.show_token(f"{wallet.issuer}/{end_point}")
            body = self._asked(wallet, kind)
        elif kind == "putExchange":
            body = self._waiting()
        elif kind == "putOffer":
            made = MadeOffer(self.known["grant"], base64url_encode(os.urandom(32)), None)
            body = offer_body(made, int(self._house.clock().timestamp()) + 600)
        elif kind == "putNonceKey":
            seconds = int(self._house.clock().timestamp())
            body = parse_json(
                format_nonce_key(NonceKey(os.urandom(4), os.urandom(32), seconds, seconds + 600))
            )
        if headers:
            case.headers = {**(case.headers or {}), **headers}
        if lucky and body is not None:
            case.body = body
            if kind in ("credential", "deferredCredential"):
                case.media_type = "application/json"

    def _push(self, wallet: WalletClient) -> tuple[dict[str, str], dict[str, str]]:
        sent: list[Any] = []
        genuine = wallet.post
        wallet.post = lambda _url, body, headers=None, _kind=None: sent.extend((headers, body))  # type: ignore
        wallet.push(new_verifier())
        wallet.post = genuine  # type: ignore[method-assign]
        return sent[0], sent[1]

    def _asked(self, wallet: WalletClient, kind: str) -> dict[str, Any]:
        encrypted = wallet.provider is not None
        if kind == "credential":
            return wallet.request_body([new_key()], encrypted=encrypted)
        if kind == "notification":
            return {"notification_id": "notification-id-0001", "event": "credential_accepted"}
        # A transaction belongs to one grant: each wallet has its own.
        transaction = f"transaction-0001-{wallet.issuer[-4:]}"
        self.city.answers = lambda _question: Pending(transaction, 5)
        wallet.credential(wallet.request_body([new_key()], encrypted=encrypted))
        self.city.answers = self._answer
        response = {"credential_response_encryption": wallet.response_encryption()} if encrypted else {}
        return {"transaction_id": transaction, **response}

    def _answer(self, question: Question) -> Any:
        response = getattr(question.body, "response", None)
        if not hasattr(question.body, "response"):
            return self.city.usual(question)
        if next(self._turn) % 2:
            return Pending("transaction-0001-abc", 5)
        if response is None:
            return Issued("application/json", PLAIN)
        return Issued("application/jwt", encrypt_compact(PLAIN, response.key, enc=response.enc))

    def _waiting(self) -> bytes:
        # A question of another process of the door, to which this answer comes.
        door = self._house.app.extensions[EXTENSION]
        exchange, reply = new_grant(), new_key()
        with door.store.write() as connection:
            add_exchange(connection, exchange, b"a question of another process", door.minute())
        self.known["exchange"] = exchange
        return seal_answer(exchange, Issued("application/json", PLAIN), reply.public_key(), os.urandom)
