"""Fails, or ends the process, at the n-th file-system call below a directory: Python's calls, SQLite's, and commits.

    Injector(directory, at=17, variant="die before", tell=report).install()    # for the rest of this process's life

What is counted, in the order in which it happens: open, read, write, fsync, rename, link, unlink, mkdir, rmdir, listdir
and stat as Python's `os` and `io` make them, open, read, write, truncate and unlink as SQLite makes them (by its own
system-call table, so that SQLite's answer to a full disk is the real one), each commit (SQLite's fsync has no entry in
that table), and bringing a mapped file to the disk.

    ENOSPC, EIO    the call fails and has not happened
    EIO after      the call fails although it has happened
    short          a write takes half of its bytes and says so
    die before     SIGKILL instead of the call
    die after      SIGKILL when the call has happened
"""

from __future__ import annotations

import _sqlite3
import ctypes
import errno
import functools
import io
import mmap
import os
import signal
import sqlite3
import sqlite3.dbapi2
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ENOSPC, EIO, EIO_AFTER, SHORT = "ENOSPC", "EIO", "EIO after", "short"
DIE_BEFORE, DIE_AFTER = "die before", "die after"
_ALWAYS: Final = (EIO, EIO_AFTER, DIE_BEFORE, DIE_AFTER)
_READING: Final = (EIO, DIE_BEFORE)
# kind → what can go wrong there
VARIANTS: Final = {
    "open to read": _READING,
    "open to write": (ENOSPC, *_ALWAYS),
    "read": _READING,
    "write": (ENOSPC, SHORT, *_ALWAYS),
    "fsync": (ENOSPC, *_ALWAYS),
    "rename": (ENOSPC, *_ALWAYS),
    "link": (ENOSPC, *_ALWAYS),
    "unlink": _ALWAYS,
    "mkdir": (ENOSPC, *_ALWAYS),
    "rmdir": _ALWAYS,
    "listdir": _READING,
    "stat": _READING,
    "sqlite open": _READING,
    "sqlite read": _READING,
    "sqlite write": (ENOSPC, SHORT, EIO, DIE_BEFORE, DIE_AFTER),
    "sqlite truncate": (EIO, DIE_BEFORE, DIE_AFTER),
    "sqlite unlink": (EIO, DIE_BEFORE, DIE_AFTER),
    "commit": _ALWAYS,
}
_CODES: Final = {ENOSPC: errno.ENOSPC, EIO: errno.EIO, EIO_AFTER: errno.EIO}


@dataclass(frozen=True, slots=True)
class Call:
    """One counted call."""

    number: int  # from 1
    kind: str
    name: str  # last part of the path, where there is one


