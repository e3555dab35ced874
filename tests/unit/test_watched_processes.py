"""The watchman of the tests, with a small parent that is killed with -9 in place of pytest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.watched_processes import find_processes, start_watchman, watched

ROOT = Path(__file__).resolve().parents[2]
PARENT = """
import os, subprocess, sys
from pathlib import Path
from tests.support.watched_processes import start_watchman
root, mode = Path(sys.argv[1]), sys.argv[2]
watchman = start_watchman(root) if mode != "alone" else None
sleep = [sys.executable, "-S", "-c", "import time; time.sleep(120)"]
by_environment = subprocess.Popen(sleep, env={"STORE": f"sqlite:///{root}/a.sqlite"}, start_new_session=True)
by_argument = subprocess.Popen([*sleep, f"--data={root}"], env={}, start_new_session=True)
neighbour = subprocess.Popen([*sleep, f"--data={root}0"], env={}, start_new_session=True)
if mode == "farewell":
    watchman.farewell()
print(by_environment.pid, by_argument.pid, neighbour.pid, watchman.pid if watchman else 0, flush=True)
sys.stdin.read()
"""


def is_alive(pid: int) -> bool:
    """A process that has ended and waits for its parent is not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


class Family:
    """A parent, what it started, and its watchman."""

    def __init__(self, root: Path, mode: str) -> None:
        self.parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(root), mode],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.parent.stdout is not None
        *self.children, self.watchman = map(int, self.parent.stdout.readline().split())

    def kill(self) -> None:
        self.parent.kill()
        self.parent.wait()

    def clear(self) -> None:
        self.kill()
        for pid in self.children:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        for pipe in (self.parent.stdin, self.parent.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], tuple[Path, Family]]]:
    families: list[Family] = []

    def make(mode: str) -> tuple[Path, Family]:
        root = tmp_path / "house"
        root.mkdir()
        (root / "file").write_text("x")
        families.append(Family(root, mode))
        return root, families[-1]

    yield make
    for family in families:
        family.clear()


def test_a_killed_parent_leaves_nothing_behind(start: Callable[[str], tuple[Path, Family]]) -> None:
    root, family = start("watched")
    by_environment, by_argument, neighbour = family.children
    assert all(map(is_alive, [*family.children, family.watchman]))
    family.kill()
    until(lambda: not is_alive(by_environment), "a process whose environment names the directory lives on")
    until(lambda: not is_alive(by_argument), "a process whose command line names the directory lives on")
    until(lambda: not root.exists(), "the directory is still there")
    until(lambda: not is_alive(family.watchman), "the watchman stays")
    assert is_alive(neighbour)


def test_without_a_watchman_they_live_on(start: Callable[[str], tuple[Path, Family]]) -> None:
    """The positive control: what the first test sees end does not end by itself."""
    root, family = start("alone")
    family.kill()
    assert all(map(is_alive, family.children))
    assert sorted(find_processes(root)) == sorted(family.children[:2])
    assert root.exists()


def test_after_a_farewell_nothing_is_touched(start: Callable[[str], tuple[Path, Family]]) -> None:
    root, family = start("farewell")
    until(lambda: not is_alive(family.watchman), "the watchman stays after its farewell")
    family.kill()
    assert all(map(is_alive, family.children))
    assert (root / "file").exists()


def test_a_block_that_fails_says_farewell_too(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), watched(tmp_path):
        raise RuntimeError
    assert find_processes(tmp_path) == []
    assert tmp_path.exists()


@pytest.mark.parametrize("place", ["/", tempfile.gettempdir(), "/nowhere/at/all"])
def test_a_directory_of_everybody_is_not_watched(place: str) -> None:
    with pytest.raises(ValueError, match="not a directory of one test"):
        start_watchman(Path(place))
