"""The page code for any statement and any text: one encoding, only our errors."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import FormatError
from verifier.formats.encoding import base64url_decode, base64url_encode
from verifier.formats.page_qr import MAX_FIGURE, PageStatement, format_page_qr, page_qr_length, parse_page_qr

URL = "https://door.mihon.example"
dates = st.dates(date(1873, 1, 1), date(9998, 12, 31))
figures = st.integers(-MAX_FIGURE, MAX_FIGURE)
names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=24)


@st.composite
def statements(draw: st.DrawFn) -> PageStatement:
    issued, until = sorted((draw(dates), draw(dates)))
    return PageStatement(
        city_code=f"{draw(st.integers(0, 999999)):06d}",
        certificate_id=draw(st.binary(min_size=16, max_size=16)),
        document_kind="income_certificate",
        exempt=draw(st.booleans()),
        fiscal_year=draw(st.integers(1950, 9999)),
        name=draw(names),
        name_truncated=False,
        birthdate=draw(dates),
        income_total=draw(figures),
        gross_total=draw(figures),
        annual_tax_total=draw(st.integers(0, MAX_FIGURE)),
        issued_on=issued,
        valid_until=until,
        key_id=draw(st.binary(min_size=8, max_size=8)),
    )


@given(statements(), st.binary(min_size=31, max_size=31), st.binary(min_size=31, max_size=31))
def test_what_is_written_reads_back(statement: PageStatement, r: bytes, s: bytes) -> None:
    text = format_page_qr(URL, statement, b"\x01" + r + b"\x01" + s)
    signed = parse_page_qr(text)
    assert (signed.statement, signed.signature) == (statement, b"\x01" + r + b"\x01" + s)
    assert len(text) == page_qr_length(URL)


@given(statements(), st.integers(0, 221), st.integers(0, 255))
def test_whatever_parses_is_the_one_encoding(statement: PageStatement, index: int, value: int) -> None:
    head, _, fragment = format_page_qr(URL, statement, b"\x01" * 64).partition("#")
    payload = bytearray(base64url_decode(fragment))
    payload[index] = value
    text = f"{head}#{base64url_encode(bytes(payload))}"
    try:
        signed = parse_page_qr(text)
    except FormatError:
        return
    assert format_page_qr(signed.public_url, signed.statement, signed.signature) == text


@given(st.one_of(st.text(max_size=420), st.text(max_size=420).map(lambda text: f"{URL}/v#{text}")))
def test_any_text_raises_only_our_error(text: str) -> None:
    with pytest.raises(FormatError):
        parse_page_qr(text)
