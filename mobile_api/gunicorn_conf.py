"""gunicorn's configuration of the street door, built from the same settings. Nothing happens at import.

gthread: a long poll holds a thread, not a process. No access log (it would hold paths); the door writes
its own lines.
"""

from __future__ import annotations

from typing import Any

from mobile_api.logs import DoorServerLog
from mobile_api.settings import Settings


def gunicorn_options(settings: Settings) -> dict[str, Any]:
    """Options by gunicorn's names: header count and sizes, request line, keep-alive, stuck workers."""
    return {
        "bind": f"{settings.host}:{settings.port}",
        "worker_class": "gthread",
        "workers": settings.workers,
        "threads": settings.threads,
        "timeout": settings.request_timeout,
        "graceful_timeout": 30,
        "keepalive": 15,
        "worker_connections": 200,
        "limit_request_line": 2048,
        "limit_request_fields": 40,
        "limit_request_field_size": 8190,
        "max_requests": 0,
        "accesslog": None,
        "errorlog": "-",
        "logger_class": DoorServerLog,
        "loglevel": "warning",
        "proc_name": "akashi-door",
        "forwarded_allow_ips": "",
        "preload_app": False,
    }
