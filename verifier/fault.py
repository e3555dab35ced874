"""What a log may say of an exception that nobody expected: its type and its place, never its text.

The text of an exception may quote what it met: a name, an address, a secret. A traceback prints that text, and the source
lines around it. Every process of the house logs through here instead; tests/test_architecture.py forbids the other
ways. This module writes no log of its own accord and handles no error: whoever catches it decides what follows.

    except Exception as error:
        log.error("intake: unexpected %s", describe_fault(error))
    # intake: unexpected KeyError at app/registers/release.py:61 match < app/registers/gate.py:88 record
"""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import PurePath
from types import FrameType, TracebackType
from typing import Final

ROOMS: Final = frozenset({"app", "chain", "mobile_api", "verifier"})
INVALID_REQUEST: Final = "Invalid request from ip="
"""How gunicorn begins the line about a request it cannot read: the peer's address and the line it sent follow."""
MAX_PLACES: Final = 4
MAX_CAUSES: Final = 3


def describe_fault(error: BaseException) -> str:
    """`Type at file:line function < its caller < …`, of our own code the innermost four places, then its causes.

    Neither the message nor a value of any variable is read.
    """
    parts: list[str] = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen and len(parts) <= MAX_CAUSES:
        seen.add(id(link))
        parts.append(f"{type(link).__qualname__} at {_places(link.__traceback__)}")
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return ", from ".join(parts)


def _places(trace: TracebackType | None) -> str:
    own: list[str] = []
    last = "an unknown place"
    while trace is not None:
        module = _module(trace.tb_frame)
        last = f"{module or '?'}:{trace.tb_lineno}"
        if module.split(".")[0] in ROOMS:
            own.append(_place(trace.tb_frame, module, trace.tb_lineno))
        trace = trace.tb_next
    return " < ".join(reversed(own[-MAX_PLACES:])) or last


def _module(frame: FrameType) -> str:
    # What `python -m` runs is called __main__; its real name is in the specification it was found by.
    spec = frame.f_globals.get("__spec__")
    return str(getattr(spec, "name", None) or frame.f_globals.get("__name__", ""))


def _place(frame: FrameType, module: str, line: int) -> str:
    file = PurePath(frame.f_code.co_filename)
    depth = len(module.split(".")) + (file.name == "__init__.py")
    return f"{'/'.join(file.parts[-depth:])}:{line} {frame.f_code.co_name}"


class FaultFormatter(logging.Formatter):
    """Writes a record as its parent does, but type and place where the parent would write message and traceback.

    For what libraries log with their own exceptions: a web server, a framework. Their messages quote addresses, paths and
    what was sent, so that of a record with an exception no word is kept.
    """

    def format(self, record: logging.LogRecord) -> str:
        told = logging.makeLogRecord(record.__dict__)
        # Another handler may have kept its own rendering of the traceback in the record.
        told.exc_text = None
        told.stack_info = None
        if record.exc_info:
            told.msg, told.args = "fault in a library", ()
        elif str(record.msg).startswith(INVALID_REQUEST):
            told.msg, told.args = "an invalid request", ()
        try:
            return super().format(told)
        except Exception as error:
            # logging itself would print the words, the arguments and a traceback
            told.msg, told.args = f"a line that cannot be written: {describe_fault(error)}", ()
            return super().format(told)

    def formatException(self, ei: object) -> str:  # noqa: N802  (the parent's name)
        """Type and place of `ei`, the triple of `sys.exc_info()`."""
        error = ei[1] if isinstance(ei, tuple) else None
        return describe_fault(error) if isinstance(error, BaseException) else "no exception"


def quiet_uncaught(process: str) -> None:
    """What nothing catches in this process, in its threads or when an object is cleaned away, is told on stderr by type
    and place only.
    """

    def tell(error: BaseException | None) -> None:
        fault = "unknown fault" if error is None else describe_fault(error)
        print(f"{process}: uncaught {fault}", file=sys.stderr, flush=True)

    def in_main(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
        tell(error)

    def in_thread(what: threading.ExceptHookArgs) -> None:
        if what.exc_type is not SystemExit:
            tell(what.exc_value)

    def in_cleaning(what: sys.UnraisableHookArgs) -> None:
        tell(what.exc_value)

    sys.excepthook = in_main
    threading.excepthook = in_thread
    sys.unraisablehook = in_cleaning


def log_to_stderr(
    process: str, form: str = "%(asctime)s %(name)s %(message)s", *, level: int = logging.INFO
) -> None:
    """For a process of its own: log lines from `level` up to standard error in `form`, no exception's text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FaultFormatter(form))
    logging.basicConfig(level=level, handlers=[handler])
    quiet_uncaught(process)


class ToldByPlace:
    """Mixed into a `socketserver` server, before it: a connection whose handler failed is told by type and place."""

    def handle_error(self, request: object, client_address: object) -> None:
        """In place of the library's traceback, which would also name the peer."""
        error = sys.exception()
        if error is not None:
            print(f"door: connection ended: {describe_fault(error)}", file=sys.stderr, flush=True)
