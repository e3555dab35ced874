"""The console as a process: it starts, serves and stops on SIGTERM; `akashi staff …` on its store."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.staff.cli import add_commands
from app.staff.feed import StaffFeed
from app.staff.messages import Snapshot
from tests.support.watched_processes import watched

ROOT = Path(__file__).resolve().parents[2]


def _environment(home: Path, port: int = 8084) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "AKASHI_PROFILE": "demo",
        "AKASHI_STAFF_DATABASE_URL": f"sqlite:///{home / 'staff.db'}",
        "AKASHI_STAFF_TOKEN_FILE": str(home / "token"),
        "AKASHI_STAFF_BIND": f"127.0.0.1:{port}",
    }


def _akashi(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    parser = argparse.ArgumentParser(prog="akashi")
    add_commands(parser.add_subparsers(required=True))
    parsed = parser.parse_args(arguments)
    status = parsed.run(parsed)
    written = capsys.readouterr()
    return status, written.out, written.err


def test_commands_make_logins_and_secret_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in _environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    secret, totp = tmp_path / "hanako.password", tmp_path / "hanako.totp"
    add = ["staff", "add", "hanako", "--password-out", str(secret), "--totp-out", str(totp)]
    status, out, _err = _akashi(add, capsys)
    assert (status, out) == (0, "hanako 模擬/MOCK\n")
    for file in (secret, totp):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert len(file.read_text().strip()) >= 24
        assert file.read_text().strip() not in out
    assert _akashi(add, capsys)[0] == 2
    assert _akashi(["staff", "list"], capsys)[1] == "hanako\tenabled\n"
    changed = tmp_path / "changed"
    assert _akashi(["staff", "password", "hanako", "--password-out", str(changed)], capsys)[0] == 0
    assert changed.read_text() != secret.read_text()
    assert _akashi(["staff", "disable", "hanako"], capsys)[0] == 0
    assert _akashi(["staff", "list"], capsys)[1] == "hanako\tdisabled\n"
    status, out, err = _akashi(["staff", "disable", "taro"], capsys)
    assert (status, out) == (2, "")
    assert "unknown-name" in err


def test_without_a_terminal_a_password_is_never_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in _environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    status, _out, err = _akashi(["staff", "add", "hanako"], capsys)
    assert status == 2
    assert "no-terminal" in err


def test_commands_need_a_profile(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("AKASHI_PROFILE", raising=False)
    status, _out, err = _akashi(["staff", "list"], capsys)
    assert status == 2
    assert "hint:" in err


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"AKASHI_PROFILE": ""}, "missing-variable"),
        ({"AKASHI_PROFILE": "staging"}, "unknown-profile"),
        ({"AKASHI_STAFF_BIND": "0.0.0.0:80"}, "bad-variable"),
        ({}, "no-token-file"),
    ],
)
def test_the_process_refuses_to_start_wrongly(tmp_path: Path, changed: dict[str, str], word: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "app.staff"],
        cwd=ROOT,
        env=_environment(tmp_path) | changed,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert word in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.fixture
def watched_path(tmp_path: Path) -> Iterator[Path]:
    with watched(tmp_path):
        yield tmp_path


def test_the_process_serves_and_stops(watched_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (watched_path / "token").write_text("t" * 43)
    (watched_path / "token").chmod(0o600)
    process = subprocess.Popen(
        [sys.executable, "-m", "app.staff"],
        cwd=ROOT,
        env=_environment(watched_path, port),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"{address}/readyz", timeout=5) as answer:
                    assert answer.status == 200
                break
            except OSError:
                assert process.poll() is None, process.stderr.read() if process.stderr else ""
                time.sleep(0.1)
        else:
            pytest.fail("the console did not come up")
        with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
            peer.sendall("GET /鸚鵡沢椋鳥子 HTTP/9.9\r\n\r\n".encode())
            peer.recv(1000)
        StaffFeed(address, "t" * 43).put_snapshot(Snapshot(1, 1, 0, seals=1, leaves=1, authorised=1))
        with urllib.request.urlopen(f"{address}/login", timeout=5) as page:
            assert "これは見本です。" in page.read().decode()
    finally:
        process.send_signal(signal.SIGTERM)
        _out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "模擬/MOCK" in err
    assert "t" * 43 not in err
    # The web server's line about the request that it could not read: neither who sent it nor what.
    (line,) = [line for line in err.splitlines() if "an invalid request" in line]
    assert "127.0.0.1" not in line
    assert "鸚鵡沢" not in err
