"""The street door as a Flask application: settings in, app out. Nothing happens at import."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from mobile_api import (
    accounts,
    city,
    health,
    mail_relay,
    mailbox,
    packages,
    presentations,
    public_files,
    submissions,
    wallet_answers,
)
from mobile_api.city_authentication import load_city_keys
from mobile_api.door import EXTENSION, Door, Waiters
from mobile_api.limits import RateLimits
from mobile_api.logs import register_logs
from mobile_api.mail_relay import smtp_deliverer
from mobile_api.openapi import document
from mobile_api.problems import register_problems
from mobile_api.settings import Settings, check_settings
from mobile_api.store.engine import migrate, open_store
from mobile_api.store.sweep import sweep
from mobile_api.wallets.counter import register_wallets
from verifier.fault import describe_fault


def utc_now() -> datetime:
    """The real clock."""
    return datetime.now(UTC)


def create_app(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = utc_now,
    random: Callable[[int], bytes] = os.urandom,
    deliver: Callable[[EmailMessage], None] | None = None,
) -> Flask:
    """Open the store, bring it to the newest revision and build the application.

    `deliver` replaces the mail server of the settings (tests). Raises: SettingsError; SQLAlchemy's errors
    when the store cannot be opened at the start (later outages are answered with 503).
    """
    check_settings(settings)
    city_keys = load_city_keys(settings.city_keys)
    settings.public_dir.mkdir(parents=True, exist_ok=True)
    store = open_store(settings.database_url)
    migrate(store)
    app = Flask(__name__, static_folder=None)
    # A doubled slash is another path, not found: Flask would send a redirect made of the caller's Host header.
    app.url_map.merge_slashes = False
    door = app.extensions[EXTENSION] = Door(
        settings=settings,
        store=store,
        clock=clock,
        random=random,
        limits=RateLimits(random(32)),
        waiters=Waiters(settings.max_waiters),
        city_keys=city_keys,
        deliver=deliver or smtp_deliverer(settings),
    )
    app.config["MAX_CONTENT_LENGTH"] = max(
        settings.max_public, settings.max_submission + mail_relay.MAX_LINE, settings.max_package
    )
    if settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.trusted_proxies, x_proto=0, x_host=0)  # type: ignore[method-assign]
    register_logs(app)
    register_problems(app)
    for room in (
        accounts,
        mailbox,
        packages,
        submissions,
        mail_relay,
        presentations,
        wallet_answers,
        city,
        health,
        public_files,
        document,
    ):
        app.register_blueprint(room.blueprint)
    register_wallets(app, door)
    return app


def start_sweeper(app: Flask) -> threading.Event:
    """Sweep at once and then every `sweep_interval` seconds in a thread of this process. Set the event to
    stop it.
    """
    door: Door = app.extensions[EXTENSION]
    stop = threading.Event()
    log = logging.getLogger("akashi.door")

    def run() -> None:
        while True:
            try:
                sweep(door.store, door.settings, door.clock())
            except Exception as error:
                # The store may be away for a while; the sweeper outlives that, as the door does.
                log.error("sweep-failed %s", describe_fault(error))
            if stop.wait(door.settings.sweep_interval):
                return

    threading.Thread(target=run, name="akashi-door-sweeper", daemon=True).start()
    return stop
