"""The city's side of the login: an honest ID token becomes a `Login`, and each adjacent lie is refused by its own word.

Every forged token here is signed with the provider's real key unless the lie is about the signature, so that what
refuses it is the check under test.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from app.counterparts.digital_auth.provider import DISCOVERY, PROTOCOL
from app.errors import Refusal, SettingsError, UnavailableError
from app.identity.login import (
    Client,
    Login,
    LoginRefused,
    PendingLogin,
    read_callback,
    start_login,
    verify_id_token,
)
from app.identity.login_exchange import build_client_assertion, exchange_code, post_over_http
from app.identity.login_provider import LoginProvider, parse_login_provider
from tests.support.digital_auth_world import (
    CITY,
    ISSUER,
    SHOP,
    TOKEN_ENDPOINT,
    World,
    predictable,
    sign_by_hand,
)
from verifier.formats.encoding import base64url_encode, canonical_json
from verifier.formats.jose import format_jwk, thumbprint

NOW = datetime(2026, 11, 20, 1, 2, 3, tzinfo=UTC)
T = int(NOW.timestamp())
HEADER = {"kid": "one", "typ": "JWT"}


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def other_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def provider(key: ec.EllipticCurvePrivateKey, other_key: ec.EllipticCurvePrivateKey) -> LoginProvider:
    """Two pinned keys, "one" and "two", so that a token of one with the name of the other can be tried."""
    return LoginProvider(
        ISSUER,
        ISSUER + "/protocol/openid-connect/auth",
        TOKEN_ENDPOINT,
        {"one": key.public_key(), "two": other_key.public_key()},
        frozenset({"acr", "auth_time"}),
    )


@pytest.fixture
def pending(provider: LoginProvider) -> PendingLogin:
    return start_login(provider, CITY, random=predictable(), now=NOW)[1]


def claims_of(pending: PendingLogin, **changes: Any) -> dict[str, Any]:
    claims = {
        "iss": ISSUER,
        "sub": "p" * 43,
        "aud": CITY.client_id,
        "exp": T + 300,
        "iat": T,
        "auth_time": T,
        "nonce": pending.nonce,
        "acr": "aal3",
    } | changes
    return {name: value for name, value in claims.items() if value is not None}


def signed(claims: dict[str, Any], key: Any, alg: str = "ES256", **headers: Any) -> str:
    return jwt.encode(claims, key, algorithm=alg, headers={"kid": "one"} | headers)


def code_of(refused: pytest.ExceptionInfo[LoginRefused]) -> str:
    return refused.value.code.removeprefix("login-")


# --- the request and its answer ---------------------------------------------------------------------------


def test_the_request_has_the_services_parameters(provider: LoginProvider) -> None:
    address, pending = start_login(provider, CITY, random=predictable(), now=NOW)
    assert address.startswith(provider.authorization_endpoint + "?")
    given = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    assert given == {
        "response_type": "code",
        "scope": "openid",
        "client_id": CITY.client_id,
        "redirect_uri": CITY.redirect_uri,
        "state": pending.state,
        "nonce": pending.nonce,
        "code_challenge": base64url_encode(hashlib.sha256(pending.verifier.encode()).digest()),
        "code_challenge_method": "S256",
        "acr_values": "aal3 crl",
    }
    assert len({pending.state, pending.nonce, pending.verifier}) == 3
    assert pending.verifier not in address
    for secret in (pending.state, pending.nonce, pending.verifier):
        assert secret not in repr(pending)


def test_two_logins_share_nothing(provider: LoginProvider) -> None:
    random = predictable()
    one, two = (start_login(provider, CITY, random=random, now=NOW)[1] for _ in range(2))
    assert not {one.state, one.nonce, one.verifier} & {two.state, two.nonce, two.verifier}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"state": "other"}, "state"),
        ({"state": None}, "state"),
        ({"state": ""}, "state"),
        ({"iss": "https://shop.example"}, "issuer"),
        ({"code": None}, "code"),
        ({"code": ""}, "code"),
        ({"code": "a b"}, "code"),
        ({"code": "c" * 513}, "code"),
        ({"error": "access_denied"}, "denied"),
        ({"error": "server_error"}, "provider-error"),
        ({"error": "access_denied", "state": "other"}, "state"),
    ],
)
def test_an_answer_that_is_not_ours_gives_no_code(
    provider: LoginProvider, pending: PendingLogin, change: dict[str, str | None], why: str
) -> None:
    honest = {"code": "c" * 43, "state": pending.state, "iss": ISSUER}
    assert read_callback(urlencode(honest), pending, provider, now=NOW) == "c" * 43
    given = {name: value for name, value in (honest | change).items() if value is not None}
    with pytest.raises(LoginRefused) as refused:
        read_callback(urlencode(given), pending, provider, now=NOW)
    assert code_of(refused) == why


def test_an_answer_without_iss_is_read(provider: LoginProvider, pending: PendingLogin) -> None:
    query = urlencode({"code": "c", "state": pending.state})
    assert read_callback(query, pending, provider, now=NOW) == "c"


@pytest.mark.parametrize(
    "query", ["", "code", "a=%ff", "x=\udc80", "あ=1", "code=a&code=b", "a=" + "b" * 9000]
)
def test_any_query_gives_only_our_refusal(provider: LoginProvider, pending: PendingLogin, query: str) -> None:
    with pytest.raises(LoginRefused):
        read_callback(query, pending, provider, now=NOW)


def test_an_answer_comes_in_ten_minutes(provider: LoginProvider, pending: PendingLogin) -> None:
    query = urlencode({"code": "c", "state": pending.state})
    assert read_callback(query, pending, provider, now=NOW + timedelta(minutes=10))
    for late in (timedelta(minutes=10, seconds=1), timedelta(seconds=-1)):
        with pytest.raises(LoginRefused, match="too-late"):
            read_callback(query, pending, provider, now=NOW + late)


# --- the ID token -----------------------------------------------------------------------------------------


def test_an_honest_token(
    provider: LoginProvider, pending: PendingLogin, key: ec.EllipticCurvePrivateKey
) -> None:
    login = verify_id_token(signed(claims_of(pending), key), pending, provider, CITY, now=NOW)
    assert login == Login(ISSUER, "p" * 43, "aal3", NOW, NOW)
    with pytest.raises(dataclasses.FrozenInstanceError):
        login.subject = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"iss": ISSUER + "/"}, "issuer"),
        ({"iss": "https://shop.example"}, "issuer"),
        ({"iss": [ISSUER]}, "issuer"),
        ({"iss": None}, "claims"),
        ({"aud": SHOP.client_id}, "audience"),
        ({"aud": [CITY.client_id]}, "audience"),
        ({"aud": [CITY.client_id, SHOP.client_id]}, "audience"),
        ({"aud": None}, "claims"),
        ({"azp": SHOP.client_id}, "audience"),
        ({"exp": T}, "expired"),
        ({"exp": T - 1}, "expired"),
        ({"exp": T + 3601}, "expired"),
        ({"exp": None}, "claims"),
        ({"exp": str(T + 300)}, "times"),
        ({"exp": T + 300.5}, "token-form"),
        ({"exp": True}, "times"),
        ({"exp": -1}, "times"),
        ({"exp": 1 << 52}, "times"),
        ({"iat": T + 61}, "issued-at"),
        ({"iat": T - 61}, "issued-at"),
        ({"iat": None}, "claims"),
        ({"auth_time": T - 61}, "auth-time"),
        ({"auth_time": T + 61}, "auth-time"),
        ({"auth_time": None}, "times"),
        ({"nonce": "n" * 43}, "nonce"),
        ({"nonce": ""}, "nonce"),
        ({"nonce": 5}, "nonce"),
        ({"nonce": None}, "claims"),
        ({"acr": "aal1"}, "acr"),
        ({"acr": ["aal3"]}, "acr"),
        ({"acr": None}, "acr"),
        ({"sub": ""}, "subject"),
        ({"sub": "a b"}, "subject"),
        ({"sub": "p" * 256}, "subject"),
        ({"sub": 5}, "claims"),
        ({"sub": None}, "claims"),
        ({"more": "x" * (16 << 10)}, "token-form"),
    ],
    ids=str,
)
def test_a_token_that_differs_in_one_claim_logs_nobody_in(
    provider: LoginProvider,
    pending: PendingLogin,
    key: ec.EllipticCurvePrivateKey,
    change: dict[str, Any],
    why: str,
) -> None:
    with pytest.raises(LoginRefused) as refused:
        verify_id_token(
            sign_by_hand(HEADER, claims_of(pending, **change), key), pending, provider, CITY, now=NOW
        )
    assert code_of(refused) == why


def test_a_nonce_of_another_login_is_refused(
    provider: LoginProvider, key: ec.EllipticCurvePrivateKey
) -> None:
    random = predictable()
    one, two = (start_login(provider, CITY, random=random, now=NOW)[1] for _ in range(2))
    token = signed(claims_of(one), key)
    assert verify_id_token(token, one, provider, CITY, now=NOW)
    with pytest.raises(LoginRefused, match="login-nonce"):
        verify_id_token(token, two, provider, CITY, now=NOW)


def test_time_passes(provider: LoginProvider, pending: PendingLogin, key: ec.EllipticCurvePrivateKey) -> None:
    token = signed(claims_of(pending), key)
    assert verify_id_token(token, pending, provider, CITY, now=NOW + timedelta(seconds=299))
    with pytest.raises(LoginRefused, match="login-expired"):
        verify_id_token(token, pending, provider, CITY, now=NOW + timedelta(seconds=300))


def test_a_provider_that_gives_neither_acr_nor_auth_time(
    provider: LoginProvider, pending: PendingLogin, key: ec.EllipticCurvePrivateKey
) -> None:
    silent = dataclasses.replace(provider, claims=frozenset())
    token = signed(claims_of(pending, acr=None, auth_time=None), key)
    login = verify_id_token(token, pending, silent, CITY, now=NOW)
    assert (login.acr, login.authenticated_at) == (None, None)
    for change, why in (({"acr": "aal1"}, "acr"), ({"auth_time": T - 61}, "auth-time")):
        with pytest.raises(LoginRefused, match=why):
            verify_id_token(signed(claims_of(pending, **change), key), pending, silent, CITY, now=NOW)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({"kid": "two"}, "signature"),
        ({"kid": "three"}, "unknown-key"),
        ({"kid": None}, "unknown-key"),
        ({"kid": 1}, "unknown-key"),
        ({"kid": ["one"]}, "unknown-key"),
        ({"crit": ["exp"]}, "token-form"),
        ({"jku": "https://shop.example/jwks"}, "token-form"),
        ({"x5u": "https://shop.example/x"}, "token-form"),
        ({"b64": False}, "token-form"),
        ({"zip": "DEF"}, "token-form"),
    ],
    ids=str,
)
def test_a_header_that_leads_elsewhere(
    provider: LoginProvider,
    pending: PendingLogin,
    key: ec.EllipticCurvePrivateKey,
    header: dict[str, Any],
    why: str,
) -> None:
    with pytest.raises(LoginRefused) as refused:
        verify_id_token(
            sign_by_hand(HEADER | header, claims_of(pending), key), pending, provider, CITY, now=NOW
        )
    assert code_of(refused) == why
    honest = sign_by_hand(HEADER, claims_of(pending), key)
    assert verify_id_token(honest, pending, provider, CITY, now=NOW), "the same without the change is taken"


def test_a_key_in_the_header_is_not_looked_at(provider: LoginProvider, pending: PendingLogin) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    token = signed(claims_of(pending), stranger, jwk=format_jwk(stranger.public_key()))
    named = jwt.decode(
        token,
        stranger.public_key(),
        ["ES256"],
        audience=CITY.client_id,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert named["sub"], "whoever takes the key from the header accepts it"
    with pytest.raises(LoginRefused, match="login-signature"):
        verify_id_token(token, pending, provider, CITY, now=NOW)


def test_no_signature_is_refused(
    provider: LoginProvider, pending: PendingLogin, key: ec.EllipticCurvePrivateKey
) -> None:
    honest = signed(claims_of(pending), key)
    unsigned = signed(claims_of(pending), None, alg="none")
    for token in (unsigned, honest.rpartition(".")[0] + ".", honest.rpartition(".")[0]):
        with pytest.raises(LoginRefused, match="login-token-form"):
            verify_id_token(token, pending, provider, CITY, now=NOW)


def test_the_public_key_is_no_hmac_secret(
    provider: LoginProvider, pending: PendingLogin, key: ec.EllipticCurvePrivateKey
) -> None:
    for encoding, form in (
        (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
    ):
        secret = key.public_key().public_bytes(encoding, form)
        head = base64url_encode(json.dumps({"alg": "HS256", "kid": "one", "typ": "JWT"}).encode())
        body = base64url_encode(json.dumps(claims_of(pending)).encode())
        mac = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()
        token = f"{head}.{body}.{base64url_encode(mac)}"
        assert takes_any_algorithm(token, secret), "a reader that follows the header's alg accepts it"
        with pytest.raises(LoginRefused, match="login-token-form"):
            verify_id_token(token, pending, provider, CITY, now=NOW)


def takes_any_algorithm(token: str, secret: bytes) -> bool:
    """The broken reader: one key for whatever algorithm the header names."""
    head, body, mac = token.split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    if header["alg"] != "HS256":
        return False
    return base64url_encode(hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()) == mac


def test_another_algorithm_with_a_fitting_key_is_refused(
    provider: LoginProvider, pending: PendingLogin
) -> None:
    for token in (
        signed(claims_of(pending), rsa.generate_private_key(65537, 2048), alg="RS256"),
        signed(claims_of(pending), ec.generate_private_key(ec.SECP384R1()), alg="ES384"),
    ):
        with pytest.raises(LoginRefused, match="login-token-form"):
            verify_id_token(token, pending, provider, CITY, now=NOW)


def test_a_changed_claim_breaks_the_signature(
    provider: LoginProvider, pending: PendingLogin, key: ec.EllipticCurvePrivateKey
) -> None:
    head, _, signature = signed(claims_of(pending), key).split(".")
    body = base64url_encode(json.dumps(claims_of(pending, sub="q" * 43)).encode())
    with pytest.raises(LoginRefused, match="login-signature"):
        verify_id_token(f"{head}.{body}.{signature}", pending, provider, CITY, now=NOW)


def test_a_claim_that_stands_there_twice_is_refused(
    provider: LoginProvider, pending: PendingLogin, key: ec.EllipticCurvePrivateKey
) -> None:
    text = json.dumps(claims_of(pending))
    token = jwt.PyJWS().encode(
        (text[:-1] + ', "sub": "q"}').encode(), key, algorithm="ES256", headers={"kid": "one"}
    )
    with pytest.raises(LoginRefused, match="login-token-form"):
        verify_id_token(token, pending, provider, CITY, now=NOW)


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "あ.い.う", "\udc80", "e30.e30.", "x" * 20000])
def test_any_text_gives_only_our_refusal(provider: LoginProvider, pending: PendingLogin, token: str) -> None:
    with pytest.raises(LoginRefused) as refused:
        verify_id_token(token, pending, provider, CITY, now=NOW)
    assert isinstance(refused.value, Refusal)
    assert refused.value.ja


# --- the exchange -----------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_assertion_is_fresh_each_time_and_for_the_token_endpoint(world: World) -> None:
    made = [
        build_client_assertion(
            world.pinned, CITY, sign=world.signer(CITY), random=world.random, now=world.now
        )
        for _ in range(2)
    ]
    read = [
        jwt.decode(
            text,
            world.city_key.public_key(),
            ["ES256"],
            audience=TOKEN_ENDPOINT,
            options={"verify_exp": False, "verify_iat": False},
        )
        for text in made
    ]
    assert read[0]["jti"] != read[1]["jti"]
    assert read[0]["exp"] - read[0]["iat"] == 120
    assert jwt.get_unverified_header(made[0]) == {"alg": "ES256", "kid": CITY.key_id, "typ": "JWT"}


def test_a_code_is_exchanged_once(world: World) -> None:
    query, pending = world.sign_in()
    code = read_callback(query, pending, world.pinned, now=world.now)
    assert world.exchange(code, pending)
    with pytest.raises(LoginRefused, match="login-code-refused"):
        world.exchange(code, pending)


def test_a_swapped_verifier_or_redirect_uri_is_refused(world: World) -> None:
    for change in ("verifier", "redirect"):
        query, pending = world.sign_in()
        code = read_callback(query, pending, world.pinned, now=world.now)
        client = CITY
        if change == "verifier":
            pending = dataclasses.replace(pending, verifier="v" * 43)
        else:
            client = Client(CITY.client_id, SHOP.redirect_uri, CITY.key_id)
        with pytest.raises(LoginRefused, match="login-code-refused"):
            world.exchange(code, pending, client, sign=world.signer(CITY))


def test_a_client_that_the_provider_does_not_take_is_a_fault_of_ours(world: World) -> None:
    query, pending = world.sign_in()
    code = read_callback(query, pending, world.pinned, now=world.now)
    with pytest.raises(UnavailableError, match="status 401"):
        world.exchange(code, pending, sign=world.signer(SHOP))


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, b"{}", UnavailableError),
        (302, b"{}", UnavailableError),
        (400, b'{"error":"invalid_client"}', UnavailableError),
        (200, b"<html>", UnavailableError),
        (200, b"[]", UnavailableError),
        (200, b"{}", LoginRefused),
        (200, b'{"token_type":"mac","id_token":"a.b.c"}', LoginRefused),
        (200, b'{"token_type":"Bearer","id_token":5}', LoginRefused),
        (400, b'{"error":"invalid_grant"}', LoginRefused),
    ],
)
def test_an_answer_of_another_form(world: World, status: int, body: bytes, error: type[Exception]) -> None:
    pending = world.start()[1]
    good = b'{"token_type":"bearer","id_token":"a.b.c"}'
    assert world.exchange("c", pending, post=lambda *_: (200, good)) == "a.b.c"
    with pytest.raises(error):
        world.exchange("c", pending, post=lambda *_: (status, body))


def test_nobody_answers(world: World) -> None:
    with pytest.raises(UnavailableError, match="no answer"):
        exchange_code(
            "c",
            world.start()[1],
            dataclasses.replace(world.pinned, token_endpoint="http://127.0.0.1:1/token"),
            CITY,
            sign=world.signer(CITY),
            post=post_over_http,
            random=world.random,
            now=world.now,
        )


# --- what is pinned ---------------------------------------------------------------------------------------


def documents(world: World) -> tuple[dict[str, Any], dict[str, Any]]:
    return (
        json.loads(world.provider.get(DISCOVERY, "").body),
        json.loads(world.provider.get(PROTOCOL + "/certs", "").body),
    )


def pin(discovery: dict[str, Any], jwks: dict[str, Any], profile: str = "demo") -> LoginProvider:
    return parse_login_provider(
        canonical_json(discovery),
        canonical_json(jwks),
        issuer=discovery.get("issuer", ISSUER),
        profile=profile,
    )


def test_the_mock_is_pinned_in_the_demo_and_refused_in_production(world: World) -> None:
    discovery, jwks = documents(world)
    assert pin(discovery, jwks).claims >= {"acr", "auth_time"}
    with pytest.raises(SettingsError, match="mock"):
        pin(discovery, jwks, "production")
    real = {name: value for name, value in discovery.items() if name != "akashi_mock"}
    with pytest.raises(SettingsError, match="mock"):
        pin(real, jwks)
    with pytest.raises(SettingsError, match="https"):
        pin(real, jwks, "production")
    secure = json.loads(json.dumps(real).replace("http://", "https://"))
    assert pin(secure, jwks, "production").issuer.startswith("https://")


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "http://127.0.0.1:9/api/realms/main"},
        {"token_endpoint": "http://shop.example/token"},
        {"authorization_endpoint": 5},
        {"authorization_endpoint": "http://[x"},
        {"claims_supported": 5},
        {"token_endpoint": None},
        {"id_token_signing_alg_values_supported": ["RS256"]},
        {"token_endpoint_auth_methods_supported": ["client_secret_basic"]},
        {"code_challenge_methods_supported": ["plain"]},
        {"subject_types_supported": ["public"]},
        {"response_types_supported": 5},
    ],
    ids=str,
)
def test_a_discovery_document_that_does_not_fit_is_not_pinned(world: World, change: Any) -> None:
    discovery, jwks = documents(world)
    changed = {**discovery, **change}
    with pytest.raises(SettingsError, match="login-provider"):
        parse_login_provider(canonical_json(changed), canonical_json(jwks), issuer=ISSUER, profile="demo")


def test_a_key_set_that_does_not_fit_is_not_pinned(world: World) -> None:
    discovery, jwks = documents(world)
    entry = jwks["keys"][0]
    assert set(pin(discovery, jwks).keys) == {thumbprint(world.keys.signing.public_key())}
    for keys in (
        [],
        [entry, entry],
        [{**entry, "d": "AAAA"}],
        [{**entry, "alg": "HS256"}],
        [{**entry, "kty": "oct"}],
        [{**entry, "crv": "P-384"}],
        [{**entry, "use": "enc"}],
        [{**entry, "x": entry["y"]}],
        [{name: value for name, value in entry.items() if name != "kid"}],
        "none",
    ):
        with pytest.raises(SettingsError, match="login-provider"):
            pin(discovery, {"keys": keys})
    others = [{"kty": "RSA", "kid": "rsa", "n": "AQAB", "e": "AQAB"}, entry]
    assert len(pin(discovery, {"keys": others}).keys) == 1
