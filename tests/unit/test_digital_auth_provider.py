"""The mock デジタル認証アプリ: the honest way, and each adjacent lie answered with the protocol's own error.

Each lie is the honest request with one point changed; `test_the_whole_way` and `test_an_honest_exchange` show that the
same path without the change succeeds.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sqlite3
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.counterparts.digital_auth.clients import is_redirect_uri, parse_clients
from app.counterparts.digital_auth.keys import open_keys
from app.counterparts.digital_auth.provider import DISCOVERY, PROTOCOL, SIGN_IN
from app.counterparts.digital_auth.server import DigitalAuthServer
from app.counterparts.digital_auth.store import Grant, ProviderStore
from app.counterparts.jpki.authority import MockJpki
from app.errors import SettingsError
from app.identity.login import read_callback, verify_id_token
from app.identity.login_exchange import ASSERTION_TYPE
from tests.support.digital_auth_world import (
    CITY,
    FORM,
    ISSUER,
    SHOP,
    TOKEN_ENDPOINT,
    World,
    answer_of,
    client_entry,
    clients_file,
    location_of,
    query_of,
    refusal_of,
    sign_by_hand,
    ticket_of,
)
from tests.support.door_house import make_card


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def assertion(world: World, key: Any = None, alg: str = "ES256", **changes: Any) -> str:
    now = int(world.now.timestamp())
    headers = {"kid": CITY.key_id} | changes.pop("headers", {})
    claims = {
        "iss": CITY.client_id,
        "sub": CITY.client_id,
        "aud": TOKEN_ENDPOINT,
        "iat": now,
        "exp": now + 120,
        "jti": "j" * 32,
    } | changes
    left = {name: value for name, value in claims.items() if value is not None}
    if alg == "ES256":
        return sign_by_hand(headers, left, key or world.city_key)
    return jwt.encode(left, key, algorithm=alg, headers=headers)


def exchange(world: World, **changes: Any) -> tuple[int, dict[str, Any]]:
    """One honest sign-in and token request, with form fields changed or (None) left out."""
    query, pending = world.sign_in()
    form = {
        "grant_type": "authorization_code",
        "code": read_callback(query, pending, world.pinned, now=world.now),
        "redirect_uri": CITY.redirect_uri,
        "code_verifier": pending.verifier,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": changes.pop("client_assertion", None) or assertion(world),
    } | changes
    return post_token(world, {name: value for name, value in form.items() if value is not None})


def post_token(world: World, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
    reply = world.provider.post(PROTOCOL + "/token", FORM, urlencode(form))
    return reply.status, json.loads(reply.body)


# --- the honest way ---------------------------------------------------------------------------------------


def test_the_whole_way(world: World) -> None:
    query, pending = world.sign_in()
    token = world.exchange(read_callback(query, pending, world.pinned, now=world.now), pending)
    login = verify_id_token(token, pending, world.pinned, CITY, now=world.now)
    assert (login.issuer, login.acr, login.issued_at) == (ISSUER, "aal3", world.now)
    assert login.authenticated_at == world.now
    assert len(login.subject) == 43


def test_an_honest_exchange(world: World) -> None:
    status, answer = exchange(world)
    assert status == 200, answer
    assert set(answer) == {"access_token", "expires_in", "id_token", "scope", "token_type"}
    reply = world.provider.get(PROTOCOL + "/userinfo", "", f"Bearer {answer['access_token']}")
    said = jwt.decode(
        answer["id_token"],
        world.keys.signing.public_key(),
        ["ES256"],
        audience=CITY.client_id,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert reply.media_type == "application/jwt"
    told = jwt.decode(reply.body, options={"verify_signature": False})
    assert told["sub"] == said["sub"]
    assert set(told) == {"aud", "exp", "iat", "iss", "sub"}
    world.wait(301)
    late = world.provider.get(PROTOCOL + "/userinfo", "", f"Bearer {answer['access_token']}")
    assert late.status == 401
    assert dict(late.headers)["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_the_same_person_has_one_subject_a_service_and_the_services_cannot_compare(world: World) -> None:
    subjects = []
    for client in (CITY, SHOP, CITY):
        query, pending = world.sign_in(client)
        token = world.exchange(read_callback(query, pending, world.pinned, now=world.now), pending, client)
        subjects.append(verify_id_token(token, pending, world.pinned, client, now=world.now).subject)
    assert subjects[0] == subjects[2]
    assert subjects[0] != subjects[1]
    serial = f"{world.card.authentication.certificate.serial_number:x}"
    assert all(serial not in subject for subject in subjects)


def test_a_redirect_uri_with_a_query_keeps_it(world: World) -> None:
    address, _pending = world.start(SHOP)
    assert location_of(world.touch(world.ask(address))).startswith(SHOP.redirect_uri + "&code=")


def test_discovery_says_what_is_there(world: World) -> None:
    document = json.loads(world.provider.get(DISCOVERY, "").body)
    assert document["issuer"] == ISSUER
    assert document["akashi_mock"] == "模擬/MOCK"
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"):
        path = document[name].removeprefix("http://127.0.0.1:8451")
        assert world.provider.get(path, "").status != 404 or name == "token_endpoint"
    keys = json.loads(world.provider.get(PROTOCOL + "/certs", "").body)["keys"]
    assert [set(key) for key in keys] == [{"alg", "crv", "kid", "kty", "use", "x", "y"}]


def test_keys_are_made_once_and_kept(world: World, tmp_path: Path) -> None:
    again = open_keys(tmp_path / "keys")
    assert again.key_id == world.keys.key_id
    assert again.subject("iizuka", "p") == world.keys.subject("iizuka", "p")
    assert "pairwise" not in repr(again)
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "keys").iterdir()} == {0}


# --- authorization requests -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": "nobody"},
        {"client_id": None},
        {"redirect_uri": None},
        {"redirect_uri": SHOP.redirect_uri},
        {"redirect_uri": CITY.redirect_uri + "/"},
        {"redirect_uri": CITY.redirect_uri + "?x=1"},
        {"redirect_uri": CITY.redirect_uri.replace("https", "http")},
        {"redirect_uri": CITY.redirect_uri.upper()},
        {"redirect_uri": CITY.redirect_uri + "/../callback"},
    ],
)
def test_an_unknown_client_or_redirect_uri_sends_nobody_anywhere(world: World, change: Any) -> None:
    reply = world.ask(world.start()[0], **change)
    assert reply.status == 400
    assert "Location" not in dict(reply.headers)
    assert b'name="ticket"' not in reply.body


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"scope": "openid name phone"}, "invalid_scope"),
        ({"scope": "name address birthdate gender"}, "invalid_scope"),
        ({"scope": "openid sign"}, "invalid_scope"),
        ({"state": None}, "invalid_request"),
        ({"state": "s" * 256}, "invalid_request"),
        ({"nonce": None}, "invalid_request"),
        ({"nonce": "n" * 256}, "invalid_request"),
        ({"nonce": "あ"}, "invalid_request"),
        ({"nonce": "a\nb"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "c" * 42}, "invalid_request"),
        ({"code_challenge": "c" * 42 + "="}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"prompt": "none"}, "login_required"),
        ({"request": "x.y.z"}, "request_not_supported"),
        ({"request_uri": "https://shop.example/r"}, "request_uri_not_supported"),
    ],
)
def test_a_wrong_request_gets_the_protocols_error_at_its_redirect_uri(
    world: World, change: Any, error: str
) -> None:
    reply = world.ask(world.start()[0], **change)
    assert location_of(reply).startswith(CITY.redirect_uri + "?")
    answer = answer_of(reply)
    assert (answer["error"], answer["iss"]) == (error, ISSUER)
    assert "code" not in answer


@pytest.mark.parametrize("extra", ["&state=other", "&client_id=x", "&=%ff", "&a=%zz%ff", "&x=" + "y" * 17000])
def test_a_doubled_broken_or_oversized_query_is_refused(world: World, extra: str) -> None:
    query = world.start()[0].partition("?")[2]
    assert world.provider.get(PROTOCOL + "/auth", query).status == 200
    assert world.provider.get(PROTOCOL + "/auth", query + extra).status == 400


def test_unknown_acr_values_and_parameters_are_passed_over(world: World) -> None:
    reply = world.ask(world.start()[0], acr_values="aal9", ui_locales="ja", login_hint="x")
    assert "code" in answer_of(world.touch(reply))


# --- the card ---------------------------------------------------------------------------------------------


def test_the_page_is_of_the_person_and_of_nobody_else(world: World) -> None:
    (world.cards / "<b>.card").write_bytes((world.cards / "hanako.card").read_bytes())
    reply = world.ask(world.start()[0])
    page = reply.body.decode()
    assert "模擬" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "<script" not in page
    policy = dict(reply.headers)["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self' https://iizuka.example;" in policy


def test_wrong_digits_count_on_the_card_and_lock_it(world: World) -> None:
    page = world.ask(world.start()[0])
    for left in (2, 1):
        page = world.touch(page, "0000")
        assert page.status == 400
        assert f"あと{left}回" in page.body.decode()
    assert "ロック" in world.touch(page, "0000").body.decode()
    assert world.reader.tries_left("authentication") == 0
    assert world.touch(page).status == 400, "the right digits do not open a locked card"


@pytest.mark.parametrize("pin", ["", "123", "12345", "abcd", "１２３４", "12 4"])
def test_digits_of_another_form_cost_no_try(world: World, pin: str) -> None:
    assert world.touch(world.ask(world.start()[0]), pin).status == 400
    assert world.reader.tries_left("authentication") == 3


@pytest.mark.parametrize("card", ["", "taro", "../cards/hanako", "hanako.card", "/etc/passwd"])
def test_only_a_listed_card_is_read(world: World, card: str) -> None:
    reply = world.touch(world.ask(world.start()[0]), card=card)
    assert reply.status == 400
    assert "カードを選んで" in reply.body.decode()


def test_a_wrong_try_does_not_end_the_sign_in(world: World) -> None:
    page = world.touch(world.ask(world.start()[0]), "0000")
    assert "code" in answer_of(world.touch(page))


def test_a_revoked_card_signs_nobody_in(world: World) -> None:
    assert world.card.card
    world.jpki.revoke(world.card.card, "loss", now=world.now)
    page = world.touch(world.ask(world.start()[0]))
    assert "失効" in page.body.decode()
    assert "市役所の窓口" in page.body.decode(), "what to do"
    answer = refusal_of(page)
    assert answer["error"] == "access_denied"
    assert "code" not in answer


def test_a_status_that_cannot_be_had_signs_nobody_in(world: World) -> None:
    world.status.down = True
    answer = refusal_of(world.touch(world.ask(world.start()[0])))
    assert answer["error"] == "temporarily_unavailable"
    assert "code" not in answer


def test_a_card_of_another_authority_signs_nobody_in(world: World, tmp_path: Path) -> None:
    stranger = MockJpki(tmp_path / "stranger", now=world.now)
    make_card(stranger, world.cards / "stranger.card")
    answer = refusal_of(world.touch(world.ask(world.start()[0]), card="stranger"))
    assert answer["error"] == "access_denied"


def test_an_expired_card_signs_nobody_in(world: World) -> None:
    world.wait(3600 * 24 * 365 * 11)
    address, _ = world.start()
    page = world.touch(world.ask(address))
    assert refusal_of(page)["error"] == "access_denied"


def test_who_does_not_want_is_let_go_once(world: World) -> None:
    page = world.ask(world.start()[0])
    answer = answer_of(world.touch(page, choice="cancel"))
    assert answer["error"] == "access_denied"
    assert world.touch(page).status == 400, "the ticket is gone"


def test_a_ticket_makes_one_code_and_not_for_ever(world: World) -> None:
    page = world.ask(world.start()[0])
    assert "code" in answer_of(world.touch(page))
    assert world.touch(page).status == 400
    late = world.ask(world.start()[0])
    world.wait(300)
    assert world.touch(late).status == 400
    assert world.provider.post(SIGN_IN, FORM, "ticket=x&card=hanako&pin=1234").status == 400


# --- the token endpoint -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, "unsupported_grant_type"),
        ({"grant_type": None}, "invalid_request"),
        ({"code": None}, "invalid_request"),
        ({"redirect_uri": None}, "invalid_request"),
        ({"code_verifier": None}, "invalid_request"),
        ({"code": "c" * 43}, "invalid_grant"),
        ({"redirect_uri": CITY.redirect_uri + "/"}, "invalid_grant"),
        ({"redirect_uri": SHOP.redirect_uri}, "invalid_grant"),
        ({"code_verifier": "v" * 43}, "invalid_grant"),
        ({"code_verifier": "v" * 42}, "invalid_grant"),
        ({"code_verifier": "v" * 129}, "invalid_grant"),
        ({"client_assertion_type": None}, "invalid_client"),
        ({"client_assertion_type": "jwt"}, "invalid_client"),
        ({"client_id": SHOP.client_id}, "invalid_client"),
        ({"client_secret": "x", "client_assertion_type": None}, "invalid_client"),
    ],
)
def test_a_wrong_token_request_gets_the_protocols_error(world: World, change: Any, error: str) -> None:
    status, answer = exchange(world, **change)
    assert answer["error"] == error
    assert status == (401 if error == "invalid_client" else 400)
    assert not {"id_token", "access_token"} & set(answer)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": SHOP.client_id},
        {"sub": SHOP.client_id},
        {"sub": None},
        {"iss": None},
        {"aud": "https://shop.example/token"},
        {"aud": [TOKEN_ENDPOINT, ISSUER]},
        {"aud": None},
        {"exp": None},
        {"exp": 1},
        {"exp": 1 << 40},
        {"exp": 1795136523.5},
        {"iat": 1 << 40},
        {"nbf": 1 << 40},
        {"jti": None},
        {"jti": "short"},
        {"jti": 5},
        {"jti": "j" * 256},
        {"headers": {"kid": SHOP.key_id}},
        {"headers": {"kid": None}},
        {"headers": {"jku": "https://shop.example/jwks"}},
        {"headers": {"crit": ["exp"]}},
        {"blob": "x" * 9000},
    ],
    ids=str,
)
def test_a_wrong_client_assertion_is_nobodys(world: World, change: Any) -> None:
    status, answer = exchange(world, client_assertion=assertion(world, **change))
    assert (status, answer["error"]) == (401, "invalid_client")
    assert exchange(world)[0] == 200, "the same without the change is taken"


def test_an_assertion_for_the_issuer_is_taken_too(world: World) -> None:
    assert exchange(world, client_assertion=assertion(world, aud=ISSUER))[0] == 200


def test_an_assertion_lives_to_its_second(world: World) -> None:
    made = assertion(world)
    world.wait(120)
    assert exchange(world, client_assertion=made)[1]["error"] == "invalid_client"
    world.wait(-1)
    assert exchange(world, client_assertion=made)[0] == 200


def test_a_key_of_somebody_else_signs_for_nobody(world: World) -> None:
    for key in (world.shop_key, ec.generate_private_key(ec.SECP256R1())):
        headers = {"jwk": client_entry(CITY, key, "x")["jwks"]["keys"][0]}
        forged = assertion(world, key, headers=headers)
        assert exchange(world, client_assertion=forged)[1]["error"] == "invalid_client"


def test_no_signature_and_the_public_key_as_a_secret_are_refused(world: World) -> None:
    unsigned = assertion(world, "", alg="none").rpartition(".")[0] + "."
    assert exchange(world, client_assertion=unsigned)[1]["error"] == "invalid_client"
    public = world.city_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    claims = assertion(world).split(".")[1]
    confused = hs256_token({"alg": "HS256", "kid": CITY.key_id, "typ": "JWT"}, claims, public)
    assert is_hs256(confused, public), "a reader that takes the header's algorithm would accept it"
    assert exchange(world, client_assertion=confused)[1]["error"] == "invalid_client"


def test_an_assertion_is_used_once(world: World) -> None:
    made = assertion(world)
    assert exchange(world, client_assertion=made)[0] == 200
    status, answer = exchange(world, client_assertion=made)
    assert (status, answer["error"]) == (401, "invalid_client")
    assert exchange(world, client_assertion=assertion(world, jti="k" * 32))[0] == 200


def token_form(world: World, code: str, verifier: str, jti: str) -> dict[str, str]:
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": CITY.redirect_uri,
        "code_verifier": verifier,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion(world, jti=jti),
    }


def test_a_code_is_used_once_and_its_reuse_takes_the_access_token_back(world: World) -> None:
    query, pending = world.sign_in()
    code = read_callback(query, pending, world.pinned, now=world.now)
    status, answer = post_token(world, token_form(world, code, pending.verifier, "a" * 16))
    assert status == 200
    bearer = f"Bearer {answer['access_token']}"
    assert world.provider.get(PROTOCOL + "/userinfo", "", bearer).status == 200
    status, again = post_token(world, token_form(world, code, pending.verifier, "b" * 16))
    assert (status, again["error"]) == (400, "invalid_grant")
    assert world.provider.get(PROTOCOL + "/userinfo", "", bearer).status == 401


def test_a_wrong_verifier_ends_the_code(world: World) -> None:
    query, pending = world.sign_in()
    code = read_callback(query, pending, world.pinned, now=world.now)
    assert post_token(world, token_form(world, code, "v" * 43, "a" * 16))[0] == 400
    assert post_token(world, token_form(world, code, pending.verifier, "b" * 16))[0] == 400


def test_a_code_lives_one_minute(world: World) -> None:
    for seconds, status in ((59, 200), (60, 400)):
        query, pending = world.sign_in()
        code = read_callback(query, pending, world.pinned, now=world.now)
        world.wait(seconds)
        assert post_token(world, token_form(world, code, pending.verifier, f"{seconds}" * 8))[0] == status


def test_another_clients_code_is_worth_nothing_and_stays_whole(world: World) -> None:
    query, pending = world.sign_in(SHOP)
    code = read_callback(query, pending, world.pinned, now=world.now)
    form = token_form(world, code, pending.verifier, "a" * 16) | {"redirect_uri": SHOP.redirect_uri}
    assert post_token(world, form)[1]["error"] == "invalid_grant"
    token = world.exchange(code, pending, SHOP)
    assert verify_id_token(token, pending, world.pinned, SHOP, now=world.now).subject


def race(world: World, forms: list[dict[str, str]]) -> list[int]:
    """The status of each token request, all sent at once."""
    start, found = threading.Barrier(len(forms)), []

    def go(form: dict[str, str]) -> None:
        start.wait()
        found.append(post_token(world, form)[0])

    threads = [threading.Thread(target=go, args=(form,)) for form in forms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found)


def test_of_many_that_come_with_one_code_exactly_one_is_served(world: World) -> None:
    for turn in range(5):
        query, pending = world.sign_in()
        code = read_callback(query, pending, world.pinned, now=world.now)
        forms = [token_form(world, code, pending.verifier, f"{turn:08}{n:08}") for n in range(8)]
        assert race(world, forms) == [200] + [400] * 7


def test_the_race_finds_a_store_that_looks_before_it_takes(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the race: with a gap between looking and taking, more than one is served."""
    query, pending = world.sign_in()
    code = read_callback(query, pending, world.pinned, now=world.now)
    everybody = threading.Barrier(4)

    def take_with_a_gap(_code: str, _client: str, *, now: int) -> Grant | None:
        with sqlite3.connect(tmp_path / "provider.sqlite", timeout=10) as db:
            row = db.execute(
                "SELECT client, redirect_uri, nonce, challenge, subject, auth_time FROM code WHERE used = 0"
            ).fetchone()
        everybody.wait(10)
        with sqlite3.connect(tmp_path / "provider.sqlite", timeout=10) as db:
            db.execute("UPDATE code SET used = 1")
        return Grant(*row) if row else None

    monkeypatch.setattr(
        ProviderStore, "take_code", lambda _self, *given, **more: take_with_a_gap(*given, **more)
    )
    forms = [token_form(world, code, pending.verifier, f"{n:016}") for n in range(4)]
    assert race(world, forms) == [200] * 4


