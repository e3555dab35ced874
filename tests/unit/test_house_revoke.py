"""`akashi revoke`: two members of staff or nobody, never in production, any number a person can read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, insert

from app.claims.certificate_number import certificate_number
from app.cli import main
from app.errors import CityError
from app.house import revoke as revoke_room
from app.house.home import Home
from app.house.revoke import find_request_number, revoke_as_two
from app.revocation.reasons import Reason
from app.storage import certificates, revocations
from app.storage.copies import (
    LoggedCopy,
    SealedCopy,
    find_copies,
    reserve_copies,
    store_copies_logged,
    store_copies_released,
    store_copies_sealed,
)
from app.storage.engine import open_store
from app.storage.status_entries import open_status_list
from app.storage.tables import metadata, requests
from tests.unit.test_storage_copies import ISSUED, UNTIL, new_keys

PHONE, WALLET, OPEN = "p" * 22, "w" * 22, "o" * 22


class Console:
    """What the console does with one open revocation; whoever confirms his own is refused."""

    def __init__(self, store: Engine, *, asked_by: str = "", worker_away: bool = False) -> None:
        self.store, self.asked_by, self.worker_away = store, asked_by, worker_away
        self.reason, self.confirmed_by, self.not_heard_of = "", "", 0

    def browser(self, _address: str) -> Any:
        return Person(self)


class Person:
    def __init__(self, console: Console) -> None:
        self.console, self.name = console, ""

    def log_in(self, name: str, password: str) -> None:
        assert password == f"password of {name}"
        self.name = name

    def ask_revocation(self, request: str, reason: str, _case: str) -> str:
        if self.console.not_heard_of:
            self.console.not_heard_of -= 1
            raise OSError("404")
        if self.console.asked_by:
            raise OSError("409")
        self.console.asked_by, self.console.reason = self.name, reason
        return ""

    def confirm_revocation(self, request: str) -> str:
        if self.console.asked_by in ("", self.name):
            raise OSError("409")
        self.console.confirmed_by = self.name
        if not self.console.worker_away:
            with self.console.store.begin() as connection:
                revocations.mark_revoked(
                    connection, request, reason=Reason.STAFF, note=self.console.reason, at=ISSUED
                )
        return ""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = Home(tmp_path)
    made.create()
    (made.root / "set-up.json").write_text('{"mock":true}')
    made.addresses.write_bytes(orjson.dumps({"staff": 1}))
    names = {name: f"password of {name}" for name in ("ichiro", "jiro")}
    monkeypatch.setattr(revoke_room, "find_or_make_logins", lambda _home: names)
    monkeypatch.delenv("AKASHI_PROFILE", raising=False)
    return made


@pytest.fixture
def store(home: Home) -> Iterator[Engine]:
    """A phone certificate and wallet copies that were handed over, and a request under way."""
    engine = open_store(home.store("worker"))
    metadata.create_all(engine)
    with engine.begin() as connection:
        open_status_list(connection, 1, size=1024)
        for request in (PHONE, WALLET, OPEN):
            connection.execute(
                insert(requests).values(
                    request_id=request, account="a", message_id="m", idempotency_key=request, body_hash="h",
                    document_kind="income_certificate", fiscal_year=2026, state="released", accepted_at=1, changed_at=1,
                )
            )  # fmt: skip
        for request in (PHONE, OPEN):
            certificates.reserve(connection, request, issued_at=ISSUED, valid_until=UNTIL)
        certificates.store_release(connection, PHONE, package_id="x", package_hash="y", at=ISSUED)
        made = reserve_copies(connection, WALLET, new_keys(2), issued_at=ISSUED, valid_until=UNTIL)
        store_copies_sealed(connection, WALLET, [SealedCopy(c.copy_id, "c", bytes(32)) for c in made])
        store_copies_logged(connection, WALLET, [LoggedCopy(c.copy_id, c.position, "p") for c in made])
        store_copies_released(connection, WALLET, at=ISSUED)
    yield engine
    engine.dispose()


def printed(store: Engine, request: str) -> str:
    with store.begin() as connection:
        reservation = certificates.find_reservation(connection, request)
    assert reservation is not None
    return certificate_number(reservation.certificate_id)


def of_a_copy(store: Engine) -> str:
    """What the second of the wallet's copies says of itself."""
    with store.begin() as connection:
        return certificate_number(find_copies(connection, WALLET)[1].reservation.copy_id)


