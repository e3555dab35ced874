"""Mandates with real phones: through a real street door to the real intake and gate, by the client and by commands."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from werkzeug.serving import make_server

from app import phone_cli
from app.counterparts.jpki.errors import JpkiError
from mobile_api.client import CityRefused, NoAnswerYet, Phone
from mobile_api.errors import DoorUnavailable, PhoneError
from tests.integration.test_phone_cli import Terminal
from tests.support.city_rooms import YEAR, CityRooms, city_rooms
from tests.support.city_walk import Street
from tests.support.door_house import PASSWORDS
from verifier.errors import AkashiVerifierError
from verifier.formats.bundle import parse_bundle
from verifier.formats.encoding import parse_canonical_json

PURPOSE = "扶養の確認のため"


@pytest.fixture
def rooms(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityRooms]:
    yield from city_rooms(tmp_path, tmp_path_factory)


@pytest.fixture
def street(rooms: CityRooms, tmp_path: Path) -> Street:
    return Street(rooms, tmp_path / "street")


class Pair:
    """Giver and agent with phones and cards."""

    def __init__(self, street: Street) -> None:
        self.street = street
        self.cards = [street.rooms.card(person) for person in street.rooms.people[:2]]
        self.giver, self.agent = (
            self._sign_up(name, card) for name, card in zip("ga", self.cards, strict=True)
        )
        street.rooms.clock.forward(days=4)
        street.stock()

    def _sign_up(self, name: str, card: Any) -> Phone:
        phone = self.street.phone(name)
        phone.sign_up(card, PASSWORDS)
        return phone

    def give(self, code: str, **changes: Any) -> str:
        today = self.street.rooms.clock().date()
        values = {"until": date(2027, 3, 31), "years": (YEAR,), "purpose": PURPOSE} | changes
        return self.giver.mandates.give(
            code, values["years"], values["purpose"], today, values["until"], self.cards[0], PASSWORDS.signature,
            document_kind="income_certificate", timeout=10,
        )  # fmt: skip

    def in_force(self) -> str:
        mandate = self.give(self.agent.mandates.code(10)["code"])
        self.agent.mandates.accept(mandate, 10)
        self.giver.mandates.confirm(mandate, None, 10)
        return mandate

    def request(self, mandate: str | None, purpose: str = PURPOSE) -> str:
        return self.agent.request_certificate(
            YEAR, purpose, self.cards[1], PASSWORDS.authentication, mandate=mandate
        )

    def close(self) -> None:
        self.giver.close()
        self.agent.close()


@pytest.fixture
def pair(street: Street) -> Iterator[Pair]:
    made = Pair(street)
    yield made
    made.close()


def test_the_whole_way(pair: Pair) -> None:
    mandate = pair.in_force()
    request = pair.request(mandate)
    path = pair.agent.receive(request, timeout=20)
    assert path.exists()
    bundle = parse_bundle(pair.agent.open(request))
    assert bundle.certificate is not None
    giver = pair.street.rooms.people[0]
    assert parse_canonical_json(bundle.certificate)["subject"]["name"] == giver.name
    assert [(e["role"], e["state"]) for e in pair.giver.mandates.list(10)] == [("giver", "in-force")]
    assert [(e["role"], e["state"]) for e in pair.agent.mandates.list(10)] == [("agent", "in-force")]
    assert "mandate-used" in [line["code"] for line in pair.giver.ask_history(timeout=10)]
    assert "mandate-used-by-you" in [line["code"] for line in pair.agent.ask_history(timeout=10)]
    assert [notice["code"] for notice in pair.giver.notices()][-1] == "mandate-used"
    # The package is for the agent's phone: the giver's cannot open it.
    with pytest.raises(PhoneError):
        pair.giver._open_bytes(path.read_bytes())


def test_ones_own_wish_and_one_under_a_mandate_are_two(pair: Pair) -> None:
    mandate = pair.in_force()
    under, own = pair.request(mandate), pair.request(None)
    assert under != own
    assert pair.request(mandate) == under
    assert pair.request(None) == own
    names = []
    for request in (under, own):
        pair.agent.receive(request, timeout=20)
        data = parse_bundle(pair.agent.open(request)).certificate
        assert data is not None
        names.append(parse_canonical_json(data)["subject"]["name"])
    assert names == [person.name for person in pair.street.rooms.people[:2]]


def test_revoked_before_it_is_fetched(pair: Pair) -> None:
    """Handed over, not fetched, revoked: the door has it no more, and the city says no to asking again."""
    mandate = pair.in_force()
    request = pair.request(mandate)
    for _ in pair.agent.wait(request, timeout=20):
        pass
    pair.giver.mandates.end(mandate, 10)
    pair.street.work()
    with pytest.raises(PhoneError):
        pair.agent.fetch_package(request)
    pair.street.rooms.clock.forward(minutes=3)
    with pytest.raises(CityRefused) as no:
        list(pair.agent.wait(request, timeout=5))
    assert no.value.code in ("mandate", "gone", "counter")
    assert list((pair.agent._home.directory / "packages").iterdir()) == []


def test_a_kill_between_card_and_answer_keeps_the_code(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent's code is good once; the same wish again is the same mandate."""
    code = pair.agent.mandates.code(10)["code"]
    ask = pair.giver._letters.ask

    def asks_and_dies(*arguments: Any) -> Any:
        ask(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pair.giver._letters, "ask", asks_and_dies)
        with pytest.raises(KeyboardInterrupt):
            pair.give(code)
    pair.giver.close()
    pair.giver = pair.street.phone("g")
    mandate = pair.give(code)
    assert [entry["mandate"] for entry in pair.agent.mandates.list(10)] == [mandate]
    with pytest.raises(CityRefused, match="hand-over code"):
        pair.give(code, purpose="別の目的")