def test_other_media_types_and_doubled_fields_are_refused(world: World) -> None:
    query, pending = world.sign_in()
    code = read_callback(query, pending, world.pinned, now=world.now)
    body = urlencode(token_form(world, code, pending.verifier, "a" * 16))
    for media_type, text in (("application/json", body), (FORM, body + "&code=x"), (FORM, "\ufffd=1")):
        reply = world.provider.post(PROTOCOL + "/token", media_type, text)
        assert json.loads(reply.body)["error"] in ("invalid_request", "invalid_client")
    assert world.provider.post(PROTOCOL + "/token", FORM, body).status == 200


# --- what is kept, and who may start ----------------------------------------------------------------------


def test_the_store_keeps_no_secret_and_no_person(world: World, tmp_path: Path) -> None:
    page = world.ask(world.start()[0])
    query, pending = world.sign_in()
    code = read_callback(query, pending, world.pinned, now=world.now)
    answer = post_token(world, token_form(world, code, pending.verifier, "a" * 16))[1]
    raw = (tmp_path / "provider.sqlite").read_bytes()
    assert CITY.client_id.encode() in raw, "the file is the one that was written"
    serial = f"{world.card.authentication.certificate.serial_number:x}"
    for secret in (code, answer["access_token"], ticket_of(page), serial, "1234", "hanako", pending.verifier):
        assert secret.encode() not in raw


