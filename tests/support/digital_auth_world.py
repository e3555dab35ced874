"""A mock デジタル認証アプリ with one card, and the city as its client, in one process and with a clock that tests move."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from app.counterparts.digital_auth.clients import parse_clients
from app.counterparts.digital_auth.keys import open_keys
from app.counterparts.digital_auth.provider import DISCOVERY, PROTOCOL, REALM, SIGN_IN, Provider, Reply
from app.counterparts.digital_auth.sign_in import CardDesk
from app.counterparts.digital_auth.store import ProviderStore
from app.identity.card_certificate import load_card_trust
from app.identity.login import Client, PendingLogin, start_login
from app.identity.login_exchange import Tokens, exchange_code
from app.identity.login_provider import LoginProvider, parse_login_provider
from tests.support.door_house import NOW, PASSWORDS, DirectStatus, make_card, make_jpki
from verifier.formats.encoding import base64url_encode, canonical_json, sha256
from verifier.formats.jose import SignDigest, es256_signer, format_jwk

ORIGIN = "http://127.0.0.1:8451"
ISSUER = ORIGIN + REALM
TOKEN_ENDPOINT = f"{ORIGIN}{PROTOCOL}/token"
FORM = "application/x-www-form-urlencoded"
CITY = Client("akashi-iizuka", "https://iizuka.example/login/callback", "city-1")
SHOP = Client("other-service", "https://shop.example/callback?from=oidc", "shop-1")


def predictable() -> Callable[[int], bytes]:
    """Bytes that differ with every call, for tests only."""
    counter = itertools.count()
    return lambda size: sha256(next(counter).to_bytes(8, "big"))[:size]


def client_entry(client: Client, key: ec.EllipticCurvePrivateKey, sector: str, **more: str) -> dict[str, Any]:
    """One relying party as clients.json has it."""
    return {
        "client_id": client.client_id,
        "jwks": {"keys": [{**format_jwk(key.public_key()), "kid": client.key_id}]},
        "redirect_uris": [client.redirect_uri],
        "sector": sector,
        **more,
    }


def clients_file(*entries: dict[str, Any]) -> bytes:
    """The bytes of a clients.json."""
    return canonical_json({"clients": list(entries), "v": 1})


def sign_by_hand(header: dict[str, Any], claims: dict[str, Any], key: ec.EllipticCurvePrivateKey) -> str:
    """An ES256 token whose header or claims no library would write."""
    parts = [base64url_encode(json.dumps(part).encode()) for part in ({"alg": "ES256", **header}, claims)]
    return ".".join([*parts, base64url_encode(es256_signer(key)(sha256(".".join(parts).encode())))])


class World:
    """`now` moves by hand; `status` can be down; `card` can be revoked."""

    def __init__(self, directory: Path) -> None:
        self.now: datetime = NOW
        self.jpki = make_jpki(directory / "jpki")
        self.cards = directory / "cards"
        self.reader, self.card = make_card(self.jpki, self.cards / "hanako.card")
        self.status = DirectStatus(self.jpki)
        self.city_key, self.shop_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.clients = parse_clients(
            clients_file(
                client_entry(CITY, self.city_key, "iizuka", userinfo_signed_response_alg="ES256"),
                client_entry(SHOP, self.shop_key, "shop"),
            )
        )
        self.keys = open_keys(directory / "keys")
        self.store = ProviderStore(directory / "provider.sqlite")
        self.desk = CardDesk(self.cards, load_card_trust(self.jpki.anchors, profile="demo"), self.status)
        self.provider = Provider(
            ISSUER, self.clients, self.keys, self.store, self.desk, clock=lambda: self.now
        )
        self.random = predictable()
        self.pinned: LoginProvider = parse_login_provider(
            self.provider.get(DISCOVERY, "").body,
            self.provider.get(PROTOCOL + "/certs", "").body,
            issuer=ISSUER,
            profile="demo",
        )

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def signer(self, client: Client) -> SignDigest:
        return es256_signer(self.city_key if client is CITY else self.shop_key)

    def start(self, client: Client = CITY) -> tuple[str, PendingLogin]:
        return start_login(self.pinned, client, random=self.random, now=self.now)

    def ask(self, address: str, **changes: str | None) -> Reply:
        """The authorization request in `address`, with parameters changed or (None) left out."""
        given = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        given |= {name: value for name, value in changes.items() if value is not None}
        left = {name: value for name, value in given.items() if changes.get(name, "") is not None}
        return self.provider.get(PROTOCOL + "/auth", urlencode(left))

    def touch(self, page: Reply, pin: str = PASSWORDS.authentication, **fields: str) -> Reply:
        """Send the form of the page."""
        form = {"ticket": ticket_of(page), "card": "hanako", "pin": pin, "choice": "sign-in"} | fields
        return self.provider.post(SIGN_IN, FORM, urlencode(form))

    def sign_in(self, client: Client = CITY) -> tuple[str, PendingLogin]:
        """(query of the answer, what the client remembers) of one honest sign-in."""
        address, pending = self.start(client)
        return query_of(self.touch(self.ask(address))), pending

    def post(self, url: str, body: bytes, _limit: int) -> tuple[int, bytes]:
        """`login_exchange.Post` without a socket."""
        reply = self.provider.post(urlsplit(url).path, FORM, body.decode("ascii"))
        return reply.status, reply.body

    def get(self, url: str, access_token: str, _limit: int) -> tuple[int, str, bytes]:
        """`login_exchange.Get` without a socket."""
        reply = self.provider.get(urlsplit(url).path, "", f"Bearer {access_token}")
        return reply.status, reply.media_type, reply.body

    def exchange(self, code: str, pending: PendingLogin, client: Client = CITY, **changes: Any) -> str:
        """The ID token."""
        return self.tokens(code, pending, client, **changes).id_token

    def tokens(self, code: str, pending: PendingLogin, client: Client = CITY, **changes: Any) -> Tokens:
        given: dict[str, Any] = {
            "sign": self.signer(client),
            "post": self.post,
            "random": self.random,
            "now": self.now,
        }
        return exchange_code(code, pending, self.pinned, client, **given | changes)


def ticket_of(page: Reply) -> str:
    found = re.search(r'name="ticket" value="([\w-]+)"', page.body.decode())
    assert found is not None, page.status
    return found[1]


def return_address_of(page: Reply) -> str:
    """The way back to the service on a page that says why the card signs nobody in."""
    found = re.search(r'<a href="([^"]+)">', page.body.decode())
    assert found is not None, page.status
    return unescape(found[1])


def refusal_of(page: Reply) -> dict[str, str]:
    """What the service is told by that way back."""
    query = urlsplit(return_address_of(page)).query
    return {name: values[0] for name, values in parse_qs(query).items()}


def location_of(reply: Reply) -> str:
    assert reply.status == 303, reply.body.decode()
    return dict(reply.headers)["Location"]


def query_of(reply: Reply) -> str:
    return urlsplit(location_of(reply)).query


def answer_of(reply: Reply) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query_of(reply)).items()}
