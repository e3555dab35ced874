"""What the worker's settings say of status lists: sizes and beats that hide something, in production without exception."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import SettingsError
from app.settings import MIN_STATUS_BEAT, WORKER_VARIABLES, WorkerSettings, read_worker_settings
from app.storage.status_entries import REUSE_AFTER_DAYS

MAX_LIFE = 90 * 86400


def read(profile: str = "demo", **changes: str) -> WorkerSettings:
    values = {row.name: "x" for row in WORKER_VARIABLES if row.default is None}
    values |= {"AKASHI_PROFILE": profile, "AKASHI_PUBLIC_URL": "https://door.example"}
    return read_worker_settings({**values, **{f"AKASHI_{name}": value for name, value in changes.items()}})


def test_the_defaults_are_good_for_production() -> None:
    settings = read("production")
    assert (settings.status_lists, settings.status_size, settings.status_beat) == (4, 1 << 17, 3600)
    assert settings.status_ttl < settings.status_life
    assert settings.staff_token_file is None or isinstance(settings.staff_token_file, Path)


@pytest.mark.parametrize(
    ("variable", "demo", "production"),
    [
        ("STATUS_SIZE", ["1024", "131072", "1048576"], ["131072", "1048576"]),
        ("STATUS_BEAT", ["1", "600", "86400"], ["600", "86400"]),
        ("STATUS_LISTS", ["1", "64"], ["1", "64"]),
    ],
)
def test_bounds(variable: str, demo: list[str], production: list[str]) -> None:
    for profile, good in (("demo", demo), ("production", production)):
        for value in good:
            read(profile, **{variable: value})
        for value in (str(int(good[0]) - 1), str(int(good[-1]) + 1), "-1", "x", "131073.0"):
            with pytest.raises(SettingsError, match=variable):
                read(profile, **{variable: value})
    assert MIN_STATUS_BEAT["production"] >= 600


@pytest.mark.parametrize("size", ["131073", "131076"])
def test_a_list_is_whole_bytes(size: str) -> None:
    with pytest.raises(SettingsError, match="multiple of eight"):
        read(STATUS_SIZE=size)


def test_a_token_lives_longer_than_readers_keep_it() -> None:
    for life, ttl in (("3600", "3600"), ("60", "3600")):
        with pytest.raises(SettingsError, match="TTL"):
            read(STATUS_LIFE=life, STATUS_TTL=ttl)
    read(STATUS_LIFE="7200", STATUS_TTL="3600")


def test_an_index_rests_longer_than_any_token_lives() -> None:
    read(STATUS_LIFE=str(MAX_LIFE))
    with pytest.raises(SettingsError):
        read(STATUS_LIFE=str(MAX_LIFE + 1))
    assert REUSE_AFTER_DAYS * 86400 > MAX_LIFE
