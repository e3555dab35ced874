"""private_key_jwt at the token end point of the mock provider (模擬/MOCK): who the calling client is.

Sources: RFC 7523 sections 2.2 and 3, OpenID Connect Core section 9. ES256 only; a key in the header is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import jwt

from app.counterparts.digital_auth.clients import RelyingParty
from app.counterparts.digital_auth.errors import OAuthError
from app.counterparts.digital_auth.store import ProviderStore
from verifier.errors import FormatError
from verifier.formats.jose import parse_jws

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_ASSERTION_BYTES: Final = 8 << 10
MAX_LIFE_SECONDS: Final = 300
CLOCK_SKEW_SECONDS: Final = 60
JTI_LENGTHS: Final = range(16, 256)
_REQUIRED: Final = ["iss", "sub", "aud", "exp", "jti"]


def authenticate_client(
    given: Mapping[str, str],
    clients: Mapping[str, RelyingParty],
    store: ProviderStore,
    *,
    audiences: tuple[str, ...],
    now: int,
) -> RelyingParty:
    """The client that signed this request's assertion; its jti is used up.

    `audiences`: each a text that alone may be the assertion's `aud`. Raises: OAuthError("invalid_client", 401).
    """
    if given.get("client_assertion_type") != ASSERTION_TYPE:
        raise _invalid("private_key_jwt is the only client authentication")
    assertion = given.get("client_assertion", "")
    client, key_id = peek_signer(assertion, clients)
    if given.get("client_id", client.client_id) != client.client_id:
        raise _invalid("client_id is of another client")
    claims = _verify(assertion, client, key_id)
    if claims["iss"] != client.client_id or claims["sub"] != client.client_id:
        raise _invalid("iss and sub must be the client_id")
    if not isinstance(claims["aud"], str) or claims["aud"] not in audiences:
        raise _invalid("aud must be the issuer or the token endpoint")
    _check_times(claims, now)
    jti = claims["jti"]
    if not isinstance(jti, str) or len(jti) not in JTI_LENGTHS:
        raise _invalid("jti must be 16 to 255 characters")
    if not store.take_assertion(client.client_id, jti, expires=claims["exp"] + CLOCK_SKEW_SECONDS):
        raise _invalid("this assertion was used before")
    return client


def peek_signer(assertion: str, clients: Mapping[str, RelyingParty]) -> tuple[RelyingParty, str]:
    """Who says to have signed, and with which registered key: nothing is verified yet. Raises: OAuthError."""
    try:
        jws = parse_jws(assertion, max_bytes=MAX_ASSERTION_BYTES)
        said = jws.payload_object().get("sub")
    except FormatError as error:
        raise _invalid("client_assertion is not a JWT with ES256") from error
    client = clients.get(said) if isinstance(said, str) else None
    key_id = jws.header.get("kid")
    if client is None or not isinstance(key_id, str) or key_id not in client.keys:
        raise _invalid("no such client, or no such key of it")
    return client, key_id


def _verify(assertion: str, client: RelyingParty, key_id: str) -> dict[str, Any]:
    # Times are compared with the provider's own clock below, audiences as exact text.
    options: Any = {
        "require": _REQUIRED,
        "verify_aud": False,
        "verify_exp": False,
        "verify_iat": False,
        "verify_nbf": False,
    }
    try:
        return jwt.decode(assertion, client.keys[key_id], algorithms=["ES256"], options=options)
    except jwt.PyJWTError as error:
        raise _invalid("the assertion's signature or claims are wrong") from error


def _check_times(claims: Mapping[str, Any], now: int) -> None:
    for name in ("exp", "iat", "nbf"):
        if name in claims and type(claims[name]) is not int:
            raise _invalid(f"{name} must be whole seconds")
    if claims["exp"] <= now:
        raise _invalid("the assertion has expired")
    if claims["exp"] > now + MAX_LIFE_SECONDS + CLOCK_SKEW_SECONDS:
        raise _invalid(f"an assertion lives {MAX_LIFE_SECONDS} seconds at most")
    if max(claims.get("iat", now), claims.get("nbf", now)) > now + CLOCK_SKEW_SECONDS:
        raise _invalid("the assertion is not valid yet")


def _invalid(detail: str) -> OAuthError:
    return OAuthError("invalid_client", detail, 401)
