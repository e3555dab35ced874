"""The token and userinfo end points of the mock provider (模擬/MOCK): a code against an ID token, once.

Sources: RFC 6749 sections 4.1.3 and 5, RFC 7636 section 4.6, OpenID Connect Core sections 2, 3.1.3 and 5.3.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import jwt

from app.counterparts.digital_auth.authorization import ATTRIBUTE_SCOPES
from app.counterparts.digital_auth.client_assertion import authenticate_client
from app.counterparts.digital_auth.clients import RelyingParty
from app.counterparts.digital_auth.errors import OAuthError
from app.counterparts.digital_auth.keys import ProviderKeys
from app.counterparts.digital_auth.store import Access, Grant, ProviderStore
from verifier.formats.encoding import JSON, base64url_encode, canonical_json, parse_json, sha256

TOKEN_LIFE_SECONDS: Final = 300
ACR: Final = "aal3"
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")


@dataclass(frozen=True, slots=True)
class TokenDesk:
    """`audiences`: what an assertion may name (issuer, token endpoint)."""

    issuer: str
    audiences: tuple[str, ...]
    clients: Mapping[str, RelyingParty]
    keys: ProviderKeys
    store: ProviderStore

    def exchange(self, given: Mapping[str, str], *, now: int) -> dict[str, JSON]:
        """The token answer. The code is used up as soon as its client has proved who it is, so that a wrong verifier
        or redirect URI ends it. Raises: OAuthError.
        """
        client = authenticate_client(given, self.clients, self.store, audiences=self.audiences, now=now)
        if given.get("grant_type") != "authorization_code":
            code = "unsupported_grant_type" if given.get("grant_type") else "invalid_request"
            raise OAuthError(code, "grant_type must be authorization_code")
        if missing := [name for name in ("code", "redirect_uri", "code_verifier") if not given.get(name)]:
            raise OAuthError("invalid_request", f"{missing[0]} is missing")
        grant = self.store.take_code(given["code"], client.client_id, now=now)
        if grant is None:
            raise OAuthError("invalid_grant", "the code is unknown, used, over, or of another client")
        if given["redirect_uri"] != grant.redirect_uri:
            raise OAuthError("invalid_grant", "redirect_uri is not the one of the authorization request")
        if not _fits(given["code_verifier"], grant.challenge):
            raise OAuthError("invalid_grant", "code_verifier does not fit code_challenge")
        access = secrets.token_urlsafe(32)
        self.store.add_access(
            access,
            given["code"],
            Access(grant.subject, client.client_id, grant.attributes),
            expires=now + TOKEN_LIFE_SECONDS,
        )
        given_claims = parse_json(grant.attributes.encode()) if grant.attributes else {}
        return {
            "access_token": access,
            "expires_in": TOKEN_LIFE_SECONDS,
            "id_token": self._id_token(grant, now),
            "scope": " ".join(["openid", *(name for name in ATTRIBUTE_SCOPES if name in given_claims)]),
            "token_type": "Bearer",
        }

    def userinfo(self, authorization: str, *, now: int) -> tuple[str, bytes]:
        """(media type, body): `sub` and the attributes the person gave; signed, with iss and aud, for a client that is
        registered so. Raises: OAuthError("invalid_token", 401).
        """
        scheme, _, token = authorization.partition(" ")
        found = self.store.find_access(token, now=now) if scheme.lower() == "bearer" else None
        client = None if found is None else self.clients.get(found.client)
        if found is None or client is None:
            raise OAuthError("invalid_token", "the access token is unknown or over", 401)
        claims: dict[str, JSON] = parse_json(found.attributes.encode()) if found.attributes else {}
        claims["sub"] = found.subject
        if not client.signed_userinfo:
            return "application/json", canonical_json(claims)
        claims |= {"aud": client.client_id, "exp": now + TOKEN_LIFE_SECONDS, "iat": now, "iss": self.issuer}
        return "application/jwt", self._sign(claims).encode("ascii")

    def _id_token(self, grant: Grant, now: int) -> str:
        claims: dict[str, JSON] = {
            "acr": ACR,
            "aud": grant.client,
            "auth_time": grant.auth_time,
            "exp": now + TOKEN_LIFE_SECONDS,
            "iat": now,
            "iss": self.issuer,
            "nonce": grant.nonce,
            "sub": grant.subject,
        }
        return self._sign(claims)

    def _sign(self, claims: dict[str, JSON]) -> str:
        return jwt.encode(claims, self.keys.signing, algorithm="ES256", headers={"kid": self.keys.key_id})


def _fits(verifier: str, challenge: str) -> bool:
    if _VERIFIER.fullmatch(verifier) is None:
        return False
    return hmac.compare_digest(base64url_encode(sha256(verifier.encode("ascii"))), challenge)
