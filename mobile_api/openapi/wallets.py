"""The end points for wallets of others (`mobile_api.wallets`), as OpenID4VCI 1.0 has them: OAuth's errors, no problems.

What the standards leave to them (unknown members, more claims in a proof) is left open here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mobile_api.openapi.pieces import (
    JSON_TYPE,
    OBJECT_TYPE,
    Piece,
    answer,
    body,
    file,
    oauth_error,
    path_part,
    text,
)
from mobile_api.wallets.metadata import VCT_PATH
from mobile_api.wallets.token import GRANT_TYPES

JWT_TYPE: Final = "application/jwt"
FORM_TYPE: Final = "application/x-www-form-urlencoded"
_CITY: Final = path_part("city", r"^[0-9]{6}$", "the city's code")
_CODE: Final = path_part("code", r"^[A-Za-z0-9_-]{43}$", "the pre-authorized code")
_TOKEN: Final = [{"walletToken": []}]

_COMMON: Final[Mapping[int, Piece]] = {
    404: oauth_error("invalid_request: another city, or a profile that is not served"),
    411: oauth_error("invalid_request: a body of unknown length"),
    413: oauth_error("invalid_request: a body too large"),
    429: oauth_error("temporarily_unavailable: too many calls, wait as Retry-After says"),
    503: oauth_error("temporarily_unavailable: store or city away, wait as Retry-After says"),
}


def _post(
    summary: str,
    name: str,
    answers: Mapping[int, Piece],
    *,
    request: Piece | None = None,
    token: bool = False,
    headers: tuple[str, ...] = (),
) -> Piece:
    piece: Piece = {
        "operationId": name,
        "summary": summary,
        "security": _TOKEN if token else [],
        "parameters": [_CITY, *(_header(header) for header in headers)],
        "responses": {str(status): said for status, said in sorted({**_COMMON, **answers}.items())},
    }
    return piece if request is None else piece | {"requestBody": request}


def _get(summary: str, name: str, answers: Mapping[int, Piece], *parts: Piece) -> Piece:
    common = {status: _COMMON[status] for status in (404, 503)}
    responses = {str(status): said for status, said in sorted({**common, **answers}.items())}
    return {
        "operationId": name,
        "summary": summary,
        "security": [],
        "parameters": list(parts),
        "responses": responses,
    }


def _header(name: str) -> Piece:
    return {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}


def _document(summary: str, media: tuple[str, ...] = (JSON_TYPE,)) -> Mapping[int, Piece]:
    found: Piece = answer(summary, headers={"Cache-Control": "public, max-age=60"})
    found["content"] = {kind: {"schema": OBJECT_TYPE if kind == JSON_TYPE else {}} for kind in media}
    return {200: found, 304: answer("not changed since the ETag of If-None-Match")}


def _credentials(statuses: tuple[int, ...]) -> dict[int, Piece]:
    found = {}
    for status in statuses:
        piece = answer("the credentials" if status == 200 else "come again with this transaction_id")
        piece["content"] = {JSON_TYPE: {"schema": OBJECT_TYPE}, JWT_TYPE: {"schema": {}}}
        found[status] = piece
    return found


def _request(properties: dict[str, Any]) -> Piece:
    schema = {"type": "object", "properties": properties}
    return {"required": True, "content": {JSON_TYPE: {"schema": schema}, JWT_TYPE: {"schema": {}}}}


_ATTESTED: Final = ("DPoP", "OAuth-Client-Attestation", "OAuth-Client-Attestation-PoP")
_REFUSED: Final = {
    400: oauth_error("what is wrong with the request, in the codes of OpenID4VCI 1.0"),
    401: oauth_error("invalid_token, invalid_dpop_proof, use_dpop_nonce", challenge=True),
}


def _profile(profile: str, prefix: str) -> Piece:
    upper = profile.upper()
    headers = ("DPoP",) if profile == "p1" else _ATTESTED
    grants = {"type": "string", "enum": list(GRANT_TYPES[profile])}
    form = {"type": "object", "properties": {"grant_type": grants}, "required": ["grant_type"]}
    token = {
        "type": "object",
        "properties": {
            "access_token": {"type": "string"},
            "expires_in": {"type": "integer"},
            "token_type": {"enum": ["Bearer", "DPoP"]},
        },
        "required": ["access_token", "expires_in", "token_type"],
    }
    nonce = {
        "type": "object",
        "properties": {"c_nonce": text(r"^[A-Za-z0-9_-]{80}$")},
        "required": ["c_nonce"],
    }
    handle = {"type": "string"}
    paths: Piece = {
        "/token": _post(
            "A code becomes an access token, once",
            f"token{upper}",
            {
                200: answer("the token", token),
                400: oauth_error(
                    "invalid_request, invalid_grant, unsupported_grant_type, invalid_dpop_proof"
                ),
                401: oauth_error("invalid_client"),
            },
            request=body(form, media=FORM_TYPE),
            headers=headers,
        ),
        "/nonce": _post(
            "A challenge for key proofs", f"nonce{upper}", {200: answer("a fresh challenge", nonce)}
        ),
        "/credential": _post(
            "A credential for each proven key",
            f"credential{upper}",
            {**_credentials((200, 202)), **_REFUSED},
            request=_request({"credential_configuration_id": {"type": "string"}}),
            token=True,
            headers=("DPoP",),
        ),
        "/deferred_credential": _post(
            "Is it ready?",
            f"deferredCredential{upper}",
            {**_credentials((200, 202)), **_REFUSED},
            request=_request({"transaction_id": handle}),
            token=True,
            headers=("DPoP",),
        ),
        "/notification": _post(
            "What the wallet did with its credentials",
            f"notification{upper}",
            {204: answer("noted; also when it was before"), **_REFUSED},
            request=body({"type": "object", "properties": {"notification_id": handle, "event": handle}}),
            token=True,
            headers=("DPoP",),
        ),
    }
    found = {f"/{{city}}{prefix}{path}": {"post": piece} for path, piece in paths.items()}
    limited = {429: _COMMON[429]}
    found[f"/{{city}}{prefix}/offers/{{code}}"] = {
        "get": _get(
            "An offer by reference",
            f"offer{upper}",
            {200: answer("the offer", OBJECT_TYPE), **limited},
            _CITY,
            _CODE,
        )
    }
    for number, (form_, path) in enumerate(
        (
            ("/.well-known/{name}/{{city}}{prefix}", "read"),
            ("/{{city}}{prefix}/.well-known/{name}", "readSuffixed"),
        )
    ):
        for name, word, media in (
            ("openid-credential-issuer", "Issuer", (JSON_TYPE, JWT_TYPE)),
            ("oauth-authorization-server", "Server", (JSON_TYPE,)),
        ):
            address = form_.format(name=name, prefix=prefix)
            what = f"Metadata of the {'issuer' if word == 'Issuer' else 'authorization server'}"
            found[address] = {
                "get": _get(what, f"{path}{word}{upper}{number}", _document(what, media), _CITY)
            }
    return found


def _browser() -> Piece:
    page = file("a page that says what to do", "text/html")
    away = answer("on to the login provider, or back to the wallet", headers={"Location": "where"})
    shown = {302: away, 400: page, 404: page, 429: page, 503: page}
    query = [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}
        for name in ("client_id", "request_uri")
    ]
    return {
        "/{city}/haip/authorize": {
            "get": _get("Where a wallet sends the browser to log in", "authorize", shown, _CITY, *query)
        },
        "/{city}/haip/login/callback": {
            "get": _get("Where the login provider sends it back", "loginCallback", shown, _CITY)
        },
    }


_PAR: Final = {
    "type": "object",
    "properties": {"expires_in": {"type": "integer"}, "request_uri": {"type": "string"}},
    "required": ["expires_in", "request_uri"],
}

PATHS: Final[Piece] = {
    **_profile("p1", ""),
    **_profile("p2", "/haip"),
    **_browser(),
    "/{city}/haip/par": {
        "post": _post(
            "A pushed authorization request (RFC 9126)",
            "pushAuthorization",
            {
                201: answer("its address for a minute", _PAR),
                400: oauth_error(
                    "invalid_request, invalid_scope, unsupported_response_type, invalid_dpop_proof"
                ),
                401: oauth_error("invalid_client"),
            },
            request=body(
                {"type": "object", "properties": {"client_id": {"type": "string"}}}, media=FORM_TYPE
            ),
            headers=_ATTESTED,
        )
    },
    "/.well-known/jwt-vc-issuer/{city}": {
        "get": _get("Keys of the issuer", "readIssuerKeys", _document("keys"), _CITY)
    },
    "/{city}/.well-known/jwt-vc-issuer": {
        "get": _get(
            "Keys of the issuer, at the older address", "readSuffixedIssuerKeys", _document("keys"), _CITY
        )
    },
    VCT_PATH: {"get": _get("The credential type", "readCredentialType", _document("type metadata"))},
}
