"""Issuance to a wallet inside the city: from the card-signed wish to the set of copies, with real gate, signer and log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from app.issuance.states import State
from app.registers.events import ProtectionSet, TaxRecordChanged
from app.revocation.protection import follow_changes
from app.revocation.revoke import revoke_certificate
from app.storage import accounts as account_store
from app.storage import requests as request_store
from app.storage.accounts import ACTIVE, STOPPED
from app.wallets import proofs as proofs_module
from app.wallets.grants import open_grant
from app.wallets.housekeeping import tend_grants
from mobile_api.exchanges import Denied, Issued, Noted, Pending, ResponseKey, SealedCredentialQuestion
from mobile_api.key_proof import KeyProofs
from mobile_api.messages import History, HistoryWish, Notice, StopDevice
from tests.support.city_rooms import Device
from tests.support.verifier_bundles import new_key
from tests.support.wallet_rooms import (
    Wallet,
    WalletHouse,
    credentials,
    notification_id,
    wallet_house,
)
from verifier.formats.compact_jwe import encrypt_compact, open_compact, parse_compact_jwe
from verifier.formats.credential import parse_credential, peek_claims
from verifier.formats.encoding import base64url_encode, canonical_json, parse_json
from verifier.formats.jose import agreement, build_jws, es256_signer, format_jwk, thumbprint
from verifier.formats.names import KEY_PROOF_TYP
from verifier.formats.status_list import parse_status_list


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WalletHouse]:
    yield from wallet_house(tmp_path_factory.mktemp("wallets"), tmp_path_factory)


@pytest.fixture
def device(house: WalletHouse) -> Device:
    return house.rooms.registered(house.rooms.people[0])


@pytest.fixture
def wallet(house: WalletHouse, device: Device) -> Wallet:
    return Wallet(house, house.offer(device)[1])


def denied(answer: object) -> str:
    assert isinstance(answer, Denied), answer
    assert answer.description.isascii()
    return answer.error


def notices(house: WalletHouse, device: Device) -> list[str]:
    return [body.code for _, body in house.rooms.answers(device.account) if isinstance(body, Notice)]


def request_of(house: WalletHouse, wallet: Wallet) -> str:
    return house.rooms.rows(f"SELECT request_id FROM wallet_grants WHERE grant_id = '{wallet.grant}'")[0][0]


# ---- the set ----------------------------------------------------------------------------------------------------------


def test_each_key_gets_a_copy_of_its_own(house: WalletHouse, device: Device, wallet: Wallet) -> None:
    answer = wallet.ask(wallet.request())
    texts = credentials(answer)
    claims = [peek_claims(parse_credential(text.encode())) for text in texts]
    assert [thumbprint(claim.holder_key) for claim in claims] == [
        thumbprint(key.public_key()) for key in wallet.keys
    ]
    assert all(claim.page_digest is None for claim in claims)
    assert len(notification_id(answer)) == 22
    assert notices(house, device) == ["wallet-copy"]
    # Unlinkable: two copies share what the certificate says, and nothing that marks the copy.
    for name in ("certificate_number",):
        assert len({claim.all[name] for claim in claims}) == 3
    disclosures = [set(text.split("~")[1:-1]) for text in texts]
    assert not disclosures[0] & disclosures[1]
    places = house.rooms.rows(
        f"SELECT status_list, status_index, entry FROM copies WHERE request_id = '{request_of(house, wallet)}'"
    )
    assert len({place[:2] for place in places}) == len({place[2] for place in places}) == 3


def test_no_page_was_sealed_and_the_counts_agree(house: WalletHouse, wallet: Wallet) -> None:
    before = house.rooms.gate.tally()
    wallet.ask(wallet.request())
    assert house.rooms.gate.tally() == before + 3
    request = request_of(house, wallet)
    assert house.rooms.gate_rows(
        f"SELECT purpose, count(DISTINCT digest) FROM authorisations WHERE request_id = '{request}' GROUP BY purpose"
    ) == [("copy", 3)]


def test_the_same_keys_get_the_same_set_and_other_keys_nothing(house: WalletHouse, wallet: Wallet) -> None:
    first = credentials(wallet.ask(wallet.request()))
    assert credentials(wallet.ask(wallet.request())) == first
    stranger = replace(wallet, keys=[new_key() for _ in range(3)])
    assert denied(stranger.ask(stranger.request())) == "credential_request_denied"
    fewer = replace(wallet, keys=wallet.keys[:2])
    assert denied(fewer.ask(fewer.request())) == "credential_request_denied"


def test_more_keys_than_copies_are_answered_with_the_copies_there_are(
    house: WalletHouse, device: Device
) -> None:
    wallet = Wallet(house, house.offer(device, copies=2)[1], count=5)
    assert len(credentials(wallet.ask(wallet.request()))) == 2
    assert len(credentials(wallet.ask(wallet.request()))) == 2


def test_a_token_bound_to_a_key_stays_bound(house: WalletHouse, wallet: Wallet) -> None:
    bound = replace(wallet, dpop=thumbprint(new_key().public_key()))
    bound.ask(bound.request())
    for other in (wallet, replace(wallet, dpop=thumbprint(new_key().public_key()))):
        assert denied(other.ask(other.request())) == "credential_request_denied"
    assert isinstance(bound.ask(bound.request()), Issued)


def test_the_history_and_the_console_see_it(house: WalletHouse, device: Device, wallet: Wallet) -> None:
    other = house.rooms.registered(house.rooms.people[0])
    wallet.ask(wallet.request())
    for phone in (device, other):
        (history,) = [body for _, body in phone.send(HistoryWish()) if isinstance(body, History)]
        assert "wallet-released" in [entry.code for entry in history.entries]
    assert "wallet-copy" in notices(house, other)
    steps = house.rooms.rows(f"SELECT step FROM events WHERE request_id = '{request_of(house, wallet)}'")
    assert [row[0] for row in steps] == ["payment-free-twin", "reserve", "make", "log", "release"]


# ---- who may not ------------------------------------------------------------------------------------------------------


def test_an_unknown_grant_or_another_profile_gets_nothing(house: WalletHouse, wallet: Wallet) -> None:
    stranger = replace(wallet, grant=base64url_encode(os.urandom(16)))
    assert denied(stranger.ask(stranger.request())) == "credential_request_denied"
    other = replace(wallet.request(), configuration="driving_licence")
    assert denied(wallet.ask(other)) == "unknown_credential_configuration"
    assert house.rooms.rows(f"SELECT holder_jwks FROM wallet_grants WHERE grant_id = '{wallet.grant}'") == [
        (None,)
    ]


def test_a_grant_of_one_profile_is_none_of_the_other(house: WalletHouse, wallet: Wallet) -> None:
    haip = replace(wallet, profile="p2", dpop=thumbprint(new_key().public_key()))
    assert denied(haip.ask(haip.request())) == "invalid_encryption_parameters"


BAD_PROOFS: dict[str, dict[str, Any]] = {
    "another audience": {"aud": "https://door.mihon.example/992012"},
    "an audience in a list": {"aud": ["https://door.mihon.example/992011"]},
    "no audience": {"aud": None},
    "too old": {"iat": 1},
    "no time": {"iat": None},
    "an issuer, although anonymous": {"iss": "wallet"},
    "another kind of token": {"header": {"typ": "JWT"}},
    "a key id beside the key": {"header": {"kid": "k"}},
    "a private key": {"header": {"jwk": {**format_jwk(new_key().public_key()), "d": "AA"}}},
    "somebody else's key": {"header": {"jwk": format_jwk(new_key().public_key())}},
}


@pytest.mark.parametrize("why", BAD_PROOFS)
def test_a_bad_proof_gets_nothing(house: WalletHouse, wallet: Wallet, why: str) -> None:
    changes = BAD_PROOFS[why]
    assert denied(wallet.ask(wallet.request(**changes))) == "invalid_proof"
    assert isinstance(wallet.ask(wallet.request()), Issued)


def test_proofs_of_one_key_or_of_two_nonces_get_nothing(house: WalletHouse, wallet: Wallet) -> None:
    nonce = house.new_nonce()
    one = wallet.proof(wallet.keys[0], nonce)
    twice = replace(wallet.request(nonce), proofs=(one, wallet.proof(wallet.keys[0], nonce)))
    assert denied(wallet.ask(twice)) == "invalid_proof"
    nonce = house.new_nonce()
    mixed = (wallet.proof(wallet.keys[0], nonce), wallet.proof(wallet.keys[1], house.new_nonce()))
    assert denied(wallet.ask(replace(wallet.request(), proofs=mixed))) == "invalid_proof"


def test_the_city_checks_proofs_itself(
    house: WalletHouse, wallet: Wallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: with a city that believes what the door passes on, the wrong audience above would be served."""

    def trusting(proofs: tuple[str, ...], **_rest: Any) -> KeyProofs:
        claims = [parse_json(proofs_module.parse_jws(proof).payload) for proof in proofs]
        keys = tuple(key.public_key() for key in wallet.keys)
        return KeyProofs(keys, claims[0]["nonce"], None, (None,) * len(keys))

    monkeypatch.setattr(proofs_module, "verify_key_proofs", trusting)
    assert isinstance(wallet.ask(wallet.request(aud="https://elsewhere.example")), Issued)


