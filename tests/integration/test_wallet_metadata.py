"""What is published for wallets: metadata that fits the credential, signed forms, keys of challenges; and the desk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from app.errors import Refusal, SettingsError, UnavailableError
from app.house.wallet_provider import make_wallet_provider
from app.settings import _wallet_profiles
from app.storage.wallet_nonces import StoredNonceKey
from app.wallets import exchanges as exchanges_module
from app.wallets.attesters import load_attesters
from app.wallets.exchanges import BATCH, MAX_ATTEMPTS, Exchanges
from app.wallets.metadata import issuer_metadata
from app.wallets.nonce_keys import NonceKeys
from app.wallets.publisher import MetadataPublisher
from app.wallets.rooms import HANDLERS
from app.wallets.settings import WalletSettings
from mobile_api.exchanges import (
    CredentialQuestion,
    DeferredQuestion,
    Denied,
    Issued,
    LoginStart,
    Noted,
    NotificationQuestion,
    Question,
    ResponseKey,
    SealedCredentialQuestion,
    seal_question,
)
from mobile_api.wallet_nonce import parse_nonce_key
from tests.support.city_rooms import Device
from tests.support.door_house import CITY, PUBLIC_URL
from tests.support.verifier_bundles import new_key
from tests.support.wallet_rooms import Wallet, WalletHouse, credentials, wallet_house
from verifier.formats.compact_jwe import encrypt_compact, open_compact
from verifier.formats.credential import parse_credential, peek_claims
from verifier.formats.encoding import (
    base64_decode,
    base64_encode,
    base64url_encode,
    canonical_json,
    parse_json,
)
from verifier.formats.jose import (
    agreement,
    build_jws,
    es256_signer,
    format_jwk,
    parse_jwk,
    parse_jws,
    thumbprint,
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WalletHouse]:
    yield from wallet_house(tmp_path_factory.mktemp("metadata"), tmp_path_factory)


@pytest.fixture(scope="module")
def device(house: WalletHouse) -> Device:
    return house.rooms.registered(house.rooms.people[0])


def published(house: WalletHouse, name: str) -> Any:
    return parse_json(house.door.public[f"{CITY}/wallets/{name}"], max_bytes=1 << 20)


def another_publisher(house: WalletHouse, settings: WalletSettings | None = None) -> MetadataPublisher:
    """As after a restart of the worker."""
    other = MetadataPublisher.__new__(MetadataPublisher)
    other.__dict__.update(house.metadata.__dict__)
    other._published = {}
    other._settings = settings or house.settings
    return other


# ---- metadata -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("profile", "path", "encrypted"), [("p1", "", False), ("p2", "/haip", True)])
def test_the_issuer_metadata_of_a_profile(
    house: WalletHouse, profile: str, path: str, encrypted: bool
) -> None:
    house.metadata.publish_due()
    value = published(house, f"{profile}.json")
    issuer = f"{PUBLIC_URL}/{CITY}{path}"
    assert value["credential_issuer"] == issuer
    assert value["nonce_endpoint"] == f"{issuer}/nonce"
    assert value["credential_endpoint"] == f"{issuer}/credential"
    assert value["deferred_credential_endpoint"] == f"{issuer}/deferred_credential"
    assert value["notification_endpoint"] == f"{issuer}/notification"
    assert value["batch_credential_issuance"]["batch_size"] >= 10
    (key,) = value["credential_request_encryption"]["jwks"]["keys"]
    city = house.rooms.envelope_key.public_key()
    assert key == format_jwk(city) | {"alg": "ECDH-ES", "kid": thumbprint(city), "use": "enc"}
    assert value["credential_request_encryption"]["encryption_required"] is encrypted
    assert value["credential_response_encryption"]["encryption_required"] is encrypted
    (name, configuration) = next(iter(value["credential_configurations_supported"].items()))
    assert name == configuration["scope"] == "income_certificate"
    assert configuration["format"] == "dc+sd-jwt"
    assert configuration["vct"] == house.settings.vct
    proof = configuration["proof_types_supported"]["jwt"]
    assert proof["proof_signing_alg_values_supported"] == ["ES256"]
    assert ("key_attestations_required" in proof) is (profile == "p2")
    assert configuration["credential_metadata"]["display"][0]["name"].startswith("【模擬】")


def test_every_claim_of_a_credential_is_described_and_marked(house: WalletHouse, device: Device) -> None:
    house.metadata.publish_due()
    wallet = Wallet(house, house.offer(device)[1], count=1)
    (text,) = credentials(wallet.ask(wallet.request()))
    credential = parse_credential(text.encode())
    clear = set(parse_json(credential.jws.payload, max_bytes=1 << 20))
    said = peek_claims(credential).disclosed()
    described = {tuple(claim["path"]): claim for claim in published(house, "vct.json")["claims"]}
    for name, value in said.items():
        inside = [(name,), *((name, leaf) for leaf in value)] if isinstance(value, dict) else [(name,)]
        for path in inside:
            claim = described[path]
            assert claim["sd"] == ("never" if name in clear else "always"), path
            assert {display["locale"] for display in claim["display"]} == {"ja-JP", "en-US"}
    mandatory = {path for path, claim in described.items() if claim["mandatory"]}
    flat = {(name,) for name in said} | {
        (name, leaf) for name, value in said.items() if isinstance(value, dict) for leaf in value
    }
    assert mandatory <= flat
    issuer_side = published(house, "p1.json")["credential_configurations_supported"]["income_certificate"]
    assert {tuple(claim["path"]) for claim in issuer_side["credential_metadata"]["claims"]} == set(described)


def test_the_signed_form_is_the_same_metadata_by_the_credential_key(house: WalletHouse) -> None:
    house.metadata.publish_due()
    for profile in ("p1", "p2"):
        jws = parse_jws(
            house.door.public[f"{CITY}/wallets/{profile}.jwt"], typ="openidvci-issuer-metadata+jwt"
        )
        chain = [x509.load_der_x509_certificate(base64_decode(text)) for text in jws.header["x5c"]]
        key = chain[0].public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        jws.verify(key)
        # The anchor does not travel.
        assert all(found.subject != found.issuer for found in chain)
        claims = jws.payload_object()
        plain = published(house, f"{profile}.json")
        assert claims["sub"] == plain["credential_issuer"]
        assert claims["iat"] <= house.rooms.at < claims["exp"]
        assert {name: claims[name] for name in plain} == plain
        jwt_issuer = published(house, "jwt-vc-issuer.json")
        assert jwt_issuer["issuer"] == house.settings.iss
        (jwk,) = jwt_issuer["jwks"]["keys"]
        assert jwk["kid"] == thumbprint(key)
        assert parse_jwk({name: jwk[name] for name in ("crv", "kty", "x", "y")}) == key


def test_published_at_the_start_and_when_changed_and_signed_no_more_than_that(house: WalletHouse) -> None:
    house.metadata.publish_due()
    signed = "SELECT count(*) FROM authorisations WHERE request_id = 'standing:wallet-metadata'"
    before = house.rooms.gate_rows(signed)
    assert house.metadata.publish_due() == 0
    for _ in range(5):
        assert another_publisher(house).publish_due() == 6
    assert house.rooms.gate_rows(signed) == before
    everything = replace(house.settings, encrypted=frozenset({"p1", "p2"}))
    changed = another_publisher(house, everything)
    assert changed.publish_due() == 6
    assert changed.publish_due() == 0
    assert house.rooms.gate_rows(signed)[0][0] == before[0][0] + 1
    house.rooms.clock.forward(days=8)
    house.nonce_keys.tend()
    assert another_publisher(house, everything).publish_due() == 6
    assert house.rooms.gate_rows(signed)[0][0] == before[0][0] + 3


def test_no_offer_of_signing_beyond_the_rate(house: WalletHouse) -> None:
    settings = house.settings
    with pytest.raises(Refusal, match="not-authorised-rate"):
        for number in range(30):
            other = replace(settings, public_url=f"{PUBLIC_URL}{number}")
            another_publisher(house, other).publish_due()
    house.rooms.clock.forward(hours=2)


# ---- keys of challenges -------------------------------------------------------------------------------------------------


def test_a_key_is_stored_before_the_door_gets_it_and_rotates(house: WalletHouse) -> None:
    put: list[bytes] = []

    def failing(_body: bytes) -> None:
        raise UnavailableError("street-door")

    store, clock = house.rooms.store, house.rooms.clock
    with store.begin() as connection:
        connection.exec_driver_sql("DELETE FROM wallet_nonce_keys")
    with pytest.raises(UnavailableError):
        NonceKeys(store, put=failing, clock=clock).tend()
    assert house.rooms.rows("SELECT count(*), max(sent_at) FROM wallet_nonce_keys") == [(1, None)]
    keys = NonceKeys(store, put=put.append, clock=clock)
    assert keys.tend() is True
    assert keys.tend() is False
    assert house.rooms.rows("SELECT count(*) FROM wallet_nonce_keys") == [(1,)]
    first = parse_nonce_key(put[0])
    clock.forward(hours=25)
    assert keys.tend() is True
    second = parse_nonce_key(put[1])
    assert second.key != first.key
    assert second.begin >= first.begin + 86400
    # The one before is believed until what it made is over; then it is forgotten.
    assert house.rooms.rows("SELECT count(*) FROM wallet_nonce_keys") == [(2,)]
    clock.forward(hours=26)
    keys.tend()
    clock.forward(hours=26)
    keys.tend()
    assert house.rooms.rows(
        "SELECT count(*) FROM wallet_nonce_keys WHERE key_id = '" + first.key_id.hex() + "'"
    ) == [(0,)]
    assert NonceKeys(store, put=put.append, clock=clock).tend() is True  # a door that lost its store
    house.door.nonce_documents.append(put[-1])


def test_a_key_is_not_printed() -> None:
    assert "7777" not in repr(StoredNonceKey("01020304", b"\x77" * 32, 1, 2, None))


# ---- the desk -----------------------------------------------------------------------------------------------------------


def test_what_is_no_question_is_dropped_and_the_others_are_answered(
    house: WalletHouse, device: Device
) -> None:
    wallet = Wallet(house, house.offer(device)[1], count=1)
    stranger = new_key().public_key()
    good = wallet.request()
    inside = Question("A" * 21 + "A", "p1", wallet.grant, None, new_key().public_key(), good)
    city = house.rooms.envelope_key.public_key()
    before = sum(house.exchanges.dropped.values())
    house.door.questions["B" * 21 + "A"] = b"no package"
    house.door.questions["C" * 21 + "A"] = seal_question(inside, stranger, os.urandom)
    house.door.questions["D" * 21 + "A"] = seal_question(inside, city, os.urandom)  # asked under another name
    assert isinstance(wallet.ask(good), Issued)
    assert sum(house.exchanges.dropped.values()) == before + 3
    assert house.exchanges.dropped["other-exchange"] == 1
    for name in "BCD":
        assert name * 21 + "A" not in house.door.answers
        del house.door.questions[name * 21 + "A"]


def test_a_profile_that_is_off_and_a_question_nobody_answers(house: WalletHouse, device: Device) -> None:
    wallet = Wallet(house, house.offer(device)[1], count=1)
    answer = wallet.ask(LoginStart(base64url_encode(os.urandom(16)), "income_certificate"))
    assert isinstance(answer, Denied)
    desk = replace(house.exchanges._desk, settings=replace(house.settings, profiles=("p2",)))
    other = Exchanges(desk, house.door, HANDLERS)
    asked = wallet.put(wallet.request())
    other.run_once()
    no = wallet.answer(*asked)
    assert isinstance(no, Denied)


def test_a_defect_of_ours_is_tried_again_and_then_answered(house: WalletHouse, device: Device) -> None:
    wallet = Wallet(house, house.offer(device)[1], count=1)
    tried = []

    def broken(_desk: Any, _question: Any, _body: Any) -> Any:
        tried.append(1)
        raise RuntimeError("佐藤　花子")

    other = Exchanges(house.exchanges._desk, house.door, {CredentialQuestion: broken})
    asked = wallet.put(wallet.request())
    for _ in range(MAX_ATTEMPTS + 2):
        other.run_once()
    assert len(tried) == MAX_ATTEMPTS
    no = wallet.answer(*asked)
    assert isinstance(no, Denied)
    assert no.error == "server_error"
    assert "佐藤" not in no.description


def test_who_waits_and_what_was_dropped_hide_nobody(house: WalletHouse, device: Device) -> None:
    """The door lists the oldest first: a login behind twenty sets that are being made is answered at once."""
    wallet = Wallet(house, house.offer(device)[1], count=1)
    handlers = {
        DeferredQuestion: lambda _desk, _question, _body: lambda _last: None,
        NotificationQuestion: lambda _desk, _question, _body: Noted(),
    }
    other = Exchanges(house.exchanges._desk, house.door, handlers, monotonic=lambda: 0.0)
    names = [f"{number:021d}A" for number in range(20)]
    try:
        for name in names:
            house.door.questions[name] = b"no package"
        names += [wallet.put(DeferredQuestion("t" * 22))[0] for _ in range(2 * BATCH)]
        asked = wallet.put(NotificationQuestion("n" * 22, "credential_accepted"))
        names.append(asked[0])
        for _ in range(5):
            other.run_once()
        assert wallet.answer(*asked) == Noted()
    finally:
        for name in names:
            del house.door.questions[name]


def test_a_door_that_lists_other_questions_each_time_fills_no_process(
    house: WalletHouse, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchanges_module, "MAX_WAITING", 5)
    wallet = Wallet(house, house.offer(device)[1], count=1)
    handlers = {DeferredQuestion: lambda _desk, _question, _body: lambda _last: None}
    other = Exchanges(house.exchanges._desk, house.door, handlers, monotonic=lambda: 0.0)
    for _ in range(4):
        names = [wallet.put(DeferredQuestion("t" * 22))[0] for _ in range(3)]
        other.run_once()
        for name in names:
            del house.door.questions[name]
    assert len(other._waiting) == 5


# ---- profile p2: sealed both ways, bound tokens, attested keys ----------------------------------------------------------


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory, house: WalletHouse) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("provider") / "wallet-provider"
    key = make_wallet_provider(directory, now=house.rooms.clock() - timedelta(hours=1))
    with pytest.raises(FileExistsError):
        make_wallet_provider(directory, now=house.rooms.clock())
    certificate = x509.load_pem_x509_certificate((directory / "provider.pem").read_bytes())
    return {"key": key, "certificate": certificate, "file": directory / "authorities.pem"}


def attestation(house: WalletHouse, wallet: Wallet, provider: dict[str, Any], **changes: Any) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    claims = {
        "attested_keys": [format_jwk(key.public_key()) for key in wallet.keys],
        "exp": house.rooms.at + 600,
        "iat": house.rooms.at,
    } | changes
    der = provider["certificate"].public_bytes(Encoding.DER)
    header = {"typ": "key-attestation+jwt", "x5c": [base64_encode(der)]}
    return build_jws(header, canonical_json(claims), es256_signer(provider["key"])).decode()


def haip(house: WalletHouse, wallet: Wallet, reply: ec.EllipticCurvePrivateKey, attested: str | None) -> Any:
    header = {} if attested is None else {"header": {"key_attestation": attested}}
    jwk = format_jwk(reply.public_key()) | {"alg": "ECDH-ES", "kid": "w"}
    content = {
        "credential_configuration_id": "income_certificate",
        "credential_response_encryption": {"enc": "A256GCM", "jwk": jwk},
        "proofs": {"jwt": list(wallet.request(**header).proofs)},
    }
    city = house.rooms.envelope_key.public_key()
    jwe = encrypt_compact(canonical_json(content), city, header={"kid": thumbprint(city)})
    return SealedCredentialQuestion(jwe.decode())


def test_haip_asks_for_everything(house: WalletHouse, device: Device, provider: dict[str, Any]) -> None:
    settings = replace(house.settings, providers=load_attesters(provider["file"], profile="demo"))
    desk = replace(house.exchanges._desk, settings=settings)
    exchanges, before = (
        Exchanges(desk, house.door, HANDLERS, monotonic=lambda: house.monotonic[0]),
        house.exchanges,
    )
    house.exchanges = exchanges
    try:
        bound = thumbprint(new_key().public_key())
        wallet = Wallet(house, house.offer(device, profile="p2")[1], "p2", bound, count=2)
        reply = new_key()
        good = attestation(house, wallet, provider)
        stranger = {**provider, "key": new_key()}
        bad = [
            (wallet.request(), "invalid_encryption_parameters"),
            (
                wallet.request(response=ResponseKey(reply.public_key(), None, "A128GCM")),
                "invalid_encryption_parameters",
            ),
            (haip(house, wallet, reply, None), "invalid_proof"),
            (haip(house, wallet, reply, attestation(house, wallet, stranger)), "invalid_proof"),
            (
                haip(house, wallet, reply, attestation(house, wallet, provider, attested_keys=[])),
                "invalid_proof",
            ),
            (
                haip(house, wallet, reply, attestation(house, wallet, provider, exp=house.rooms.at - 1)),
                "invalid_proof",
            ),
        ]
        for body, error in bad:
            answer = wallet.ask(body)
            assert isinstance(answer, Denied), body
            assert answer.error == error
        unbound = replace(wallet, dpop=None)
        answer = unbound.ask(haip(house, unbound, reply, good))
        assert isinstance(answer, Denied)
        assert answer.error == "credential_request_denied"
        issued = wallet.ask(haip(house, wallet, reply, good))
        assert isinstance(issued, Issued)
        opened = parse_json(open_compact(issued.body, agreement(reply)), max_bytes=1 << 20)
        assert len(opened["credentials"]) == 2
    finally:
        house.exchanges = before


def test_a_mock_provider_vouches_for_nobody_in_production(provider: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="mock-in-production"):
        load_attesters(provider["file"], profile="production")
    with pytest.raises(SettingsError):
        load_attesters(provider["file"].with_name("provider.key.pem"), profile="demo")
    assert load_attesters(None, profile="production") == ()


@pytest.mark.parametrize(
    ("text", "attesters", "profile", "result"),
    [
        ("", "", "demo", ("p1", "p2")),
        ("", "", "production", ()),
        ("", "file", "production", ("p2",)),
        ("none", "", "demo", ()),
        ("p2,p1", "", "demo", ("p1", "p2")),
        ("p1", "", "production", ("p1",)),
        ("p2", "", "production", None),
        ("p1,p1", "", "demo", None),
        ("p3", "", "demo", None),
    ],
)
def test_which_profiles_are_on(
    text: str, attesters: str, profile: str, result: tuple[str, ...] | None
) -> None:
    values = {"AKASHI_WALLET_PROFILES": text, "AKASHI_WALLET_ATTESTERS": attesters}
    if result is None:
        with pytest.raises(SettingsError):
            _wallet_profiles(values, profile)
    else:
        assert _wallet_profiles(values, profile) == result


def test_production_encrypts_in_every_profile() -> None:
    settings = WalletSettings(PUBLIC_URL, CITY, ("p1",), frozenset({"p1", "p2"}), mock=False)
    value = issuer_metadata(settings, "p1", new_key().public_key())
    request = value["credential_request_encryption"]
    assert isinstance(request, dict)
    assert request["encryption_required"] is True
    assert value["display"] == [
        {"locale": "ja-JP", "name": "所得課税証明書"},
        {"locale": "en-US", "name": "Income and tax certificate"},
    ]
