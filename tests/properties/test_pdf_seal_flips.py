"""No byte of a sealed page can be changed, and hostile bytes raise only our errors."""

from __future__ import annotations

import functools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sealing_world import NOW, sealed_page, world
from verifier.errors import AkashiVerifierError, FormatError
from verifier.formats.cms import ID_DATA, parse_signed_data
from verifier.formats.pdf_objects import parse_section
from verifier.formats.pdf_seal import parse_sealed_page, verify_sealed_page
from verifier.formats.timestamp import parse_query, parse_response, parse_token
from verifier.formats.x509_path import parse_certificate, parse_crl

PARSERS = [
    parse_sealed_page,
    parse_section,
    parse_certificate,
    parse_crl,
    parse_query,
    parse_response,
    parse_token,
    lambda data: parse_signed_data(data, content_type=ID_DATA),
]


@functools.cache
def one_token() -> bytes:
    return world().timestamp(bytes(32), now=NOW)


def accepted(data: bytes) -> bool:
    try:
        verify_sealed_page(parse_sealed_page(data))
    except FormatError:
        return False
    return True


def positions() -> list[int]:
    """All of the signature's own text, where no digest looks, in steps; and a sample of the rest."""
    data = sealed_page()
    gap = data.index(b"/Contents <3") + len("/Contents ")
    signature = list(range(gap - 2, gap + 2 * 3000, 3))
    padding = [*range(gap + 6000, gap + 16386, 997), gap + 16384, gap + 16385]
    rest = random.Random(2).sample(range(len(data)), 300)
    return sorted({*signature, *padding, *rest})


def test_the_untouched_page_is_accepted():
    assert accepted(sealed_page())


def test_no_byte_can_be_changed():
    data = sealed_page()
    chosen = random.Random(1)
    passed = []
    for position in positions():
        changed = bytearray(data)
        changed[position] ^= chosen.choice((0x01, 0x02, 0x20, 0x80, 0xFF))
        if accepted(bytes(changed)):
            passed.append(position)
    assert passed == []


@pytest.mark.parametrize("step", [1, 7, 100, 4000])
def test_no_byte_can_be_cut_off_or_put_in(step):
    data = sealed_page()
    assert not accepted(data[:-step])
    assert not accepted(data[step:])
    assert not accepted(data[: len(data) // 2] + bytes(step) + data[len(data) // 2 :])


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(range(len(PARSERS))))
def test_parsers_raise_only_our_errors_on_any_bytes(data, index):
    try:
        PARSERS[index](data)
    except AkashiVerifierError as error:
        assert isinstance(error, FormatError)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_parsers_raise_only_our_errors_on_damaged_originals(data):
    kind = data.draw(st.sampled_from(["page", "certificate", "crl", "token"]))
    original, parser = {
        "page": (sealed_page(), parse_sealed_page),
        "certificate": (world().pki.der("page-seal-1"), parse_certificate),
        "crl": (world().material.crls[1], parse_crl),
        "token": (one_token(), parse_token),
    }[kind]
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(damaged) - 1))
        damaged[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    try:
        parser(bytes(damaged[:cut] if data.draw(st.booleans()) else damaged))
    except AkashiVerifierError as error:
        assert isinstance(error, FormatError)
