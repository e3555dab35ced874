"""The one way in which a sealed page is written as a PDF file, and its strict reader.

Source: ISO 32000-1 section 7, restricted so far that a file has one encoding: header, objects 1…N in order,
each value on one line with single spaces between tokens, text as lower-case hexadecimal strings, one classic
cross-reference table, a trailer. No object streams, no encryption, no free entries in use, no comments but
the header's. The reader writes what it read and compares, so that no two readers can see two documents in one
file.

    %PDF-1.7␊%âãÏÓ␊
    1 0 obj␊<< /Type /Catalog /Pages 2 0 R >>␊endobj␊
    7 0 obj␊<< /Length 5 >>␊stream␊12345␊endstream␊endobj␊
    xref␊0 8␊0000000000 65535 f␍␊0000000015 00000 n␍␊…trailer␊<< /Size 8 … >>␊startxref␊4711␊%%EOF␊

An increment has the same shape without the header: its own objects, a table for them, a trailer with /Prev.
This module knows no signature and no page: `pdf_seal` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Final, TypeAlias

from verifier.errors import FormatError, LimitError

MAX_PDF_BYTES: Final = 8 << 20
MAX_PDF_OBJECTS: Final = 5_000
MAX_PDF_DEPTH: Final = 32
MAX_PDF_TOKENS: Final = 500_000

HEADER: Final = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
END: Final = b"%%EOF\n"

_NUMBER: Final = re.compile(rb"0|-?[1-9]\d{0,9}")
_REAL: Final = re.compile(rb"-?(?:0|[1-9]\d{0,9})\.\d{0,11}[1-9]")
_NAME: Final = re.compile(rb"/(?:[!$&*+,\-.0-9:;=?@A-Z\\^_`a-z|~'\"]|#[0-9A-F]{2})*")
_STRING: Final = re.compile(rb"<(?:[0-9a-f]{2})*>")
_PLAIN: Final = frozenset(b"!$&*+,-.:;=?@\\^_`|~'\"") | frozenset(range(0x30, 0x3A))
_REGULAR: Final = _PLAIN | frozenset(range(0x41, 0x5B)) | frozenset(range(0x61, 0x7B))


class Name(str):
    """A name without its slash; each character stands for one byte."""

    __slots__ = ()


class Real(str):
    """A number with a fraction, kept as it is written."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Ref:
    """An indirect reference; the generation is always 0."""

    number: int


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream: its dictionary without /Length, and its bytes as stored (filters not undone)."""

    dictionary: Mapping[str, Value]
    data: bytes


Value: TypeAlias = "bool | int | Real | Name | bytes | Ref | list[Value] | dict[str, Value] | None"
Object: TypeAlias = "Value | Stream"


@dataclass(frozen=True, slots=True)
class Section:
    """One revision: the first, or an increment.

    objects  by number
    trailer  the trailer dictionary
    start    offset of the first byte in the file; table: of its cross-reference table; end: after %%EOF and
    its newline
    """

    objects: Mapping[int, Object]
    trailer: Mapping[str, Value]
    start: int
    table: int
    end: int


def parse_section(data: bytes, start: int = 0) -> Section:
    """The revision of `data` that begins at `start`; at 0 the first one, elsewhere an increment.

    Raises: FormatError, LimitError.
    """
    if len(data) > MAX_PDF_BYTES:
        raise LimitError("pdf-too-large", f"more than {MAX_PDF_BYTES} bytes")
    lines = _Lines(data, start)
    if start == 0:
        lines.expect(HEADER)
    objects: dict[int, Object] = {}
    while not lines.starts_with(b"xref\n"):
        number, value = _parse_object(lines)
        if number in objects:
            raise FormatError("bad-pdf", "an object is defined twice")
        objects[number] = value
        if len(objects) > MAX_PDF_OBJECTS:
            raise LimitError("pdf-too-many-objects", f"more than {MAX_PDF_OBJECTS}")
    table = lines.position
    end = data.find(b"\n" + END, table)
    at = data.find(b"trailer\n", table, end if end >= 0 else table)
    if end < 0 or at < 0:
        raise FormatError("bad-pdf", "the end of a revision is missing")
    lines.position = at + len(b"trailer\n")
    trailer = _parse_value(lines)
    if not isinstance(trailer, dict):
        raise FormatError("bad-pdf", "the trailer is not a dictionary")
    section = Section(objects, trailer, start, table, end + 1 + len(END))
    if format_section(objects, trailer, start=start) != data[start : section.end]:
        raise FormatError("bad-pdf", "not the one encoding of this document")
    return section


def format_section(objects: Mapping[int, Object], trailer: Mapping[str, Value], *, start: int = 0) -> bytes:
    """The bytes of one revision that begins at offset `start` of the file (0: with the header).

    Raises: FormatError for a value that has no form here.
    """
    parts = [HEADER] if start == 0 else []
    position = start + len(HEADER) * (start == 0)
    offsets: dict[int, int] = {}
    for number in sorted(objects):
        encoded = format_object(number, objects[number])
        offsets[number] = position
        position += len(encoded)
        parts.append(encoded)
    parts.append(_format_table(offsets, first=start == 0))
    parts.append(b"trailer\n%b\nstartxref\n%d\n%b" % (format_value(trailer), position, END))
    return b"".join(parts)


def format_object(number: int, value: Object) -> bytes:
    """One indirect object with its keywords."""
    if isinstance(value, Stream):
        head = format_value({**value.dictionary, "Length": len(value.data)})
        return b"%d 0 obj\n%b\nstream\n%b\nendstream\nendobj\n" % (number, head, value.data)
    return b"%d 0 obj\n%b\nendobj\n" % (number, format_value(value))


def format_value(value: Value | Mapping[str, Value]) -> bytes:
    """A value on one line. Raises: FormatError("bad-pdf-value")."""
    tokens: list[bytes] = []
    _write(value, tokens, 0)
    return b" ".join(tokens)


def _write(value: Value | Mapping[str, Value], tokens: list[bytes], depth: int) -> None:
    if depth > MAX_PDF_DEPTH:
        raise LimitError("pdf-too-deep", f"deeper than {MAX_PDF_DEPTH}")
    if isinstance(value, Name):
        tokens.append(_format_name(value))
    elif isinstance(value, Ref):
        tokens += (b"%d" % value.number, b"0", b"R")
    elif isinstance(value, bool):
        tokens.append(b"true" if value else b"false")
    elif isinstance(value, int):
        tokens.append(b"%d" % value)
    elif isinstance(value, Real):
        tokens.append(value.encode("ascii"))
    elif isinstance(value, bytes):
        tokens.append(b"<%b>" % value.hex().encode("ascii"))
    elif value is None:
        tokens.append(b"null")
    elif isinstance(value, list):
        tokens.append(b"[")
        for item in value:
            _write(item, tokens, depth + 1)
        tokens.append(b"]")
    elif isinstance(value, Mapping):
        tokens.append(b"<<")
        for key, item in value.items():
            tokens.append(_format_name(key))
            _write(item, tokens, depth + 1)
        tokens.append(b">>")
    else:
        raise FormatError("bad-pdf-value", f"{type(value).__name__} has no form in a PDF")


@lru_cache(maxsize=1024)
def _format_name(name: str) -> bytes:
    try:
        raw = name.encode("latin-1")
    except UnicodeEncodeError as error:
        raise FormatError("bad-pdf-value", "a name is made of bytes") from error
    return b"/" + b"".join(bytes((c,)) if c in _REGULAR else b"#%02X" % c for c in raw)


def _format_table(offsets: Mapping[int, int], *, first: bool) -> bytes:
    parts = [b"xref\n"]
    if first:
        parts.append(b"0 %d\n0000000000 65535 f\r\n" % (len(offsets) + 1))
        parts += [b"%010d 00000 n\r\n" % offsets[number] for number in sorted(offsets)]
        return b"".join(parts)
    # Runs of consecutive numbers: their distance from their rank is constant.
    for _, run in groupby(enumerate(sorted(offsets)), key=lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        parts.append(b"%d %d\n" % (numbers[0], len(numbers)))
        parts += [b"%010d 00000 n\r\n" % offsets[number] for number in numbers]
    return b"".join(parts)


class _Lines:
    """A position in the file that moves forward over expected bytes and lines."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position

    def starts_with(self, expected: bytes) -> bool:
        return self.data.startswith(expected, self.position)

    def expect(self, expected: bytes) -> None:
        if not self.starts_with(expected):
            raise FormatError("bad-pdf", f"expected {expected[:12]!r}")
        self.position += len(expected)

    def line(self) -> bytes:
        stop = self.data.find(b"\n", self.position)
        if stop < 0:
            raise FormatError("bad-pdf", "a line is cut off")
        line = self.data[self.position : stop]
        self.position = stop + 1
        return line

    def take(self, size: int) -> bytes:
        taken = self.data[self.position : self.position + size]
        if len(taken) != size:
            raise FormatError("bad-pdf", "a stream is cut off")
        self.position += size
        return taken


