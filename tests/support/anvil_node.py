"""anvil, a second Ethereum implementation for the tests: installed once from npm (`node_packages`), leaving nothing behind.

`find_anvil` gives the program, or skips the test with the reason. It needs npm to install, and only the C library to run.
Its traps: it spills history below its home directory (so it gets one of its own, and keeps 64 blocks), and loses
everything when it is killed (so nothing here relies on its state).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.anchor_registry import ACCOUNTS, CHAIN_ID, START, NodeError, address, hexed
from tests.support.node_packages import node_packages
from tests.support.watched_processes import start_watchman

START_SECONDS = 20


def find_anvil() -> Path:
    """The installed program; installs it if it is not there. Skips if that cannot be done."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip(f"anvil is not pinned for {sys.platform} {platform.machine()}, only for linux x86_64")
    program = node_packages() / "node_modules" / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"
    if not program.is_file():
        pytest.skip("anvil cannot be installed: npm left it out")
    program.chmod(0o755)
    return program


class AnvilNode:
    """One anvil process on a loopback port, with our accounts funded."""

    name = "anvil"

    def __init__(
        self, program: Path, home: Path, *, chain_id: int = CHAIN_ID, port: int = 0, start: int = START,
        hardfork: str = "prague", options: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self._program, self._home, self._chain_id, self._hardfork = program, home, chain_id, hardfork
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.port = port
        self._home.mkdir(parents=True, exist_ok=True)
        self._watchman = start_watchman(self._home)
        self.start(start)

    @property
    def url(self) -> str:
        """Address of the JSON-RPC."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, now: int) -> None:
        """A new, empty chain that begins at this time, on the same port as before."""
        self._home.mkdir(parents=True, exist_ok=True)
        self.port = self.port or _free_port()
        command = [
            str(self._program), "--host", "127.0.0.1", "--port", str(self.port), "--chain-id", str(self._chain_id),
            "--hardfork", self._hardfork, "--prune-history", "64", "--timestamp", str(now), "--accounts", "1",
            "--gas-limit", "30000000", "--block-base-fee-per-gas", "1000000000", "--silent", *self._options,
        ]  # fmt: skip
        environment = {"HOME": str(self._home), "TMPDIR": str(self._home), "PATH": os.environ.get("PATH", "")}
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                self.request("eth_chainId")
                break
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError("anvil does not start")
            time.sleep(0.02)
        for name in ACCOUNTS:
            self.request("anvil_setBalance", hexed(address(name)), hex(10**24))

    def request(self, method: str, *params: Any) -> Any:
        """One JSON-RPC call. Raises: NodeError; OSError if nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if "error" in answer:
            error = answer["error"]
            raise NodeError(error["code"], error["message"], error.get("data"))
        return answer["result"]

    def set_time(self, now: int) -> None:
        """The time of the next block, Unix seconds."""
        self.request("evm_setNextBlockTimestamp", now)

    def mine(self, blocks: int = 1) -> None:
        """Blocks by hand."""
        self.request("anvil_mine", hex(blocks))

    def kill(self) -> None:
        """End it as a power cut would; nothing of the chain is left."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=10)
            if self.process.stderr is not None:
                self.process.stderr.close()
            self.process = None

    def close(self) -> None:
        """End it, and take away what it wrote."""
        self.kill()
        self._watchman.farewell()
        shutil.rmtree(self._home, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