class Injector:
    """Counts calls below `directory` in this process and spoils one of them."""

    def __init__(
        self, directory: Path, at: int, variant: str, tell: Callable[[Call, bool], None] = lambda *_: None
    ) -> None:
        """`at`: number of the call to spoil, 0 for none. `tell` hears of each call before it, and whether it is the one."""
        self._root = str(directory.resolve())
        self._at, self._variant, self._tell = at, variant, tell
        self._count = 0
        self._descriptors: dict[int, str] = {}
        self._kept: list[Any] = []  # ctypes callbacks must outlive their use

    def install(self) -> None:
        """Replace the calls in this process; there is no way back."""
        self._install_python()
        self._install_commits()
        self._install_sqlite()

    # -- one call
    # -------------------------------------------------------------------------------------------------

    def _strike(self, kind: str, name: str) -> str | None:
        self._count += 1
        is_struck = self._count == self._at
        self._tell(Call(self._count, kind, Path(name).name), is_struck)
        if not is_struck:
            return None
        if self._variant == DIE_BEFORE:
            _die()
        return self._variant

    def _around(self, kind: str, name: str, call: Callable[[], Any]) -> Any:
        struck = self._strike(kind, name)
        if struck in (ENOSPC, EIO):
            raise OSError(_CODES[struck], f"injected {struck}")
        try:
            result = call()
        finally:
            if struck == DIE_AFTER:
                _die()  # also when the call fails by itself
        if struck == EIO_AFTER:
            raise OSError(errno.EIO, "injected after the call")
        return result

    def _is_below(self, path: Any) -> bool:
        if isinstance(path, int):
            return path in self._descriptors
        return os.path.abspath(os.fsdecode(path)).startswith(self._root)  # noqa: PTH100 - Path would call stat

    # -- Python
    # ---------------------------------------------------------------------------------------------------

    def _install_python(self) -> None:
        by_path = {
            "rename": ("rename", "replace"),
            "link": ("link", "symlink"),
            "unlink": ("unlink", "remove"),
            "mkdir": ("mkdir",),
            "rmdir": ("rmdir",),
            "listdir": ("listdir", "scandir"),
            "stat": ("stat", "lstat"),
        }
        for kind, names in by_path.items():
            for name in names:
                setattr(os, name, self._counted(kind, getattr(os, name)))
        for kind, names in {
            "fsync": ("fsync", "fdatasync"),
            "write": ("pwrite", "writev", "ftruncate", "truncate", "posix_fallocate"),
        }.items():
            for name in names:
                setattr(os, name, self._counted(kind, getattr(os, name)))
        self._install_open()
        self._install_maps()

    def _counted(self, kind: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(target: Any, *arguments: Any, **options: Any) -> Any:
            if not self._is_below(target):
                return original(target, *arguments, **options)
            name = self._descriptors[target] if isinstance(target, int) else os.fsdecode(target)
            return self._around(kind, name, lambda: original(target, *arguments, **options))

        return call

    def _install_open(self) -> None:
        injector, plain_open, plain_os_open, plain_close = self, io.open, os.open, os.close
        plain_write = os.write

        class CountedFile(io.FileIO):
            """A file whose reads and writes count too."""

            def write(self, data: Any) -> int:
                return injector._write(str(self.name), data, super().write)

            def read(self, size: int = -1) -> bytes:
                return bytes(
                    injector._around("read", str(self.name), lambda: super(CountedFile, self).read(size))
                )

            def readall(self) -> bytes:
                return bytes(injector._around("read", str(self.name), super().readall))

            def readinto(self, buffer: Any) -> int | None:
                count: int | None = injector._around(
                    "read", str(self.name), lambda: super(CountedFile, self).readinto(buffer)
                )
                return count

            def close(self) -> None:
                if not self.closed:
                    injector._descriptors.pop(self.fileno(), None)
                super().close()

        def counted_open(file: Any, mode: str = "r", buffering: int = -1, *more: Any, **options: Any) -> Any:
            if isinstance(file, int) or not injector._is_below(file) or "b" not in mode:
                return plain_open(file, mode, buffering, *more, **options)
            name = os.fsdecode(file)
            is_reading = "r" in mode and "+" not in mode
            kind = "open to read" if is_reading else "open to write"
            raw = injector._around(kind, name, lambda: CountedFile(name, mode.replace("b", "")))
            injector._descriptors[raw.fileno()] = name
            if buffering == 0:
                return raw
            if "+" in mode:
                return io.BufferedRandom(raw)
            return io.BufferedReader(raw) if is_reading else io.BufferedWriter(raw)

        def counted_os_open(path: Any, flags: int, *more: Any, **options: Any) -> int:
            if not injector._is_below(path):
                return plain_os_open(path, flags, *more, **options)
            kind = "open to write" if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else "open to read"
            name = os.fsdecode(path)
            descriptor: int = injector._around(
                kind, name, lambda: plain_os_open(path, flags, *more, **options)
            )
            injector._descriptors[descriptor] = name
            return descriptor

        def counted_close(descriptor: int) -> None:
            injector._descriptors.pop(descriptor, None)
            plain_close(descriptor)

        def counted_write(descriptor: int, data: Any) -> int:
            if descriptor not in injector._descriptors:
                return plain_write(descriptor, data)
            name = injector._descriptors[descriptor]
            return injector._write(name, data, lambda part: plain_write(descriptor, part))

        io.open = counted_open
        os.open, os.close, os.write = counted_os_open, counted_close, counted_write

    def _install_maps(self) -> None:
        injector = self

        class CountedMap(mmap.mmap):
            """A mapped file; what is written to it is the kernel's, and bringing it to the disk counts."""

            def flush(self, *arguments: Any) -> None:
                injector._around("fsync", "map", lambda: super(CountedMap, self).flush(*arguments))

        mmap.mmap = CountedMap  # type: ignore[misc]

    def _write(self, name: str, data: Any, write: Callable[[Any], int]) -> int:
        view = memoryview(data).cast("B")
        struck = self._strike("write", name)
        if struck in (ENOSPC, EIO):
            raise OSError(_CODES[struck], f"injected {struck}")
        count = write(view[: max(1, len(view) // 2)] if struck == SHORT else view)
        if struck == DIE_AFTER:
            _die()
        if struck == EIO_AFTER:
            raise OSError(errno.EIO, "injected after the call")
        return count

    # -- SQLite
    # ---------------------------------------------------------------------------------------------------

    def _install_commits(self) -> None:
        injector, plain_connect = self, sqlite3.connect

        class CountedConnection(sqlite3.Connection):
            """A connection whose commits count."""

            def commit(self) -> None:
                injector._commit(self, super().commit)

            def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
                if sql.strip().upper() != "COMMIT":
                    return super().execute(sql, *arguments)
                done: list[sqlite3.Cursor] = []
                injector._commit(
                    self, lambda: done.append(super(CountedConnection, self).execute(sql, *arguments))
                )
                return done[0]

        def counted_connect(database: Any, *arguments: Any, **options: Any) -> sqlite3.Connection:
            return plain_connect(database, *arguments, **({"factory": CountedConnection} | options))

        sqlite3.connect = sqlite3.dbapi2.connect = counted_connect

    def _commit(self, connection: sqlite3.Connection, commit: Callable[[], object]) -> None:
        if not connection.in_transaction:
            commit()
            return
        struck = self._strike("commit", "")
        if struck == EIO:
            connection.rollback()
            raise sqlite3.OperationalError("injected: disk I/O error")
        commit()
        if struck == DIE_AFTER:
            _die()
        if struck == EIO_AFTER:
            raise sqlite3.OperationalError("injected: disk I/O error after the commit")

    def _install_sqlite(self) -> None:
        table = _SystemCalls()
        number, pointer, size, offset = ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64
        signed_size = ctypes.c_ssize_t
        path = ctypes.c_char_p
        self._wrap(table, "open", number, (path, number, number), self._sqlite_open)
        for name in ("read", "pread", "pread64"):
            more = (offset,) if name != "read" else ()
            self._wrap(table, name, signed_size, (number, pointer, size, *more), self._sqlite_read)
        for name in ("write", "pwrite", "pwrite64"):
            more = (offset,) if name != "write" else ()
            self._wrap(table, name, signed_size, (number, pointer, size, *more), self._sqlite_write)
        self._wrap(table, "ftruncate", number, (number, offset), self._sqlite_other("sqlite truncate"))
        self._wrap(table, "unlink", number, (path,), self._sqlite_other("sqlite unlink"))

    def _wrap(
        self,
        table: _SystemCalls,
        name: str,
        result: Any,
        arguments: tuple[Any, ...],
        handle: Callable[..., int],
    ) -> None:
        address = table.get(name)
        if not address:
            return
        kind = ctypes.CFUNCTYPE(result, *arguments, use_errno=True)
        original = kind(address)
        callback = kind(lambda *values: handle(original, *values))
        self._kept += [original, callback]
        table.set(name, callback)

    def _sqlite_open(self, original: Callable[..., int], path: bytes, flags: int, mode: int) -> int:
        if not path.decode().startswith(self._root):
            return original(path, flags, mode)
        if self._strike("sqlite open", path.decode()) == EIO:
            ctypes.set_errno(errno.EIO)
            return -1
        descriptor = original(path, flags, mode)
        if descriptor >= 0:
            self._descriptors[descriptor] = path.decode()
        return descriptor

    def _sqlite_read(
        self, original: Callable[..., int], descriptor: int, buffer: int, count: int, *offset: int
    ) -> int:
        struck = self._strike("sqlite read", self._descriptors.get(descriptor, ""))
        if struck == EIO:
            ctypes.set_errno(errno.EIO)
            return -1
        return original(descriptor, buffer, count, *offset)

    def _sqlite_write(
        self, original: Callable[..., int], descriptor: int, buffer: int, count: int, *offset: int
    ) -> int:
        struck = self._strike("sqlite write", self._descriptors.get(descriptor, ""))
        if struck in (ENOSPC, EIO):
            ctypes.set_errno(_CODES[struck])
            return -1
        written = original(descriptor, buffer, max(1, count // 2) if struck == SHORT else count, *offset)
        if struck == DIE_AFTER:
            _die()
        return written

    def _sqlite_other(self, kind: str) -> Callable[..., int]:
        def handle(original: Callable[..., int], first: Any, *more: Any) -> int:
            name = first.decode() if isinstance(first, bytes) else self._descriptors.get(first, "")
            struck = self._strike(kind, name)
            if struck == EIO:
                ctypes.set_errno(errno.EIO)
                return -1
            answer = original(first, *more)
            if struck == DIE_AFTER:
                _die()
            return answer

        return handle


class _SystemCalls:
    """SQLite's own table of system calls (`sqlite3_vfs`, version 3), for every connection of this process."""

    def __init__(self) -> None:
        library = ctypes.CDLL(_sqlite3.__file__)
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        self._vfs = library.sqlite3_vfs_find(None)
        assert self._vfs.contents.iVersion >= 3, "this SQLite has no table of system calls"

    def get(self, name: str) -> int | None:
        address: int | None = self._vfs.contents.xGetSystemCall(self._vfs, name.encode())
        return address

    def set(self, name: str, callback: Any) -> None:
        address = ctypes.cast(callback, ctypes.c_void_p)
        assert self._vfs.contents.xSetSystemCall(self._vfs, name.encode(), address) == 0


class _Vfs(ctypes.Structure):
    pass


_POINTERS: Final = """
xOpen xDelete xAccess xFullPathname xDlOpen xDlError xDlSym xDlClose xRandomness xSleep xCurrentTime xGetLastError
xCurrentTimeInt64
"""
_Vfs._fields_ = [
    ("iVersion", ctypes.c_int),
    ("szOsFile", ctypes.c_int),
    ("mxPathname", ctypes.c_int),
    ("pNext", ctypes.c_void_p),
    ("zName", ctypes.c_char_p),
    ("pAppData", ctypes.c_void_p),
    *((name, ctypes.c_void_p) for name in _POINTERS.split()),
    (
        "xSetSystemCall",
        ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Vfs), ctypes.c_char_p, ctypes.c_void_p),
    ),
    ("xGetSystemCall", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_Vfs), ctypes.c_char_p)),
    ("xNextSystemCall", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(_Vfs), ctypes.c_char_p)),
]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
