"""What a newcomer types after `make up`: card, phone, employer, verdict; every line a real command of its own.

Slow (about 40 s): starts the fifteen processes of a house of its own and some twenty commands, each a new interpreter.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from app.house.home import Home
from app.house.house import House, HouseSettings
from app.house.setup import PUBLIC_URL
from tests.support.watched_processes import watched

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    root = tmp_path_factory.mktemp("up")
    with watched(root):
        running = House(Home(root / "house"), HouseSettings(residents=200))
        try:
            running.start()
            yield running
        finally:
            running.stop()


class Terminal:
    """A person at a terminal in `directory`: no variable of ours is set."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, program: str, *arguments: object, expect: int | None = 0) -> str:
        module = {"akashi": "app.cli", "akashi-verify": "verifier.cli"}[program]
        code = f"import sys; from {module} import main; sys.exit(main())"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AKASHI_")}
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=self.directory,
            env=environment,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert expect is None or done.returncode == expect, (
            arguments,
            done.returncode,
            done.stdout,
            done.stderr,
        )
        return done.stdout.strip()


def test_from_card_to_verdict_by_hand(house: House, tmp_path: Path) -> None:
    run = Terminal(tmp_path)
    home, door = house.home, house.address("door")
    assert house.trust is not None
    (tmp_path / "words").write_text("ABC123\n1234\n", encoding="ascii")
    resident = orjson.loads(run("akashi", "city", "show", "--store", home.store_path("registers"), "taxed"))
    number = (resident.get("resident") or resident)["resident_id"]
    run("akashi", "card", "issue", "--home", home.root, "--resident", number, "--card", "card.json",
        "--passwords", "words")  # fmt: skip

    # the employer, and the city's letter
    run(
        "akashi-verify",
        "trust",
        "add",
        home.trust_list,
        "--fingerprint",
        house.trust.fingerprint,
        "--trust",
        "trust",
    )
    keys = run("akashi-verify", "keygen", "desk.key")
    (tmp_path / "desk.json").write_text(keys, encoding="utf-8")
    run("akashi", "recipient", "add", "--home", home.root, "--name", "株式会社見本商事", "--keys", "desk.json",
        "--out", "statement.jws")  # fmt: skip
    qr = run("akashi-verify", "request", "--key", "desk.key", "--name", "株式会社見本商事", "--statement",
             "statement.jws", "--purpose", "確認", "--keep-until", "2030-03-31", "--public-url", PUBLIC_URL,
             "--door", door, "--mail", "jinji@mihon-shoji.example", "--out", "request.json")  # fmt: skip

    # the phone
    phone = ("--home", "phone", "--door", door, "--trust", "trust")
    secret = ("--card", "card.json", "--passwords", "words")
    run("akashi", "phone", "sign-up", *phone, *secret)
    run("akashi", "phone", "request", *phone, *secret, "--year", 2026, "--purpose", "住居手当")
    run("akashi", "phone", "fetch", *phone, "--out", "mine.akashi-bundle")
    online = ("--base-url", f"{PUBLIC_URL}={door}")
    deadline = time.monotonic() + 60
    while True:
        try:
            run("akashi", "phone", "check", *phone, *online)
            break
        except AssertionError:
            # Not anchored yet: undetermined is right until it is.
            assert time.monotonic() < deadline
            time.sleep(1)
    receipt = run("akashi", "phone", "submit", *phone, qr, "--yes")
    run("akashi", "phone", "submit", *phone, qr, "--yes", "--by", "mail")

    # the employer again
    listed = run("akashi-verify", "inbox", "--key", "desk.key", "--request", "request.json", "--door", door)
    assert listed.startswith(receipt)
    package = run("akashi-verify", "inbox", "--key", "desk.key", "--request", "request.json", "--door", door,
                  "--out", "inbox")  # fmt: skip
    answer = run("akashi-verify", "verify", package, "--key", "desk.key", "--request", "request.json",
                 "--trust", "trust", *online, "--json")  # fmt: skip
    report = orjson.loads(answer)
    assert report["verdict"] == "valid"
    assert report["certificate"]["fiscal_year"] == 2026
    opened = run("akashi-verify", "open", package, "--key", "desk.key", "--out", "opened.akashi-bundle")
    run("akashi-verify", "verify", opened, "--request", "request.json", "--trust", "trust", "--offline")
    # somebody else's key opens nothing, and that is no verdict on the certificate
    run("akashi-verify", "keygen", "other.key")
    run("akashi-verify", "verify", package, "--key", "other.key", "--trust", "trust", "--offline", expect=1)

    # two members of staff revoke what the page's number names; the next list says so
    printed = report["certificate"]["certificate_number"]
    words = ("revoke", "--home", home.root, "--number", printed, "--reason", "wrong-figures", "--json")
    first, again = (orjson.loads(run("akashi", *words)) for _ in range(2))
    assert (first["revoked"], first["again"], again["again"]) == (True, False, True)
    assert first["request"] == again["request"]
    deadline = time.monotonic() + 30
    while "not-valid" not in run("akashi-verify", "verify", package, "--key", "desk.key", "--request",
                                 "request.json", "--trust", "trust", *online, "--json", expect=None):  # fmt: skip
        assert time.monotonic() < deadline
        time.sleep(1)

    history = run("akashi", "phone", "history", *phone, "--ask-city")
    assert "失効" in history
    assert "request-released" in history or "お渡ししました" in history
    run("akashi", "phone", "withdraw", *phone, receipt, expect=1)
