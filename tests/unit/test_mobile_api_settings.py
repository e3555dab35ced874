"""The street door's settings: nothing starts by accident, nothing is ignored in silence."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from mobile_api.errors import SettingsError
from mobile_api.gunicorn_conf import gunicorn_options
from mobile_api.settings import VARIABLES, Settings, settings_from_environment

GOOD = {
    "AKASHI_PROFILE": "demo",
    "AKASHI_DOOR_DATABASE_URL": "sqlite:///door.sqlite",
    "AKASHI_DOOR_PUBLIC_URL": "https://door.mihon.example",
    "AKASHI_DOOR_CITY": "992011",
    "AKASHI_DOOR_CITY_KEYS": "keys.json",
    "AKASHI_DOOR_PUBLIC_DIR": "public",
}


def test_reads_the_table() -> None:
    settings = settings_from_environment({**GOOD, "AKASHI_DOOR_PORT": "9000", "HOME": "/nowhere"})
    assert (settings.port, settings.city, settings.public_dir) == (9000, "992011", Path("public"))
    assert settings.max_package == 4 << 20


def test_every_field_has_a_row_and_the_same_default() -> None:
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    assert set(fields) - {"profile"} == {variable.name.lower() for variable in VARIABLES}
    for variable in VARIABLES:
        if variable.default is not None:
            assert variable.read(variable.default) == fields[variable.name.lower()].default, variable.name


@pytest.mark.parametrize("profile", [None, "", "Demo", "test", "prod"])
def test_without_a_known_profile_nothing_starts(profile: str | None) -> None:
    environment = {**GOOD}
    environment.pop("AKASHI_PROFILE")
    if profile is not None:
        environment["AKASHI_PROFILE"] = profile
    with pytest.raises(SettingsError, match="no-profile"):
        settings_from_environment(environment)


@pytest.mark.parametrize("name", [n for n in GOOD if n != "AKASHI_PROFILE"])
def test_required_settings_are_required(name: str) -> None:
    with pytest.raises(SettingsError, match="missing-setting"):
        settings_from_environment({**GOOD, name: ""})


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"AKASHI_DOOR_MAX_PACKGE": "10"}, "unknown-setting"),
        ({"AKASHI_DOOR_PORT": "-1"}, "bad-setting"),
        ({"AKASHI_DOOR_PORT": "８４４０"}, "bad-setting"),
        ({"AKASHI_DOOR_PUBLIC_URL": "http://door.mihon.example"}, "bad-setting"),
        ({"AKASHI_DOOR_PUBLIC_URL": "https://door.mihon.example/x"}, "bad-setting"),
        ({"AKASHI_DOOR_CITY": "99201"}, "bad-setting"),
        ({"AKASHI_DOOR_SMTP_SECURITY": "maybe"}, "bad-setting"),
        ({"AKASHI_DOOR_SMTP_HOST": "localhost"}, "missing-setting"),
        ({"AKASHI_DOOR_MAX_WAITERS": "24", "AKASHI_DOOR_THREADS": "24"}, "bad-setting"),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, str], code: str) -> None:
    with pytest.raises(SettingsError, match=code):
        settings_from_environment({**GOOD, **change})


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"AKASHI_DOOR_PUBLIC_URL": "https://door.city.jp"},
        {"AKASHI_DOOR_CITY": "402052"},
    ],
)
def test_production_refuses_mock_names(change: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="mock-in-production"):
        settings_from_environment({**GOOD, "AKASHI_PROFILE": "production", **change})


def test_production_relays_no_mail_in_the_clear() -> None:
    real = {
        **GOOD,
        "AKASHI_PROFILE": "production",
        "AKASHI_DOOR_PUBLIC_URL": "https://door.city.jp",
        "AKASHI_DOOR_CITY": "402052",
    }
    mail = {"AKASHI_DOOR_SMTP_HOST": "mail.city.jp", "AKASHI_DOOR_SMTP_SENDER": "door@city.jp"}
    assert settings_from_environment(real).profile == "production"
    with pytest.raises(SettingsError, match="insecure-setting"):
        settings_from_environment({**real, **mail})
    assert settings_from_environment({**real, **mail, "AKASHI_DOOR_SMTP_SECURITY": "starttls"}).smtp_host


def test_the_process_prints_the_table_and_refuses_without_settings() -> None:
    command = [sys.executable, "-m", "mobile_api"]
    table = subprocess.run([*command, "settings"], capture_output=True, text=True, check=True, env={})
    assert all(f"AKASHI_DOOR_{variable.name}\t" in table.stdout for variable in VARIABLES)
    nothing = subprocess.run(command, capture_output=True, text=True, env={})
    assert nothing.returncode == 2
    assert "AKASHI_PROFILE" in nothing.stderr
    assert "Traceback" not in nothing.stderr


def test_gunicorn_has_limits() -> None:
    from gunicorn.config import Config

    options = gunicorn_options(settings_from_environment(GOOD))
    config = Config()
    for name, value in options.items():
        config.set(name, value)
    assert (config.worker_class_str, config.accesslog) == ("gthread", None)
    assert config.limit_request_fields <= 40
