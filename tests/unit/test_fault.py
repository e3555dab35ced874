"""What is said of a fault: type and place, never text or values; for loggers, servers and what nothing catches."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fault_lines import find_faults
from verifier.fault import FaultFormatter, describe_fault
from verifier.formats.encoding import hex_decode

ROOT = Path(__file__).resolve().parents[2]
CANARY = "鸚鵡沢椋鳥子"
PLACE = re.compile(r"verifier/formats/encoding\.py:\d+ hex_decode")


def caught() -> Exception:
    """An exception out of our own code, chained to one whose text is the canary."""
    try:
        try:
            raise LookupError(CANARY)
        except LookupError:
            hex_decode(CANARY, 6)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_type_and_place_and_causes_are_told_without_text() -> None:
    error = caught()
    assert isinstance(error.__context__, ValueError)
    assert CANARY in str(error.__context__.__context__)
    told = describe_fault(error)
    assert told.startswith(f"{type(error).__name__} at verifier/formats/encoding.py:")
    assert PLACE.search(told)
    assert "LookupError at " in told
    assert CANARY not in told


def test_an_exception_that_refuses_to_be_read_is_described() -> None:
    class RudeError(Exception):
        def __str__(self) -> str:
            raise RuntimeError(CANARY)

        __repr__ = __str__

    assert describe_fault(RudeError(CANARY)).endswith("RudeError at an unknown place")


def test_tests_find_a_fault_in_a_log_by_its_form() -> None:
    class StrangeError(Exception):
        pass

    honest = "2026-11-20 12:00:00,000 akashi.worker waits, street-door: status 503 at 12:00\nReady at 127.0.0.1:8440"
    told = [describe_fault(caught()), describe_fault(StrangeError()), "worker: uncaught KeyError at runpy:88"]
    assert find_faults(honest) == []
    for line in (*told, "Traceback (most recent call last):"):
        assert find_faults(f"{honest}\n{line}\n") == [line]


def test_a_circle_of_causes_ends() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert describe_fault(first).count(" at ") == 2


@pytest.mark.parametrize("formatter", [FaultFormatter("%(message)s"), logging.Formatter("%(message)s")])
def test_a_librarys_traceback_becomes_type_and_place(formatter: logging.Formatter) -> None:
    """The plain formatter is the positive control: the same search finds the canary in its lines."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", (), None)
    error = caught()
    record.exc_info = (type(error), error, error.__traceback__)
    record.exc_text = f"kept by another handler: {CANARY}"
    handler.handle(record)
    told = stream.getvalue()
    if isinstance(formatter, FaultFormatter):
        assert CANARY not in told
        assert PLACE.search(told)
    else:
        assert CANARY in told


@pytest.mark.parametrize("is_plain", [False, True])
@pytest.mark.parametrize("is_fault", [False, True])
def test_a_librarys_own_words_about_a_request_are_not_kept(is_fault: bool, is_plain: bool) -> None:
    """A web server's lines name the peer and what it sent; the plain formatter is the positive control."""
    words = "Error handling request %s" if is_fault else f"Invalid request from ip=203.0.113.7: {CANARY}"
    record = logging.LogRecord("gunicorn.error", logging.ERROR, __file__, 1, words, (), None)
    if is_fault:
        error = caught()
        record.args, record.exc_info = (f"/{CANARY}",), (type(error), error, error.__traceback__)
    told = (logging.Formatter() if is_plain else FaultFormatter()).format(record)
    assert (CANARY in told or "203.0.113.7" in told) is is_plain
    assert is_plain or told.startswith("fault in a library" if is_fault else "an invalid request")
    assert record.getMessage() == (words % record.args if is_fault else words), (
        "the record itself is not changed"
    )


@pytest.mark.parametrize("is_plain", [False, True])
def test_a_line_that_cannot_be_written_keeps_neither_words_nor_arguments(is_plain: bool, capsys) -> None:
    """Arguments that do not fit: logging prints them and a traceback, which is the positive control."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter() if is_plain else FaultFormatter("%(name)s %(message)s"))
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "asked %d", (CANARY,), None)
    record.stack_info = f"Stack: {CANARY}"
    handler.handle(record)
    told = stream.getvalue() + capsys.readouterr().err
    assert (CANARY in told) is is_plain
    assert is_plain or told.startswith("x a line that cannot be written: TypeError at ")


PROGRAM = """
import socket, socketserver, sys, threading
from verifier.fault import ToldByPlace, log_to_stderr
from verifier.formats.encoding import hex_decode
canary, how = sys.argv[1:3]
if how != "plain": log_to_stderr("test")
def fail(*_):
    try: raise ValueError(canary)
    except ValueError: hex_decode(canary, 6)
class Told(ToldByPlace, socketserver.TCPServer): pass
class Handler(socketserver.BaseRequestHandler):
    def handle(self): fail()
class Cleaned:
    def __del__(self):
        try: fail()
        except Exception as error: raise ValueError(canary) from error
thread = threading.Thread(target=fail); thread.start(); thread.join()
Cleaned()
with (socketserver.TCPServer if how == "plain" else Told)(("127.0.0.1", 0), Handler) as server:
    with socket.create_connection(server.server_address):
        server.handle_request()
fail()
"""


@pytest.mark.parametrize("how", ["quiet", "plain"])
def test_what_nothing_catches_is_told_by_place_wherever_it_happens(how: str) -> None:
    """Python's own hooks are the positive control."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, CANARY, how],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        env={"PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert ended.returncode == 1
    if how == "plain":
        assert ended.stderr.count(f"ValueError: {CANARY}") == 4
    else:
        assert CANARY not in ended.stderr
        lines = ended.stderr.splitlines()
        assert [line.split(":")[0] for line in lines] == ["test", "test", "door", "test"]
        assert all(PLACE.search(line) for line in lines), ended.stderr
