"""Submission requests, submissions and the mail relay (`mobile_api.submissions`, `mobile_api.mail_relay`)."""

from __future__ import annotations

from typing import Final

from mobile_api.mail_relay import MAX_ADDRESS
from mobile_api.openapi.pieces import (
    BASE64,
    HASH,
    ITEM,
    PACKAGE_SCHEMA,
    PHONE,
    REQUEST,
    REQUEST_PART,
    UPLOADER,
    WITHDRAWER,
    Piece,
    answer,
    body,
    file,
    header,
    members,
    operation,
    path_part,
    text,
)
from mobile_api.submissions import MAX_LIST
from verifier.formats.names import PACKAGE_TYPE

_RECEIPT_PART: Final = path_part("receipt", ITEM, "the receipt of the upload")
_MINUTE: Final = {"$ref": "#/components/schemas/IsoMinute"}
_ENTRY: Final = members(
    {
        "fetched": {"type": "boolean"},
        "received": _MINUTE,
        "receipt": text(ITEM),
        "size": {"type": "integer", "minimum": 0},
    }
)
_FORM: Final = members(
    {
        "ciphertext": text(BASE64, "the encrypted descriptor"),
        "desk_jwk": {"$ref": "#/components/schemas/PublicKey"},
        "expires": text(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"),
        "upload_token_hash": text(HASH),
    },
    {"mail_hash": text(HASH, "keyed hash of the address for submissions by mail")},
)
_MAIL_LINE: Final = members({"request": text(REQUEST), "to": {"type": "string", "maxLength": MAX_ADDRESS}})

PATHS: Final[Piece] = {
    "/v1/requests": {
        "post": operation(
            "An employer's request, encrypted; the same bytes of the same desk get the same id",
            name="createRequest",
            security=PHONE,
            body=body(_FORM),
            answers={201: answer("stored", members({"expires": _MINUTE, "id": text(REQUEST)}))},
            problems={
                400: "bad-form, bad-expiry, bad-id, or what is wrong with the JSON or the key",
                401: "",
                409: "other-desk",
                411: "",
                413: "body-too-large, descriptor-too-large",
                429: "",
            },
        )
    },
    "/v1/requests/{identifier}": {
        "get": operation(
            "The encrypted descriptor; its key stands in the fragment of the QR code",
            name="readRequest",
            parameters=[REQUEST_PART],
            answers={200: file("ciphertext", "application/octet-stream")},
            problems={404: "no-request, bad-id", 429: ""},
        )
    },
    "/v1/requests/{identifier}/submissions": {
        "post": operation(
            "A certificate for the employer, encrypted to the employer's keys",
            name="submit",
            security=UPLOADER,
            parameters=[
                REQUEST_PART,
                header("Akashi-Withdraw", HASH, "SHA-256 of the secret that may take it back"),
            ],
            body=body(PACKAGE_SCHEMA, media=PACKAGE_TYPE),
            answers={201: answer("stored", members({"expires": _MINUTE, "receipt": text(ITEM)}))},
            problems={
                400: "not-a-package, bad-id, or what is wrong with the package",
                403: "wrong-upload-token",
                404: "no-request, bad-id",
                409: "request-full",
                411: "",
                413: "",
                429: "",
            },
        ),
        "get": operation(
            "What lies under the request (desk key)",
            name="listSubmissions",
            security=PHONE,
            parameters=[REQUEST_PART],
            answers={
                200: answer(
                    "oldest first",
                    members({"submissions": {"type": "array", "items": _ENTRY, "maxItems": MAX_LIST}}),
                )
            },
            problems={401: "", 404: "no-request, bad-id", 429: ""},
        ),
    },
    "/v1/requests/{identifier}/submissions/{receipt}": {
        "get": operation(
            "One submission (desk key); from now on it cannot be withdrawn",
            name="fetchSubmission",
            security=PHONE,
            parameters=[REQUEST_PART, _RECEIPT_PART],
            answers={200: file("ciphertext for the employer", PACKAGE_TYPE)},
            problems={401: "", 404: "no-request, no-submission, bad-id", 429: ""},
        ),
        "delete": operation(
            "Take a submission back while nobody has fetched it",
            name="withdraw",
            security=WITHDRAWER,
            parameters=[REQUEST_PART, _RECEIPT_PART],
            answers={204: answer("withdrawn")},
            problems={404: "no-request, no-submission, bad-id", 409: "already-fetched", 429: ""},
        ),
    },
    "/v1/mail": {
        "post": operation(
            "A submission by mail, relayed at once and stored nowhere",
            name="relayMail",
            security=UPLOADER,
            body=body(
                {"type": "string", "contentMediaType": "application/json", "contentSchema": _MAIL_LINE},
                media="application/octet-stream",
                description="One JSON line {request, to}, LF, then the package.",
            ),
            answers={202: answer("the mail server took it", {"$ref": "#/components/schemas/Empty"})},
            problems={
                400: "bad-form, bad-address, not-a-package, or what is wrong with the JSON or the package",
                403: "wrong-upload-token, other-address",
                404: "no-mail, no-request, bad-id",
                411: "",
                413: "",
                429: "",
                503: "mail-away, store-away",
            },
        )
    },
}
