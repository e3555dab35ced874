"""Errors as OAuth and OpenID4VCI have them, for the end points that wallets speak to. Never problem+json.

Sources: RFC 6749 section 5.2, RFC 6750 section 3, RFC 9449 section 7.1, OpenID4VCI 1.0 sections 6.3, 8.3.1, 9.3, 11.3.
`error_description` is ASCII without quotation mark and backslash and is fixed text: nothing that was sent comes back.
"""

from __future__ import annotations

import logging
from typing import Final

from flask import Blueprint, Response
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from mobile_api.errors import MobileError, Problem
from verifier.errors import FormatError, LimitError
from verifier.fault import describe_fault
from verifier.formats.encoding import JSON, canonical_json

RETRY_AFTER: Final = 5
ALGORITHMS: Final = 'algs="ES256"'

_DESCRIBED: Final = {
    404: ("invalid_request", "nothing is served at this address"),
    405: ("invalid_request", "this method is not served here"),
    411: ("invalid_request", "send Content-Length"),
    413: ("invalid_request", "the body is too large"),
    415: ("invalid_request", "another content type is expected"),
    429: ("temporarily_unavailable", "too many requests, try again later"),
    503: ("temporarily_unavailable", "try again later"),
}


class OAuthError(MobileError):
    """An answer of the protocol that is not a success: HTTP status, its own code, one ASCII sentence, headers."""

    def __init__(
        self, error: str, description: str = "", *, status: int = 400, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(error, description)
        self.status = status
        self.headers = headers or {}


def no_token() -> OAuthError:
    """No access token was sent: no code in the challenge (RFC 6750 section 3.1), both schemes offered."""
    challenge = f"Bearer, DPoP {ALGORITHMS}"
    return OAuthError(
        "invalid_token", "an access token is needed", status=401, headers={"WWW-Authenticate": challenge}
    )


def bad_token(scheme: str = "Bearer", description: str = "the access token is not valid") -> OAuthError:
    """The access token is unknown, over, of another profile, or shown the wrong way."""
    return _challenge(scheme, "invalid_token", description)


def bad_dpop(description: str, *, status: int = 400) -> OAuthError:
    """The DPoP proof is missing or wrong: 400 at the token end points, 401 where a token is shown."""
    if status == 401:
        return _challenge("DPoP", "invalid_dpop_proof", description)
    return OAuthError("invalid_dpop_proof", description)


def need_dpop_nonce(nonce: str, *, status: int = 400) -> OAuthError:
    """The DPoP proof must carry this challenge (RFC 9449 sections 8 and 9)."""
    if status == 401:
        error = _challenge("DPoP", "use_dpop_nonce", "a challenge in the DPoP proof is needed")
    else:
        error = OAuthError("use_dpop_nonce", "a challenge in the DPoP proof is needed")
    error.headers["DPoP-Nonce"] = nonce
    return error


def away(description: str = "the city does not answer, try again later") -> OAuthError:
    """Not the wallet's fault: 503 with Retry-After."""
    return OAuthError(
        "temporarily_unavailable", description, status=503, headers={"Retry-After": str(RETRY_AFTER)}
    )


def json_reply(value: JSON, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer that no cache keeps."""
    response = Response(canonical_json(value), status=status, content_type="application/json")
    for name, text in (headers or {}).items():
        response.headers[name] = text
    return response


def error_reply(error: OAuthError) -> Response:
    """The error as an answer."""
    body = {"error": error.code}
    if error.detail:
        body["error_description"] = error.detail
    return json_reply(body, error.status, error.headers)


def register_oauth_errors(blueprint: Blueprint) -> None:
    """Whatever is raised in this blueprint becomes an error of the protocol."""
    log = logging.getLogger("akashi.door")

    @blueprint.errorhandler(OAuthError)
    def _oauth(error: OAuthError) -> Response:
        return error_reply(error)

    @blueprint.errorhandler(Problem)
    def _problem(error: Problem) -> Response:
        code, description = _DESCRIBED.get(error.status, ("invalid_request", ""))
        headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        return error_reply(OAuthError(code, description, status=error.status, headers=headers))

    @blueprint.errorhandler(FormatError)
    def _format(error: FormatError) -> Response:
        status = 413 if isinstance(error, LimitError) else 400
        return error_reply(OAuthError("invalid_request", "the request cannot be read", status=status))

    @blueprint.errorhandler(SQLAlchemyError)
    def _store(error: SQLAlchemyError) -> Response:
        log.error("store-away %s", type(error).__name__)
        return error_reply(away("the store does not answer, try again later"))

    @blueprint.errorhandler(HTTPException)
    def _http(error: HTTPException) -> Response:
        code, description = _DESCRIBED.get(error.code or 500, ("invalid_request", ""))
        return error_reply(OAuthError(code, description, status=error.code or 500))

    @blueprint.errorhandler(Exception)
    def _unexpected(error: Exception) -> Response:
        # The type and the place, not the message: an exception's text may quote what was sent.
        log.error("internal-error %s", describe_fault(error))
        return error_reply(OAuthError("server_error", "", status=500))


def _challenge(scheme: str, error: str, description: str) -> OAuthError:
    more = f", {ALGORITHMS}" if scheme == "DPoP" else ""
    challenge = f'{scheme} error="{error}", error_description="{description}"{more}'
    return OAuthError(error, description, status=401, headers={"WWW-Authenticate": challenge})
