"""The way from a request to a person: cookies, CSRF tokens, and the refusal of everybody else. Used by
`views`.

The login form has no session yet: its token is a cookie of its own that the form must repeat, and the
browser's word that the form came from this site.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from flask import Response, abort, current_app, g, redirect, request, url_for

from app.staff.doors import Doors
from app.staff.sessions import Session, is_same

SESSION_COOKIE: Final = "akashi-staff"
LOGIN_COOKIE: Final = "akashi-staff-login"
CSRF_FIELD: Final = "csrf"


def doors() -> Doors:
    """What this application was made of."""
    return current_app.extensions["staff"]  # type: ignore[no-any-return]


def cookie_name(base: str) -> str:
    """`__Host-` pins a cookie to this host over TLS; the demo speaks plain HTTP on loopback and cannot use
    it.
    """
    return base if doors().settings.is_mock else f"__Host-{base}"


def set_cookie(response: Response, base: str, value: str) -> None:
    """HttpOnly, SameSite=Strict, for this host and browser session only; Secure outside the demo."""
    response.set_cookie(
        cookie_name(base),
        value,
        httponly=True,
        samesite="Strict",
        path="/",
        secure=not doors().settings.is_mock,
    )


def delete_cookie(response: Response, base: str) -> None:
    """Forget a cookie set by `set_cookie`."""
    response.delete_cookie(
        cookie_name(base), httponly=True, samesite="Strict", path="/", secure=not doors().settings.is_mock
    )


def find_session() -> Session | None:
    """Who sent this request, or None."""
    token = request.cookies.get(cookie_name(SESSION_COOKIE), "")
    return doors().sessions.find(token, doors().clock()) if token else None


def staff_only(view: Callable[..., Any]) -> Callable[..., Any]:
    """Let a view run for logged-in staff only (`g.session`); a form must also carry the CSRF token."""

    @wraps(view)
    def guarded(*args: object, **kwargs: object) -> Any:
        session = find_session()
        if session is None:
            if request.method != "GET":
                abort(403)
            return redirect(url_for("staff.login"), 303)
        g.session = session
        if request.method == "POST":
            check_origin()
            if not is_same(request.form.get(CSRF_FIELD, ""), session.csrf):
                abort(403)
        return view(*args, **kwargs)

    return guarded


def check_origin() -> None:
    """Refuse a form that the browser says came from another site."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        abort(403)


def new_login_token() -> str:
    """A token for one login form."""
    return secrets.token_urlsafe(16)


def check_login_token() -> None:
    """Refuse a login form that does not repeat its cookie."""
    check_origin()
    token = request.cookies.get(cookie_name(LOGIN_COOKIE), "")
    if not token or not is_same(request.form.get(CSRF_FIELD, ""), token):
        abort(403)