def _parse_object(lines: _Lines) -> tuple[int, Object]:
    match = re.fullmatch(rb"([1-9]\d{0,5}) 0 obj", lines.line())
    if match is None:
        raise FormatError("bad-pdf", "expected an object")
    number = int(match[1])
    value = _parse_value(lines)
    if not lines.starts_with(b"stream\n"):
        lines.expect(b"endobj\n")
        return number, value
    lines.expect(b"stream\n")
    if not isinstance(value, dict) or type(value.get("Length")) is not int:
        raise FormatError("bad-pdf", "a stream without a direct length")
    # The length is the last entry: one place for it, so that writing gives the same bytes back.
    key, length = value.popitem()
    if key != "Length" or not isinstance(length, int) or not 0 <= length <= MAX_PDF_BYTES:
        raise FormatError("bad-pdf", "a stream without a usable length")
    stream = Stream(value, lines.take(length))
    lines.expect(b"\nendstream\nendobj\n")
    return number, stream


def _parse_value(lines: _Lines) -> Value:
    tokens = lines.line().split(b" ")
    if len(tokens) > MAX_PDF_TOKENS:
        raise LimitError("pdf-too-large", "too many tokens in one object")
    value, rest = _value(tokens, 0, 0)
    if rest != len(tokens):
        raise FormatError("bad-pdf", "more than one value in an object")
    return value


