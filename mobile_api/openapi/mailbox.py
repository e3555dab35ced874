"""The phone's side of the mailbox (`mobile_api.mailbox`) and its packages (`mobile_api.packages`)."""

from __future__ import annotations

from typing import Final

from mobile_api.openapi.pieces import (
    ACCOUNT_PART,
    BASE64,
    ITEM,
    PACKAGE_SCHEMA,
    PHONE,
    Piece,
    answer,
    body,
    file,
    gone,
    members,
    operation,
    path_part,
    query_number,
    text,
)
from verifier.formats.names import PACKAGE_TYPE

_PACKAGE_PART: Final = path_part("package_id", ITEM, "16 to 64 characters of base64url")
_ANSWER: Final = members({"body": text(BASE64), "n": {"type": "integer", "minimum": 1}})

PATHS: Final[Piece] = {
    "/v1/accounts/{account}/envelopes": {
        "post": operation(
            "A message to the city, encrypted to the city alone; the same bytes again get the same id",
            name="putEnvelope",
            security=PHONE,
            parameters=[ACCOUNT_PART],
            body=body(PACKAGE_SCHEMA, media=PACKAGE_TYPE),
            answers={202: answer("it waits for the city", members({"message_id": text(ITEM)}))},
            problems={
                400: "not-an-envelope, or what is wrong with the package",
                401: "",
                404: "bad-id",
                411: "",
                413: "",
                429: "too-many-requests; mailbox-full: the city has not taken earlier ones yet",
            },
        )
    },
    "/v1/accounts/{account}/answers": {
        "get": operation(
            "Answers of the city, encrypted to the phone",
            name="pollAnswers",
            security=PHONE,
            parameters=[
                ACCOUNT_PART,
                query_number("after", "the last `n` the phone has"),
                query_number("wait", "seconds to wait for one; cut to the door's limit"),
            ],
            answers={
                200: answer(
                    "oldest first", members({"answers": {"type": "array", "items": _ANSWER, "maxItems": 32}})
                )
            },
            problems={400: "bad-query", 401: "", 404: "bad-id", 429: ""},
        )
    },
    "/v1/accounts/{account}/packages/{package_id}": {
        "get": operation(
            "A package with a certificate; the first fetch starts its deletion time",
            name="fetchPackage",
            security=PHONE,
            parameters=[ACCOUNT_PART, _PACKAGE_PART],
            answers={200: file("ciphertext for the phone", PACKAGE_TYPE)},
            problems={401: "", 404: "no-package, bad-id", 429: ""},
        ),
        "delete": operation(
            "The phone has it",
            name="deletePackage",
            security=PHONE,
            parameters=[ACCOUNT_PART, _PACKAGE_PART],
            answers={204: gone()},
            problems={401: "", 404: "bad-id", 429: ""},
        ),
    },
}
