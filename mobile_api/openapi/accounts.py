"""Accounts and nonces (`mobile_api.accounts`)."""

from __future__ import annotations

from typing import Final

from mobile_api.openapi.pieces import ACCOUNT, PHONE, Piece, answer, body, members, operation, text

PATHS: Final[Piece] = {
    "/v1/accounts": {
        "post": operation(
            "An account for a device key; the same key always gets the same one",
            name="signUp",
            security=PHONE,
            body=body(members({"signing_jwk": {"$ref": "#/components/schemas/PublicKey"}})),
            answers={201: answer("the account", members({"account": text(ACCOUNT)}))},
            problems={
                400: "bad-form, or what is wrong with the JSON or the key",
                401: "",
                411: "",
                413: "",
                429: "",
            },
        )
    },
    "/v1/nonces": {
        "post": operation(
            "One nonce of the city, handed out once",
            name="takeNonce",
            security=PHONE,
            body=body(members({"account": text(ACCOUNT)})),
            answers={
                200: answer(
                    "a nonce",
                    members(
                        {
                            "nonces": {
                                "type": "array",
                                "items": text(r"^[A-Za-z0-9_-]{22,64}$"),
                                "minItems": 1,
                                "maxItems": 1,
                            }
                        }
                    ),
                )
            },
            problems={
                400: "bad-form, or what is wrong with the JSON",
                401: "",
                404: "bad-id",
                411: "",
                413: "",
                429: "",
                503: "no-nonces: the city has sent none for a while; store-away",
            },
        )
    },
}
