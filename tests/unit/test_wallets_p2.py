"""Profile p2: pushed request, login, code, token bound to a key, encrypted answer; each step beside its wrong twin."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mobile_api.application import create_app
from mobile_api.exchanges import Denied, Granted, LoginFinish, LoginStart, Redirect
from tests.support.door_house import PUBLIC_URL
from tests.support.wallet_city import LOGIN, PLAIN, WalletWorld, make_wallet_world, new_grant
from tests.support.wallet_client import (
    Browser,
    FlaskTransport,
    WalletClient,
    key_id,
    location_parameters,
    new_key,
    new_verifier,
)
from tests.support.wallet_provider import REDIRECT_URI, make_wallet_provider, wallet_pop

ISSUER = f"{PUBLIC_URL}/992011/haip"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[WalletWorld]:
    world = make_wallet_world(tmp_path)
    world.city.start()
    yield world
    world.city.stop()


def log_in(world: WalletWorld, wallet: WalletClient, verifier: str) -> dict[str, str]:
    """Push, open the browser, come back: what the wallet is told."""
    pushed = wallet.push(verifier)
    assert pushed.status == 201, pushed.body
    browser = Browser(world.transport)
    assert browser.get(wallet.authorize_url(pushed.json["request_uri"])).status == 302
    back = browser.get(f"{ISSUER}/login/callback?code=abc&state=abc")
    assert back.status == 302, back.body
    assert back.headers["location"].startswith(wallet.redirect_uri)
    return location_parameters(back)


# --- the whole way ------------------------------------------------------------------------------------------


def test_the_whole_way(world: WalletWorld) -> None:
    wallet, verifier = world.wallet("p2"), new_verifier()
    pushed = wallet.push(verifier)
    assert (pushed.status, pushed.json["expires_in"]) == (201, 60)
    assert pushed.json["request_uri"].startswith("urn:ietf:params:oauth:request_uri:")
    browser = Browser(world.transport)
    away = browser.get(wallet.authorize_url(pushed.json["request_uri"]))
    assert (away.status, away.headers["location"]) == (302, LOGIN)
    assert browser.cookie and browser.cookie.startswith("__Host-akashi-login=")
    said = set(browser.attributes.split("; "))
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= said
    assert not any(attribute.startswith("Domain") for attribute in said)
    back = browser.get(f"{ISSUER}/login/callback?code=abc&state=abc")
    told = location_parameters(back)
    assert set(told) == {"code", "state", "iss"}
    assert (told["state"], told["iss"]) == ("wallet-state", ISSUER)
    start, finish = (question.body for question in world.city.questions[-2:])
    assert isinstance(start, LoginStart)
    assert finish == LoginFinish(start.session, "code=abc&state=abc")
    token = wallet.redeem_code(told["code"], verifier)
    assert (token.status, token.json["token_type"]) == (200, "DPoP")
    keys = [new_key() for _ in range(3)]
    issued = wallet.credential(wallet.request_body(keys, encrypted=True))
    assert (issued.status, issued.headers["content-type"]) == (200, "application/jwt")
    assert wallet.open(issued) == json.loads(PLAIN)
    question = world.city.questions[-1]
    assert (question.profile, question.grant, question.dpop) == (
        "p2",
        world.city.login_grant,
        key_id(wallet.dpop_key),
    )
    assert wallet.credential(wallet.request_body(keys, encrypted=True), seal=True).status == 200
    assert wallet.notify("notification-id-0001").status == 204


def test_a_code_of_the_city_works_for_an_attested_wallet_too(world: WalletWorld) -> None:
    offer, foreign = world.city.offer("p2", tx_code="123456"), world.city.offer("p1")
    wallet = world.wallet("p2")
    assert wallet.redeem(foreign.code).error == "invalid_grant"
    assert wallet.redeem(offer.code, "123456").json["token_type"] == "DPoP"
    anonymous = WalletClient(world.transport, ISSUER, world.house.clock, dpop=True)
    assert anonymous.redeem(world.city.offer("p2").code).error == "invalid_client"


def test_proofs_may_name_the_client_and_only_the_client(world: WalletWorld) -> None:
    wallet, key = world.with_token("p2"), new_key()

    def ask(**claims: Any) -> Any:
        proof = wallet.key_proof(key, wallet.nonce(), **claims)
        return wallet.credential(wallet.request_body([], nonce="-", encrypted=True, proofs={"jwt": [proof]}))

    assert ask(iss=wallet.client_id).status == 200
    assert ask().status == 200
    assert ask(iss="https://other.example").error == "invalid_proof"
    assert ask(aud=f"{PUBLIC_URL}/992011").error == "invalid_proof"


def test_a_key_attestation_and_encryption_are_needed(world: WalletWorld) -> None:
    wallet = world.with_token("p2")
    wallet.provider = None
    assert wallet.credential(wallet.request_body([new_key()], encrypted=True)).error == "invalid_proof"
    wallet.provider = make_wallet_provider(world.house.clock())
    assert wallet.credential(wallet.request_body([new_key()], encrypted=True)).error == "invalid_proof"
    wallet.provider = world.provider
    plain = wallet.credential(wallet.request_body([new_key()]))
    assert plain.error == "invalid_encryption_parameters"
    assert wallet.credential(wallet.request_body([new_key()], encrypted=True)).status == 200


# --- /par ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
        ({"response_mode": "form_post"}, "invalid_request"),
        ({"client_id": None}, "invalid_request"),
        ({"client_id": "https://other.example"}, "invalid_client"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"redirect_uri": None}, "invalid_request"),
        ({"state": "あ"}, "invalid_request"),
        ({"state": "x" * 513}, "invalid_request"),
        ({"request": "a.b.c"}, "invalid_request"),
        ({"request_uri": "urn:x"}, "invalid_request"),
        ({"dpop_jkt": "A" * 43}, "invalid_request"),
    ],
)
def test_bad_pushes(world: WalletWorld, change: dict[str, Any], error: str) -> None:
    wallet = world.wallet("p2")
    answer = wallet.push(new_verifier(), **change)
    assert answer.error == error
    assert answer.status == (401 if error == "invalid_client" else 400)
    assert answer.headers["cache-control"] == "no-store"
    assert wallet.push(new_verifier(), dpop_jkt=key_id(wallet.dpop_key)).status == 201


BAD_URIS = [
    "javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd",
    "blob:https://x.example/1", "about:blank", "http://wallet.example/", "http://127.0.0.1/", "ftp://x.example/",
    "https://", "https:///x", "//x.example/", "/x", "x", "https://user@x.example/", "https://x.example/#a",
    "https://x.example/ a", "https://x.example/\n", "https://x.example\\@y.example/", "https://[::1/", "intent:x",
    "mailto:a@b.example", "https://x.example:99999/", "https://x.example/" + "a" * 600, "view-source:https://x",
]  # fmt: skip


@pytest.mark.parametrize("uri", BAD_URIS)
def test_bad_redirect_uris(world: WalletWorld, uri: str) -> None:
    assert world.wallet("p2").push(new_verifier(), redirect_uri=uri).error == "invalid_request"


@pytest.mark.parametrize(
    "uri",
    [
        REDIRECT_URI,
        "http://127.0.0.1:8765/cb",
        "http://[::1]:8765/cb",
        "com.a.b:/cb",
        "com.a.b:/cb?x=1",
    ],
)
def test_good_redirect_uris_get_their_answer(world: WalletWorld, uri: str) -> None:
    wallet = world.wallet("p2", redirect_uri=uri)
    told = log_in(world, wallet, new_verifier())
    assert told["iss"] == ISSUER
    assert "x" not in told or told["x"] == "1"


def test_an_attestation_that_names_its_redirect_uris_binds_them(world: WalletWorld) -> None:
    wallet = world.wallet("p2")
    now = world.house.clock()
    registered = world.provider.wallet_attestation(wallet.instance_key, now, redirect_uris=[REDIRECT_URI])
    headers = {"OAuth-Client-Attestation": registered}
    assert wallet.push(new_verifier(), headers=headers).status == 201
    other = wallet.push(new_verifier(), headers=headers, redirect_uri="https://evil.example/")
    assert other.error == "invalid_request"


def test_a_code_goes_to_the_web_only_where_the_provider_says_so(world: WalletWorld) -> None:
    """Else an attested wallet in wrong hands pushes its own address, and a resident who follows the link logs in for it."""
    wallet = world.wallet("p2")
    mine = "https://wallet.example/cb?x=1"
    assert wallet.push(new_verifier(), redirect_uri=mine).error == "invalid_request"
    named = world.provider.wallet_attestation(wallet.instance_key, world.house.clock(), redirect_uris=[mine])
    headers = {"OAuth-Client-Attestation": named}
    assert wallet.push(new_verifier(), headers=headers, redirect_uri=mine).status == 201
    for other in ("https://wallet.example/cb", "https://wallet.example/cb?x=1&y", "https://evil.example/"):
        assert wallet.push(new_verifier(), headers=headers, redirect_uri=other).error == "invalid_request"


# --- wallet attestation -----------------------------------------------------------------------------------------


def _attestations(world: WalletWorld, wallet: WalletClient) -> dict[str, dict[str, Any]]:
    now, key = world.house.clock(), wallet.instance_key
    seconds = int(now.timestamp())
    good, foreign = world.provider, make_wallet_provider(now)
    attestation, proof = "OAuth-Client-Attestation", "OAuth-Client-Attestation-PoP"

    def made(header: Any = None, **claims: Any) -> dict[str, str]:
        return {attestation: good.wallet_attestation(key, now, header=header, **claims)}

    def proved(signer: Any = key, header: Any = None, **claims: Any) -> dict[str, str]:
        return {proof: wallet_pop(signer, ISSUER, now, header=header, **claims)}

    return {
        "no attestation": {attestation: None},
        "no proof": {proof: None},
        "neither": {attestation: None, proof: None},
        "another provider": {attestation: foreign.wallet_attestation(key, now)},
        "expired": made(exp=seconds),
        "no end": made(exp=None),
        "of the future": made(iat=seconds + 3600),
        "not yet": made(nbf=seconds + 3600),
        "for ever": made(exp=seconds + 10**9),
        "no client": made(sub=None),
        "no key": made(cnf=None),
        "private key": made(cnf={"jwk": {"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "d": "d"}}),
        "wrong typ": made(header={"typ": "JWT"}),
        "chain of somebody else": {
            attestation: foreign.wallet_attestation(key, now, header={"x5c": good.x5c()})
        },
        "key by address": made(header={"jku": "https://evil.example"}),
        "proof by another key": proved(new_key()),
        "proof for p1": proved(aud=f"{PUBLIC_URL}/992011"),
        "proof for two": proved(aud=[ISSUER, "https://other.example"]),
        "old proof": proved(iat=seconds - 301),
        "future proof": proved(iat=seconds + 301),
        "proof without time": proved(iat=None),
        "proof without id": proved(jti=None),
        "proof of another client": proved(iss="https://other.example"),
        "proof of wrong typ": proved(header={"typ": "dpop+jwt"}),
        "not a jwt": {proof: "x"},
        "oversized": {proof: "x" * 5000},
        "swapped": {attestation: wallet_pop(key, ISSUER, now)},
    }


def test_bad_wallet_attestations_are_refused_at_par_and_token(world: WalletWorld) -> None:
    wallet = world.wallet("p2")
    for name, headers in _attestations(world, wallet).items():
        answer = wallet.push(new_verifier(), headers=headers)
        assert (answer.status, answer.error) == (401, "invalid_client"), name
        offer = world.city.offer("p2")
        token = wallet.redeem(offer.code, headers=headers)
        assert (token.status, token.error) == (401, "invalid_client"), name
        assert wallet.redeem(offer.code).status == 200, name
    assert wallet.push(new_verifier()).status == 201


def test_a_proof_of_a_wallet_counts_once(world: WalletWorld) -> None:
    wallet = world.wallet("p2")
    headers = wallet.attestation_headers()
    assert wallet.push(new_verifier(), headers=headers).status == 201
    assert wallet.push(new_verifier(), headers=headers).error == "invalid_client"
    offer = world.city.offer("p2")
    assert wallet.redeem(offer.code, headers=headers).error == "invalid_client"
    assert wallet.redeem(offer.code).status == 200


def test_without_trusted_providers_nobody_gets_in(tmp_path: Path) -> None:
    world = make_wallet_world(tmp_path, wallet_attesters=None)
    assert world.wallet("p2").push(new_verifier()).error == "invalid_client"
    assert world.wallet("p1").redeem(world.city.offer().code).status == 200


# --- DPoP ---------------------------------------------------------------------------------------------------


def _dpop_cases(wallet: WalletClient, url: str) -> dict[str, Any]:
    import base64

    seconds = int(wallet.clock().timestamp())
    from verifier.formats.jose import format_jwk

    jwk = format_jwk(wallet.dpop_key.public_key())

    def raw(head: dict[str, Any]) -> str:
        body = {"htm": "POST", "htu": url, "iat": seconds, "jti": "x" * 20}
        parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, body))
        return b".".join([*parts, b""]).decode()

    made = wallet.dpop_proof
    return {
        "empty": "",
        "not a jwt": "x",
        "none": raw({"typ": "dpop+jwt", "alg": "none", "jwk": jwk}),
        "no signature": raw({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk}),
        "wrong typ": made(url, header={"typ": "JWT"}),
        "method": made(url, htm="GET"),
        "no method": made(url, htm=None),
        "address": made(url + "x"),
        "local address": made("http://127.0.0.1:8440" + url.removeprefix(PUBLIC_URL)),
        "of p1": made(url.replace("/haip", "")),
        "no address": made(url, htu=None),
        "old": made(url, iat=seconds - 301),
        "future": made(url, iat=seconds + 301),
        "no time": made(url, iat=None),
        "no id": made(url, jti=None),
        "long id": made(url, jti="x" * 300),
        "private key": made(url, header={"jwk": {**jwk, "d": "x"}}),
        "no key": made(url, header={"jwk": None}),
        "kid too": made(url, header={"kid": "x"}),
        "x5c too": made(url, header={"x5c": ["x"]}),
        "jku": made(url, header={"jku": "https://evil.example"}),
        "signed by another": made(url, header={"jwk": format_jwk(new_key().public_key())}),
        "oversized": made(url, more="x" * 5000),
    }  # fmt: skip


@pytest.mark.parametrize("end_point", ["par", "token"])
def test_bad_dpop_proofs_at_the_token_end_points(world: WalletWorld, end_point: str) -> None:
    wallet = world.wallet("p2")

    def send(proof: str | None) -> Any:
        headers = {"DPoP": proof}
        if end_point == "par":
            return wallet.push(new_verifier(), headers=headers)
        return wallet.redeem(world.city.offer("p2").code, headers=headers)

    url = f"{ISSUER}/{end_point}"
    for name, proof in {**_dpop_cases(wallet, url), "missing": None}.items():
        answer = send(proof)
        assert (answer.status, answer.error) == (400, "invalid_dpop_proof"), name
    good = wallet.dpop_proof(url + "?query=ignored")
    assert send(good).status in (200, 201)
    assert send(good).error == "invalid_dpop_proof"


def test_bad_dpop_proofs_where_the_token_is_shown(world: WalletWorld) -> None:
    wallet = world.with_token("p2")
    url = f"{ISSUER}/notification"
    cases = {
        **_dpop_cases(wallet, url),
        "missing": None,
        "no ath": wallet.dpop_proof(url),
        "ath of another token": wallet.dpop_proof(url, token="x"),
        "another key": wallet.dpop_proof(url, token=wallet.token, key=new_key()),
    }
    for name, proof in cases.items():
        answer = wallet.notify("notification-id-0001", headers={"DPoP": proof})
        assert (answer.status, answer.error) == (401, "invalid_dpop_proof"), name
        assert answer.headers["www-authenticate"].startswith('DPoP error="invalid_dpop_proof"'), name
    good = wallet.dpop_proof(url, token=wallet.token)
    assert wallet.notify("notification-id-0001", headers={"DPoP": good}).status == 204
    assert wallet.notify("notification-id-0001", headers={"DPoP": good}).error == "invalid_dpop_proof"


@pytest.mark.parametrize("profile", ["p1", "p2"])
def test_a_bound_token_is_worth_nothing_as_a_bearer(world: WalletWorld, profile: str) -> None:
    wallet = world.with_token(profile, dpop=True)
    wallet.scheme = "Bearer"
    for end_point in ("credential", "deferred_credential", "notification"):
        answer = wallet.credential({}, end_point=end_point)
        assert (answer.status, answer.error) == (401, "invalid_token"), end_point
        assert answer.headers["www-authenticate"].startswith("DPoP")
    wallet.scheme = "DPoP"
    assert wallet.notify("notification-id-0001").status == 204


def test_a_bearer_token_is_not_taken_for_a_bound_one(world: WalletWorld) -> None:
    wallet = world.with_token("p1")
    assert wallet.scheme == "Bearer"
    wallet.scheme = "DPoP"
    assert wallet.notify("notification-id-0001").error == "invalid_token"


def test_two_dpop_headers_are_refused(world: WalletWorld) -> None:
    from werkzeug.datastructures import Headers

    wallet = world.with_token("p2")
    url = f"{ISSUER}/notification"
    headers = Headers(
        [
            ("Authorization", f"DPoP {wallet.token}"),
            ("DPoP", wallet.dpop_proof(url, token=wallet.token)),
            ("DPoP", wallet.dpop_proof(url, token=wallet.token)),
        ]
    )
    answer = world.house.app.test_client().post(
        "/992011/haip/notification", headers=headers, json={"notification_id": "x" * 20}
    )
    assert answer.json["error"] == "invalid_dpop_proof"


def test_challenges_in_dpop_proofs(tmp_path: Path) -> None:
    world = make_wallet_world(tmp_path, wallet_dpop_nonce="required")
    world.city.start()
    wallet = world.wallet("p2")
    offer = world.city.offer("p2")
    refused = wallet.redeem(offer.code)
    assert (refused.status, refused.error) == (400, "use_dpop_nonce")
    wallet.dpop_nonce = wallet.nonce()
    assert wallet.redeem(offer.code).error == "use_dpop_nonce"  # that one is for key proofs
    wallet.dpop_nonce = refused.headers["dpop-nonce"]
    assert wallet.redeem(offer.code).status == 200
    wallet.dpop_nonce = None
    refused = wallet.notify("notification-id-0001")
    assert (refused.status, refused.error) == (401, "use_dpop_nonce")
    assert 'error="use_dpop_nonce"' in refused.headers["www-authenticate"]
    wallet.dpop_nonce = refused.headers["dpop-nonce"]
    assert wallet.notify("notification-id-0001").status == 204
    world.city.stop()


def test_a_wrong_challenge_is_refused_where_none_is_asked_for(world: WalletWorld) -> None:
    wallet = world.wallet("p2", dpop_nonce="n" * 80)
    assert wallet.push(new_verifier()).error == "use_dpop_nonce"


# --- /authorize and the way back --------------------------------------------------------------------------------


def test_a_request_uri_is_for_once_for_its_client_and_for_a_minute(world: WalletWorld) -> None:
    wallet = world.wallet("p2")
    browser = Browser(world.transport)
    uri = wallet.push(new_verifier()).json["request_uri"]
    stranger = WalletClient(world.transport, ISSUER, client_id="https://other.example")
    assert browser.get(stranger.authorize_url(uri)).status == 400
    assert browser.get(wallet.authorize_url(uri)).status == 302
    page = browser.get(wallet.authorize_url(uri))
    assert (page.status, page.headers["content-type"]) == (400, "text/html; charset=utf-8")
    assert "やり直して" in page.body.decode() and "start again" in page.body.decode()
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    late = wallet.push(new_verifier()).json["request_uri"]
    world.house.clock.forward(seconds=60)
    assert browser.get(wallet.authorize_url(late)).status == 400


@pytest.mark.parametrize(
    "query",
    [
        "",
        "client_id=x",
        "request_uri=x",
        "client_id=x&request_uri=urn:x",
        "client_id=a&client_id=b",
        "%ff=%ff",
    ],
)
def test_bad_addresses_get_a_page_and_no_redirect(world: WalletWorld, query: str) -> None:
    answer = Browser(world.transport).get(f"{ISSUER}/authorize?{query}")
    assert answer.status == 400
    assert "location" not in answer.headers and "set-cookie" not in answer.headers


def test_what_was_pushed_cannot_be_changed_in_the_address(world: WalletWorld) -> None:
    wallet = world.wallet("p2")
    uri = wallet.push(new_verifier()).json["request_uri"]
    browser = Browser(world.transport)
    browser.get(wallet.authorize_url(uri) + "&redirect_uri=https://evil.example/&state=evil&scope=x")
    back = browser.get(f"{ISSUER}/login/callback?code=abc&state=abc")
    assert back.headers["location"].startswith(REDIRECT_URI)
    assert location_parameters(back)["state"] == "wallet-state"


def test_the_way_back_leads_nowhere_in_another_browser(world: WalletWorld) -> None:
    wallet = world.wallet("p2")
    mine, other = Browser(world.transport), Browser(world.transport)
    mine.get(wallet.authorize_url(wallet.push(new_verifier()).json["request_uri"]))
    callback = f"{ISSUER}/login/callback?code=abc&state=abc"
    assert other.get(callback).status == 400
    other.get(wallet.authorize_url(wallet.push(new_verifier()).json["request_uri"]))
    asked = len(world.city.questions)
    other.get(callback)
    # The other browser's own session goes to the city, never mine.
    assert world.city.questions[asked].body.session != world.city.questions[asked - 2].body.session
    forged = Browser(world.transport, cookie="__Host-akashi-login=" + "A" * 54)
    assert forged.get(callback).status == 400
    assert mine.get(callback).status == 302
    cookie = mine.cookie
    assert cookie == "__Host-akashi-login="


def test_a_callback_counts_once(world: WalletWorld) -> None:
    wallet = world.wallet("p2")
    browser = Browser(world.transport)
    browser.get(wallet.authorize_url(wallet.push(new_verifier()).json["request_uri"]))
    again = Browser(world.transport, cookie=browser.cookie)
    callback = f"{ISSUER}/login/callback?code=abc&state=abc"
    assert browser.get(callback).status == 302
    assert again.get(callback).status == 400


@pytest.mark.parametrize("query", ["", "code=" + "a" * 9000, "code=é"])
def test_bad_queries_on_the_way_back(world: WalletWorld, query: str) -> None:
    wallet = world.wallet("p2")
    browser = Browser(world.transport)
    browser.get(wallet.authorize_url(wallet.push(new_verifier()).json["request_uri"]))
    asked = len(world.city.questions)
    path = "/992011/haip/login/callback?" + query
    answer = world.house.app.test_client(use_cookies=False).get(
        path, headers={"Cookie": browser.cookie or ""}
    )
    assert answer.status_code == 400
    assert len(world.city.questions) == asked


@pytest.mark.parametrize("stage", [LoginStart, LoginFinish])
@pytest.mark.parametrize(
    ("denied", "error"),
    [
        (Denied("access_denied", "no record was found"), "access_denied"),
        (Denied("temporarily_unavailable", "the provider is away"), "temporarily_unavailable"),
        (Denied("something_else", ""), "access_denied"),
    ],
)
def test_a_refused_login_goes_back_to_the_wallet(
    world: WalletWorld, stage: type, denied: Denied, error: str
) -> None:
    usual = world.city.usual
    world.city.answers = lambda question: denied if isinstance(question.body, stage) else usual(question)
    wallet = world.wallet("p2")
    browser = Browser(world.transport)
    answer = browser.get(wallet.authorize_url(wallet.push(new_verifier()).json["request_uri"]))
    if stage is LoginFinish:
        answer = browser.get(f"{ISSUER}/login/callback?error=access_denied&state=abc")
    told = location_parameters(answer)
    assert (told["error"], told["state"], told["iss"]) == (error, "wallet-state", ISSUER)
    assert "code" not in told


def test_a_silent_city_ends_the_login_in_time(tmp_path: Path) -> None:
    world = make_wallet_world(tmp_path, wallet_login_wait=1)
    wallet = world.wallet("p2")
    answer = Browser(world.transport).get(
        wallet.authorize_url(wallet.push(new_verifier()).json["request_uri"])
    )
    assert location_parameters(answer)["error"] == "temporarily_unavailable"
    assert world.city.work() == 0


def test_a_page_of_the_login_is_no_answer_for_scripts(world: WalletWorld) -> None:
    answer = Browser(world.transport).get(f"{ISSUER}/authorize")
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


# --- the code -----------------------------------------------------------------------------------------------


def test_a_code_counts_once_and_its_reuse_ends_its_tokens(world: WalletWorld) -> None:
    wallet, verifier = world.wallet("p2"), new_verifier()
    code = log_in(world, wallet, verifier)["code"]
    assert wallet.redeem_code(code, verifier).status == 200
    assert wallet.notify("notification-id-0001").status == 204
    assert wallet.redeem_code(code, verifier).error == "invalid_grant"
    assert wallet.notify("notification-id-0001").error == "invalid_token"


def test_a_reuse_after_its_minute_ends_its_tokens_too(world: WalletWorld) -> None:
    """Who stole a code may be late; its owner must hear of it all the same."""
    wallet, verifier = world.wallet("p2"), new_verifier()
    code = log_in(world, wallet, verifier)["code"]
    assert wallet.redeem_code(code, verifier).status == 200
    world.house.clock.forward(seconds=90)
    assert wallet.notify("notification-id-0001").status == 204
    assert wallet.redeem_code(code, verifier).error == "invalid_grant"
    assert wallet.notify("notification-id-0001").error == "invalid_token"


def test_a_code_lives_a_minute(world: WalletWorld) -> None:
    wallet, verifier = world.wallet("p2"), new_verifier()
    code = log_in(world, wallet, verifier)["code"]
    world.house.clock.forward(seconds=60)
    assert wallet.redeem_code(code, verifier).error == "invalid_grant"


def test_a_code_is_bound_to_everything_that_was_pushed(world: WalletWorld) -> None:
    def tried(change: Any = None, **options: Any) -> str | None:
        wallet, verifier = world.wallet("p2"), new_verifier()
        code = log_in(world, wallet, verifier)["code"]
        if change is not None:
            change(wallet)
        return wallet.redeem_code(code, options.pop("verifier", verifier), **options).error

    assert tried() is None
    assert tried(redirect_uri=None) is None
    assert tried(verifier=new_verifier()) == "invalid_grant"
    assert tried(verifier="short") == "invalid_grant"
    assert tried(code_verifier=None) == "invalid_request"
    assert tried(redirect_uri="https://evil.example/") == "invalid_grant"
    assert tried(lambda wallet: setattr(wallet, "dpop_key", new_key())) == "invalid_grant"
    assert tried(lambda wallet: setattr(wallet, "client_id", "https://b.example")) == "invalid_grant"
    assert tried(lambda wallet: setattr(wallet, "provider", None)) == "invalid_client"
    assert tried(lambda wallet: setattr(wallet, "dpop", False)) == "invalid_dpop_proof"


def test_a_stolen_code_gets_one_try(world: WalletWorld) -> None:
    wallet, verifier = world.wallet("p2"), new_verifier()
    code = log_in(world, wallet, verifier)["code"]
    thief = world.wallet("p2")
    assert thief.redeem_code(code, new_verifier()).error == "invalid_grant"
    assert wallet.redeem_code(code, verifier).error == "invalid_grant"


def test_of_parallel_redemptions_of_a_code_at_most_one_wins(world: WalletWorld) -> None:
    wallet, verifier = world.wallet("p2"), new_verifier()
    code = log_in(world, wallet, verifier)["code"]
    second = create_app(world.house.settings, clock=world.house.clock)
    apps = [world.house.app, second]
    barrier, found = threading.Barrier(6), []

    def run(number: int) -> None:
        twin = world.wallet("p2", dpop_key=wallet.dpop_key)
        twin.transport = FlaskTransport(apps[number % 2], PUBLIC_URL)
        barrier.wait()
        found.append(twin.redeem_code(code, verifier).status)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found.count(200) == 1
    # Somebody used it twice: the one token that came of it is dead already.
    with world.house.app.extensions["akashi-door"].store.read() as connection:
        from sqlalchemy import func, select

        from mobile_api.store.wallet_tables import wallet_tokens

        assert connection.execute(select(func.count()).select_from(wallet_tokens)).scalar_one() == 0


def test_the_city_can_end_a_grant_between_login_and_token(world: WalletWorld) -> None:
    wallet, verifier = world.wallet("p2"), new_verifier()
    code = log_in(world, wallet, verifier)["code"]
    assert world.city.call("DELETE", f"/city/offers/{world.city.login_grant}").status_code == 204
    assert wallet.redeem_code(code, verifier).error == "invalid_grant"


def test_a_grant_of_one_login_is_not_anothers(world: WalletWorld) -> None:
    first, second = new_grant(), new_grant()
    grants = iter([first, second])
    usual = world.city.usual
    world.city.answers = lambda question: (
        Granted(next(grants)) if isinstance(question.body, LoginFinish) else usual(question)
    )
    wallets = []
    for _ in range(2):
        wallet, verifier = world.wallet("p2"), new_verifier()
        assert wallet.redeem_code(log_in(world, wallet, verifier)["code"], verifier).status == 200
        wallets.append(wallet)
    for wallet in reversed(wallets):
        wallet.notify("notification-id-0001")
    assert [question.grant for question in world.city.questions[-2:]] == [second, first]
    # A token with the other wallet's key proves nothing.
    wallets[0].dpop_key = wallets[1].dpop_key
    assert wallets[0].notify("notification-id-0001").error == "invalid_dpop_proof"


def test_nothing_of_a_login_lies_in_the_store_in_the_clear(
    world: WalletWorld, tmp_path: Path, caplog: Any
) -> None:
    caplog.set_level("DEBUG")
    usual = world.city.usual
    world.city.answers = lambda question: (
        Redirect("https://login.mihon.example/authorize?state=CANARY-LOGIN")
        if isinstance(question.body, LoginStart)
        else usual(question)
    )
    wallet, verifier = world.wallet("p2", redirect_uri="canary-wallet://cb"), new_verifier()
    pushed = wallet.push(verifier, state="CANARY-STATE").json["request_uri"]
    browser = Browser(world.transport)
    browser.get(wallet.authorize_url(pushed))
    back = browser.get(f"{ISSUER}/login/callback?code=CANARY-CODE&state=abc")
    code = location_parameters(back)["code"]
    wallet.redeem_code(code, verifier)
    everything = b"".join(p.read_bytes() for p in (tmp_path / "door").rglob("*") if p.is_file())
    assert world.city.login_grant.encode() in everything
    secrets = ["CANARY", "canary-wallet", wallet.client_id, pushed[-54:], code, wallet.token, verifier]
    for secret in [*secrets, (browser.cookie or "x=").partition("=")[2] or "CANARY"]:
        assert secret.encode() not in everything, secret
        assert secret not in caplog.text, secret
    assert urllib.parse.urlsplit(back.headers["location"]).scheme == "canary-wallet"
