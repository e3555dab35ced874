"""Where each leaf of the log stands: leaf hash → first index, so that no entry is logged twice.

    <directory>/covered        tree size up to which every leaf is in the tables, durably
    <directory>/00 … 3f        64 tables: the first 6 bits of a leaf hash say which is the leaf's

A table is an array of slots in a file that is mapped into memory: the first 8 bytes of the leaf hash, then the leaf's
number plus one (0: free). The next bits of the hash say where its home is; it stands in the first slot from there on
that was free, past the last slot from the first one on. A table that is half full is written anew with twice the slots
and renamed into place. So a leaf costs the same at any size of the log, and growing stops it for a 64th of the work.

The tables are a cache and are not believed: a leaf counts as found where the published tiles hold that very leaf,
all 32 bytes of it. What they have to be is complete. A killed process loses nothing, as the kernel has the pages. A
power cut may lose slots, but none below `covered`, which moves after they are on disk; what lies above is read from the
tiles again, and the same leaf added again at its number changes nothing. On doubt (a table missing or of the wrong
length, another format) the index begins anew at 0. A disk that fails under a mapped page ends the process.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from chain.files import TEMPORARY_SUFFIX, FileTree, sync_directory
from verifier.formats.merkle import HASH_BYTES

PORTION: Final = 131_072  # leaves after which `covered` moves: at most so many are read again after a restart
FIRST_BITS: Final = 9  # a new table has 2**9 slots
_SHARD_BITS: Final = 6
_SHARDS: Final = 1 << _SHARD_BITS
_KEY_BITS: Final = 64
_KEYS_A_HASH: Final = HASH_BYTES * 8 // _KEY_BITS
_SLOT_BYTES: Final = 16
_PASS_WORDS: Final = 8192  # read at a time when a whole table is gone through
_FORMAT: Final = f"akashi leaf index 1 {sys.byteorder}"
_COVERED: Final = "covered"


# Answers the published leaves of these numbers; a number beyond the published tree is left out.
ReadLeaves = Callable[[Collection[int]], Mapping[int, bytes]]


class _DamagedError(Exception):
    """These files are no index."""


class _Table:
    """One table. `words` holds key and number by turns; `(key >> shift & mask) << 1` is where a search begins."""

    __slots__ = ("_map", "free", "last", "mask", "path", "shift", "words")

    def __init__(self, path: Path, size: int) -> None:
        slots = size // _SLOT_BYTES
        if size % _SLOT_BYTES or slots < 2 or slots & (slots - 1):
            raise _DamagedError
        self.path = path
        self.mask = slots - 1
        self.last = 2 * slots - 1  # mask of a position in `words`
        self.shift = _KEY_BITS - _SHARD_BITS - (slots.bit_length() - 1)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)
        self.words = memoryview(self._map).cast("Q")
        # how many more leaves fit; half of the slots stay free, so that a search ends, and soon
        self.free = slots // 2 - sum(len(words) // 2 - words[1::2].count(0) for words in self.passes())
        if self.free < 0:
            self.close()
            raise _DamagedError

    @classmethod
    def create(cls, path: Path, slots: int) -> _Table:
        with path.open("wb") as file:
            # a full disk must show here: later it would end the process
            os.posix_fallocate(file.fileno(), 0, slots * _SLOT_BYTES)
        return cls(path, slots * _SLOT_BYTES)

    def passes(self) -> Iterator[list[int]]:
        """All words, a part at a time."""
        for start in range(0, len(self.words), _PASS_WORDS):
            yield self.words[start : start + _PASS_WORDS].tolist()

    def put(self, key: int, number: int) -> bool:
        """Add a leaf (its number plus one); False, and nothing done, if the table has to grow first."""
        words, last = self.words, self.last
        at = (key >> self.shift & self.mask) << 1
        while other := words[at + 1]:
            if other == number and words[at] == key:
                return True
            at = at + 2 & last
        if self.free <= 0:
            return False
        words[at] = key  # before the number, without which the slot is free
        words[at + 1] = number
        self.free -= 1
        return True

    def grow(self) -> _Table:
        """The same leaves under the same name with twice the slots. This table is closed."""
        path = self.path.with_name(self.path.name + TEMPORARY_SUFFIX)
        table = _Table.create(path, 2 * (self.mask + 1))
        words, shift, mask, last = table.words, table.shift, table.mask, table.last
        for slots in self.passes():
            for key, number in zip(slots[::2], slots[1::2], strict=True):
                if number:
                    at = (key >> shift & mask) << 1
                    while words[at + 1]:
                        at = at + 2 & last
                    words[at] = key
                    words[at + 1] = number
                    table.free -= 1
        table.flush()
        path.replace(self.path)
        table.path = self.path
        sync_directory(self.path.parent)
        self.close()
        return table

    def flush(self) -> None:
        """On disk when this returns."""
        self._map.flush()

    def close(self) -> None:
        self.words.release()
        self._map.close()


class LeafIndex:
    """First index of each leaf hash. For one thread at a time to add; any thread may ask."""

    def __init__(self, directory: Path, read_leaves: ReadLeaves) -> None:
        """Open the index in `directory`, or begin it.

        Raises: OSError.
        """
        self._files = FileTree(directory)
        self._read_leaves = read_leaves
        self._lock = threading.Lock()
        self._tables: list[_Table] = []
        self._covered = self._durable = 0
        try:
            self._open()
        except (_DamagedError, FileNotFoundError):
            self._begin()

    def covered(self) -> int:
        """The tree size up to which every leaf is in the index."""
        with self._lock:
            return self._covered

    def find(self, leaves: Sequence[bytes]) -> dict[bytes, int]:
        """The first index of those of `leaves` that are in the published tree.

        Raises: what `read_leaves` raises.
        """
        seen: list[tuple[bytes, int]] = []
        with self._lock:
            tables = self._tables
            for leaf, key in zip(leaves, _keys(leaves), strict=True):
                table = tables[key >> _KEY_BITS - _SHARD_BITS]
                words, last = table.words, table.last
                at = (key >> table.shift & table.mask) << 1
                while number := words[at + 1]:
                    if words[at] == key:
                        seen.append((leaf, number - 1))
                    at = at + 2 & last
        found: dict[bytes, int] = {}
        if seen:
            published = self._read_leaves({number for _, number in seen})
            for leaf, number in seen:
                if published.get(number) == leaf and number < found.get(leaf, number + 1):
                    found[leaf] = number
        return found

    def add(self, start: int, leaves: Sequence[bytes]) -> None:
        """Add the leaves from index `start` on, which leaves no gap; leaves added before do no harm.

        Raises: ValueError for a gap, OSError.
        """
        with self._lock:
            if start > self._covered:
                raise ValueError(f"leaves {self._covered} to {start} are not in the index")
            tables = self._tables
            for number, key in enumerate(_keys(leaves), start + 1):
                shard = key >> _KEY_BITS - _SHARD_BITS
                while not tables[shard].put(key, number):
                    tables[shard] = tables[shard].grow()
            self._covered = max(self._covered, start + len(leaves))
            if self._covered - self._durable >= PORTION:
                self._set_durable(self._covered)

    def clear(self) -> None:
        """Forget everything: the log will fill it again."""
        with self._lock:
            self._begin()

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            self._release()

    def _open(self) -> None:
        form, _, size = (self._files.find(_COVERED) or b"").decode("ascii", "replace").partition("\n")
        if form != _FORMAT or not size.strip().isdecimal():
            raise _DamagedError
        for path in self._paths():
            self._tables.append(_Table(path, path.stat().st_size))
        self._covered = self._durable = int(size)

    def _begin(self) -> None:
        self._release()
        self._covered = 0
        self._set_durable(0)  # first: emptied tables must never pass for full ones
        for path in self._paths():
            self._tables.append(_Table.create(path, 1 << FIRST_BITS))

    def _set_durable(self, size: int) -> None:
        for table in self._tables:
            table.flush()
        self._files.replace(_COVERED, f"{_FORMAT}\n{size}\n".encode("ascii"))
        self._durable = size

    def _release(self) -> None:
        for table in self._tables:
            table.close()
        self._tables = []

    def _paths(self) -> Iterator[Path]:
        return (self._files.directory / f"{shard:02x}" for shard in range(_SHARDS))


def _keys(leaves: Sequence[bytes]) -> array[int]:
    # the first 8 bytes of each, as numbers
    keys = array("Q", b"".join(leaves))[::_KEYS_A_HASH]
    if sys.byteorder == "little":
        keys.byteswap()
    return keys
