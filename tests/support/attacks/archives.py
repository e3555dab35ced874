"""Attacks on the archive: every other way of writing the same members, and members that do not belong."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping

from tests.support.attacks.case import Attempt, attack, control
from tests.support.mini_city import city
from verifier.formats.bundle import MAX_BUNDLE_BYTES

LOCAL = struct.Struct("<4sHHHHHIIIHH")
CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
END = struct.Struct("<4sHHHHIIH")


@control
def bundle_written_by_another_hand() -> Attempt:
    """The way of writing archives here gives the canonical bytes when nothing is changed."""
    data = archive(members().items())
    assert data == city().bundle
    return Attempt(data)


def members() -> dict[str, bytes]:
    """The members of the genuine bundle, in order."""
    with zipfile.ZipFile(io.BytesIO(city().bundle)) as file:
        return {name: file.read(name) for name in file.namelist()}


def archive(
    items: Iterable[tuple[str, bytes]], *, method: int = 0, date: int = 33, extra: bytes = b""
) -> bytes:
    """A ZIP as a bundle is written, with what is to be different."""
    body, directory, count = b"", b"", 0
    for name, content in items:
        raw = name.encode()
        stored = _deflated(content) if method else content
        sizes = (zlib.crc32(content), len(stored), len(content))
        directory += CENTRAL.pack(
            b"PK\x01\x02", 20, 20, 0, method, 0, date, *sizes, len(raw), 0, 0, 0, 0, 0, len(body)
        )
        directory += raw
        body += (
            LOCAL.pack(b"PK\x03\x04", 20, 0, method, 0, date, *sizes, len(raw), len(extra))
            + raw
            + extra
            + stored
        )
        count += 1
    return body + directory + END.pack(b"PK\x05\x06", 0, 0, count, count, len(directory), len(body), 0)


def archive_with(changes: Mapping[str, bytes]) -> bytes:
    """The genuine bundle with other members, without any limit."""
    return archive({**members(), **changes}.items())


@attack
def archive_with_an_extra_member() -> Attempt:
    return Attempt(archive([*members().items(), ("readme.txt", b"hello")]))


@attack
def archive_with_a_path_out_of_it() -> Attempt:
    return Attempt(archive([*members().items(), ("../../trust/992011.root.json", city().trust_list)]))


@attack
def archive_with_a_member_twice() -> Attempt:
    return Attempt(archive([*members().items(), ("page.pdf", city().page(city().taro))]))


@attack
def archive_with_a_second_page_first() -> Attempt:
    return Attempt(archive([("page.pdf", city().page(city().taro)), *members().items()]))


@attack
def archive_in_place_of_a_member() -> Attempt:
    return Attempt(archive([*list(members().items())[:-1], ("status.jwt", city().bundle)]))


@attack
def archive_with_a_nested_bundle_beside() -> Attempt:
    return Attempt(archive([*members().items(), ("bundle.zip", city().bundle)]))


@attack
def archive_compressed() -> Attempt:
    return Attempt(archive(members().items(), method=8))


@attack
def archive_compressed_by_a_common_tool() -> Attempt:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in members().items():
            out.writestr(name, content)
    return Attempt(file.getvalue())


@attack
def archive_bomb() -> Attempt:
    """64 MiB of zeros in a member of some kilobytes."""
    return Attempt(archive([("page.pdf", bytes(64 << 20)), *list(members().items())[1:]], method=8))


@attack
def archive_with_false_sizes() -> Attempt:
    data = bytearray(city().bundle)
    struct.pack_into("<II", data, 18, 0xFFFFFFFF, 0xFFFFFFFF)
    return Attempt(bytes(data))


@attack
def archive_with_members_in_another_order() -> Attempt:
    items = list(members().items())
    return Attempt(archive([items[1], items[0], *items[2:]]))


@attack
def archive_with_another_date() -> Attempt:
    return Attempt(archive(members().items(), date=34))


@attack
def archive_with_an_extra_field() -> Attempt:
    return Attempt(archive(members().items(), extra=b"\xfe\xca\x04\x00abcd"))


@attack
def archive_with_a_wrong_checksum() -> Attempt:
    data = bytearray(city().bundle)
    data[14] ^= 1
    return Attempt(bytes(data))


@attack
def archive_with_a_comment() -> Attempt:
    return Attempt(city().bundle[:-2] + b"\x05\x00hello")


@attack
def archive_with_trailing_bytes() -> Attempt:
    return Attempt(city().bundle + b"\n")


@attack
def archive_behind_a_program() -> Attempt:
    """A self-extracting archive: other readers look for the directory at the end."""
    return Attempt(b"MZ" + bytes(510) + city().bundle)


@attack
def archive_of_two_bundles() -> Attempt:
    return Attempt(city().bundle + city().other_bundle)


@attack
def archive_without_a_member() -> Attempt:
    return Attempt(archive((name, content) for name, content in members().items() if name != "status.jwt"))


@attack
def archive_with_an_empty_member() -> Attempt:
    return Attempt(archive_with({"status.jwt": b""}))


@attack
def archive_with_an_oversized_page() -> Attempt:
    return Attempt(archive_with({"page.pdf": members()["page.pdf"] + bytes(2 << 20)}))


@attack
def archive_with_an_oversized_credential() -> Attempt:
    return Attempt(archive_with({"credential.sd-jwt": members()["credential.sd-jwt"] + b"A~" * (64 << 10)}))


@attack
def archive_with_an_oversized_checkpoint() -> Attempt:
    return Attempt(
        archive_with({"inclusion.tlog-proof": members()["inclusion.tlog-proof"] + b"A" * (64 << 10)})
    )


@attack
def archive_beyond_its_limit() -> Attempt:
    return Attempt(city().bundle + bytes(MAX_BUNDLE_BYTES))


@attack
def archive_cut_in_the_page() -> Attempt:
    return Attempt(city().bundle[:20_000])


@attack
def archive_cut_in_the_credential() -> Attempt:
    return Attempt(city().bundle[: city().bundle.index(b"credential.sd-jwt") + 3000])


@attack
def archive_cut_in_its_directory() -> Attempt:
    return Attempt(city().bundle[:-100])


@attack
def archive_without_its_last_byte() -> Attempt:
    return Attempt(city().bundle[:-1])


@attack
def empty_file() -> Attempt:
    return Attempt(b"")


@attack
def letter_instead_of_a_certificate() -> Attempt:
    return Attempt("この者の所得を証明する。".encode())


def _deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()
