"""The phone's side of the mailbox: envelopes to the city in, answers of the city out. Both are ciphertext."""

from __future__ import annotations

from flask import Blueprint, Response

from mobile_api.accounts import authenticate
from mobile_api.door import the_door
from mobile_api.errors import Problem
from mobile_api.forms import account_id, json_answer, query_integer, random_id
from mobile_api.limits import read_body
from mobile_api.store import mailbox
from verifier.formats.encoding import base64_encode, base64url_encode, sha256
from verifier.formats.names import ENVELOPE_TYPE
from verifier.formats.package import parse_package

MAX_ANSWERS = 32
blueprint = Blueprint("mailbox", __name__)


@blueprint.post("/v1/accounts/<account>/envelopes")
def put_envelope(account: str) -> Response:
    """An envelope (package JWE, one recipient, typ envelope) → 202 {message_id}. The same bytes again: the
    same id.
    """
    door = the_door()
    body = read_body(door.settings.max_envelope)
    authenticate(door, account_id(account), body)
    package = parse_package(body, max_bytes=door.settings.max_envelope)
    if package.typ != ENVELOPE_TYPE or len(package.recipients) != 1:
        raise Problem(400, "not-an-envelope", "an envelope is addressed to the city alone")
    with door.store.write() as connection:
        message_id = mailbox.add_envelope(
            connection,
            account,
            random_id(door.random(16)),
            body,
            base64url_encode(sha256(body)),
            door.minute(),
            door.settings.max_waiting_envelopes,
        )
    if message_id is None:
        raise Problem(429, "mailbox-full", "the city has not taken earlier envelopes yet", retry_after=30)
    door.waiters.notify()
    return json_answer({"message_id": message_id}, 202)


@blueprint.get("/v1/accounts/<account>/answers")
def answers(account: str) -> Response:
    """?after=<n>&wait=<seconds> → {answers:[{n, body}]}, `body` base64 of a package to the phone's encryption
    key.
    """
    door = the_door()
    authenticate(door, account_id(account), b"")
    after = query_integer("after", 0, 0, 1 << 52)
    wait = query_integer("wait", 0, 0, door.settings.phone_wait)

    def look() -> list[mailbox.Answer]:
        with door.store.read() as connection:
            return mailbox.list_answers(connection, account, after, MAX_ANSWERS)

    found = door.waiters.wait_for(look, wait)
    return json_answer(
        {"answers": [{"body": base64_encode(entry.body), "n": entry.number} for entry in found]}, 200
    )
