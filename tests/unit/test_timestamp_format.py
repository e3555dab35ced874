"""Time-stamp queries, replies and tokens, read strictly."""

from __future__ import annotations

import hashlib

import pytest

from tests.support.sealing_world import NOW, world
from verifier.errors import FormatError
from verifier.formats import der
from verifier.formats.timestamp import (
    build_query,
    parse_query,
    parse_response,
    parse_token,
    verify_token,
)
from verifier.formats.x509_path import Usage, verify_path

DIGEST = hashlib.sha256(b"stamped").digest()
NONCE = (1 << 63) + 4711


def test_query_round_trip():
    query = parse_query(build_query(DIGEST, NONCE))
    assert (query.digest, query.nonce, query.with_certificate, query.policy) == (DIGEST, NONCE, True, None)


def test_a_token_says_what_was_asked():
    token = parse_response(world().tsa.answer(build_query(DIGEST, NONCE), NOW))
    signer = verify_token(token, digest=DIGEST, nonce=NONCE)
    assert (token.time, token.nonce, token.digest) == (NOW, NONCE, DIGEST)
    assert signer == world().certificate("tsa")
    anchor = world().certificate("tsa-ca")
    path = verify_path(signer, intermediates=[], anchors=[anchor], at=token.time, usage=Usage.TIME_STAMP)
    assert path == (signer, anchor)
    assert "MOCK/模擬" in signer.subject.rfc4514_string()


@pytest.mark.parametrize(
    ("digest", "nonce", "code"),
    [(hashlib.sha256(b"other").digest(), NONCE, "wrong-imprint"), (DIGEST, NONCE + 1, "wrong-nonce")],
)
def test_a_token_for_something_else_is_refused(digest, nonce, code):
    token = parse_response(world().tsa.answer(build_query(DIGEST, NONCE), NOW))
    with pytest.raises(FormatError) as caught:
        verify_token(token, digest=digest, nonce=nonce)
    assert caught.value.code == code


def test_no_single_byte_of_a_token_can_be_changed():
    """Every byte of the token, four ways each: parse or verify must refuse."""
    encoded = world().timestamp(DIGEST, nonce=NONCE)
    passed = []
    for index in range(len(encoded)):
        for flip in (0x01, 0x20, 0x80, 0xFF):
            changed = bytearray(encoded)
            changed[index] ^= flip
            try:
                verify_token(parse_token(bytes(changed)), digest=DIGEST)
            except FormatError:
                continue
            passed.append((index, flip))
    assert passed == []


def test_a_rejection_is_no_token():
    refused = world().tsa.answer(b"\x30\x00", NOW)
    with pytest.raises(FormatError) as caught:
        parse_response(refused)
    assert caught.value.code == "time-stamp-refused"


def test_another_digest_algorithm_is_rejected_with_its_reason():
    sha1 = der.encode(der.SEQUENCE, der.encode_oid("1.3.14.3.2.26"), der.encode(der.NULL))
    imprint = der.encode(der.SEQUENCE, sha1, der.encode(der.OCTET_STRING, bytes(20)))
    query = der.encode(der.SEQUENCE, der.encode_integer(1), imprint)
    reply = der.read_single(world().tsa.answer(query, NOW), der.SEQUENCE)
    status = reply.enter(der.SEQUENCE)
    assert der.parse_integer(status.take(der.INTEGER)) == 2
    assert status.take(0x03).content == b"\x07\x80"  # bit 0: badAlg
    reply.end()


def test_a_foreign_policy_is_rejected():
    query = der.encode(
        der.SEQUENCE,
        der.encode_integer(1),
        parse_query(build_query(DIGEST, None)).imprint,
        der.encode_oid("1.2.3.4"),
    )
    with pytest.raises(FormatError, match="time-stamp-refused"):
        parse_response(world().tsa.answer(query, NOW))


def test_a_token_without_certificate_is_not_of_our_profile():
    query = der.encode(der.SEQUENCE, der.encode_integer(1), parse_query(build_query(DIGEST, None)).imprint)
    with pytest.raises(FormatError):
        parse_response(world().tsa.answer(query, NOW))


def test_the_answer_is_bound_to_its_end():
    reply = world().tsa.answer(build_query(DIGEST, NONCE), NOW)
    for damaged in (reply + b"\x00", reply[:-1], b"", reply[1:]):
        with pytest.raises(FormatError):
            parse_response(damaged)
