"""Form bodies of OAuth end points, read strictly: each parameter once, in the body, of bounded size.

Sources: RFC 6749 section 3.2 (no parameter twice, an empty one counts as left out), appendix B (form encoding).
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from flask import request

from mobile_api.limits import read_body
from mobile_api.wallets.oauth_errors import OAuthError

MAX_FORM: Final = 16 << 10
MAX_FIELDS: Final = 40
MAX_VALUE: Final = 4096
FORM_TYPE: Final = "application/x-www-form-urlencoded"


def form_parameters() -> dict[str, str]:
    """The current request's form. Raises OAuthError invalid_request, Problem 411 or 413."""
    if request.mimetype != FORM_TYPE:
        raise OAuthError("invalid_request", "send a form body")
    if request.query_string:
        # A code in an address would end up in logs on its way.
        raise OAuthError("invalid_request", "parameters belong into the body")
    body = read_body(MAX_FORM)
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            encoding="utf-8",
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise OAuthError("invalid_request", "the form cannot be read") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise OAuthError("invalid_request", "a parameter was sent twice")
    if any(len(value) > MAX_VALUE for value in found.values()):
        raise OAuthError("invalid_request", "a parameter is too long")
    return {name: value for name, value in found.items() if value}


def required(form: dict[str, str], name: str) -> str:
    """A parameter that must be there. Raises OAuthError invalid_request."""
    if name not in form:
        raise OAuthError("invalid_request", f"{name} is missing")
    return form[name]
