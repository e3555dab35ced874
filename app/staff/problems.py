"""Problem details (RFC 9457) for the machine side."""

from __future__ import annotations

import json
from typing import Any

from flask import Response


def problem(status: int, code: str, title: str, detail: str = "") -> Response:
    """`code` is our own member: a stable word a program can act on."""
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "code": code}
    return Response(
        json.dumps(body | ({"detail": detail} if detail else {})), status, mimetype="application/problem+json"
    )
