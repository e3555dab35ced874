"""The issuance worker's side of the console. The worker reaches out to it; the console never calls anybody.

Every call carries the worker's token. Bodies are de-identified by form (`messages`): what does not fit is
refused whole.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from flask import Blueprint, Response, request

from app.staff.access import doors
from app.staff.errors import StaffFormatError
from app.staff.messages import (
    MAX_COMMANDS,
    MAX_MESSAGE_BYTES,
    format_commands,
    parse_acks,
    parse_events,
    parse_snapshot,
)
from app.staff.problems import problem

MAX_WAIT_SECONDS: Final = 20
LOOK_EVERY_SECONDS: Final = 0.5


def blueprint() -> Blueprint:
    """The four end points."""
    city = Blueprint("city", __name__, url_prefix="/city")
    city.add_url_rule("/events", "events", post_events, methods=["POST"])
    city.add_url_rule("/snapshot", "snapshot", put_snapshot, methods=["PUT"])
    city.add_url_rule("/commands", "commands", get_commands)
    city.add_url_rule("/commands/acks", "acks", post_acks, methods=["POST"])
    return city


def _worker_only(view: Callable[[], Any]) -> Callable[[], Any]:
    @wraps(view)
    def guarded() -> Any:
        scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
        # Hashing first makes both sides equally long, so that the comparison tells nothing about the length
        # either.
        given = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        expected = hashlib.sha256(doors().worker_token).digest()
        if not hmac.compare_digest(given, expected) or scheme != "Bearer":
            return problem(401, "bad-token", "Unauthorized")
        request.max_content_length = MAX_MESSAGE_BYTES
        try:
            return view()
        except StaffFormatError as error:
            return problem(400, error.code, "Bad Request", error.detail)

    return guarded


@_worker_only
def post_events() -> Response:
    """Record a batch; the answer says how many were new."""
    events = parse_events(request.get_data())
    return _json(f'{{"recorded":{doors().events.record(events)},"received":{len(events)}}}'.encode())


@_worker_only
def put_snapshot() -> Response:
    """Replace the snapshot."""
    doors().events.put_snapshot(parse_snapshot(request.get_data()), doors().clock())
    return _json(b"{}")


@_worker_only
def get_commands() -> Response:
    """Commands not acknowledged yet; waits up to `wait` seconds for the first one."""
    wait = request.args.get("wait", "0")
    if not (wait.isascii() and wait.isdigit() and len(wait) < 4):
        raise StaffFormatError("bad-wait", "whole seconds")
    deadline = time.monotonic() + min(int(wait), MAX_WAIT_SECONDS)
    while True:
        commands = doors().revocations.select_commands(MAX_COMMANDS)
        left = deadline - time.monotonic()
        if commands or left <= 0:
            return _json(format_commands(commands))
        time.sleep(min(LOOK_EVERY_SECONDS, left))


@_worker_only
def post_acks() -> Response:
    """Close commands."""
    doors().revocations.acknowledge(parse_acks(request.get_data()), doors().clock())
    return _json(b"{}")


def _json(body: bytes) -> Response:
    return Response(body, mimetype="application/json")
