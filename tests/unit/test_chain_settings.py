"""Settings of the log process: complete or refused, documented one and all, secrets never shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chain import settings
from chain.errors import SettingsError


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    for name, text in (
        ("token", "door-token-for-tests"),
        ("signer", "signer-token-for-tests"),
        ("key", "0x" + "11" * 32),
    ):
        (tmp_path / name).write_text(text + "\n")
        (tmp_path / name).chmod(0o600)
    return {
        "AKASHI_PROFILE": "demo",
        "AKASHI_LOG_DIRECTORY": str(tmp_path / "log"),
        "AKASHI_LOG_ORIGIN": "door.mihon.example/992011/log/1",
        "AKASHI_LOG_SIGNER_SOCKET": str(tmp_path / "signer.sock"),
        "AKASHI_LOG_SIGNER_TOKEN_FILE": str(tmp_path / "signer"),
        "AKASHI_LOG_TOKEN_FILE": str(tmp_path / "token"),
        "AKASHI_LOG_PORT": "9000",
        "AKASHI_LOG_RPC": "http://127.0.0.1:8545/",
        "AKASHI_LOG_CHAIN_ID": "992011",
        "AKASHI_LOG_CONTRACT": "0x" + "Ab" * 20,
        "AKASHI_LOG_SEALER_KEY_FILE": str(tmp_path / "key"),
    }


def test_the_smallest_complete_environment(environment) -> None:
    read = settings.read_settings(environment)
    assert (read.listen, read.beat_seconds, read.padding, read.mix) == ("127.0.0.1:9000", 0.5, 8, True)
    assert read.public_prefix == "992011/log/1"
    assert read.anchoring.contract == b"\xab" * 20
    assert read.anchoring.rpc == "http://127.0.0.1:8545"
    assert read.anchoring.rules.confirmations == 1
    assert read.token == "door-token-for-tests"
    assert "token-for-tests" not in repr(read)
    socket = settings.read_settings({**environment, "AKASHI_LOG_SOCKET": "/run/log.sock"})
    assert socket.listen == "unix:/run/log.sock"


@pytest.mark.parametrize(
    "name", ["DIRECTORY", "ORIGIN", "SIGNER_SOCKET", "TOKEN_FILE", "PORT", "RPC", "CONTRACT", "CHAIN_ID"]
)
def test_nothing_that_decides_is_guessed(environment, name: str) -> None:
    del environment[f"AKASHI_LOG_{name}"]
    with pytest.raises(SettingsError, match=f"AKASHI_LOG_{name}"):
        settings.read_settings(environment)


@pytest.mark.parametrize(
    "change",
    [
        {"AKASHI_PROFILE": ""},
        {"AKASHI_PROFILE": "Demo"},
        {"AKASHI_LOG_ORIGIN": "https://door.mihon.example/992011/log/1"},
        {"AKASHI_LOG_ORIGIN": "door.mihon.example/992011/log/0"},
        {"AKASHI_LOG_PORT": "0"},
        {"AKASHI_LOG_PORT": "٣"},
        {"AKASHI_LOG_BEAT": "0"},
        {"AKASHI_LOG_BEAT": "fast"},
        {"AKASHI_LOG_PADDING": "0"},
        {"AKASHI_LOG_RPC": "file:///etc/passwd"},
        {"AKASHI_LOG_CONTRACT": "0x12"},
        {"AKASHI_LOG_ANCHORING": "no"},
        {"AKASHI_PROFILE": "production", "AKASHI_LOG_ANCHORING": "off"},
        {"AKASHI_PROFILE": "production", "AKASHI_LOG_ACCOUNTS": "accounts.json"},
        {"AKASHI_LOG_DOOR": "http://127.0.0.1:1"},
        {"AKASHI_LOG_DOOR_KEY_FILE": "key.pem"},
        {"AKASHI_LOG_VKEY": "other.example+00000000+AAAA"},
        {"AKASHI_LOG_VKEY": "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"},
    ],
)
def test_what_cannot_be_used_is_refused(environment, change: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        settings.read_settings(environment | change)


def test_secret_files_are_ones_own(environment, tmp_path: Path) -> None:
    (tmp_path / "token").chmod(0o640)
    with pytest.raises(SettingsError, match="readable by others"):
        settings.read_settings(environment)
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "token").write_text("short")
    with pytest.raises(SettingsError, match="no usable token"):
        settings.read_settings(environment)
    (tmp_path / "token").write_text("door-token-for-tests")
    (tmp_path / "key").write_text("11" * 31)
    with pytest.raises(SettingsError, match="32 bytes"):
        settings.read_settings(environment)


def test_every_variable_is_in_the_table_and_every_row_is_read() -> None:
    source = Path(settings.__file__).read_text()
    documented = set(re.findall(r"^\| AKASHI_LOG_([A-Z_]+) \|", settings.__doc__, re.MULTILINE))
    read = set(re.findall(r"values\.(?:text|number|seconds)\(\s*[\"']([A-Z_]+)[\"']", source))
    assert documented == read