def _value(tokens: list[bytes], at: int, depth: int) -> tuple[Value, int]:
    if at >= len(tokens):
        raise FormatError("bad-pdf", "a value is cut off")
    if depth > MAX_PDF_DEPTH:
        raise LimitError("pdf-too-deep", f"deeper than {MAX_PDF_DEPTH}")
    token = tokens[at]
    if _NUMBER.fullmatch(token):
        if tokens[at + 1 : at + 3] == [b"0", b"R"]:
            return _reference(token), at + 3
        return int(token), at + 1
    if token[:1] == b"/":
        return _name(token), at + 1
    if token == b"[":
        return _array(tokens, at + 1, depth + 1)
    if token == b"<<":
        return _dictionary(tokens, at + 1, depth + 1)
    if _STRING.fullmatch(token):
        return bytes.fromhex(token[1:-1].decode("ascii")), at + 1
    if _REAL.fullmatch(token):
        return Real(token.decode("ascii")), at + 1
    if token in _CONSTANTS:
        return _CONSTANTS[token], at + 1
    raise FormatError("bad-pdf", f"unknown token {token[:12]!r}")


_CONSTANTS: Final[dict[bytes, bool | None]] = {b"true": True, b"false": False, b"null": None}


def _reference(token: bytes) -> Ref:
    number = int(token)
    if number < 1:
        raise FormatError("bad-pdf", "a reference to no object")
    return Ref(number)


def _name(token: bytes) -> Name:
    if not _NAME.fullmatch(token):
        raise FormatError("bad-pdf", "a name that is not in its one form")
    raw = re.sub(rb"#([0-9A-F]{2})", lambda match: bytes((int(match[1], 16),)), token[1:])
    return Name(raw.decode("latin-1"))


def _array(tokens: list[bytes], at: int, depth: int) -> tuple[list[Value], int]:
    items: list[Value] = []
    while at < len(tokens) and tokens[at] != b"]":
        item, at = _value(tokens, at, depth)
        items.append(item)
    if at >= len(tokens):
        raise FormatError("bad-pdf", "an array is cut off")
    return items, at + 1


def _dictionary(tokens: list[bytes], at: int, depth: int) -> tuple[dict[str, Value], int]:
    items: dict[str, Value] = {}
    while at < len(tokens) and tokens[at] != b">>":
        key, at = _value(tokens, at, depth)
        if not isinstance(key, Name) or key in items:
            raise FormatError("bad-pdf", "a dictionary key that is no name, or appears twice")
        items[key], at = _value(tokens, at, depth)
    if at >= len(tokens):
        raise FormatError("bad-pdf", "a dictionary is cut off")
    return items, at + 1
