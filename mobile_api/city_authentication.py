"""Who may speak for the city at the street door: an ES256 JWT made for one call (RFC 7519).

Claims htm (method), htu (path), body (base64url SHA-256 of the body), iat, exp (at most 60 s later), jti
(single use, consumed in the store). A key has a scope: `mailbox` (inbox, nonces, answers, packages),
`public` (public files); the log's publisher needs only the second.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from flask import request
from sqlalchemy import Connection

from mobile_api.errors import Problem, SettingsError
from mobile_api.store.engine import Store
from mobile_api.store.once import consume_token
from mobile_api.store.sweep import to_minute
from verifier.errors import FormatError
from verifier.formats.encoding import base64url_encode, canonical_json, parse_json, sha256
from verifier.formats.jose import format_jwk, parse_jwk, parse_jws, thumbprint

SCOPES: Final = frozenset({"mailbox", "public"})
MAX_LIFE: Final = 60
CLOCK_SKEW: Final = 30
MAX_TOKEN_BYTES: Final = 4096
_CLAIMS: Final = frozenset({"htm", "htu", "iat", "exp", "jti", "body"})


@dataclass(frozen=True, slots=True)
class CityKey:
    """One public key of the city's mailbox client and what it may do."""

    key: ec.EllipticCurvePublicKey
    scope: frozenset[str]


def load_city_keys(path: Path) -> dict[str, CityKey]:
    """Read {"keys":[{"crv","kty","x","y","scope":["mailbox","public"]}]}; `scope` left out = both.

    Returns the keys by thumbprint. Raises: SettingsError.
    """
    try:
        document = parse_json(path.read_bytes())
        keys = {}
        for member in document["keys"]:
            scope = frozenset(member.pop("scope", SCOPES))
            if not scope <= SCOPES:
                raise SettingsError("bad-city-keys", f"scopes are {', '.join(sorted(SCOPES))}")
            key = parse_jwk(member)
            keys[thumbprint(key)] = CityKey(key, scope)
    except (OSError, FormatError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError("bad-city-keys", f"{path.name} is not a JWK set of P-256 keys") from error
    if not keys:
        raise SettingsError("bad-city-keys", f"{path.name} holds no key")
    return keys


def format_city_keys(keys: dict[str, CityKey]) -> bytes:
    """The file that `load_city_keys` reads."""
    return canonical_json(
        {"keys": [{**format_jwk(entry.key), "scope": sorted(entry.scope)} for entry in keys.values()]}
    )


def check_city(keys: Mapping[str, CityKey], store: Store, body: bytes, scope: str, now: datetime) -> None:
    """Check the Authorization header of the current request and use its jti up. Raises Problem 401 or 403."""
    token = verify_city_token(keys, body, scope, now)
    with store.write() as connection:
        token.use_up(connection)


@dataclass(frozen=True, slots=True)
class CityToken:
    """A city token that is good but for its jti."""

    token_hash: str
    until_minute: int

    def use_up(self, connection: Connection) -> None:
        """In the caller's transaction, before anything else in it. Raises Problem 401 for a replay."""
        if not consume_token(connection, self.token_hash, self.until_minute):
            raise Problem(401, "city-token-replayed", "the token was used before")


def verify_city_token(keys: Mapping[str, CityKey], body: bytes, scope: str, now: datetime) -> CityToken:
    """Check the Authorization header of the current request; the caller uses the token up. Raises Problem 401 or 403."""
    header = request.headers.get("Authorization", "")
    if not header.startswith("Bearer ") or len(header) > MAX_TOKEN_BYTES:
        raise Problem(401, "no-city-token", "Authorization: Bearer <JWT> is needed")
    try:
        jws = parse_jws(header.removeprefix("Bearer "), max_bytes=MAX_TOKEN_BYTES)
        kid = jws.header.get("kid")
        entry = keys.get(kid) if isinstance(kid, str) else None
        if entry is None:
            raise Problem(401, "unknown-city-key", "no such key")
        jws.verify(entry.key)
        claims = jws.payload_object()
    except FormatError:
        raise Problem(401, "bad-city-token", "the token is not valid") from None
    if not set(claims) >= _CLAIMS:
        raise Problem(401, "bad-city-token", "members: " + ", ".join(sorted(_CLAIMS)))
    issued, expires, jti = claims["iat"], claims["exp"], claims["jti"]
    seconds = int(now.timestamp())
    if type(issued) is not int or type(expires) is not int or not 0 < expires - issued <= MAX_LIFE:
        raise Problem(401, "bad-city-token", f"a token lives at most {MAX_LIFE} s")
    if not issued - CLOCK_SKEW <= seconds <= expires + CLOCK_SKEW:
        raise Problem(401, "city-token-expired", "the token is not of now")
    if claims["htm"] != request.method or claims["htu"] != request.path:
        raise Problem(401, "bad-city-token", "the token was made for another call")
    expected = base64url_encode(sha256(body))
    if not isinstance(claims["body"], str) or not hmac.compare_digest(
        claims["body"].encode("utf-8", "surrogatepass"), expected.encode()
    ):
        raise Problem(401, "bad-city-token", "the token was made for another body")
    if not isinstance(jti, str) or not 16 <= len(jti) <= 64:
        raise Problem(401, "bad-city-token", "jti has 16 to 64 characters")
    if scope not in entry.scope:
        raise Problem(403, "wrong-scope", "this key may not do that")
    until = to_minute(now) + MAX_LIFE + 2 * CLOCK_SKEW + 60
    return CityToken(base64url_encode(sha256(f"city\x00{kid}\x00{jti}".encode())), until)
