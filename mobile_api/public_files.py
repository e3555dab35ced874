"""The city's public static files: tiles, checkpoints, receipts, status lists, trust lists. For everybody,
from any origin.

Written by authenticated PUT, create-only except what is the newest of something (checkpoint, status list,
root.json) and receipts, which follow their block. The paths are an allow-list; a file appears whole (temporary
name, fsync, link or rename, fsync of the directory) or not at all. The directory can be served by nginx just as
well.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path
from typing import Final

from flask import Blueprint, Response, request

from mobile_api.city_authentication import check_city
from mobile_api.door import the_door
from mobile_api.errors import Problem
from mobile_api.forms import json_answer
from mobile_api.limits import read_body
from verifier.formats.encoding import sha256

_LOG: Final = r"log/[1-9][0-9]{0,3}"
_TILE_NUMBER: Final = r"(?:x[0-9]{3}/){0,6}[0-9]{3}"
_WIDTH: Final = r"(?:\.p/(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9][0-9]?))?"
_TILE: Final = r"/tile/(?:entries|[0-9]|[1-5][0-9]|6[0-3])/" + _TILE_NUMBER + _WIDTH

# Path below /<city>/, replaceable, seconds a cache may keep it (None = for ever), media type.
PATHS: Final[tuple[tuple[re.Pattern[str], bool, int | None, str], ...]] = (
    (re.compile(_LOG + r"/checkpoint"), True, 5, "text/plain; charset=utf-8"),
    (re.compile(_LOG + r"/anchored"), True, 5, "text/plain; charset=utf-8"),
    (re.compile(_LOG + r"/checkpoints/[0-9]{1,16}"), False, None, "text/plain; charset=utf-8"),
    (re.compile(_LOG + _TILE), False, None, "application/octet-stream"),
    # made again when the chain has replaced the block that a receipt names
    (re.compile(_LOG + r"/receipts/[0-9]{1,16}"), True, 60, "text/plain; charset=utf-8"),
    (re.compile(_LOG + r"/timestamps/[0-9]{1,16}"), False, None, "application/timestamp-reply"),
    (re.compile(r"status/(?:0|[1-9][0-9]{0,8})"), True, 30, "application/statuslist+jwt"),
    (re.compile(r"trust/[1-9][0-9]{0,8}\.root\.json"), False, None, "application/json"),
    (re.compile(r"trust/root\.json"), True, 60, "application/json"),
    # what the city says of itself to wallets; served at the well-known addresses too (`wallets.metadata`)
    (re.compile(r"wallets/(?:p1|p2|vct|jwt-vc-issuer)\.json"), True, 60, "application/json"),
    (re.compile(r"wallets/p[12]\.jwt"), True, 60, "application/jwt"),
)  # fmt: skip
IMMUTABLE: Final = "public, max-age=31536000, immutable"
blueprint = Blueprint("public_files", __name__)


@blueprint.put("/city/public/<path:path>")
def put(path: str) -> Response:
    """201 new, 200 same bytes or replaced, 409 other bytes under a create-only path, 404 not an allowed
    path.
    """
    door = the_door()
    body = read_body(door.settings.max_public)
    check_city(door.city_keys, door.store, body, "public", door.clock())
    prefix = door.settings.city + "/"
    rule = _rule(path.removeprefix(prefix)) if path.startswith(prefix) else None
    if rule is None:
        raise Problem(404, "not-a-public-path", "no public file lies there")
    if not body:
        raise Problem(400, "empty-file", "a public file is not empty")
    created = store_file(door.settings.public_dir / path, body, replace=rule[1])
    if created is None:
        raise Problem(409, "other-bytes", "the file exists with other bytes")
    return json_answer({}, 201 if created else 200)


@blueprint.route("/<int:city>/<path:path>", methods=["GET"], provide_automatic_options=False)
def get(city: int, path: str) -> Response:
    """A public file with cache headers and ETag."""
    door = the_door()
    rule = _rule(path)
    # The converter would also take 0992011; the segment must be the city code itself.
    if rule is None or not request.path.startswith(f"/{door.settings.city}/"):
        raise Problem(404, "not-found", "no public file lies there")
    try:
        body = (door.settings.public_dir / door.settings.city / path).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise Problem(404, "not-found", "no public file lies there") from None
    except OSError:
        raise Problem(503, "files-away", "the directory does not answer", retry_after=5) from None
    response = Response(body, content_type=rule[3])
    response.headers["Cache-Control"] = IMMUTABLE if rule[2] is None else f"public, max-age={rule[2]}"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.set_etag(sha256(body).hex()[:32])
    return response.make_conditional(request)


@blueprint.route("/<int:city>/<path:path>", methods=["OPTIONS"], provide_automatic_options=False)
def preflight(city: int, path: str) -> Response:
    """What a browser asks before it reads a file with headers of its own: anybody may, and nothing but read."""
    if _rule(path) is None or not request.path.startswith(f"/{the_door().settings.city}/"):
        raise Problem(404, "not-found", "no public file lies there")
    response = Response(status=204)
    response.headers["Access-Control-Allow-Methods"] = "GET, HEAD, OPTIONS"
    response.headers["Access-Control-Allow-Headers"] = (
        "Accept, Cache-Control, If-Modified-Since, If-None-Match"
    )
    response.headers["Access-Control-Max-Age"] = "86400"
    response.headers["Allow"] = "GET, HEAD, OPTIONS"
    return response


@blueprint.after_request
def _any_origin(response: Response) -> Response:
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Expose-Headers"] = "ETag"
    return response


def store_file(path: Path, body: bytes, *, replace: bool) -> bool | None:
    """Write a file durably and whole. True: new; False: there already, or replaced; None: other bytes are
    there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == body:
            return False
        if not replace:
            return None
    descriptor, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        created = not path.exists()
        if replace:
            Path(name).replace(path)
        else:
            try:
                # A hard link fails if somebody was faster: create-only without a gap between look and write.
                os.link(name, path)
            except FileExistsError:
                return False if path.read_bytes() == body else None
    finally:
        Path(name).unlink(missing_ok=True)
    _sync_directory(path.parent)
    return created


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rule(path: str) -> tuple[re.Pattern[str], bool, int | None, str] | None:
    return next((rule for rule in PATHS if rule[0].fullmatch(path)), None)