def test_algorithm_none_and_hmac_are_no_proofs(house: WalletHouse, wallet: Wallet) -> None:
    good = wallet.proof(wallet.keys[0], house.new_nonce()).split(".")
    for alg in ("none", "HS256", "RS256"):
        header = {"alg": alg, "jwk": format_jwk(wallet.keys[0].public_key()), "typ": KEY_PROOF_TYP}
        text = ".".join((base64url_encode(canonical_json(header)), good[1], good[2]))
        assert denied(wallet.ask(replace(wallet.request(), proofs=(text,)))) == "invalid_proof"


# ---- challenges -------------------------------------------------------------------------------------------------------


def test_a_challenge_counts_once(house: WalletHouse, wallet: Wallet) -> None:
    nonce = house.new_nonce()
    wallet.ask(wallet.request(nonce))
    assert denied(wallet.ask(wallet.request(nonce))) == "invalid_nonce"


def test_a_challenge_is_used_up_by_a_bad_proof_too(house: WalletHouse, wallet: Wallet) -> None:
    nonce = house.new_nonce()
    assert denied(wallet.ask(wallet.request(nonce, aud="https://elsewhere.example"))) == "invalid_proof"
    assert denied(wallet.ask(wallet.request(nonce))) == "invalid_nonce"


def test_the_same_exchange_again_may_use_its_challenge_again(house: WalletHouse, wallet: Wallet) -> None:
    """After a crash of the city the door asks the very same question once more."""
    request = wallet.request()
    exchange = base64url_encode(os.urandom(16))
    first = wallet.ask(request, exchange=exchange)
    del house.door.answers[exchange]
    assert credentials(wallet.ask(request, exchange=exchange)) == credentials(first)


