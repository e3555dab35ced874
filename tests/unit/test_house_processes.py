"""Starting, killing and stopping real children."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.house.processes import (
    LogSays,
    Process,
    Processes,
    StartError,
    answers,
    free_port,
    log_says,
    python,
)

SERVE = """
import socket, sys, time
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
s.accept()[0].recv(1)
time.sleep(60)
"""
TELL = """
import os, time
names = ("AKASHI_SECRET_PLACE", "AKASHI_GIVEN", "HARMLESS")
print(sorted(n for n in os.environ if n in names), "done", flush=True)
time.sleep(60)
"""

SAY_BEHIND_GATE = """
import pathlib, sys, time
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.01)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Processes]:
    running = Processes(tmp_path / "logs")
    yield running
    running.stop_all()


def server(port: int) -> Process:
    return Process("server", python("-c", SERVE, str(port)), {"AKASHI_PROFILE": "demo"}, answers(port))


def test_a_child_is_waited_for_until_it_answers_and_comes_back_after_a_kill(children: Processes) -> None:
    port = free_port()
    children.start(server(port))
    first = children.pid("server")
    children.kill("server")
    assert children.names == []
    children.restart("server")
    assert children.pid("server") != first
    assert answers(port)()


def test_a_child_that_ends_at_once_is_an_error_that_names_its_log(
    children: Processes, tmp_path: Path
) -> None:
    bad = Process("bad", python("-c", "raise SystemExit(7)"), {}, lambda: False)
    with pytest.raises(StartError) as caught:
        children.start(bad)
    assert "bad ended with 7" in str(caught.value)
    assert children.ended() == ["bad"]


def test_a_child_gets_none_of_our_own_variables(
    children: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AKASHI_SECRET_PLACE", "here")
    monkeypatch.setenv("HARMLESS", "1")
    log = tmp_path / "logs" / "printer.log"
    children.start(Process("printer", python("-c", TELL), {"AKASHI_GIVEN": "1"}, log_says(log, "done")))
    assert "['AKASHI_GIVEN', 'HARMLESS'] done" in log.read_text()


def test_a_restarted_child_is_ready_when_it_says_so_itself(
    children: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The positive control: with the position of the first run kept, the first run's line is taken for the second's."""
    log, gate = tmp_path / "logs" / "slow.log", tmp_path / "gate"
    slow = Process("slow", python("-c", SAY_BEHIND_GATE, str(gate)), {}, log_says(log, "ready"))
    gate.touch()
    children.start(slow)
    children.kill("slow")
    gate.unlink()
    children.start(slow, wait=False)
    assert not slow.is_ready()
    gate.touch()
    children.wait_ready("slow")
    assert log.read_text().count("ready") == 2
    children.kill("slow")
    gate.unlink()
    monkeypatch.setattr(LogSays, "begin", lambda _self: None)
    children.start(slow, wait=False)
    assert slow.is_ready()


def test_a_free_port_is_free() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port()))
