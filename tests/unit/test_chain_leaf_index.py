"""The index of leaves: exact answers whatever the hashes, and nothing lost by a kill, a power cut or a full disk."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain import leaf_index
from chain.leaf_index import FIRST_BITS, LeafIndex

ROOT = Path(__file__).resolve().parents[2]
PAGE = 4096


def leaf(number: int) -> bytes:
    return random.Random(number).randbytes(32)


def twin(number: int, prefix: bytes = bytes(8)) -> bytes:
    """One of many leaves that begin alike."""
    return prefix + number.to_bytes(32 - len(prefix), "big")


class Tiles:
    """The published leaves, which the index is checked against."""

    def __init__(self, leaves: list[bytes] | None = None) -> None:
        self.leaves = leaves or []

    def read(self, numbers: Collection[int]) -> dict[int, bytes]:
        return {number: self.leaves[number] for number in numbers if number < len(self.leaves)}

    def append(self, index: LeafIndex, leaves: list[bytes]) -> None:
        start = len(self.leaves)
        self.leaves += leaves
        index.add(start, leaves)

    def refill(self, index: LeafIndex) -> None:
        """What the log does at its start."""
        index.add(index.covered(), self.leaves[index.covered() :])

    def lost(self, index: LeafIndex) -> int:
        """How many leaves are not found where they first stand."""
        first: dict[bytes, int] = {}
        for number, one in enumerate(self.leaves):
            first.setdefault(one, number)
        found = index.find(list(first))
        return sum(found.get(one) != number for one, number in first.items())


@pytest.fixture
def tiles() -> Tiles:
    return Tiles()


@pytest.fixture
def portions(monkeypatch: pytest.MonkeyPatch) -> int:
    """`covered` moves often."""
    monkeypatch.setattr(leaf_index, "PORTION", 1000)
    return 1000


@pytest.fixture
def open_index(tmp_path: Path, tiles: Tiles):
    opened: list[LeafIndex] = []

    def open_again(directory: Path = tmp_path / "index") -> LeafIndex:
        while opened:
            opened.pop().close()
        opened.append(LeafIndex(directory, tiles.read))
        return opened[-1]

    yield open_again
    for index in opened:
        index.close()


# -- answers
# -------------------------------------------------------------------------------------------------------


def test_a_leaf_has_its_first_index_and_a_stranger_has_none(open_index, tiles) -> None:
    index = open_index()
    tiles.append(index, [leaf(0), leaf(1)])
    tiles.append(index, [leaf(1), leaf(2), leaf(2)])
    assert index.find([leaf(2), leaf(1), leaf(9), leaf(0)]) == {leaf(2): 3, leaf(1): 1, leaf(0): 0}
    assert index.find([]) == {}
    assert index.covered() == 5
    with pytest.raises(ValueError, match="leaves 5 to 6"):
        index.add(6, [leaf(6)])


def test_leaves_that_begin_alike_are_never_taken_for_each_other(open_index, tiles) -> None:
    index = open_index()
    alike = [twin(number) for number in range(40)]
    tiles.append(index, alike)
    assert index.find([*alike, twin(40)]) == {one: number for number, one in enumerate(alike)}
    assert index.find([alike[0][:31] + b"\x01"]) == {alike[1]: 1}, "the last bit decides"
    assert index.find([twin(41)]) == {}


def test_an_index_that_believes_its_own_tables_is_caught(open_index, tiles, monkeypatch) -> None:
    """Positive control of the test above."""
    index = open_index()
    tiles.append(index, [twin(0)])
    monkeypatch.setattr(index, "_read_leaves", lambda numbers: dict.fromkeys(numbers, twin(1)))
    assert index.find([twin(1)]) == {twin(1): 0}


def test_leaves_beyond_the_published_tree_are_not_found_yet(open_index, tiles) -> None:
    index = open_index()
    index.add(0, [leaf(0), leaf(1)])
    tiles.leaves.append(leaf(0))
    assert index.find([leaf(0), leaf(1)]) == {leaf(0): 0}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60)), max_size=80), max_size=6),
    st.integers(1, 40),
)
def test_it_answers_as_a_dictionary_does(tmp_path_factory, batches, portion: int) -> None:
    """Leaves of four beginnings only, so that they collide; opened anew after each batch."""
    directory = tmp_path_factory.mktemp("index")
    tiles = Tiles()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaf_index, "PORTION", portion)
        for batch in batches:
            index = LeafIndex(directory / "index", tiles.read)
            tiles.refill(index)
            tiles.append(index, [twin(number, bytes([start << 6]) * 8) for start, number in batch])
            assert tiles.lost(index) == 0
            assert index.find([twin(61)]) == {}
            index.close()
    shutil.rmtree(directory)


def test_crowded_tables_grow_and_keep_everything(open_index, tiles) -> None:
    index = open_index()
    tiles.append(index, [leaf(number) for number in range(60_000)])
    assert {len(table.words) // 2 for table in index._tables} == {1 << FIRST_BITS + 2}
    assert tiles.lost(index) == 0
    assert index.find([leaf(60_000)]) == {}
    assert not list(index._files.directory.glob("*.tmp"))


def test_leaves_that_all_begin_alike_cost_no_more_room(open_index, tiles) -> None:
    """Whoever chooses them cannot make a table grow beyond four slots a leaf, nor a search leave its table."""
    index = open_index()
    tiles.append(index, [twin(number, b"\xff" * 8) for number in range(1000)])
    assert len(index._tables[-1].words) // 2 == 2048
    assert tiles.lost(index) == 0
    assert index.find([twin(1000, b"\xff" * 8)]) == {}


# -- loss
# ----------------------------------------------------------------------------------------------------------


def test_a_reopened_index_goes_on_from_the_last_portion(open_index, tiles, portions) -> None:
    index = open_index()
    tiles.append(index, [leaf(number) for number in range(portions + 1)])
    tiles.append(index, [leaf(number) for number in range(portions + 1, portions + 500)])
    index = open_index()
    assert index.covered() == portions + 1
    tiles.refill(index)
    assert (index.covered(), tiles.lost(index)) == (portions + 500, 0)
    index.clear()
    assert (index.covered(), index.find([leaf(1)])) == (0, {})
    tiles.refill(index)
    assert tiles.lost(index) == 0


def test_slots_of_a_lost_history_do_no_harm(open_index, tiles) -> None:
    """An index is newer than the restored log: its slots name leaves that never came to be."""
    index = open_index()
    tiles.append(index, [twin(number) for number in range(20)])
    tiles.leaves = [twin(number) for number in (3, 100, 5, 101)]
    index = open_index()
    tiles.refill(index)
    assert tiles.lost(index) == 0
    assert index.find([twin(0), twin(19)]) == {}
    tiles.append(index, [twin(number, b"\x00\x01") for number in range(1 << FIRST_BITS)])  # grows over them
    assert tiles.lost(index) == 0


def damage_remove_table(directory: Path) -> None:
    (directory / "2a").unlink()


def damage_shorten_table(directory: Path) -> None:
    (directory / "00").write_bytes((directory / "00").read_bytes()[:-16])


def damage_empty_table(directory: Path) -> None:
    (directory / "3f").write_bytes(b"")


def damage_fill_table(directory: Path) -> None:
    (directory / "01").write_bytes(b"\x01" * (directory / "01").stat().st_size)


def damage_remove_covered(directory: Path) -> None:
    (directory / "covered").unlink()


def damage_covered(text: str) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        (directory / "covered").write_text(text, encoding="ascii")

    return damage


OTHER_ORDER = {"little": "big", "big": "little"}[sys.byteorder]


@pytest.mark.parametrize(
    "damage",
    [
        damage_remove_table,
        damage_shorten_table,
        damage_empty_table,
        damage_fill_table,
        damage_remove_covered,
        damage_covered(""),
        damage_covered("garbage"),
        damage_covered(f"akashi leaf index 1 {sys.byteorder}\n-5\n"),
        damage_covered(f"akashi leaf index 1 {OTHER_ORDER}\n2000\n"),
        damage_covered(f"akashi leaf index 2 {sys.byteorder}\n2000\n"),
    ],
)
def test_a_damaged_index_begins_anew(open_index, tiles, portions, damage) -> None:
    index = open_index()
    tiles.append(index, [leaf(number) for number in range(2 * portions)])
    index = open_index()
    assert index.covered() == 2 * portions, "undamaged it goes on"
    index.close()
    damage(index._files.directory)
    index = open_index()
    assert index.covered() == 0
    tiles.refill(index)
    assert tiles.lost(index) == 0


STEPS = ["create", "flush", "sync_directory", "replace"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_full_disk_or_a_crash_while_growing_loses_nothing(
    open_index, tiles, monkeypatch, step: str, after: bool
) -> None:
    index = open_index()
    full = 1 << FIRST_BITS - 1
    tiles.append(index, [twin(number, b"\x00") for number in range(full)])
    owner, name = {
        "create": (os, "posix_fallocate"),
        "flush": (leaf_index._Table, "flush"),
        "replace": (Path, "replace"),
        "sync_directory": (leaf_index, "sync_directory"),
    }[step]
    original = getattr(owner, name)

    def fail(*arguments: object) -> None:
        if after:
            original(*arguments)
        raise OSError(errno.ENOSPC, "injected")

    tiles.leaves += [one := bytes(1) + b"\x00\xff" + bytes(29)]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        with pytest.raises(OSError, match="injected"):
            index.add(full, [one])
    assert index.covered() == full
    shutil.copytree(index._files.directory, index._files.directory.with_name("crashed"))
    tiles.refill(index)
    assert tiles.lost(index) == 0, "in the same process, when there is room again"
    index = open_index(index._files.directory.with_name("crashed"))
    tiles.refill(index)
    assert tiles.lost(index) == 0, "in the next process"


class PowerCut:
    """What is on disk for certain: each table as it was when it was last flushed."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._flushed: dict[str, bytes] = {}
        flush, sync = leaf_index._Table.flush, leaf_index.sync_directory

        def recording_flush(table: leaf_index._Table) -> None:
            flush(table)
            self._flushed[str(table.path)] = bytes(table._map)

        def recording_sync(directory: Path) -> None:
            sync(directory)
            for path in [path for path in self._flushed if path.endswith(".tmp")]:
                self._flushed[path.removesuffix(".tmp")] = self._flushed.pop(path)

        patch.setattr(leaf_index._Table, "flush", recording_flush)
        patch.setattr(leaf_index, "sync_directory", recording_sync)

    def strike(self, directory: Path, target: Path, chance: random.Random) -> None:
        """Write to `target` what may be left of `directory`: of each page the flushed bytes or the newest."""
        target.mkdir()
        shutil.copy(directory / "covered", target / "covered")  # replaced durably
        for path in directory.glob("??"):
            newest = path.read_bytes()
            flushed = self._flushed.get(str(path), bytes(len(newest)))
            assert len(flushed) == len(newest), "a table that took another's name is on disk"
            pages = range(0, len(newest), PAGE)
            kept = [(newest if chance.random() < 0.5 else flushed)[page : page + PAGE] for page in pages]
            (target / path.name).write_bytes(b"".join(kept))


