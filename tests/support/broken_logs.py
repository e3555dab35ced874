"""The log process with one mistake built in: what the fault tests must find. `python -m tests.support.broken_logs` runs the
mistake that AKASHI_TEST_MISTAKE names.

    forgets-index   a restart does not know the entries that are in the log: they go in again
    signs-first     asks for a signature before the head is committed: a crash in between signs another root
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, Final

from chain import service
from chain.log import Log
from chain.stores import Head, HeadStore


def _forget_index() -> None:
    Log._fill_index = lambda _self: None  # type: ignore[method-assign]


def _sign_first() -> None:
    commit, sign = HeadStore.commit, HeadStore.sign
    waiting: dict[int, tuple[Any, ...]] = {}

    def later(self: HeadStore, old: Head, tree: Any, digest: bytes) -> Head:
        waiting[id(self)] = (old, tree, digest)
        return Head(tree.size, tree.root(), tuple(tree.frontier()), old.size, digest, None)

    def both(self: HeadStore, head: Head, checkpoint: bytes, paths: Iterable[str]) -> Head:
        if id(self) in waiting:
            commit(self, *waiting.pop(id(self)))
        return sign(self, head, checkpoint, paths)

    HeadStore.commit = later  # type: ignore[method-assign]
    HeadStore.sign = both  # type: ignore[method-assign]


MISTAKES: Final = {"forgets-index": _forget_index, "signs-first": _sign_first}


if __name__ == "__main__":
    MISTAKES[os.environ["AKASHI_TEST_MISTAKE"]]()
    sys.exit(service.main())
