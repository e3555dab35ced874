"""The city's side of the street door (`mobile_api.city`)."""

from __future__ import annotations

from typing import Final

from mobile_api.city import MAX_LIST
from mobile_api.openapi.pieces import (
    ACCOUNT,
    ACCOUNT_PART,
    BASE64,
    CITY_MAILBOX,
    ITEM,
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
from verifier.formats.names import PACKAGE_TYPE

_EMPTY: Final = {"$ref": "#/components/schemas/Empty"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_SCOPE: Final = "wrong-scope: this key of the city may not do that"
_MESSAGE: Final = members(
    {
        "account": text(ACCOUNT),
        "body": text(BASE64),
        "id": text(ITEM),
        "received": {"$ref": "#/components/schemas/IsoMinute"},
    }
)


def _texts(pattern: str) -> Piece:
    return {"type": "array", "items": text(pattern), "maxItems": MAX_LIST}


def _put(name: str, summary: str, last: str) -> Piece:
    return operation(
        summary,
        name=name,
        security=CITY_MAILBOX,
        parameters=[ACCOUNT_PART, path_part(last, ITEM, "16 to 64 characters of base64url")],
        body=body(PACKAGE_SCHEMA, media=PACKAGE_TYPE),
        answers={200: answer("it lies there; also for the same bytes again", _EMPTY)},
        problems={
            400: "what is wrong with the package",
            401: "",
            403: _SCOPE,
            404: "no-account, bad-id",
            409: "other-bytes",
            411: "",
            413: "",
        },
    )


PATHS: Final[Piece] = {
    "/city/inbox": {
        "get": operation(
            "What phones have sent, oldest first; it stays until it is acknowledged",
            name="takeInbox",
            security=CITY_MAILBOX,
            parameters=[
                query_number("wait", "seconds to wait for one; cut to the door's limit"),
                query_number("limit", "at most 64, at least 1"),
            ],
            answers={
                200: answer(
                    "messages", members({"messages": {"type": "array", "items": _MESSAGE, "maxItems": 64}})
                )
            },
            problems={400: "bad-query", 401: "", 403: _SCOPE},
        )
    },
    "/city/inbox/acks": {
        "post": operation(
            "The city has stored these",
            name="acknowledge",
            security=CITY_MAILBOX,
            body=body(members({"ids": _texts(ITEM)})),
            answers={200: answer("how many were still there", members({"deleted": _COUNT}))},
            problems={
                400: "bad-form, or what is wrong with the JSON",
                401: "",
                403: _SCOPE,
                404: "bad-id",
                411: "",
                413: "",
            },
        )
    },
    "/city/nonces": {
        "get": operation(
            "How many nonces are left",
            name="countNonces",
            security=CITY_MAILBOX,
            answers={200: answer("the stock", members({"left": _COUNT}))},
            problems={401: "", 403: _SCOPE},
        ),
        "post": operation(
            "Stock nonces; known ones change nothing",
            name="stockNonces",
            security=CITY_MAILBOX,
            body=body(members({"nonces": _texts(r"^[A-Za-z0-9_-]{22,64}$")})),
            answers={200: answer("the stock", members({"left": _COUNT}))},
            problems={
                400: "bad-form, bad-nonce, or what is wrong with the JSON",
                401: "",
                403: _SCOPE,
                409: "enough-nonces",
                411: "",
                413: "",
            },
        ),
    },
    "/city/answers/{account}/{message_id}": {"put": _put("putAnswer", "An answer for a phone", "message_id")},
    "/city/packages/{account}/{package_id}": {
        "put": _put("putPackage", "A package with a certificate for a phone", "package_id"),
        "delete": operation(
            "Take a package back",
            name="takeBackPackage",
            security=CITY_MAILBOX,
            parameters=[ACCOUNT_PART, path_part("package_id", ITEM, "16 to 64 characters of base64url")],
            answers={204: gone()},
            problems={401: "", 403: _SCOPE, 404: "bad-id"},
        ),
    },
}