def test_a_challenge_of_nobody_or_of_yesterday(house: WalletHouse, wallet: Wallet) -> None:
    foreign = base64url_encode(os.urandom(60))
    assert denied(wallet.ask(wallet.request(foreign))) == "invalid_nonce"
    assert denied(wallet.ask(wallet.request("short"))) == "invalid_nonce"
    old = house.new_nonce(life=60)
    house.rooms.clock.forward(seconds=61)
    assert denied(wallet.ask(wallet.request(old))) == "invalid_nonce"
    assert denied(wallet.ask(wallet.request(nonce=house.new_nonce()[:-1] + "A"))) == "invalid_nonce"
    without = build_jws(
        {"jwk": format_jwk(wallet.keys[0].public_key()), "typ": KEY_PROOF_TYP},
        canonical_json({"aud": house.settings.iss, "iat": house.rooms.at}),
        es256_signer(wallet.keys[0]),
    ).decode()
    assert denied(wallet.ask(replace(wallet.request(), proofs=(without,)))) == "invalid_proof"


# ---- deferral ---------------------------------------------------------------------------------------------------------


def test_what_is_not_ready_is_deferred_and_fetched_later(house: WalletHouse, wallet: Wallet) -> None:
    exchange = base64url_encode(os.urandom(16))
    pending = wallet.ask(wallet.request(), walk=False, exchange=exchange)
    assert isinstance(pending, Pending)
    again = wallet.deferred(pending.transaction, walk=False)
    assert again == pending
    # Who asks by the exchange hears of that one: a wallet refuses another word than its own (OpenID4VCI 1.0 section 9.2).
    assert wallet.deferred(exchange, walk=False) == replace(pending, transaction=exchange)
    later = wallet.deferred(pending.transaction)
    assert len(credentials(later)) == 3
    assert isinstance(later, Issued)
    assert "notification_id" not in parse_json(later.body, max_bytes=1 << 20)
    # The street door, which had no answer in time, asks by the exchange of the first question.
    assert credentials(wallet.deferred(exchange)) == credentials(later)


