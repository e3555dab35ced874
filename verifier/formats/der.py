"""DER in exactly one way: a strict reader and the few encoders that our CMS and time-stamp profiles need.

Source: ITU-T X.690 section 10 and 11. Accepted are single-octet tags, definite lengths in the shortest form,
minimal integers, UTC times; anything after the last element is refused. What is read here can be written back
byte for byte. This module knows no ASN.1 module: `cms` and `timestamp` do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from verifier.errors import FormatError, LimitError

MAX_DER_BYTES: Final = 1 << 20
MAX_INTEGER_BYTES: Final = 64
MAX_OID_BYTES: Final = 32

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OID: Final = 0x06
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31
CONTEXT_0: Final = 0xA0
CONTEXT_1: Final = 0xA1

_GENERALIZED_TIME: Final = re.compile(rb"(\d{14})(?:\.(\d{0,5}[1-9]))?Z")


@dataclass(frozen=True, slots=True)
class Element:
    """One tag-length-value.

    tag      the identifier octet (class, constructed bit and number together)
    content  the value octets
    encoded  the whole element
    """

    tag: int
    content: bytes
    encoded: bytes


class DerReader:
    """Takes elements from the front of `data`, one at a time. `end` must be called when no more may
    follow."""

    def __init__(self, data: bytes) -> None:
        if len(data) > MAX_DER_BYTES:
            raise LimitError("der-too-large", f"more than {MAX_DER_BYTES} bytes")
        self._data = data
        self._position = 0

    def take(self, tag: int) -> Element:
        """The next element, which must have `tag`. Raises: FormatError."""
        if self.peek_tag() != tag:
            raise FormatError("bad-der", f"expected tag {tag:#04x}")
        return self._take()

    def take_optional(self, tag: int) -> Element | None:
        """The next element if it has `tag`, else None. Raises: FormatError."""
        return self._take() if self.peek_tag() == tag else None

    def take_any(self) -> Element:
        """The next element, whatever its tag. Raises: FormatError at the end."""
        if self.peek_tag() is None:
            raise FormatError("bad-der", "an element is missing")
        return self._take()

    def enter(self, tag: int) -> DerReader:
        """A reader over the content of the next element, which must have `tag`. Raises: FormatError."""
        return DerReader(self.take(tag).content)

    def peek_tag(self) -> int | None:
        """The identifier octet of the next element; None at the end."""
        return self._data[self._position] if self._position < len(self._data) else None

    def end(self) -> None:
        """Raises FormatError if anything is left."""
        if self._position != len(self._data):
            raise FormatError("bad-der", "octets after the last element")

    def _take(self) -> Element:
        data, start = self._data, self._position
        tag = data[start]
        if tag & 0x1F == 0x1F or tag == 0:
            raise FormatError("bad-der", "a tag that no format of ours uses")
        length, body = _length(data, start + 1)
        stop = body + length
        if stop > len(data):
            raise FormatError("bad-der", "the element is cut off")
        self._position = stop
        return Element(tag, data[body:stop], data[start:stop])


def _length(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise FormatError("bad-der", "the length is missing")
    first = data[at]
    if first < 0x80:
        return first, at + 1
    count = first & 0x7F
    octets = data[at + 1 : at + 1 + count]
    # 0x80 is the indefinite form; a leading zero or a value below 128 would be a second form of a shorter
    # one.
    if not 1 <= count <= 3 or len(octets) != count or octets[0] == 0:
        raise FormatError("bad-der", "a length that is not in the shortest definite form")
    length = int.from_bytes(octets, "big")
    if length < 0x80:
        raise FormatError("bad-der", "a length that is not in the shortest definite form")
    return length, at + 1 + count


def read_single(data: bytes, tag: int) -> DerReader:
    """A reader over the content of the only element of `data`. Raises: FormatError."""
    outer = DerReader(data)
    inner = outer.enter(tag)
    outer.end()
    return inner


def parse_integer(element: Element) -> int:
    """A minimal two's complement integer of at most 64 octets. Raises: FormatError, LimitError."""
    content = element.content
    if element.tag != INTEGER or not content:
        raise FormatError("bad-der", "not an INTEGER")
    if len(content) > MAX_INTEGER_BYTES:
        raise LimitError("der-integer-too-large", f"more than {MAX_INTEGER_BYTES} octets")
    if len(content) > 1 and content[0] in (0, 0xFF) and (content[0] ^ content[1]) < 0x80:
        raise FormatError("bad-der", "an INTEGER that is not minimal")
    return int.from_bytes(content, "big", signed=True)


def parse_oid(element: Element) -> str:
    """An object identifier in dotted form. Raises: FormatError, LimitError."""
    content = element.content
    if element.tag != OID or not content or content[-1] & 0x80:
        raise FormatError("bad-der", "not an OBJECT IDENTIFIER")
    if len(content) > MAX_OID_BYTES:
        raise LimitError("der-oid-too-large", f"more than {MAX_OID_BYTES} octets")
    arcs: list[int] = []
    value = 0
    start = True
    for octet in content:
        if start and octet == 0x80:
            raise FormatError("bad-der", "an arc that is not minimal")
        value = value << 7 | octet & 0x7F
        start = not octet & 0x80
        if start:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in (first, arcs[0] - 40 * first, *arcs[1:]))


def parse_generalized_time(element: Element) -> datetime:
    """A GeneralizedTime in Z with up to six digits of fraction, none of them a trailing zero (RFC 3161
    section 2.4.2).

    Raises: FormatError.
    """
    match = _GENERALIZED_TIME.fullmatch(element.content) if element.tag == GENERALIZED_TIME else None
    if match is None:
        raise FormatError("bad-der", "not a GeneralizedTime in the form of DER")
    try:
        moment = datetime.strptime(match[1].decode("ascii"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise FormatError("bad-der", "not a date") from error
    return moment.replace(microsecond=int((match[2] or b"").ljust(6, b"0")))


def parse_set_of(element: Element) -> list[Element]:
    """The members of a SET OF, which must be in ascending order of their encodings (X.690 section 11.6).

    Raises: FormatError.
    """
    reader = DerReader(element.content)
    members: list[Element] = []
    while reader.peek_tag() is not None:
        members.append(reader.take_any())
    encodings = [member.encoded for member in members]
    if encodings != sorted(set(encodings)):
        raise FormatError("bad-der", "a SET OF that is not in ascending order")
    return members


def encode(tag: int, *parts: bytes) -> bytes:
    """One element with the concatenation of `parts` as its content."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def encode_integer(value: int) -> bytes:
    """A minimal INTEGER."""
    return encode(INTEGER, value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, "big", signed=True))


def encode_oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER from its dotted form."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    content = bytearray()
    for arc in (40 * first + second, *rest):
        octets = [arc & 0x7F]
        while arc := arc >> 7:
            octets.append(arc & 0x7F | 0x80)
        content += bytes(reversed(octets))
    return encode(OID, bytes(content))


def encode_set_of(members: Iterable[bytes], *, tag: int = SET) -> bytes:
    """A SET OF (or an implicitly tagged one) with its members in the order of DER."""
    return encode(tag, *sorted(members))


def encode_generalized_time(moment: datetime) -> bytes:
    """A GeneralizedTime of an aware `moment`, in UTC, with a fraction only where there is one."""
    utc = moment.astimezone(UTC)
    fraction = f".{utc.microsecond:06d}".rstrip("0") if utc.microsecond else ""
    return encode(GENERALIZED_TIME, f"{utc:%Y%m%d%H%M%S}{fraction}Z".encode("ascii"))
