"""Starting, watching and stopping the processes of one house on one machine. Knows nothing of what they do.

Each process is a child with its own text log; it is ready when its `is_ready` says so. `restart` starts one again under
the same name and ports, which is what tests do after killing it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.errors import CityError

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 4.0


class StartError(CityError):
    """A process ended or did not become ready; `detail` names it and its log."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process: its name, command line, environment, and how to see that it is ready."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    is_ready: Callable[[], bool]


class Processes:
    """The running children. `logs` receives one file a process."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._known: dict[str, Process] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, process: Process, *, wait: bool = True) -> None:
        """Start one process and wait until it is ready. Raises StartError."""
        self._logs.mkdir(parents=True, exist_ok=True)
        environment = {**_inherited(), **process.environment}
        if isinstance(process.is_ready, LogSays):
            process.is_ready.begin()
        with (self._logs / f"{process.name}.log").open("ab") as log:
            child = subprocess.Popen(  # noqa: S603  (our own command lines)
                list(process.command),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._known[process.name] = process
        self._running[process.name] = child
        if wait:
            self.wait_ready(process.name)

    def wait_ready(self, name: str, seconds: float = START_SECONDS) -> None:
        """Wait until a started process is ready. Raises StartError."""
        process, child = self._known[name], self._running[name]
        end = time.monotonic() + seconds
        while not process.is_ready():
            if child.poll() is not None:
                raise StartError("ended", f"{name} ended with {child.returncode}: see {name}.log")
            if time.monotonic() > end:
                raise StartError("not-ready", f"{name} is not ready after {seconds:.0f} s: see {name}.log")
            time.sleep(0.02)

    def kill(self, name: str) -> None:
        """SIGKILL to the whole group of one process (a crash, as tests want it)."""
        child = self._running.pop(name)
        _signal_group(child, signal.SIGKILL)
        child.wait()

    def stop(self, name: str) -> None:
        """End one process in order."""
        child = self._running.pop(name, None)
        if child is not None:
            _end(child)

    def restart(self, name: str) -> None:
        """Start a known process again."""
        self.start(self._known[name])

    def stop_all(self) -> None:
        """End everything: first ask all, then wait for each."""
        for child in self._running.values():
            if child.poll() is None:
                _signal_group(child, signal.SIGTERM)
        for name in reversed(list(self._running)):
            self.stop(name)

    def ended(self) -> list[str]:
        """Names of processes that ended by themselves."""
        return [name for name, child in self._running.items() if child.poll() is not None]

    @property
    def names(self) -> list[str]:
        """Names of the running processes in the order of their start."""
        return list(self._running)

    def pid(self, name: str) -> int:
        """Process id of a running process."""
        return self._running[name].pid


def python(*arguments: str) -> list[str]:
    """A command line of this interpreter."""
    return [sys.executable, *arguments]


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> Callable[[], bool]:
    """Ready when something listens on this loopback port."""

    def check() -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return check


def answers_at(path: Path) -> Callable[[], bool]:
    """Ready when something listens on this Unix socket."""

    def check() -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(0.2)
            return probe.connect_ex(str(path)) == 0

    return check


class LogSays:
    """Ready when the process's log says `words` behind where its present run began."""

    def __init__(self, log: Path, words: str) -> None:
        self._log = log
        self._words = words.encode()
        self._start = 0
        self.begin()

    def begin(self) -> None:
        """A new run begins here: what earlier runs wrote into the same file counts no more."""
        self._start = self._log.stat().st_size if self._log.exists() else 0

    def __call__(self) -> bool:
        if not self._log.exists():
            return False
        with self._log.open("rb") as file:
            file.seek(self._start)
            return self._words in file.read()


def log_says(log: Path, words: str) -> LogSays:
    """Ready when the process's log, from the start of each run on, says `words`."""
    return LogSays(log, words)


def _inherited() -> dict[str, str]:
    # A child gets the machine's search paths and locale, and of ours only what it is given.
    return {name: value for name, value in os.environ.items() if not name.startswith("AKASHI_")}


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        _signal_group(child, signal.SIGTERM)
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _signal_group(child, signal.SIGKILL)
            child.wait()
