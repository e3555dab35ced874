"""A wallet that nobody here wrote, at the running house: offer by command, token, challenge, ten copies; the worker killed.

Slow (about 60 s): starts the processes of a house of its own. The wallet is a few lines of HTTP with keys of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.house.home import Home
from app.house.house import House, HouseSettings
from app.house.people import find_people
from app.house.setup import CITY, PUBLIC_URL
from app.registers.store import RegisterStore
from app.storage.engine import open_store
from tests.support.verifier_bundles import new_key
from tests.support.watched_processes import watched
from verifier.formats.credential import parse_credential, peek_claims
from verifier.formats.encoding import canonical_json
from verifier.formats.jose import build_jws, es256_signer, format_jwk, thumbprint

pytestmark = pytest.mark.slow

PRE_AUTHORIZED = "urn:ietf:params:oauth:grant-type:pre-authorized_code"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    root = tmp_path_factory.mktemp("wallets")
    with watched(root):
        running = House(Home(root / "house"), HouseSettings(residents=200))
        try:
            running.start()
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="module")
def resident(house: House) -> str:
    registers = RegisterStore(open_store(house.home.store("registers")))
    return find_people(registers, {"any": lambda candidate: candidate.figures is not None})["any"].resident_id


def offer(house: House, resident: str, *options: str) -> dict[str, Any]:
    """`akashi offer create … --json`, as a script calls it."""
    command = ["offer", "create", "--home", str(house.home.root), "--resident", resident, "--json", *options]
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", *command],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("AKASHI_")},
        cwd=Path(__file__).parents[2],
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    value: dict[str, Any] = json.loads(done.stdout)
    return value


@dataclass
class Wallet:
    """Somebody else's wallet. `made`: what `akashi offer create` printed."""

    made: dict[str, Any]
    count: int = 10
    keys: list[Any] = field(default_factory=list)
    token: str = ""

    def __post_init__(self) -> None:
        self.keys = [new_key() for _ in range(self.count)]

    def call(self, method: str, path: str, data: bytes | None = None, **headers: str) -> tuple[int, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.made["door"] + path, data=data, headers=named, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read()
        return status, json.loads(body) if body else None

    def credential_offer(self) -> dict[str, Any]:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.made["offer"]).query)
        if "credential_offer_uri" in query:
            return dict(self.call("GET", urllib.parse.urlsplit(query["credential_offer_uri"][0]).path)[1])
        value: dict[str, Any] = json.loads(query["credential_offer"][0])
        return value

    def redeem(self) -> None:
        code = self.credential_offer()["grants"][PRE_AUTHORIZED]["pre-authorized_code"]
        form = {"grant_type": PRE_AUTHORIZED, "pre-authorized_code": code, "tx_code": self.made["tx_code"]}
        status, answer = self.call(
            "POST",
            f"/{CITY}/token",
            urllib.parse.urlencode(form).encode(),
            Content_Type="application/x-www-form-urlencoded",
        )
        assert status == 200, answer
        self.token = answer["access_token"]

    def post(self, path: str, value: dict[str, Any]) -> tuple[int, Any]:
        return self.call(
            "POST",
            f"/{CITY}/{path}",
            json.dumps(value).encode(),
            Content_Type="application/json",
            Authorization=f"Bearer {self.token}",
        )

    def ask(self) -> tuple[int, Any]:
        """A credential request with proofs of all keys."""
        nonce = self.call("POST", f"/{CITY}/nonce", b"")[1]["c_nonce"]
        claims = {
            "aud": f"{PUBLIC_URL}/{CITY}",
            "iat": int(datetime.now(UTC).timestamp()),
            "nonce": nonce,
        }
        proofs = [
            build_jws(
                {"jwk": format_jwk(key.public_key()), "typ": "openid4vci-proof+jwt"},
                canonical_json(claims),
                es256_signer(key),
            ).decode()
            for key in self.keys
        ]
        wanted = {"credential_configuration_id": "income_certificate", "proofs": {"jwt": proofs}}
        return self.post("credential", wanted)

    def fetch(self, transaction: str) -> tuple[int, Any]:
        """Ask for what was deferred until it is there."""
        for _ in range(60):
            status, answer = self.post("deferred_credential", {"transaction_id": transaction})
            if status != 202:
                return status, answer
            time.sleep(1)
        raise AssertionError("never ready")

    def check(self, answer: Any) -> list[str]:
        """The texts of a set that is bound to these keys, in their order."""
        texts = [item["credential"] for item in answer["credentials"]]
        holders = [thumbprint(peek_claims(parse_credential(text.encode())).holder_key) for text in texts]
        assert holders == [thumbprint(key.public_key()) for key in self.keys]
        return texts


def wait_for_metadata(wallet: Wallet) -> dict[str, Any]:
    for _ in range(120):
        status, value = wallet.call("GET", f"/.well-known/openid-credential-issuer/{CITY}")
        if status == 200:
            return dict(value)
        time.sleep(0.5)
    raise AssertionError("no metadata")


@pytest.mark.parametrize("options", [(), ("--reference",)])
def test_ten_copies_for_a_strangers_wallet(house: House, resident: str, options: tuple[str, ...]) -> None:
    wallet = Wallet(offer(house, resident, *options))
    metadata = wait_for_metadata(wallet)
    assert metadata["credential_issuer"] == wallet.credential_offer()["credential_issuer"]
    wallet.redeem()
    status, answer = wallet.ask()
    if status == 202:
        status, answer = wallet.fetch(answer["transaction_id"])
    assert status == 200, answer
    assert len(wallet.check(answer)) == 10
    status, again = wallet.ask()
    assert status == 200, again
    assert wallet.check(again) == wallet.check(answer)
    accepted = {"event": "credential_accepted", "notification_id": again["notification_id"]}
    assert wallet.post("notification", accepted)[0] == 204
    assert wallet.ask()[0] == 400


def test_a_worker_killed_in_the_middle_makes_one_set(house: House, resident: str) -> None:
    wallet = Wallet(offer(house, resident), count=6)
    wait_for_metadata(wallet)
    wallet.redeem()
    answers: list[tuple[int, Any]] = []
    asking = threading.Thread(target=lambda: answers.append(wallet.ask()))
    asking.start()
    for pause in (0.1, 0.3, 0.5):
        time.sleep(pause)
        house.processes.kill("worker")
        house.restart("worker")
    asking.join(60)
    (status, answer) = answers[0]
    # Told to wait, the wallet asks later; was its question lost with the worker, it asks anew.
    if status == 202:
        status, answer = wallet.fetch(answer["transaction_id"])
    if status != 200:
        status, answer = wallet.ask()
        if status == 202:
            status, answer = wallet.fetch(answer["transaction_id"])
    assert status == 200, answer
    texts = wallet.check(answer)
    assert len(set(texts)) == 6
    store = open_store(house.home.store("worker"))
    with store.begin() as connection:
        counted = connection.exec_driver_sql(
            "SELECT count(*), count(DISTINCT log_index), count(DISTINCT entry) FROM copies GROUP BY request_id"
            " HAVING count(*) = 6"
        ).all()
    store.dispose()
    assert [tuple(row) for row in counted] == [(6, 6, 6)]
