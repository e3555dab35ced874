"""What the mailbox carries: strict codecs, signatures by the right key, packages of the right type."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from mobile_api.messages import (
    NO_REQUEST,
    CardStatement,
    CertificateRequest,
    CityAnswer,
    ConfirmMail,
    DeviceRequest,
    History,
    HistoryEntry,
    HistoryWish,
    Notice,
    PackageReady,
    Progress,
    Refused,
    Register,
    Registered,
    RequestCertificate,
    StopDevice,
    build_answer,
    build_device_request,
    format_statement,
    new_message_id,
    open_answer,
    open_envelope,
    parse_statement,
    peek_device_request,
    seal_answer,
    seal_envelope,
    verify_answer,
    verify_device_request,
)
from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import base64url_encode, canonical_json, parse_json, sha256
from verifier.formats.jose import agreement, build_jws, es256_signer, thumbprint
from verifier.formats.names import BUNDLE_TYPE, CITY_ANSWER_TYP, DEVICE_REQUEST_TYP, PACKAGE_TYPE
from verifier.formats.package import pack

NOW = datetime(2026, 11, 20, 1, 2, 3, tzinfo=UTC)
DEVICE = ec.generate_private_key(ec.SECP256R1())
ENCRYPTION = ec.generate_private_key(ec.SECP256R1())
CITY_KEY = ec.generate_private_key(ec.SECP256R1())
DEVICE_KID = thumbprint(DEVICE.public_key())
CITY_KID = thumbprint(CITY_KEY.public_key())
ACCOUNT, MESSAGE = new_message_id(os.urandom), new_message_id(os.urandom)
WISH = CertificateRequest("income_certificate", 2026, "住居手当の確認のため", new_message_id(os.urandom))
STATEMENT = CardStatement("992011", "request", DEVICE_KID, "E" * 42 + "A", WISH.digest(), "n" * 32, NOW)

BODIES = [
    Register(
        DEVICE.public_key(),
        ENCRYPTION.public_key(),
        "{}",
        b"cert",
        bytes(256),
        b"cert2",
        bytes(256),
        "a@b.example",
    ),
    Register(DEVICE.public_key(), ENCRYPTION.public_key(), "{}", b"cert", bytes(256), b"cert2", bytes(256)),
    RequestCertificate(WISH, "{}", b"cert", bytes(256)),
    ConfirmMail("123456"),
    StopDevice(DEVICE_KID),
    HistoryWish(),
]
ANSWERS = [
    Registered(),
    Refused("other-card", "別のカードです", "another card", False),
    Progress("r" * 22, "sealed"),
    PackageReady("r" * 22, "p" * 22, sha256(b"x")),
    Notice("new-device", "新しい端末", "a new device"),
    History((HistoryEntry(NOW, "registered", "登録しました", "registered"),)),
    History(()),
]


def request_of(body: Any) -> DeviceRequest:
    return DeviceRequest("992011", ACCOUNT, MESSAGE, NOW, body)


def answer_of(body: Any, **changes: Any) -> CityAnswer:
    values = {"city": "992011", "account": ACCOUNT, "in_reply_to": MESSAGE, "sequence": 1, "issued_at": NOW}
    return CityAnswer(**{**values, **changes}, body=body)


def find_device(account: str, kid: str) -> ec.EllipticCurvePublicKey | None:
    return DEVICE.public_key() if (account, kid) == (ACCOUNT, DEVICE_KID) else None


@pytest.mark.parametrize("body", BODIES, ids=lambda b: type(b).__name__)
def test_device_requests_round_trip(body: Any) -> None:
    request = request_of(body)
    data = build_device_request(request, DEVICE_KID, es256_signer(DEVICE))
    read = verify_device_request(data, find_device)
    assert (read.city, read.account, read.message_id, read.issued_at) == ("992011", ACCOUNT, MESSAGE, NOW)
    assert build_device_request(read, DEVICE_KID, lambda _d: bytes(64)).split(b".")[1] == data.split(b".")[1]
    assert type(peek_device_request(data).body) is type(body)


@pytest.mark.parametrize("body", ANSWERS, ids=lambda b: type(b).__name__)
def test_answers_round_trip(body: Any) -> None:
    data = build_answer(answer_of(body), CITY_KID, es256_signer(CITY_KEY))
    assert verify_answer(data, {CITY_KID: CITY_KEY.public_key()}) == answer_of(body)


def test_a_register_message_brings_its_own_key_and_no_other() -> None:
    thief = ec.generate_private_key(ec.SECP256R1())
    data = build_device_request(request_of(BODIES[0]), DEVICE_KID, es256_signer(DEVICE))
    assert isinstance(verify_device_request(data, lambda *_: None).body, Register)
    forged = build_device_request(request_of(BODIES[0]), DEVICE_KID, es256_signer(thief))
    with pytest.raises(FormatError, match="bad-signature"):
        verify_device_request(forged, lambda *_: None)
    renamed = build_device_request(request_of(BODIES[0]), thumbprint(thief.public_key()), es256_signer(thief))
    with pytest.raises(FormatError, match="unknown-device"):
        verify_device_request(renamed, lambda *_: thief.public_key())


def test_other_messages_need_the_bound_key() -> None:
    data = build_device_request(request_of(ConfirmMail("123456")), DEVICE_KID, es256_signer(DEVICE))
    with pytest.raises(FormatError, match="unknown-device"):
        verify_device_request(data, lambda *_: None)
    with pytest.raises(FormatError, match="unknown-device"):
        verify_device_request(data, lambda *_: CITY_KEY.public_key())


def test_an_answer_needs_a_statement_key() -> None:
    thief = ec.generate_private_key(ec.SECP256R1())
    data = build_answer(answer_of(Registered()), thumbprint(thief.public_key()), es256_signer(thief))
    with pytest.raises(FormatError, match="unknown-city-key"):
        verify_answer(data, {CITY_KID: CITY_KEY.public_key()})
    forged = build_answer(answer_of(Registered()), CITY_KID, es256_signer(thief))
    with pytest.raises(FormatError, match="bad-signature"):
        verify_answer(forged, {CITY_KID: CITY_KEY.public_key()})


def test_messages_of_one_direction_are_none_of_the_other() -> None:
    request = build_device_request(request_of(HistoryWish()), CITY_KID, es256_signer(CITY_KEY))
    with pytest.raises(FormatError, match="bad-typ"):
        verify_answer(request, {CITY_KID: CITY_KEY.public_key()})
    answer = build_answer(answer_of(Registered()), DEVICE_KID, es256_signer(DEVICE))
    with pytest.raises(FormatError, match="bad-typ"):
        verify_device_request(answer, find_device)


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"v": True},
        {"extra": 1},
        {"city": "99201"},
        {"city": 992011},
        {"account": "short"},
        {"account": "A" * 21 + "B"},
        {"message_id": None},
        {"iat": "now"},
        {"iat": -1},
        {"iat": True},
        {"iat": 1 << 40},
        {"kind": "unknown"},
        {"kind": None},
        {"kind": []},
        {"body": []},
        {"body": {"code": "123456", "x": 1}},
        {"body": {"code": "12"}},
        {"body": {"code": 123456}},
        {"body": {}},
    ],
)
def test_damaged_requests_are_format_errors(change: dict[str, Any]) -> None:
    data = build_device_request(request_of(ConfirmMail("123456")), DEVICE_KID, es256_signer(DEVICE))
    payload = {**_payload(data), **change}
    damaged = build_jws(
        {"kid": DEVICE_KID, "typ": DEVICE_REQUEST_TYP}, canonical_json(payload), es256_signer(DEVICE)
    )
    with pytest.raises(FormatError):
        verify_device_request(damaged, find_device)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("registered", {"x": 1}),
        ("refused", {"code": "x", "message_ja": "あ", "message_en": "a"}),
        ("refused", {"code": "x", "message_ja": "あ", "message_en": "a", "retry": 1}),
        ("refused", {"code": "X Y", "message_ja": "あ", "message_en": "a", "retry": True}),
        ("refused", {"code": "x", "message_ja": "", "message_en": "a", "retry": True}),
        ("refused", {"code": "x", "message_ja": "あ\u202e", "message_en": "a", "retry": True}),
        ("refused", {"code": "x", "message_ja": "あ\n", "message_en": "a", "retry": True}),
        ("refused", {"code": "x", "message_ja": "あ" * 1001, "message_en": "a", "retry": True}),
        ("progress", {"request_id": "r" * 22, "stage": "done"}),
        ("progress", {"request_id": "r", "stage": "ready"}),
        ("progress", {"request_id": "r" * 22, "stage": ["ready"]}),
        (
            "package_ready",
            {"request_id": "r" * 22, "package_id": "../" * 8, "sha256": base64url_encode(bytes(32))},
        ),
        (
            "package_ready",
            {"request_id": "r" * 22, "package_id": "p" * 22, "sha256": base64url_encode(bytes(31))},
        ),
        ("notice", {"code": "x"}),
        ("history", {"entries": {}}),
        ("history", {"entries": [1]}),
        ("history", {"entries": [{"at": "2026", "code": "x", "message_ja": "あ", "message_en": "a"}]}),
        ("history", {"entries": [{}] * 201}),
        (7, {}),
    ],
)
def test_damaged_answers_are_format_errors(kind: Any, body: Any) -> None:
    data = build_answer(answer_of(Registered()), CITY_KID, es256_signer(CITY_KEY))
    payload = {**_payload(data), "kind": kind, "body": body}
    damaged = build_jws(
        {"kid": CITY_KID, "typ": CITY_ANSWER_TYP}, canonical_json(payload), es256_signer(CITY_KEY)
    )
    with pytest.raises(FormatError):
        verify_answer(damaged, {CITY_KID: CITY_KEY.public_key()})


@pytest.mark.parametrize("sequence", [0, -1, "1", True, None])
def test_a_sequence_is_a_positive_integer(sequence: Any) -> None:
    data = build_answer(answer_of(Registered()), CITY_KID, es256_signer(CITY_KEY))
    payload = {**_payload(data), "sequence": sequence}
    damaged = build_jws(
        {"kid": CITY_KID, "typ": CITY_ANSWER_TYP}, canonical_json(payload), es256_signer(CITY_KEY)
    )
    with pytest.raises(FormatError, match="sequence"):
        verify_answer(damaged, {CITY_KID: CITY_KEY.public_key()})


@pytest.mark.parametrize(
    "body",
    [
        CertificateRequest("residence_certificate", 2026, "", "k" * 22),
        CertificateRequest("income_certificate", 26, "", "k" * 22),
        CertificateRequest("income_certificate", True, "", "k" * 22),
        CertificateRequest("income_certificate", 2026, "x" * 201, "k" * 22),
        CertificateRequest("income_certificate", 2026, "a\x00b", "k" * 22),
        CertificateRequest("income_certificate", 2026, "", "k"),
    ],
)
def test_what_would_not_be_read_is_not_written(body: CertificateRequest) -> None:
    with pytest.raises(FormatError):
        build_device_request(
            request_of(RequestCertificate(body, "{}", b"c", bytes(256))), DEVICE_KID, es256_signer(DEVICE)
        )


def test_envelopes_and_answers_are_not_packages() -> None:
    city = agreement(CITY_KEY)
    assert open_envelope(seal_envelope(b"m", CITY_KEY.public_key(), os.urandom), CITY_KID, city) == b"m"
    assert open_answer(seal_answer(b"m", CITY_KEY.public_key(), os.urandom), CITY_KID, city) == b"m"
    with pytest.raises(FormatError, match="wrong-package-type"):
        open_answer(seal_envelope(b"m", CITY_KEY.public_key(), os.urandom), CITY_KID, city)
    with pytest.raises(FormatError, match="wrong-package-type"):
        package = pack(b"m", [CITY_KEY.public_key()], content_type=BUNDLE_TYPE, typ=PACKAGE_TYPE)
        open_envelope(package, CITY_KID, city)


def test_statement_round_trip_and_digest() -> None:
    text = format_statement(STATEMENT)
    assert parse_statement(text) == STATEMENT
    assert text == canonical_json(parse_json(text.encode())).decode()
    assert base64url_encode(sha256(b"")) == NO_REQUEST
    assert WISH.digest() != CertificateRequest(*(*_fields(WISH)[:2], "", WISH.idempotency_key)).digest()


@pytest.mark.parametrize(
    "change",
    [
        {"city": "99201１"},
        {"purpose": "pay"},
        {"signing_key": "x"},
        {"encryption_key": None},
        {"request_digest": base64url_encode(bytes(31))},
        {"nonce": "short"},
        {"nonce": "n" * 65},
        {"time": "2026-11-20T01:02:03+09:00"},
        {"time": "2026-11-20 01:02:03Z"},
        {"time": "0001-01-01T00:00:00Z"},
        {"time": 5},
        {"extra": "x"},
    ],
)
def test_damaged_statements_are_format_errors(change: dict[str, Any]) -> None:
    value = {**parse_json(format_statement(STATEMENT).encode()), **change}
    with pytest.raises(FormatError):
        parse_statement(canonical_json(value).decode())


def test_a_statement_has_one_encoding_and_a_size() -> None:
    text = format_statement(STATEMENT)
    for other in (text + " ", text.replace(":", ": ", 1), "[" + text + "]", "\ud800", ""):
        with pytest.raises(FormatError):
            parse_statement(other)
    with pytest.raises(LimitError):
        parse_statement(" " * 3000)


def _payload(data: bytes) -> dict[str, Any]:
    import base64

    raw = data.split(b".")[1]
    return parse_json(base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4)))


def _fields(wish: CertificateRequest) -> tuple:
    return wish.document_kind, wish.fiscal_year, wish.purpose, wish.idempotency_key
