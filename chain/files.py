"""Durable files: what is there under its name is complete and survives a power cut.

Written to a temporary name in the same directory, fsync, rename, fsync of the directory. `FileTree` is a
directory whose files are addressed by the relative paths of the log formats. It knows nothing of what the
files mean.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from chain.errors import LogRefused
from verifier.errors import SourceError

TEMPORARY_SUFFIX: Final = ".tmp"


class FileTree:
    """The files below one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._root = str(directory)

    def read(self, path: str) -> bytes:
        """Bytes of a file; a `tiles.Fetch`.

        Raises: SourceError("not-found").
        """
        data = self.find(path)
        if data is None:
            raise SourceError("not-found", path)
        return data

    def find(self, path: str) -> bytes | None:
        """Bytes of a file, or None if there is none."""
        # text and system calls here and in `_write`: with a file for 256 leaves, pathlib would cost as much as the disk
        try:
            with io.open(f"{self._root}/{path}", "rb", buffering=0) as file:  # noqa: UP020 - see above
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def create(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Write files that never change, durably; the same bytes again are fine.

        Raises: LogRefused("file-changed") if a name already holds other bytes, OSError.
        """
        directories: set[str] = set()
        for path, data in files:
            existing = self.find(path)
            if existing is None:
                directories |= self._write(path, data)
            elif existing != data:
                raise LogRefused("file-changed", f"{path} already holds other bytes")
        _sync_directories(directories)

    def replace(self, path: str, data: bytes) -> None:
        """Write a file that may change, durably and in one step."""
        _sync_directories(self._write(path, data))

    def remove(self, path: str) -> None:
        """Remove a file, or a directory of plain files; nothing there is fine."""
        target = self.directory / path
        if target.is_dir():
            for child in target.iterdir():
                child.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                target.rmdir()
        else:
            target.unlink(missing_ok=True)

    def _write(self, path: str, data: bytes) -> set[str]:
        # answers the directories whose entries changed: they must be synced before anything relies on the file
        target = f"{self._root}/{path}"
        parent = target.rpartition("/")[0]
        changed = {parent}
        temporary = target + TEMPORARY_SUFFIX
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            descriptor = os.open(temporary, flags, 0o666)
        except FileNotFoundError:
            changed |= _make_directory(Path(parent))
            descriptor = os.open(temporary, flags, 0o666)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, target)  # noqa: PTH105 - see `find`
        return changed


def sync_directory(directory: Path) -> None:
    """Make what was created and renamed in a directory survive a power cut."""
    _sync_directories([str(directory)])


def _make_directory(directory: Path) -> set[str]:
    # answers the directories that got a new entry
    changed = set()
    missing = directory
    while not missing.exists():
        missing = missing.parent
        changed.add(str(missing))
    directory.mkdir(parents=True, exist_ok=True)
    return changed


def _sync_directories(directories: Iterable[str]) -> None:
    # the deepest first: a name is durable only when those above it are, which the last one then makes true
    for directory in sorted(directories, key=lambda path: path.count("/"), reverse=True):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
