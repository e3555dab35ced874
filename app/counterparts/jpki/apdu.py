"""Command APDUs and status words of ISO/IEC 7816-4, both length forms. Knows no card and no application.

Eight cases, four short and four extended (ISO/IEC 7816-3 section 12.1): with and without data, with and
without an expected length. Secure messaging, logical channels and command chaining do not exist here: their
classes are not in `card.CLASSES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_COMMAND: Final = 4 + 3 + 0xFFFF + 2
"""Bytes of the longest command APDU."""

OK: Final = 0x9000
TRIES: Final = 0x63C0
"""Wrong password, or the answer to an empty VERIFY: the low four bits count the tries left."""
NOT_STORED: Final = 0x6581
WRONG_LENGTH: Final = 0x6700
SECURITY_STATUS: Final = 0x6982
BLOCKED: Final = 0x6983
NOT_ALLOWED: Final = 0x6986
WRONG_DATA: Final = 0x6A80
NOT_FOUND: Final = 0x6A82
WRONG_PARAMETERS: Final = 0x6A86
WRONG_OFFSET: Final = 0x6B00
EXPECTED_256: Final = 0x6C00
UNKNOWN_INSTRUCTION: Final = 0x6D00
UNKNOWN_CLASS: Final = 0x6E00
BROKEN: Final = 0x6F00


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `expected`: bytes that may come back, 0 (none wanted) to 65536."""

    cla: int
    instruction: int
    p1: int
    p2: int
    data: bytes
    expected: int

    @property
    def parameters(self) -> int:
        """P1 ‖ P2."""
        return self.p1 << 8 | self.p2


def parse_command(raw: bytes) -> Command | None:
    """The command in `raw`, or None if its lengths do not fit together."""
    if not 4 <= len(raw) <= MAX_COMMAND:
        return None
    body = _body(raw[4:])
    return None if body is None else Command(raw[0], raw[1], raw[2], raw[3], *body)


def build_command(cla: int, instruction: int, parameters: int, data: bytes = b"", expected: int = 0) -> bytes:
    """The shortest form of a command. Raises: ValueError for what no command can carry."""
    if len(data) > 0xFFFF or not 0 <= expected <= 0x10000:
        raise ValueError("no command carries so much")
    head = bytes([cla, instruction]) + parameters.to_bytes(2, "big")
    if len(data) <= 0xFF and expected <= 0x100:
        length = bytes([len(data)]) if data else b""
        return head + length + data + (bytes([expected & 0xFF]) if expected else b"")
    length = b"\x00" + len(data).to_bytes(2, "big") if data else b""
    end = (expected & 0xFFFF).to_bytes(2, "big") if expected else b""
    return head + length + data + (end if data or not end else b"\x00" + end)


def status(word: int) -> bytes:
    """SW1 SW2."""
    return word.to_bytes(2, "big")


def _body(rest: bytes) -> tuple[bytes, int] | None:
    if not rest:
        return b"", 0
    if len(rest) == 1:
        return b"", rest[0] or 0x100
    if rest[0]:
        return _data_and_expected(rest, begin=1, size=rest[0], end=1)
    if len(rest) == 3:
        return b"", int.from_bytes(rest[1:], "big") or 0x10000
    size = int.from_bytes(rest[1:3], "big")
    return _data_and_expected(rest, begin=3, size=size, end=2) if size and len(rest) > 3 else None


def _data_and_expected(rest: bytes, *, begin: int, size: int, end: int) -> tuple[bytes, int] | None:
    data, tail = rest[begin : begin + size], rest[begin + size :]
    if len(data) != size or len(tail) not in (0, end):
        return None
    return data, (int.from_bytes(tail, "big") or 1 << 8 * end) if tail else 0
