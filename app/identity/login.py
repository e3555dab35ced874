"""Login at デジタル認証アプリ, the city's side as a pure door: the request that is sent, the answer that comes back, and
the strict check of the ID token.

    1. start_login          the address for the browser, and what has to be remembered (`PendingLogin`)
    2. read_callback        the code in the answer, if the answer belongs to what is remembered
    3. login_exchange       the code against an ID token (another module: it speaks to the provider)
    4. verify_id_token      who it was (`Login`)

The worker walks all four (`app/wallets/logins`); the register gate walks the fourth again with keys of its own settings,
and says which resident a `subject` is (`app/registers/login_gate`). The nonce of a login commits to what it is for
(`login_nonce`), so that the provider's signature covers that too, as a card's covers its statement. The caller keeps
`PendingLogin` by its state in the city's own store and takes it out in one step before step 2, so that one answer is
served once. The direct card challenge stays beside this way.

Sources: RFC 6749, RFC 7636, RFC 9207, OpenID Connect Core sections 3.1.2 and 3.1.3.7; parameters as in the facts of
the service. This module has no clock, no socket and no key.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import jwt

from app.errors import Refusal
from app.identity.login_provider import ACR, LoginProvider
from verifier.errors import FormatError
from verifier.formats.encoding import base64url_encode, canonical_json, sha256
from verifier.formats.jose import parse_jws

MAX_CALLBACK_BYTES: Final = 8 << 10
MAX_ID_TOKEN_BYTES: Final = 16 << 10
MAX_PENDING: Final = timedelta(minutes=10)
MAX_TOKEN_LIFE: Final = timedelta(hours=1)
CLOCK_SKEW: Final = timedelta(seconds=60)
ACR_VALUES: Final = "aal3 crl"
SCOPE_WITH_ATTRIBUTES: Final = "openid name address birthdate gender"
_TEXT: Final = re.compile(r"[\x21-\x7e]{1,512}")
_SUBJECT: Final = re.compile(r"[\x21-\x7e]{1,255}")
_DENIALS: Final = ("access_denied", "login_required", "temporarily_unavailable")


class LoginRefused(Refusal):
    """Nobody is logged in. `code` says why in one word; neither it nor `detail` holds anything of a token.

    `oauth` is the protocol's word for whoever asked for the login: one of the three that the provider itself may say
    (access_denied, login_required, temporarily_unavailable).
    """

    def __init__(self, why: str, oauth: str = "access_denied") -> None:
        ja, en = _SENTENCES.get(why if why != "denied" else oauth, _SENTENCES["start-again"])
        super().__init__(f"login-{why}", ja, en, retry=True)
        self.oauth = oauth


_SENTENCES: Final = {
    "start-again": (
        "ログインを確認できませんでした。はじめからもう一度お試しください。",
        "The login could not be confirmed. Please start again.",
    ),
    "access_denied": (
        "ログインは取りやめられたか、カードが使えませんでした。電子証明書が失効・期限切れの場合は、市役所の窓口で更新できます。",
        "The login was cancelled, or the card was refused. An expired or revoked card is renewed at the city office.",
    ),
    "login_required": (
        "マイナンバーカードでのログインが必要です。もう一度お試しください。",
        "A login with the card is needed. Please try again.",
    ),
    "temporarily_unavailable": (
        "いまログインのサービスに確認できません。しばらくしてからもう一度お試しください。",
        "The login service cannot be reached or cannot check the card right now. Please try again later.",
    ),
    "attributes-needed": (
        "はじめてのログインでは、氏名・住所・生年月日・性別の提供への同意が必要です。もう一度ログインし、同意してください。",
        "The first login needs your consent to give name, address, birth date and sex. Please log in again and agree.",
    ),
}


@dataclass(frozen=True, slots=True)
class Client:
    """The city as registered at the provider. key_id: of the key that signs its assertions."""

    client_id: str
    redirect_uri: str
    key_id: str


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """What the city remembers of one login under way. state, nonce and verifier: 43 characters each, secret."""

    started_at: datetime
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """What a good ID token says.

    issuer        the provider
    subject       the person, for this city's service only (pairwise); no number, no name
    acr           how surely: "aal3"; None where the provider does not say it gives the claim
    authenticated_at  when the card was touched; None likewise
    issued_at     when the token was made
    """

    issuer: str
    subject: str
    acr: str | None
    authenticated_at: datetime | None
    issued_at: datetime


def login_nonce(request_id: str, wish_digest: str, salt: str) -> str:
    """The nonce (43 characters) of a login that is for exactly this request: whoever holds the ID token can show what
    the login was started for, and nothing else. `salt`: 43 characters of fresh random, told to the gate alone.
    """
    said = canonical_json([request_id, wish_digest, salt])
    return base64url_encode(sha256(b"akashi/login-nonce/v1\0" + said))


def start_login(
    provider: LoginProvider,
    client: Client,
    *,
    random: Callable[[int], bytes],
    now: datetime,
    nonce: str | None = None,
    scope: str = "openid",
) -> tuple[str, PendingLogin]:
    """The address to send the browser to, and what to remember. `random` must be unpredictable (os.urandom).

    `nonce`: as of `login_nonce`; None makes one. `scope`: "openid", or SCOPE_WITH_ATTRIBUTES.
    """
    state, verifier = (base64url_encode(random(32)) for _ in range(2))
    pending = PendingLogin(now, state, nonce or base64url_encode(random(32)), verifier)
    return authorization_address(provider, client, pending, scope), pending


def authorization_address(provider: LoginProvider, client: Client, pending: PendingLogin, scope: str) -> str:
    """Where the browser of this login goes."""
    parameters = {
        "response_type": "code",
        "scope": scope,
        "client_id": client.client_id,
        "redirect_uri": client.redirect_uri,
        "state": pending.state,
        "nonce": pending.nonce,
        "code_challenge": base64url_encode(sha256(pending.verifier.encode("ascii"))),
        "code_challenge_method": "S256",
        "acr_values": ACR_VALUES,
    }
    return f"{provider.authorization_endpoint}?{urlencode(parameters)}"


def peek_state(query: str) -> str:
    """The state in the query that the browser brought back, to look up what is remembered: nothing is checked yet.

    Raises: LoginRefused.
    """
    return _parse_query(query).get("state", "")


def read_callback(query: str, pending: PendingLogin, provider: LoginProvider, *, now: datetime) -> str:
    """The code from the query that the browser brought back. Raises: LoginRefused.

    An error of the provider becomes "denied"; its words are not passed on, for anybody can write them.
    """
    given = _parse_query(query)
    # Before anything else: an answer to somebody else's request says nothing at all.
    if not hmac.compare_digest(given.get("state", "").encode(), pending.state.encode()):
        raise LoginRefused("state")
    if given.get("iss", provider.issuer) != provider.issuer:
        raise LoginRefused("issuer")
    if not timedelta(0) <= now - pending.started_at <= MAX_PENDING:
        raise LoginRefused("too-late")
    if "error" in given:
        if given["error"] in _DENIALS:
            raise LoginRefused("denied", given["error"])
        raise LoginRefused("provider-error", "temporarily_unavailable")
    code = given.get("code", "")
    if _TEXT.fullmatch(code) is None:
        raise LoginRefused("code")
    return code


def verify_id_token(
    token: str, pending: PendingLogin, provider: LoginProvider, client: Client, *, now: datetime
) -> Login:
    """The numbered walk of OpenID Connect Core section 3.1.3.7. Raises: LoginRefused.

    1. at most 16 KiB, strict JSON, alg ES256 and a key id of the pinned set; keys in the header are not looked at
    2. signature; iss and aud exactly ours, azp too if it is there
    3. exp, iat, auth_time: whole seconds, within `now`; auth_time not before this login was started
    4. nonce of this login
    5. acr "aal3" where the provider gives it
    """
    claims = verify_signed_claims(token, provider, client, needed=_ID_TOKEN_CLAIMS)
    issued_at = instant(claims, "iat")
    expires_at = instant(claims, "exp")
    if now >= expires_at or expires_at - issued_at > MAX_TOKEN_LIFE:
        raise LoginRefused("expired")
    if issued_at > now + CLOCK_SKEW or issued_at < pending.started_at - CLOCK_SKEW:
        raise LoginRefused("issued-at")
    authenticated_at = None
    if "auth_time" in claims or "auth_time" in provider.claims:
        authenticated_at = instant(claims, "auth_time")
        if not pending.started_at - CLOCK_SKEW <= authenticated_at <= now + CLOCK_SKEW:
            raise LoginRefused("auth-time")
    nonce = claims["nonce"]
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), pending.nonce.encode()):
        raise LoginRefused("nonce")
    acr = claims.get("acr")
    if acr != ACR and (acr is not None or "acr" in provider.claims):
        raise LoginRefused("acr")
    subject = claims["sub"]
    if not isinstance(subject, str) or _SUBJECT.fullmatch(subject) is None:
        raise LoginRefused("subject")
    return Login(provider.issuer, subject, acr, authenticated_at, issued_at)


def verify_signed_claims(
    token: str, provider: LoginProvider, client: Client, *, needed: Sequence[str]
) -> Mapping[str, Any]:
    """The claims of a JWT signed by a pinned key of the provider, issued by it and for this client alone; `needed` are
    there. Times and meaning are the caller's. Raises: LoginRefused.
    """
    try:
        jws = parse_jws(token, max_bytes=MAX_ID_TOKEN_BYTES)
        claims = jws.payload_object()
    except FormatError as error:
        raise LoginRefused("token-form") from error
    key_id = jws.header.get("kid")
    key = provider.keys.get(key_id) if isinstance(key_id, str) else None
    if key is None:
        raise LoginRefused("unknown-key")
    # Times are compared with the caller's clock, not with the machine's.
    options: Any = {
        "require": list(needed),
        "strict_aud": True,
        "verify_exp": False,
        "verify_iat": False,
        "verify_nbf": False,
    }
    try:
        jwt.decode(
            token,
            key,
            algorithms=["ES256"],
            audience=client.client_id,
            issuer=provider.issuer,
            options=options,
        )
    except jwt.PyJWTError as error:
        raise LoginRefused(_REASONS.get(type(error), "claims")) from error
    if claims.get("azp", client.client_id) != client.client_id:
        raise LoginRefused("audience")
    return claims


_ID_TOKEN_CLAIMS: Final = ("iss", "sub", "aud", "exp", "iat", "nonce")
_REASONS: Final[dict[type[Exception], str]] = {
    jwt.InvalidSignatureError: "signature",
    jwt.InvalidAudienceError: "audience",
    jwt.InvalidIssuerError: "issuer",
}


def instant(claims: Mapping[str, Any], name: str) -> datetime:
    value = claims.get(name)
    if type(value) is not int or not 0 <= value < 1 << 40:
        raise LoginRefused("times")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise LoginRefused("times") from error


def _parse_query(query: str) -> dict[str, str]:
    if len(query) > MAX_CALLBACK_BYTES or not query.isascii():
        raise LoginRefused("callback-form")
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=20
        )
    except ValueError as error:
        raise LoginRefused("callback-form") from error
    if len(dict(pairs)) != len(pairs):
        raise LoginRefused("callback-form")
    return dict(pairs)
