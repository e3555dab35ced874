"""DER in exactly one way."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from verifier.errors import FormatError, LimitError
from verifier.formats import der


@pytest.mark.parametrize("value", [0, 1, -1, 127, 128, 255, 256, -128, -129, 2**63, -(2**63), 2**255])
def test_integer_round_trip(value):
    reader = der.DerReader(der.encode_integer(value))
    assert der.parse_integer(reader.take(der.INTEGER)) == value
    reader.end()


@pytest.mark.parametrize("dotted", ["1.2.840.113549.1.7.2", "2.5.4.97", "2.999.992011.1", "0.4.0.1862"])
def test_oid_round_trip(dotted):
    reader = der.DerReader(der.encode_oid(dotted))
    assert der.parse_oid(reader.take(der.OID)) == dotted


@pytest.mark.parametrize(
    "encoded",
    [
        "3080020101 0000",  # indefinite length
        "308103020101",  # long form below 128
        "30820003020101",  # leading zero in the length
        "3004020101",  # cut off
        "30030201010000",  # something after it
        "3f0100",  # high tag number
        "30",
        "",
    ],
)
def test_other_encodings_are_refused(encoded):
    with pytest.raises(FormatError):
        reader = der.read_single(bytes.fromhex(encoded), der.SEQUENCE)
        reader.take(der.INTEGER)
        reader.end()


@pytest.mark.parametrize("content", ["0001", "ff80", "00007f", ""])
def test_integers_must_be_minimal(content):
    raw = bytes.fromhex(content)
    with pytest.raises(FormatError):
        der.parse_integer(der.Element(der.INTEGER, raw, b""))


def test_long_integers_are_limited():
    with pytest.raises(LimitError):
        der.parse_integer(der.Element(der.INTEGER, b"\x01" * 65, b""))


@pytest.mark.parametrize("content", ["80" + "01", "2a8001", "2a86"])
def test_oids_must_be_minimal(content):
    with pytest.raises(FormatError):
        der.parse_oid(der.Element(der.OID, bytes.fromhex(content), b""))


def test_times_round_trip_with_and_without_fraction():
    for moment in (
        datetime(2026, 11, 20, 1, 2, 3, tzinfo=UTC),
        datetime(2026, 11, 20, 1, 2, 3, 120_000, tzinfo=UTC),
        datetime(2026, 11, 20, 1, 2, 3, 1, tzinfo=UTC),
    ):
        element = der.DerReader(der.encode_generalized_time(moment)).take(der.GENERALIZED_TIME)
        assert der.parse_generalized_time(element) == moment


@pytest.mark.parametrize(
    "text", ["20261120010203", "20261120010203.10Z", "20261120010203.Z", "20261320010203Z"]
)
def test_other_times_are_refused(text):
    with pytest.raises(FormatError):
        der.parse_generalized_time(der.Element(der.GENERALIZED_TIME, text.encode(), b""))


def test_sets_are_ordered_and_without_doubles():
    one, two = der.encode_integer(1), der.encode_integer(2)
    ordered = der.DerReader(der.encode_set_of([two, one])).take(der.SET)
    assert [member.encoded for member in der.parse_set_of(ordered)] == [one, two]
    for members in ((two, one), (one, one)):
        with pytest.raises(FormatError):
            der.parse_set_of(der.Element(der.SET, b"".join(members), b""))
