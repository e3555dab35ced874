"""Secrets of the console in files of mode 0600: reading the worker's token, writing a generated password
once.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from app.staff.errors import StaffSettingsError, StaffUsageError

MIN_TOKEN_BYTES: Final = 32
MAX_TOKEN_BYTES: Final = 256


def read_token(path: Path) -> bytes:
    """The token in `path`, without the line end.

    Raises: StaffSettingsError if the file is missing, too short, or readable for others.
    """
    try:
        mode = path.stat().st_mode
        data = path.read_bytes().strip()
    except OSError as error:
        raise StaffSettingsError("no-token-file", str(path)) from error
    if stat.S_IMODE(mode) & 0o077:
        raise StaffSettingsError("open-token-file", f"{path} must have mode 0600")
    if not MIN_TOKEN_BYTES <= len(data) <= MAX_TOKEN_BYTES or not data.isascii():
        raise StaffSettingsError("bad-token-file", f"{MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES} ASCII characters")
    return data


def create_secret_file(path: Path, text: str) -> None:
    """Write `text` and a line end to a new file of mode 0600.

    Raises: StaffUsageError(file-exists, cannot-write).
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise StaffUsageError("file-exists", str(path)) from error
    except OSError as error:
        raise StaffUsageError("cannot-write", str(path)) from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
