"""Searching bytes for planted words as they may have leaked: in six encodings, and inside what is encoded or compressed.

    needles = Needles({"name": "鸚鵡沢　椋鳥子"})
    for leak in search(data, needles): …            # Leak(needle, how)

A word is looked for as UTF-8, UTF-16 LE and BE, Shift_JIS, EUC-JP, and each of these as hex (both cases), base64 and
base64url (at each of the three alignments), percent-encoded and with JSON's \\u escapes. Regions that are hex, base64,
zlib, gzip, raw deflate in a ZIP member are unpacked and searched again, three layers deep.
"""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_from_bytes

ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "shift_jis", "euc_jp")
MAX_DEPTH = 3
MAX_UNPACKED = 4 << 20
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{40,}={0,2}")
_HEX = re.compile(rb"(?:[0-9a-f]{2}){24,}|(?:[0-9A-F]{2}){24,}")
_ZLIB_HEADS = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
_GZIP_HEAD = re.compile(rb"\x1f\x8b\x08")
_ZIP_HEAD = re.compile(rb"PK\x03\x04")


@dataclass(frozen=True)
class Leak:
    """Which word was found, and in which form."""

    needle: str
    how: str


@dataclass(frozen=True)
class Needles:
    """Words by name. Each should be long enough that chance does not write it: at least 6 bytes."""

    words: Mapping[str, str | bytes]
    forms: dict[bytes, Leak] = field(default_factory=dict)
    pattern: re.Pattern[bytes] = field(init=False)

    def __post_init__(self) -> None:
        for name, word in self.words.items():
            for form, how in _forms(word):
                if len(form) < 6:
                    raise ValueError(f"{name}: too short to be told from chance as {how}")
                self.forms.setdefault(form, Leak(name, how))
        # The longest first, so that a longer form is not hidden behind a shorter one.
        alternatives = sorted(self.forms, key=len, reverse=True)
        object.__setattr__(self, "pattern", re.compile(b"|".join(map(re.escape, alternatives))))


def _forms(word: str | bytes) -> Iterator[tuple[bytes, str]]:
    if isinstance(word, bytes):
        yield from _encoded(word, "bytes")
        return
    seen: set[bytes] = set()
    for encoding in ENCODINGS:
        try:
            data = word.encode(encoding)
        except UnicodeEncodeError:
            continue
        if data not in seen:
            seen.add(data)
            yield from _encoded(data, encoding)
    quoted = quote_from_bytes(word.encode(), safe="").encode()
    yield quoted, "percent-encoded"
    yield quoted.lower(), "percent-encoded, lower case"
    escaped = json.dumps(word)[1:-1].encode()
    yield escaped, "JSON escapes"
    yield escaped.replace(b"\\", b"\\\\"), "JSON escapes, twice"


def _encoded(data: bytes, name: str) -> Iterator[tuple[bytes, str]]:
    yield data, name
    yield data.hex().encode(), f"{name} in hex"
    yield data.hex().upper().encode(), f"{name} in HEX"
    for offset in range(3):
        for form in _base64_inside(data, offset):
            yield form, f"{name} in base64 at {offset}"


def _base64_inside(data: bytes, offset: int) -> set[bytes]:
    """What base64 of anything that contains `data` at this alignment must contain."""
    first, left = (3 - offset) % 3, (offset + len(data)) % 3
    inside = data[first : len(data) - left] if left else data[first:]
    return {base64.b64encode(inside), base64.urlsafe_b64encode(inside)} if len(inside) >= 6 else set()


def search(data: bytes, needles: Needles, *, depth: int = 0) -> list[Leak]:
    """Every form of every word in `data`, also inside encoded or compressed regions."""
    where = f" (layer {depth})" if depth else ""
    found = [
        Leak(needles.forms[match].needle, needles.forms[match].how + where)
        for match in sorted(set(needles.pattern.findall(data)))
    ]
    if depth < MAX_DEPTH:
        for inner in _unpacked(data):
            found += search(inner, needles, depth=depth + 1)
    return found


def _unpacked(data: bytes) -> Iterator[bytes]:
    for head in _ZLIB_HEADS.finditer(data):
        yield from _inflated(data[head.start() :], zlib.MAX_WBITS)
    for head in _GZIP_HEAD.finditer(data):
        yield from _inflated(data[head.start() :], 16 + zlib.MAX_WBITS)
    for head in _ZIP_HEAD.finditer(data):
        start = head.start()
        method = int.from_bytes(data[start + 8 : start + 10], "little")
        names = int.from_bytes(data[start + 26 : start + 28], "little")
        extra = int.from_bytes(data[start + 28 : start + 30], "little")
        if method == 8:
            yield from _inflated(data[start + 30 + names + extra :], -zlib.MAX_WBITS)
    for run in _HEX.findall(data):
        yield bytes.fromhex(run[: len(run) // 2 * 2].decode())
    for run in _BASE64.findall(data):
        plain = run.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        # Only what could be packed again is worth unpacking: the words themselves are found in place.
        for shift in range(4):
            part = plain[shift:]
            decoded = base64.b64decode(part[: len(part) // 4 * 4])
            packed = any(head.search(decoded) for head in (_ZLIB_HEADS, _GZIP_HEAD, _ZIP_HEAD))
            text = shift == 0 and (_BASE64.search(decoded) or _HEX.search(decoded))
            if packed or text:
                yield decoded


def _inflated(data: bytes, window: int) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(window)
    try:
        # A region may be cut off or damaged further on: what came out before counts.
        out = bytearray()
        for start in range(0, len(data), 4096):
            out += unpacker.decompress(data[start : start + 4096], MAX_UNPACKED - len(out))
            if unpacker.eof or len(out) >= MAX_UNPACKED:
                break
    except zlib.error:
        pass
    if len(out) >= 6:
        yield bytes(out)


def search_file(path: Path, needles: Needles) -> list[Leak]:
    """One file, whatever it is: the bytes of a database include its free pages and its WAL lies beside it."""
    return search(path.read_bytes(), needles)


def search_tree(root: Path, needles: Needles) -> dict[str, list[Leak]]:
    """Every file below `root`, and the names of the files; only those with a leak."""
    found: dict[str, list[Leak]] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        leaks = search(name.encode(), needles)
        if path.is_file():
            leaks += search_file(path, needles)
        if leaks:
            found[name] = leaks
    return found


def search_sqlite(path: Path, needles: Needles) -> dict[str, list[Leak]]:
    """Every value of every table of a SQLite store as SQL gives it, and the raw files with WAL and journal."""
    found: dict[str, list[Leak]] = {}
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)
    try:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                for column, value in zip(columns, row, strict=True):
                    data = value if isinstance(value, bytes) else str(value).encode()
                    if leaks := search(data, needles):
                        found.setdefault(f"{table}.{column}", []).extend(leaks)
    finally:
        connection.close()
    for beside in (path, *(path.with_name(path.name + end) for end in ("-wal", "-journal"))):
        if beside.exists() and (leaks := search_file(beside, needles)):
            found[beside.name] = leaks
    return found


def columns_of(path: Path) -> set[tuple[str, str]]:
    """(table, column) of a SQLite store."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)
    try:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            (table, row[1]) for table in tables for row in connection.execute(f'PRAGMA table_info("{table}")')
        }
    finally:
        connection.close()
