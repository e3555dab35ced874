"""The authorization request of the mock provider (模擬/MOCK): parameters in, a checked request or the protocol's own
error out.

Sources: RFC 6749 sections 3.1 and 4.1.1, RFC 7636 section 4, OpenID Connect Core section 3.1.2, facts (domain.md 3.5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlencode

from app.counterparts.digital_auth.clients import RelyingParty
from app.counterparts.digital_auth.errors import NoRedirectError, OAuthError
from app.counterparts.digital_auth.store import SignIn

MAX_PARAMETERS_BYTES: Final = 16 << 10
MAX_PARAMETERS: Final = 30
ATTRIBUTE_SCOPES: Final = ("name", "address", "birthdate", "gender")
SCOPES: Final = frozenset({"openid", *ATTRIBUTE_SCOPES})
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]{1,255}")
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")


def parse_parameters(text: str) -> dict[str, str]:
    """A query or form body. Raises: OAuthError("invalid_request"), also for a name that stands there twice."""
    if len(text) > MAX_PARAMETERS_BYTES:
        raise OAuthError("invalid_request", "too long")
    if not text:
        return {}
    if not text.isascii():
        raise OAuthError("invalid_request", "not application/x-www-form-urlencoded")
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=MAX_PARAMETERS
        )
    except ValueError as error:
        raise OAuthError("invalid_request", "not application/x-www-form-urlencoded") from error
    found = dict(pairs)
    if len(found) != len(pairs):
        raise OAuthError("invalid_request", "a parameter appears twice")
    return found


def find_client(given: Mapping[str, str], clients: Mapping[str, RelyingParty]) -> RelyingParty:
    """The relying party whose redirect URI is exactly the one given. Raises: NoRedirectError."""
    client = clients.get(given.get("client_id", ""))
    if client is None:
        raise NoRedirectError("unknown-client", "no such client_id")
    if given.get("redirect_uri") not in client.redirect_uris:
        raise NoRedirectError("unknown-redirect-uri", "redirect_uri is not registered for this client")
    return client


def check_authorization_request(given: Mapping[str, str], client: RelyingParty) -> SignIn:
    """Everything after client and redirect URI. Raises: OAuthError, which may go to the redirect URI."""
    if "request" in given:
        raise OAuthError("request_not_supported", "no request objects")
    if "request_uri" in given:
        raise OAuthError("request_uri_not_supported", "no request objects")
    if given.get("response_type") != "code":
        code = "unsupported_response_type" if given.get("response_type") else "invalid_request"
        raise OAuthError(code, "response_type must be code")
    if given.get("response_mode", "query") != "query":
        raise OAuthError("invalid_request", "response_mode must be query")
    scopes = given.get("scope", "").split(" ")
    if "openid" not in scopes or not SCOPES.issuperset(scopes):
        raise OAuthError("invalid_scope", "scope is openid, with name address birthdate gender")
    for name in ("state", "nonce"):
        if _PRINTABLE.fullmatch(given.get(name, "")) is None:
            raise OAuthError("invalid_request", f"{name} must be 1 to 255 printable ASCII characters")
    if given.get("code_challenge_method") != "S256":
        raise OAuthError("invalid_request", "code_challenge_method must be S256")
    if _CHALLENGE.fullmatch(given.get("code_challenge", "")) is None:
        raise OAuthError("invalid_request", "code_challenge must be 43 base64url characters")
    if "none" in given.get("prompt", "").split(" "):
        raise OAuthError("login_required", "every sign-in needs the card")
    # acr_values is a wish (OpenID Connect Core 3.1.2.1): what is not known is passed over.
    return SignIn(
        client.client_id,
        given["redirect_uri"],
        given["state"],
        given["nonce"],
        given["code_challenge"],
        " ".join(name for name in ATTRIBUTE_SCOPES if name in scopes),
    )


def redirect_address(redirect_uri: str, parameters: Mapping[str, str]) -> str:
    """The address the browser is sent to with the answer."""
    return f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{urlencode(parameters)}"
