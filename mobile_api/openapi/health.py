"""Health, the page behind a request's QR code, and this description itself (`mobile_api.health`, `document`)."""

from __future__ import annotations

from typing import Final

from mobile_api.openapi.pieces import REQUEST_PART, Piece, answer, file, members, operation

_OK: Final = members({"status": {"const": "ok"}})

PATHS: Final[Piece] = {
    "/healthz": {
        "get": operation(
            "The process answers", name="alive", answers={200: answer("it does", _OK)}, problems={}
        )
    },
    "/readyz": {
        "get": operation(
            "The process can work", name="ready", answers={200: answer("it can", _OK)}, problems={}
        )
    },
    "/r/{identifier}": {
        "get": operation(
            "What an ordinary camera opens for a request's QR code; the key in the fragment never comes here",
            name="scanned",
            parameters=[REQUEST_PART],
            answers={200: file("a page in Japanese and English", "text/html; charset=utf-8")},
            problems={404: "bad-id"},
        )
    },
    "/openapi.json": {
        "get": operation(
            "This description",
            name="describe",
            answers={200: answer("OpenAPI 3.1", {"type": "object"})},
            problems={},
        )
    },
}
