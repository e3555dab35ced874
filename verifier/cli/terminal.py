"""Speaking to a person: the answer on stdout, everything else on stderr, never a traceback.

Consoles of Windows speak cp932, which lacks some names and signs: what a console cannot write is replaced
there, never a crash. Files and JSON output are always UTF-8 or ASCII.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import suppress
from typing import TextIO

VALID = 0
NOT_VALID = 1
USAGE = 2
UNDETERMINED = 3


def prepare_streams() -> None:
    """Make stdout and stderr replace what they cannot encode, and keep library warnings off them.

    A hostile certificate can make a library warn with a path of this computer; findings say what is wrong.
    """
    warnings.simplefilter("ignore")
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def answer(text: str) -> None:
    """A line of the answer."""
    _write(sys.stdout, text)


def tell(text: str) -> None:
    """A line beside the answer."""
    _write(sys.stderr, text)


def hint(text: str) -> None:
    """What to do next."""
    _write(sys.stderr, f"hint: {text}")


def is_unicode_output() -> bool:
    """Whether stdout writes every character, so that machine-readable output needs no escapes."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return encoding.lower().replace("-", "").replace("_", "") in ("utf8", "utf8sig")


def printable(text: str) -> str:
    """`text` without control characters: what comes from files must not steer a terminal."""
    return "".join(char if char.isprintable() or char == "\u3000" else "\ufffd" for char in text)


def _write(stream: TextIO, text: str) -> None:
    with suppress(BrokenPipeError):
        stream.write(text + "\n")
        stream.flush()
