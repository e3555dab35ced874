"""Pages for staff: parse, call one door, render.

Every page but the login needs a session; every form a CSRF token.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from flask import Blueprint, Response, abort, g, make_response, redirect, render_template, request, url_for

from app.staff.access import (
    LOGIN_COOKIE,
    SESSION_COOKIE,
    check_login_token,
    cookie_name,
    delete_cookie,
    doors,
    find_session,
    new_login_token,
    set_cookie,
    staff_only,
)
from app.staff.audit import append_audit
from app.staff.errors import LoginRefusedError, RevocationRefusedError
from app.staff.messages import REASON_FORM, REQUEST_ID_FORM, WORD_FORM
from app.staff.monitor import Monitor, build_monitor
from app.staff.revocations import REASONS
from app.staff.words import RESTING

PERIODS: Final = {"1h": timedelta(hours=1), "1d": timedelta(days=1), "14d": timedelta(days=14)}
DEFAULT_PERIOD: Final = "1d"


def blueprint() -> Blueprint:
    """The pages, under their addresses."""
    pages = Blueprint("staff", __name__)
    pages.add_url_rule("/healthz", "healthz", healthz)
    pages.add_url_rule("/readyz", "readyz", readyz)
    pages.add_url_rule("/login", "login", login)
    pages.add_url_rule("/login", "enter", enter, methods=["POST"])
    pages.add_url_rule("/logout", "leave", leave, methods=["POST"])
    pages.add_url_rule("/", "monitor", monitor)
    pages.add_url_rule("/issuances", "issuances", issuances)
    pages.add_url_rule("/requests", "find_request", find_request)
    pages.add_url_rule("/requests/<request_id>", "show_request", show_request)
    pages.add_url_rule("/requests/<request_id>/revocations", "ask", ask, methods=["POST"])
    pages.add_url_rule("/revocations/<identifier>/confirm", "confirm", confirm, methods=["POST"])
    pages.add_url_rule("/revocations/<identifier>/withdraw", "withdraw", withdraw, methods=["POST"])
    return pages


def healthz() -> Response:
    """The process lives."""
    return Response("ok\n", mimetype="text/plain")


def readyz() -> Response:
    """The store answers; else 503 by the application's handler."""
    doors().events.find_snapshot()
    return Response("ok\n", mimetype="text/plain")


def login() -> Any:
    """The login form."""
    if find_session() is not None:
        return redirect(url_for("staff.monitor"), 303)
    return _login_form("")


def enter() -> Any:
    """Check the form; a session begins or the same refusal is shown, whatever was wrong."""
    check_login_token()
    form = request.form
    try:
        name = doors().logins.check(
            form.get("name", ""),
            form.get("password", ""),
            form.get("code", ""),
            request.remote_addr or "",
            doors().clock(),
        )
    except LoginRefusedError as error:
        return _login_form(error.code), 429 if error.code == "too-many-attempts" else 403
    response = make_response(redirect(url_for("staff.monitor"), 303))
    set_cookie(response, SESSION_COOKIE, doors().sessions.begin(name, doors().clock()))
    delete_cookie(response, LOGIN_COOKIE)
    return response


@staff_only
def leave() -> Any:
    """Log out."""
    doors().sessions.end(request.cookies.get(cookie_name(SESSION_COOKIE), ""))
    response = make_response(redirect(url_for("staff.login"), 303))
    delete_cookie(response, SESSION_COOKIE)
    return response


@staff_only
def monitor() -> str:
    """Is anything stuck, slow, wrong?"""
    period = request.args.get("period", DEFAULT_PERIOD)
    if period not in PERIODS:
        abort(404)
    open_revocations = doors().revocations.select_open(doors().clock())
    return _page(
        "monitor.html",
        monitor=_build_monitor(PERIODS[period]),
        period=period,
        periods=list(PERIODS),
        open_revocations=open_revocations,
    )


@staff_only
def issuances() -> str:
    """The requests behind a number of the monitor."""
    period = request.args.get("period", DEFAULT_PERIOD)
    state, reason = request.args.get("state"), request.args.get("reason")
    if period not in PERIODS or (state and not WORD_FORM.fullmatch(state)):
        abort(404)
    if reason and not REASON_FORM.fullmatch(reason):
        abort(404)
    rows = doors().events.select_issuances(
        since=doors().clock() - PERIODS[period], state=state, reason=reason
    )
    return _page("issuances.html", rows=rows, state=state, reason=reason, period=period)


@staff_only
def find_request() -> Any:
    """Search by request number: straight to the request, or a page that says there is none."""
    number = request.args.get("number", "").strip()
    if REQUEST_ID_FORM.fullmatch(number) and doors().events.find_issuance(number) is not None:
        return redirect(url_for("staff.show_request", request_id=number), 303)
    return _page("not_found.html", number=number[:64]), 404


@staff_only
def show_request(request_id: str) -> Any:
    """One request: its states and times, and its revocations. Looking is a deed with a line of its own."""
    return _request_page(request_id, "")


@staff_only
def ask(request_id: str) -> Any:
    """The first of two people asks for a revocation."""
    form = request.form
    return _revoke(
        request_id,
        lambda: doors().revocations.ask(
            request_id,
            form.get("reason", ""),
            form.get("case_number", "").strip(),
            g.session.name,
            doors().clock(),
        ),
    )


@staff_only
def confirm(identifier: str) -> Any:
    """The second person confirms."""
    return _revoke(
        request.form.get("request_id", ""),
        lambda: doors().revocations.confirm(identifier, g.session.name, doors().clock()),
    )


@staff_only
def withdraw(identifier: str) -> Any:
    """Stop what nobody has confirmed."""
    return _revoke(
        request.form.get("request_id", ""),
        lambda: doors().revocations.withdraw(identifier, g.session.name, doors().clock()),
    )


def _revoke(request_id: str, act: Any) -> Any:
    if not REQUEST_ID_FORM.fullmatch(request_id):
        abort(404)
    try:
        act()
    except RevocationRefusedError as error:
        return _request_page(request_id, error.code), 409
    return redirect(url_for("staff.show_request", request_id=request_id), 303)


def _request_page(request_id: str, refusal: str) -> Any:
    issuance = doors().events.find_issuance(request_id) if REQUEST_ID_FORM.fullmatch(request_id) else None
    if issuance is None:
        abort(404)
    with doors().store.writing.begin() as connection:
        append_audit(
            connection,
            doors().settings.city,
            doors().clock(),
            who=g.session.name,
            act="request-view",
            subject=request_id,
        )
    return _page(
        "request.html",
        issuance=issuance,
        steps=doors().events.select_steps(request_id),
        revocations=doors().revocations.select_of(request_id),
        reasons=REASONS,
        refusal=refusal,
    )


def _build_monitor(period: timedelta) -> Monitor:
    events, settings, now = doors().events, doors().settings, doors().clock()
    since = now - period
    return build_monitor(
        issuances=events.select_issuances(since=since, limit=None),
        durations=events.select_durations(since),
        stuck=events.select_unfinished(RESTING, now - timedelta(seconds=settings.stuck_seconds)),
        received=events.find_snapshot(),
        since=since,
        now=now,
        settings=settings,
    )


def _page(template: str, **values: object) -> str:
    return render_template(template, session=g.session, **values)


def _login_form(refusal: str) -> Response:
    token = new_login_token()
    response = make_response(render_template("login.html", token=token, refusal=refusal))
    set_cookie(response, LOGIN_COOKIE, token)
    return response
