"""Challenges for wallets: made by anybody who holds the key, believed only as they were made."""

from __future__ import annotations

import os

import pytest

from mobile_api.wallet_nonce import (
    MAX_LIFE,
    NonceKey,
    check_nonce,
    format_nonce_key,
    make_nonce,
    newest_key,
    nonce_digest,
    parse_nonce_key,
)
from verifier.errors import FormatError
from verifier.formats.encoding import base64url_decode, base64url_encode

NOW = 1_795_000_000
KEY = NonceKey(b"\x00\x01\x02\x03", b"k" * 32, NOW - 100, NOW + 86400)
OLD = NonceKey(b"\xff\x01\x02\x03", b"o" * 32, NOW - 86400, NOW - 100)


def test_a_nonce_counts_until_its_end_and_not_a_second_longer() -> None:
    text = make_nonce(KEY, NOW, 300, os.urandom)
    assert len(text) == 80
    assert check_nonce(text, [OLD, KEY], NOW) == NOW + 300
    assert check_nonce(text, [KEY], NOW + 299) == NOW + 300
    with pytest.raises(FormatError, match="nonce-expired"):
        check_nonce(text, [KEY], NOW + 300)


def test_two_nonces_differ() -> None:
    made = {make_nonce(KEY, NOW, 300, os.urandom) for _ in range(100)}
    assert len(made) == 100
    assert len({nonce_digest(text) for text in made}) == 100


def test_every_flipped_bit_is_found() -> None:
    data = base64url_decode(make_nonce(KEY, NOW, 300, os.urandom))
    for bit in range(len(data) * 8):
        altered = bytearray(data)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            check_nonce(base64url_encode(bytes(altered)), [KEY, OLD], NOW)


@pytest.mark.parametrize("text", ["", "x", "é" * 80, "=" * 80, "A" * 79, "A" * 81, "A" * 80, "\ud800" * 80])
def test_other_texts_are_refused_with_our_error(text: str) -> None:
    with pytest.raises(FormatError):
        check_nonce(text, [KEY], NOW)


def test_another_key_of_the_same_id_is_refused() -> None:
    forged = make_nonce(NonceKey(KEY.key_id, b"x" * 32, KEY.begin, KEY.end), NOW, 300, os.urandom)
    with pytest.raises(FormatError, match="bad-nonce"):
        check_nonce(forged, [KEY], NOW)
    with pytest.raises(FormatError, match="unknown-nonce-key"):
        check_nonce(make_nonce(OLD, NOW, 300, os.urandom), [KEY], NOW)


def test_a_challenge_for_dpop_is_no_challenge_for_a_key_proof() -> None:
    text = make_nonce(KEY.for_dpop(), NOW, 300, os.urandom)
    assert check_nonce(text, [KEY.for_dpop()], NOW)
    with pytest.raises(FormatError, match="bad-nonce"):
        check_nonce(text, [KEY], NOW)


def test_life_is_bounded() -> None:
    for life in (0, -1, MAX_LIFE + 1):
        with pytest.raises(FormatError):
            make_nonce(KEY, NOW, life, os.urandom)


def test_the_newest_key_of_today_is_used() -> None:
    later = NonceKey(b"late", b"l" * 32, NOW - 1, NOW + 86400)
    tomorrow = NonceKey(b"tomo", b"t" * 32, NOW + 1, NOW + 86400)
    assert newest_key([KEY, later, tomorrow, OLD], NOW) is later
    assert newest_key([OLD, tomorrow], NOW) is None


def test_the_document_of_a_key_goes_both_ways() -> None:
    assert parse_nonce_key(format_nonce_key(KEY)) == KEY
    assert b"kkkk" not in repr(KEY).encode()


@pytest.mark.parametrize(
    "change",
    [
        {"key": base64url_encode(b"k" * 31)},
        {"key_id": base64url_encode(b"k" * 5)},
        {"key_id": 1},
        {"from": True},
        {"from": -1},
        {"until": NOW - 100},
        {"until": NOW + 8 * 86400},
        {"more": 1},
    ],
)
def test_other_documents_are_refused(change: dict) -> None:
    from verifier.formats.encoding import canonical_json, parse_json

    document = {**parse_json(format_nonce_key(KEY)), **change}
    with pytest.raises(FormatError):
        parse_nonce_key(canonical_json(document))