def test_the_phone_signs_nothing_that_has_no_form(pair: Pair) -> None:
    code = pair.agent.mandates.code(10)["code"]
    with pytest.raises(AkashiVerifierError):
        pair.give(code, until=date(2030, 1, 1))
    with pytest.raises(AkashiVerifierError):
        pair.give(code, purpose="")
    with pytest.raises(AkashiVerifierError):
        pair.give("not-a-code")
    assert pair.give(code)


def test_no_answer_is_not_a_refusal(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair.street, "work", lambda: None)
    with pytest.raises((NoAnswerYet, DoorUnavailable)):
        pair.agent.mandates.code(0)


# ---- commands -------------------------------------------------------------------------------------------------------


class Terminals:
    """A person's commands against a real HTTP door."""

    def __init__(self, directory: Path, base: str) -> None:
        self.directory = directory
        self._base = base

    def of(self, name: str) -> Terminal:
        folder = self.directory / name
        return Terminal(folder, self._base)


@pytest.fixture
def terminals(street: Street, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminals]:
    street.rooms.clock.now = datetime.now(UTC).replace(microsecond=0)
    street.stock()
    server = make_server("127.0.0.1", 0, street.app, threaded=True)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.05):
            street.work()

    working = threading.Thread(target=work)
    working.start()
    pinned = SimpleNamespace(content=street.trust)
    monkeypatch.setattr(phone_cli, "_city_trust", lambda _options: pinned)
    for number, name in enumerate(("giver", "agent")):
        (tmp_path / name).mkdir()
        card = street.rooms.card(street.rooms.people[number])
        (tmp_path / name / "card.json").write_bytes(Path(card._path).read_bytes())
        (tmp_path / name / "passwords").write_text("ABC123\n1234\n")
    yield Terminals(tmp_path, f"http://127.0.0.1:{server.port}")
    stop.set()
    working.join()
    server.shutdown()


def test_a_session(
    terminals: Terminals, street: Street, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    giver, agent = terminals.of("giver"), terminals.of("agent")
    for person in (giver, agent):
        assert person.run("sign-up", *person.card) == 0
    # The phones were registered a while ago.
    with street.rooms.store.begin() as connection:
        connection.exec_driver_sql("UPDATE accounts SET registered_at = registered_at - 864000")
    capsys.readouterr()
    assert agent.run("mandate code") == 0
    code = capsys.readouterr().out.strip()
    until = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
    scope = ["--to", code, "--year", str(YEAR), "--purpose", PURPOSE, "--until", until]
    assert giver.run("mandate give", *giver.card, *scope) == 0
    mandate = capsys.readouterr().out.strip()
    assert agent.run("mandate list") == 0
    assert mandate in capsys.readouterr().out
    assert giver.run("mandate confirm", mandate) == phone_cli.EXIT_REFUSED
    assert "[mandate-not-accepted]" in capsys.readouterr().err
    assert agent.run("mandate accept", mandate) == 0
    assert giver.run("mandate confirm", mandate) == 0
    wish = ["--year", str(YEAR), "--mandate", mandate]
    assert agent.run("request", *agent.card, *wish, "--purpose", "別の目的") == phone_cli.EXIT_REFUSED
    assert "[mandate-scope]" in capsys.readouterr().err
    assert agent.run("request", *agent.card, *wish, "--purpose", PURPOSE) == 0
    request = capsys.readouterr().out.strip()
    assert agent.run("fetch", request, "--out", f"{tmp_path}/bundle.zip") == 0
    data = parse_bundle((tmp_path / "bundle.zip").read_bytes()).certificate
    assert data is not None
    assert parse_canonical_json(data)["subject"]["name"] == street.rooms.people[0].name
    assert giver.run("history", "--ask-city") == 0
    assert "あなたの証明書が申請されました" in capsys.readouterr().out
    assert giver.run("mandate end", mandate) == 0
    assert agent.run("request", *agent.card, *wish, "--purpose", PURPOSE) == phone_cli.EXIT_REFUSED
    assert "[mandate]" in capsys.readouterr().err
    assert giver.run("mandate list", "--json") == 0
    assert '"cause": "revoked"' in capsys.readouterr().out
    assert giver.run("devices") == 0
    assert "this phone" in capsys.readouterr().out
    assert giver.run("lock-devices") == 0
    assert giver.run("devices", "--json") == 0
    assert '"locked": true' in capsys.readouterr().out
    assert agent.run("register-by-code", "https://evil.example/c#k=x") == 0  # registered already
    assert "already registered" in capsys.readouterr().out


def test_errors_are_sentences(terminals: Terminals, capsys: pytest.CaptureFixture[str]) -> None:
    giver = terminals.of("giver")
    assert giver.run("register-by-code", "https://evil.example/c#k=x") == 1
    assert giver.run("mandate list") == 1
    assert giver.run("devices") == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "sign up first" in said
    with suppress(JpkiError):
        assert giver.run("mandate accept", "not an id") == 1
