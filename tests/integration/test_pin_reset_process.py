"""The password reset over processes and sockets: the service is one process, each station another."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.counterparts.jpki.card_file import CardFile
from app.counterparts.jpki.errors import CardLocked, WrongPin
from app.counterparts.jpki.reader import CardReader
from app.counterparts.pin_reset.service import JAPAN, OPENS
from tests.support.door_house import HANAKO, PASSWORDS
from tests.support.watched_processes import watched
from verifier.formats.encoding import base64_decode

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str | Path, profile: str = "demo") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "AKASHI_PROFILE": profile},
        timeout=60,
        check=False,
    )


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="ascii")
    return path


def test_the_counter_resets_a_locked_card_and_the_kiosk_keeps_its_hours(tmp_path: Path) -> None:
    jpki, directory, card = tmp_path / "jpki", tmp_path / "reset", tmp_path / "card.json"
    attributes = write(
        tmp_path / "attributes.json", json.dumps({n: getattr(HANAKO, n) for n in HANAKO.__slots__})
    )
    made = run(
        *("app.counterparts.jpki", "issue", "--directory", jpki, "--attributes", attributes, "--card", card),
        *("--passwords", write(tmp_path / "first", PASSWORDS.signature, PASSWORDS.authentication)),
    )
    assert made.returncode == 0, made.stderr
    command = [
        *(sys.executable, "-m", "app.counterparts.pin_reset", "serve"),
        *("--directory", str(directory), "--jpki", str(jpki), "--port", "0"),
    ]
    with watched(tmp_path):
        server = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "AKASHI_PROFILE": "demo"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert server.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
            assert found is not None
            url = found.group()
            reset = "app.counterparts.pin_reset"
            kept = CardFile(card)
            camera = write(tmp_path / "camera", base64_decode(kept.content["picture"]).hex())
            kept.close()
            pin = write(tmp_path / "pin", PASSWORDS.authentication)
            reserve = (reset, "reserve", "--at", url, "--card", card, "--passwords", pin, "--camera", camera)
            no = run(*reserve)
            assert no.returncode == 1 and "窓口" in no.stderr  # not delegated yet
            assert run(reset, "delegate", "--directory", directory).returncode == 0
            assert run(*reserve).returncode == 0
            both = write(tmp_path / "both", PASSWORDS.authentication, "KIOSK777")
            answer = run(reset, "kiosk", "--at", url, "--card", card, "--passwords", both)
            # The process has the machine's clock: outside the hours the kiosk is closed, and that is told.
            is_open = datetime.now(UTC).astimezone(JAPAN).time() >= OPENS and answer.returncode == 0
            if is_open:
                assert CardReader(card).sign_document("KIOSK777", b"x").signature
            else:
                assert answer.returncode == 1 and "6:30" in answer.stderr
            for _ in range(3):
                with pytest.raises((WrongPin, CardLocked)):
                    CardReader(card).authenticate("0000", b"x")
            counter = (
                *(reset, "counter", "--at", url, "--card", card, "--target", "authentication"),
                *("--passwords", write(tmp_path / "new", "8642"), "--staff", "madoguchi-1"),
            )
            token = ("--token", directory / "counter.token")
            assert run(*counter, *token).returncode == 1  # no kind of document
            assert run(*counter, *token, "--document", "passport").returncode == 0
            assert CardReader(card).authenticate("8642", b"x").signature
            wrong = tmp_path / "wrong.token"
            wrong.write_text("x" * 43)
            wrong.chmod(0o600)
            assert run(*counter, "--token", wrong, "--document", "passport").returncode == 2
            records = run(reset, "records", "--directory", directory)
            assert records.stdout.count("旅券") == 1 and "写しなし" in records.stdout
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(10)


@pytest.mark.parametrize("profile", ["production", "", "other"])
def test_outside_the_demo_nothing_starts(tmp_path: Path, profile: str) -> None:
    done = run("app.counterparts.pin_reset", "records", "--directory", tmp_path, profile=profile)
    assert done.returncode == 2 and "模擬/MOCK" in done.stderr
