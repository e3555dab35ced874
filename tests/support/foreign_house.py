"""The running house as strangers meet it: offers and desks by the commands, wallets from npm, logins by a browser.

A command runs in this process unless its name says so: what is typed and printed is the same, without the start of an
interpreter. 模擬/MOCK.
"""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc.jwk import ECKey

from app.cli import main as akashi
from app.counterparts.jpki.authority import MockJpki
from app.house.people import PASSWORDS, make_card
from app.house.setup import ISSUER, PUBLIC_URL
from app.registers.resident import Resident
from app.sealing.key_files import read_private_key
from tests.support.foreign_wallet import collect, collect_after_login
from tests.support.form_browser import FormBrowser
from tests.support.node_packages import ROOT, run_node
from tests.support.running_house import RunningHouse, now
from verifier.cli import main as akashi_verify

SECONDS = 120.0
"""For one command or wallet: a machine with other work is slow, and only one that hangs is over this."""
REDIRECT_URI = "https://wallet.example/callback"


@dataclass(frozen=True)
class Said:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self
        return json.loads(self.out)


@dataclass(frozen=True)
class ForeignHouse:
    """`house` and a folder of one employer."""

    house: RunningHouse
    folder: Path

    @property
    def base(self) -> dict[str, str]:
        """Where the public addresses really listen."""
        return {PUBLIC_URL: self.house.base_url}

    @property
    def anchors(self) -> list[str]:
        """The roots of credentials as the trust list names them, PEM."""
        roots = self.house.trust.content.credential_cas
        return [x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode() for der in roots]

    # ---- offers and wallets ------------------------------------------------------------------------------------

    def offer_words(self, resident: Resident, *more: object) -> list[str]:
        words = (
            "offer",
            "create",
            "--home",
            self.house.home.root,
            "--resident",
            resident.resident_id,
            "--json",
        )
        return [str(word) for word in (*words, *more)]

    def offer(self, resident: Resident, *more: object) -> dict[str, Any]:
        """`akashi offer create` for this resident."""
        return self.run(akashi, self.offer_words(resident, *more)).json

    def collect(self, offer: Mapping[str, Any], **wish: Any) -> dict[str, Any]:
        """oid4vc-ts takes the offer. Raises: ForeignError."""
        wish = {"tx_code": offer["tx_code"], "notify": True, **wish}
        return collect(offer["offer"], self.base, seconds=SECONDS, **wish)

    def provider(self) -> dict[str, Any]:
        """The house's wallet provider (模擬/MOCK), for the drivers."""
        home = self.house.home.wallet_provider
        leaf = x509.load_pem_x509_certificate((home / "provider.pem").read_bytes())
        key = ECKey.import_key(read_private_key(home / "provider.key.pem"))
        return {
            "jwk": key.as_dict(private=True),
            "x5c": [base64.b64encode(leaf.public_bytes(Encoding.DER)).decode("ascii")],
            "issuer": "https://wallet-provider.mihon.example",
        }

    def login_card(self, resident: Resident) -> Path:
        """A mock card of this resident beside the login provider's reader."""
        card = self.house.home.login_cards / f"{resident.resident_id}.card"
        make_card(MockJpki(self.house.home.jpki, now=now()), resident, card, now=now())
        return card

    def collect_after_login(
        self, card: Path, browse: Callable[[FormBrowser], None] | None = None, **wish: Any
    ) -> dict[str, Any]:
        """oid4vc-ts by authorization code; a person logs in with `card` and agrees. Raises: ForeignError."""

        def browser(address: str) -> str:
            screen = FormBrowser(REDIRECT_URI, at=self.base)
            screen.open(address)
            words = {"card": card.stem, "pin": PASSWORDS.authentication, "password": PASSWORDS.signature}
            screen.send(choice="sign-in", **words)
            (browse or agree)(screen)
            assert screen.reached is not None, screen.page and screen.page.text
            return screen.reached

        offered = {
            "credential_issuer": f"{ISSUER}/haip",
            "credential_configuration_ids": ["income_certificate"],
            "grants": {"authorization_code": {}},
        }
        offer = "openid-credential-offer://?credential_offer=" + quote(json.dumps(offered))
        wish = {"provider": self.provider(), "dpop": True, "notify": True} | wish
        encryption = {"request_encryption": True, "response_encryption": True, "redirect_uri": REDIRECT_URI}
        return collect_after_login(offer, self.base, browser, seconds=SECONDS, **(encryption | wish))

    # ---- what is published --------------------------------------------------------------------------------------

    def fetch(self, address: str) -> bytes:
        """A public address, at the street door."""
        assert address.startswith(PUBLIC_URL + "/"), address
        with urllib.request.urlopen(
            self.house.base_url + address.removeprefix(PUBLIC_URL), timeout=20
        ) as answer:
            content: bytes = answer.read()
        return content

    def invalid_entries(self, uri: str) -> set[int]:
        """The entries that a status list says are invalid, as @sd-jwt/jwt-status-list unpacks it."""
        return set(run_node("sd_jwt.mjs", {"do": "entries", "status": self.fetch(uri).decode()})["set"])

    # ---- the employer -------------------------------------------------------------------------------------------

    def set_up_desk(self) -> None:
        """Trust list accepted by its fingerprint, keys made."""
        trust = ("--trust", self.folder / "trust", "--fingerprint", self.house.trust.fingerprint)
        assert self.verify("trust", "add", self.house.home.trust_list, *trust).code == 0
        assert self.verify("keygen", self.folder / "desk.key").code == 0

    def request_words(self, preset: str) -> tuple[object, ...]:
        door = ("--public-url", PUBLIC_URL, "--door", self.house.base_url)
        return ("request", "--preset", preset, "--key", self.folder / "desk.key", *door, "--wallet", "--json")

    def result_words(self, result: str) -> tuple[object, ...]:
        base = f"{PUBLIC_URL}={self.house.base_url}"
        return ("result", result, "--trust", self.folder / "trust", "--base-url", base, "--json")

    def present(self, address: str, credential: str, key: Mapping[str, Any]) -> dict[str, Any]:
        """@openid4vc/openid4vp fetches the request and posts the answer. Raises: ForeignError."""
        wish = {"credential": credential, "holder": dict(key), "now": int(now().timestamp())}
        return run_node("presenter.mjs", {"address": address, "base": self.base, **wish})

    # ---- commands -----------------------------------------------------------------------------------------------

    def verify(self, *words: object) -> Said:
        return self.run(akashi_verify, [str(word) for word in words])

    @staticmethod
    def run(main: Callable[[list[str]], int], words: list[str]) -> Said:
        """A command in this process."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main(words)
        return Said(code, out.getvalue(), err.getvalue())

    @staticmethod
    def run_alone(module: str, *words: object, **environment: str) -> Said:
        """A command as a process of its own."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AKASHI_")}
        code = f"import sys; from {module} import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, words)],
            cwd=ROOT, env=clean | environment, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return Said(done.returncode, done.stdout, done.stderr)

    # ---- the city is late ---------------------------------------------------------------------------------------

    @contextmanager
    def standing_still(self, name: str) -> Iterator[Callable[[], None]]:
        """A process of the house that gets no processor time until the given function is called."""
        group = self.house.house.processes.pid(name)
        os.killpg(group, signal.SIGSTOP)

        def go_on() -> None:
            os.killpg(group, signal.SIGCONT)

        try:
            yield go_on
        finally:
            go_on()


def agree(screen: FormBrowser) -> None:
    """What the mock デジタル認証アプリ asks at the end."""
    screen.send(choice="agree")
