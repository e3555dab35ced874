"""Profile P2 in the running house: a wallet pushes its request, a resident logs in at the mock デジタル認証アプリ, and the
wallet gets credentials encrypted to it; and a revoked card gets nothing and reads why.

Slow because a whole house starts. It needs the street door for wallets (`mobile_api/wallets`) and is skipped without.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from app.counterparts.jpki.authority import MockJpki
from app.counterparts.jpki.bodies import BodyMeter
from app.counterparts.jpki.card import SoftwareCard
from app.house.home import Home
from app.house.house import House, HouseSettings
from app.house.people import PASSWORDS, find_people, is_taxed, make_card
from app.house.setup import ISSUER, PUBLIC_URL
from app.registers.store import RegisterStore
from app.sealing.key_files import read_private_key
from app.storage.engine import open_store
from tests.support.form_browser import FormBrowser

pytest.importorskip(
    "mobile_api.wallets.authorize", reason="the street door for wallets is not in this tree yet"
)
wallet_client = pytest.importorskip("tests.support.wallet_client")
wallet_provider = pytest.importorskip("tests.support.wallet_provider")

pytestmark = pytest.mark.slow
SECONDS = 60.0


@dataclass
class Scene:
    """A running house, and a wallet with a provider that the house knows."""

    house: House
    card: Path

    def wallet(self) -> Any:
        home = self.house.home.wallet_provider
        anchor, certificate = (
            x509.load_pem_x509_certificate((home / name).read_bytes())
            for name in ("authorities.pem", "provider.pem")
        )
        provider = wallet_provider.WalletProvider(
            anchor, certificate, read_private_key(home / "provider.key.pem")
        )
        transport = wallet_client.HttpTransport(PUBLIC_URL, self.house.address("door"))
        return wallet_client.WalletClient(transport, f"{ISSUER}/haip", dpop=True, provider=provider)

    def log_in(self, wallet: Any, verifier: str, *, consent: str | None = "agree") -> FormBrowser:
        """The wallet opens a browser; a person with the card; how far they came."""
        pushed = wallet.push(verifier)
        assert pushed.status == 201, pushed.body
        browser = FormBrowser(wallet.redirect_uri, at={PUBLIC_URL: self.house.address("door")})
        browser.open(wallet.authorize_url(pushed.json["request_uri"]))
        password = {} if consent is None else {"password": PASSWORDS.signature}
        browser.send(card=self.card.stem, pin=PASSWORDS.authentication, choice="sign-in", **password)
        if consent is not None and browser.page is not None and browser.page.status == 200:
            browser.send(choice=consent)
        return browser

    def fetch(self, wallet: Any, browser: FormBrowser, verifier: str, count: int) -> list[str]:
        told = told_of(browser)
        assert told.get("code"), told
        token = wallet.redeem_code(told["code"], verifier)
        assert token.status == 200, token.body
        keys = [wallet_client.new_key() for _ in range(count)]
        answer = wallet.credential(wallet.request_body(keys, encrypted=True), seal=True)
        end = time.monotonic() + SECONDS
        while answer.status == 202 and time.monotonic() < end:
            transaction = wallet.open(answer)["transaction_id"]
            time.sleep(0.5)
            encryption = {"credential_response_encryption": wallet.response_encryption()}
            answer = wallet.deferred(transaction, changes=encryption, seal=True)
        assert answer.status == 200, answer.body
        return [item["credential"] for item in wallet.open(answer)["credentials"]]


def told_of(browser: FormBrowser) -> dict[str, str]:
    from urllib.parse import parse_qsl

    return dict(parse_qsl(browser.query))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    house = House(Home(tmp_path_factory.mktemp("login-house")), HouseSettings(residents=200))
    try:
        house.start()
        registers = RegisterStore(open_store(house.home.store("registers")))
        person = find_people(registers, {"one": is_taxed})["one"]
        card = house.home.login_cards / "hanako.card"
        make_card(MockJpki(house.home.jpki, now=datetime.now(UTC)), person, card, now=datetime.now(UTC))
        yield Scene(house, card)
    finally:
        house.stop()


def test_login_to_credentials_and_again_without_attributes(scene: Scene) -> None:
    for consent, count in (("agree", 10), (None, 1)):
        wallet, verifier = scene.wallet(), wallet_client.new_verifier()
        browser = scene.log_in(wallet, verifier, consent=consent)
        assert len(scene.fetch(wallet, browser, verifier, count)) == count
    traffic = scene.house.home.traffic.read_text()
    assert "login.provider" in traffic
    assert "gate.open_login_offer" in traffic
    bodies = {row[0] for row in BodyMeter(scene.house.home.jpki / "queries.sqlite").rows()}
    assert bodies == {"digital-auth"}, "the city itself never saw this card"


def test_a_revoked_card_gets_nothing_and_reads_why(scene: Scene) -> None:
    with SoftwareCard(scene.card) as card:
        identifier = card.card_id
    MockJpki(scene.house.home.jpki, now=datetime.now(UTC)).revoke(identifier, "loss", now=datetime.now(UTC))
    wallet = scene.wallet()
    browser = scene.log_in(wallet, wallet_client.new_verifier())
    assert browser.page is not None
    assert "失効" in browser.page.text
    assert "市役所の窓口" in browser.page.text
    browser.follow_link()
    told = told_of(browser)
    assert told["error"] == "access_denied"
    assert "code" not in told
    assert "city office" in told["error_description"]
