"""Bytes to text and back, in exactly one way: strict base64, base64url, hex, canonical JSON.

Every decoder here accepts only what its encoder writes, so that no two encodings of one content exist.
Canonical JSON is RFC 8785 restricted to data without floats, with ASCII keys and |integers| < 2**53; under that
restriction orjson's sorted output is byte-equal to RFC 8785 (checked in tests against another implementation).
Nothing is normalised: 塚 (U+FA10) stays 塚 (U+FA10).
This module knows no format of ours, no clock, no key and no file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from typing import Any, Final

import orjson

from verifier.errors import FormatError, LimitError

JSON = Any  # str | int | bool | None | list[JSON] | dict[str, JSON]

MAX_JSON_BYTES: Final = 1 << 20
MAX_JSON_DEPTH: Final = 16
MAX_SAFE_INTEGER: Final = (1 << 53) - 1

_TO_URLSAFE: Final = bytes.maketrans(b"+/", b"-_")
# What stands for 62, 63 and padding in the other alphabet becomes something that is in neither.
_FROM_URLSAFE: Final = bytes.maketrans(b"-_+/=", b"+/!!!")
# The last character where the length leaves unused bits (which are zero): after 1 octet, after 2.
_LAST_CHARACTERS: Final = {2: b"AQgw", 3: b"AEIMQUYcgkosw048"}


def sha256(data: bytes) -> bytes:
    """SHA-256 digest, 32 bytes."""
    return hashlib.sha256(data).digest()


def base64url_encode(data: bytes) -> str:
    """base64url without padding (RFC 4648 section 5, RFC 7515 section 2)."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URLSAFE, b"=").decode("ascii")


def base64url_decode(text: str) -> bytes:
    """Inverse of `base64url_encode`; refuses padding, white space and non-zero trailing bits.

    Raises: FormatError("bad-base64url").
    """
    try:
        raw = text.encode("ascii")
        tail = len(raw) % 4
        data = binascii.a2b_base64(raw.translate(_FROM_URLSAFE) + b"=" * (-tail % 4), strict_mode=True)
    except (UnicodeEncodeError, binascii.Error, ValueError) as error:
        raise FormatError("bad-base64url", "not base64url") from error
    if tail and raw[-1] not in _LAST_CHARACTERS[tail]:
        raise FormatError("bad-base64url", "not the canonical base64url form")
    return data


def base64url_digest(text: bytes) -> str:
    """base64url of the SHA-256 digest of `text`, 43 characters: the hash that SD-JWT writes everywhere."""
    digest = hashlib.sha256(text).digest()
    return binascii.b2a_base64(digest, newline=False).translate(_TO_URLSAFE, b"=").decode("ascii")


