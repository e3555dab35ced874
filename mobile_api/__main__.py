"""`python -m mobile_api` starts the street door; `python -m mobile_api settings` prints the table of
settings.

Settings come from the environment only. The store is brought to the newest revision before the first
worker starts.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from mobile_api.application import create_app, start_sweeper
from mobile_api.errors import SettingsError
from mobile_api.gunicorn_conf import gunicorn_options
from mobile_api.logs import log_to_stderr
from mobile_api.settings import PREFIX, VARIABLES, Settings, settings_from_environment
from mobile_api.store.engine import migrate, open_store


class DoorServer(BaseApplication):
    """gunicorn with our settings; each worker builds its own application after the fork."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Take the options; the command line and configuration files of gunicorn are not read."""
        for name, value in gunicorn_options(self._settings).items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Called in the worker."""
        app = create_app(self._settings)
        start_sweeper(app)
        return app


def main(arguments: list[str], environ: Any = os.environ) -> int:
    """Exit 0 after an orderly end, 2 when the settings are wrong."""
    if arguments == ["settings"]:
        for variable in VARIABLES:
            default = "(required)" if variable.default is None else variable.default or "(empty)"
            print(f"{PREFIX}{variable.name}\t{default}\t{variable.meaning}")
        return 0
    if arguments:
        print("usage: python -m mobile_api [settings]", file=sys.stderr)
        return 2
    log_to_stderr()
    try:
        settings = settings_from_environment(environ)
        store = open_store(settings.database_url)
        migrate(store)
        store.close()
        DoorServer(settings).run()
    except SettingsError as error:
        print(f"street door: {error.detail or error.code}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