def test_what_is_over_leaves_the_store(world: World, tmp_path: Path) -> None:
    world.sign_in()
    exchange(world)
    world.wait(3600)
    world.start()
    world.ask(world.start()[0])
    with sqlite3.connect(tmp_path / "provider.sqlite") as db:
        rows = [db.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0] for name in TABLES]
    assert rows == [1, 0, 0, 0]


TABLES = ("sign_in", "code", "access", "assertion")


@pytest.mark.parametrize("profile", [None, "production", "staging", "Demo"])
def test_it_runs_in_the_demo_profile_only(world: World, profile: str | None) -> None:
    with pytest.raises(SettingsError, match="mock-refused"):
        DigitalAuthServer(("127.0.0.1", 0), lambda _issuer: world.provider, profile=profile)
    DigitalAuthServer(("127.0.0.1", 0), lambda _issuer: world.provider, profile="demo").server_close()


@pytest.mark.parametrize(
    "change",
    [
        {"redirect_uris": []},
        {"redirect_uris": ["http://iizuka.example/callback"]},
        {"redirect_uris": ["https://iizuka.example/callback#x"]},
        {"redirect_uris": ["https://user@iizuka.example/"]},
        {"redirect_uris": ["https:///callback"]},
        {"redirect_uris": ["javascript:alert(1)"]},
        {"redirect_uris": ["https://iizuka.example/;script-src *"]},
        {"redirect_uris": "https://iizuka.example/"},
        {"client_id": ""},
        {"client_id": "a b"},
        {"sector": "x" * 101},
        {"jwks": {"keys": []}},
        {"jwks": {"keys": [{"kid": "a", "kty": "oct", "k": "AAAA"}]}},
        {"more": 1},
    ],
    ids=str,
)
def test_a_wrong_registration_stops_the_start(world: World, change: Any) -> None:
    entry = client_entry(CITY, world.city_key, "iizuka")
    assert parse_clients(clients_file(entry))[CITY.client_id].sector == "iizuka"
    with pytest.raises(SettingsError, match="bad-clients"):
        parse_clients(clients_file({**entry, **change}))


def test_two_registrations_of_one_client_stop_the_start(world: World) -> None:
    entry = client_entry(CITY, world.city_key, "iizuka")
    with pytest.raises(SettingsError, match="bad-clients"):
        parse_clients(clients_file(entry, entry))


def test_loopback_may_be_plain_http() -> None:
    assert is_redirect_uri("http://127.0.0.1:8080/callback")
    assert not is_redirect_uri("http://127.0.0.1.example/callback")


def hs256_token(header: dict[str, str], claims: str, secret: bytes) -> str:
    first = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    mac = hmac.new(secret, f"{first}.{claims}".encode(), hashlib.sha256).digest()
    return f"{first}.{claims}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def is_hs256(token: str, secret: bytes) -> bool:
    signed, _, mac = token.rpartition(".")
    wanted = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(wanted).rstrip(b"=").decode() == mac


def test_answers_go_back_with_state_and_issuer(world: World) -> None:
    address, pending = world.start()
    answer = answer_of(world.touch(world.ask(address)))
    assert (answer["state"], answer["iss"]) == (pending.state, ISSUER)
    assert query_of(world.touch(world.ask(address))).count("code=") == 1