@pytest.mark.parametrize("transaction", ["x" * 22, "A" * 64])
def test_an_unknown_transaction(house: WalletHouse, wallet: Wallet, transaction: str) -> None:
    assert denied(wallet.deferred(transaction)) == "invalid_transaction_id"
    wallet.ask(wallet.request())
    assert denied(wallet.deferred(transaction)) == "invalid_transaction_id"


def test_a_transaction_of_another_grant(house: WalletHouse, device: Device, wallet: Wallet) -> None:
    pending = wallet.ask(wallet.request(), walk=False)
    assert isinstance(pending, Pending)
    other = Wallet(house, house.offer(device)[1])
    other.ask(other.request())
    assert denied(other.deferred(pending.transaction)) == "invalid_transaction_id"


def test_a_deferred_set_goes_to_the_key_that_asked_for_it(house: WalletHouse, device: Device) -> None:
    wallet = Wallet(house, house.offer(device)[1])
    wallet.dpop = thumbprint(new_key().public_key())
    pending = wallet.ask(wallet.request(), walk=False)
    assert isinstance(pending, Pending)
    bound = wallet.dpop
    for other in (thumbprint(new_key().public_key()), None):
        wallet.dpop = other
        assert denied(wallet.deferred(pending.transaction)) == "credential_request_denied"
    wallet.dpop = bound
    answer = wallet.deferred(pending.transaction)
    assert len(credentials(answer)) == 3


def test_a_set_is_kept_a_day_and_no_longer(house: WalletHouse, wallet: Wallet) -> None:
    pending = wallet.ask(wallet.request(), walk=False)
    assert isinstance(pending, Pending)
    house.walk.run_once()
    house.rooms.clock.forward(hours=23)
    house.nonce_keys.tend()
    tend_grants(house.rooms.store, at=house.rooms.at)
    assert len(credentials(wallet.deferred(pending.transaction))) == 3
    house.rooms.clock.forward(hours=2)
    assert tend_grants(house.rooms.store, at=house.rooms.at) >= 1
    assert denied(wallet.deferred(pending.transaction)) == "invalid_transaction_id"
    house.nonce_keys.tend()
    assert denied(wallet.ask(wallet.request())) == "credential_request_denied"
    assert house.rooms.rows(
        f"SELECT count(*) FROM copies WHERE request_id = '{request_of(house, wallet)}'"
        " AND (credential IS NOT NULL OR proof IS NOT NULL)"
    ) == [(0,)]


# ---- notifications ----------------------------------------------------------------------------------------------------


def test_accepted_copies_are_not_kept(house: WalletHouse, wallet: Wallet) -> None:
    answer = wallet.ask(wallet.request())
    for _ in range(2):
        assert wallet.notify(notification_id(answer), "credential_accepted") == Noted()
    assert denied(wallet.ask(wallet.request())) == "credential_request_denied"


def test_a_failure_is_noted_and_the_set_kept(house: WalletHouse, wallet: Wallet) -> None:
    answer = wallet.ask(wallet.request())
    assert wallet.notify(notification_id(answer), "credential_failure") == Noted()
    assert credentials(wallet.ask(wallet.request())) == credentials(answer)


