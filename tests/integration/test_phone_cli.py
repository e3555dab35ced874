"""`akashi phone …` against a real HTTP door with a fake city: what a person types, and the exit codes.

The trust directory is replaced by the fake city's keys; reading real trust lists is the verifier's part.
"""

from __future__ import annotations

import argparse
import functools
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from werkzeug.serving import make_server

from app import phone_cli
from mobile_api.client import Phone
from tests.support.door_house import DirectStatus, House, card_checker, make_card, make_house, make_jpki
from tests.unit.test_phone_submissions import Company
from verifier.formats.credential import parse_credential


class Terminal:
    """Runs commands with the options every one of them needs."""

    def __init__(self, directory: Path, base: str) -> None:
        self._common = ["--home", f"{directory}/phone", "--door", base, "--trust", str(directory)]
        self.card = ["--card", f"{directory}/card.json", "--passwords", f"{directory}/passwords"]
        self._parser = argparse.ArgumentParser()
        phone_cli.add_commands(self._parser.add_subparsers())

    def run(self, command: str, *arguments: str) -> int:
        options = self._parser.parse_args(["phone", *command.split(), *self._common, *arguments])
        return options.run(options)


@pytest.fixture
def house(tmp_path: Path) -> House:
    from datetime import UTC, datetime

    jpki = make_jpki(tmp_path / "jpki", datetime.now(UTC))
    found = make_house(tmp_path, cards=card_checker(jpki, DirectStatus(jpki)), phone_wait=2)
    found.clock.now = datetime.now(UTC).replace(microsecond=0)
    make_card(jpki, tmp_path / "card.json", now=found.clock.now)
    (tmp_path / "passwords").write_text("ABC123\n1234\n")
    return found


@pytest.fixture
def terminal(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    server = make_server("127.0.0.1", 0, house.app, threaded=True)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.05):
            house.city.work()

    working = threading.Thread(target=work)
    working.start()
    pinned = SimpleNamespace(content=house.city.trust)
    monkeypatch.setattr(phone_cli, "_city_trust", lambda _options: pinned)
    yield Terminal(tmp_path, f"http://127.0.0.1:{server.port}")
    stop.set()
    working.join()
    server.shutdown()


def test_a_session(
    terminal: Terminal, house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert terminal.run("sign-up", *terminal.card, "--mail", "hanako@mail.example") == 0
    assert terminal.run("sign-up", *terminal.card) == 0
    assert terminal.run("confirm-mail", "123456") == 0
    assert terminal.run("confirm-mail", "999999") == phone_cli.EXIT_REFUSED
    assert terminal.run("request", *terminal.card, "--year", "2026", "--purpose", "住居手当") == 0
    assert "ready" in capsys.readouterr().err
    assert terminal.run("fetch", "--out", f"{tmp_path}/bundle.zip") == 0
    assert (tmp_path / "bundle.zip").read_bytes() in house.city.bundles.values()
    company = Company(house)
    qr = company.ask(statement=company.statement())
    capsys.readouterr()
    assert terminal.run("submit", qr, "--yes") == 0
    shown = capsys.readouterr()
    assert "模擬商事株式会社" in shown.err
    assert len(company.received()) == 1
    assert terminal.run("withdraw", shown.out.strip()) == 1
    assert terminal.run("history") == 0
    assert "submitted" in capsys.readouterr().out
    assert terminal.run("history", "--ask-city") == 0
    assert terminal.run("stop-device") == 0


def test_an_unregistered_recipient_is_shown_as_such(
    terminal: Terminal, house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.run("sign-up", *terminal.card)
    terminal.run("request", *terminal.card, "--year", "2026")
    terminal.run("fetch")
    company = Company(house)
    monkeypatch.setattr("builtins.input", lambda _prompt: "n")
    assert terminal.run("submit", company.ask()) == 1
    assert "未登録" in capsys.readouterr().err
    assert company.received() == []


def test_a_threshold_that_the_certificate_does_not_confirm_is_told_before_and_left_out(
    terminal: Terminal, house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.run("sign-up", *terminal.card)
    terminal.run("request", *terminal.card, "--year", "2026")
    terminal.run("fetch")
    company = Company(house)
    qr = company.ask(items=("title", "income_at_most.1300000"))
    asked = []
    monkeypatch.setattr("builtins.input", lambda prompt: asked.append(capsys.readouterr().err) or "y")
    assert terminal.run("submit", qr) == 0
    assert "証明書にこの記載はありません" in asked[0]
    assert asked[0].count("income_at_most.1300000") == 2
    sent = parse_credential(company.received()[0].credential)
    assert [item.name for item in sent.disclosures] == ["title"]


def test_a_door_that_loses_the_certificate(
    terminal: Terminal, house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each package is confirmed and lost: asked for once more, then dropped; the same wish goes through afterwards."""
    monkeypatch.setattr(phone_cli, "Phone", functools.partial(Phone, repost_after=0.1))
    wish = ["--year", "2026", "--purpose", "住居手当"]
    store = house.settings.database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(store, isolation_level=None)) as database:
        database.execute("CREATE TRIGGER lose AFTER INSERT ON packages BEGIN DELETE FROM packages; END")
        assert terminal.run("sign-up", *terminal.card) == 0
        assert terminal.run("request", *terminal.card, *wish) == 0
        assert terminal.run("fetch", "--timeout", "0.5") == phone_cli.EXIT_LATER
        house.clock.forward(minutes=1)
        assert terminal.run("fetch") == 1
        assert "ask for it again" in capsys.readouterr().err
        assert terminal.run("fetch") == 1
        assert "ask for it again" in capsys.readouterr().err
        # The next one is lost as well, and the city has deleted its copy.
        assert terminal.run("request", *terminal.card, *wish) == 0
        house.city.packages.clear()
        assert terminal.run("fetch", "--timeout", "0.5") == phone_cli.EXIT_LATER
        house.clock.forward(minutes=1)
        assert terminal.run("fetch") == phone_cli.EXIT_REFUSED
        assert "[gone]" in capsys.readouterr().err
        database.execute("DROP TRIGGER lose")
    assert terminal.run("request", *terminal.card, *wish) == 0
    assert terminal.run("fetch") == 0
    assert len(house.city.requests) == 3


def test_errors_are_sentences(terminal: Terminal, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.run("request", *terminal.card, "--year", "2026") == 1
    (tmp_path / "passwords").write_text("WRONG1\n1234\n")
    assert terminal.run("sign-up", *terminal.card) == 1
    assert terminal.run("fetch") == 1
    assert terminal.run("submit", "https://door.mihon.example/r/x") == 1
    said = capsys.readouterr().err
    assert "4 tries left" in said
    assert "Traceback" not in said
    assert "WRONG1" not in said
