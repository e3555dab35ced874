"""The same door on PostgreSQL: migrations, the whole way of a phone, single use under threads, and a server
that stops.

Needs PostgreSQL's programs; without them the tests are skipped and say so. A database server does not run
as root, so under root it is started as the system user `postgres`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from app.errors import UnavailableError
from mobile_api.door import EXTENSION
from mobile_api.proofs import PROOF_HEADER
from mobile_api.store.engine import migrate, open_store
from mobile_api.store.mailbox import add_nonces, take_nonce
from mobile_api.store.tables import metadata
from tests.support.door_house import FakeCard, House, make_house
from tests.support.wallet_city import make_wallet_world
from tests.support.wallet_client import new_key, new_verifier
from tests.support.watched_processes import watched
from tests.unit.test_mobile_api_mailbox import Device
from tests.unit.test_mobile_api_presentations import race
from tests.unit.test_wallets_p2 import log_in

pytestmark = pytest.mark.skipif(shutil.which("initdb") is None, reason="PostgreSQL's initdb is not installed")


class Server:
    """One PostgreSQL on a Unix socket and a free port, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self.directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        if self._as:
            shutil.chown(directory, "postgres")
        self._run("initdb", "-D", f"{directory}/data", "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8")

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self.directory} -F"
        self._run(
            "pg_ctl",
            "-D",
            f"{self.directory}/data",
            "-w",
            "-l",
            f"{self.directory}/log",
            "-o",
            options,
            "start",
        )

    def stop(self) -> None:
        self._run("pg_ctl", "-D", f"{self.directory}/data", "-w", "-m", "immediate", "stop")

    def _run(self, *command: str) -> None:
        subprocess.run(
            [*self._as, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/"
        )


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    # Not below pytest's own directory: the system user may not enter it.
    directory = Path(tempfile.mkdtemp(prefix="akashi-pg-"))
    if os.geteuid() == 0 and shutil.which("runuser") is None:
        pytest.skip("no runuser: a database server does not run as root")
    with watched(directory):
        found = Server(directory)
        found.start()
        yield found
        found.stop()
    shutil.rmtree(directory)


@pytest.fixture
def house(server: Server, tmp_path: Path) -> House:
    store = open_store(server.url)
    migrate(store)
    with store.write() as connection:
        # Each test begins with an empty store.
        connection.execute(text("TRUNCATE " + ", ".join(metadata.tables)))
    store.close()
    return make_house(tmp_path, database_url=server.url)


def test_migrations_make_exactly_the_tables(house: House) -> None:
    store = house.app.extensions[EXTENSION].store
    with store.writer.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_whole_way_of_a_phone(house: House) -> None:
    with house.registered_phone() as phone:
        request = phone.request_certificate(2026, "住居手当", FakeCard(), "1234")
        assert list(phone.wait(request))[-1] == "ready"
        phone.fetch_package(request)
        assert phone.open(request) in house.city.bundles.values()
        assert phone.distrusted == ()


def test_wallets_of_others_in_both_profiles(server: Server, house: House, tmp_path: Path) -> None:
    """The same statements on PostgreSQL: codes, guesses, nonces and logins count once under threads."""
    world = make_wallet_world(tmp_path / "wallets", database_url=server.url)
    world.city.start()
    offer, guessed = world.city.offer(tx_code="123456"), world.city.offer(tx_code="123456")
    statuses: list[int] = []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        wallet = world.wallet()
        start.wait()
        statuses.append(wallet.redeem(offer.code, "123456").status)
        wallet.redeem(guessed.code, f"{number:06d}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses.count(200) == 1
    assert world.wallet().redeem(guessed.code, "123456").error == "invalid_grant"
    wallet, nonce = world.with_token(), world.wallet().nonce()
    found = [wallet.credential(wallet.request_body([new_key()], nonce=nonce)) for _ in range(2)]
    assert [answer.status for answer in found] == [200, 400]
    attested, verifier = world.wallet("p2"), new_verifier()
    code = log_in(world, attested, verifier)["code"]
    assert attested.redeem_code(code, verifier).status == 200
    assert attested.notify("notification-id-0001").status == 204
    assert attested.redeem_code(code, verifier).error == "invalid_grant"
    assert attested.notify("notification-id-0001").error == "invalid_token"
    world.city.stop()


def test_single_use_holds_under_threads(house: House) -> None:
    device = Device(house).sign_up()
    path = f"/v1/accounts/{device.account}/answers"
    proof = device.proof("GET", path, b"")
    store = house.app.extensions[EXTENSION].store
    with store.write() as connection:
        add_nonces(connection, [f"fresh-{device.account}-{n:04d}" for n in range(20)], 0)
    statuses: list[int] = []
    nonces: list[str | None] = []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        client = house.app.test_client()
        statuses.append(client.get(path, headers={PROOF_HEADER: proof}).status_code)
        for _ in range(5):
            with store.write() as connection:
                nonces.append(take_nonce(connection))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [401] * 7
    assert len(nonces) == 40
    assert len({n for n in nonces if n}) == len([n for n in nonces if n])


def test_one_answer_of_a_wallet_wins(house: House) -> None:
    for _round in range(6):
        relay, won = race(house)
        assert len(won) == 1
        assert relay.call("GET", relay.own).data == won[0].encode()
        assert relay.answer(won[0].encode()).status_code == 200
        assert relay.answer().status_code == 400


def test_a_server_that_stops_is_503_and_comes_back(house: House, server: Server) -> None:
    client = house.app.test_client()
    assert client.get("/readyz").status_code == 200
    server.stop()
    try:
        for _ in range(2):
            answer = client.get("/readyz")
            assert (answer.status_code, answer.json["code"]) == (503, "store-away")
            assert "Retry-After" in answer.headers
        with pytest.raises(UnavailableError):
            house.city.mailbox.take()
    finally:
        server.start()
    assert client.get("/readyz").status_code == 200
    assert house.city.mailbox.nonces_left() > 0
