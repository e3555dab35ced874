"""Offers by card: nothing without evidence, nothing but hashes at the street door, the same wish the same offer.

The register gate is the real one; what a worker could ask of it beyond an offer's count is refused here too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from app.delivery.sender import Sender
from app.errors import Refusal
from app.registers.gate import METADATA_AN_HOUR, SealWish
from app.wallets.offer_codes import code_hash, derive_codes, tx_code_hash
from mobile_api.messages import (
    CertificateRequest,
    Notice,
    OfferReady,
    Refused,
    RequestCertificate,
    RequestOffer,
    WalletWish,
)
from tests.support.city_rooms import KIND, YEAR, Device
from tests.support.wallet_rooms import WalletHouse, code_of, offer_json, wallet_house
from verifier.errors import FormatError
from verifier.formats.encoding import base64url_encode, canonical_json, sha256


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WalletHouse]:
    yield from wallet_house(tmp_path_factory.mktemp("offers"), tmp_path_factory)


@pytest.fixture
def device(house: WalletHouse) -> Device:
    return house.rooms.registered(house.rooms.people[0])


def refused(code: str) -> pytest.RaisesExc[Refusal]:
    return pytest.raises(Refusal, check=lambda no: no.code == code)


def answer(device: Device, body: RequestOffer, **options: Any) -> object:
    answers = [found for account, found in device.send(body, **options) if account == device.account]
    assert len(answers) == 1, answers
    return answers[0]


def grants(house: WalletHouse) -> int:
    return int(house.rooms.rows("SELECT count(*) FROM wallet_grants")[0][0])


# ---- an offer ---------------------------------------------------------------------------------------------------------


def test_an_offer_names_issuer_and_code_and_not_the_tx_code(house: WalletHouse, device: Device) -> None:
    ready, _ = house.offer(device)
    offer = offer_json(ready)
    assert offer["credential_issuer"] == "https://door.mihon.example/992011"
    assert offer["credential_configuration_ids"] == ["income_certificate"]
    assert re.fullmatch(r"[0-9]{6}", ready.tx_code)
    assert ready.tx_code not in ready.offer
    (grant,) = offer["grants"].values()
    assert {name: grant["tx_code"][name] for name in ("input_mode", "length")} == {
        "input_mode": "numeric",
        "length": 6,
    }
    assert ready.expires == datetime.fromtimestamp(house.rooms.at + 600, UTC)


def test_the_street_door_is_told_hashes_only(house: WalletHouse, device: Device) -> None:
    ready, grant = house.offer(device)
    send_all(house)
    told = house.door.offers[grant]
    assert told["code_hash"] == code_hash(code_of(ready)) == base64url_encode(sha256(code_of(ready).encode()))
    assert told["tx_code"]["hash"] == tx_code_hash(grant, ready.tx_code)
    assert {name: told[name] for name in ("profile", "configuration", "copies")} == {
        "profile": "p1",
        "configuration": "income_certificate",
        "copies": 10,
    }
    assert code_of(ready) not in canonical_json(told).decode()
    assert "offer" not in told


def test_an_offer_by_reference_is_known_to_the_door_by_its_hash_only(
    house: WalletHouse, device: Device
) -> None:
    ready, grant = house.offer(device, by_reference=True)
    send_all(house)
    (address,) = parse_qs(urlsplit(ready.offer).query)["credential_offer_uri"]
    issuer, _, code = address.rpartition("/offers/")
    assert issuer == "https://door.mihon.example/992011"
    assert code_hash(code) == house.door.offers[grant]["code_hash"]
    assert code not in canonical_json(house.door.offers[grant]).decode()


def test_an_offer_that_was_over_before_the_door_was_there_is_not_put(
    house: WalletHouse, device: Device
) -> None:
    _, grant = house.offer(device)
    house.rooms.clock.forward(seconds=601)
    send_all(house)
    assert grant not in house.door.offers


def send_all(house: WalletHouse) -> None:
    class Puts:
        put_offer, delete_offer = house.door.put_offer, house.door.delete_offer

        def put_answer(self, *_: object) -> None: ...
        def put_package(self, *_: object) -> None: ...
        def delete_package(self, *_: object) -> None: ...

    sender = Sender(
        house.rooms.store,
        Puts(),
        house.keys,
        city="992011",
        statement_kid="k" * 43,
        clock=house.rooms.clock,
    )
    while sender.send_due():
        pass


def test_the_door_hears_of_an_offer_before_the_phone(house: WalletHouse, device: Device) -> None:
    _, grant = house.offer(device)
    kinds = [
        row[0]
        for row in house.rooms.rows(
            f"SELECT kind FROM outbox WHERE account = '{device.account}' AND sent_at IS NULL ORDER BY position"
        )
    ]
    assert kinds.index("offer") < len(kinds) - 1 - kinds[::-1].index("answer")
    assert grant


def test_other_phones_of_the_resident_hear_of_it(house: WalletHouse, device: Device) -> None:
    other = house.rooms.registered(house.rooms.people[0])
    stranger = house.rooms.registered(house.rooms.people[3])
    house.offer(device)
    codes = {
        phone.account: [b.code for _, b in house.rooms.answers(phone.account) if isinstance(b, Notice)]
        for phone in (device, other, stranger)
    }
    assert codes[other.account] == ["wallet-offer"]
    assert "wallet-offer" not in codes[device.account] + codes[stranger.account]


# ---- the same wish ----------------------------------------------------------------------------------------------------


def test_the_same_wish_is_the_same_offer(house: WalletHouse, device: Device) -> None:
    key = base64url_encode(os.urandom(16))
    first = answer(device, device.offer_body(key=key))
    before = grants(house)
    assert answer(device, device.offer_body(key=key)) == first
    assert grants(house) == before


def test_another_wish_under_the_same_key_is_refused(house: WalletHouse, device: Device) -> None:
    key = base64url_encode(os.urandom(16))
    answer(device, device.offer_body(key=key))
    for changes in ({"copies": 9}, {"purpose": "another"}):
        no = answer(device, device.offer_body(key=key, **changes))
        assert isinstance(no, Refused)
        assert no.code == "idempotency"


def test_a_lost_answer_is_said_again_and_the_offer_ends(house: WalletHouse, device: Device) -> None:
    envelope = device.envelope(device.offer_body())
    house.rooms.deliver(envelope)
    house.rooms.clock.forward(seconds=120)
    house.rooms.deliver(replace(envelope, message_id=base64url_encode(os.urandom(16))))
    said = [body for _, body in house.rooms.answers(device.account) if isinstance(body, OfferReady)]
    assert len(said) == 2
    assert said[0] == said[1]
    house.rooms.clock.forward(seconds=600)
    house.rooms.deliver(replace(envelope, message_id=base64url_encode(os.urandom(16))))
    (no,) = [body for _, body in house.rooms.answers(device.account) if isinstance(body, Refused)]
    assert no.code == "offer-over"


def test_codes_follow_from_the_secret_alone() -> None:
    one, two = derive_codes(bytes(32)), derive_codes(bytes(31) + b"\x01")
    assert derive_codes(bytes(32)) == one
    assert one.code != two.code
    assert repr(one) == "OfferCodes(…)"
    assert len({derive_codes(os.urandom(32)).tx_code for _ in range(300)}) > 290


# ---- evidence ---------------------------------------------------------------------------------------------------------


def test_without_the_cards_evidence_there_is_no_offer(house: WalletHouse, device: Device) -> None:
    good = device.offer_body()
    stranger = house.rooms.registered(house.rooms.people[4])
    other = stranger.offer_body()
    reused = device.offer_body(used_nonce(house, device))
    before = grants(house), house.rooms.gate_rows("SELECT count(*) FROM authorised_requests")
    bad = {
        "no signature": replace(good, auth_signature=bytes(256)),
        "another card": replace(
            device.offer_body(), auth_cert=other.auth_cert, auth_signature=other.auth_signature
        ),
        "more copies than signed for": replace(device.offer_body(), wish=replace(good.wish, copies=20)),
        "another year": replace(device.offer_body(), wish=replace(good.wish, fiscal_year=2025)),
        "a nonce that was used": reused,
    }
    for why, body in bad.items():
        assert isinstance(answer(device, body), Refused), why
    assert (grants(house), house.rooms.gate_rows("SELECT count(*) FROM authorised_requests")) == before
    assert isinstance(answer(device, device.offer_body()), OfferReady)


def used_nonce(house: WalletHouse, device: Device) -> str:
    nonce = house.rooms.nonce()
    answer(device, device.offer_body(nonce))
    return nonce


def test_the_gate_itself_checks_the_card(house: WalletHouse, device: Device) -> None:
    """A worker that is not honest gets no further: the gate sees the card's signature over exactly this wish."""
    body = device.offer_body()
    evidence = {
        "statement": body.statement,
        "auth_cert": body.auth_cert,
        "auth_signature": body.auth_signature,
    }
    gate = house.rooms.gate
    for changed in (replace(body.wish, copies=20), replace(body.wish, profile="p2")):
        with refused("card-statement-request"):
            gate.open_offer(request_id="o" * 22, wish=changed, **evidence)
    with refused("card-bad-signature"):
        gate.open_offer(request_id="o" * 22, wish=body.wish, **{**evidence, "auth_signature": bytes(256)})
    assert gate.open_offer(request_id="o" * 22, wish=body.wish, **evidence)
    stranger = house.rooms.registered(house.rooms.people[4]).offer_body(key=body.wish.idempotency_key)
    with refused("idempotency"):
        gate.open_offer(
            request_id="o" * 22,
            wish=stranger.wish,
            statement=stranger.statement,
            auth_cert=stranger.auth_cert,
            auth_signature=stranger.auth_signature,
        )


