"""Well-known documents, headers, methods: what is served where, and what is never served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mobile_api.errors import SettingsError
from mobile_api.settings import Profile, settings_from_environment
from mobile_api.wallets.wallet_door import load_attesters
from tests.support.door_house import CITY, NOW, PUBLIC_URL
from tests.support.wallet_city import WalletWorld, issuer_metadata, make_wallet_world
from tests.support.wallet_client import new_key
from tests.support.wallet_provider import make_wallet_provider
from tests.unit.test_mobile_api_settings import GOOD

ISSUERS = {"p1": f"/{CITY}", "p2": f"/{CITY}/haip"}


@pytest.fixture
def world(tmp_path: Path) -> WalletWorld:
    return make_wallet_world(tmp_path)


def get(world: WalletWorld, path: str, **headers: str) -> Any:
    return world.house.app.test_client().get(path, headers=headers)


@pytest.mark.parametrize("profile", ["p1", "p2"])
def test_metadata_lies_at_both_forms_of_the_address_byte_for_byte(world: WalletWorld, profile: str) -> None:
    stored = (world.house.settings.public_dir / CITY / "wallets" / f"{profile}.json").read_bytes()
    path = ISSUERS[profile]
    for address in (
        f"/.well-known/openid-credential-issuer{path}",
        f"{path}/.well-known/openid-credential-issuer",
    ):
        answer = get(world, address)
        assert (answer.status_code, answer.data) == (200, stored)
        assert answer.content_type == "application/json"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Cache-Control"] == "public, max-age=60"
        assert get(world, address, **{"If-None-Match": answer.headers["ETag"]}).status_code == 304
    wallet = world.wallet(profile)
    assert wallet.metadata() == wallet.metadata(suffix=True) == json.loads(stored)
    assert wallet.server_metadata() == wallet.server_metadata(suffix=True)


def test_the_well_known_part_is_between_host_and_path_and_nowhere_else(world: WalletWorld) -> None:
    for path in (
        "/.well-known/openid-credential-issuer",
        "/.well-known/openid-credential-issuer/992012",
        "/.well-known/openid-credential-issuer/0992011",
        f"/.well-known/openid-credential-issuer/{CITY}/haip/",
        f"/.well-known/openid-credential-issuer/{CITY}/other",
        "/992012/.well-known/openid-credential-issuer",
    ):
        assert get(world, path).status_code == 404, path


def test_server_metadata_says_what_is_served(world: WalletWorld) -> None:
    one, two = world.wallet("p1").server_metadata(), world.wallet("p2").server_metadata()
    assert one["token_endpoint"] == f"{PUBLIC_URL}/{CITY}/token"
    assert one["token_endpoint_auth_methods_supported"] == ["none"]
    assert one["pre-authorized_grant_anonymous_access_supported"] is True
    assert "authorization_endpoint" not in one
    assert two["require_pushed_authorization_requests"] is True
    assert two["code_challenge_methods_supported"] == ["S256"]
    assert two["authorization_response_iss_parameter_supported"] is True
    assert two["dpop_signing_alg_values_supported"] == ["ES256"]
    assert two["scopes_supported"] == ["income_certificate"]
    for document, profile in ((one, "p1"), (two, "p2")):
        for name, address in document.items():
            if name.endswith("_endpoint"):
                # What is promised is served: not 404, and never for a GET of somebody who just looks.
                path = address.removeprefix(PUBLIC_URL)
                method = "get" if name == "authorization_endpoint" else "post"
                status = getattr(world.house.app.test_client(), method)(path).status_code
                assert status in (400, 401), (profile, name)


def test_signed_metadata_for_who_asks(world: WalletWorld) -> None:
    address = f"/.well-known/openid-credential-issuer/{CITY}"
    assert get(world, address, Accept="application/jwt").content_type == "application/json"
    world.city.call("PUT", f"/city/public/{CITY}/wallets/p1.jwt", b"a.b.c")
    signed = get(world, address, Accept="application/jwt")
    assert (signed.data, signed.content_type) == (b"a.b.c", "application/jwt")
    # whoever names both alike can check a signature
    assert get(world, address, Accept="application/jwt, application/json").data == b"a.b.c"
    assert get(world, address, Accept="application/jwt, */*;q=0.1").data == b"a.b.c"
    for accept in (
        "*/*",
        "application/*",
        "application/json",
        "application/json, application/jwt;q=0.5",
        "application/jwt;q=0",
        "application/jwt;q=0.5, */*",
        "",
    ):
        assert get(world, address, Accept=accept).content_type == "application/json", accept
    assert signed.headers["Vary"] == "Accept"


def test_keys_and_type_of_the_issuer(world: WalletWorld) -> None:
    keys, kind = f"/.well-known/jwt-vc-issuer/{CITY}", "/vct/income-certificate/1"
    assert get(world, keys).status_code == get(world, kind).status_code == 503
    put = world.city.call
    put(
        "PUT",
        f"/city/public/{CITY}/wallets/jwt-vc-issuer.json",
        json.dumps({"issuer": f"{PUBLIC_URL}/{CITY}", "jwks": {"keys": []}}).encode(),
    )
    put(
        "PUT",
        f"/city/public/{CITY}/wallets/vct.json",
        json.dumps({"vct": f"{PUBLIC_URL}/vct/income-certificate/1"}).encode(),
    )
    assert get(world, keys).json["issuer"] == f"{PUBLIC_URL}/{CITY}"
    assert get(world, f"/{CITY}/.well-known/jwt-vc-issuer").json == get(world, keys).json
    assert get(world, kind).json["vct"].endswith(kind)
    assert get(world, "/.well-known/jwt-vc-issuer/992012").status_code == 404


@pytest.mark.parametrize(
    "document",
    [
        {"credential_issuer": "https://evil.example/992011"},
        {"credential_request_encryption": None},
        {"credential_request_encryption": {"jwks": {"keys": []}}},
        {"credential_request_encryption": {"jwks": {"keys": [{"kty": "RSA"}]}}},
        {"credential_configurations_supported": []},
    ],
)
def test_metadata_that_cannot_be_is_not_served(world: WalletWorld, document: dict[str, Any]) -> None:
    wallet = world.wallet()
    good = issuer_metadata("p1", world.city.envelope_key)
    path = f"/city/public/{CITY}/wallets/p1.json"
    world.city.call("PUT", path, json.dumps({**good, **document}).encode())
    address = f"/.well-known/openid-credential-issuer/{CITY}"
    assert get(world, address).status_code == 503
    assert wallet.redeem(world.city.offer().code).status == 503
    world.city.call("PUT", path, json.dumps(good).encode())
    assert get(world, address).status_code == 200


def test_p2_metadata_that_does_not_require_encryption_is_not_served(world: WalletWorld) -> None:
    open_ = {"alg_values_supported": ["ECDH-ES"], "enc_values_supported": [], "encryption_required": False}
    world.city.publish("p2", credential_response_encryption=open_)
    assert get(world, f"/.well-known/openid-credential-issuer/{CITY}/haip").status_code == 503


def test_without_metadata_or_keys_every_end_point_is_503(tmp_path: Path) -> None:
    world = make_wallet_world(tmp_path, publish=False)
    client = world.house.app.test_client()
    for path in ("token", "nonce", "credential", "deferred_credential", "notification", "haip/par"):
        answer = client.post(f"/{CITY}/{path}")
        assert (answer.status_code, answer.json["error"]) == (503, "temporarily_unavailable"), path
        assert int(answer.headers["Retry-After"]) > 0
    page = client.get(f"/{CITY}/haip/authorize")
    assert (page.status_code, page.mimetype) == (503, "text/html")
    world.city.publish("p1")
    assert client.post(f"/{CITY}/nonce").status_code == 503
    world.city.send_nonce_key()
    assert client.post(f"/{CITY}/nonce").status_code == 200


END_POINTS = [
    "token", "nonce", "credential", "deferred_credential", "notification", "haip/par", "haip/token",
    "haip/credential",
]  # fmt: skip


@pytest.mark.parametrize("path", END_POINTS)
def test_methods_and_preflight(world: WalletWorld, path: str) -> None:
    client = world.house.app.test_client()
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer = client.open(f"/{CITY}/{path}", method=method)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
        assert answer.content_type == "application/json" and answer.json["error"] == "invalid_request"
    preflight = client.options(f"/{CITY}/{path}", headers={"Origin": "https://wallet.example"})
    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    allowed = preflight.headers["Access-Control-Allow-Headers"]
    assert all(
        name in allowed for name in ("Authorization", "DPoP", "Content-Type", "OAuth-Client-Attestation")
    )
    assert "Access-Control-Allow-Credentials" not in preflight.headers


@pytest.mark.parametrize("path", END_POINTS)
def test_no_error_is_a_problem_document_and_none_may_be_cached(world: WalletWorld, path: str) -> None:
    client = world.house.app.test_client()
    for answer in (
        client.post(f"/{CITY}/{path}", data=b"\xff" * 100),
        client.post(f"/{CITY}/{path}", data=b"x", headers={"Authorization": "Bearer x"}),
        client.post(f"/992012/{path}"),
        client.post(f"/{CITY}/{path}", headers={"Transfer-Encoding": "chunked"}),
    ):
        assert answer.content_type == "application/json"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_calls_are_counted(tmp_path: Path) -> None:
    world = make_wallet_world(tmp_path, rate_wallet=3)
    client = world.house.app.test_client()
    for path in ("nonce", "token", "credential", "haip/par"):
        found = [client.post(f"/{CITY}/{path}").status_code for _ in range(4)]
        assert found[-1] == 429 and 429 not in found[:3], path
    limited = client.post(f"/{CITY}/nonce")
    assert limited.json["error"] == "temporarily_unavailable"
    assert int(limited.headers["Retry-After"]) > 0
    assert client.get(f"/{CITY}/haip/authorize").mimetype == "text/html"


def test_calls_under_one_grant_are_counted(tmp_path: Path) -> None:
    world = make_wallet_world(tmp_path, rate_grant=2, wallet_wait=0)
    one, other = world.with_token(), world.with_token()
    assert [one.deferred("x" * 20).status for _ in range(3)] == [400, 400, 429]
    assert other.deferred("x" * 20).status == 400


# --- settings ---------------------------------------------------------------------------------------------------


def test_only_served_profiles_answer(tmp_path: Path) -> None:
    world = make_wallet_world(tmp_path, wallet_profiles=("p2",))
    client = world.house.app.test_client()
    assert client.post(f"/{CITY}/nonce").status_code == 404
    assert get(world, f"/.well-known/openid-credential-issuer/{CITY}").status_code == 404
    assert client.post(f"/{CITY}/haip/nonce").status_code == 200
    none = make_wallet_world(tmp_path / "none", wallet_profiles=("none",)).house.app.test_client()
    assert none.post(f"/{CITY}/haip/nonce").status_code == 404
    assert none.get("/vct/income-certificate/1").status_code == 404


PRODUCTION = {
    **GOOD,
    "AKASHI_PROFILE": "production",
    "AKASHI_DOOR_PUBLIC_URL": "https://door.city.jp",
    "AKASHI_DOOR_CITY": "402052",
}
PROFILES, ATTESTERS = "AKASHI_DOOR_WALLET_PROFILES", "AKASHI_DOOR_WALLET_ATTESTERS"


@pytest.mark.parametrize(
    ("environment", "served"),
    [
        (GOOD, ("p1", "p2")),
        ({**GOOD, PROFILES: "p1"}, ("p1",)),
        ({**GOOD, PROFILES: "none"}, ()),
        (PRODUCTION, ()),
        ({**PRODUCTION, ATTESTERS: "a.pem"}, ("p2",)),
        ({**PRODUCTION, ATTESTERS: "a.pem", PROFILES: "p1,p2"}, ("p1", "p2")),
    ],
)
def test_profiles_by_settings(environment: dict[str, str], served: tuple[str, ...]) -> None:
    from mobile_api.settings import served_profiles

    assert served_profiles(settings_from_environment(environment)) == served


@pytest.mark.parametrize(
    "environment",
    [
        {**GOOD, PROFILES: "p3"},
        {**GOOD, PROFILES: "p1,p1"},
        {**GOOD, PROFILES: "p1, p2"},
        {**PRODUCTION, PROFILES: "p2"},
        {**GOOD, "AKASHI_DOOR_WALLET_WAITERS": "8"},
    ],
)
def test_settings_that_must_not_run(environment: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        settings_from_environment(environment)


def test_production_wants_encryption_in_every_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_wallet_world(tmp_path)
    wallets = world.house.app.extensions["akashi-wallets"]
    assert not wallets.must_encrypt("p1")
    object.__setattr__(wallets.door.settings, "profile", Profile.PRODUCTION)
    assert wallets.must_encrypt("p1")
    # Metadata that does not say so is not served in production.
    assert get(world, f"/.well-known/openid-credential-issuer/{CITY}").status_code == 503
    required = {"encryption_required": True, "enc_values_supported": ["A256GCM"]}
    good = issuer_metadata("p1", world.city.envelope_key)
    request = {**good["credential_request_encryption"], "encryption_required": True}
    world.city.publish("p1", credential_response_encryption=required, credential_request_encryption=request)
    assert get(world, f"/.well-known/openid-credential-issuer/{CITY}").status_code == 200
    wallet = world.with_token()
    body = wallet.request_body([new_key()], encrypted=True)
    assert wallet.credential(body).error == "invalid_encryption_parameters"


def test_attesters_of_a_mock_are_refused_in_production(tmp_path: Path) -> None:
    mock, real, broken = tmp_path / "mock.pem", tmp_path / "real.pem", tmp_path / "broken.pem"
    mock.write_bytes(make_wallet_provider(NOW).pem())
    real.write_bytes(make_wallet_provider(NOW, "Provider").pem())
    broken.write_bytes(b"x")
    assert len(load_attesters(real, production=True)) == 1
    assert len(load_attesters(mock, production=False)) == 1
    assert load_attesters(None, production=True) == ()
    with pytest.raises(SettingsError, match="mock-in-production"):
        load_attesters(mock, production=True)
    for path in (broken, tmp_path / "none.pem"):
        with pytest.raises(SettingsError, match="bad-attesters"):
            load_attesters(path, production=False)
