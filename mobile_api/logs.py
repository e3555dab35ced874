"""One log line a call: route pattern, status, duration, a random id. No path, address, header, body or
account.

The pattern (`/v1/accounts/<account>/answers`) is logged instead of the path, so that not even random ids are.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from typing import Any

from flask import Flask, Response, g, request
from gunicorn.glogging import Logger

from verifier import fault

LINE = "%(asctime)s %(levelname)s %(name)s %(message)s"


def register_logs(app: Flask) -> None:
    """Write the line after every call to the logger `akashi.door`."""
    log = logging.getLogger("akashi.door")

    @app.before_request
    def _begin() -> None:
        g.akashi_begin = time.monotonic()

    @app.after_request
    def _line(response: Response) -> Response:
        rule = request.url_rule.rule if request.url_rule is not None else "-"
        line = {
            "id": secrets.token_hex(8),
            "ms": round((time.monotonic() - g.get("akashi_begin", time.monotonic())) * 1000),
            "method": request.method if request.url_rule is not None else "-",
            "route": rule,
            "status": response.status_code,
        }
        log.info(json.dumps(line, sort_keys=True))
        return response


def log_to_stderr() -> None:
    """For a process of its own: lines of this house to standard error, nothing from libraries below
    warning.
    """
    fault.log_to_stderr("street door", LINE, level=logging.WARNING)
    logging.getLogger("akashi").setLevel(logging.INFO)


class DoorServerLog(Logger):
    """The web server's own log with the same rule: type and place of a fault, no text of an exception."""

    def setup(self, cfg: Any) -> None:
        """Called by gunicorn, in every worker again."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(fault.FaultFormatter(LINE))
