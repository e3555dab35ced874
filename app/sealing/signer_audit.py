"""The signer's audit: one JSON line a wish, on disk before any signature leaves.

Each line carries its number and the SHA-256 of the line before it, so that a line cannot be changed, dropped
or put in between unseen (cutting off the end is seen by comparing with the store and the log: the monitor's
task). Lines hold ids, purposes and digests: never personal data, never a token, never a signature.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from app.sealing.errors import SettingsInvalidError

FIRST: Final = "0" * 64
MAX_LINE_BYTES: Final = 4 << 10


class AuditLog:
    """The append-only file at `path`; one process writes it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        last = _last_line(self._descriptor)
        self._number = 0 if last is None else _number_of(last)
        self._previous = FIRST if last is None else hashlib.sha256(last).hexdigest()

    def append(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Write the events, in order, and wait until they are on disk. Raises: OSError (then nothing may be
        signed)."""
        if not events:
            return
        with self._lock:
            number, previous = self._number, self._previous
            lines = []
            for event in events:
                number += 1
                line = orjson.dumps({"n": number, "previous": previous, **event})
                previous = hashlib.sha256(line).hexdigest()
                lines.append(line + b"\n")
            data = b"".join(lines)
            if os.write(self._descriptor, data) != len(data):
                raise OSError("the audit file took only a part of a line")
            os.fsync(self._descriptor)
            self._number, self._previous = number, previous

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def verify_audit(path: Path) -> int:
    """How many lines the file holds, all of them chained. Raises: SettingsInvalidError("audit-broken")."""
    previous, count = FIRST, 0
    for line in path.read_bytes().split(b"\n")[:-1]:
        count += 1
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise SettingsInvalidError("audit-broken", f"line {count} is not JSON") from error
        if event.get("n") != count or event.get("previous") != previous:
            raise SettingsInvalidError("audit-broken", f"line {count} does not follow the one before")
        previous = hashlib.sha256(line).hexdigest()
    return count


def _last_line(descriptor: int) -> bytes | None:
    size = os.fstat(descriptor).st_size
    if size == 0:
        return None
    tail = os.pread(descriptor, 2 * MAX_LINE_BYTES, max(0, size - 2 * MAX_LINE_BYTES))
    if not tail.endswith(b"\n"):
        # A power cut in the middle of a line: nothing was signed for it. A person should look before signing
        # goes on.
        raise SettingsInvalidError("audit-broken", "the last line is cut off")
    return tail[:-1].rsplit(b"\n", 1)[-1]


def _number_of(line: bytes) -> int:
    try:
        number = orjson.loads(line)["n"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise SettingsInvalidError("audit-broken", "the last line is not an audit line") from error
    if not isinstance(number, int):
        raise SettingsInvalidError("audit-broken", "the last line has no number")
    return number
