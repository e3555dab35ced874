"""Process entry of the staff console: `python -m app.staff`. Settings from the environment, gunicorn with
threads, one process.

One process, because there is one store with one writing process. It drains and leaves on SIGTERM.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from app.staff.console import create_app
from app.staff.errors import StaffError
from app.staff.secret_files import read_token
from app.staff.settings import StaffSettings, read_settings
from app.staff.store import Store
from verifier.fault import FaultFormatter, log_to_stderr

LINE = "%(asctime)s %(name)s %(levelname)s %(message)s"

HELP = """usage: python -m app.staff [--help]
Starts the staff console. Settings are environment variables (docker/env shows all of them);
`akashi staff` makes the logins and the token of the worker."""


class _ServerLog(Logger):
    def setup(self, cfg: Any) -> None:
        # The web server's own log may not tell the text of an exception either.
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(FaultFormatter(LINE))


class _Server(BaseApplication):
    def __init__(self, app: Flask, settings: StaffSettings) -> None:
        self._app = app
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        values = {
            "bind": f"{host}:{self._settings.port}",
            "worker_class": "gthread",
            "workers": 1,
            "threads": self._settings.threads,
            "timeout": 60,
            "graceful_timeout": 5,
            "limit_request_line": 2048,
            "limit_request_fields": 50,
            "limit_request_field_size": 4096,
            "loglevel": "warning",
            "logger_class": _ServerLog,
        }
        for name, value in values.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return self._app


def main(arguments: list[str]) -> int:
    """Run until told to stop; 2 if the settings do not allow a start."""
    if arguments:
        print(HELP)
        return 0 if arguments[0] in ("-h", "--help") else 2
    log_to_stderr("staff", LINE)
    try:
        settings = read_settings(os.environ)
        token = read_token(settings.token_file)
    except StaffError as error:
        print(f"staff: {error}", file=sys.stderr)
        return 2
    store = Store(settings.database_url)
    store.upgrade()
    # The server forks after this: a connection must not be shared with the child.
    store.close()
    if settings.is_mock:
        logging.getLogger("akashi.staff").warning(
            "模擬/MOCK: demo profile; city, people and certificates are not real"
        )
    app = create_app(settings, store, clock=lambda: datetime.now(UTC), worker_token=token)
    _Server(app, settings).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
