"""The sentences of refusals: complete, in two languages, within the message's limits, and silent about protection."""

from __future__ import annotations

import pytest

from app.claims.refusals import COUNTER, CounterCause, refuse_to_counter
from app.identity import refusals as card_refusals
from app.identity.refusals import CardRefused, StatementRefused, StatusUnverifiable
from app.issuance import refusals as issuance_refusals
from app.issuance.refusals import refusal
from mobile_api.message_bodies import format_answer_body, parse_answer_body
from mobile_api.messages import Refused
from verifier.formats.encoding import canonical_json

CODES = sorted(issuance_refusals._TEXTS)


def sealed_bytes(code: str, ja: str, en: str, retry: bool) -> bytes:
    """What of a refusal goes to the phone, before it is signed and sealed."""
    return canonical_json(list(format_answer_body(Refused(code, ja, en, retry))))


@pytest.mark.parametrize("code", CODES)
def test_every_refusal_fits_into_an_answer(code: str) -> None:
    no = refusal(code)
    kind, body = format_answer_body(Refused(no.code, no.ja, no.en, no.retry))
    assert parse_answer_body(kind, body) == Refused(code, no.ja, no.en, no.retry)
    assert no.ja.endswith("。")
    assert no.en.endswith(".")
    assert not no.ja.isascii()
    assert no.en.isascii()


def test_a_code_without_a_sentence_is_a_programming_error() -> None:
    with pytest.raises(KeyError):
        refusal("no-such-code")


def card_causes() -> list[CardRefused]:
    made: list[CardRefused] = [
        StatementRefused(why) for why in ("form", "city", "purpose", "request", "device", "time")
    ]
    made.append(StatusUnverifiable("why"))
    plain = (
        "BadCardSignature",
        "CertificateExpired",
        "CertificateRevoked",
        "CertificateUnreadable",
        "WrongAuthority",
        "WrongProfile",
    )
    return made + [getattr(card_refusals, name)() for name in plain]


@pytest.mark.parametrize("no", card_causes(), ids=lambda no: no.code)
def test_every_refusal_of_a_card_fits_into_an_answer(no: CardRefused) -> None:
    assert sealed_bytes(no.code, no.ja, no.en, no.retry)


@pytest.mark.parametrize("cause", CounterCause)
def test_protection_reads_byte_for_byte_like_every_innocent_cause(cause: CounterCause) -> None:
    protected = refuse_to_counter(CounterCause.PROTECTED)
    innocent = refuse_to_counter(cause)
    # From whichever room it comes: the tax office, or the city's own intake (frozen phone, nobody matches).
    own = refusal("counter")
    expected = sealed_bytes(COUNTER.code, COUNTER.ja, COUNTER.en, COUNTER.retry)
    assert sealed_bytes(protected.code, protected.ja, protected.en, protected.retry) == expected
    assert sealed_bytes(innocent.code, innocent.ja, innocent.en, innocent.retry) == expected
    assert sealed_bytes(own.code, own.ja, own.en, own.retry) == expected


@pytest.mark.parametrize("word", ["支援", "抑止", "DV", "保護", "protect", "閲覧制限"])
def test_no_sentence_speaks_of_protection(word: str) -> None:
    for code in CODES:
        no = refusal(code)
        assert word not in no.ja
        assert word.lower() not in no.en.lower()
