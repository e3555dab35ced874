"""The city's side of the exchanges: it takes questions, puts answers, and sends the key of challenges.

Authenticated like the mailbox (scope `mailbox`); every PUT may be repeated.
"""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response

from mobile_api.city_authentication import check_city, verify_city_token
from mobile_api.door import the_door
from mobile_api.errors import Problem
from mobile_api.exchanges import MAX_ANSWER_BYTES
from mobile_api.forms import account_id, json_answer, query_integer
from mobile_api.limits import read_body
from mobile_api.store import wallet_exchanges
from mobile_api.store.wallet_exchanges import Exchange
from mobile_api.wallet_nonce import MAX_DOCUMENT, parse_nonce_key
from mobile_api.wallets.offers import delete_offer, put_offer
from mobile_api.wallets.wallet_door import the_wallet_door
from verifier.formats.encoding import JSON, base64_encode
from verifier.formats.names import EXCHANGE_TYPE
from verifier.formats.package import parse_package

MAX_REPLY: Final = 3 * MAX_ANSWER_BYTES
LIST_BYTES: Final = 6 << 20
blueprint = Blueprint("wallet_city_calls", __name__)
blueprint.add_url_rule("/city/offers/<grant>", view_func=put_offer, methods=["PUT"])
blueprint.add_url_rule("/city/offers/<grant>", view_func=delete_offer, methods=["DELETE"])


@blueprint.get("/city/exchanges")
def exchanges() -> Response:
    """?wait=<s ≤ 25>&limit=<≤ 64> → {exchanges:[{id, body}]}, oldest first, unanswered, `body` base64."""
    door = the_door()
    check_city(door.city_keys, door.store, b"", "mailbox", door.clock())
    limit = query_integer("limit", 64, 1, 64)

    def look() -> list[Exchange]:
        with door.store.read() as connection:
            return wallet_exchanges.list_exchanges(connection, limit, door.minute())

    found = door.waiters.wait_for(look, query_integer("wait", 0, 0, door.settings.city_wait))
    listed: list[JSON] = []
    size = 0
    for entry in found:
        size += len(entry.body) * 4 // 3 + 100
        if listed and size > LIST_BYTES:
            break
        listed.append({"body": base64_encode(entry.body), "id": entry.exchange})
    return json_answer({"exchanges": listed}, 200)


@blueprint.put("/city/exchanges/<exchange>")
def put_answer(exchange: str) -> Response:
    """The one answer, a package to the question's reply key. 200, 404 nobody waits any more, 409 other bytes."""
    door = the_door()
    body = read_body(MAX_REPLY)
    token = verify_city_token(door.city_keys, body, "mailbox", door.clock())
    identifier = account_id(exchange)
    if parse_package(body, max_bytes=MAX_REPLY).typ != EXCHANGE_TYPE:
        raise Problem(400, "not-an-answer", "an exchange package is expected")
    # One transaction for the token and the answer: this is the way that is gone most often.
    with door.store.write() as connection:
        token.use_up(connection)
        taken = the_wallet_door().desk.hand_over(connection, identifier, body)
    if taken is None:
        raise Problem(404, "nobody-waits", "nobody waits for this answer")
    if not taken:
        raise Problem(409, "other-bytes", "another answer lies here")
    return json_answer({}, 200)


@blueprint.put("/city/wallet-nonce-key")
def put_nonce_key() -> Response:
    """{key_id, key, from, until}: challenges are made with it. 200 new or the same again, 409 another key of this id."""
    door = the_door()
    body = read_body(MAX_DOCUMENT)
    check_city(door.city_keys, door.store, body, "mailbox", door.clock())
    key = parse_nonce_key(body)
    with door.store.write() as connection:
        stored = wallet_exchanges.put_nonce_key(connection, key, door.minute())
    if not stored:
        raise Problem(409, "other-bytes", "another key has this id")
    the_wallet_door().nonce_keys.forget()
    return json_answer({}, 200)
