"""What the parts of the description are put together from: operations, answers, problems, parameters, schemas.

Nothing here describes a route. A part says which answers an operation gives; every one of them is in the description,
and nothing else may come (tests/interop/test_openapi_schemathesis).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mobile_api.problems import MEDIA_TYPE
from mobile_api.proofs import PROOF_HEADER

Piece = dict[str, Any]
"""A fragment of the document: JSON values only."""

JSON_TYPE: Final = "application/json"
OBJECT_TYPE: Final = {"type": "object"}

ACCOUNT: Final = r"^[A-Za-z0-9_-]{22}$"
ITEM: Final = r"^[A-Za-z0-9_-]{16,64}$"
REQUEST: Final = r"^[a-z2-7]{10}$"
HASH: Final = r"^[A-Za-z0-9_-]{43}$"
BASE64: Final = r"^[A-Za-z0-9+/]*={0,2}$"

# Who speaks: names of security schemes, as `security` of an operation wants them.
PHONE: Final = [{"proof": []}]
CITY_MAILBOX: Final = [{"cityToken": []}]
UPLOADER: Final = [{"upload": []}]
WITHDRAWER: Final = [{"withdrawSecret": []}]
NOBODY: Final[list[Piece]] = []

SECURITY_SCHEMES: Final[Piece] = {
    "proof": {
        "type": "apiKey",
        "in": "header",
        "name": PROOF_HEADER,
        "description": "A JWS by the device key (phone) or the desk key (employer) over method, path, time, a "
        "single-use id and the SHA-256 of the body; like DPoP (RFC 9449), with the body bound.",
    },
    "cityToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An ES256 JWT by a mailbox key of the city, for one call: htm, htu, body, iat, exp, jti.",
    },
    "walletToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "The access token of a wallet; with the scheme DPoP and its proof where it is bound to a key.",
    },
    "upload": {
        "type": "apiKey",
        "in": "header",
        "name": "Akashi-Upload",
        "description": "The upload token of a submission request; only who has read its QR code can derive it.",
    },
    "withdrawSecret": {
        "type": "apiKey",
        "in": "header",
        "name": "Akashi-Withdraw-Secret",
        "description": "32 bytes, base64url, whose SHA-256 went with the submission.",
    },
}

_COMMON_PROBLEMS: Final = {
    401: "who speaks is not shown: no-proof, bad-proof, proof-expired, proof-replayed, or the city's token likewise",
    411: "length-required: a body of unknown length",
    413: "a limit: body-too-large, or what the format allows at most",
    429: "too-many-requests, mailbox-full: wait as Retry-After says",
    503: "store-away, files-away: wait as Retry-After says",
}
_RETRY_AFTER: Final = {
    "Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}, "required": False}
}


def operation(
    summary: str,
    *,
    name: str,
    answers: Mapping[int, Piece],
    problems: Mapping[int, str],
    security: Sequence[Piece] = NOBODY,
    body: Piece | None = None,
    parameters: Sequence[Piece] = (),
) -> Piece:
    """One operation. `name`: operationId; `problems`: status → its codes, "" for those that are the same everywhere.

    503 is added always: the store may be away at any call.
    """
    responses = {str(status): answer for status, answer in answers.items()}
    for status, codes in sorted({503: "", **problems}.items()):
        responses[str(status)] = problem(codes or _COMMON_PROBLEMS[status], status in (429, 503))
    piece: Piece = {
        "operationId": name,
        "summary": summary,
        "security": list(security),
        "responses": responses,
    }
    if body is not None:
        piece["requestBody"] = body
    if parameters:
        piece["parameters"] = list(parameters)
    return piece


def problem(description: str, may_retry: bool) -> Piece:
    """An RFC 9457 answer."""
    piece = answer(description, {"$ref": "#/components/schemas/Problem"}, media=MEDIA_TYPE)
    return piece | {"headers": _RETRY_AFTER} if may_retry else piece


def answer(
    description: str,
    schema: Piece | None = None,
    *,
    media: str = JSON_TYPE,
    headers: Mapping[str, str] | None = None,
) -> Piece:
    """An answer with a body of `schema` (None: without a body). `headers`: name → what it says."""
    piece: Piece = {"description": description}
    if schema is not None:
        piece["content"] = {media: {"schema": schema}}
    if headers:
        piece["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
        }
    return piece


def oauth_error(description: str, *, challenge: bool = False) -> Piece:
    """An answer of a protocol end point that refuses (RFC 6749 section 5.2); with `challenge`, WWW-Authenticate too.

    It goes among the answers of an operation, not among its problems: `description` names the codes.
    """
    headers = {"WWW-Authenticate": "RFC 6750 section 3, RFC 9449 section 7.1"} if challenge else None
    return answer(description, {"$ref": "#/components/schemas/OAuthError"}, headers=headers)


def gone() -> Piece:
    """204."""
    return answer("done; also when it was done before")


def file(description: str, media: str) -> Piece:
    """An answer of bytes that OpenAPI cannot look into."""
    return answer(description, {}, media=media)


def body(schema: Piece, *, media: str = JSON_TYPE, description: str = "") -> Piece:
    """A required request body."""
    piece: Piece = {"required": True, "content": {media: {"schema": schema}}}
    return piece | {"description": description} if description else piece


def members(required: Mapping[str, Piece], optional: Mapping[str, Piece] | None = None) -> Piece:
    """A JSON object with exactly these members."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": sorted(required),
        "additionalProperties": False,
    }


def text(pattern: str, description: str = "") -> Piece:
    """A text of this form."""
    piece: Piece = {"type": "string", "pattern": pattern}
    return piece | {"description": description} if description else piece


def path_part(name: str, pattern: str, description: str) -> Piece:
    """A segment of the path."""
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def query_number(name: str, description: str) -> Piece:
    """A number in the query; values above the limit are cut to it."""
    schema = {"type": "integer", "minimum": 0, "maximum": 999_999_999_999_999}
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


def header(name: str, pattern: str, description: str) -> Piece:
    """An optional header that is not about who speaks."""
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


ACCOUNT_PART: Final = path_part("account", ACCOUNT, "16 random bytes, base64url")
REQUEST_PART: Final = path_part("identifier", REQUEST, "ten characters of base32")
PACKAGE_SCHEMA: Final[Piece] = {"$ref": "#/components/schemas/Package"}

SCHEMAS: Final[Piece] = {
    "Problem": {
        "description": "RFC 9457. `code` is stable; `title` is Japanese and English.",
        **members(
            {
                "code": text(r"^[a-z0-9-]+$"),
                "detail": {"type": "string"},
                "status": {"type": "integer", "minimum": 400, "maximum": 599},
                "title": {"type": "string"},
                "type": text(r"^urn:akashi:problem:[a-z0-9-]+$"),
            }
        ),
    },
    "PublicKey": {
        "description": "A P-256 public key (RFC 7517), exactly these members.",
        **members({"crv": {"const": "P-256"}, "kty": {"const": "EC"}, "x": text(HASH), "y": text(HASH)}),
    },
    "OAuthError": {
        "type": "object",
        "properties": {"error": text(r"^[a-z_]+$"), "error_description": text(r"^[ !#-\[\]-~]*$")},
        "required": ["error"],
    },
    "Package": {
        "description": "A JWE in general JSON serialisation (RFC 7516 section 7.2.1), strict and canonical: "
        "docs/formats/package.md.",
        "type": "object",
    },
    "Empty": members({}),
    "IsoMinute": text(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}Z$", "UTC, to the minute"),
}
