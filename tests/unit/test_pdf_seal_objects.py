"""The one way in which a sealed page is written as a file."""

from __future__ import annotations

import pytest

from verifier.errors import FormatError, LimitError
from verifier.formats.pdf_objects import (
    HEADER,
    Name,
    Real,
    Ref,
    Stream,
    format_section,
    format_value,
    parse_section,
)

OBJECTS = {
    1: {"Type": Name("Catalog"), "Pages": Ref(2), "Odd": Name("a b#/c"), "Real": Real("-0.25")},
    2: [1, -2, 0, True, False, None, b"", b"\x00(text)", {}, [], Ref(3)],
    3: Stream({"Type": Name("X")}, b"bytes\nendstream\nendobj\nxref\n%%EOF\n"),
}
TRAILER = {"Size": 4, "Root": Ref(1), "ID": [b"\x01" * 16, b"\x01" * 16]}
FILE = format_section(OBJECTS, TRAILER)


def test_what_is_written_is_read_back():
    section = parse_section(FILE)
    assert section.objects == OBJECTS
    assert section.trailer == TRAILER
    assert (section.start, section.end) == (0, len(FILE))
    assert FILE[section.table :].startswith(b"xref\n0 4\n")


def test_an_increment_has_a_table_of_its_own():
    increment = format_section({2: [], 7: [1], 8: []}, {**TRAILER, "Size": 9, "Prev": 5}, start=len(FILE))
    assert b"xref\n2 1\n" in increment
    assert b"7 2\n" in increment
    section = parse_section(FILE + increment, len(FILE))
    assert set(section.objects) == {2, 7, 8}
    assert section.end == len(FILE + increment)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"%PDF-1.7", b"%PDF-1.6"),
        (b"/Pages 2 0 R", b"/Pages  2 0 R"),
        (b"/Pages 2 0 R", b"/Pages 02 0 R"),
        (b"/Pages 2 0 R", b"/Pages 2 1 R"),
        (b"/Pages 2 0 R", b"/P#61ges 2 0 R"),
        (b"/Pages 2 0 R", b"/Type 2 0 R"),
        (b"/Pages 2 0 R", b"/Pages (x)"),
        (b"/Pages 2 0 R", b"/Pages +2"),
        (b"-0.25", b"-0.250"),
        (b"-0.25", b"-.25"),
        (b"[ 1 -2", b"[ 01 -2"),
        (b"[ 1 -2", b"[ -0 -2"),
        (b"[ 1 -2", b"[ 1 % -2"),
        (b"<00287465787429>", b"<0028746578742>"),
        (b"<00287465787429>", b"<0028746578742A>"),
        (b"2 0 obj", b"1 0 obj"),
        (b"2 0 obj", b"2 1 obj"),
        (b"/Length 34", b"/Length 33"),
        (b"/Type /X /Length 34", b"/Length 34 /Type /X"),
        (b"0000000000 65535 f", b"0000000000 65534 f"),
        (b"startxref\n", b"startxref\n\n"),
        (b"%%EOF\n", b"%%EOF"),
        (b"endobj\n2 0", b"endobj\n% note\n2 0"),
    ],
)
def test_any_other_form_is_refused(old, new):
    assert old in FILE
    at = FILE.rindex(old) if old == b"%%EOF\n" else FILE.index(old)
    damaged = FILE[:at] + new + FILE[at + len(old) :]
    with pytest.raises(FormatError):
        parse_section(damaged)


def test_a_wrong_offset_in_the_table_is_refused():
    at = FILE.index(b" 00000 n")
    with pytest.raises(FormatError):
        parse_section(FILE[: at - 1] + b"9" + FILE[at:])


def test_depth_is_limited_in_both_directions():
    value = []
    for _ in range(40):
        value = [value]
    with pytest.raises(LimitError):
        format_value(value)
    deep = b"[ " * 3000 + b"] " * 2999 + b"]"
    with pytest.raises(LimitError):
        parse_section(HEADER + b"1 0 obj\n" + deep + b"\nendobj\n")


def test_values_without_a_form_are_refused():
    for value in (1.5, object(), {"Key": 1.5}, {"見": 1}):
        with pytest.raises(FormatError):
            format_value(value)