def revoke(home: Home, console: Console, number: str, **options: Any) -> Any:
    return revoke_as_two(home, number, "wrong-figures", browser=console.browser, **{"wait": 5, **options})


@pytest.mark.parametrize("by", ["request", "printed", "wallet", "copy"])
def test_two_people_revoke_what_any_of_its_numbers_names(home: Home, store: Engine, by: str) -> None:
    numbers = {"request": PHONE, "printed": printed(store, PHONE), "wallet": WALLET, "copy": of_a_copy(store)}
    number = numbers[by]
    console = Console(store)
    done = revoke(home, console, number)
    assert (console.asked_by, console.confirmed_by) == ("ichiro", "jiro")
    request = WALLET if by in ("wallet", "copy") else PHONE
    assert done.as_json() == {"revoked": True, "request": request, "reason": "wrong-figures", "again": False}
    again = revoke(home, Console(store), number)
    assert again.again
    assert again.request == request


def test_it_goes_on_where_it_was_stopped_and_waits_for_a_console_that_has_not_heard_yet(
    home: Home, store: Engine
) -> None:
    late = Console(store)
    late.not_heard_of = 2
    assert not revoke(home, late, PHONE).again
    stopped = Console(store, asked_by="jiro")
    assert not revoke(home, stopped, WALLET).again
    assert stopped.confirmed_by == "ichiro"


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("n" * 22, "no-such-number"),
        ("0000-0000-0000", "no-such-number"),
        ("", "no-such-number"),
        ("%", "no-such-number"),
        (OPEN, "nothing-to-revoke"),
    ],
)
def test_what_cannot_be_revoked(home: Home, store: Engine, number: str, code: str) -> None:
    console = Console(store)
    with pytest.raises(CityError, match=code):
        revoke(home, console, number)
    assert console.asked_by == ""


def test_a_worker_that_is_away_is_not_said_to_have_done_it(home: Home, store: Engine) -> None:
    with pytest.raises(CityError, match="not-done"):
        revoke(home, Console(store, worker_away=True), PHONE, wait=0.5)
    nobody = Console(store)
    nobody.not_heard_of = 1 << 30
    with pytest.raises(CityError, match="not-revocable"):
        revoke(home, nobody, PHONE, wait=0.5)


def test_a_reason_is_one_of_the_consoles_words(home: Home, store: Engine) -> None:
    with pytest.raises(CityError, match="no-such-reason"):
        revoke_as_two(home, PHONE, "because 山田 asked", browser=Console(store).browser)


def test_two_certificates_with_one_printed_number_are_not_told_apart_by_it(home: Home, store: Engine) -> None:
    number = printed(store, PHONE)
    with store.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE certificates SET certificate_id = (SELECT substr(certificate_id, 1, 16) || '0000000000000000'"
            " FROM certificates WHERE request_id = ?) WHERE request_id = ?",
            (PHONE, OPEN),
        )
    assert find_request_number(store, number) is None
    assert find_request_number(store, PHONE) == PHONE


def test_never_in_production_and_only_in_a_demo_city(
    home: Home,
    store: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["revoke", "--number", PHONE, "--reason", "wrong-figures", "--json", "--home"]
    monkeypatch.setattr(revoke_room, "revoke_as_two", lambda *_a, **_b: pytest.fail("it went on"))
    monkeypatch.setenv("AKASHI_PROFILE", "production")
    assert main([*words, str(home.root)]) == 2
    assert "mock-in-production" in capsys.readouterr().err
    monkeypatch.setenv("AKASHI_PROFILE", "demo")
    assert main([*words, str(tmp_path / "elsewhere")]) == 2
    assert "no-demo-city" in capsys.readouterr().err


def test_the_answer_is_one_line_of_json(
    home: Home, store: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        revoke_room, "revoke_as_two", lambda _home, _number, reason: revoke_room.Revoked(PHONE, reason, False)
    )
    assert (
        main(["revoke", "--home", str(home.root), "--number", PHONE, "--reason", "protection", "--json"]) == 0
    )
    said = capsys.readouterr()
    assert orjson.loads(said.out) == {
        "revoked": True,
        "request": PHONE,
        "reason": "protection",
        "again": False,
    }
    assert "模擬/MOCK" in said.err
