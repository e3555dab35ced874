"""The Flask application: settings, store, clock and token in, application out. Headers and errors that all
pages share.

Nothing here is specific to a page (`views`) or to the worker's side (`machine`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Final

from flask import Flask, Response, current_app, render_template, request
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException

from app.staff import machine, views
from app.staff.doors import Doors
from app.staff.events import Events
from app.staff.logins import Logins
from app.staff.problems import problem
from app.staff.revocations import Revocations
from app.staff.sessions import Sessions
from app.staff.settings import StaffSettings
from app.staff.store import Store
from app.staff.words import words_of
from verifier.fault import describe_fault

JST: Final = timezone(timedelta(hours=9))
MAX_FORM_BYTES: Final = 16 << 10
RETRY_AFTER_SECONDS: Final = 5
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def create_app(
    settings: StaffSettings, store: Store, *, clock: Callable[[], datetime], worker_token: bytes
) -> Flask:
    """The console on an upgraded store.

    `clock` returns UTC instants; `worker_token` is what the issuance worker presents.
    """
    app = Flask(__name__.rpartition(".")[0], static_folder="static", static_url_path="/static")
    app.config["MAX_CONTENT_LENGTH"] = MAX_FORM_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_FORM_BYTES
    app.extensions["staff"] = Doors(
        settings=settings,
        clock=clock,
        worker_token=worker_token,
        store=store,
        logins=Logins(store, settings.city),
        sessions=Sessions(
            store, settings.city, session_seconds=settings.session_seconds, idle_seconds=settings.idle_seconds
        ),
        events=Events(store, settings.city),
        revocations=Revocations(store, settings.city),
    )
    app.register_blueprint(views.blueprint())
    app.register_blueprint(machine.blueprint())
    app.jinja_env.globals["words_of"] = words_of
    app.jinja_env.globals["mock"] = settings.is_mock
    app.jinja_env.filters["local"] = _local
    app.after_request(_add_headers)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(OperationalError, _answer_store_away)
    app.register_error_handler(Exception, _answer_fault)
    return app


def _add_headers(response: Response) -> Response:
    response.headers.update(HEADERS)
    response.headers["Cache-Control"] = "no-cache" if request.endpoint == "static" else "no-store"
    return response


def _local(value: str | int | datetime) -> str:
    """An instant (ISO text, Unix seconds or datetime) as clock time in Japan, to the second."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    elif isinstance(value, int):
        value = datetime.fromtimestamp(value, JST)
    return value.astimezone(JST).strftime("%Y-%m-%d %H:%M:%S")


def _answer_http(error: HTTPException) -> Response:
    return _answer(error.code or 500, error.name)


def _answer_store_away(error: OperationalError) -> Response:
    current_app.logger.error("store away: %s", type(error.orig).__name__)
    response = _answer(503, "Service Unavailable")
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _answer_fault(error: Exception) -> Response:
    # The text of an exception may quote what was sent: only its type and place go to the log.
    current_app.logger.error("fault: %s", describe_fault(error))
    return _answer(500, "Internal Server Error")


def _answer(status: int, title: str) -> Response:
    if request.path.startswith("/city/"):
        return problem(status, title.lower().replace(" ", "-"), title)
    return Response(render_template("problem.html", status=status, title=title), status, mimetype="text/html")
