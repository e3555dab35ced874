"""What the city pins of デジタル認証アプリ: its issuer, three addresses, and the keys of its ID tokens.

Read once from copies of the discovery document and the JWK set that lie in the city's settings. Nothing is fetched
while somebody logs in, so a provider that is taken over cannot bring keys along; a change of keys is a change of settings.
Sources: OpenID Connect Discovery 1.0 section 3, RFC 7517.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from app.errors import SettingsError
from verifier.errors import FormatError
from verifier.formats.encoding import parse_json
from verifier.formats.jose import parse_jwk

MAX_DOCUMENT_BYTES: Final = 64 << 10
MAX_KEYS: Final = 20
ACR: Final = "aal3"
_NEEDED: Final = {
    "response_types_supported": "code",
    "id_token_signing_alg_values_supported": "ES256",
    "token_endpoint_auth_methods_supported": "private_key_jwt",
    "code_challenge_methods_supported": "S256",
    "subject_types_supported": "pairwise",
}
_JWK_MEMBERS: Final = ("crv", "kty", "x", "y")


@dataclass(frozen=True, slots=True)
class LoginProvider:
    """One pinned provider.

    issuer, authorization_endpoint, token_endpoint  absolute addresses, compared as exact text
    keys             P-256 keys for ID tokens, by key id
    userinfo_endpoint  likewise; "" where its document names none
    claims           the claims it says to give: `acr` and `auth_time` must be there if they are named here
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    keys: Mapping[str, ec.EllipticCurvePublicKey]
    claims: frozenset[str]
    userinfo_endpoint: str = ""


def parse_login_provider(discovery: bytes, jwks: bytes, *, issuer: str, profile: str) -> LoginProvider:
    """The provider `issuer` from its two documents.

    A mock provider (`akashi_mock` in its document) is refused in production, and a real one anywhere else; so is any
    address in production that is not https, or that is of another origin than the issuer. Raises: SettingsError.
    """
    try:
        document: Any = parse_json(discovery, max_bytes=MAX_DOCUMENT_BYTES)
        if document["issuer"] != issuer:
            raise SettingsError("login-provider", "the discovery document is of another issuer")
        if ("akashi_mock" in document) == (profile == "production"):
            raise SettingsError(
                "login-provider", f"mock (模擬) and real providers never mix; the profile is {profile}"
            )
        for name, value in _NEEDED.items():
            if value not in document[name]:
                raise SettingsError("login-provider", f"{name} does not have {value}")
        authorization, token = document["authorization_endpoint"], document["token_endpoint"]
        userinfo = document.get("userinfo_endpoint", issuer)
        claims = frozenset(document.get("claims_supported", ()))
        keys = _parse_keys(jwks)
        same_origin = all(_origin(address) == _origin(issuer) for address in (authorization, token, userinfo))
    except (FormatError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise SettingsError("login-provider", "a document of the provider has another form") from error
    if not same_origin:
        raise SettingsError("login-provider", "an address is of another origin than the issuer")
    for address in (issuer, authorization, token, userinfo):
        if profile == "production" and not address.startswith("https://"):
            raise SettingsError("login-provider", "an address is not https")
    return LoginProvider(issuer, authorization, token, keys, claims, "" if userinfo == issuer else userinfo)


def read_login_provider(discovery: Path, jwks: Path, *, issuer: str, profile: str) -> LoginProvider:
    """`parse_login_provider` of two files. Raises: SettingsError."""
    try:
        documents = discovery.read_bytes(), jwks.read_bytes()
    except OSError as error:
        raise SettingsError("login-provider", "a document of the provider cannot be read") from error
    return parse_login_provider(*documents, issuer=issuer, profile=profile)


def _parse_keys(jwks: bytes) -> dict[str, ec.EllipticCurvePublicKey]:
    """The signing keys on P-256. Keys of other kinds may lie in the set; they are left out, never used."""
    content: Any = parse_json(jwks, max_bytes=MAX_DOCUMENT_BYTES)
    keys: dict[str, ec.EllipticCurvePublicKey] = {}
    for jwk in content["keys"]:
        if jwk.get("kty") != "EC" or jwk.get("crv") != "P-256" or jwk.get("use", "sig") != "sig":
            continue
        if "d" in jwk or jwk.get("alg", "ES256") != "ES256" or not isinstance(jwk["kid"], str):
            raise ValueError("a key of another use")
        if jwk["kid"] in keys:
            raise ValueError("a key id appears twice")
        keys[jwk["kid"]] = parse_jwk({name: jwk[name] for name in _JWK_MEMBERS})
    if not 0 < len(keys) <= MAX_KEYS:
        raise ValueError("number of keys")
    return keys


def _origin(address: Any) -> tuple[str, str]:
    if not isinstance(address, str):
        raise TypeError("an address is text")
    parts = urlsplit(address)
    return parts.scheme, parts.netloc
