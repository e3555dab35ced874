"""Is the process alive, can it work; and the page that an ordinary camera opens for a request's QR code."""

from __future__ import annotations

import os

from flask import Blueprint, Response
from sqlalchemy import text

from mobile_api.door import the_door
from mobile_api.errors import Problem
from mobile_api.forms import json_answer, request_id

blueprint = Blueprint("health", __name__)

_PAGE = """<!doctype html><html lang="ja"><meta charset="utf-8"><meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width"><title>証明書の提出依頼</title>
<h1>証明書の提出依頼</h1><p>このQRコードは証明書アプリで読み取ってください。</p>
<p lang="en">Please scan this QR code with the certificate app.</p></html>
"""


@blueprint.get("/healthz")
def alive() -> Response:
    """The process answers."""
    return json_answer({"status": "ok"}, 200)


@blueprint.get("/readyz")
def ready() -> Response:
    """The store takes a write lock and the public directory can be written; otherwise 503."""
    door = the_door()
    with door.store.write() as connection:
        connection.execute(text("SELECT 1 FROM accounts WHERE 1 = 0"))
    if not os.access(door.settings.public_dir, os.W_OK):
        raise Problem(503, "files-away", "the directory of public files cannot be written", retry_after=5)
    return json_answer({"status": "ok"}, 200)


@blueprint.get("/r/<identifier>")
def scanned(identifier: str) -> Response:
    """The QR code's own address. The key is in the fragment: this page never sees it and runs no script."""
    request_id(identifier)
    response = Response(_PAGE, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = "default-src 'none'"
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response