def base64_encode(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648 section 4)."""
    return base64.b64encode(data).decode("ascii")


def base64_decode(text: str) -> bytes:
    """Inverse of `base64_encode`; refuses everything the encoder would not write.

    Raises: FormatError("bad-base64").
    """
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError) as error:
        raise FormatError("bad-base64", "not base64") from error
    if base64_encode(data) != text:
        raise FormatError("bad-base64", "not the canonical base64 form")
    return data


def hex_decode(text: str, size: int | None = None) -> bytes:
    """Lower-case hex to bytes, of `size` bytes if given.

    Raises: FormatError("bad-hex").
    """
    try:
        data = bytes.fromhex(text)
    except (ValueError, TypeError) as error:
        raise FormatError("bad-hex", "not hexadecimal") from error
    if data.hex() != text or (size is not None and len(data) != size):
        raise FormatError("bad-hex", "not lower-case hexadecimal of the expected length")
    return data


def canonical_json(value: JSON) -> bytes:
    """The one encoding of `value`: UTF-8, keys sorted, no white space (RFC 8785 on the data above).

    Raises: FormatError("not-canonical-data") on floats, large integers, non-ASCII keys or other types.
    """
    _check_plain(value, 0)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONEncodeError, TypeError) as error:
        raise FormatError("not-canonical-data", "text that is not valid Unicode") from error


def parse_json(data: bytes, *, max_bytes: int = MAX_JSON_BYTES, max_depth: int = MAX_JSON_DEPTH) -> JSON:
    """Parse JSON strictly: UTF-8, no duplicate keys, no floats or NaN, |integers| < 2**53, bounded depth.

    Lone surrogates (\\ud800) are refused: they are no Unicode text and could not be written again.

    Raises: LimitError, FormatError("bad-json").
    """
    if len(data) > max_bytes:
        raise LimitError("json-too-large", f"more than {max_bytes} bytes")
    _check_depth(data, max_depth)
    try:
        text = data.decode("utf-8")
        value = _decode(text)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError("bad-json", "not JSON") from error
    if "\\u" in text:
        _check_unicode(value)
    return value


def parse_canonical_json(
    data: bytes, *, max_bytes: int = MAX_JSON_BYTES, max_depth: int = MAX_JSON_DEPTH
) -> JSON:
    """`parse_json`, and refuse every encoding of the value but the canonical one.

    Raises: LimitError, FormatError.
    """
    value = parse_json(data, max_bytes=max_bytes, max_depth=max_depth)
    if canonical_json(value) != data:
        raise FormatError("not-canonical-json", "not the canonical encoding")
    return value


# A string (to its end, or to the end of the data: one pass, nothing is read twice) or a bracket.
_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


def _check_depth(data: bytes, limit: int) -> None:
    # Counted before parsing so that a deep document costs nothing; brackets inside strings are skipped.
    if data.count(b"[") + data.count(b"{") <= limit:
        return
    depth = 0
    for match in _BRACKETS.finditer(data):
        first = match[0][0]
        if first in b"[{":
            depth += 1
            if depth > limit:
                raise LimitError("json-too-deep", f"deeper than {limit} levels")
        elif first in b"]}":
            depth -= 1


def _check_unicode(value: JSON) -> None:
    # Only escapes can make a lone surrogate, so this walk is for the few documents that have any.
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise FormatError("bad-json", "text that is not valid Unicode") from error


def _object_without_duplicates(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise FormatError("duplicate-key", "a key appears twice in one object")
    return result


def _refuse_number(text: str) -> JSON:
    raise FormatError("float", "numbers must be integers")


def _safe_integer(text: str) -> int:
    # 17 characters hold every integer below 2**53 with its sign; longer text is never converted.
    if len(text) > 17 or abs(int(text)) > MAX_SAFE_INTEGER:
        raise FormatError("large-integer", "an integer of 2**53 or more")
    if text == "-0":
        raise FormatError("negative-zero", "-0 is not an integer of this format")
    return int(text)


# One for all: making a decoder costs more than reading a disclosure with it.
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object_without_duplicates,
    parse_float=_refuse_number,
    parse_constant=_refuse_number,
    parse_int=_safe_integer,
)


_SCAN: Final[Any] = _DECODER.scan_once  # type: ignore[attr-defined]


def _decode(text: str) -> JSON:
    try:
        value, end = _SCAN(text, 0)
    except StopIteration:
        end = -1
    # White space around the value, or something that is no JSON: the decoder's own way tells.
    return value if end == len(text) else _DECODER.decode(text)


def _check_plain(value: JSON, depth: int) -> None:
    if depth > MAX_JSON_DEPTH:
        raise LimitError("json-too-deep", f"deeper than {MAX_JSON_DEPTH} levels")
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return
    if kind is int:
        if abs(value) > MAX_SAFE_INTEGER:
            raise FormatError("not-canonical-data", "an integer of 2**53 or more")
    elif kind is list:
        for item in value:
            if type(item) is not str and type(item) is not bool:
                _check_plain(item, depth + 1)
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                raise FormatError("not-canonical-data", "keys must be ASCII text")
            if type(item) is not str:
                _check_plain(item, depth + 1)
    else:
        raise FormatError("not-canonical-data", f"{kind.__name__} has no canonical form")
