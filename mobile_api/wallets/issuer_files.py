"""The city's own description of itself to wallets: metadata, signed metadata, credential type, issuer keys.

The city puts them among the public files (`<city>/wallets/…`); the door serves those bytes at the well-known addresses
and reads from them what it must know: the city's key for requests, and what must be encrypted. It signs and alters
nothing. A file that speaks for another address is not served.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from mobile_api.key_proof import read_public_jwk
from verifier.errors import FormatError
from verifier.formats.encoding import JSON, parse_json
from verifier.formats.jose import thumbprint

MAX_FILE: Final = 256 << 10


@dataclass(frozen=True, slots=True)
class IssuerMetadata:
    """What the door takes from the credential issuer metadata (OpenID4VCI 1.0 section 12.2.4).

    city_key       the key to which questions and requests are encrypted; `city_kid` its RFC 7638 thumbprint
    configurations scope by credential configuration id
    """

    document: bytes
    city_key: ec.EllipticCurvePublicKey
    city_kid: str
    encrypts_requests: bool
    encrypts_responses: bool
    configurations: dict[str, str]


class IssuerFiles:
    """The files in one directory; each is read again when it has changed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[tuple[int, int, int], Any]] = {}

    def metadata(self, profile: str, issuer: str) -> IssuerMetadata | None:
        """The metadata of a profile. None: there is none, or none for this address."""
        return self._read(f"{profile}.json", lambda data: parse_metadata(data, issuer))

    def signed_metadata(self, profile: str) -> bytes | None:
        """The same as a JWT, as the city signed it."""
        return self._read(f"{profile}.jwt", lambda data: data)

    def document(self, name: str, member: str, address: str) -> bytes | None:
        """A JSON file whose `member` is this address."""
        return self._read(name, lambda data: _checked(data, member, address))

    def _read(self, name: str, parse: Any) -> Any:
        path = self._directory / name
        try:
            status = path.stat()
            mark = (status.st_mtime_ns, status.st_size, status.st_ino)
            with self._lock:
                kept = self._kept.get(name)
            if kept is not None and kept[0] == mark:
                return kept[1]
            if status.st_size > MAX_FILE:
                raise FormatError("too-large", "an issuer file is small")
            value = parse(path.read_bytes())
        except OSError:
            return None
        except FormatError as error:
            logging.getLogger("akashi.door").error("issuer-file %s %s", name, error.code)
            value = None
        with self._lock:
            self._kept[name] = (mark, value)
        return value


def parse_metadata(data: bytes, issuer: str) -> IssuerMetadata:
    """Read what the door needs. Raises: FormatError when it is not of `issuer` or has no key for requests."""
    value = _object(parse_json(data))
    if value.get("credential_issuer") != issuer:
        raise FormatError("other-issuer", "the metadata speaks for another address")
    request = _object(value.get("credential_request_encryption"))
    keys = _object(request.get("jwks")).get("keys")
    if not isinstance(keys, list) or not keys:
        raise FormatError("no-request-key", "credential_request_encryption has no key")
    key = read_public_jwk(keys[0])
    configurations = _object(value.get("credential_configurations_supported"))
    scopes = {name: str(_object(entry).get("scope", "")) for name, entry in configurations.items()}
    response = value.get("credential_response_encryption") or {}
    return IssuerMetadata(
        data,
        key,
        thumbprint(key),
        request.get("encryption_required") is True,
        _object(response).get("encryption_required") is True,
        scopes,
    )


def _checked(data: bytes, member: str, address: str) -> bytes:
    if _object(parse_json(data)).get(member) != address:
        raise FormatError("other-issuer", "the file speaks for another address")
    return data


def _object(value: JSON) -> dict[str, JSON]:
    if not isinstance(value, dict):
        raise FormatError("bad-issuer-file", "a JSON object is expected")
    return value
