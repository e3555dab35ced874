"""Bodies about devices, mandates and the counter: round trips, and one no for each member that is not as it must be."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from mobile_api import counter_bodies, device_bodies, mandate_bodies, message_bodies
from mobile_api.message_codecs import ANSWER_CODECS, DEVICE_CODECS
from mobile_api.messages import (
    AcceptMandate,
    ConfirmMandate,
    DeviceEntry,
    Devices,
    EndMandate,
    GiveMandate,
    ListDevices,
    ListMandates,
    LockDevices,
    MandateCode,
    MandateCodeWish,
    MandateEntry,
    MandateRecord,
    Mandates,
    MandateWish,
    RegisterByCode,
    RequestByMandate,
    format_answer_body,
    format_device_body,
    format_record,
    new_message_id,
    parse_answer_body,
    parse_device_body,
    parse_record,
)
from verifier.errors import AkashiVerifierError, FormatError
from verifier.formats.encoding import canonical_json, parse_canonical_json
from verifier.formats.jose import thumbprint

NOW = datetime(2026, 11, 20, 1, 2, 3, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
ID = new_message_id(os.urandom)
RECORD = MandateRecord(
    ID, "992011", "23456789ABCD", "income_certificate", (2025, 2026), "扶養の確認のため",
    date(2026, 11, 20), date(2027, 11, 20), NOW,
)  # fmt: skip
WISH = MandateWish("income_certificate", 2026, "扶養の確認のため", new_message_id(os.urandom), ID)
ENTRY = MandateEntry(
    ID, "agent", "income_certificate", (2026,), "目的", date(2026, 11, 20), date(2027, 1, 1), "in-force"
)

BODIES = [
    ListDevices(),
    LockDevices(),
    RegisterByCode(KEY, KEY, "A" * 22),
    MandateCodeWish(),
    GiveMandate(RECORD, "{}", b"cert", bytes(256)),
    AcceptMandate(ID),
    ConfirmMandate(ID),
    ConfirmMandate(ID, "01234567"),
    EndMandate(ID),
    ListMandates(),
    RequestByMandate(WISH, "{}", b"cert", bytes(256)),
]
ANSWERS = [
    Devices((), False),
    Devices((DeviceEntry(thumbprint(KEY), NOW, "active", True),), True),
    MandateCode("23456789ABCD", NOW),
    Mandates(()),
    Mandates((ENTRY, replace(ENTRY, role="giver", state="ended", cause="revoked"))),
]


def through_json(value: Any) -> Any:
    return parse_canonical_json(canonical_json(value))


@pytest.mark.parametrize("body", BODIES, ids=lambda b: type(b).__name__)
def test_what_phones_say_round_trips(body: Any) -> None:
    kind, value = format_device_body(body)
    found = parse_device_body(kind, through_json(value))
    if isinstance(body, RegisterByCode):
        assert thumbprint(found.signing_key) == thumbprint(body.signing_key)
        assert found.code == body.code
    else:
        assert found == body


@pytest.mark.parametrize("body", ANSWERS, ids=lambda b: type(b).__name__)
def test_what_the_city_answers_round_trips(body: Any) -> None:
    kind, value = format_answer_body(body)
    assert parse_answer_body(kind, through_json(value)) == body


def test_no_two_modules_share_a_word_or_a_class() -> None:
    for codecs in (DEVICE_CODECS, ANSWER_CODECS):
        assert len({codec.kind for codec in codecs}) == len(codecs)
        assert len({codec.body for codec in codecs}) == len(codecs)
    own = {"register", "request_certificate", "confirm_mail", "stop_device", "history"}
    assert own.isdisjoint(codec.kind for codec in DEVICE_CODECS)
    for module in (counter_bodies, device_bodies):
        assert module.DEVICE_CODECS
    assert {"income_certificate"} == message_bodies.DOCUMENT_KINDS


@pytest.mark.parametrize("body", [*BODIES, *ANSWERS], ids=lambda b: type(b).__name__)
def test_an_unknown_member_is_refused(body: Any) -> None:
    is_answer = body in ANSWERS
    kind, value = (format_answer_body if is_answer else format_device_body)(body)
    parse = parse_answer_body if is_answer else parse_device_body
    with pytest.raises(FormatError):
        parse(kind, {**value, "more": 1})
    for name in value:
        if name != "letter_code":
            with pytest.raises(FormatError):
                parse(kind, {key: item for key, item in value.items() if key != name})


RECORD_FAULTS: list[tuple[str, Any]] = [
    ("v", 2),
    ("v", True),
    ("mandate", "A" * 21),
    ("mandate", "A" * 21 + "B"),
    ("mandate", None),
    ("city", "99201"),
    ("city", "９９２０１１"),
    ("agent_code", "23456789ABC"),
    ("agent_code", "23456789ABC1"),
    ("agent_code", "23456789abcd"),
    ("document_kind", "resident_record"),
    ("document_kind", ["income_certificate"]),
    ("fiscal_years", []),
    ("fiscal_years", list(range(2000, 2011))),
    ("fiscal_years", [2026, 2025]),
    ("fiscal_years", [2026, 2026]),
    ("fiscal_years", [2026.0]),
    ("fiscal_years", [True]),
    ("fiscal_years", "2026"),
    ("fiscal_years", [1988]),
    ("purpose", ""),
    ("purpose", "x" * 201),
    ("purpose", "扶養\u202eの確認"),
    ("purpose", "a\nb"),
    ("valid_from", "2026-11-20T00:00:00Z"),
    ("valid_from", "20261120"),
    ("valid_from", "2026-W47-5"),
    ("valid_until", "2026-11-19"),
    ("valid_until", "2027-11-21"),
    ("valid_until", "2026-02-30"),
    ("created", "2026-11-20"),
    ("created", 1795136523),
]


@pytest.mark.parametrize(("name", "value"), RECORD_FAULTS, ids=lambda v: str(v)[:24])
def test_a_record_with_a_fault_is_refused(name: str, value: Any) -> None:
    good: Any = format_record(RECORD)
    assert parse_record(good) == RECORD
    with pytest.raises(AkashiVerifierError):
        parse_record({**good, name: value})


def test_a_mandate_lasts_a_year_and_no_day_more() -> None:
    """Both ends counted: from the 20th to the 20th of next November, in every kind of year."""
    for year in (2026, 2027):
        first = date(year, 11, 20)
        last = date(year + 1, 11, 20)
        longest = replace(RECORD, valid_from=first, valid_until=last)
        spare = 0 if (last - first).days == 366 else 1
        if spare:
            assert parse_record(format_record(longest)) == longest
        with pytest.raises(AkashiVerifierError):
            parse_record(format_record(replace(longest, valid_until=first + timedelta(days=366))))


def test_every_member_changes_what_the_card_signs() -> None:
    changed = [
        replace(RECORD, mandate=new_message_id(os.urandom)),
        replace(RECORD, city="992020"),
        replace(RECORD, agent_code="23456789ABCE"),
        replace(RECORD, fiscal_years=(2026,)),
        replace(RECORD, purpose="別の目的"),
        replace(RECORD, valid_from=date(2026, 11, 21)),
        replace(RECORD, valid_until=date(2027, 11, 19)),
        replace(RECORD, created=NOW + timedelta(seconds=1)),
    ]
    assert len({record.digest() for record in [RECORD, *changed]}) == len(changed) + 1
    wishes = [
        WISH,
        replace(WISH, fiscal_year=2025),
        replace(WISH, purpose="x"),
        replace(WISH, idempotency_key="k" * 22),
        replace(WISH, mandate=new_message_id(os.urandom)),
    ]
    assert len({wish.digest() for wish in wishes}) == len(wishes)


def test_a_wish_under_a_mandate_is_never_an_ordinary_one() -> None:
    plain = message_bodies.CertificateRequest(
        WISH.document_kind, WISH.fiscal_year, WISH.purpose, WISH.idempotency_key
    )
    assert plain.digest() != WISH.digest()


@pytest.mark.parametrize(
    "changes",
    [
        {"role": "friend"},
        {"state": "valid"},
        {"state": "ended"},
        {"cause": "revoked"},
        {"state": "ended", "cause": "protection"},
        {"fiscal_years": []},
    ],
)
def test_an_entry_with_a_fault_is_refused(changes: dict[str, Any]) -> None:
    (good,) = format_answer_body(Mandates((ENTRY,)))[1]["mandates"]
    with pytest.raises(AkashiVerifierError):
        parse_answer_body("mandates", {"mandates": [{**good, **changes}]})


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("devices", {"devices": [{}] * 101, "locked": False}),
        ("devices", {"devices": [], "locked": 0}),
        ("mandates", {"mandates": [{}] * 101}),
        ("mandate_code", {"code": "23456789ABC0", "expires": "2026-11-20T01:02:03Z"}),
    ],
)
def test_limits_of_answers(kind: str, value: Any) -> None:
    with pytest.raises(AkashiVerifierError):
        parse_answer_body(kind, value)


@pytest.mark.parametrize("code", ["0123456", "012345678", "0123456a", "０１２３４５６７"])
def test_a_letters_code_has_eight_digits(code: str) -> None:
    with pytest.raises(FormatError):
        parse_device_body("mandate_confirm", {"mandate": ID, "letter_code": code})


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=6),
    max_leaves=12,
)


@given(st.sampled_from([codec.kind for codec in (*DEVICE_CODECS, *ANSWER_CODECS)]), JSON_VALUES)
def test_any_value_gives_only_our_errors(kind: str, value: Any) -> None:
    for codec in (*DEVICE_CODECS, *ANSWER_CODECS):
        if codec.kind == kind:
            with suppress(AkashiVerifierError):
                codec.parse(value)


@given(st.sampled_from(sorted(format_record(RECORD))), JSON_VALUES)
def test_any_member_of_a_record_gives_only_our_errors(name: str, value: Any) -> None:
    with suppress(AkashiVerifierError):
        parse_record({**format_record(RECORD), name: value})


def test_codes_use_characters_that_are_not_mistaken_for_each_other() -> None:
    from app.registers.mandates import CODE_ALPHABET, CODE_LENGTH

    assert len(set(CODE_ALPHABET)) == 32
    assert not set("01IO") & set(CODE_ALPHABET)
    assert all(mandate_bodies.CODE_FORM.fullmatch(character * CODE_LENGTH) for character in CODE_ALPHABET)


def test_a_document_kind_that_is_no_text_is_refused_in_an_ordinary_wish_too() -> None:
    wish = {
        "document_kind": ["income_certificate"],
        "fiscal_year": 2026,
        "purpose": "",
        "idempotency_key": "k" * 22,
    }
    body = {"request": wish, "statement": "{}", "auth_cert": "AA==", "auth_signature": "AA=="}
    with pytest.raises(FormatError):
        parse_device_body("request_certificate", body)
