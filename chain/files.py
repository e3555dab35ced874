"""Durable files: what is there under its name is complete and survives a power cut.

Written to a temporary name in the same directory, fsync, rename, fsync of the directory. `FileTree` is a
directory whose files are addressed by the relative paths of the log formats. It knows nothing of what the
files mean.
"""

from __future__ import annotations

import contextlib
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

    def read(self, path: str) -> bytes:
        """Bytes of a file; a `tiles.Fetch`.

        Raises: SourceError("not-found").
        """
        try:
            return (self.directory / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise SourceError("not-found", path) from error

    def find(self, path: str) -> bytes | None:
        """Bytes of a file, or None if there is none."""
        try:
            return self.read(path)
        except SourceError:
            return None

    def create(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Write files that never change, durably; the same bytes again are fine.

        Raises: LogRefused("file-changed") if a name already holds other bytes, OSError.
        """
        directories: set[Path] = set()
        for path, data in files:
            existing = self.find(path)
            if existing is None:
                directories |= self._write(path, data)
            elif existing != data:
                raise LogRefused("file-changed", f"{path} already holds other bytes")
        for directory in sorted(directories, key=lambda item: len(item.parts), reverse=True):
            _sync_directory(directory)

    def replace(self, path: str, data: bytes) -> None:
        """Write a file that may change, durably and in one step."""
        for directory in sorted(self._write(path, data), key=lambda item: len(item.parts), reverse=True):
            _sync_directory(directory)

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

    def _write(self, path: str, data: bytes) -> set[Path]:
        # answers the directories whose entries changed: they must be synced before anything relies on the
        # file
        target = self.directory / path
        changed = {target.parent}
        missing = target.parent
        while not missing.exists():
            missing = missing.parent
            changed.add(missing)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(target.name + TEMPORARY_SUFFIX)
        with temporary.open("wb", buffering=0) as file:
            file.write(data)
            os.fsync(file.fileno())
        temporary.replace(target)
        return changed


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
