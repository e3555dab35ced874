"""The status list: one bit (or two, four, eight) for each credential, in one signed token.

Source: draft-ietf-oauth-status-list (Token Status List), JWT form. Our lists have one bit: 0 valid, 1
invalid; the reason goes to the resident alone. The inflated size is limited while inflating. This module
knows no clock and asks nobody: age and trust are questions of `verifier.checks.status`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import JSON, base64url_decode, base64url_encode, canonical_json
from verifier.formats.jose import Jws, SignDigest, build_jws, parse_jws
from verifier.formats.names import STATUS_LIST_TYP

VALID: Final = 0
INVALID: Final = 1
MAX_TOKEN_BYTES: Final = 1 << 20
MAX_LIST_BYTES: Final = 2 << 20
"""Inflated; 2 MiB hold 2**24 entries of one bit."""
MAX_TTL: Final = 365 * 86400

_BITS: Final = (1, 2, 4, 8)
_COMPRESSION_LEVEL: Final = 6
_MEMBERS: Final = frozenset({"sub", "iat", "exp", "ttl", "status_list", "iss"})


@dataclass(frozen=True, slots=True)
class StatusList:
    """A status list token taken apart, unverified.

    uri (`sub`), issued (`iat`) and expires (`exp`, may be None) in Unix seconds, ttl in seconds or None,
    bits per entry, and the inflated list.
    """

    jws: Jws
    uri: str
    issued: int
    expires: int | None
    ttl: int | None
    bits: int
    raw: bytes

    def status(self, index: int) -> int:
        """The status of entry `index` (least significant bits first).

        Raises: FormatError("index-out-of-range").
        """
        per_byte = 8 // self.bits
        if not 0 <= index < len(self.raw) * per_byte:
            raise FormatError("index-out-of-range", "the list has no such entry")
        return (self.raw[index // per_byte] >> (index % per_byte * self.bits)) & ((1 << self.bits) - 1)


def parse_status_list(data: bytes) -> StatusList:
    """Take a status list token apart. Raises: LimitError, FormatError."""
    jws = parse_jws(data.strip(b"\r\n"), typ=STATUS_LIST_TYP, max_bytes=MAX_TOKEN_BYTES)
    payload = jws.payload_object()
    if not {"sub", "iat", "status_list"} <= set(payload) <= _MEMBERS:
        raise FormatError("bad-status-list", "wrong members")
    uri, entries = payload["sub"], payload["status_list"]
    if not isinstance(uri, str) or not uri:
        raise FormatError("bad-status-list", "sub is the address of the list")
    if not isinstance(entries, dict) or set(entries) != {"bits", "lst"}:
        raise FormatError("bad-status-list", "status_list holds bits and lst")
    bits, text = entries["bits"], entries["lst"]
    if bits not in _BITS or isinstance(bits, bool) or not isinstance(text, str):
        raise FormatError("bad-status-list", "bits is 1, 2, 4 or 8; lst is text")
    issued = _number(payload, "iat")
    if issued is None:
        raise FormatError("bad-status-list", "iat is missing")
    expires, ttl = _number(payload, "exp"), _number(payload, "ttl")
    return StatusList(jws, uri, issued, expires, ttl, bits, inflate(base64url_decode(text)))


def build_status_list(
    *,
    uri: str,
    issued: int,
    expires: int,
    ttl: int,
    raw: bytes,
    header: Mapping[str, JSON],
    sign: SignDigest,
) -> bytes:
    """A token over a list of one bit for each entry; `header` carries kid and x5c.

    Raises: LimitError, FormatError.
    """
    if len(raw) > MAX_LIST_BYTES:
        raise LimitError("status-list-too-large", f"more than {MAX_LIST_BYTES} bytes")
    payload = {
        "sub": uri,
        "iat": issued,
        "exp": expires,
        "ttl": ttl,
        "status_list": {"bits": 1, "lst": base64url_encode(zlib.compress(raw, _COMPRESSION_LEVEL))},
    }
    return build_jws({**header, "typ": STATUS_LIST_TYP}, canonical_json(payload), sign)


def inflate(data: bytes) -> bytes:
    """Inflate a ZLIB stream (RFC 1950) of at most MAX_LIST_BYTES, with nothing after it.

    Raises: LimitError("status-list-too-large"), FormatError("bad-zlib").
    """
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(data, MAX_LIST_BYTES + 1)
    except zlib.error as error:
        raise FormatError("bad-zlib", "not a ZLIB stream") from error
    if len(raw) > MAX_LIST_BYTES:
        raise LimitError("status-list-too-large", f"more than {MAX_LIST_BYTES} bytes")
    if not stream.eof or stream.unused_data:
        raise FormatError("bad-zlib", "a ZLIB stream that ends too early or too late")
    return raw


def _number(payload: Mapping[str, JSON], name: str) -> int | None:
    value = payload.get(name)
    if name not in payload:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 40:
        raise FormatError("bad-status-list", f"{name} is not a number of seconds")
    return value
