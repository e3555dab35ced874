"""Two real processes of one door over real sockets: what counts once counts once, and answers find their waiter.

Takes about ten seconds: two workers of gunicorn start, and the city polls them over HTTP.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from app.mailbox import format_door_keys
from mobile_api.wallet_nonce import NonceKey
from tests.support.door_house import CITY, PUBLIC_URL
from tests.support.wallet_city import ISSUERS, PLAIN, WalletCity, city_token
from tests.support.wallet_client import (
    Browser,
    HttpTransport,
    WalletClient,
    location_parameters,
    new_key,
    new_verifier,
)
from tests.support.wallet_provider import WalletProvider, make_wallet_provider
from tests.support.watched_processes import watched

ROOT = Path(__file__).resolve().parents[2]


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class _Answer:
    status_code: int
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)


@dataclass
class HttpCity(WalletCity):
    """The same city over HTTP."""

    address: str = ""

    def call(self, method: str, path: str, body: bytes = b"", app: Any = None) -> Any:
        token = city_token(self.mailbox_key, method, path.partition("?")[0], body, now())
        request = urllib.request.Request(
            self.address + path, data=body, method=method, headers={"Authorization": f"Bearer {token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return _Answer(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            return _Answer(error.code, error.read())


@dataclass
class Running:
    city: HttpCity
    provider: WalletProvider
    address: str
    log: Path
    directory: Path

    def wallet(self, profile: str = "p1", **options: Any) -> WalletClient:
        if profile == "p2":
            options = {"dpop": True, "provider": self.provider, **options}
        return WalletClient(HttpTransport(PUBLIC_URL, self.address), ISSUERS[profile], now, **options)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("door")
    key, provider = ec.generate_private_key(ec.SECP256R1()), make_wallet_provider(now())
    (directory / "keys.json").write_bytes(format_door_keys([(key.public_key(), ["mailbox", "public"])]))
    (directory / "attesters.pem").write_bytes(provider.pem())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "AKASHI_PROFILE": "demo",
        "AKASHI_DOOR_DATABASE_URL": f"sqlite:///{directory}/door.sqlite",
        "AKASHI_DOOR_PUBLIC_URL": PUBLIC_URL,
        "AKASHI_DOOR_CITY": CITY,
        "AKASHI_DOOR_CITY_KEYS": str(directory / "keys.json"),
        "AKASHI_DOOR_PUBLIC_DIR": str(directory / "public"),
        "AKASHI_DOOR_PORT": str(port),
        "AKASHI_DOOR_WORKERS": "2",
        "AKASHI_DOOR_WALLET_ATTESTERS": str(directory / "attesters.pem"),
        "AKASHI_DOOR_RATE_WALLET": "100000",
    }
    log = directory / "log"
    with watched(directory), log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "mobile_api"], cwd=ROOT, env=environment, stdout=file, stderr=file
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_until_ready(address, log)
            seconds = int(now().timestamp())
            nonce_key = NonceKey(os.urandom(4), os.urandom(32), seconds - 60, seconds + 86400)
            envelope = ec.generate_private_key(ec.SECP256R1())
            city = HttpCity(None, key, now, envelope, nonce_key, address=address)  # type: ignore[arg-type]
            city.publish("p1")
            city.publish("p2")
            city.send_nonce_key()
            city.start()
            yield Running(city, provider, address, log, directory)
            city.stop()
        finally:
            process.terminate()
            process.wait(30)


def _wait_until_ready(address: str, log: Path) -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(address + "/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())


def test_both_profiles_over_sockets(running: Running) -> None:
    wallet = running.wallet(dpop=True)
    assert wallet.redeem(running.city.offer(tx_code="001234").code, "001234").status == 200
    keys = [new_key() for _ in range(10)]
    assert wallet.credential(wallet.request_body(keys)).body == PLAIN
    for _ in range(6):
        # Again and again, so that waiter and answer meet in one process and in two.
        assert wallet.credential(wallet.request_body([new_key()])).body == PLAIN
    attested, verifier = running.wallet("p2"), new_verifier()
    browser = Browser(attested.transport)
    uri = attested.push(verifier).json["request_uri"]
    assert browser.get(attested.authorize_url(uri)).status == 302
    back = browser.get(f"{attested.issuer}/login/callback?code=abc&state=abc")
    assert attested.redeem_code(location_parameters(back)["code"], verifier).status == 200
    issued = attested.credential(attested.request_body([new_key()], encrypted=True))
    assert attested.open(issued) == json.loads(PLAIN)


def test_what_counts_once_counts_once_in_two_processes(running: Running) -> None:
    offer = running.city.offer(tx_code="123456")
    found: list[Any] = []
    barrier = threading.Barrier(8)

    def redeem() -> None:
        wallet = running.wallet()
        barrier.wait()
        answer = wallet.redeem(offer.code, "123456")
        found.append((answer.status, wallet))

    _together(redeem, 8)
    assert [status for status, _ in found].count(200) == 1
    owner = next(wallet for status, wallet in found if status == 200)
    nonce, used = owner.nonce(), []

    def use() -> None:
        body = owner.request_body([new_key()], nonce=nonce)
        barrier.wait()
        used.append(owner.credential(body).status)

    _together(use, 8)
    assert sorted(used)[1:] == [400] * 7
    assert sorted(used)[0] in (200, 202)


def test_no_secret_and_no_credential_is_left_behind(running: Running) -> None:
    wallet = running.wallet()
    offer = running.city.offer(tx_code="918273")
    wallet.redeem(offer.code, "918273")
    assert b"CANARY" in wallet.credential(wallet.request_body([new_key()])).body
    kept = b"".join(path.read_bytes() for path in running.directory.rglob("*") if path.is_file())
    assert offer.grant.encode() in kept
    for secret in ("CANARY", offer.code, wallet.token, "918273"):
        assert secret.encode() not in kept
    assert b"/credential" in running.log.read_bytes()
    assert b"Traceback" not in running.log.read_bytes()


def _together(work: Any, count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
