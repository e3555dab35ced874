"""Requests to wallets of others and their answers (`mobile_api.presentations`, `mobile_api.wallet_answers`).

What wallets call speaks OpenID4VP 1.0: forms in, OAuth's errors out.
"""

from __future__ import annotations

from typing import Final

from mobile_api.openapi.pieces import (
    HASH,
    ITEM,
    PHONE,
    Piece,
    answer,
    body,
    file,
    header,
    members,
    oauth_error,
    operation,
    path_part,
    query_number,
)
from mobile_api.presentations import ANSWER_TYPE, RECEIVED_HEADER, RESPONSE_CODE_HEADER
from mobile_api.wallet_answers import FORM_TYPE
from verifier.formats.names import AUTHORIZATION_REQUEST_TYPE

_ID_PART: Final = path_part("identifier", ITEM, "the id in the request's response_uri")
_ANY_ORIGIN: Final = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"}
_REQUEST_OBJECT: Final[Piece] = {
    "type": "string",
    "description": "A signed request object (RFC 9101): docs/formats/wallet-presentation.md.",
}
_REFUSALS: Final = {
    400: oauth_error("invalid_request"),
    404: oauth_error("invalid_request: no such request, or its time is over"),
    429: oauth_error("invalid_request: wait as Retry-After says"),
}
_FORM_REFUSALS: Final = {
    **_REFUSALS,
    411: oauth_error("invalid_request: a body of unknown length"),
    413: oauth_error("invalid_request: too large"),
    415: oauth_error(f"invalid_request: not {FORM_TYPE}"),
}


def _form(fields: dict[str, Piece], required: list[str]) -> Piece:
    return {"type": "object", "properties": fields, "required": required}


def _request_object(name: str, summary: str, **more: Piece) -> Piece:
    found = file("the signed request", AUTHORIZATION_REQUEST_TYPE)
    found["headers"] = answer("", headers=_ANY_ORIGIN)["headers"]
    refusals = _FORM_REFUSALS if more else _REFUSALS
    answers = {200: found, **refusals}
    return operation(summary, name=name, parameters=[_ID_PART], answers=answers, problems={}, **more)


PATHS: Final[Piece] = {
    "/v1/presentations": {
        "post": operation(
            "A desk leaves a signed request for wallets; the same bytes again are the same request",
            name="createPresentation",
            security=PHONE,
            body=body(_REQUEST_OBJECT, media=AUTHORIZATION_REQUEST_TYPE),
            answers={
                201: answer(
                    "stored",
                    members(
                        {
                            "expires": {"$ref": "#/components/schemas/IsoMinute"},
                            "id": {"type": "string", "pattern": ITEM},
                        }
                    ),
                )
            },
            problems={
                400: "other-door, bad-expiry, or what is wrong with the request",
                401: "",
                409: "other-request",
                411: "",
                413: "",
                415: "other-media-type",
                429: "",
            },
        )
    },
    "/v1/presentations/{identifier}": {
        "get": operation(
            "The wallet's answer, encrypted to the desk (desk key); 204 while there is none",
            name="fetchPresentation",
            security=PHONE,
            parameters=[
                _ID_PART,
                query_number("wait", "seconds to wait for an answer"),
                header(
                    RESPONSE_CODE_HEADER,
                    HASH,
                    "what the wallet's browser brought back, where the request wants it",
                ),
            ],
            answers={
                200: {
                    **file("compact JWE", ANSWER_TYPE),
                    "headers": answer("", headers={RECEIVED_HEADER: "the minute in which it came, UTC"})[
                        "headers"
                    ],
                },
                204: answer("nobody has answered yet"),
            },
            problems={
                400: "bad-query",
                401: "",
                403: "wrong-response-code",
                404: "no-request, bad-id",
                429: "",
            },
        ),
        "delete": operation(
            "The door forgets request and answer (desk key)",
            name="forgetPresentation",
            security=PHONE,
            parameters=[_ID_PART],
            answers={204: answer("done")},
            problems={401: "", 404: "no-request, bad-id", 429: ""},
        ),
    },
    "/vp": {
        "get": operation(
            "The https form of a request's address: a page with the link for wallets",
            name="openInWallet",
            parameters=[
                {"name": name, "in": "query", "required": True, "schema": {"type": "string"}}
                for name in ("client_id", "request_uri")
            ],
            answers={
                200: file("a page", "text/html"),
                400: oauth_error("invalid_request"),
                404: oauth_error("invalid_request: of another street door"),
            },
            problems={},
        )
    },
    "/vp/{identifier}": {
        "get": _request_object("readPresentationRequest", "The signed request object (request_uri)"),
        "post": _request_object(
            "postForPresentationRequest",
            "The same; a wallet_nonce cannot be bound (400)",
            body={
                "required": False,
                "content": {
                    FORM_TYPE: {
                        "schema": _form(
                            {"wallet_metadata": {"type": "string"}, "wallet_nonce": {"type": "string"}}, []
                        )
                    }
                },
            },
        ),
    },
    "/vp/{identifier}/response": {
        "post": operation(
            "The one answer of a wallet (response_uri, direct_post.jwt); the first one wins",
            name="answerPresentation",
            parameters=[_ID_PART],
            body=body(
                _form(
                    {"response": {"type": "string", "description": "compact JWE to the request's key"}},
                    ["response"],
                ),
                media=FORM_TYPE,
            ),
            answers={
                200: answer(
                    "taken",
                    members({}, {"redirect_uri": {"type": "string", "format": "uri"}}),
                    headers=_ANY_ORIGIN,
                ),
                **_FORM_REFUSALS,
            },
            problems={},
        )
    },
}
