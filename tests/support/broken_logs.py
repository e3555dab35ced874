"""The log process with one mistake built in: what the fault tests must find. `python -m tests.support.broken_logs` runs the
mistake that AKASHI_TEST_MISTAKE names.

    adds-again      does not look whether an entry is in the log already: what is sent again goes in again
    signs-first     asks for a signature a moment before the head is committed: a crash in between signs another root
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from chain import service
from chain.leaf_index import LeafIndex
from chain.log import Log
from chain.sequencer import Sequencer
from chain.stores import Head, HeadStore

WINDOW_SECONDS: Final = 0.08  # wide enough that some kill of a short storm falls into it


class _Blind:
    """An index that knows nothing when it is asked."""

    def __init__(self, index: LeafIndex) -> None:
        self._index = index

    def find(self, _leaves: Sequence[bytes]) -> dict[bytes, int]:
        return {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)


def _add_again() -> None:
    append = Log.append

    def blindly(self: Log, entries: Sequence[bytes], *, cover: bool = False) -> list[int]:
        index = self.index
        self.index = _Blind(index)  # type: ignore[assignment]
        try:
            return append(self, entries, cover=cover)
        finally:
            self.index = index

    def take_all(self: Sequencer, entries: Sequence[bytes]) -> None:
        with self._changed:
            self._waiting.update(dict.fromkeys(entries))

    Log.append = blindly  # type: ignore[method-assign]
    Sequencer.submit = take_all  # type: ignore[method-assign]


def _sign_first() -> None:
    commit, sign = HeadStore.commit, HeadStore.sign
    waiting: dict[int, tuple[Any, ...]] = {}

    def later(self: HeadStore, old: Head, tree: Any, digest: bytes) -> Head:
        waiting[id(self)] = (old, tree, digest)
        return Head(tree.size, tree.root(), tuple(tree.frontier()), old.size, digest, None)

    def both(self: HeadStore, head: Head, checkpoint: bytes, paths: Iterable[str]) -> Head:
        if id(self) in waiting:
            time.sleep(WINDOW_SECONDS)
            commit(self, *waiting.pop(id(self)))
        return sign(self, head, checkpoint, paths)

    HeadStore.commit = later  # type: ignore[method-assign]
    HeadStore.sign = both  # type: ignore[method-assign]


MISTAKES: Final = {"adds-again": _add_again, "signs-first": _sign_first}


if __name__ == "__main__":
    MISTAKES[os.environ["AKASHI_TEST_MISTAKE"]]()
    sys.exit(service.main())
