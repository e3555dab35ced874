"""The trust directory of a verifier (`--trust DIR`): one accepted list for each city, as `<city>.root.json`.

What lies in the directory is what its owner has accepted: by fingerprint at first contact (`add`), then
version by version (`update`). Lists of mock and of real cities never lie in one directory. Files are
replaced in one step, and never by an older version: a check page and commands may use one directory at once.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from verifier.errors import TrustError, UsageError
from verifier.trust import TrustList, accept_trust_list, load_trust_list, verify_trust_list

SUFFIX: Final = ".root.json"
MAX_UPDATES: Final = 256
MAX_CITIES: Final = 4096


@dataclass(frozen=True, slots=True)
class TrustStore:
    """A directory of accepted trust lists. Methods raise FormatError, TrustError, UsageError."""

    directory: Path

    def lists(self) -> tuple[TrustList, ...]:
        """Every accepted list, in the order of city codes.

        Raises: TrustError("no-trust") when there is none, TrustError("mock-mix"), UsageError.
        """
        if not self.directory.is_dir():
            raise UsageError("no-directory", "the trust directory does not exist")
        paths = sorted(self.directory.glob("*" + SUFFIX))[:MAX_CITIES]
        lists = tuple(load_trust_list(_read(path)) for path in paths)
        if not lists:
            raise TrustError("no-trust", "the trust directory holds no trust list; use `trust add`")
        for path, trust in zip(paths, lists, strict=True):
            if path.name != trust.content.city + SUFFIX:
                raise TrustError("other-city", f"{path.name} holds the list of {trust.content.city}")
        if len({trust.content.mock for trust in lists}) > 1:
            raise TrustError("mock-mix", "mock (模擬) and real trust lists never lie in one directory")
        return lists

    def find(self, city: str) -> TrustList | None:
        """The accepted list of `city`, if any."""
        path = self._path(city)
        return load_trust_list(_read(path)) if path.is_file() else None

    def add(self, data: bytes, fingerprint: str) -> TrustList:
        """First contact with a city, or a fresh start with it; older than the known list is refused."""
        trust = accept_trust_list(data, fingerprint)
        known = self.find(trust.content.city)
        if known is not None and known.version > trust.version:
            raise TrustError("rollback", f"version {known.version} is known already")
        if known is not None and known.version == trust.version:
            verify_trust_list(data, known)
        others = self.lists() if self.directory.is_dir() and any(self.directory.glob("*" + SUFFIX)) else ()
        if any(other.content.mock != trust.content.mock for other in others):
            raise TrustError("mock-mix", "mock (模擬) and real trust lists never lie in one directory")
        self._write(trust)
        return trust

    def update(self, city: str, versions: Sequence[bytes]) -> TrustList:
        """Follow `versions` (files, oldest first) from the known list of `city`;

        stops at the first refusal.
        """
        known = self.find(city)
        if known is None:
            raise TrustError("no-trust", f"no list of {city} is known; use `trust add`")
        for data in versions[:MAX_UPDATES]:
            known = verify_trust_list(data, known)
            self._write(known)
        return known

    def _path(self, city: str) -> Path:
        if len(city) != 6 or not city.isascii() or not city.isdigit():
            raise UsageError("bad-city", "a city code has six digits")
        return self.directory / (city + SUFFIX)

    def _write(self, trust: TrustList) -> None:
        path = self._path(trust.content.city)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            # a name of its own: others may write at the same time
            fresh = path.with_suffix(f".{secrets.token_hex(8)}.new")
            try:
                with fresh.open("xb") as file:
                    file.write(trust.data)
                    file.flush()
                    os.fsync(file.fileno())  # a list that is lost at a power cut would be a roll-back
                present = self.find(trust.content.city)
                if present is None or present.version <= trust.version:
                    fresh.replace(path)
            finally:
                fresh.unlink(missing_ok=True)
        except OSError as error:
            raise UsageError("cannot-write", f"{path.name}: {error.strerror}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError("cannot-read", f"{path.name}: {error.strerror}") from error