def lost_by_power_cuts(index: LeafIndex, tiles: Tiles, cut: PowerCut, directory: Path) -> int:
    chance, lost = random.Random(7), 0
    for number in range(40):
        size = chance.randrange(1, 700)
        tiles.append(index, [leaf(len(tiles.leaves) + i) for i in range(size)])
        target = directory / f"cut-{number}"
        cut.strike(index._files.directory, target, chance)
        left = LeafIndex(target, tiles.read)
        tiles.refill(left)
        lost += tiles.lost(left)
        left.close()
        shutil.rmtree(target)
    return lost


def test_a_power_cut_loses_no_leaf(open_index, tiles, portions, monkeypatch, tmp_path) -> None:
    cut = PowerCut(monkeypatch)
    assert lost_by_power_cuts(open_index(), tiles, cut, tmp_path) == 0
    assert len(tiles.leaves) > 10 * portions


def test_an_index_that_does_not_flush_before_it_says_so_is_caught(
    open_index, tiles, portions, monkeypatch, tmp_path
) -> None:
    """Positive control of the test above."""
    cut = PowerCut(monkeypatch)
    index = open_index()

    def hasty(size: int) -> None:
        index._files.replace("covered", f"akashi leaf index 1 {sys.byteorder}\n{size}\n".encode())
        index._durable = size

    monkeypatch.setattr(index, "_set_durable", hasty)
    assert lost_by_power_cuts(index, tiles, cut, tmp_path) > 0


