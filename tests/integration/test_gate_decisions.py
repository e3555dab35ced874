"""The register gate's decisions: whom a card is bound to, which request opens, what may be signed, what leaves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from app.errors import Refusal
from app.registers import gate as gate_module
from app.registers import gate_store
from app.registers.authorisation import build_authorisation
from app.registers.card_attributes import card_attributes
from app.registers.events import Death, ProtectionSet, ReviewSet
from app.registers.gate import RegisterGate, SealWish
from app.registers.subject import subject_digest
from app.sealing.authorisation import verify_authorisation
from app.sealing.errors import SignerError
from mobile_api.messages import CertificateRequest, Register, RequestCertificate
from tests.support.city_rooms import KIND, YEAR, CityRooms, Device, city_rooms
from tests.support.door_house import make_card


@pytest.fixture
def rooms(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityRooms]:
    yield from city_rooms(tmp_path, tmp_path_factory)


def register(gate: RegisterGate, body: Register) -> str:
    return gate.register(
        statement=body.statement,
        signature_cert=body.signature_cert,
        signature=body.signature,
        auth_cert=body.auth_cert,
        auth_signature=body.auth_signature,
    )


def open_request(gate: RegisterGate, body: RequestCertificate, request_id: str = "r" * 22) -> str:
    gate.open_request(
        request_id=request_id,
        wish=body.request,
        statement=body.statement,
        auth_cert=body.auth_cert,
        auth_signature=body.auth_signature,
    )
    return request_id


def refused(code: str) -> pytest.RaisesExc[Refusal]:
    return pytest.raises(Refusal, check=lambda no: no.code == code)


@pytest.fixture
def device(rooms: CityRooms) -> Device:
    made = rooms.device(rooms.people[0])
    register(rooms.gate, made.register_body())
    return made


# ---- binding ----------------------------------------------------------------------------------------------------------


def test_a_card_is_bound_to_its_resident_and_to_nobody_else(rooms: CityRooms) -> None:
    one, two = rooms.device(rooms.people[0]), rooms.device(rooms.people[1])
    first = register(rooms.gate, one.register_body())
    second = register(rooms.gate, two.register_body())
    assert first != second
    assert register(rooms.gate, one.register_body()) == first
    people = dict(rooms.gate_rows("SELECT binding, resident_id FROM bindings"))
    assert people == {first: rooms.people[0].resident_id, second: rooms.people[1].resident_id}
    # Opaque: neither number nor name of the resident is in what leaves the gate.
    assert rooms.people[0].resident_id not in first


def test_a_second_card_of_a_resident_has_the_same_binding(rooms: CityRooms, device: Device) -> None:
    second = rooms.device(rooms.people[0])
    binding = register(rooms.gate, second.register_body())
    assert rooms.gate_rows("SELECT DISTINCT binding FROM cards") == [(binding,)]
    assert rooms.gate_rows("SELECT count(*) FROM cards") == [(2,)]


def test_an_authentication_certificate_is_never_bound_to_a_second_person(
    rooms: CityRooms, device: Device
) -> None:
    """The signature certificate of one person with the already bound authentication certificate of another."""
    other = rooms.device(rooms.people[1])
    text = other.statement("register", gate_module.NO_REQUEST, rooms.nonce())
    mixed = other.evidence(text)
    foreign = device.card.authenticate("1234", text.encode())
    with refused("counter"):
        register(rooms.gate, replace(mixed, auth_cert=foreign.certificate, auth_signature=foreign.signature))
    assert rooms.gate_rows("SELECT count(*) FROM cards") == [(1,)]
    assert rooms.gate_rows("SELECT resident_id FROM bindings") == [(rooms.people[0].resident_id,)]


def test_a_card_of_nobody_here_goes_to_the_counter(rooms: CityRooms) -> None:
    stranger = replace(card_attributes(rooms.people[0]), name="別人　太郎")
    card = make_card(rooms.jpki, rooms.directory / "stranger.json", stranger, rooms.clock())[0]
    with refused("counter"):
        register(rooms.gate, rooms.device(rooms.people[0], card=card).register_body())
    assert rooms.gate_rows("SELECT count(*) FROM bindings") == [(0,)]


def test_the_certificates_swapped_or_of_another_authority(rooms: CityRooms, tmp_path: Path) -> None:
    body = rooms.device(rooms.people[0]).register_body()
    with refused("card-wrong-authority"):
        register(rooms.gate, replace(body, signature_cert=body.auth_cert, signature=body.auth_signature))
    with refused("card-bad-signature"):
        register(rooms.gate, replace(body, signature=body.auth_signature))
    from tests.support.door_house import make_jpki

    foreign = make_jpki(tmp_path / "foreign", rooms.clock())
    card = make_card(foreign, tmp_path / "foreign.json", card_attributes(rooms.people[0]), rooms.clock())[0]
    rooms.device(rooms.people[0])
    # The same names, other keys (the key supply is shared, so the signature is over another certificate).
    made = rooms.device(rooms.people[0], card=card).register_body()
    damaged = bytearray(made.signature_cert)
    damaged[-1] ^= 1
    with refused("card-wrong-authority"):
        register(rooms.gate, replace(made, signature_cert=bytes(damaged)))


@pytest.mark.parametrize("member", ["signature_cert", "auth_cert"])
def test_no_changed_byte_of_a_certificate_is_accepted_or_trips_the_gate(
    rooms: CityRooms, member: str
) -> None:
    body = rooms.device(rooms.people[0]).register_body()
    data = getattr(body, member)
    for place in range(0, len(data), 7):
        changed = bytearray(data)
        changed[place] ^= 0x10
        with pytest.raises(Refusal):
            register(rooms.gate, replace(body, **{member: bytes(changed)}))
    assert rooms.gate_rows("SELECT count(*) FROM cards") == [(0,)]


# ---- opening a request --------------------------------------------------------------------------------------------------


def test_only_the_bound_card_opens_a_request(rooms: CityRooms, device: Device) -> None:
    open_request(rooms.gate, device.request_body())
    stranger = rooms.device(rooms.people[1])
    with refused("account"):
        open_request(rooms.gate, stranger.request_body(), "s" * 22)


def test_the_card_must_have_signed_exactly_this_wish(rooms: CityRooms, device: Device) -> None:
    body = device.request_body()
    for changed in (
        replace(body.request, fiscal_year=2025),
        replace(body.request, purpose="another"),
        replace(body.request, idempotency_key="x" * 22),
    ):
        with refused("card-statement-request"):
            open_request(rooms.gate, replace(body, request=changed))
    assert rooms.gate_rows("SELECT count(*) FROM authorised_requests") == [(0,)]


def test_a_registration_or_an_old_statement_opens_nothing(rooms: CityRooms, device: Device) -> None:
    body = device.request_body()
    text = device.statement("register", body.request.digest(), rooms.nonce())
    signed = device.card.authenticate("1234", text.encode())
    with refused("card-statement-purpose"):
        open_request(rooms.gate, replace(body, statement=text, auth_signature=signed.signature))
    rooms.clock.forward(hours=2)
    with refused("card-statement-time"):
        open_request(rooms.gate, body)


def test_one_request_number_is_one_wish_of_one_person(rooms: CityRooms, device: Device) -> None:
    body = device.request_body()
    request = open_request(rooms.gate, body)
    assert open_request(rooms.gate, body) == request  # repeated after a crash
    with refused("idempotency"):
        open_request(rooms.gate, device.request_body(purpose="another"), request)
    other = rooms.device(rooms.people[1])
    register(rooms.gate, other.register_body())
    with refused("idempotency"):
        open_request(rooms.gate, other.request_body(key=body.request.idempotency_key), request)
    assert rooms.gate_rows("SELECT count(*) FROM authorised_requests") == [(1,)]


# ---- one record for one request -----------------------------------------------------------------------------------------


def test_one_signature_of_the_card_opens_one_request(rooms: CityRooms, device: Device) -> None:
    """The card signs a wish and no request number: who brings it may not have it opened again and again."""
    body = device.request_body()
    open_request(rooms.gate, body)
    open_request(rooms.gate, body)  # a repetition after a crash
    with refused("idempotency"):
        open_request(rooms.gate, body, "s" * 22)
    open_request(rooms.gate, device.request_body(), "s" * 22)  # the control: another wish
    assert rooms.gate_rows("SELECT count(*) FROM authorised_requests") == [(2,)]


def test_no_record_without_an_opened_request(rooms: CityRooms, device: Device) -> None:
    with refused("not-authorised-unknown-request"):
        rooms.gate.record(request_id="r" * 22)
    with refused("not-authorised-unknown-request"):
        rooms.gate.recheck(request_id="r" * 22, position=0)


def test_the_record_is_the_card_holders(rooms: CityRooms) -> None:
    for number, person in enumerate(rooms.people[:6]):
        device = rooms.device(person)
        register(rooms.gate, device.register_body())
        request = open_request(rooms.gate, device.request_body(), f"request-{number:014d}")
        released = rooms.gate.record(request_id=request)
        assert released.record["person"]["name"] == person.name
        assert released.subject_digest == subject_digest(
            person.name, person.birthdate.isoformat(), released.record["person"]["address_jan1"]
        )
        assert rooms.gate.recheck(request_id=request, position=0) == released.subject_digest
    assert rooms.gate_rows("SELECT what, count(*) FROM access_log GROUP BY what ORDER BY what") == [
        ("record", 6),
        ("registered", 6),
    ]


@pytest.mark.parametrize("event", ["protected", "deceased"])
def test_protection_and_death_are_asked_again_at_hand_over(
    rooms: CityRooms, device: Device, event: str
) -> None:
    request = open_request(rooms.gate, device.request_body())
    rooms.gate.record(request_id=request)
    person = rooms.people[0].resident_id
    what = ProtectionSet(person) if event == "protected" else Death(person, date(2026, 11, 1))
    rooms.registers.record_event(what, rooms.clock())
    with refused("counter" if event == "protected" else "deceased"):
        rooms.gate.recheck(request_id=request, position=0)
    with refused("counter" if event == "protected" else "deceased"):
        rooms.gate.record(request_id=request)


def test_a_kind_or_year_that_is_not_offered(rooms: CityRooms, device: Device) -> None:
    body = device.request_body(year=1999)
    request = open_request(rooms.gate, body)
    with pytest.raises(Refusal) as no:
        rooms.gate.record(request_id=request)
    assert no.value.code not in ("counter", "technical")


def test_changes_name_bindings_only(rooms: CityRooms, device: Device) -> None:
    binding = rooms.gate_rows("SELECT binding FROM bindings")[0][0]
    unbound = rooms.people[1].resident_id
    rooms.registers.record_event(ProtectionSet(rooms.people[0].resident_id), rooms.clock())
    rooms.registers.record_event(ReviewSet(unbound), rooms.clock())
    changes = rooms.gate.changes(after=0)
    assert [(found, kind) for _, found, kind in changes] == [(binding, "protected"), ("", "review-set")]
    assert rooms.gate.changes(after=changes[0][0]) == changes[1:]


# ---- what may be signed --------------------------------------------------------------------------------------------------


def wish(request_id: str, **changes: object) -> SealWish:
    made = SealWish("page_seal", os.urandom(32), request_id, "c" * 32)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_an_authorisation_is_for_this_digest_once_and_soon(rooms: CityRooms, device: Device) -> None:
    request = open_request(rooms.gate, device.request_body())
    wanted = wish(request)
    (made,) = rooms.gate.authorise([wanted])
    public = rooms.gate_key.public_key()
    verify_authorisation(made, public, rooms.clock())
    assert (made.digest, made.request_id, made.serial) == (wanted.digest, request, wanted.serial)
    (again,) = rooms.gate.authorise([wanted])
    assert again.jti != made.jti
    with pytest.raises(SignerError, match="authorisation-forged"):
        verify_authorisation(replace(made, digest=os.urandom(32)), public, rooms.clock())
    rooms.clock.forward(minutes=3)
    with pytest.raises(SignerError, match="authorisation-expired"):
        verify_authorisation(made, public, rooms.clock())
    assert rooms.gate_rows("SELECT count(*) FROM authorisations") == [(2,)]


def test_nothing_is_authorised_for_an_unknown_request(rooms: CityRooms) -> None:
    with refused("not-authorised-unknown-request"):
        rooms.gate.authorise([wish("r" * 22)])
    assert rooms.gate_rows("SELECT count(*) FROM authorisations") == [(0,)]


def test_one_request_seals_under_one_serial(rooms: CityRooms, device: Device) -> None:
    request = open_request(rooms.gate, device.request_body())
    rooms.gate.authorise([wish(request)])
    for purpose in ("page_seal", "credential"):
        with refused("not-authorised-second-serial"):
            rooms.gate.authorise([wish(request, serial="d" * 32, purpose=purpose)])


@pytest.mark.parametrize(("purpose", "limit"), sorted(gate_module.DIGESTS_A_REQUEST.items()))
def test_few_digests_a_request_and_purpose(
    rooms: CityRooms, device: Device, purpose: str, limit: int
) -> None:
    request = open_request(rooms.gate, device.request_body())
    wishes = [wish(request, purpose=purpose) for _ in range(limit)]
    for wanted in wishes:
        rooms.gate.authorise([wanted])
    rooms.gate.authorise([wishes[0]])  # a repetition after a crash is not a new digest
    with refused("not-authorised-too-many"):
        rooms.gate.authorise([wish(request, purpose=purpose)])


@pytest.mark.parametrize("purpose", ["envelope", "checkpoint", "statement", "status_list", "", "PAGE_SEAL"])
def test_other_purposes_are_not_authorised_for_a_request(
    rooms: CityRooms, device: Device, purpose: str
) -> None:
    request = open_request(rooms.gate, device.request_body())
    with refused("not-authorised-purpose"):
        rooms.gate.authorise([wish(request, purpose=purpose)])


@pytest.mark.parametrize("purpose", ["page_seal", "credential", "envelope", "checkpoint"])
def test_the_citys_standing_requests_seal_no_certificate(rooms: CityRooms, purpose: str) -> None:
    with refused("not-authorised-rate"):
        rooms.gate.authorise([wish("standing:answer", purpose=purpose)])


def test_standing_signatures_are_bounded_by_the_hour(
    rooms: CityRooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "STANDING_AN_HOUR", {"statement": 3, "status_list": 1})
    for _ in range(3):
        rooms.gate.authorise([wish("standing:answer", purpose="statement")])
    with refused("not-authorised-rate"):
        rooms.gate.authorise([wish("standing:answer", purpose="statement")])
    rooms.gate.authorise([wish("standing:status", purpose="status_list")])
    rooms.clock.forward(hours=1, seconds=1)
    rooms.gate.authorise([wish("standing:answer", purpose="statement")])


def test_one_refused_wish_of_a_batch_leaves_nothing_behind(rooms: CityRooms, device: Device) -> None:
    request = open_request(rooms.gate, device.request_body())
    with refused("not-authorised-unknown-request"):
        rooms.gate.authorise([wish(request), wish("unknown-request-000000")])
    assert rooms.gate_rows("SELECT count(*) FROM authorisations") == [(0,)]
    assert rooms.gate.tally() == 0
    # The page's code is signed before there is a page: it is no document yet.
    rooms.gate.authorise([wish(request, purpose="credential")])
    assert rooms.gate.tally() == 0
    rooms.gate.authorise([wish(request), wish(request, purpose="credential")])
    assert rooms.gate.tally() == 1


def test_the_tally_counts_documents_and_none_twice(rooms: CityRooms, device: Device) -> None:
    request = open_request(rooms.gate, device.request_body())
    for _again in range(2):
        rooms.gate.authorise([wish(request)])
        with rooms.gate_store.begin() as connection:
            for serial in ("d" * 32, "e" * 32):
                gate_store.note_authorisation(
                    connection,
                    jti=os.urandom(16).hex(),
                    request_id=request,
                    serial=serial,
                    purpose=gate_store.COPY_PURPOSE,
                    digest=os.urandom(32).hex(),
                    at=1,
                )
    assert rooms.gate.tally() == 3


def test_an_authorisation_by_another_key_is_forged(rooms: CityRooms) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    own = build_authorisation(
        Ed25519PrivateKey.generate(),
        purpose="page_seal",
        digest=os.urandom(32),
        request_id="r" * 22,
        serial="s" * 32,
        now=rooms.clock(),
        random=os.urandom(16),
    )
    with pytest.raises(SignerError, match="authorisation-forged"):
        verify_authorisation(own, rooms.gate_key.public_key(), rooms.clock())


def test_the_wish_of_these_tests_is_what_the_card_signs() -> None:
    request = CertificateRequest(KIND, YEAR, "", "k" * 22)
    assert replace(request, purpose="x").digest() != request.digest()
