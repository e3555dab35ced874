"""The settings table of the staff console: no default profile, no bind address outside the city by a slip."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.staff.errors import StaffSettingsError, StaffUsageError
from app.staff.secret_files import create_secret_file, read_token
from app.staff.settings import VARIABLES, read_settings

GOOD = {
    "AKASHI_PROFILE": "demo",
    "AKASHI_STAFF_DATABASE_URL": "sqlite:///staff.db",
    "AKASHI_STAFF_TOKEN_FILE": "token",
}


def test_the_three_required_variables_are_enough() -> None:
    settings = read_settings(GOOD)
    assert settings.is_mock
    assert (settings.host, settings.port, settings.city) == ("127.0.0.1", 8084, "992011")


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_missing_variable_starts_nothing(name: str) -> None:
    with pytest.raises(StaffSettingsError, match=name):
        read_settings({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AKASHI_PROFILE", "Demo"),
        ("AKASHI_PROFILE", "test"),
        ("AKASHI_CITY_CODE", "99201"),
        ("AKASHI_STAFF_BIND", "0.0.0.0:8084"),
        ("AKASHI_STAFF_BIND", "192.0.2.1:8084"),
        ("AKASHI_STAFF_BIND", "8084"),
        ("AKASHI_STAFF_BIND", "127.0.0.1:0"),
        ("AKASHI_STAFF_SLOW_MS", "-1"),
        ("AKASHI_STAFF_THREADS", "1"),
        ("AKASHI_STAFF_IDLE_SECONDS", "1e3"),
    ],
)
def test_an_unusable_value_starts_nothing_and_is_not_repeated(name: str, value: str) -> None:
    with pytest.raises(StaffSettingsError) as caught:
        read_settings(GOOD | {name: value})
    assert caught.value.code in ("bad-variable", "unknown-profile")


def test_a_container_may_bind_everywhere_and_production_may_bind_inside() -> None:
    assert (
        read_settings(GOOD | {"AKASHI_STAFF_BIND": "0.0.0.0:80", "AKASHI_STAFF_CONTAINER": "1"}).host
        == "0.0.0.0"
    )
    real = GOOD | {
        "AKASHI_PROFILE": "production",
        "AKASHI_CITY_CODE": "402052",
        "AKASHI_STAFF_BIND": "10.0.0.5:80",
    }
    assert read_settings(real).host == "10.0.0.5"


def test_production_refuses_the_mock_city() -> None:
    with pytest.raises(StaffSettingsError, match="mock-city"):
        read_settings(GOOD | {"AKASHI_PROFILE": "production"})


def test_every_row_of_the_table_says_what_it_means() -> None:
    assert len({row.name for row in VARIABLES}) == len(VARIABLES)
    assert all(row.name.startswith("AKASHI_") and row.meaning for row in VARIABLES)


def test_token_file_must_be_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "token"
    create_secret_file(path, "t" * 43)
    assert read_token(path) == b"t" * 43
    path.chmod(0o640)
    with pytest.raises(StaffSettingsError, match="open-token-file"):
        read_token(path)
    with pytest.raises(StaffUsageError, match="file-exists"):
        create_secret_file(path, "u" * 43)
    short = tmp_path / "short"
    create_secret_file(short, "t" * 31)
    with pytest.raises(StaffSettingsError, match="bad-token-file"):
        read_token(short)
    with pytest.raises(StaffSettingsError, match="no-token-file"):
        read_token(tmp_path / "absent")
