"""The street door as a process of its own (gunicorn, two workers) on a loopback port, for tests over sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mobile_api.city_authentication import CityKey, format_city_keys
from tests.support.verifier_bundles import PUBLIC_URL, new_key
from tests.support.watched_processes import watched
from verifier.errors import SourceError
from verifier.http import call

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30


@contextmanager
def door_process(directory: Path, **settings: str) -> Iterator[str]:
    """The base address of a running door; its public files lie in `directory`/public. `settings`: without their prefix."""
    (directory / "city-keys.json").write_bytes(
        format_city_keys({"city": CityKey(new_key().public_key(), frozenset({"mailbox", "public"}))})
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    values = {
        "DATABASE_URL": f"sqlite:///{directory}/door.sqlite",
        "PUBLIC_URL": PUBLIC_URL,
        "CITY": "992011",
        "CITY_KEYS": str(directory / "city-keys.json"),
        "PUBLIC_DIR": str(directory / "public"),
        "PORT": str(port),
        "WORKERS": "2",
    } | settings
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AKASHI")},
        "AKASHI_PROFILE": "demo",
        **{f"AKASHI_DOOR_{name}": value for name, value in values.items()},
    }
    base = f"http://127.0.0.1:{port}"
    with watched(directory):
        with (directory / "door.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "mobile_api"], cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        try:
            _wait_for(base, process)
            yield base
        finally:
            process.terminate()
            process.wait(20)


def _wait_for(base: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            if call("GET", f"{base}/readyz", timeout=2).status == 200:
                return
        except SourceError:
            pass
        assert process.poll() is None, "the door has ended"
        assert time.monotonic() < end, "the door does not come up"
        time.sleep(0.1)
