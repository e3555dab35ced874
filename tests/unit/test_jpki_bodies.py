"""Who may ask the mock JPKI: registered bodies in their dates and scope, and those they delegated to; nobody else gets an
answer, and the city takes no answer for no.

Each refusal is an honest question with one point changed; `test_a_registered_body_is_answered` shows the one without it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from app.counterparts.jpki import __main__ as command
from app.counterparts.jpki.authority import IssuedCard, MockJpki
from app.counterparts.jpki.bodies import BodyMeter, BodyRegistry
from app.counterparts.jpki.errors import BodyRefused, JpkiError
from app.counterparts.jpki.server import BEHALF_HEADER, JpkiServer
from app.identity.card_certificate import CardKind, check_certificate, load_card_trust
from app.identity.refusals import StatusUnverifiable
from app.identity.status import StatusRecord, fetch_as, fetch_over_http, jpki_status_client
from tests.support.door_house import HANAKO, NOW, make_jpki, register_body

BOTH = ("signature", "authentication")
TODAY = date(2026, 11, 20)
YEAR = {"begin": TODAY, "until": TODAY + timedelta(days=364)}


@dataclass
class World:
    """A JPKI that answers over HTTP, one card, and a clock."""

    jpki: MockJpki
    card: IssuedCard
    server: JpkiServer
    clock: list[datetime] = field(default_factory=lambda: [NOW])

    @property
    def bodies(self) -> BodyRegistry:
        return BodyRegistry(self.jpki.directory)

    def ask(self, credential: str, kind: str = "authentication", what: str = "ocsp", **headers: str) -> str:
        """ "answered", or the refusal's code with its status."""
        url, body = f"{self.server.base_url}/{kind}/{what}", None
        if what == "ocsp":
            certificate = getattr(self.card, kind).certificate
            builder = ocsp.OCSPRequestBuilder().add_certificate(
                certificate, self.jpki.certificates[kind], hashes.SHA256()
            )
            body = builder.build().public_bytes(serialization.Encoding.DER)
        if credential:
            headers["Authorization"] = f"Bearer {credential}"
        request = urllib.request.Request(url, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                raw = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return f"{error.code} {json.loads(error.read())['error']}"
        if what == "ocsp":
            assert ocsp.load_der_ocsp_response(raw).certificate_status is ocsp.OCSPCertStatus.GOOD
        else:
            assert x509.load_der_x509_crl(raw).is_signature_valid(self.jpki.certificates[kind].public_key())  # type: ignore[arg-type]
        return "answered"

    def city_asks(self, credential: str, kind: CardKind = CardKind.AUTHENTICATION) -> StatusRecord:
        """As the city's worker does. Raises StatusUnverifiable."""
        trust = load_card_trust(self.jpki.anchors, profile="demo")
        der = getattr(self.card, kind).certificate.public_bytes(serialization.Encoding.DER)
        found = check_certificate(der, kind, trust, now=NOW)
        return jpki_status_client(self.server.base_url, credential=credential).ask(found, now=NOW)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    jpki = make_jpki(tmp_path / "jpki")
    card = jpki.issue(HANAKO, now=NOW)
    server = JpkiServer(("127.0.0.1", 0), jpki, profile="demo", clock=lambda: world.clock[0])
    world = World(jpki, card, server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)


def test_a_registered_body_is_answered(world: World) -> None:
    token = register_body(world.jpki)
    for kind in BOTH:
        for what in ("ocsp", "crl"):
            assert world.ask(token, kind, what) == "answered"
    assert world.city_asks(token).method == "ocsp"


@pytest.mark.parametrize("credential", ["", "guessed", "x" * 43, "Bearer", "a b"])
def test_an_unregistered_body_is_refused(world: World, credential: str) -> None:
    register_body(world.jpki)
    world.bodies.add("shop", "店（模擬/MOCK）", "service", kinds=BOTH, **YEAR)
    for what in ("ocsp", "crl"):
        assert world.ask(credential, what=what) == "401 unregistered"
    headers = {"Authorization": "Basic " + "x" * 43}
    assert world.ask("", **headers) == "401 unregistered"


def test_a_body_is_answered_in_its_dates_only(world: World) -> None:
    token = world.bodies.add(
        "city", "市（模擬/MOCK）", "administrative", kinds=BOTH, begin=TODAY, until=TODAY
    )
    # Legal days are Japan's: the day ends at 15:00 UTC.
    for moment, said in (
        (datetime(2026, 11, 19, 14, 59, 59, tzinfo=UTC), "403 body-expired"),
        (datetime(2026, 11, 19, 15, 0, 0, tzinfo=UTC), "answered"),
        (datetime(2026, 11, 20, 14, 59, 59, tzinfo=UTC), "answered"),
        (datetime(2026, 11, 20, 15, 0, 0, tzinfo=UTC), "403 body-expired"),
    ):
        world.clock[0] = moment
        assert world.ask(token) == said


def test_a_body_asks_about_its_kinds_only(world: World) -> None:
    token = world.bodies.add("portal", "窓口（模擬/MOCK）", "4", kinds=("authentication",), **YEAR)
    assert world.ask(token) == "answered"
    assert world.ask(token, "signature") == "403 out-of-scope"
    assert world.ask(token, "signature", "crl") == "403 out-of-scope"


def test_a_revoked_body_is_refused_from_the_next_question_on(world: World) -> None:
    token, other = register_body(world.jpki), register_body(world.jpki, "other")
    assert world.ask(token) == "answered"
    world.bodies.revoke("mihon-city", now=NOW)
    assert world.ask(token) == "403 body-revoked"
    assert world.ask(other) == "answered"
    with pytest.raises(JpkiError):
        world.bodies.revoke("nobody", now=NOW)


# --- delegation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("legal_class", ["4", "5", "6"])
def test_a_delegate_is_answered_for_who_delegated(world: World, legal_class: str) -> None:
    token = world.bodies.add("platform", "PF（模擬/MOCK）", legal_class, kinds=BOTH, **YEAR)
    assert world.bodies.add("shop", "店（模擬/MOCK）", "service", kinds=BOTH, **YEAR) == ""
    assert world.ask(token, **{BEHALF_HEADER: "shop"}) == "403 no-contract"
    world.bodies.delegate("shop", "platform", kinds=BOTH, **YEAR)
    assert world.ask(token, **{BEHALF_HEADER: "shop"}) == "answered"
    assert world.ask(token, what="crl", **{BEHALF_HEADER: "shop"}) == "answered"
    assert world.ask(token) == "answered", "and for itself"
    assert world.ask(token, **{BEHALF_HEADER: "platform"}) == "answered"


def delegated(world: World, **changes: Any) -> str:
    token = world.bodies.add("platform", "PF（模擬/MOCK）", "6", kinds=BOTH, **YEAR)
    world.bodies.add("shop", "店（模擬/MOCK）", "service", kinds=BOTH, **YEAR)
    world.bodies.add("bank", "銀行（模擬/MOCK）", "service", kinds=("authentication",), **YEAR)
    contract = world.bodies.delegate("shop", "platform", **{"kinds": ("authentication",), **YEAR, **changes})
    world.bodies.delegate("bank", "platform", kinds=BOTH, **YEAR)
    assert len(contract) == 16
    return token


def test_a_delegation_holds_in_its_scope_and_dates_only(world: World) -> None:
    token = delegated(world, begin=TODAY, until=TODAY)
    assert world.ask(token, **{BEHALF_HEADER: "shop"}) == "answered"
    assert world.ask(token, "signature", **{BEHALF_HEADER: "shop"}) == "403 no-contract"
    assert world.ask(token, "signature", **{BEHALF_HEADER: "bank"}) == "403 out-of-scope", (
        "more than the bank may"
    )
    assert world.ask(token, **{BEHALF_HEADER: "nobody"}) == "403 no-contract"
    world.clock[0] = NOW + timedelta(days=1)
    assert world.ask(token, **{BEHALF_HEADER: "shop"}) == "403 no-contract"
    assert world.ask(token, **{BEHALF_HEADER: "bank"}) == "answered"


def test_an_ended_contract_or_delegator_ends_the_delegation(world: World) -> None:
    token = world.bodies.add("platform", "PF（模擬/MOCK）", "6", kinds=BOTH, **YEAR)
    world.bodies.add("shop", "店（模擬/MOCK）", "service", kinds=BOTH, **YEAR)
    contract = world.bodies.delegate("shop", "platform", kinds=BOTH, **YEAR)
    world.bodies.revoke(contract, now=NOW)
    assert world.ask(token, **{BEHALF_HEADER: "shop"}) == "403 no-contract"
    world.bodies.delegate("shop", "platform", kinds=BOTH, **YEAR)
    assert world.ask(token, **{BEHALF_HEADER: "shop"}) == "answered", "a new contract"
    world.bodies.revoke("shop", now=NOW)
    assert world.ask(token, **{BEHALF_HEADER: "shop"}) == "403 body-revoked"


def test_nobody_delegates_the_wrong_way_round(world: World) -> None:
    delegated(world)
    city = register_body(world.jpki)
    assert world.ask(city, **{BEHALF_HEADER: "platform"}) == "403 no-contract"
    for delegator, delegate in (
        ("platform", "shop"),
        ("platform", "mihon-city"),
        ("platform", "platform"),
        ("nobody", "platform"),
        ("shop", "nobody"),
    ):
        with pytest.raises(JpkiError):
            world.bodies.delegate(delegator, delegate, kinds=BOTH, **YEAR)


# --- the register -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"body": "City"},
        {"body": "-x"},
        {"body": "x" * 41},
        {"name": "本物の市"},
        {"name": "模擬" * 51},
        {"legal_class": "7"},
        {"kinds": ()},
        {"kinds": ("signature", "signature")},
        {"kinds": ("encryption",)},
        {"until": TODAY - timedelta(days=1)},
        {"body": "mihon-city"},
    ],
)
def test_what_is_registered_has_its_form(world: World, change: dict[str, Any]) -> None:
    register_body(world.jpki)
    honest: dict[str, Any] = {
        "body": "new",
        "name": "新（模擬/MOCK）",
        "legal_class": "4",
        "kinds": BOTH,
        "begin": TODAY,
        "until": TODAY,
    }
    with pytest.raises(JpkiError):
        world.bodies.add(**honest | change)
    assert world.bodies.add(**honest)


