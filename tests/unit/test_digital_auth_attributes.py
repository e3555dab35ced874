"""The mock デジタル認証アプリ gives the four attributes by consent, signed for who is registered so; and the city reads
them strictly.

Each lie about userinfo is an honest one with one point changed; `test_userinfo_is_read` shows the path without the change.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt as foreign_jwt
from joserfc.jwk import KeySet

from app.counterparts.digital_auth.provider import DISCOVERY, PROTOCOL, Reply
from app.errors import UnavailableError
from app.identity.login import (
    SCOPE_WITH_ATTRIBUTES,
    Login,
    LoginRefused,
    PendingLogin,
    login_nonce,
    read_callback,
    start_login,
    verify_id_token,
)
from app.identity.login_exchange import Tokens, fetch_userinfo
from app.identity.userinfo import verify_userinfo
from tests.support.digital_auth_world import (
    CITY,
    ISSUER,
    SHOP,
    World,
    answer_of,
    query_of,
    sign_by_hand,
    ticket_of,
)
from tests.support.door_house import HANAKO, PASSWORDS

NAMES = ("name", "address", "birthdate", "gender")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def ask(world: World, client: Any = CITY, scope: str = SCOPE_WITH_ATTRIBUTES) -> tuple[Reply, PendingLogin]:
    address, pending = start_login(world.pinned, client, random=world.random, now=world.now, scope=scope)
    return world.ask(address), pending


def consent(world: World, page: Reply, choice: str = "agree") -> Reply:
    shown = world.touch(page, password=PASSWORDS.signature)
    return world.touch(shown, pin="", choice=choice)


def tokens_of(world: World, choice: str = "agree", client: Any = CITY) -> tuple[Tokens, PendingLogin]:
    page, pending = ask(world, client)
    query = query_of(consent(world, page, choice))
    code = read_callback(query, pending, world.pinned, now=world.now)
    return world.tokens(code, pending, client), pending


def login_of(world: World, tokens: Tokens, pending: PendingLogin, client: Any = CITY) -> Login:
    return verify_id_token(tokens.id_token, pending, world.pinned, client, now=world.now)


def test_userinfo_is_read(world: World) -> None:
    tokens, pending = tokens_of(world)
    token = fetch_userinfo(tokens.access_token, world.pinned, get=world.get)
    login = login_of(world, tokens, pending)
    found = verify_userinfo(token, login, world.pinned, CITY, now=world.now)
    assert found == HANAKO
    assert verify_userinfo(token, login, world.pinned, CITY, now=world.now.replace(microsecond=1)) == found


def test_the_page_says_what_goes_to_whom_before_it_goes(world: World) -> None:
    page, _ = ask(world)
    assert "氏名・住所・生年月日・性別" in page.body.decode()
    shown = world.touch(page, password=PASSWORDS.signature)
    text = shown.body.decode()
    assert shown.status == 200
    for value in (HANAKO.name, HANAKO.address, "19850315", CITY.client_id, "模擬"):
        assert value in text
    assert PASSWORDS.signature not in text
    assert "氏名" not in ask(world, scope="openid")[0].body.decode(), (
        "who asks for nothing is offered nothing"
    )


def test_who_declines_or_leaves_the_password_out_gives_nothing(world: World) -> None:
    tokens, pending = tokens_of(world, "decline")
    login = login_of(world, tokens, pending)
    token = fetch_userinfo(tokens.access_token, world.pinned, get=world.get)
    assert verify_userinfo(token, login, world.pinned, CITY, now=world.now) is None
    page, _ = ask(world)
    assert "code" in answer_of(world.touch(page)), "no password: no consent page, no attributes"


def test_only_a_clear_yes_gives_anything(world: World) -> None:
    for choice in ("", "sign-in", "AGREE"):
        tokens, pending = tokens_of(world, choice)
        token = fetch_userinfo(tokens.access_token, world.pinned, get=world.get)
        assert (
            verify_userinfo(token, login_of(world, tokens, pending), world.pinned, CITY, now=world.now)
            is None
        )
    page, _ = ask(world)
    assert answer_of(consent(world, page, "cancel"))["error"] == "access_denied"


def test_a_consent_is_for_one_code_and_the_first_form_is_gone(world: World) -> None:
    page, _ = ask(world)
    shown = world.touch(page, password=PASSWORDS.signature)
    assert ticket_of(shown) != ticket_of(page)
    assert world.touch(page, password=PASSWORDS.signature).status == 400
    assert "code" in answer_of(world.touch(shown, pin="", choice="agree"))
    assert world.touch(shown, pin="", choice="agree").status == 400


def test_a_wrong_password_counts_on_the_card_and_a_revoked_certificate_gives_nothing(world: World) -> None:
    page, _ = ask(world)
    again = world.touch(page, password="WRONG1")
    assert again.status == 400
    assert "あと4回" in again.body.decode()
    assert world.reader.tries_left("signature") == 4
    world.jpki.revoke(world.card.card, "move", now=world.now)
    moved = world.touch(again, password=PASSWORDS.signature)
    assert "失効" in moved.body.decode()
    assert HANAKO.address not in moved.body.decode()
    assert "code" in answer_of(world.touch(moved)), (
        "the other certificate is still good: on without attributes"
    )


def test_userinfo_is_plain_for_a_client_that_did_not_register_for_more(world: World) -> None:
    tokens, _ = tokens_of(world, client=SHOP)
    status, media_type, body = world.get(world.pinned.userinfo_endpoint, tokens.access_token, 1 << 15)
    assert (status, media_type) == (200, "application/json")
    assert set(json.loads(body)) == {"sub", *NAMES}
    with pytest.raises(LoginRefused, match="userinfo-unsigned"):
        fetch_userinfo(tokens.access_token, world.pinned, get=world.get)


def test_the_token_answer_says_which_scopes_were_given(world: World) -> None:
    kept: list[dict[str, Any]] = []

    def post(url: str, body: bytes, limit: int) -> tuple[int, bytes]:
        status, answer = world.post(url, body, limit)
        kept.append(json.loads(answer))
        return status, answer

    for choice, scope in (("agree", SCOPE_WITH_ATTRIBUTES), ("decline", "openid")):
        page, pending = ask(world)
        code = read_callback(query_of(consent(world, page, choice)), pending, world.pinned, now=world.now)
        world.tokens(code, pending, post=post)
        assert kept.pop()["scope"] == scope


def test_attributes_leave_the_providers_store(world: World, tmp_path: Path) -> None:
    tokens_of(world)
    world.wait(1000)
    ask(world)
    with sqlite3.connect(tmp_path / "provider.sqlite") as db:
        rows = [
            db.execute(f"SELECT attributes FROM {table}").fetchall()
            for table in ("sign_in", "code", "access")
        ]
    assert not [row for table in rows for row in table if row[0]]


def test_an_outage_and_a_dead_token_read_differently(world: World) -> None:
    def down(_url: str, _token: str, _limit: int) -> tuple[int, str, bytes]:
        raise OSError("no answer")

    with pytest.raises(UnavailableError):
        fetch_userinfo("a", world.pinned, get=down)
    with pytest.raises(UnavailableError):
        fetch_userinfo("a", world.pinned, get=lambda *_: (500, "application/jwt", b"x"))
    with pytest.raises(LoginRefused):
        fetch_userinfo("never-given", world.pinned, get=world.get)
    with pytest.raises(LoginRefused):
        fetch_userinfo("a", world.pinned, get=lambda *_: (200, "application/jwt", b"\xff"))


# --- lies about userinfo ----------------------------------------------------------------------------------------


def claims_of(world: World, login: Login, **changes: Any) -> dict[str, Any]:
    now = int(world.now.timestamp())
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": CITY.client_id,
        "sub": login.subject,
        "iat": now,
        "exp": now + 300,
        "name": HANAKO.name,
        "address": HANAKO.address,
        "birthdate": "19850315",
        "gender": "2",
    } | changes
    return {name: value for name, value in claims.items() if value is not ...}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"sub": "somebody-else"}, "userinfo-subject"),
        ({"sub": 1}, "claims"),
        ({"sub": ...}, "claims"),
        ({"iss": "https://other.example"}, "issuer"),
        ({"aud": SHOP.client_id}, "audience"),
        ({"aud": ...}, "claims"),
        ({"exp": ...}, "claims"),
        ({"iat": "1"}, "times"),
        ({"name": ...}, "attributes"),
        ({"gender": ...}, "attributes"),
        ({"address": ...}, "attributes"),
        ({"address": {"formatted": HANAKO.address}}, "attributes"),
        ({"birthdate": "1985-03-15"}, "attributes"),
        ({"birthdate": "19850230"}, "attributes"),
        ({"birthdate": "１９８５０３１５"}, "attributes"),
        ({"birthdate": 19850315}, "attributes"),
        ({"gender": 2}, "attributes"),
        ({"gender": "4"}, "attributes"),
        ({"name": ""}, "attributes"),
        ({"name": "あ" * 101}, "attributes"),
        ({"address": "あ" * 201}, "attributes"),
    ],
)
def test_a_lie_in_userinfo_is_refused(world: World, change: dict[str, Any], why: str) -> None:
    tokens, pending = tokens_of(world)
    login = login_of(world, tokens, pending)
    header = {"kid": world.keys.key_id}
    honest = sign_by_hand(header, claims_of(world, login), world.keys.signing)
    assert verify_userinfo(honest, login, world.pinned, CITY, now=world.now) is not None
    token = sign_by_hand(header, claims_of(world, login, **change), world.keys.signing)
    with pytest.raises(LoginRefused) as refused:
        verify_userinfo(token, login, world.pinned, CITY, now=world.now)
    assert refused.value.code == f"login-{why}"
    assert HANAKO.name not in str(refused.value)


def test_only_the_substitute_of_the_mock_cards_is_read_as_one(world: World) -> None:
    tokens, pending = tokens_of(world)
    login = login_of(world, tokens, pending)
    for name, flags in (("〓塚　花子", "10000"), ("●塚　花子", "00000"), ("？塚　花子", "00000")):
        claims = claims_of(world, login, name=name)
        token = sign_by_hand({"kid": world.keys.key_id}, claims, world.keys.signing)
        found = verify_userinfo(token, login, world.pinned, CITY, now=world.now)
        assert found is not None
        assert found.name_substitutes == flags


def test_another_key_another_time_and_another_kind_of_token_are_refused(world: World) -> None:
    tokens, pending = tokens_of(world)
    login = login_of(world, tokens, pending)
    header, claims = {"kid": world.keys.key_id}, claims_of(world, login)
    now = int(world.now.timestamp())
    lies = [
        sign_by_hand(header, claims, world.city_key),
        sign_by_hand({"kid": "unknown"}, claims, world.keys.signing),
        sign_by_hand({**header, "alg": "none"}, claims, world.keys.signing),
        sign_by_hand(header, claims | {"exp": now}, world.keys.signing),
        sign_by_hand(header, claims | {"exp": now + 7200}, world.keys.signing),
        sign_by_hand(header, claims | {"iat": now - 3600}, world.keys.signing),
        sign_by_hand(header, claims | {"iat": now + 3600, "exp": now + 3700}, world.keys.signing),
        "x" * (17 << 10),
        "",
        "a.b.c",
    ]
    for lie in lies:
        with pytest.raises(LoginRefused):
            verify_userinfo(lie, login, world.pinned, CITY, now=world.now)
    # Neither token passes as the other: userinfo has no nonce, and an ID token brings no attributes.
    userinfo = fetch_userinfo(tokens.access_token, world.pinned, get=world.get)
    with pytest.raises(LoginRefused):
        verify_id_token(userinfo, pending, world.pinned, CITY, now=world.now)
    assert verify_userinfo(tokens.id_token, login, world.pinned, CITY, now=world.now) is None


def test_a_foreign_library_reads_userinfo(world: World) -> None:
    """joserfc, with the keys the provider publishes and nothing of ours."""
    tokens, pending = tokens_of(world)
    token = fetch_userinfo(tokens.access_token, world.pinned, get=world.get)
    keys = KeySet.import_key_set(json.loads(world.provider.get(PROTOCOL + "/certs", "").body))
    read = foreign_jwt.decode(token, keys, algorithms=["ES256"])
    foreign_jwt.JWTClaimsRegistry(
        now=int(world.now.timestamp()),
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": CITY.client_id},
        sub={"essential": True, "value": login_of(world, tokens, pending).subject},
        exp={"essential": True},
    ).validate(read.claims)
    assert {name: read.claims[name] for name in NAMES} == {
        "name": HANAKO.name,
        "address": HANAKO.address,
        "birthdate": "19850315",
        "gender": "2",
    }


def test_discovery_names_what_is_given(world: World) -> None:
    document = json.loads(world.provider.get(DISCOVERY, "").body)
    assert set(NAMES) < set(document["claims_supported"])
    assert set(NAMES) < set(document["scopes_supported"])
    assert document["userinfo_signing_alg_values_supported"] == ["ES256"]
    assert world.pinned.userinfo_endpoint.endswith(PROTOCOL + "/userinfo")


def test_a_nonce_commits_to_everything_it_is_for() -> None:
    honest = login_nonce("r", "d", "s")
    assert len(honest) == 43
    others = [("q", "d", "s"), ("r", "e", "s"), ("r", "d", "t"), ("rd", "", "s"), ("r", "ds", "")]
    assert honest not in {login_nonce(*other) for other in others}