def test_one_signature_of_the_card_opens_one_request(house: WalletHouse, device: Device) -> None:
    """The request id is the worker's word: with another one it would be given another set of copies."""
    body = device.offer_body()
    evidence = {
        "statement": body.statement,
        "auth_cert": body.auth_cert,
        "auth_signature": body.auth_signature,
    }
    gate = house.rooms.gate
    binding = gate.open_offer(request_id="a" * 22, wish=body.wish, **evidence)
    assert gate.open_offer(request_id="a" * 22, wish=body.wish, **evidence) == binding
    with refused("idempotency"):
        gate.open_offer(request_id="b" * 22, wish=body.wish, **evidence)
    another = device.offer_body()
    assert (
        gate.open_offer(
            request_id="b" * 22,
            wish=another.wish,
            statement=another.statement,
            auth_cert=another.auth_cert,
            auth_signature=another.auth_signature,
        )
        == binding
    )


def test_a_phones_request_and_an_offer_are_two_things(house: WalletHouse, device: Device) -> None:
    """What the card signed for the one opens the other neither here nor at the gate, whatever their members are."""
    key = base64url_encode(os.urandom(16))
    phone = CertificateRequest(KIND, YEAR, "", key)
    wallet = WalletWish(KIND, YEAR, "", key, "p1", 10)
    assert phone.digest() != wallet.digest()
    request: RequestCertificate = device.request_body(key=key)
    offer = device.offer_body(key=key)
    as_offer = RequestOffer(wallet, request.statement, request.auth_cert, request.auth_signature)
    as_request = RequestCertificate(phone, offer.statement, offer.auth_cert, offer.auth_signature)
    for body in (as_offer, as_request):
        no = answer(device, body)  # type: ignore[arg-type]
        assert isinstance(no, Refused)
        assert no.code == "card-statement-request"
    with refused("card-statement-request"):
        house.rooms.gate.open_offer(
            request_id="p" * 22,
            wish=wallet,
            statement=request.statement,
            auth_cert=request.auth_cert,
            auth_signature=request.auth_signature,
        )


