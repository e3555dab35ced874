"""The Flask application of the check page: settings in, application out."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from flask import Flask, Response, abort, g, render_template, request
from werkzeug.exceptions import HTTPException

from verifier.fault import describe_fault
from verifier.policy import Policy
from verifier.portal.view import (
    certificate_rows,
    check_rows,
    headline_rows,
    japanese_moment,
    not_asked_rows,
)
from verifier.report import SYMBOLS, Report, format_report
from verifier.sources import Sources
from verifier.trust import TrustList
from verifier.verify import RecipientKey, examine

MAX_UPLOAD_BYTES: Final = 8 << 20
LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; "
    "connect-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """What the page checks against; the same as the arguments of `verifier.verify.examine`.

    renew   asked after a verdict with the city that it names: the settings to go on with, others if that city has a
            newer trust list (the file is then examined again); None = the trust lists stay what they are
    """

    trust: Sequence[TrustList]
    policy: Policy
    sources: Sources
    key: RecipientKey | None = None
    request: bytes | None = None
    clock: Callable[[], dt.datetime] = _utc_now
    max_upload: int = MAX_UPLOAD_BYTES
    renew: Callable[[PortalSettings, str | None], PortalSettings] | None = None


def create_portal(settings: PortalSettings) -> Flask:
    """The application. It holds no state but `settings`, as they were last renewed, and a random form token."""
    application = Flask(__name__)
    application.config["MAX_CONTENT_LENGTH"] = settings.max_upload
    application.config["MAX_FORM_MEMORY_SIZE"] = 256 << 10
    application.config["MAX_FORM_PARTS"] = 4
    application.add_template_filter(japanese_moment, "japan")
    token = secrets.token_urlsafe(32)
    held = [settings]
    mock = any(trust.content.mock for trust in settings.trust)

    @application.before_request
    def refuse_foreign() -> None:
        # A page of another site may make the browser ask 127.0.0.1 under its own name.
        if _host_name(request.host) not in LOOPBACK_HOSTS:
            abort(421)
        g.language = "en" if request.args.get("lang") == "en" else "ja"

    @application.after_request
    def harden(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = SECURITY_POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        if request.endpoint != "static":
            response.headers["Cache-Control"] = "no-store"
        return response

    @application.context_processor
    def page_values() -> dict[str, object]:
        return {"language": g.language, "token": token, "mock": mock, "trust": held[0].trust}

    @application.get("/")
    def start() -> str:
        return render_template("start.html")

    @application.post("/")
    def check() -> str | tuple[str, int]:
        given = request.form.get("token", "")
        if not secrets.compare_digest(given.encode("utf-8", "replace"), token.encode()):
            abort(403)
        upload = request.files.get("file")
        if upload is None:
            return render_template("start.html", missing=True), 400
        data, present = upload.read(), held[0]
        report = _examine(data, present)
        if present.renew is not None:
            renewed = present.renew(present, report.city)
            if renewed is not present:
                held[0] = renewed
                report = _examine(data, renewed)
        return render_template(
            "result.html",
            report=report,
            symbol=SYMBOLS[report.verdict],
            headline=headline_rows(report),
            checks=check_rows(report),
            not_asked=not_asked_rows(report),
            rows=certificate_rows(report),
            json=format_report(report),
        )

    @application.errorhandler(Exception)
    def fault(error: Exception) -> HTTPException | tuple[str, int]:
        if isinstance(error, HTTPException):
            return error
        # The text of an exception may quote the file that was checked.
        application.logger.error("fault: %s", describe_fault(error))
        return "internal error\n", 500

    @application.errorhandler(413)
    def too_large(_error: object) -> tuple[str, int]:
        return render_template("start.html", too_large=True), 413

    return application


def _examine(data: bytes, settings: PortalSettings) -> Report:
    return examine(
        data,
        trust=settings.trust,
        policy=settings.policy,
        now=settings.clock(),
        sources=settings.sources,
        request=settings.request,
        key=settings.key,
    )


def _host_name(host: str) -> str:
    return host if host.endswith("]") else host.rpartition(":")[0] or host
