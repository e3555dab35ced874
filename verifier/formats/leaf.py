"""Leaf v1: the 32 bytes of a certificate that go into the log, and the three salted parts they bind.

    part(kind, salt, content) = SHA-256(PART_LABEL ‖ len8(kind) ‖ kind ‖ salt ‖ SHA-256(content))
    entry = SHA-256(LEAF_LABEL ‖ len16(document_kind) ‖ document_kind ‖ len16(validity) ‖ validity
                    ‖ part_data ‖ part_page ‖ part_credential)

Lengths are big-endian; a salt has 32 random bytes, so a leaf cannot be guessed back to a person. The log
hashes the entry once more (RFC 9162 section 2.1.1: SHA-256(0x00 ‖ entry)).
This module makes no salt and knows no tree.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from verifier.errors import FormatError
from verifier.formats.encoding import sha256
from verifier.formats.names import LEAF_LABEL, PART_LABEL

HASH_SIZE: Final = 32
SALT_SIZE: Final = 32
DATA: Final = b"data"
PAGE: Final = b"page"
CREDENTIAL: Final = b"credential"
PART_KINDS: Final = (DATA, PAGE, CREDENTIAL)
NO_PAGE: Final = b""
"""The page content of a copy that was made without a page."""
MAX_DOCUMENT_KIND_LENGTH: Final = 64


def part_hash(kind: bytes, salt: bytes, content: bytes) -> bytes:
    """The salted commitment (32 bytes) to one part; `kind` is one of PART_KINDS, `salt` has 32 bytes.

    Raises: FormatError("bad-part").
    """
    if kind not in PART_KINDS or len(salt) != SALT_SIZE:
        raise FormatError("bad-part", "unknown part kind or a salt that has not 32 bytes")
    return sha256(PART_LABEL + len(kind).to_bytes(1, "big") + kind + salt + sha256(content))


def leaf_entry(
    document_kind: str, validity: str, part_data: bytes, part_page: bytes, part_credential: bytes
) -> bytes:
    """The entry (32 bytes) that the log appends for a certificate.

    `validity` is "2026-11-20/2027-02-20" (see `format_validity`), the parts are `part_hash` values.
    Raises: FormatError.
    """
    check_document_kind(document_kind)
    parse_validity(validity)
    parts = (part_data, part_page, part_credential)
    if any(len(part) != HASH_SIZE for part in parts):
        raise FormatError("bad-part", "a part hash has 32 bytes")
    text = b"".join(
        len(field).to_bytes(2, "big") + field
        for field in (document_kind.encode("ascii"), validity.encode("ascii"))
    )
    return sha256(LEAF_LABEL + text + b"".join(parts))


def check_document_kind(value: str) -> str:
    """`value` itself, if it is a short name of lower-case ASCII letters, digits and underscores.

    Raises: FormatError("bad-document-kind").
    """
    plain = value.replace("_", "")
    if not (
        1 <= len(value) <= MAX_DOCUMENT_KIND_LENGTH
        and plain.isascii()
        and plain.isalnum()
        and plain == plain.lower()
    ):
        raise FormatError("bad-document-kind", "not a document kind")
    return value


def parse_date(text: str) -> dt.date:
    """An ISO 8601 calendar date in the extended form only (2026-11-20). Raises: FormatError("bad-date")."""
    try:
        value = dt.date.fromisoformat(text)
    except (ValueError, TypeError) as error:
        raise FormatError("bad-date", "not a date") from error
    if value.isoformat() != text:
        raise FormatError("bad-date", "not a date in the form 2026-11-20")
    return value


def format_validity(first: dt.date, last: dt.date) -> str:
    """The validity of a leaf: first and last day, both included. Raises: FormatError("bad-validity")."""
    if last < first:
        raise FormatError("bad-validity", "ends before it begins")
    return f"{first.isoformat()}/{last.isoformat()}"


def parse_validity(text: str) -> tuple[dt.date, dt.date]:
    """Inverse of `format_validity`. Raises: FormatError."""
    first, _, last = text.partition("/")
    days = parse_date(first), parse_date(last)
    if days[1] < days[0]:
        raise FormatError("bad-validity", "ends before it begins")
    return days
