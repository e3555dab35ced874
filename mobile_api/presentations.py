"""The desk's side of the relay for wallets of others (OpenID4VP 1.0): leave a signed request, fetch its answer, delete it.

Every call carries a proof by the key that signed the request. The door reads a request, because the wallet has to read it
without a secret, and refuses one that would send answers elsewhere than here; it never reads an answer. Who asks is no
question of the door: the city's recipient statement inside the request says it to the wallet.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import Final

from flask import Blueprint, Response, request

from mobile_api.accounts import key_bytes, read_key
from mobile_api.door import the_door
from mobile_api.errors import Problem
from mobile_api.forms import bytes_answer, iso_minute, item_id, json_answer, query_integer
from mobile_api.limits import read_body, remote_address
from mobile_api.proofs import check_proof
from mobile_api.store import presentations as store
from verifier.formats.encoding import base64url_encode, sha256
from verifier.formats.names import AUTHORIZATION_REQUEST_TYPE
from verifier.formats.presentation_request import MAX_REQUEST_OBJECT_BYTES, parse_presentation_request

RECEIVED_HEADER: Final = "Akashi-Received"
RESPONSE_CODE_HEADER: Final = "Akashi-Response-Code"
ANSWER_TYPE: Final = "application/jose"
blueprint = Blueprint("presentations", __name__)


@blueprint.post("/v1/presentations")
def create() -> Response:
    """A signed request object, proof by the key of its certificate → 201 {id, expires}."""
    door = the_door()
    door.limits.count("presentation-create", remote_address(), door.settings.rate_presentation, 60)
    if request.mimetype != AUTHORIZATION_REQUEST_TYPE:
        raise Problem(415, "other-media-type", AUTHORIZATION_REQUEST_TYPE)
    body = read_body(MAX_REQUEST_OBJECT_BYTES)
    asked = parse_presentation_request(body)
    check_proof(door.store, asked.signing_key, body, door.clock())
    if asked.public_url != door.settings.public_url:
        raise Problem(400, "other-door", "response_uri is not an address of this street door")
    minute = door.minute()
    expires = asked.expires // 60 * 60
    if not minute < expires <= minute + door.settings.max_request_life:
        raise Problem(400, "bad-expiry", "the end lies in the past or too far ahead")
    stored = store.StoredPresentation(asked.id, key_bytes(asked.signing_key), body, expires)
    with door.store.write() as connection:
        mine = store.add_presentation(connection, stored, minute)
    if not mine:
        raise Problem(409, "other-request", "another request has this id")
    return json_answer({"expires": iso_minute(expires), "id": asked.id}, 201)


@blueprint.get("/v1/presentations/<identifier>")
def fetch(identifier: str) -> Response:
    """Proof by the desk's key, ?wait= seconds → the JWE with header Akashi-Received, or 204 while there is none.

    An answer that came with a code (the request has a return address) is given out for that code only, in the header
    Akashi-Response-Code: whoever brings another browser back does not get it.
    """
    door = the_door()
    _own(identifier)
    wait = query_integer("wait", 0, 0, door.settings.city_wait)

    def look() -> list[store.StoredPresentation]:
        with door.store.read() as connection:
            found = store.find_presentation(connection, identifier)
        return [] if found is None or found.answer is None else [found]

    found = door.waiters.wait_for(look, wait)
    if not found:
        return Response(status=204, headers={"Cache-Control": "no-store"})
    answered = found[0]
    if answered.code_hash is not None and not _knows_code(answered.code_hash):
        raise Problem(
            403, "wrong-response-code", f"header {RESPONSE_CODE_HEADER} has to carry the code of the answer"
        )
    with door.store.write() as connection:
        store.mark_fetched(connection, identifier, door.minute())
    response = bytes_answer(answered.answer or b"", ANSWER_TYPE)
    received = datetime.fromtimestamp(answered.answered_minute or 0, UTC)
    response.headers[RECEIVED_HEADER] = received.strftime("%Y-%m-%dT%H:%M:%SZ")
    return response


@blueprint.delete("/v1/presentations/<identifier>")
def forget(identifier: str) -> Response:
    """Proof by the desk's key → 204; request and answer are gone."""
    door = the_door()
    _own(identifier)
    with door.store.write() as connection:
        store.delete_presentation(connection, identifier)
    return Response(status=204)


def _own(identifier: str) -> None:
    """Raises Problem unless the caller proves the key of this request."""
    door = the_door()
    item_id(identifier)
    door.limits.count("presentation-desk", identifier, door.settings.rate_request, 60)
    with door.store.read() as connection:
        found = store.find_presentation(connection, identifier)
    if found is None:
        raise Problem(404, "no-request", "no such request, or its time is over")
    check_proof(door.store, read_key(found.desk_key), b"", door.clock())


def _knows_code(code_hash: str) -> bool:
    said = request.headers.get(RESPONSE_CODE_HEADER, "")
    digest = base64url_encode(sha256(said.encode("utf-8", "surrogatepass")))
    return hmac.compare_digest(digest.encode(), code_hash.encode())