def test_no_credential_is_kept_in_clear(world: World, tmp_path: Path) -> None:
    token = register_body(world.jpki)
    assert token.encode() not in (tmp_path / "jpki" / "bodies.json").read_bytes()
    for path in (tmp_path / "jpki" / "bodies.json", tmp_path / "jpki" / "queries.sqlite"):
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"v":2}'])
def test_a_damaged_register_answers_nobody(world: World, tmp_path: Path, content: bytes) -> None:
    token = register_body(world.jpki)
    (tmp_path / "jpki" / "bodies.json").write_bytes(content)
    assert world.ask(token) == "503 bad-bodies"
    with pytest.raises(StatusUnverifiable):
        world.city_asks(token)


def test_registrations_at_once_lose_none(world: World) -> None:
    threads = [
        threading.Thread(target=register_body, args=(world.jpki, f"body-{number}")) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(world.bodies.read()["bodies"]) == 8


def test_questions_are_counted_by_day_and_never_by_serial(world: World, tmp_path: Path) -> None:
    token = delegated(world)
    for _ in range(3):
        world.ask(token)
    world.ask(token, what="crl")
    world.ask(token, **{BEHALF_HEADER: "shop"})
    world.ask("nobody")
    world.ask(token, "signature", **{BEHALF_HEADER: "shop"})
    world.clock[0] = datetime(2026, 11, 20, 15, 0, 0, tzinfo=UTC)
    world.ask(token)
    assert BodyMeter(tmp_path / "jpki" / "queries.sqlite").rows() == [
        ("platform", "platform", "2026-11-20", "authentication", "crl", 1),
        ("platform", "platform", "2026-11-20", "authentication", "ocsp", 3),
        ("platform", "shop", "2026-11-20", "authentication", "ocsp", 1),
        ("platform", "platform", "2026-11-21", "authentication", "ocsp", 1),
    ]
    serial = world.card.authentication.certificate.serial_number
    kept = (tmp_path / "jpki" / "queries.sqlite").read_bytes()
    assert f"{serial:x}".encode() not in kept
    assert str(serial).encode() not in kept


def test_the_check_itself_names_its_reason(world: World) -> None:
    with pytest.raises(BodyRefused, check=lambda no: no.code == "unregistered"):
        world.bodies.check("", "authentication", now=NOW)


# --- the city's side: no answer is never "valid" ------------------------------------------------------------------------


def test_the_city_without_a_credential_knows_nothing(world: World) -> None:
    token = register_body(world.jpki)
    for credential in ("", "wrong"):
        with pytest.raises(StatusUnverifiable) as refused:
            world.city_asks(credential)
        assert refused.value.retry
        assert refused.value.why == "asker-refused"
        assert "しばらくして" in refused.value.ja
    assert world.city_asks(token).method == "ocsp"


def test_the_city_out_of_its_scope_knows_nothing(world: World) -> None:
    token = world.bodies.add("city", "市（模擬/MOCK）", "administrative", kinds=("authentication",), **YEAR)
    assert world.city_asks(token).method == "ocsp"
    with pytest.raises(StatusUnverifiable):
        world.city_asks(token, CardKind.SIGNATURE)


@pytest.mark.parametrize("credential", ["a\r\nX: y", "é", "a b", "x" * 513])
def test_what_no_header_can_hold_is_no_credential(credential: str) -> None:
    with pytest.raises(ValueError, match="credential"):
        fetch_as(credential)


def test_a_credential_does_not_follow_a_redirect(world: World) -> None:
    """An address that sends on gets no second try elsewhere with our credential."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    seen: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            self.send_response(302)
            self.send_header("Location", f"{world.server.base_url}/authentication/crl")
            self.end_headers()

        def log_message(self, *_given: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    token = register_body(world.jpki)
    with pytest.raises(OSError, match="no answer"):
        fetch_over_http(f"http://127.0.0.1:{server.server_address[1]}/", None, 1 << 20, credential=token)
    thread.join(20)
    server.server_close()
    assert seen == [f"Bearer {token}"]
    assert BodyMeter(world.jpki.directory / "queries.sqlite").rows() == []


# --- the command line ---------------------------------------------------------------------------------------------------


def test_the_command_line_registers_delegates_lists_and_ends(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AKASHI_PROFILE", "demo")
    where, token_file = ["--directory", str(tmp_path / "jpki")], tmp_path / "platform.token"
    name = ["--name", "PF（模擬/MOCK）"]

    def run(*arguments: str) -> int:
        return command.main(["bodies", *arguments, *where])

    add = ("add", "--id", "platform", *name, "--class", "6")
    assert run(*add) == 2, "a body that asks needs a file for its credential"
    assert run(*add, "--token-file", str(token_file), "--from", "2026-11-20", "--until", "2027-11-19") == 0
    assert token_file.stat().st_mode & 0o777 == 0o600
    token = token_file.read_text()
    assert run("add", "--id", "again", *name, "--class", "6", "--token-file", str(token_file)) == 2
    assert token_file.read_text() == token, "nothing is written over a credential"
    days = ("--from", "2026-11-20", "--until", "2027-11-19")
    assert run("add", "--id", "shop", *name, "--class", "service", *days) == 0
    assert run("delegate", "--delegator", "shop", "--delegate", "platform", *days) == 0
    assert world.ask(token, **{BEHALF_HEADER: "shop"}) == "answered"
    capsys.readouterr()
    assert run("list") == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said["bodies"]) == {"platform", "shop"}
    assert "token" not in said["bodies"]["platform"]
    assert said["queries"][0]["count"] == 1
    (contract,) = said["contracts"]
    assert run("revoke", "--id", contract) == 0
    assert world.ask(token, **{BEHALF_HEADER: "shop"}) == "403 no-contract"
    assert run("revoke", "--id", "platform") == 0
    assert world.ask(token) == "403 body-revoked"
    assert run("revoke", "--id", "nobody") == 2


def test_the_command_line_is_refused_in_production(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app.counterparts.jpki", "bodies", "list", "--directory", str(tmp_path)],
        env={"PATH": os.environ["PATH"], "AKASHI_PROFILE": "production"},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert b"mock-refused" in done.stderr
