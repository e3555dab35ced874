"""The description as one OpenAPI 3.1 document, and its address. The parts are put together when the app is made.

A new room gets a part of its own here: a module with PATHS, and its name in PARTS (tests/unit/test_mobile_api_openapi).
"""

from __future__ import annotations

import functools
import re
from typing import Any, Final

from flask import Blueprint, Flask, Response

from mobile_api.door import the_door
from mobile_api.openapi import (
    accounts,
    city,
    health,
    mailbox,
    presentations,
    public_files,
    submissions,
    wallet_city,
    wallets,
)
from mobile_api.openapi.pieces import SCHEMAS, SECURITY_SCHEMES, Piece
from verifier.formats.encoding import canonical_json

VERSION: Final = "1"
PARTS: Final = (
    accounts,
    mailbox,
    submissions,
    presentations,
    city,
    public_files,
    health,
    wallets,
    wallet_city,
)
ROUTE: Final = "x-akashi-route"
"""On a path of the description: the route that serves it, where its template is not the path itself."""

_METHODS: Final = frozenset({"get", "put", "post", "delete", "patch"})
_CONVERTER: Final = re.compile(r"<(?:[a-z]+(?:\([^)]*\))?:)?([a-z_]+)>")
blueprint = Blueprint("openapi", __name__)


@blueprint.get("/openapi.json")
def describe() -> Response:
    """The document; from any origin."""
    response = Response(_encoded(the_door().settings.public_url), content_type="application/json")
    response.headers["Cache-Control"] = "public, max-age=300"
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


@functools.cache
def _encoded(public_url: str) -> bytes:
    return canonical_json(build_document(public_url))


def build_document(public_url: str) -> Piece:
    """All parts in one. Raises: ValueError if two parts describe the same path."""
    paths: dict[str, Any] = {}
    for part in PARTS:
        if twice := paths.keys() & part.PATHS.keys():
            raise ValueError(f"described twice: {', '.join(sorted(twice))}")
        paths |= part.PATHS
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "証 akashi 窓口 / street door",
            "version": VERSION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "The street door holds ciphertext and public files only. It never calls into the city: "
            "the city reaches out to it under /city. HEAD is answered wherever GET is, without a body.",
        },
        "servers": [{"url": public_url}],
        "paths": paths,
        "components": {"schemas": SCHEMAS, "securitySchemes": SECURITY_SCHEMES},
    }


def described_routes(document: Piece) -> set[tuple[str, str]]:
    """(METHOD, path template) of each operation; the route's template where the path names one."""
    return {
        (method.upper(), _CONVERTER.sub(r"{\1}", operations.get(ROUTE, path)))
        for path, operations in document["paths"].items()
        for method in operations
        if method in _METHODS
    }


def served_routes(app: Flask) -> set[tuple[str, str]]:
    """The same of the routing table."""
    return {
        (method, _CONVERTER.sub(r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method.lower() in _METHODS
    }