def test_a_profile_that_is_off(house: WalletHouse, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    intake = house.rooms.intake
    only_p2 = replace(intake._desk.settings, wallets=replace(house.settings, profiles=("p2",)))
    monkeypatch.setattr(intake, "_desk", replace(intake._desk, settings=only_p2))
    no = answer(device, device.offer_body())
    assert isinstance(no, Refused)
    assert no.code == "wallet-profile"
    assert isinstance(answer(device, device.offer_body(profile="p2")), OfferReady)


@pytest.mark.parametrize("changes", [{"copies": 0}, {"copies": 21}, {"copies": True}, {"profile": "p3"}])
def test_wishes_beyond_the_form_are_not_written(device: Device, changes: dict[str, Any]) -> None:
    body = device.offer_body()
    wish = replace(body.wish, **changes)
    with pytest.raises(FormatError):
        device.envelope(replace(body, wish=wish))


# ---- what the gate authorises -----------------------------------------------------------------------------------------


def opened(house: WalletHouse, device: Device, copies: int) -> str:
    body = device.offer_body(copies=copies)
    request = base64url_encode(os.urandom(16))
    house.rooms.gate.open_offer(
        request_id=request,
        wish=body.wish,
        statement=body.statement,
        auth_cert=body.auth_cert,
        auth_signature=body.auth_signature,
    )
    return request


def ask(house: WalletHouse, request: str, serial: str, digest: bytes, purpose: str = "credential") -> None:
    house.rooms.gate.authorise([SealWish(purpose, digest, request, serial)])


def test_so_many_digests_as_copies_and_no_page(house: WalletHouse, device: Device) -> None:
    request = opened(house, device, 2)
    digests = [os.urandom(32) for _ in range(3)]
    with refused("not-authorised-no-page"):
        ask(house, request, "one", digests[0], "page_seal")
    ask(house, request, "one", digests[0])
    ask(house, request, "one", digests[0])  # again, after a crash
    with refused("not-authorised-second-digest"):
        ask(house, request, "one", digests[1])
    with refused("not-authorised-too-many"):
        ask(house, request, "two", digests[0])
    ask(house, request, "two", digests[1])
    with refused("not-authorised-too-many"):
        ask(house, request, "three", digests[2])
    known = house.rooms.gate_rows(
        f"SELECT count(DISTINCT digest) FROM authorisations WHERE request_id = '{request}'"
    )
    assert known == [(2,)]


def test_a_phones_request_yields_no_copies(house: WalletHouse, device: Device) -> None:
    device.send(device.request_body())
    request = house.rooms.gate_rows(
        "SELECT request_id FROM authorised_requests WHERE copies = 0 ORDER BY authorised_at DESC"
    )[0][0]
    ask(house, request, "serial", os.urandom(32))
    with refused("not-authorised-second-serial"):
        ask(house, request, "another", os.urandom(32))


def test_the_city_signs_its_metadata_and_nothing_else_without_a_request(house: WalletHouse) -> None:
    from app.wallets.metadata import issuer_metadata, metadata_signing_input

    gate, envelope = house.rooms.gate, house.rooms.envelope_key.public_key()
    metadata = issuer_metadata(house.settings, "p1", envelope)
    certificates = (house.pki.der("credential-1"), house.pki.der("issuing"))
    good = metadata_signing_input(metadata, certificates, at=house.rooms.at, life=60)
    gate.authorise_metadata(signing_input=good, serial="p1")
    bad = [
        {**metadata, "vct": house.settings.vct},
        {**metadata, "iss": house.settings.iss},
        {**metadata, "cnf": {}},
        {"credential_issuer": 1},
    ]
    wrong = [metadata_signing_input(value, certificates, at=house.rooms.at, life=60) for value in bad]
    wrong += [good.replace(good[:10], good[:10][::-1], 1), b"", b"x.y", good + b".z"]
    wrong.append(credential_input(house))
    for text in wrong:
        with refused("not-authorised-not-metadata"):
            gate.authorise_metadata(signing_input=text, serial="p1")
    with refused("not-authorised-rate"):
        gate.authorise([SealWish("credential", sha256(good), "standing:wallet-metadata", "p1")])
    for _ in range(METADATA_AN_HOUR - 1):
        gate.authorise_metadata(signing_input=good, serial="p1")
    with refused("not-authorised-rate"):
        gate.authorise_metadata(signing_input=good, serial="p1")


def credential_input(house: WalletHouse) -> bytes:
    """A forged credential that an insider would like to have signed."""
    header = {"alg": "ES256", "typ": "dc+sd-jwt"}
    claims = {"credential_issuer": "x", "sub": "x"}
    parts = (base64url_encode(canonical_json(part)) for part in (header, claims))
    return ".".join(parts).encode()
