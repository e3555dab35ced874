"""Profile P2 in the running house with a wallet of our own in Python: a login in a browser, ten copies, and a second login
without attributes; and a revoked card gets nothing and reads why.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from cryptography import x509

from app.counterparts.jpki.authority import MockJpki
from app.counterparts.jpki.bodies import BodyMeter
from app.counterparts.jpki.card import SoftwareCard
from app.house.people import PASSWORDS
from app.house.setup import ISSUER, PUBLIC_URL
from app.sealing.key_files import read_private_key
from tests.support.foreign_house import ForeignHouse
from tests.support.form_browser import FormBrowser
from tests.support.running_house import RunningHouse, now
from tests.support.wallet_client import HttpTransport, WalletClient, new_key, new_verifier
from tests.support.wallet_provider import WalletProvider

pytestmark = pytest.mark.slow
SECONDS = 60.0


@dataclass
class Scene:
    """The running house, a card beside the login provider's reader, wallets with the provider that the house knows."""

    house: RunningHouse
    card: Path

    def wallet(self) -> WalletClient:
        home = self.house.home.wallet_provider
        anchor, certificate = (
            x509.load_pem_x509_certificate((home / name).read_bytes())
            for name in ("authorities.pem", "provider.pem")
        )
        provider = WalletProvider(anchor, certificate, read_private_key(home / "provider.key.pem"))
        transport = HttpTransport(PUBLIC_URL, self.house.base_url)
        return WalletClient(transport, f"{ISSUER}/haip", dpop=True, provider=provider)

    def log_in(self, wallet: WalletClient, verifier: str, *, consent: str | None = "agree") -> FormBrowser:
        """The wallet opens a browser; a person with the card; how far they came."""
        pushed = wallet.push(verifier)
        assert pushed.status == 201, pushed.body
        browser = FormBrowser(wallet.redirect_uri, at={PUBLIC_URL: self.house.base_url})
        browser.open(wallet.authorize_url(pushed.json["request_uri"]))
        password = {} if consent is None else {"password": PASSWORDS.signature}
        browser.send(card=self.card.stem, pin=PASSWORDS.authentication, choice="sign-in", **password)
        if consent is not None and browser.page is not None and browser.page.status == 200:
            browser.send(choice=consent)
        return browser

    def fetch(self, wallet: WalletClient, browser: FormBrowser, verifier: str, count: int) -> list[str]:
        told = told_of(browser)
        assert told.get("code"), told
        token = wallet.redeem_code(told["code"], verifier)
        assert token.status == 200, token.body
        keys = [new_key() for _ in range(count)]
        answer = wallet.credential(wallet.request_body(keys, encrypted=True), seal=True)
        end = time.monotonic() + SECONDS
        while answer.status == 202 and time.monotonic() < end:
            transaction = wallet.open(answer)["transaction_id"]
            time.sleep(0.5)
            encryption = {"credential_response_encryption": wallet.response_encryption()}
            answer = wallet.deferred(transaction, changes=encryption, seal=True)
        assert answer.status == 200, answer.body
        return [item["credential"] for item in wallet.open(answer)["credentials"]]

    def questions(self) -> dict[str, int]:
        """How often each body has asked the card authority."""
        counts: dict[str, int] = {}
        for body, _behalf, _day, _kind, _method, count in BodyMeter(
            self.house.home.jpki / "queries.sqlite"
        ).rows():
            counts[body] = counts.get(body, 0) + count
        return counts


def told_of(browser: FormBrowser) -> dict[str, str]:
    return dict(parse_qsl(browser.query))


@pytest.fixture(scope="module")
def scene(foreign: ForeignHouse) -> Scene:
    return Scene(foreign.house, foreign.login_card(foreign.house.take_resident()))


def test_login_to_credentials_and_again_without_attributes(scene: Scene) -> None:
    before, said_before = scene.questions(), len(scene.house.home.traffic.read_text())
    for consent, count in (("agree", 10), (None, 1)):
        wallet, verifier = scene.wallet(), new_verifier()
        browser = scene.log_in(wallet, verifier, consent=consent)
        assert len(scene.fetch(wallet, browser, verifier, count)) == count
    traffic = scene.house.home.traffic.read_text()[said_before:]
    assert "login.provider" in traffic
    assert "gate.open_login_offer" in traffic
    more = {body for body, count in scene.questions().items() if count > before.get(body, 0)}
    assert more == {"digital-auth"}, "the city itself never saw this card"


def test_a_revoked_card_gets_nothing_and_reads_why(scene: Scene) -> None:
    with SoftwareCard(scene.card) as card:
        identifier = card.card_id
    MockJpki(scene.house.home.jpki, now=now()).revoke(identifier, "loss", now=now())
    browser = scene.log_in(scene.wallet(), new_verifier())
    assert browser.page is not None
    assert "失効" in browser.page.text
    assert "市役所の窓口" in browser.page.text
    browser.follow_link()
    told = told_of(browser)
    assert told["error"] == "access_denied"
    assert "code" not in told
    assert "city office" in told["error_description"]