WRITER = """
import random, sys
from pathlib import Path
from chain import leaf_index
leaf_index.PORTION = 3000
start, directory = int(sys.argv[1]), Path(sys.argv[2])
def leaf(number): return random.Random(number).randbytes(32)
index = leaf_index.LeafIndex(directory, lambda numbers: {})
number = index.covered()
while True:
    count = 1 + number % 400
    index.add(number, [leaf(number + i) for i in range(count)])
    number += count
    print(number, flush=True)
"""


def test_a_killed_process_loses_no_leaf(tmp_path: Path) -> None:
    """SIGKILL wherever it happens to be, ten times over one index; each process goes on where its tables say."""
    directory, chance, size = tmp_path / "index", random.Random(11), 0
    for _ in range(10):
        target = size + chance.randrange(1, 9000)
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(size), str(directory)], stdout=subprocess.PIPE, cwd=ROOT
        ) as writer:
            assert writer.stdout is not None
            while size < target:
                size = int(writer.stdout.readline())
            writer.kill()
        tiles = Tiles([leaf(number) for number in range(size)])
        index = LeafIndex(directory, tiles.read)
        assert 0 <= index.covered() <= size + 400
        found = index.find(tiles.leaves)
        assert found == {one: number for number, one in enumerate(tiles.leaves)}, "the kernel has every page"
        index.close()
