"""The city's calls for wallets of others (`mobile_api.wallets.city_calls`, `mobile_api.wallets.offers`)."""

from __future__ import annotations

from typing import Final

from mobile_api.exchanges import MAX_PROOFS
from mobile_api.openapi.pieces import (
    ACCOUNT,
    BASE64,
    CITY_MAILBOX,
    HASH,
    PACKAGE_SCHEMA,
    Piece,
    answer,
    body,
    gone,
    members,
    operation,
    path_part,
    query_number,
    text,
)
from verifier.formats.names import EXCHANGE_TYPE

_EMPTY: Final = {"$ref": "#/components/schemas/Empty"}
_SCOPE: Final = "wrong-scope: this key of the city may not do that"
_GRANT: Final = path_part("grant", ACCOUNT, "16 random bytes, base64url")
_EXCHANGE: Final = path_part("exchange", ACCOUNT, "16 random bytes, base64url")
_SECONDS: Final = {"type": "integer", "minimum": 0}
_TX_CODE: Final = members(
    {
        "hash": text(HASH),
        "input_mode": {"const": "numeric"},
        "length": {"type": "integer", "minimum": 4, "maximum": 16},
    }
)
_WRONG: Final = {401: "", 403: _SCOPE, 411: "", 413: ""}

PATHS: Final[Piece] = {
    "/city/exchanges": {
        "get": operation(
            "What the door asks for wallets, oldest first, unanswered",
            name="takeExchanges",
            security=CITY_MAILBOX,
            parameters=[
                query_number("wait", "seconds to wait for one; cut to the door's limit"),
                query_number("limit", "at most 64, at least 1"),
            ],
            answers={
                200: answer(
                    "questions, each a package to the city's envelope key",
                    members(
                        {
                            "exchanges": {
                                "type": "array",
                                "items": members({"body": text(BASE64), "id": text(ACCOUNT)}),
                                "maxItems": 64,
                            }
                        }
                    ),
                )
            },
            problems={400: "bad-query", 401: "", 403: _SCOPE},
        )
    },
    "/city/exchanges/{exchange}": {
        "put": operation(
            "The city's one answer, a package to the question's own key",
            name="putExchange",
            security=CITY_MAILBOX,
            parameters=[_EXCHANGE],
            body=body(PACKAGE_SCHEMA, media=EXCHANGE_TYPE),
            answers={200: answer("its waiter has it or finds it", _EMPTY)},
            problems={
                **_WRONG,
                400: "not-an-answer, or what is wrong with the package",
                404: "nobody-waits (any more), bad-id",
                409: "other-bytes",
            },
        )
    },
    "/city/offers/{grant}": {
        "put": operation(
            "An offer to a wallet: hashes only",
            name="putOffer",
            security=CITY_MAILBOX,
            parameters=[_GRANT],
            body=body(
                members(
                    {
                        "code_hash": text(HASH),
                        "configuration": text(r"^[A-Za-z0-9_.-]{1,64}$"),
                        "copies": {"type": "integer", "minimum": 1, "maximum": MAX_PROOFS},
                        "expires": _SECONDS,
                        "profile": {"enum": ["p1", "p2"]},
                        "tx_code": {"anyOf": [{"type": "null"}, _TX_CODE]},
                    }
                )
            ),
            answers={200: answer("it lies there; also for the same again", _EMPTY)},
            problems={
                **_WRONG,
                400: "bad-offer, bad-form, bad-id, or what is wrong with the JSON",
                404: "bad-id",
                409: "other-offer",
            },
        ),
        "delete": operation(
            "End the offer, its logins and its tokens",
            name="endOffer",
            security=CITY_MAILBOX,
            parameters=[_GRANT],
            answers={204: gone()},
            problems={401: "", 403: _SCOPE, 404: "bad-id"},
        ),
    },
    "/city/wallet-nonce-key": {
        "put": operation(
            "The key by which challenges for wallets are made",
            name="putNonceKey",
            security=CITY_MAILBOX,
            body=body(
                members(
                    {
                        "from": _SECONDS,
                        "key": text(HASH),
                        "key_id": text(r"^[A-Za-z0-9_-]{6}$"),
                        "until": _SECONDS,
                    }
                )
            ),
            answers={200: answer("it is used; also for the same again", _EMPTY)},
            problems={**_WRONG, 400: "bad-nonce-key, or what is wrong with the JSON", 409: "other-bytes"},
        )
    },
}
