"""The login provider beside the demo city, the city as its client, and who may ask the card CA. 模擬/MOCK, demo only.

What the city knows of the provider are copies of two public documents, taken once when the provider first answered, as a
person would take and check them; a provider that comes back with other keys is then a stranger.
"""

from __future__ import annotations

import urllib.request
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from app.counterparts.digital_auth.provider import DISCOVERY, PROTOCOL, REALM
from app.counterparts.jpki.bodies import JAPAN, BodyRegistry
from app.counterparts.jpki.profiles import KINDS
from app.errors import CityError
from app.house.home import Home
from app.sealing.signer_client import DEFAULT_KEYS
from verifier.formats.encoding import JSON, canonical_json
from verifier.formats.jose import format_jwk

LOGIN_KEY: Final = DEFAULT_KEYS["login"]
CLIENT_ID: Final = "RP00992011"
MAX_DOCUMENT: Final = 64 << 10
YEARS: Final = timedelta(days=10 * 365)
# Who asks the card CA by itself: id → name, legal class. Each has its credential in a token file.
BODIES: Final = {
    "mihon-city": ("見本市（模擬/MOCK）", "administrative"),
    "digital-auth": ("デジタル認証アプリの運営（模擬/MOCK）", "administrative"),
    "mihon-platform": ("見本PF事業者（模擬/MOCK）", "6"),
}
SERVICE: Final = ("mihon-bank", "見本銀行（模擬/MOCK）")


def make_login_provider(home: Home, key: ec.EllipticCurvePublicKey, *, redirect_uri: str) -> None:
    """The provider's directory with the city as its only client, known by its login key."""
    home.digital_auth.mkdir(mode=0o700)
    home.login_cards.mkdir(mode=0o700)
    client: dict[str, JSON] = {
        "client_id": CLIENT_ID,
        "jwks": {"keys": [{**format_jwk(key), "kid": LOGIN_KEY}]},
        "redirect_uris": [redirect_uri],
        "sector": "mihon",
        "userinfo_signed_response_alg": "ES256",
    }
    (home.digital_auth / "clients.json").write_bytes(canonical_json({"clients": [client], "v": 1}))


def register_bodies(home: Home, *, now: datetime) -> dict[str, str]:
    """Register the city, the login provider and a platform at the card CA, and a bank that asks through the platform.

    The credential of each that asks by itself.
    """
    registry, today = BodyRegistry(home.jpki), now.astimezone(JAPAN).date()
    scope = {"kinds": KINDS, "begin": today, "until": today + YEARS}
    tokens = {
        body: registry.add(body, name, legal_class, **scope)  # type: ignore[arg-type]
        for body, (name, legal_class) in BODIES.items()
    }
    registry.add(SERVICE[0], SERVICE[1], "service", **scope)  # type: ignore[arg-type]
    registry.delegate(SERVICE[0], "mihon-platform", **scope)  # type: ignore[arg-type]
    return tokens


def login_issuer(address: str) -> str:
    """The issuer of a provider at this address."""
    return address + REALM


def pin_login_provider(home: Home, address: str) -> None:
    """Copy discovery document and keys once. Raises CityError when the provider does not answer."""
    documents = ((home.login_discovery, DISCOVERY), (home.login_keys, PROTOCOL + "/certs"))
    for path, where in documents:
        if not path.exists():
            path.write_bytes(_fetch(address + where))


def _fetch(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  (loopback, of our own house)
            return bytes(answer.read(MAX_DOCUMENT))
    except OSError as error:
        raise CityError("no-login-provider", "the mock login provider does not answer") from error