def test_who_says_one_thing_and_the_other_in_turn_fills_no_store(house: WalletHouse, wallet: Wallet) -> None:
    identifier = notification_id(wallet.ask(wallet.request()))
    lines = (
        f"SELECT count(*) FROM events WHERE request_id = '{request_of(house, wallet)}' AND step = 'wallet'"
    )
    for _ in range(4):
        assert wallet.notify(identifier, "credential_failure") == Noted()
        assert wallet.notify(identifier, "credential_accepted") == Noted()
    assert house.rooms.rows(lines) == [(2,)]
    assert wallet.notify(identifier, "credential_deleted") == Noted()
    assert wallet.notify(identifier, "credential_accepted") == Noted()
    assert house.rooms.rows(lines) == [(3,)]
    assert house.rooms.rows(f"SELECT event FROM wallet_grants WHERE grant_id = '{wallet.grant}'") == [
        ("credential_deleted",)
    ]


def test_deleted_copies_are_revoked(house: WalletHouse, device: Device, wallet: Wallet) -> None:
    answer = wallet.ask(wallet.request())
    assert wallet.notify(notification_id(answer), "credential_deleted") == Noted()
    assert wallet.notify(notification_id(answer), "credential_deleted") == Noted()
    assert notices(house, device).count("wallet-deleted") == 1
    house.status.publish_due()
    statuses = []
    for text in credentials(answer):
        claims = peek_claims(parse_credential(text.encode()))
        token = parse_status_list(house.door.public["992011/status/1"])
        statuses.append(token.status(claims.status.index))
    assert statuses == [1, 1, 1]
    assert denied(wallet.ask(wallet.request())) == "credential_request_denied"


def test_somebody_elses_notification(house: WalletHouse, device: Device, wallet: Wallet) -> None:
    answer = wallet.ask(wallet.request())
    other = Wallet(house, house.offer(device)[1])
    assert denied(other.notify(notification_id(answer), "credential_deleted")) == "invalid_notification_id"
    assert denied(wallet.notify("x" * 22, "credential_deleted")) == "invalid_notification_id"
    assert credentials(wallet.ask(wallet.request())) == credentials(answer)


# ---- encryption -------------------------------------------------------------------------------------------------------


def response_key(key: ec.EllipticCurvePrivateKey, kid: str | None = "wallet-1") -> ResponseKey:
    return ResponseKey(key.public_key(), kid, "A128GCM")


def test_an_answer_is_encrypted_to_the_wallets_key(house: WalletHouse, wallet: Wallet) -> None:
    key = new_key()
    pending = wallet.ask(wallet.request(response=response_key(key)), walk=False)
    assert isinstance(pending, Pending)
    assert pending.body is not None
    said = parse_json(open_compact(pending.body, agreement(key)))
    assert said == {"interval": pending.interval, "transaction_id": pending.transaction}
    answer = wallet.ask(wallet.request(response=response_key(key)))
    assert isinstance(answer, Issued)
    assert answer.content_type == "application/jwt"
    assert parse_compact_jwe(answer.body).kid == "wallet-1"
    opened = parse_json(open_compact(answer.body, agreement(key)), max_bytes=1 << 20)
    assert len(opened["credentials"]) == 3
    assert b"credential" not in answer.body


def sealed(house: WalletHouse, content: dict[str, Any], **options: Any) -> SealedCredentialQuestion:
    city = house.rooms.envelope_key.public_key()
    header = {"kid": options.get("kid", thumbprint(city))}
    jwe = encrypt_compact(canonical_json(content), options.get("key", city), header=header)
    return SealedCredentialQuestion(jwe.decode("ascii"))


