"""The relying parties that the mock provider knows (模擬/MOCK): a file that is read once at the start.

    {"clients": [{"client_id": …, "jwks": {"keys": [{"kid": …, "crv": …, "kty": …, "x": …, "y": …}]},
                  "redirect_uris": [ … ], "sector": …, "userinfo_signed_response_alg": "ES256"}], "v": 1}

`sector` names the service: clients of one service see the same `sub` of a person, others another one (OpenID Connect
Core section 8.1). With `userinfo_signed_response_alg` (may be left out) userinfo is a signed JWT. Redirect URIs are
compared as exact text, so a registered one has one form only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from app.errors import SettingsError
from verifier.errors import FormatError
from verifier.formats.encoding import JSON, parse_json
from verifier.formats.jose import parse_jwk

MAX_FILE_BYTES: Final = 256 << 10
MAX_URI: Final = 512
SIGNED_USERINFO: Final = "userinfo_signed_response_alg"
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_NAME: Final = re.compile(r"[A-Za-z0-9._~-]{1,100}")


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """client_id and sector: 1 to 100 unreserved characters; redirect_uris: exact; keys: P-256 by key id."""

    client_id: str
    sector: str
    redirect_uris: tuple[str, ...]
    keys: Mapping[str, ec.EllipticCurvePublicKey]
    signed_userinfo: bool = False


def parse_clients(data: bytes) -> dict[str, RelyingParty]:
    """The relying parties by client_id. Raises: SettingsError."""
    try:
        content: Any = parse_json(data, max_bytes=MAX_FILE_BYTES)
        if set(content) != {"clients", "v"} or content["v"] != 1:
            raise ValueError("form")
        found = [_parse_client(entry) for entry in content["clients"]]
    except (FormatError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise SettingsError("bad-clients", "the file of relying parties has another form") from error
    clients = {client.client_id: client for client in found}
    if len(clients) != len(found):
        raise SettingsError("bad-clients", "a client_id appears twice")
    return clients


def is_redirect_uri(uri: JSON) -> bool:
    """Absolute https, or http on loopback; printable ASCII, no fragment, no user name."""
    if not isinstance(uri, str) or not 0 < len(uri) <= MAX_URI:
        return False
    if not uri.isascii() or not uri.isprintable() or set(uri) & set(" #\"'<>\\;,"):
        return False
    parts = urlsplit(uri)
    if parts.username is not None or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)


def _parse_client(entry: Any) -> RelyingParty:
    signed = entry.get(SIGNED_USERINFO)
    if set(entry) - {SIGNED_USERINFO} != {"client_id", "jwks", "redirect_uris", "sector"}:
        raise ValueError("members")
    if set(entry["jwks"]) != {"keys"} or signed not in (None, "ES256"):
        raise ValueError("members")
    keys = {}
    for jwk in entry["jwks"]["keys"]:
        kid = jwk["kid"]
        if not _is_name(kid) or kid in keys:
            raise ValueError("kid")
        keys[kid] = parse_jwk({name: value for name, value in jwk.items() if name != "kid"})
    uris = entry["redirect_uris"]
    if not keys or not uris or not all(is_redirect_uri(uri) for uri in uris):
        raise ValueError("keys or redirect URIs")
    if not _is_name(entry["client_id"]) or not _is_name(entry["sector"]):
        raise ValueError("name")
    return RelyingParty(entry["client_id"], entry["sector"], tuple(uris), keys, signed is not None)


def _is_name(value: JSON) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None
