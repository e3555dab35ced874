"""A watchman for tests that start processes: if the test process dies, what it started below a directory dies too.

    watchman = start_watchman(root)     # root is in the environment or command line of everything started
    …
    watchman.farewell()                 # the test stopped its processes by itself; the watchman does nothing

    with watched(root): …               # the same around a block

A test process that is killed (a time limit, a closed terminal, no memory left) runs no clean-up of its own, and a house
left running keeps ports, memory and its directory. The watchman is a process of its own session that waits on a
pipe; the kernel closes the pipe whatever the test process dies of. This file imports nothing of the house, so that a
watchman costs little.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FAREWELL = b"farewell\n"
ROUNDS = 100
PAUSE_SECONDS = 0.05
LEAST_DEPTH = 3


class Watchman:
    """A running watchman."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def farewell(self) -> None:
        """Send it away: nothing is killed and nothing removed. May be said twice."""
        pipe = self._process.stdin
        if pipe is not None and not pipe.closed:
            with suppress(BrokenPipeError):
                pipe.write(FAREWELL)
                pipe.flush()
            pipe.close()
        self._process.wait(20)


def start_watchman(root: Path) -> Watchman:
    """Watch over `root`, a directory of this test alone. Raises ValueError for one so near the top that others use it."""
    root = root.resolve()
    shared = (Path.home(), Path.cwd(), Path(tempfile.gettempdir()).resolve())
    if not root.is_dir() or len(root.parts) < LEAST_DEPTH or root in shared:
        raise ValueError(f"not a directory of one test: {root}")
    process = subprocess.Popen(
        [sys.executable, "-S", __file__, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        # A signal to the terminal's group must not end the watchman with the watched.
        start_new_session=True,
    )
    return Watchman(process)


@contextmanager
def watched(root: Path) -> Iterator[None]:
    """A watchman for the time of a block."""
    watchman = start_watchman(root)
    try:
        yield
    finally:
        watchman.farewell()


def find_processes(root: Path) -> list[int]:
    """Other processes whose environment or command line names `root` or something below it."""
    name, own, found = os.fsencode(root), os.getpid(), []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == own:
            continue
        with suppress(OSError):
            # The end of a value, or of the name of a directory: /x/a is not named by /x/ab.
            said = (entry / "environ").read_bytes() + b"\0" + (entry / "cmdline").read_bytes() + b"\0"
            if any(said.find(name + end) >= 0 for end in (b"/", b"\0", b"\n", b":", b" ", b'"', b"'")):
                found.append(int(entry.name))
    return found


def _watch(root: Path) -> None:
    if sys.stdin.buffer.readline() == FAREWELL:
        return
    for _ in range(ROUNDS):
        # Again until nobody is left: one of them may have been starting another.
        found = find_processes(root)
        if not found:
            break
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(PAUSE_SECONDS)
    shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    _watch(Path(sys.argv[1]))
