"""The settings of the login provider: all of them or none, read by each process from files of its own; and production takes
no mock.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.counterparts.digital_auth.provider import DISCOVERY, PROTOCOL
from app.errors import SettingsError
from app.identity.login_provider import read_login_provider
from app.settings import GATE_VARIABLES, LOGIN, WORKER_VARIABLES, read_gate_settings
from tests.support.digital_auth_world import ISSUER, World

GATE = {row.name: "x" for row in GATE_VARIABLES if row.default is None} | {"AKASHI_PROFILE": "demo"}
GIVEN = {row.name: f"/etc/{row.name}" for row in LOGIN}


def test_worker_and_gate_have_the_same_four() -> None:
    assert set(LOGIN) <= set(GATE_VARIABLES)
    assert set(LOGIN) <= set(WORKER_VARIABLES)
    assert len(LOGIN) == 4


def test_all_four_or_none() -> None:
    assert read_gate_settings(GATE).login is None
    found = read_gate_settings(GATE | GIVEN).login
    assert found is not None
    assert str(found.keys) == GIVEN["AKASHI_LOGIN_KEYS"]
    for name in GIVEN:
        with pytest.raises(SettingsError, match="AKASHI_LOGIN"):
            read_gate_settings(GATE | GIVEN | {name: ""})


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    provider = World(tmp_path).provider
    paths = tmp_path / "discovery.json", tmp_path / "jwks.json"
    for path, where in zip(paths, (DISCOVERY, PROTOCOL + "/certs"), strict=True):
        path.write_bytes(provider.get(where, "").body)
    return paths


def test_production_takes_no_mock_and_the_demo_no_other(files: tuple[Path, Path]) -> None:
    assert read_login_provider(*files, issuer=ISSUER, profile="demo").userinfo_endpoint
    with pytest.raises(SettingsError, match="mock"):
        read_login_provider(*files, issuer=ISSUER, profile="production")
    document = json.loads(files[0].read_bytes())
    del document["akashi_mock"]
    files[0].write_text(json.dumps(document))
    with pytest.raises(SettingsError, match="mock"):
        read_login_provider(*files, issuer=ISSUER, profile="demo")


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://other.example"},
        {"userinfo_endpoint": "https://other.example/userinfo"},
        {"userinfo_endpoint": 1},
        {"token_endpoint": "https://other.example/token"},
    ],
)
def test_addresses_of_another_origin_are_refused(files: tuple[Path, Path], change: dict[str, Any]) -> None:
    document = json.loads(files[0].read_bytes()) | change
    files[0].write_text(json.dumps(document))
    with pytest.raises(SettingsError):
        read_login_provider(*files, issuer=ISSUER, profile="demo")


def test_a_missing_file_is_named_by_its_kind(files: tuple[Path, Path]) -> None:
    files[1].unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        read_login_provider(*files, issuer=ISSUER, profile="demo")
