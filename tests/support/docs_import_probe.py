"""Run as a program: import modules and say what they do besides. `docs_import_probe.py ROOT MODULE …`

The innermost frame that is ours or the import system's decides: a file that the import system opens is a
module; a
file, socket or variable that one of our modules reaches for while it is imported is work.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

ROOT = sys.argv[1] if len(sys.argv) > 1 else ""
FILE_EVENTS = (
    "open", "sqlite3.connect", "subprocess.Popen", "os.system", "os.mkdir", "os.remove", "os.rename",
    "os.listdir",
    "os.scandir",
)  # fmt: skip
faults: set[str] = set()


def blame() -> str | None:
    """file:line of our module that is at work, or None if the import system is."""
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if "importlib" in file:
            return None
        if file.startswith(ROOT + os.sep) and ".venv" not in file:
            return f"{os.path.relpath(file, ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    return None


def hook(event: str, _arguments: object) -> None:
    """Called by the interpreter for each audited act."""
    if (event in FILE_EVENTS or event.startswith("socket.")) and (where := blame()):
        faults.add(f"{where}: {event}")


def main(names: list[str]) -> None:
    """Import each name; print one fault a line."""

    class Watched(type(os.environ)):  # type: ignore[misc]
        def __getitem__(self, key: str) -> Any:
            if where := blame():
                faults.add(f"{where}: reads the environment")
            return super().__getitem__(key)

    environ = Watched.__new__(Watched)
    environ.__dict__.update(os.environ.__dict__)
    os.environ = environ  # noqa: B003 - the watched twin takes the place of the original
    # This program's own folder must not be importable: only ROOT is.
    sys.path[0] = ROOT
    sys.addaudithook(hook)
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException as error:
            faults.add(f"{name}: {type(error).__name__}: {error}")
    print("\n".join(sorted(faults)))


if __name__ == "__main__":
    main(sys.argv[2:])
