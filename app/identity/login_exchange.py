"""The code against an ID token at the provider's token endpoint, with private_key_jwt; and the access token against
userinfo.

The key of the assertion is never here: `sign` asks whoever holds it. What comes back is an unverified token, which only
`app.identity.login.verify_id_token` and `app.identity.userinfo` may read.
Sources: RFC 6749 sections 4.1.3 and 5, RFC 6750 section 2.1, RFC 7523 section 2.2, OpenID Connect Core sections 3.1.3,
5.3 and 9.
"""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from app.errors import UnavailableError
from app.identity.login import Client, LoginRefused, PendingLogin
from app.identity.login_provider import LoginProvider
from verifier.errors import FormatError
from verifier.formats.encoding import base64url_encode, canonical_json, parse_json
from verifier.formats.jose import SignDigest, build_jws

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE: Final = timedelta(seconds=120)
MAX_ANSWER_BYTES: Final = 32 << 10
TIMEOUT_SECONDS: Final = 10.0
USERINFO_TYPE: Final = "application/jwt"
_BEARER: Final = re.compile(r"[A-Za-z0-9._~+/=-]{0,4096}")

Post = Callable[[str, bytes, int], tuple[int, bytes]]
"""(url, form body, largest answer) → (HTTP status, body). Raises OSError."""


Get = Callable[[str, str, int], tuple[int, str, bytes]]
"""(url, access token for the Authorization header, largest answer) → (HTTP status, media type, body). Raises OSError."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the provider gave for a code, unverified. access_token: "" where there was none."""

    id_token: str = field(repr=False)
    access_token: str = field(repr=False)


def exchange_code(
    code: str,
    pending: PendingLogin,
    provider: LoginProvider,
    client: Client,
    *,
    sign: SignDigest,
    post: Post,
    random: Callable[[int], bytes],
    now: datetime,
) -> Tokens:
    """The ID token, unverified, as compact text, and the access token.

    Raises: LoginRefused when the provider does not take the code; UnavailableError when it does not answer, or does
    not take this city as its client. After either the code is gone: the login starts anew.
    """
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": client.redirect_uri,
        "code_verifier": pending.verifier,
        "client_id": client.client_id,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": build_client_assertion(provider, client, sign=sign, random=random, now=now),
    }
    try:
        status, body = post(provider.token_endpoint, urlencode(form).encode("ascii"), MAX_ANSWER_BYTES)
    except OSError as error:
        raise UnavailableError("login-provider", "no answer") from error
    try:
        answer: Any = parse_json(body, max_bytes=MAX_ANSWER_BYTES)
    except FormatError as error:
        raise UnavailableError("login-provider", f"status {status}, not JSON") from error
    if not isinstance(answer, dict):
        raise UnavailableError("login-provider", f"status {status}, not an object")
    if status == 400 and answer.get("error") == "invalid_grant":
        raise LoginRefused("code-refused")
    if status != 200:
        raise UnavailableError("login-provider", f"status {status}")
    token_type, token = answer.get("token_type"), answer.get("id_token")
    if not isinstance(token_type, str) or token_type.lower() != "bearer" or not isinstance(token, str):
        raise LoginRefused("answer-form")
    access = answer.get("access_token", "")
    if not isinstance(access, str) or _BEARER.fullmatch(access) is None:
        raise LoginRefused("answer-form")
    return Tokens(token, access)


def fetch_userinfo(access_token: str, provider: LoginProvider, *, get: Get) -> str:
    """Userinfo as the provider signed it (compact JWT), unverified.

    Raises: LoginRefused("userinfo-unsigned") for plain JSON, which nobody behind this process could check again, and
    LoginRefused for a token that is not taken; UnavailableError.
    """
    if not provider.userinfo_endpoint or not access_token:
        raise LoginRefused("userinfo")
    try:
        status, media_type, body = get(provider.userinfo_endpoint, access_token, MAX_ANSWER_BYTES)
    except OSError as error:
        raise UnavailableError("login-provider", "no answer") from error
    if status == 401:
        raise LoginRefused("userinfo")
    if status != 200:
        raise UnavailableError("login-provider", f"status {status}")
    if media_type != USERINFO_TYPE:
        raise LoginRefused("userinfo-unsigned")
    try:
        return body.decode("ascii")
    except UnicodeDecodeError as error:
        raise LoginRefused("userinfo-form") from error


def build_client_assertion(
    provider: LoginProvider,
    client: Client,
    *,
    sign: SignDigest,
    random: Callable[[int], bytes],
    now: datetime,
) -> str:
    """One JWT for one call: iss and sub the client, aud the token endpoint, a fresh jti, two minutes."""
    issued = int(now.timestamp())
    claims = {
        "aud": provider.token_endpoint,
        "exp": issued + int(ASSERTION_LIFE.total_seconds()),
        "iat": issued,
        "iss": client.client_id,
        "jti": base64url_encode(random(32)),
        "sub": client.client_id,
    }
    header = {"kid": client.key_id, "typ": "JWT"}
    return build_jws(header, canonical_json(claims), sign).decode("ascii")


def post_over_http(url: str, body: bytes, limit: int) -> tuple[int, bytes]:
    """One form POST with time-out and size limit; no proxy, and no redirect is followed. Raises OSError."""
    request = urllib.request.Request(  # noqa: S310  (the address is pinned in the settings)
        url,
        data=body,
        headers={"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"},
    )
    status, _, data = _open(request, limit)
    return status, data


def get_over_http(url: str, access_token: str, limit: int) -> tuple[int, str, bytes]:
    """One GET with a bearer token, under the same rules. Raises OSError."""
    headers = {"Accept": "application/jwt, application/json", "Authorization": f"Bearer {access_token}"}
    return _open(urllib.request.Request(url, headers=headers), limit)  # noqa: S310  (pinned in the settings)


def _open(request: urllib.request.Request, limit: int) -> tuple[int, str, bytes]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            status, said, data = response.status, response.headers, response.read(limit + 1)
    except urllib.error.HTTPError as error:
        with error:
            status, said, data = error.code, error.headers, error.read(limit + 1)
    except (urllib.error.URLError, http.client.HTTPException, ValueError) as error:
        raise OSError("no answer") from error
    if len(data) > limit:
        raise OSError("answer too large")
    return status, said.get_content_type(), data


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A code and an assertion go to the pinned address only."""

    def redirect_request(self, *_given: Any, **_more: Any) -> None:
        return None
