"""The public files (`mobile_api.public_files`): one path of the description for each kind of file.

Media types and cache times are taken from the allow-list itself. `{index}` of a tile above 999 has more segments
(x001/002); OpenAPI has no parameter over several segments, so the description shows the first thousand.
"""

from __future__ import annotations

from typing import Final

from mobile_api.openapi.pieces import (
    CITY_MAILBOX,
    Piece,
    answer,
    body,
    file,
    operation,
    path_part,
)
from mobile_api.public_files import IMMUTABLE
from mobile_api.public_files import PATHS as ALLOWED

ROUTE: Final = "/<int:city>/<path:path>"
_CITY: Final = path_part("city", r"^[0-9]{6}$", "the city's code")
_LOG: Final = path_part("log", r"^[1-9][0-9]{0,3}$", "number of the log")
_SIZE: Final = path_part("size", r"^[0-9]{1,16}$", "tree size")
_NUMBER: Final = path_part("number", r"^(0|[1-9][0-9]{0,8})$", "number of the list")
_LEVEL: Final = path_part("level", r"^(entries|[0-9]|[1-5][0-9]|6[0-3])$", "level, or the entries themselves")
_INDEX: Final = path_part("index", r"^[0-9]{3}$", "index of the tile")
_WIDTH: Final = path_part("width", r"^(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9][0-9]?)$", "entries in it")
_FILE: Final = path_part("file", r"^[1-9][0-9]{0,8}\.root\.json$", "version of the list, then .root.json")
_WALLETS: Final = path_part("description", r"^(p1|p2|vct|jwt-vc-issuer)$", "profile, type or keys")
_SIGNED: Final = path_part("signed", r"^p[12]$", "profile")

KINDS: Final[tuple[tuple[str, str, str, tuple[Piece, ...]], ...]] = (
    ("log/{log}/checkpoint", "log/1/checkpoint", "The newest checkpoint", (_LOG,)),
    ("log/{log}/anchored", "log/1/anchored", "The newest anchored checkpoint", (_LOG,)),
    ("log/{log}/checkpoints/{size}", "log/1/checkpoints/7", "The checkpoint of a size", (_LOG, _SIZE)),
    ("log/{log}/tile/{level}/{index}", "log/1/tile/0/000", "A full tile (C2SP tlog-tiles)", (_LOG, _LEVEL, _INDEX)),
    (
        "log/{log}/tile/{level}/{index}.p/{width}",
        "log/1/tile/0/000.p/7",
        "A tile that is not full yet",
        (_LOG, _LEVEL, _INDEX, _WIDTH),
    ),
    ("log/{log}/receipts/{size}", "log/1/receipts/7", "The chain's receipt for a size", (_LOG, _SIZE)),
    ("log/{log}/timestamps/{size}", "log/1/timestamps/7", "The time-stamp over a checkpoint", (_LOG, _SIZE)),
    ("status/{number}", "status/1", "A status list token", (_NUMBER,)),
    ("trust/{file}", "trust/1.root.json", "The trust list of a version", (_FILE,)),
    ("trust/root.json", "trust/root.json", "The newest trust list", ()),
    ("wallets/{description}.json", "wallets/p1.json", "What the city says of itself to wallets", (_WALLETS,)),
    ("wallets/{signed}.jwt", "wallets/p1.jwt", "The same, signed by the city", (_SIGNED,)),
)  # fmt: skip
"""Template below /{city}/, an example of it, what it is, its parameters besides the city."""


def _kind(template: str, example: str, summary: str, parameters: tuple[Piece, ...]) -> Piece:
    _, _, seconds, media = next(rule for rule in ALLOWED if rule[0].fullmatch(example))
    headers = {
        "Cache-Control": IMMUTABLE if seconds is None else f"public, max-age={seconds}",
        "ETag": "of the bytes",
        "Access-Control-Allow-Origin": "*",
    }
    found = file(summary, media)
    found["headers"] = answer("", headers=headers)["headers"]
    name = "read" + "".join(word.capitalize() for word in _words(template))
    return {
        "x-akashi-route": ROUTE,
        "get": operation(
            summary,
            name=name,
            parameters=[_CITY, *parameters],
            answers={200: found, 304: answer("not changed since the ETag of If-None-Match")},
            problems={404: "not-found"},
        ),
    }


def _words(template: str) -> list[str]:
    return [word for word in "".join(c if c.isalnum() else " " for c in template).split() if word != "log"]


PATHS: Final[Piece] = {
    "/city/public/{path}": {
        "put": operation(
            "The city publishes a file; its bytes never change, but for what is the newest of something",
            name="publish",
            security=CITY_MAILBOX,
            parameters=[path_part("path", r"^[A-Za-z0-9./]{1,120}$", "city code, then as below; with its slashes")],
            body=body({}, media="application/octet-stream"),
            answers={
                200: answer("the same bytes lie there, or the newest was replaced", {"$ref": "#/components/schemas/Empty"}),
                201: answer("new", {"$ref": "#/components/schemas/Empty"}),
            },
            problems={
                400: "empty-file",
                401: "",
                403: "wrong-scope",
                404: "not-a-public-path",
                409: "other-bytes",
                411: "",
                413: "",
            },
        )
    },
    **{f"/{{city}}/{kind[0]}": _kind(*kind) for kind in KINDS},
}  # fmt: skip
