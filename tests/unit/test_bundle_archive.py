"""The bundle archive: an ordinary ZIP for everybody, and exactly one encoding for us."""

import io
import zipfile

import pytest

from verifier.errors import FormatError, LimitError
from verifier.formats.bundle import (
    MAX_BUNDLE_BYTES,
    MEMBER_NAMES,
    Bundle,
    add_key_binding,
    build_bundle,
    is_bundle,
    parse_bundle,
)

SMALL = Bundle(credential=b"c~", evidence=b"{}", inclusion=b"proof", status=b"a.b.c")
FULL = Bundle(
    credential=b"c~",
    evidence=b"{}",
    inclusion=b"proof",
    status=b"a.b.c",
    page=b"%PDF",
    certificate=b"{}",
    anchor=b"note",
    timestamp=b"\x30\x00",
    key_binding=b"d.e.f",
)


@pytest.mark.parametrize("bundle", [SMALL, FULL])
def test_round_trip(bundle):
    data = build_bundle(bundle)
    assert parse_bundle(data) == bundle
    assert is_bundle(data)


def test_every_unzip_reads_it():
    with zipfile.ZipFile(io.BytesIO(build_bundle(FULL))) as archive:
        assert archive.testzip() is None
        assert tuple(archive.namelist()) == MEMBER_NAMES
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.read("page.pdf") == b"%PDF"


def test_binding_adds_one_member_and_changes_no_other():
    bound = add_key_binding(build_bundle(SMALL), b"d.e.f")
    assert parse_bundle(bound) == Bundle(b"c~", b"{}", b"proof", b"a.b.c", key_binding=b"d.e.f")
    with pytest.raises(FormatError, match="already-bound"):
        add_key_binding(bound, b"d.e.f")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_same_members_by_another_writer_are_refused(compression):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in (
            ("credential.sd-jwt", b"c~"),
            ("evidence.json", b"{}"),
            ("inclusion.tlog-proof", b"proof"),
            ("status.jwt", b"a.b.c"),
        ):
            archive.writestr(name, content)
    with pytest.raises(FormatError):
        parse_bundle(buffer.getvalue())


SPOILS = {
    "trailing byte": lambda d: d + b"\x00",
    "leading byte": lambda d: b"\x00" + d,
    "empty": lambda d: b"",
    "comment": lambda d: d[:-2] + b"\x01\x00x",
    "hidden gap": lambda d: d.replace(b"PK\x01\x02", b"hidden" + b"PK\x01\x02", 1),
    "member twice": lambda d: d[: d.index(b"PK\x03\x04", 4)] + d,
    "path in the name": lambda d: d.replace(b"evidence.json", b"../idence.json"[:13]),
    "central name differs": lambda d: d[:-200] + d[-200:].replace(b"status.jwt", b"status.jwx"),
}


@pytest.mark.parametrize("name", SPOILS)
def test_spoilt_archives_are_refused(name):
    with pytest.raises(FormatError):
        parse_bundle(SPOILS[name](build_bundle(SMALL)))


def test_every_single_bit_of_the_frame_counts():
    data = build_bundle(SMALL)
    for position in range(len(data)):
        for bit in range(8):
            spoilt = bytearray(data)
            spoilt[position] ^= 1 << bit
            try:
                assert parse_bundle(bytes(spoilt)) != SMALL
            except FormatError:
                continue


def test_a_missing_required_member_is_refused():
    data = build_bundle(SMALL)
    cut = data[data.index(b"PK\x03\x04", 4) :]  # without the credential
    with pytest.raises(FormatError):
        parse_bundle(cut)


def test_members_are_never_empty():
    with pytest.raises(FormatError, match="empty-member"):
        build_bundle(Bundle(b"", b"{}", b"p", b"s"))


def test_limits():
    with pytest.raises(LimitError, match="bundle-too-large"):
        parse_bundle(b"PK\x03\x04" + bytes(MAX_BUNDLE_BYTES))
    with pytest.raises(LimitError, match="member-too-large"):
        build_bundle(Bundle(b"c", b"{}", b"p", b"s", page=bytes(2 << 20) + b"x"))
    assert parse_bundle(build_bundle(Bundle(b"c", b"{}", b"p", b"s", page=b"x" * (2 << 20)))).page


def test_a_length_that_points_beyond_the_end_is_refused():
    data = bytearray(build_bundle(SMALL))
    data[18:22] = b"\xff\xff\xff\xff"
    with pytest.raises(FormatError):
        parse_bundle(bytes(data))
