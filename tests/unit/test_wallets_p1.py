"""Profile p1 as a wallet sees it: offer, token, nonce, credential, deferred, notification, each beside its wrong twin."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mobile_api.application import create_app
from mobile_api.exchanges import CredentialQuestion, Denied, Issued, Pending, SealedCredentialQuestion
from tests.support.door_house import NOW, PUBLIC_URL
from tests.support.wallet_city import PLAIN, WalletWorld, make_wallet_world
from tests.support.wallet_client import PRE_AUTHORIZED, FlaskTransport, WalletClient, key_id, new_key
from verifier.formats.jose import thumbprint


@pytest.fixture
def world(tmp_path: Path) -> Iterator[WalletWorld]:
    world = make_wallet_world(tmp_path)
    world.city.start()
    yield world
    world.city.stop()


# --- the whole way ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dpop", [False, True])
def test_a_wallet_gets_a_batch_of_ten(world: WalletWorld, dpop: bool) -> None:
    offer = world.city.offer(tx_code="012345")
    wallet = world.wallet(dpop=dpop)
    answer = wallet.redeem(offer.code, "012345")
    assert answer.status == 200
    assert answer.json["token_type"] == ("DPoP" if dpop else "Bearer")
    assert set(answer.json) == {"access_token", "expires_in", "token_type"}
    assert answer.headers["cache-control"] == "no-store"
    keys = [new_key() for _ in range(10)]
    issued = wallet.credential(wallet.request_body(keys))
    assert (issued.status, issued.body) == (200, PLAIN)
    assert issued.headers["cache-control"] == "no-store"
    question = world.city.questions[-1]
    assert (question.profile, question.grant) == ("p1", offer.grant)
    assert question.dpop == (key_id(wallet.dpop_key) if dpop else None)
    assert isinstance(question.body, CredentialQuestion)
    assert len(question.body.proofs) == 10
    for _ in range(2):
        assert wallet.notify("notification-id-0001").status == 204


def test_an_answer_can_be_encrypted_to_the_wallet(world: WalletWorld) -> None:
    wallet = world.with_token()
    issued = wallet.credential(wallet.request_body([new_key()], encrypted=True))
    assert (issued.status, issued.headers["content-type"]) == (200, "application/jwt")
    assert b"CANARY" not in issued.body
    assert wallet.open(issued) == json.loads(PLAIN)


def test_a_sealed_request_goes_on_unread(world: WalletWorld) -> None:
    wallet = world.with_token()
    sealed = wallet.credential(wallet.request_body([new_key()], encrypted=True), seal=True)
    assert sealed.status == 200
    assert isinstance(world.city.questions[-1].body, SealedCredentialQuestion)


def test_the_singular_proof_of_older_wallets_is_taken(world: WalletWorld) -> None:
    wallet = world.with_token()
    proof = wallet.key_proof(new_key(), wallet.nonce())
    body = wallet.request_body([], nonce="x", proofs=None, proof={"proof_type": "jwt", "jwt": proof})
    assert wallet.credential(body).status == 200
    assert world.city.questions[-1].body.proofs == (proof,)


def test_unknown_parameters_are_ignored(world: WalletWorld) -> None:
    offer = world.city.offer()
    wallet = world.wallet()
    assert wallet.redeem(offer.code, headers={"X-Unknown": "1"}, unknown="1").status == 200
    assert wallet.credential(wallet.request_body([new_key()], unknown={"a": 1})).status == 200


# --- offers -------------------------------------------------------------------------------------------------


def test_an_offer_by_reference_never_tells_the_tx_code(world: WalletWorld) -> None:
    offer = world.city.offer(tx_code="000042")
    answer = world.transport.send("GET", f"{PUBLIC_URL}/992011/offers/{offer.code}", {}, None)
    assert answer.status == 200
    assert answer.json == {
        "credential_issuer": f"{PUBLIC_URL}/992011",
        "credential_configuration_ids": ["income_certificate"],
        "grants": {
            PRE_AUTHORIZED: {
                "pre-authorized_code": offer.code,
                "tx_code": {"input_mode": "numeric", "length": 6},
            }
        },
    }
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert b"000042" not in answer.body


@pytest.mark.parametrize("profile", ["p2"])
def test_an_offer_is_found_under_its_own_profile_and_while_it_lives(world: WalletWorld, profile: str) -> None:
    offer, other = world.city.offer(), world.city.offer("p2")
    path = f"{PUBLIC_URL}/992011/offers"
    get = world.transport.send
    assert get("GET", f"{path}/{offer.code}", {}, None).status == 200
    assert get("GET", f"{path}/{other.code}", {}, None).status == 404
    assert get("GET", f"{path}/{offer.grant}", {}, None).status == 404
    assert get("GET", f"{path}/{'A' * 43}", {}, None).json["error"] == "invalid_request"
    world.wallet().redeem(offer.code)
    assert get("GET", f"{path}/{offer.code}", {}, None).status == 404


def test_the_city_puts_an_offer_once_and_ends_it(world: WalletWorld) -> None:
    from tests.support.wallet_city import offer_body
    from verifier.formats.encoding import canonical_json

    offer = world.city.offer()
    body = offer_body(offer, int(NOW.timestamp()) + 600)
    path = f"/city/offers/{offer.grant}"
    assert world.city.call("PUT", path, canonical_json(body)).status_code == 200
    assert world.city.call("PUT", path, canonical_json({**body, "copies": 9})).status_code == 409
    wallet = world.wallet()
    assert wallet.redeem(offer.code).status == 200
    assert world.city.call("DELETE", path).status_code == 204
    assert wallet.credential(wallet.request_body([new_key()])).status == 401
    # A repetition that comes late does not bring it back.
    assert world.city.call("PUT", path, canonical_json(body)).status_code == 200
    assert wallet.redeem(offer.code).error == "invalid_grant"
    assert world.city.call("DELETE", "/city/offers/" + "A" * 22).status_code == 204


@pytest.mark.parametrize(
    "change",
    [
        {"copies": 0},
        {"copies": 21},
        {"copies": True},
        {"profile": "p3"},
        {"expires": int(NOW.timestamp())},
        {"expires": int(NOW.timestamp()) + 86401},
        {"expires": "soon"},
        {"code_hash": "short"},
        {"configuration": "a/b"},
        {"tx_code": {"hash": "A" * 43, "input_mode": "text", "length": 6}},
        {"tx_code": {"hash": "A" * 43, "input_mode": "numeric", "length": 3}},
        {"tx_code": "123456"},
        {"more": 1},
    ],
)
def test_bad_offers_are_refused(world: WalletWorld, change: dict[str, Any]) -> None:
    from tests.support.wallet_city import MadeOffer, new_grant, offer_body
    from verifier.formats.encoding import canonical_json

    made = MadeOffer(new_grant(), "c" * 43, None)
    good = offer_body(made, int(NOW.timestamp()) + 600)
    bad = world.city.call("PUT", f"/city/offers/{made.grant}", canonical_json({**good, **change}))
    assert bad.status_code == 400
    assert world.city.call("PUT", f"/city/offers/{made.grant}", canonical_json(good)).status_code == 200


def test_the_citys_calls_need_the_citys_key(world: WalletWorld) -> None:
    client = world.house.app.test_client()
    for method, path in (
        ("PUT", "/city/offers/" + "A" * 22),
        ("DELETE", "/city/offers/" + "A" * 22),
        ("GET", "/city/exchanges"),
        ("PUT", "/city/exchanges/" + "A" * 22),
        ("PUT", "/city/wallet-nonce-key"),
    ):
        assert client.open(path, method=method).status_code == 401, path


# --- /token -------------------------------------------------------------------------------------------------


def test_tx_code_rules(world: WalletWorld) -> None:
    wallet = world.wallet()
    with_code, without = world.city.offer(tx_code="000042"), world.city.offer()
    assert wallet.redeem(with_code.code).error == "invalid_request"
    assert wallet.redeem(without.code, "000042").error == "invalid_request"
    for wrong in ("42", "000043", "0000042", " 000042", "０００４２"):
        assert wallet.redeem(with_code.code, wrong).error == "invalid_grant", wrong
    assert wallet.redeem(without.code).status == 200


def test_leading_zeros_count_and_asking_without_costs_no_attempt(world: WalletWorld) -> None:
    wallet = world.wallet()
    offer = world.city.offer(tx_code="000042")
    for _ in range(10):
        assert wallet.redeem(offer.code).error == "invalid_request"
    assert wallet.redeem(offer.code, "42").error == "invalid_grant"
    assert wallet.redeem(offer.code, "000042").status == 200


def test_the_code_dies_after_five_wrong_guesses(world: WalletWorld) -> None:
    wallet = world.wallet()
    four, five = world.city.offer(tx_code="111111"), world.city.offer(tx_code="111111")
    for _ in range(4):
        assert wallet.redeem(four.code, "222222").error == "invalid_grant"
    assert wallet.redeem(four.code, "111111").status == 200
    for _ in range(5):
        assert wallet.redeem(five.code, "222222").error == "invalid_grant"
    assert wallet.redeem(five.code, "111111").error == "invalid_grant"


def test_a_code_is_for_once_and_for_its_time(world: WalletWorld) -> None:
    wallet = world.wallet()
    once, late = world.city.offer(), world.city.offer(life=600)
    assert wallet.redeem(once.code).status == 200
    assert wallet.redeem(once.code).error == "invalid_grant"
    assert wallet.redeem("A" * 43).error == "invalid_grant"
    assert wallet.redeem("not a code").error == "invalid_grant"
    world.house.clock.forward(seconds=540)
    assert world.wallet().redeem(world.city.offer().code).status == 200
    world.house.clock.forward(seconds=120)
    assert wallet.redeem(late.code).error == "invalid_grant"


def _race(world: WalletWorld, work: Any, count: int = 8) -> list[Any]:
    """Work in parallel on two applications over one store, as two processes would."""
    second = create_app(world.house.settings, clock=world.house.clock)
    apps = [world.house.app, second]
    results: list[Any] = []
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        wallet = WalletClient(
            FlaskTransport(apps[number % 2], PUBLIC_URL), f"{PUBLIC_URL}/992011", world.house.clock
        )
        barrier.wait()
        results.append(work(wallet, number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_of_parallel_redemptions_exactly_one_wins(world: WalletWorld) -> None:
    offer = world.city.offer(tx_code="123456")
    found = _race(world, lambda wallet, _n: wallet.redeem(offer.code, "123456").status)
    assert sorted(found)[:1] == [200]
    assert found.count(200) == 1


def test_parallel_guesses_are_at_most_five(world: WalletWorld) -> None:
    # The sixth guess and all after it are not even compared: the right one comes too late.
    offer = world.city.offer(tx_code="000005")
    found = _race(world, lambda wallet, n: wallet.redeem(offer.code, f"{n + 100:06d}").error, 12)
    assert found.count("invalid_grant") == 12
    assert world.wallet().redeem(offer.code, "000005").error == "invalid_grant"
    with world.house.app.extensions["akashi-door"].store.read() as connection:
        from sqlalchemy import select

        from mobile_api.store.wallet_tables import wallet_offers

        attempts = select(wallet_offers.c.attempts).where(wallet_offers.c.grant_id == offer.grant)
        assert connection.execute(attempts).scalar_one() == 5


TOKEN_FORM = {"grant_type": PRE_AUTHORIZED, "pre-authorized_code": "A" * 43}


@pytest.mark.parametrize(
    ("body", "kind", "error"),
    [
        (b"", None, "invalid_request"),
        (b"grant_type=", None, "invalid_request"),
        (b"grant_type=password", None, "unsupported_grant_type"),
        (b"grant_type=authorization_code&code=x", None, "unsupported_grant_type"),
        (b"grant_type=" + PRE_AUTHORIZED.encode(), None, "invalid_request"),
        (b"grant_type=" + PRE_AUTHORIZED.encode() + b"&pre-authorized_code=x", None, "invalid_grant"),
        (b"grant_type=a&grant_type=a", None, "invalid_request"),
        (
            b"grant_type=" + PRE_AUTHORIZED.encode() + b"&pre-authorized_code=x&pre-authorized_code=y",
            None,
            "invalid_request",
        ),
        (b"grant_type", None, "invalid_request"),
        (b"a=%ff&grant_type=b", None, "invalid_request"),
        ("grant_type=é".encode(), None, "invalid_request"),
        (b"&".join(b"a%d=1" % n for n in range(50)), None, "invalid_request"),
        (b"grant_type=" + b"a" * 5000, None, "invalid_request"),
        (json.dumps(TOKEN_FORM).encode(), "application/json", "invalid_request"),
        (b"grant_type=x", "multipart/form-data", "invalid_request"),
    ],
)
def test_bad_forms_are_errors_of_oauth(world: WalletWorld, body: bytes, kind: str | None, error: str) -> None:
    wallet = world.wallet()
    answer = wallet.post(f"{wallet.issuer}/token", body, content_type=kind)
    assert (answer.status, answer.error) == (400, error)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


def test_parameters_in_the_address_are_refused(world: WalletWorld) -> None:
    wallet, offer = world.wallet(), world.city.offer()
    form = {"grant_type": PRE_AUTHORIZED, "pre-authorized_code": offer.code}
    assert wallet.post(f"{wallet.issuer}/token?tx_code=1", form).error == "invalid_request"
    assert wallet.post(f"{wallet.issuer}/token", form).status == 200


def test_large_bodies_are_refused(world: WalletWorld) -> None:
    wallet = world.with_token()
    large = b"a=" + b"x" * (200 << 10)
    for name in ("token", "credential", "deferred_credential", "notification"):
        kind = None if name == "token" else "application/json"
        headers = wallet.show_token("x")
        answer = wallet.post(f"{wallet.issuer}/{name}", large, headers, kind)
        assert (answer.status, answer.error) == (413, "invalid_request"), name


def test_no_tokens_and_codes_in_store_or_log(world: WalletWorld, tmp_path: Path, caplog: Any) -> None:
    caplog.set_level("DEBUG")
    offer = world.city.offer(tx_code="918273")
    wallet = world.wallet(dpop=True)
    wallet.redeem(offer.code, "918273")
    issued = wallet.credential(wallet.request_body([new_key()]))
    assert b"CANARY-CREDENTIAL" in issued.body
    everything = b"".join(p.read_bytes() for p in (tmp_path / "door").rglob("*") if p.is_file())
    assert offer.grant.encode() in everything
    for secret in (offer.code, "918273", wallet.token, "CANARY-CREDENTIAL"):
        assert secret.encode() not in everything, secret
        assert secret not in caplog.text
    assert offer.grant not in caplog.text


# --- the token where it is shown ------------------------------------------------------------------------------

END_POINTS = ("credential", "deferred_credential", "notification")


@pytest.mark.parametrize("end_point", END_POINTS)
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer x",
        "Basic abc",
        "Bearer " + "A" * 54,
        "Bearer a b",
        "DPoP " + "A" * 54,
        "é",
    ],
)
def test_without_a_good_token_nothing_is_answered(
    world: WalletWorld, end_point: str, header: str | None
) -> None:
    wallet = world.wallet()
    headers = {} if header is None else {"Authorization": header}
    answer = wallet.post(f"{wallet.issuer}/{end_point}", b"{}", headers, "application/json")
    assert (answer.status, answer.error) == (401, "invalid_token")
    challenge = answer.headers["www-authenticate"]
    assert "Bearer" in challenge or "DPoP" in challenge
    assert ("error=" in challenge) == (header is not None)


def test_a_token_ends(world: WalletWorld) -> None:
    wallet = world.with_token()
    world.house.clock.forward(seconds=3599)
    assert wallet.notify("notification-id-0001").status == 204
    world.house.clock.forward(seconds=1)
    assert wallet.notify("notification-id-0001").status == 401


def test_the_end_in_a_token_cannot_be_put_off(world: WalletWorld) -> None:
    from verifier.formats.encoding import base64url_decode, base64url_encode

    wallet = world.with_token()
    data = base64url_decode(wallet.token)
    wallet.token = base64url_encode(data[:-8] + (2**40).to_bytes(8, "big"))
    assert wallet.notify("notification-id-0001").status == 401


def test_a_token_of_one_profile_is_nothing_in_the_other(world: WalletWorld) -> None:
    wallet = world.with_token()
    stranger = world.wallet("p2")
    stranger.token = wallet.token
    assert stranger.notify("notification-id-0001").status == 401
    assert wallet.notify("notification-id-0001").status == 204


# --- nonces -------------------------------------------------------------------------------------------------


def test_nonces_are_fresh_and_kept_by_nobody(world: WalletWorld) -> None:
    wallet = world.wallet()
    answer = wallet.post(f"{wallet.issuer}/nonce", b"")
    assert (answer.status, set(answer.json)) == (200, {"c_nonce"})
    assert answer.headers["cache-control"] == "no-store"
    assert len({wallet.nonce() for _ in range(50)}) == 50


def test_a_nonce_counts_once(world: WalletWorld) -> None:
    wallet = world.with_token()
    nonce = wallet.nonce()
    assert wallet.credential(wallet.request_body([new_key()], nonce=nonce)).status == 200
    again = wallet.credential(wallet.request_body([new_key()], nonce=nonce))
    assert (again.status, again.error) == (400, "invalid_nonce")


def test_of_parallel_uses_of_a_nonce_exactly_one_wins(world: WalletWorld) -> None:
    owner = world.with_token()
    nonce = owner.nonce()

    def use(wallet: WalletClient, _number: int) -> int:
        wallet.token = owner.token
        return wallet.credential(wallet.request_body([new_key()], nonce=nonce)).status

    found = _race(world, use, 6)
    assert sorted(found) == [200] + [400] * 5 or sorted(found) == [202] + [400] * 5


@pytest.mark.parametrize("nonce", ["n" * 80, "", "x"])
def test_foreign_nonces_are_refused(world: WalletWorld, nonce: str) -> None:
    wallet = world.with_token()
    proof = wallet.key_proof(new_key(), nonce)
    answer = wallet.credential(wallet.request_body([], nonce="-", proofs={"jwt": [proof]}))
    assert answer.error == ("invalid_nonce" if nonce else "invalid_proof")


def test_an_old_nonce_is_refused(world: WalletWorld) -> None:
    wallet = world.with_token()
    nonce = wallet.nonce()
    world.house.clock.forward(seconds=300)
    assert wallet.credential(wallet.request_body([new_key()], nonce=nonce)).error == "invalid_nonce"
    assert wallet.credential(wallet.request_body([new_key()])).status == 200


def test_a_proof_without_nonce_is_a_bad_proof(world: WalletWorld) -> None:
    wallet = world.with_token()
    proof = wallet.key_proof(new_key(), None)
    answer = wallet.credential(wallet.request_body([], nonce="-", proofs={"jwt": [proof]}))
    assert (answer.status, answer.error) == (400, "invalid_proof")


# --- credential requests --------------------------------------------------------------------------------------


def _cases(wallet: WalletClient) -> dict[str, tuple[Any, str]]:
    key = new_key()
    jwk = wallet.response_encryption()

    def with_(**changes: Any) -> Any:
        return wallet.request_body([key], nonce="n" * 80, **changes)

    encryption = "credential_response_encryption"
    return {
        "no configuration": (with_(credential_configuration_id=None), "invalid_credential_request"),
        "both": (with_(credential_identifier="x"), "invalid_credential_request"),
        "identifier": (
            with_(credential_configuration_id=None, credential_identifier="x"),
            "unknown_credential_identifier",
        ),
        "unknown": (with_(credential_configuration_id="x"), "unknown_credential_configuration"),
        "a number": (with_(credential_configuration_id=1), "invalid_credential_request"),
        "no proofs": (with_(proofs=None), "invalid_proof"),
        "empty proofs": (with_(proofs={"jwt": []}), "invalid_proof"),
        "proofs are a list": (with_(proofs=[]), "invalid_proof"),
        "two kinds": (with_(proofs={"jwt": ["a.b.c"], "ldp_vp": [{}]}), "invalid_proof"),
        "another kind": (with_(proofs={"ldp_vp": [{}]}), "invalid_proof"),
        "proof and proofs": (with_(proof={"proof_type": "jwt", "jwt": "x"}), "invalid_proof"),
        "proof is no text": (with_(proofs={"jwt": [1]}), "invalid_proof"),
        "another singular": (with_(proofs=None, proof={"proof_type": "cwt", "cwt": "x"}), "invalid_proof"),
        "too many": (with_(proofs={"jwt": ["x"] * 21}), "invalid_proof"),
        "zip": (with_(**{encryption: {**jwk, "zip": "DEF"}}), "invalid_encryption_parameters"),
        "enc": (with_(**{encryption: {**jwk, "enc": "A128CBC-HS256"}}), "invalid_encryption_parameters"),
        "no enc": (with_(**{encryption: {"jwk": jwk["jwk"]}}), "invalid_encryption_parameters"),
        "no jwk": (with_(**{encryption: {"enc": "A256GCM"}}), "invalid_encryption_parameters"),
        "alg": (
            with_(**{encryption: {**jwk, "jwk": {**jwk["jwk"], "alg": "RSA-OAEP"}}}),
            "invalid_encryption_parameters",
        ),
        "use": (
            with_(**{encryption: {**jwk, "jwk": {**jwk["jwk"], "use": "sig"}}}),
            "invalid_encryption_parameters",
        ),
        "private": (
            with_(**{encryption: {**jwk, "jwk": {**jwk["jwk"], "d": "x"}}}),
            "invalid_encryption_parameters",
        ),
        "curve": (
            with_(**{encryption: {**jwk, "jwk": {**jwk["jwk"], "crv": "P-384"}}}),
            "invalid_encryption_parameters",
        ),
        "kid": (
            with_(**{encryption: {**jwk, "jwk": {**jwk["jwk"], "kid": "é"}}}),
            "invalid_encryption_parameters",
        ),
        "a list": (b"[]", "invalid_credential_request"),
        "not json": (b"{", "invalid_credential_request"),
        "twice": (b'{"a":1,"a":2}', "invalid_credential_request"),
        "deep": (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", "invalid_credential_request"),
        "not unicode": (b'{"a":"\xff"}', "invalid_credential_request"),
    }


def test_each_bad_request_has_its_code(world: WalletWorld) -> None:
    wallet = world.with_token()
    asked = len(world.city.questions)
    for name, (body, error) in _cases(wallet).items():
        answer = wallet.credential(body)
        assert (answer.status, answer.error) == (400, error), name
        said = answer.json.get("error_description", "")
        assert said.isascii() and '"' not in said and "\\" not in said, name
    assert len(world.city.questions) == asked
    assert wallet.credential(wallet.request_body([new_key()])).status == 200


def test_other_content_types_and_bad_jwes(world: WalletWorld) -> None:
    wallet = world.with_token()
    url = f"{wallet.issuer}/credential"
    form = wallet.post(url, b"a=1", wallet.show_token(url))
    assert form.error == "invalid_credential_request"
    for body in (b"", b"x", b"a.b.c.d.e", b"\xff", b"." * 4):
        answer = wallet.post(url, body, wallet.show_token(url), "application/jwt")
        assert answer.error == "invalid_encryption_parameters", body


def test_a_request_sealed_to_another_key_is_refused(world: WalletWorld) -> None:
    from verifier.formats.compact_jwe import encrypt_compact

    wallet = world.with_token()
    url = f"{wallet.issuer}/credential"
    other = new_key().public_key()
    body = encrypt_compact(b"{}", other, header={"kid": thumbprint(other)})
    answer = wallet.post(url, body, wallet.show_token(url), "application/jwt")
    assert answer.error == "invalid_encryption_parameters"


def test_where_encryption_is_required_it_is_required(tmp_path: Path) -> None:
    world = make_wallet_world(tmp_path)
    required = {"enc_values_supported": ["A256GCM"], "alg_values_supported": ["ECDH-ES"]}
    world.city.publish("p1", credential_response_encryption={**required, "encryption_required": True})
    world.city.start()
    wallet = world.with_token()
    plain = wallet.credential(wallet.request_body([new_key()]))
    assert plain.error == "invalid_encryption_parameters"
    assert wallet.credential(wallet.request_body([new_key()], encrypted=True)).status == 200
    # A city that answers in the clear although the wallet gave a key: it does not leave the house.
    world.city.answers = lambda _question: Issued("application/json", PLAIN)
    refused = wallet.credential(wallet.request_body([new_key()], encrypted=True))
    assert refused.status == 503
    assert b"CANARY" not in refused.body
    world.city.stop()


def test_requests_in_the_clear_are_refused_where_the_metadata_says_so(tmp_path: Path) -> None:
    from tests.support.wallet_city import issuer_metadata

    world = make_wallet_world(tmp_path)
    encryption = issuer_metadata("p1", world.city.envelope_key)["credential_request_encryption"]
    world.city.publish("p1", credential_request_encryption={**encryption, "encryption_required": True})
    world.city.start()
    wallet = world.with_token()
    body = wallet.request_body([new_key()], encrypted=True)
    assert wallet.credential(body).error == "invalid_encryption_parameters"
    assert wallet.credential(body, seal=True).status == 200
    world.city.stop()


def test_the_citys_no_is_the_protocols(world: WalletWorld) -> None:
    wallet = world.with_token()
    world.city.answers = lambda _question: Denied("credential_request_denied", "other keys were used before")
    answer = wallet.credential(wallet.request_body([new_key()]))
    assert (answer.status, answer.json) == (
        400,
        {"error": "credential_request_denied", "error_description": "other keys were used before"},
    )
    world.city.answers = lambda _question: Denied("invalid_token", "")
    answer = wallet.credential(wallet.request_body([new_key()]))
    assert (answer.status, answer.error) == (401, "invalid_token")


# --- deferred -------------------------------------------------------------------------------------------------


def test_pending_then_issued_under_the_same_transaction(world: WalletWorld) -> None:
    wallet = world.with_token()
    transaction = "transaction-0001-abc"
    answers = iter([Pending(transaction, 7), Pending(transaction, 7), Issued("application/json", PLAIN)])
    world.city.answers = lambda _question: next(answers)
    first = wallet.credential(wallet.request_body([new_key()]))
    assert (first.status, first.json) == (202, {"transaction_id": transaction, "interval": 7})
    assert wallet.deferred(transaction).json == first.json
    last = wallet.deferred(transaction)
    assert (last.status, last.body) == (200, PLAIN)


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_city_with_another_word_for_it_does_not_confuse_the_wallet(
    world: WalletWorld, encrypted: bool
) -> None:
    """oid4vc-ts takes "not yet" only under the transaction it asked with (section 9.2)."""
    wallet = world.with_token()
    world.city.answers = lambda _question: Pending("transaction-0001-abc", 7)
    assert wallet.credential(wallet.request_body([new_key()])).status == 202
    world.city.answers = lambda _question: Pending("transaction-0002-abc", 9)
    changes = {"credential_response_encryption": wallet.response_encryption()} if encrypted else {}
    answer = wallet.deferred("transaction-0001-abc", changes=changes)
    assert answer.status == 202
    assert answer.headers["content-type"] == ("application/jwt" if encrypted else "application/json")
    assert wallet.open(answer) == {"transaction_id": "transaction-0001-abc", "interval": 9}


def test_a_transaction_belongs_to_its_grant(world: WalletWorld) -> None:
    owner, stranger = world.with_token(), world.with_token()
    world.city.answers = lambda _question: Pending("transaction-0001-abc", 7)
    assert owner.credential(owner.request_body([new_key()])).status == 202
    asked = len(world.city.questions)
    for transaction in ("transaction-0001-abc", "transaction-0002-abc", "", "é", 1):
        answer = stranger.deferred(transaction)
        assert (answer.status, answer.error) == (400, "invalid_transaction_id")
    assert len(world.city.questions) == asked
    assert owner.deferred("transaction-0001-abc").status == 202


def test_a_notification_carries_the_grant_of_its_token(world: WalletWorld) -> None:
    one, other = world.with_token(), world.with_token()
    one.notify("notification-id-0001")
    other.notify("notification-id-0001")
    grants = [question.grant for question in world.city.questions[-2:]]
    assert len(set(grants)) == 2
    world.city.answers = lambda _question: Denied("invalid_notification_id", "")
    assert other.notify("notification-id-0001").error == "invalid_notification_id"


@pytest.mark.parametrize(
    ("identifier", "event", "error"),
    [
        ("notification-id-0001", "credential_liked", "invalid_notification_request"),
        ("notification-id-0001", None, "invalid_notification_request"),
        (None, "credential_accepted", "invalid_notification_request"),
        (1, "credential_accepted", "invalid_notification_request"),
        ("short", "credential_accepted", "invalid_notification_id"),
    ],
)
def test_bad_notifications(world: WalletWorld, identifier: Any, event: Any, error: str) -> None:
    wallet = world.with_token()
    answer = wallet.notify(identifier, event)
    assert (answer.status, answer.error) == (400, error)
    assert wallet.notify("notification-id-0001", event_description="ありがとう").status == 204


def test_nothing_in_time_is_deferred_and_the_city_can_still_answer(tmp_path: Path) -> None:
    world = make_wallet_world(tmp_path, wallet_wait=1)
    wallet = world.with_token()
    first = wallet.credential(wallet.request_body([new_key()], encrypted=True))
    assert (first.status, first.headers["content-type"]) == (202, "application/jwt")
    transaction = wallet.open(first)["transaction_id"]
    # The city takes the question afterwards; nobody waits for the answer, and the question is done with.
    assert world.city.work() == 1
    assert world.city.work() == 0
    assert world.city.questions[-1].exchange == transaction
    world.city.start()
    assert wallet.deferred(transaction).body == PLAIN
    assert world.city.questions[-1].body.transaction == transaction
    world.city.stop()