def content_of(wallet: Wallet, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    jwk = format_jwk(key.public_key()) | {"alg": "ECDH-ES", "kid": "w", "use": "enc"}
    return {
        "credential_configuration_id": "income_certificate",
        "credential_response_encryption": {"enc": "A256GCM", "jwk": jwk},
        "proofs": {"jwt": list(wallet.request().proofs)},
    }


def test_a_request_sealed_to_the_city(house: WalletHouse, wallet: Wallet) -> None:
    key = new_key()
    answer = wallet.ask(sealed(house, content_of(wallet, key)))
    assert isinstance(answer, Issued)
    assert len(parse_json(open_compact(answer.body, agreement(key)), max_bytes=1 << 20)["credentials"]) == 3


def test_requests_that_are_not_sealed_to_the_city(house: WalletHouse, wallet: Wallet) -> None:
    content = content_of(wallet, new_key())
    for options in ({"kid": "another"}, {"key": new_key().public_key()}):
        assert denied(wallet.ask(sealed(house, content, **options))) == "invalid_encryption_parameters"
    assert denied(wallet.ask(SealedCredentialQuestion("a.b.c.d.e"))) == "invalid_encryption_parameters"


# ---- revoked and corrected ----------------------------------------------------------------------------------------------


def invalid_bits(house: WalletHouse, texts: list[str]) -> list[int]:
    house.status.publish_due()
    token = parse_status_list(house.door.public["992011/status/1"])
    return [token.status(peek_claims(parse_credential(text.encode())).status.index) for text in texts]


def test_staff_revoke_a_whole_set_and_every_phone_hears_of_it(house: WalletHouse, device: Device) -> None:
    other = house.rooms.registered(house.rooms.people[0])
    wallet, kept = (Wallet(house, house.offer(device)[1]) for _ in range(2))
    texts, others = credentials(wallet.ask(wallet.request())), credentials(kept.ask(kept.request()))
    request = request_of(house, wallet)
    with house.rooms.store.begin() as connection:
        assert revoke_certificate(connection, request, reason="words", at=house.rooms.at)
    assert invalid_bits(house, texts) == [1, 1, 1]
    assert invalid_bits(house, others) == [0, 0, 0]
    assert "revoked" in notices(house, device)
    assert "revoked" in notices(house, other)
    assert denied(wallet.ask(wallet.request())) == "credential_request_denied"


def test_a_set_that_a_login_opened_has_no_phone_of_its_own(house: WalletHouse, device: Device) -> None:
    """As the login room does: authorised at the gate, a grant without account and code."""
    body = device.offer_body(copies=3)
    rooms = house.rooms
    request_id = base64url_encode(os.urandom(16))
    evidence = {
        "statement": body.statement,
        "auth_cert": body.auth_cert,
        "auth_signature": body.auth_signature,
    }
    binding = rooms.gate.open_offer(request_id=request_id, wish=body.wish, **evidence)
    with rooms.store.begin() as connection:
        grant = open_grant(
            connection,
            binding=binding,
            request_id=request_id,
            profile="p1",
            wish_hash=body.wish.digest(),
            idempotency_key=base64url_encode(os.urandom(16)),
            fiscal_year=body.wish.fiscal_year,
            copies=3,
            purpose="",
            evidence={},
            life=600,
            at=rooms.at,
        )
    assert grant.secret is None
    wallet = Wallet(house, grant.grant_id)
    texts = credentials(wallet.ask(wallet.request()))
    (history,) = [body for _, body in device.send(HistoryWish()) if isinstance(body, History)]
    assert "wallet-released" in [entry.code for entry in history.entries]
    with rooms.store.begin() as connection:
        assert revoke_certificate(connection, request_id, reason="words", at=rooms.at)
    assert invalid_bits(house, texts) == [1, 1, 1]
    # Nothing is queued for somebody who has no phone: it would lie in the way of everything behind it.
    accounts = {row[0] for row in rooms.rows("SELECT account FROM outbox WHERE kind = 'answer'")}
    assert accounts <= {row[0] for row in rooms.rows("SELECT account FROM accounts")}


def test_corrected_figures_between_making_and_asking(house: WalletHouse) -> None:
    person = house.rooms.people[5]
    device = house.rooms.registered(person)
    ready, making = (Wallet(house, house.offer(device)[1]) for _ in range(2))
    texts = credentials(ready.ask(ready.request()))
    pending = making.ask(making.request(), walk=False)
    assert isinstance(pending, Pending)
    for step in (house.walk.reserve, house.walk.make, house.walk.enter_log):
        step()
    record = house.rooms.registers.find_tax_record(person.resident_id, 2026)
    assert record is not None
    before = dict(record.data.get("income", {}))
    income = {**before, "salary_revenue": 1 + int(before.get("salary_revenue", 0))}
    changed = replace(record, data={**record.data, "income": income})
    house.rooms.registers.record_event(TaxRecordChanged(changed), house.rooms.clock())
    assert denied(ready.ask(ready.request())) == "credential_request_denied"
    assert denied(making.deferred(pending.transaction)) == "credential_request_denied"
    follow_changes(house.rooms.store, house.rooms.direct, at=house.rooms.at)  # type: ignore[arg-type]
    assert invalid_bits(house, texts) == [1, 1, 1]
    assert {"superseded", "corrected"} <= set(notices(house, device))


# ---- what is known later ----------------------------------------------------------------------------------------------


def test_protection_set_before_the_wallet_asks_again(house: WalletHouse) -> None:
    person = house.rooms.people[1]
    device = house.rooms.registered(person)
    wallet = Wallet(house, house.offer(device)[1])
    waiting = Wallet(house, house.offer(device)[1])
    unused = Wallet(house, house.offer(device)[1])
    first = wallet.ask(wallet.request())
    pending = waiting.ask(waiting.request(), walk=False)
    assert isinstance(first, Issued)
    assert isinstance(pending, Pending)
    house.rooms.registers.record_event(ProtectionSet(person.resident_id), house.rooms.clock())
    # Before the worker has even read of it the gate says no.
    assert denied(wallet.ask(wallet.request())) == "credential_request_denied"
    assert denied(waiting.deferred(pending.transaction)) == "credential_request_denied"
    follow_changes(house.rooms.store, house.rooms.direct, at=house.rooms.at)  # type: ignore[arg-type]
    assert denied(unused.ask(unused.request())) == "credential_request_denied"
    states = dict(house.rooms.rows("SELECT request_id, state FROM requests"))
    assert states[request_of(house, wallet)] == State.WITHDRAWN
    assert states[request_of(house, waiting)] == State.REFUSED
    ended = [row[0] for row in house.rooms.rows("SELECT item_id FROM outbox WHERE kind = 'offer-end'")]
    assert {wallet.grant, waiting.grant, unused.grant} <= set(ended)


def test_a_stopped_phones_offer_is_worth_nothing(house: WalletHouse) -> None:
    device = house.rooms.registered(house.rooms.people[2])
    other = house.rooms.registered(house.rooms.people[2])
    unused, under_way = (Wallet(house, house.offer(device)[1]) for _ in range(2))
    pending = under_way.ask(under_way.request(), walk=False)
    assert isinstance(pending, Pending)
    other.send(StopDevice(thumbprint(device.signing.public_key())))
    assert denied(unused.ask(unused.request())) == "credential_request_denied"
    assert denied(under_way.deferred(pending.transaction)) == "credential_request_denied"


def test_who_says_it_has_the_copies_keeps_none_that_it_just_got(house: WalletHouse) -> None:
    """`credential_accepted` is a wallet's word: a thief's says so at once."""
    person = house.rooms.people[3]
    device = house.rooms.registered(person)
    old, deferred = (Wallet(house, house.offer(device)[1]) for _ in range(2))
    old_answer = old.ask(old.request())
    old.notify(notification_id(old_answer), "credential_accepted")
    pending = deferred.ask(deferred.request(), walk=False)
    assert isinstance(pending, Pending)
    house.walk.run_once()
    house.rooms.clock.forward(hours=2)
    house.nonce_keys.tend()
    # Made ready two hours ago, fetched now.
    late = deferred.deferred(pending.transaction, walk=False)
    accepted = Wallet(house, house.offer(device)[1])
    answer = accepted.ask(accepted.request())
    accepted.notify(notification_id(answer), "credential_accepted")
    house.rooms.registers.record_event(ProtectionSet(person.resident_id), house.rooms.clock())
    follow_changes(house.rooms.store, house.rooms.direct, at=house.rooms.at)  # type: ignore[arg-type]
    assert invalid_bits(house, credentials(answer)) == [1, 1, 1]
    assert invalid_bits(house, credentials(late)) == [1, 1, 1]
    # What was fetched long ago stays, as paper would; its token ends all the same.
    assert invalid_bits(house, credentials(old_answer)) == [0, 0, 0]
    ended = [row[0] for row in house.rooms.rows("SELECT item_id FROM outbox WHERE kind = 'offer-end'")]
    assert {old.grant, deferred.grant, accepted.grant} <= set(ended)


def test_what_a_stopped_phone_has_just_put_into_a_wallet_is_revoked(house: WalletHouse) -> None:
    device = house.rooms.registered(house.rooms.people[2])
    other = house.rooms.registered(house.rooms.people[2])
    stolen, own = Wallet(house, house.offer(device)[1]), Wallet(house, house.offer(other)[1])
    taken, kept = stolen.ask(stolen.request()), own.ask(own.request())
    other.send(StopDevice(thumbprint(device.signing.public_key())))
    assert invalid_bits(house, credentials(taken)) == [1, 1, 1]
    assert invalid_bits(house, credentials(kept)) == [0, 0, 0]
    assert denied(stolen.ask(stolen.request())) == "credential_request_denied"
    ended = [row[0] for row in house.rooms.rows("SELECT item_id FROM outbox WHERE kind = 'offer-end'")]
    assert stolen.grant in ended
    assert own.grant not in ended


def test_the_phone_is_asked_about_once_more_at_hand_over(house: WalletHouse) -> None:
    """Whatever stopped it and whether or not anything else noticed: a set that is ready does not leave for it."""
    device = house.rooms.registered(house.rooms.people[2])
    wallet = Wallet(house, house.offer(device)[1])
    assert isinstance(wallet.ask(wallet.request()), Issued)
    with house.rooms.store.begin() as connection:
        account_store.change_state(connection, device.account, before=ACTIVE, after=STOPPED)
    assert denied(wallet.ask(wallet.request())) == "credential_request_denied"
    with house.rooms.store.begin() as connection:
        account_store.change_state(connection, device.account, before=STOPPED, after=ACTIVE)
    assert isinstance(wallet.ask(wallet.request()), Issued)


@pytest.mark.parametrize("step", ["made", "released"])
def test_copies_about_somebody_else_are_never_ready(
    house: WalletHouse, device: Device, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The gate says whom the request is about, when the record leaves and at hand-over; the copies must say the same."""
    wallet = Wallet(house, house.offer(device)[1])
    pending = wallet.ask(wallet.request(), walk=False)
    assert isinstance(pending, Pending)
    gate = house.walk._gate
    if step == "made":
        given = gate.record
        monkeypatch.setattr(
            gate, "record", lambda **of: replace(given(**of), subject_digest=bytes(32)), raising=False
        )
    else:
        monkeypatch.setattr(gate, "recheck", lambda **_of: bytes(32), raising=False)
    house.walk.run_once()
    request = request_of(house, wallet)
    assert house.rooms.rows(f"SELECT state, refusal_code FROM requests WHERE request_id = '{request}'") == [
        (State.FAILED, "other-person")
    ]
    monkeypatch.undo()
    assert denied(wallet.deferred(pending.transaction)) == "credential_request_denied"


def test_nobody_redeems_an_offer_for_ever(house: WalletHouse, wallet: Wallet) -> None:
    house.rooms.clock.forward(hours=3)
    house.nonce_keys.tend()
    assert denied(wallet.ask(wallet.request())) == "credential_request_denied"
    request = request_of(house, wallet)
    assert house.rooms.rows(f"SELECT count(*) FROM artifacts WHERE request_id = '{request}'") == [(1,)]
    tend_grants(house.rooms.store, at=house.rooms.at)
    assert house.rooms.rows(f"SELECT count(*) FROM artifacts WHERE request_id = '{request}'") == [(0,)]


def test_what_is_left_says_nothing_about_the_person(house: WalletHouse, wallet: Wallet) -> None:
    answer = wallet.ask(wallet.request())
    wallet.notify(notification_id(answer), "credential_accepted")
    request = request_of(house, wallet)
    for table in ("artifacts", "copy_drafts"):
        assert house.rooms.rows(f"SELECT count(*) FROM {table} WHERE request_id = '{request}'") == [(0,)]
    with house.rooms.store.begin() as connection:
        row = request_store.find_request(connection, request)
    assert row is not None
    assert row.state is State.RELEASED
