"""Any bytes: the parsers of the mailbox raise only FormatError, and what they accept has one encoding."""

from __future__ import annotations

import os
import string
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from mobile_api.message_bodies import (
    format_answer_body,
    format_device_body,
    parse_answer_body,
    parse_device_body,
)
from mobile_api.messages import (
    CardStatement,
    CityAnswer,
    DeviceRequest,
    Notice,
    Progress,
    StopDevice,
    build_answer,
    build_device_request,
    format_statement,
    open_answer,
    parse_statement,
    peek_device_request,
    seal_answer,
    verify_answer,
    verify_device_request,
)
from verifier.errors import FormatError
from verifier.formats.encoding import base64url_encode
from verifier.formats.jose import agreement, es256_signer, thumbprint

KEY = ec.generate_private_key(ec.SECP256R1())
KID = thumbprint(KEY.public_key())
KEYS = {KID: KEY.public_key()}
NOW = datetime(2026, 11, 20, 1, 2, 3, tzinfo=UTC)
REQUEST = build_device_request(
    DeviceRequest("992011", "A" * 22, "A" * 22, NOW, StopDevice(KID)), KID, es256_signer(KEY)
)
ANSWER = build_answer(
    CityAnswer("992011", "A" * 22, None, 1, NOW, Notice("code", "あ", "a")), KID, es256_signer(KEY)
)
SEALED = seal_answer(ANSWER, KEY.public_key(), os.urandom)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
kinds = st.sampled_from(
    ["register", "request_certificate", "confirm_mail", "stop_device", "history", "registered", "refused",
     "progress", "package_ready", "notice"]
)  # fmt: skip
ids = st.binary(min_size=16, max_size=16).map(base64url_encode)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    for read in (
        lambda: peek_device_request(data),
        lambda: verify_device_request(data, lambda *_: KEY.public_key()),
        lambda: verify_answer(data, KEYS),
        lambda: open_answer(data, KID, agreement(KEY)),
        lambda: parse_statement(data.decode("latin-1")),
    ):
        try:
            read()
        except FormatError:
            continue
        raise AssertionError("accepted")


@given(st.integers(0, len(REQUEST) - 1), st.integers(1, 255))
def test_any_changed_byte_of_a_request(position: int, change: int) -> None:
    _never(lambda data: verify_device_request(data, lambda *_: KEY.public_key()), REQUEST, position, change)


@given(st.integers(0, len(ANSWER) - 1), st.integers(1, 255))
def test_any_changed_byte_of_an_answer(position: int, change: int) -> None:
    _never(lambda data: verify_answer(data, KEYS), ANSWER, position, change)


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
@settings(max_examples=60)
def test_any_changed_byte_of_a_sealed_answer(position: int, change: int) -> None:
    _never(lambda data: open_answer(data, KID, agreement(KEY)), SEALED, position, change)


@given(kinds, json_values)
def test_any_body(kind: str, value: Any) -> None:
    for read, write in ((parse_device_body, format_device_body), (parse_answer_body, format_answer_body)):
        try:
            body = read(kind, value)
        except FormatError:
            continue
        assert write(body) == (kind, value)


@given(
    ids, st.sampled_from(["accepted", "figures", "page", "sealed", "logged", "ready"]), st.integers(1, 2**40)
)
@settings(max_examples=40)
def test_answers_round_trip(identifier: str, stage: str, sequence: int) -> None:
    answer = CityAnswer("992011", identifier, identifier, sequence, NOW, Progress(identifier, stage))
    assert verify_answer(build_answer(answer, KID, es256_signer(KEY)), KEYS) == answer


@given(
    st.text(string.digits, min_size=6, max_size=6),
    st.sampled_from(["register", "request"]),
    st.text(string.ascii_letters + string.digits + "-_", min_size=22, max_size=64),
    st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)),
)
def test_statements_round_trip(city: str, purpose: str, nonce: str, time: datetime) -> None:
    statement = CardStatement(city, purpose, KID, KID, KID, nonce, time.replace(microsecond=0))
    assert parse_statement(format_statement(statement)) == statement


def _never(read: Any, good: bytes, position: int, change: int) -> None:
    damaged = bytearray(good)
    damaged[position] ^= change
    try:
        read(bytes(damaged))
    except FormatError:
        return
    raise AssertionError("accepted")
