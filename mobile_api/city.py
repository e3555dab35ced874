"""The city's side of the street door: the city reaches out, takes what is in the inbox and puts back
ciphertext.

Every call carries a city token; every PUT may be repeated. An envelope stays until it is acknowledged, so
the city first stores it and then acknowledges.
"""

from __future__ import annotations

import re
from typing import Final

from flask import Blueprint, Response

from mobile_api.city_authentication import check_city
from mobile_api.door import Door, the_door
from mobile_api.errors import Problem
from mobile_api.forms import account_id, iso_minute, item_id, json_answer, json_object, query_integer
from mobile_api.limits import read_body
from mobile_api.store import mailbox
from verifier.formats.encoding import JSON, base64_encode
from verifier.formats.package import parse_package

MAX_FORM: Final = 256 << 10
MAX_LIST: Final = 1000
INBOX_BYTES: Final = 6 << 20
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{22,64}")
blueprint = Blueprint("city", __name__)


@blueprint.get("/city/inbox")
def inbox() -> Response:
    """?wait=<s ≤ 25>&limit=<≤ 64> → {messages:[{id, account, received, body}]}, oldest first, `body`
    base64.
    """
    door = the_door()
    _authenticate(door, b"", "mailbox")
    limit = query_integer("limit", 64, 1, 64)

    def look() -> list[mailbox.Envelope]:
        with door.store.read() as connection:
            return mailbox.list_envelopes(connection, limit)

    found = door.waiters.wait_for(look, query_integer("wait", 0, 0, door.settings.city_wait))
    messages: list[JSON] = []
    size = 0
    for entry in found:
        size += len(entry.body) * 4 // 3 + 200
        if messages and size > INBOX_BYTES:
            break
        messages.append(
            {
                "account": entry.account,
                "body": base64_encode(entry.body),
                "id": entry.message_id,
                "received": iso_minute(entry.received_minute),
            }
        )
    return json_answer({"messages": messages}, 200)


@blueprint.post("/city/inbox/acks")
def acknowledge() -> Response:
    """{ids} → {deleted}. Ids that are gone already are no error."""
    door = the_door()
    body = read_body(MAX_FORM)
    _authenticate(door, body, "mailbox")
    ids = _texts(json_object(body, {"ids"})["ids"])
    with door.store.write() as connection:
        deleted = mailbox.acknowledge(connection, [item_id(value) for value in ids])
    return json_answer({"deleted": deleted}, 200)


@blueprint.get("/city/nonces")
def nonces_left() -> Response:
    """→ {left}."""
    door = the_door()
    _authenticate(door, b"", "mailbox")
    with door.store.read() as connection:
        return json_answer({"left": mailbox.count_nonces(connection)}, 200)


@blueprint.post("/city/nonces")
def add_nonces() -> Response:
    """{nonces} → {left}. The same nonces again change nothing."""
    door = the_door()
    body = read_body(MAX_FORM)
    _authenticate(door, body, "mailbox")
    values = _texts(json_object(body, {"nonces"})["nonces"])
    if not all(_NONCE.fullmatch(value) for value in values):
        raise Problem(400, "bad-nonce", "a nonce is 22 to 64 characters of base64url")
    with door.store.write() as connection:
        if mailbox.count_nonces(connection) + len(values) > door.settings.max_nonces:
            raise Problem(409, "enough-nonces", "the stock is full")
        left = mailbox.add_nonces(connection, values, door.minute())
    return json_answer({"left": left}, 200)


@blueprint.put("/city/answers/<account>/<message_id>")
def put_answer(account: str, message_id: str) -> Response:
    """A package to the phone. 200 also for the same bytes again; 409 for other bytes under this id."""
    door = the_door()
    body = read_body(door.settings.max_answer)
    _authenticate(door, body, "mailbox")
    parse_package(body, max_bytes=door.settings.max_answer)
    with door.store.write() as connection:
        stored = mailbox.put_answer(connection, account_id(account), item_id(message_id), body, door.minute())
    return _stored(door, stored)


@blueprint.put("/city/packages/<account>/<package_id>")
def put_package(account: str, package_id: str) -> Response:
    """A package with a bundle. 200 also for the same bytes again; 409 for other bytes under this id."""
    door = the_door()
    body = read_body(door.settings.max_package)
    _authenticate(door, body, "mailbox")
    parse_package(body, max_bytes=door.settings.max_package)
    with door.store.write() as connection:
        stored = mailbox.put_package(
            connection, account_id(account), item_id(package_id), body, door.minute()
        )
    return _stored(door, stored)


@blueprint.delete("/city/packages/<account>/<package_id>")
def delete_package(account: str, package_id: str) -> Response:
    """Take a package back (a later protection flag): 204, also when it was gone already."""
    door = the_door()
    _authenticate(door, b"", "mailbox")
    with door.store.write() as connection:
        mailbox.delete_package(connection, account_id(account), item_id(package_id))
    return Response(status=204)


def _authenticate(door: Door, body: bytes, scope: str) -> None:
    check_city(door.city_keys, door.store, body, scope, door.clock())


def _stored(door: Door, stored: bool | None) -> Response:
    if stored is None:
        raise Problem(404, "no-account", "no such account")
    if not stored:
        raise Problem(409, "other-bytes", "something else lies under this id")
    door.waiters.notify()
    return json_answer({}, 200)


def _texts(value: JSON) -> list[str]:
    if (
        not isinstance(value, list)
        or len(value) > MAX_LIST
        or not all(isinstance(item, str) for item in value)
    ):
        raise Problem(400, "bad-form", f"a list of at most {MAX_LIST} texts")
    return value
