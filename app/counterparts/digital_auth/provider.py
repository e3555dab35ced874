"""All answers of the mock provider without sockets (模擬/MOCK): path and parameters in, a reply out.

Paths are those of the real service below its issuer; only `sign-in`, where the form of the mock card goes, is ours.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from app.counterparts.digital_auth.authorization import (
    ATTRIBUTE_SCOPES,
    SCOPES,
    check_authorization_request,
    find_client,
    parse_parameters,
    redirect_address,
)
from app.counterparts.digital_auth.clients import RelyingParty
from app.counterparts.digital_auth.errors import NoRedirectError, OAuthError, SignInError
from app.counterparts.digital_auth.keys import ProviderKeys
from app.counterparts.digital_auth.pages import (
    format_consent_page,
    format_refused_page,
    format_sign_in_page,
    format_stop_page,
)
from app.counterparts.digital_auth.sign_in import CardDesk
from app.counterparts.digital_auth.store import Consent, Grant, ProviderStore, SignIn
from app.counterparts.digital_auth.tokens import ACR, TokenDesk
from verifier.formats.encoding import JSON, canonical_json

REALM: Final = "/api/realms/main"
PROTOCOL: Final = REALM + "/protocol/openid-connect"
DISCOVERY: Final = REALM + "/.well-known/openid-configuration"
SIGN_IN: Final = REALM + "/sign-in"
PATHS: Final = (
    DISCOVERY,
    SIGN_IN,
    *(f"{PROTOCOL}/{name}" for name in ("auth", "certs", "token", "userinfo")),
)
SIGN_IN_SECONDS: Final = 300
CODE_SECONDS: Final = 60
MARK: Final = "模擬/MOCK"
_FORM_TYPE: Final = "application/x-www-form-urlencoded"
_HTML: Final = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, media type, body, further headers. Every reply is `no-store`."""

    status: int
    media_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Provider:
    """`issuer` ends with /api/realms/main; `clock` gives UTC."""

    def __init__(
        self,
        issuer: str,
        clients: dict[str, RelyingParty],
        keys: ProviderKeys,
        store: ProviderStore,
        desk: CardDesk,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.issuer = issuer
        self._base = issuer.removesuffix(REALM)
        self._clients = clients
        self._keys = keys
        self._store = store
        self._desk = desk
        self._clock = clock
        audiences = (issuer, f"{self._base}{PROTOCOL}/token")
        self._tokens = TokenDesk(issuer, audiences, clients, keys, store)

    def get(self, path: str, query: str, authorization: str = "") -> Reply:
        """Answer a GET."""
        if path == DISCOVERY:
            return _json(200, self.discovery())
        if path == PROTOCOL + "/certs":
            return _json(200, self._keys.jwks())
        if path == PROTOCOL + "/auth":
            return self._authorize(query)
        if path == PROTOCOL + "/userinfo":
            return self._userinfo(authorization)
        return _stop(404, "このページはありません。")

    def post(self, path: str, media_type: str, body: str) -> Reply:
        """Answer a POST; only forms are read."""
        if path not in (PROTOCOL + "/auth", PROTOCOL + "/token", SIGN_IN):
            return _stop(404, "このページはありません。")
        if media_type != _FORM_TYPE:
            return _oauth_error(OAuthError("invalid_request", f"expected {_FORM_TYPE}"))
        if path == PROTOCOL + "/auth":
            return self._authorize(body)
        if path == SIGN_IN:
            return self._sign_in(body)
        try:
            return _json(200, self._tokens.exchange(parse_parameters(body), now=self._now()))
        except OAuthError as error:
            return _oauth_error(error)

    def discovery(self) -> dict[str, JSON]:
        """OpenID Connect Discovery 1.0 section 3."""
        protocol = self._base + PROTOCOL
        return {
            "acr_values_supported": [ACR],
            "akashi_mock": MARK,
            "authorization_endpoint": protocol + "/auth",
            "authorization_response_iss_parameter_supported": True,
            "claims_supported": sorted(
                ["acr", "aud", "auth_time", "exp", "iat", "iss", "nonce", "sub", *ATTRIBUTE_SCOPES]
            ),
            "code_challenge_methods_supported": ["S256"],
            "grant_types_supported": ["authorization_code"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "issuer": self.issuer,
            "jwks_uri": protocol + "/certs",
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
            "response_modes_supported": ["query"],
            "response_types_supported": ["code"],
            "scopes_supported": sorted(SCOPES),
            "subject_types_supported": ["pairwise"],
            "token_endpoint": protocol + "/token",
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["ES256"],
            "userinfo_endpoint": protocol + "/userinfo",
            "userinfo_signing_alg_values_supported": ["ES256"],
        }

    def _authorize(self, parameters: str) -> Reply:
        try:
            given = parse_parameters(parameters)
            client = find_client(given, self._clients)
        except (OAuthError, NoRedirectError):
            return _stop(400, "ご利用のサービスからの依頼を確認できませんでした。")
        try:
            sign_in = check_authorization_request(given, client)
        except OAuthError as error:
            answer = {"error": error.code, "error_description": error.detail}
            return self._redirect(given["redirect_uri"], given.get("state", ""), answer)
        ticket = secrets.token_urlsafe(32)
        now = self._now()
        self._store.add_sign_in(ticket, sign_in, now=now, expires=now + SIGN_IN_SECONDS)
        return self._form(200, ticket, sign_in)

    def _sign_in(self, body: str) -> Reply:
        try:
            given = parse_parameters(body)
        except OAuthError:
            return _stop(400, "入力を読み取れませんでした。")
        ticket, now = given.get("ticket", ""), self._now()
        sign_in = self._store.find_sign_in(ticket, now=now)
        if sign_in is None:
            return _stop(400, "時間が過ぎたか、すでに終わった手続きです。はじめからやり直してください。")
        if given.get("choice") == "cancel":
            return self._end(ticket, sign_in, "access_denied")
        consent = self._store.find_consent(ticket, now=now)
        if consent is not None:
            # Only a clear yes gives anything away.
            agreed = given.get("choice") == "agree"
            return self._grant(ticket, sign_in, consent.person, consent.attributes if agreed else "")
        try:
            person, attributes = self._touch(given, sign_in)
        except SignInError as error:
            if error.oauth is not None:
                return self._end(ticket, sign_in, error.oauth, error.ja)
            return self._form(400, ticket, sign_in, error.ja)
        return (
            self._ask(ticket, sign_in, person, attributes)
            if attributes
            else self._grant(ticket, sign_in, person)
        )

    def _touch(self, given: dict[str, str], sign_in: SignIn) -> tuple[str, dict[str, str]]:
        card, now = given.get("card", ""), self._clock()
        person = self._desk.touch(card, given.get("pin", ""), now=now)
        password = given.get("password", "")
        if not sign_in.scopes or not password:
            return person, {}
        found = self._desk.read_attributes(card, password, now=now)
        return person, {name: found[name] for name in sign_in.scopes.split(" ")}

    def _ask(self, ticket: str, sign_in: SignIn, person: str, attributes: dict[str, str]) -> Reply:
        # A new ticket: the form that held the PIN cannot be sent again with another choice.
        new_ticket = secrets.token_urlsafe(32)
        consent = Consent(person, canonical_json({**attributes}).decode())
        if not self._store.ask_consent(ticket, new_ticket, consent, now=self._now()):
            return _stop(400, "すでに終わった手続きです。はじめからやり直してください。")
        page = format_consent_page(new_ticket, sign_in.client, attributes, SIGN_IN)
        return Reply(200, _HTML, page.encode(), _page_headers(f"'self' {_origin(sign_in)}"))

    def _grant(self, ticket: str, sign_in: SignIn, person: str, attributes: str = "") -> Reply:
        subject = self._keys.subject(self._clients[sign_in.client].sector, person)
        now = self._now()
        grant = Grant(
            sign_in.client, sign_in.redirect_uri, sign_in.nonce, sign_in.challenge, subject, now, attributes
        )
        code = secrets.token_urlsafe(32)
        if not self._store.add_code(ticket, code, grant, now=now, expires=now + CODE_SECONDS):
            return _stop(400, "すでに終わった手続きです。はじめからやり直してください。")
        return self._redirect(sign_in.redirect_uri, sign_in.state, {"code": code})

    def _end(self, ticket: str, sign_in: SignIn, error: str, why: str = "") -> Reply:
        """`why`: the person reads it before the way back, for the service is told the protocol's word only."""
        if not self._store.end_sign_in(ticket, now=self._now()):
            return _stop(400, "すでに終わった手続きです。はじめからやり直してください。")
        if not why:
            return self._redirect(sign_in.redirect_uri, sign_in.state, {"error": error})
        address = redirect_address(
            sign_in.redirect_uri, {"error": error, "state": sign_in.state, "iss": self.issuer}
        )
        page = format_refused_page(why, address)
        return Reply(403 if error == "access_denied" else 503, _HTML, page.encode(), _page_headers("'none'"))

    def _userinfo(self, authorization: str) -> Reply:
        try:
            media_type, body = self._tokens.userinfo(authorization, now=self._now())
            return Reply(200, media_type, body)
        except OAuthError as error:
            challenge = (("WWW-Authenticate", f'Bearer error="{error.code}"'),)
            return Reply(error.status, "application/json", b"", challenge)

    def _form(self, status: int, ticket: str, sign_in: SignIn, message: str = "") -> Reply:
        asked = sign_in.scopes.split(" ") if sign_in.scopes else []
        page = format_sign_in_page(ticket, sign_in.client, self._desk.names(), SIGN_IN, message, asked)
        return Reply(status, _HTML, page.encode(), _page_headers(f"'self' {_origin(sign_in)}"))

    def _redirect(self, redirect_uri: str, state: str, answer: dict[str, str]) -> Reply:
        parameters = {**answer, **({"state": state} if state else {}), "iss": self.issuer}
        return Reply(303, _HTML, b"", (("Location", redirect_address(redirect_uri, parameters)),))

    def _now(self) -> int:
        return int(self._clock().timestamp())


def _origin(sign_in: SignIn) -> str:
    # Browsers hold the redirect that follows a form against form-action too.
    parts = urlsplit(sign_in.redirect_uri)
    return f"{parts.scheme}://{parts.netloc}"


def _page_headers(form_action: str) -> tuple[tuple[str, str], ...]:
    policy = f"default-src 'none'; form-action {form_action}; frame-ancestors 'none'; base-uri 'none'"
    return (("Content-Security-Policy", policy), ("X-Frame-Options", "DENY"))


def _stop(status: int, message: str) -> Reply:
    return Reply(status, _HTML, format_stop_page(message).encode(), _page_headers("'none'"))


def _json(status: int, content: dict[str, JSON]) -> Reply:
    return Reply(status, "application/json", canonical_json(content))


def _oauth_error(error: OAuthError) -> Reply:
    return _json(error.status, {"error": error.code, "error_description": error.detail})
