"""Who may speak for the city: one key, one call, one body, one minute, one use."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from app.mailbox import CityMailbox, MailboxError, city_authorisation, format_door_keys
from mobile_api.application import create_app
from mobile_api.city_authentication import load_city_keys
from mobile_api.errors import SettingsError
from tests.support.door_house import BASE_URL, CITY, NOW, Clock, House, city_sender, make_house, make_settings
from verifier.formats.encoding import base64url_encode, sha256
from verifier.formats.jose import thumbprint


@pytest.fixture
def house(tmp_path: Path) -> House:
    return make_house(tmp_path)


def call(house: House, token: str, path: str = "/city/nonces", method: str = "GET", body: bytes = b""):
    headers = {"Authorization": token} if token else {}
    return house.app.test_client().open(path, method=method, headers=headers, data=body or None)


def token(house: House, **changes: Any) -> str:
    key = changes.pop("key", house.mailbox_key)
    kid = changes.pop("kid", thumbprint(house.mailbox_key.public_key()))
    algorithm = changes.pop("algorithm", "ES256")
    issued = int(NOW.timestamp())
    claims = {
        "body": base64url_encode(sha256(b"")),
        "exp": issued + 50,
        "htm": "GET",
        "htu": "/city/nonces",
        "iat": issued,
        "jti": base64url_encode(sha256(str(time.monotonic_ns()).encode()))[:22],
        **changes,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    return "Bearer " + jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid})


def test_a_good_token_is_good(house: House) -> None:
    assert call(house, token(house)).json == {"left": 50}


@pytest.mark.parametrize(
    "changes",
    [
        {"htm": "POST"},
        {"htu": "/city/inbox"},
        {"body": base64url_encode(sha256(b"other"))},
        {"body": 7},
        {"body": None},
        {"jti": "short"},
        {"jti": None},
        {"exp": int(NOW.timestamp()) + 61},
        {"exp": int(NOW.timestamp()) - 1},
        {"exp": None},
        {"iat": int(NOW.timestamp()) - 200, "exp": int(NOW.timestamp()) - 150},
        {"iat": int(NOW.timestamp()) + 200, "exp": int(NOW.timestamp()) + 250},
        {"iat": None},
        {"kid": "unknown"},
        {"key": ec.generate_private_key(ec.SECP256R1())},
        {"algorithm": "none", "key": None},
        {"algorithm": "HS256", "key": "k" * 40},
    ],
)
def test_other_tokens_are_401(house: House, changes: dict[str, Any]) -> None:
    answer = call(house, token(house, **changes))
    assert (answer.status_code, answer.content_type) == (401, "application/problem+json")


@pytest.mark.parametrize("header", ["", "Basic x", "Bearer ", "Bearer x.y.z", "Bearer " + "x" * 5000])
def test_no_token_is_401(house: House, header: str) -> None:
    for path in ("/city/nonces", "/city/inbox", f"/city/answers/{'A' * 22}/{'m' * 16}", "/city/public/x"):
        method = "PUT" if "answers" in path or "public" in path else "GET"
        assert call(house, header, path, method).status_code == 401


def test_a_token_is_used_once(house: House) -> None:
    good = token(house)
    assert call(house, good).status_code == 200
    again = call(house, good)
    assert (again.status_code, again.json["code"]) == (401, "city-token-replayed")


def test_a_refused_token_is_not_used_up(house: House) -> None:
    good = token(house)
    assert call(house, good, "/city/inbox").status_code == 401
    assert call(house, good).status_code == 200


def test_scopes_separate_the_log_from_the_mailbox(tmp_path: Path) -> None:
    log_key, clock = ec.generate_private_key(ec.SECP256R1()), Clock()
    settings = make_settings(tmp_path, format_door_keys([(log_key.public_key(), ["public"])]))
    app = create_app(settings, clock=clock)
    mailbox = CityMailbox(BASE_URL, log_key, city=CITY, clock=clock, send=city_sender(app))
    mailbox.put_public(f"{CITY}/log/1/checkpoint", b"a checkpoint\n")
    for wrong in (mailbox.take, mailbox.nonces_left, lambda: mailbox.put_nonces(["n" * 32])):
        with pytest.raises(MailboxError, match="403"):
            wrong()


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'{"keys":[]}', b'{"keys":[1]}', b'{"keys":[{"kty":"EC"}]}', b"\xff", b'{"keys":5}'],
)
def test_a_damaged_key_file_starts_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys.json").write_bytes(content)
    with pytest.raises(SettingsError, match="bad-city-keys"):
        load_city_keys(tmp_path / "keys.json")


def test_an_unknown_scope_starts_nothing(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    (tmp_path / "keys.json").write_bytes(format_door_keys([(key, ["everything"])]))
    with pytest.raises(SettingsError, match="scopes"):
        load_city_keys(tmp_path / "keys.json")


def test_the_authorisation_callable_fits(house: House) -> None:
    authorise = city_authorisation(house.mailbox_key, clock=house.clock)
    body = b'{"nonces":["' + b"n" * 32 + b'"]}'
    assert call(house, authorise("POST", "/city/nonces", body), "/city/nonces", "POST", body).json == {
        "left": 51
    }


def test_a_stock_has_an_end(tmp_path: Path) -> None:
    house = make_house(tmp_path, max_nonces=60)
    with pytest.raises(Exception, match="door-conflict"):
        house.city.stock(20)
    assert house.city.mailbox.nonces_left() == 50
