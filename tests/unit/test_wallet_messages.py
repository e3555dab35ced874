"""A wish for an offer and the offer, on the wire, on the phone, and between the city and the street door."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from app.errors import ConflictError
from app.mailbox import CityMailbox, MailboxError
from app.wallets.answers import DeniedError
from app.wallets.credential_request import open_credential_request, open_deferred_request
from app.zones import Guard
from mobile_api.message_codecs import (
    format_answer_body,
    format_device_body,
    parse_answer_body,
    parse_device_body,
)
from mobile_api.messages import CertificateRequest, OfferReady, RequestOffer, WalletWish
from tests.support.door_house import CITY
from tests.support.verifier_bundles import new_key
from verifier.errors import FormatError
from verifier.formats.compact_jwe import encrypt_compact
from verifier.formats.encoding import base64_encode, canonical_json
from verifier.formats.jose import agreement, format_jwk, thumbprint

KEY = "A" * 22
WISH = WalletWish("income_certificate", 2026, "住宅ローン", KEY, "p1", 10)
REQUEST = RequestOffer(WISH, "statement", b"certificate", bytes(256))
READY = OfferReady(
    "openid-credential-offer://?credential_offer=%7B%7D", "012345", datetime(2026, 11, 20, tzinfo=UTC)
)


# ---- bodies -------------------------------------------------------------------------------------------------------------


def test_both_bodies_are_read_as_they_were_written() -> None:
    for by_reference in (False, True):
        body = replace(REQUEST, by_reference=by_reference)
        assert parse_device_body(*format_device_body(body)) == body
    assert parse_answer_body(*format_answer_body(READY)) == READY


@pytest.mark.parametrize(
    "change",
    [
        {"copies": 0},
        {"copies": 21},
        {"copies": "10"},
        {"copies": True},
        {"profile": "p3"},
        {"document_kind": "resident_record"},
        {"fiscal_year": 8},
        {"purpose": "two\nlines"},
        {"purpose": "x" * 201},
        {"idempotency_key": "short"},
        {"extra": 1},
    ],
)
def test_wishes_of_another_form_are_refused(change: dict[str, Any]) -> None:
    kind, value = format_device_body(REQUEST)
    assert isinstance(value, dict)
    with pytest.raises(FormatError):
        parse_device_body(kind, {**value, "wish": {**value["wish"], **change}})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "change",
    [
        {"offer": "https://evil.example"},
        {"offer": "openid-credential-offer://?a=\u202e"},
        {"offer": "openid-credential-offer://" + "x" * 5000},
        {"tx_code": "12345"},
        {"tx_code": 123456},
        {"tx_code": "１２３４５６"},
        {"expires": 1},
        {"extra": 1},
    ],
)
def test_offers_of_another_form_are_refused(change: dict[str, Any]) -> None:
    kind, value = format_answer_body(READY)
    assert isinstance(value, dict)
    with pytest.raises(FormatError):
        parse_answer_body(kind, {**value, **change})


def test_the_digest_of_a_wish_is_of_its_own_kind() -> None:
    phone = CertificateRequest(WISH.document_kind, WISH.fiscal_year, WISH.purpose, KEY)
    assert WISH.digest() != phone.digest()
    changed = [
        replace(WISH, copies=9),
        replace(WISH, profile="p2"),
        replace(WISH, fiscal_year=2025),
        replace(WISH, purpose=""),
    ]
    assert len({wish.digest() for wish in (WISH, *changed)}) == 5


# ---- what a wallet encrypted to the city --------------------------------------------------------------------------------

CITY_KEY = new_key()
KID = thumbprint(CITY_KEY.public_key())
WALLET_JWK = {**format_jwk(new_key().public_key()), "alg": "ECDH-ES", "kid": "w", "use": "enc"}
GOOD: dict[str, Any] = {
    "credential_configuration_id": "income_certificate",
    "credential_response_encryption": {"enc": "A128GCM", "jwk": WALLET_JWK},
    "proofs": {"jwt": ["a.b.c"]},
}


def sealed(value: Any, *, key: ec.EllipticCurvePublicKey | None = None, kid: str | None = KID) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    header = {} if kid is None else {"kid": kid}
    return encrypt_compact(data, key or CITY_KEY.public_key(), header=header).decode()


def test_a_sealed_request_is_read() -> None:
    for kid in (KID, None):
        found = open_credential_request(sealed(GOOD, kid=kid), KID, agreement(CITY_KEY))
        assert found.configuration == "income_certificate"
        assert found.proofs == ("a.b.c",)
        assert found.response is not None
        assert (found.response.kid, found.response.enc) == ("w", "A128GCM")
    draft = {**GOOD, "proof": {"proof_type": "jwt", "jwt": "a.b.c"}, "unknown": [1]}
    del draft["proofs"], draft["credential_response_encryption"]
    assert open_credential_request(sealed(draft), KID, agreement(CITY_KEY)).response is None


def encryption(**change: Any) -> dict[str, Any]:
    return {**GOOD, "credential_response_encryption": {**GOOD["credential_response_encryption"], **change}}


SEALED: dict[str, tuple[Any, str]] = {
    "no object": ([], "invalid_credential_request"),
    "no JSON": (b"{", "invalid_encryption_parameters"),
    "a member twice": (b'{"proofs":{},"proofs":{}}', "invalid_encryption_parameters"),
    "both names": ({**GOOD, "credential_identifier": "x"}, "invalid_credential_request"),
    "no name": ({"proofs": {"jwt": ["a"]}}, "invalid_credential_request"),
    "an identifier": (
        {"credential_identifier": "x", "proofs": {"jwt": ["a"]}},
        "unknown_credential_identifier",
    ),
    "a number for a name": ({**GOOD, "credential_configuration_id": 1}, "invalid_credential_request"),
    "no proof": ({"credential_configuration_id": "x"}, "invalid_proof"),
    "proof and proofs": ({**GOOD, "proof": {}}, "invalid_credential_request"),
    "two kinds of proof": ({**GOOD, "proofs": {"jwt": ["a"], "attestation": ["b"]}}, "invalid_proof"),
    "another kind of proof": ({**GOOD, "proofs": {"di_vp": [{}]}}, "invalid_proof"),
    "an empty list": ({**GOOD, "proofs": {"jwt": []}}, "invalid_proof"),
    "too many": ({**GOOD, "proofs": {"jwt": ["a"] * 21}}, "invalid_proof"),
    "a proof that is none": ({**GOOD, "proofs": {"jwt": [1]}}, "invalid_proof"),
    "a proof too long": ({**GOOD, "proofs": {"jwt": ["a" * 9000]}}, "invalid_proof"),
    "another encryption": (encryption(enc="A256CBC-HS512"), "invalid_encryption_parameters"),
    "another algorithm": (encryption(alg="RSA-OAEP"), "invalid_encryption_parameters"),
    "compressed": (encryption(zip="DEF"), "invalid_encryption_parameters"),
    "no key": (encryption(jwk=None), "invalid_encryption_parameters"),
    "a private key": (encryption(jwk={**WALLET_JWK, "d": "AA"}), "invalid_encryption_parameters"),
    "a kid with a space": (encryption(jwk={**WALLET_JWK, "kid": "a b"}), "invalid_encryption_parameters"),
    "a key on another curve": (
        encryption(jwk={**WALLET_JWK, "crv": "P-384"}),
        "invalid_encryption_parameters",
    ),
}


@pytest.mark.parametrize("why", SEALED)
def test_sealed_requests_that_are_refused(why: str) -> None:
    value, code = SEALED[why]
    with pytest.raises(DeniedError) as no:
        open_credential_request(sealed(value), KID, agreement(CITY_KEY))
    assert no.value.code == code
    assert no.value.detail.isascii()


def test_sealed_to_another_key_or_under_another_name() -> None:
    for text in (sealed(GOOD, key=new_key().public_key()), sealed(GOOD, kid="other"), "x", "é" * 9):
        with pytest.raises(DeniedError, match="invalid_encryption_parameters"):
            open_credential_request(text, KID, agreement(CITY_KEY))


def test_a_sealed_deferred_request() -> None:
    found = open_deferred_request(sealed({"transaction_id": "t" * 22}), KID, agreement(CITY_KEY))
    assert (found.transaction, found.response) == ("t" * 22, None)
    for value in ({}, {"transaction_id": 1}, {"transaction_id": ""}, {"transaction_id": "t" * 65}):
        with pytest.raises(DeniedError, match="invalid_transaction_id"):
            open_deferred_request(sealed(value), KID, agreement(CITY_KEY))


# ---- the city's calls at the street door --------------------------------------------------------------------------------


class Door:
    """Answers with what a test wants, and remembers what was asked."""

    def __init__(self, tmp_path: Path) -> None:
        self.asked: list[tuple[str, str]] = []
        self.status, self.body = 200, b"{}"
        self.traffic = tmp_path / "traffic.log"
        self.city = CityMailbox(
            "http://127.0.0.1:1",
            ec.generate_private_key(ec.SECP256R1()),
            city=CITY,
            guard=Guard(self.traffic),
            attempts=1,
            send=self._send,
        )

    def _send(self, request: Any, _timeout: float) -> tuple[int, dict[str, str], bytes]:
        self.asked.append((request.get_method(), request.full_url.removeprefix("http://127.0.0.1:1")))
        return self.status, {}, self.body


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def test_the_citys_calls_for_wallets_ask_the_guard(door: Door) -> None:
    door.body = canonical_json({"exchanges": [{"id": "e" * 22, "body": base64_encode(b"package")}]})
    (asked,) = door.city.exchanges(wait=3, limit=5)
    assert (asked.exchange, asked.body) == ("e" * 22, b"package")
    assert door.city.put_exchange_answer("e" * 22, b"answer") is True
    door.city.put_offer("g" * 22, b"{}")
    door.city.delete_offer("g" * 22)
    door.city.put_wallet_nonce_key(b"{}")
    assert door.asked == [
        ("GET", "/city/exchanges?wait=3&limit=5"),
        ("PUT", f"/city/exchanges/{'e' * 22}"),
        ("PUT", f"/city/offers/{'g' * 22}"),
        ("DELETE", f"/city/offers/{'g' * 22}"),
        ("PUT", "/city/wallet-nonce-key"),
    ]
    assert [line.split()[3] for line in door.traffic.read_text("ascii").splitlines()] == [
        "mailbox.exchanges",
        "mailbox.exchange-answer",
        "mailbox.offer",
        "mailbox.offer",
        "mailbox.wallet-nonce-key",
    ]


def test_what_a_hostile_door_says_of_exchanges(door: Door) -> None:
    items: list[Any] = [
        None,
        {"id": 1, "body": ""},
        {"id": "../../city/nonces", "body": ""},
        {"id": "e" * 22, "body": "no base64!"},
        {"id": "e" * 22, "body": "A" * (301 << 10)},
        {"id": "f" * 22, "body": base64_encode(b"good")},
    ]
    door.body = canonical_json({"exchanges": items})
    assert [asked.exchange for asked in door.city.exchanges(wait=0, limit=64)] == ["f" * 22]
    assert door.city.exchanges(wait=0, limit=5) == []
    for body in (b"[]", b"{}", b'{"exchanges":{}}', b"\xff"):
        door.body = body
        with pytest.raises(MailboxError):
            door.city.exchanges(wait=0)


def test_nobody_waits_any_more_or_the_offer_is_not_there(door: Door) -> None:
    door.status = 404
    assert door.city.put_exchange_answer("e" * 22, b"answer") is False
    door.city.delete_offer("g" * 22)
    with pytest.raises(MailboxError):
        door.city.put_offer("g" * 22, b"{}")
    door.status = 409
    assert door.city.put_exchange_answer("e" * 22, b"answer") is False
    with pytest.raises(ConflictError):
        door.city.put_offer("g" * 22, b"{}")


@pytest.mark.parametrize("identifier", ["../offers", "short", "x" * 65, "a/b" * 8])
def test_no_id_climbs_out_of_its_place(door: Door, identifier: str) -> None:
    for call in (door.city.delete_offer, lambda name: door.city.put_exchange_answer(name, b"x")):
        with pytest.raises(MailboxError):
            call(identifier)
    assert door.asked == []


# ---- the command line ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "made", "code"),
    [
        ("production", {"mock": True}, "demo-only"),
        ("", None, "not-a-demo"),
        ("", {"mock": True}, "not-started"),
        ("demo", None, "not-a-demo"),
    ],
)
def test_offers_without_a_person_exist_in_the_demo_only(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    profile: str,
    made: Any,
    code: str,
) -> None:
    from app.cli import main

    monkeypatch.setenv("AKASHI_PROFILE", profile)
    if made is not None:
        (tmp_path / "set-up.json").write_text(json.dumps(made))
    arguments = ["offer", "create", "--home", str(tmp_path), "--resident", "R000001", "--json"]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert code in captured.err
    assert {path.name for path in tmp_path.iterdir()} <= {"set-up.json"}
