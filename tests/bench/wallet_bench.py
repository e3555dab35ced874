"""How many credential requests the street door answers a CPU second, without the work of issuing.

One door in this process on SQLite, real proofs and real exchanges; requests come through WSGI without sockets. Counted is
the CPU time of threads while they are inside the door's application: wallets' requests, the city's polls and its answers.
The wallets' signing, the city's opening and sealing and the test client's own work are outside.
"""

from __future__ import annotations

import base64
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from mobile_api.exchanges import Issued, open_question, seal_answer
from tests.bench.measure import Table
from tests.support.wallet_city import PLAIN, WalletWorld, make_wallet_world
from tests.support.wallet_client import new_key
from verifier.formats.jose import agreement, thumbprint

REQUESTS = 1000
WAITERS = 6
LIMIT = 300


def bench_credential(table: Table) -> None:
    """Requests a CPU second of the door, as a bearer and with DPoP, beside the limit of the issue."""
    for what, dpop in (("bearer", False), ("DPoP", True)):
        with tempfile.TemporaryDirectory(prefix="akashi-bench-") as directory:
            world = make_wallet_world(Path(directory), rate_grant=100000, city_wait=2)
            inside, wall, answered = _run(world, dpop)
        assert answered == REQUESTS, answered
        case = f"credential end point, {what}"
        table.add(case, "requests", REQUESTS, wall=wall, cpu=inside.wallets, note="the end point itself")
        whole = inside.wallets + inside.city
        table.add(case, "requests", REQUESTS, wall=wall, cpu=whole, note="and the city's polls and answers")
        table.compare(f"{case}: CPU", "ms", 1000 * inside.wallets / REQUESTS, 1000 / LIMIT)


def _run(world: WalletWorld, dpop: bool) -> tuple[_Inside, float, int]:
    wallets = [world.with_token(dpop=dpop) for _ in range(WAITERS)]
    url = f"{wallets[0].issuer}/credential"
    made = []
    for number in range(REQUESTS):
        wallet = wallets[number % WAITERS]
        body = wallet.request_body([new_key()])
        made.append((body, wallet.show_token(url)))
    inside = _Inside(world.house.app.wsgi_app)
    world.house.app.wsgi_app = inside  # type: ignore[method-assign]
    city = _City(world)
    found: list[list[int]] = []
    threads = []
    for number in range(WAITERS):
        answers = []
        found.append(answers)
        threads.append(threading.Thread(target=_ask, args=(world, made[number::WAITERS], answers)))
    city.start()
    wall = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - wall
    city.stop()
    return inside, wall, sum(status == 200 for statuses in found for status in statuses)


def _ask(world: WalletWorld, requests: list, statuses: list[int]) -> None:
    client = world.house.app.test_client(use_cookies=False)
    for body, headers in requests:
        answer = client.post("/992011/credential", json=body, headers=headers)
        statuses.append(answer.status_code)


class _Inside:
    """Adds up the CPU time that threads spend in an application: for wallets, and for the city."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._lock = threading.Lock()
        self.wallets = self.city = 0.0

    def __call__(self, environ: Any, start_response: Any) -> Any:
        begin = time.thread_time()
        try:
            return self._application(environ, start_response)
        finally:
            used = time.thread_time() - begin
            with self._lock:
                if environ["PATH_INFO"].startswith("/city/"):
                    self.city += used
                else:
                    self.wallets += used


class _City:
    """Takes and answers like the real one."""

    def __init__(self, world: WalletWorld) -> None:
        self._world = world
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        city = self._world.city
        key, kid = city.envelope_key, thumbprint(city.envelope_key.public_key())
        while not self._stop.is_set():
            found = city.call("GET", "/city/exchanges?limit=64&wait=1").json["exchanges"]
            for entry in found:
                question = open_question(base64.b64decode(entry["body"]), kid, agreement(key))
                answer = Issued("application/json", PLAIN)
                sealed = seal_answer(question.exchange, answer, question.reply_key, os.urandom)
                city.call("PUT", f"/city/exchanges/{question.exchange}", sealed)
