"""The bundle: page, data, credential and evidence of one certificate in one archive with one encoding.

The archive is a ZIP (PKWARE APPNOTE) that every unzip reads, but nothing in it is free: fixed members in a
fixed order, stored, dated 1980-01-01, no extra fields, no comments. The parser writes what it read once more
and compares all bytes, so two different files never hold one bundle, and nothing hides between members.
With `key-binding.jwt` it is a submission (or presentation): bound to one request of one recipient.
The parts are opaque bytes here; the modules of their formats read them.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib
from dataclasses import dataclass
from typing import Final

from verifier.errors import FormatError, LimitError

MAX_BUNDLE_BYTES: Final = 4 << 20

_MEMBERS: Final[tuple[tuple[str, str, bool, int], ...]] = (
    # field of Bundle, name in the archive, required, largest size in bytes
    ("page", "page.pdf", False, 2 << 20),
    ("certificate", "certificate.json", False, 64 << 10),
    ("credential", "credential.sd-jwt", True, 128 << 10),
    ("evidence", "evidence.json", True, 4 << 10),
    ("inclusion", "inclusion.tlog-proof", True, 64 << 10),
    ("anchor", "anchor.note", False, 8 << 10),
    ("timestamp", "checkpoint.tsr", False, 32 << 10),
    ("status", "status.jwt", True, 1 << 20),
    ("key_binding", "key-binding.jwt", False, 16 << 10),
)
MEMBER_NAMES: Final = tuple(name for _, name, _, _ in _MEMBERS)

_LOCAL: Final = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL: Final = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END: Final = struct.Struct("<4sHHHHIIH")
_VERSION: Final = 20
_DATE: Final = (0 << 9) | (1 << 5) | 1  # 1980-01-01


@dataclass(frozen=True, slots=True)
class Bundle:
    """The members of a bundle, each as raw bytes; None = not in this bundle.

    credential   SD-JWT without key binding: `<jwt>~<disclosure>~…~`
    evidence     evidence.json: salts or hashes of the leaf's parts
    inclusion    C2SP tlog-proof with the checkpoint
    status       Token Status List token (snapshot)
    page         the sealed PDF; absent in a copy without page and when withheld
    certificate  certificate.json; absent when parts of the data are withheld
    anchor       receipt of the anchoring on the chain (signed note by the log key)
    timestamp    RFC 3161 token over the SHA-256 of the checkpoint note
    key_binding  KB-JWT: present exactly in a submission or presentation
    """

    credential: bytes
    evidence: bytes
    inclusion: bytes
    status: bytes
    page: bytes | None = None
    certificate: bytes | None = None
    anchor: bytes | None = None
    timestamp: bytes | None = None
    key_binding: bytes | None = None


def build_bundle(bundle: Bundle) -> bytes:
    """The one encoding of `bundle`. Raises: LimitError, FormatError("empty-member")."""
    members: list[tuple[bytes, bytes]] = []
    for field, name, required, limit in _MEMBERS:
        content: bytes | None = getattr(bundle, field)
        if content is None and not required:
            continue
        if not content:
            raise FormatError("empty-member", f"{name} is empty")
        if len(content) > limit:
            raise LimitError("member-too-large", f"{name} has more than {limit} bytes")
        members.append((name.encode("ascii"), content))
    return _archive(members)


def parse_bundle(data: bytes) -> Bundle:
    """Take a bundle apart; only the bytes that `build_bundle` writes are accepted.

    Raises: LimitError, FormatError.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise LimitError("bundle-too-large", f"more than {MAX_BUNDLE_BYTES} bytes")
    contents = _members(data)
    fields: dict[str, bytes] = {}
    for field, name, required, _ in _MEMBERS:
        content = contents.pop(name.encode("ascii"), None)
        if content is not None:
            fields[field] = content
        elif required:
            raise FormatError("missing-member", f"{name} is missing")
    if contents:
        raise FormatError("unknown-member", "a member that a bundle does not have")
    bundle = Bundle(**fields)
    if build_bundle(bundle) != data:
        raise FormatError("not-canonical-bundle", "not the canonical encoding")
    return bundle


def is_bundle(data: bytes) -> bool:
    """Whether the bytes begin like a bundle (and say nothing else about them)."""
    return data.startswith(b"PK\x03\x04")


def add_key_binding(data: bytes, key_binding: bytes) -> bytes:
    """The same bundle bound to a request by `key_binding` (KB-JWT). Raises: LimitError, FormatError."""
    bundle = parse_bundle(data)
    if bundle.key_binding is not None:
        raise FormatError("already-bound", "the bundle is already bound to a request")
    return build_bundle(dataclasses.replace(bundle, key_binding=key_binding))


def _archive(members: list[tuple[bytes, bytes]]) -> bytes:
    body = bytearray()
    directory = bytearray()
    for name, content in members:
        crc = zlib.crc32(content)
        size = len(content)
        directory += _CENTRAL.pack(
            b"PK\x01\x02", _VERSION, _VERSION, 0, 0, 0, _DATE, crc, size, size,
            len(name), 0, 0, 0, 0, 0, len(body),
        )  # fmt: skip
        directory += name
        body += _LOCAL.pack(b"PK\x03\x04", _VERSION, 0, 0, 0, _DATE, crc, size, size, len(name), 0)
        body += name + content
    count = len(members)
    end = _END.pack(b"PK\x05\x06", 0, 0, count, count, len(directory), len(body), 0)
    data = bytes(body + directory + end)
    if len(data) > MAX_BUNDLE_BYTES:
        raise LimitError("bundle-too-large", f"more than {MAX_BUNDLE_BYTES} bytes")
    return data


def _members(data: bytes) -> dict[bytes, bytes]:
    # Only what is needed to read the contents; every other field is checked by writing the archive again.
    found: dict[bytes, bytes] = {}
    position = 0
    while data[position : position + 4] == b"PK\x03\x04":
        if len(found) == len(_MEMBERS):
            raise LimitError("too-many-members", f"more than {len(_MEMBERS)} members")
        if position + _LOCAL.size > len(data):
            raise FormatError("bad-bundle", "cut off")
        header = _LOCAL.unpack_from(data, position)
        size, name_size, extra_size = header[8], header[9], header[10]
        begin = position + _LOCAL.size + name_size + extra_size
        name = data[position + _LOCAL.size : position + _LOCAL.size + name_size]
        position = begin + size
        if position > len(data):
            raise FormatError("bad-bundle", "cut off")
        if name in found:
            raise FormatError("duplicate-member", "a member appears twice")
        found[name] = data[begin:position]
    if not found:
        raise FormatError("bad-bundle", "not a bundle")
    return found
