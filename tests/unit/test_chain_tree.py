"""The growing tree: whatever the batches, its files are those that the definition of tiles demands."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.tree import EMPTY_TREE, extend, load_tree
from verifier.errors import FormatError, SourceError
from verifier.formats import tiles
from verifier.formats.merkle import EMPTY_ROOT, leaf_hash, node_hash


def definition(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162 section 2.1.1."""
    if len(leaves) < 2:
        return leaves[0] if leaves else EMPTY_ROOT
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node_hash(definition(leaves[:k]), definition(leaves[k:]))


def entry(number: int) -> bytes:
    return number.to_bytes(32, "big")


def grow(batches: list[int]):
    tree, files, count = EMPTY_TREE, {}, 0
    for batch in batches:
        extension = extend(tree, [entry(count + i) for i in range(batch)])
        for path, data in extension.files:
            assert files.get(path, data) == data, "a published file may never change"
            files[path] = data
        tree, count = extension.tree, count + batch
    return tree, files, count


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=6))
def test_any_batches_give_the_tree_of_their_entries(batches: list[int]) -> None:
    tree, files, size = grow(batches)
    leaves = [leaf_hash(entry(i)) for i in range(size)]
    root = definition(leaves)
    assert (tree.size, tree.root()) == (size, root)
    for level, number, width in tiles.list_tiles(size):
        assert tiles.tile_path(level, number, width) in files
    assert tiles.TileReader(size, files.__getitem__).root() == root
    assert load_tree(size, files.__getitem__) == tree


def test_a_tree_of_three_levels_has_the_files_of_the_definition() -> None:
    size = 65_536 + 300
    tree, files, _ = grow([65_000, 536, 299, 1])
    leaves = [leaf_hash(entry(i)) for i in range(size)]
    assert tree.root() == definition(leaves)
    expected_top = [definition(leaves[:65_536])]
    assert tiles.parse_tile(files["tile/2/000.p/1"], 1) == expected_top
    assert tiles.parse_tile(files["tile/1/000"], 256)[7] == definition(leaves[7 * 256 : 8 * 256])
    assert tiles.parse_entries(files["tile/entries/256"], 256)[3] == entry(65_539)
    assert "tile/0/257.p/44" in files
    assert load_tree(size, files.__getitem__).root() == tree.root()


def test_extending_leaves_the_old_tree_as_it_was() -> None:
    tree, _, _ = grow([300])
    before = tree.root()
    extension = extend(tree, [entry(1000)])
    assert tree.root() == before != extension.tree.root()
    assert "tile/0/001.p/45" in dict(extension.files)
    assert extend(tree, []).tree == tree
    assert extend(tree, []).files == (
        ("tile/entries/001.p/44", dict(grow([300])[1])["tile/entries/001.p/44"]),
    )


def test_obsolete_partial_tiles_are_named_when_the_full_one_exists() -> None:
    tree, _, _ = grow([200])
    extension = extend(tree, [entry(200 + i) for i in range(100)])
    assert set(extension.obsolete) == {"tile/entries/000.p", "tile/0/000.p"}


@pytest.mark.parametrize("bad", [b"", b"a" * 31, b"a" * 33])
def test_entries_of_another_length_are_refused(bad: bytes) -> None:
    with pytest.raises(FormatError, match="bad-entry"):
        extend(EMPTY_TREE, [b"a" * 32, bad])


def test_a_damaged_right_edge_is_not_loaded() -> None:
    _, files, size = grow([300])

    def fetch(path: str) -> bytes:
        if path not in files:
            raise SourceError("not-found", path)
        return files[path]

    files["tile/entries/001.p/44"] = files["tile/entries/001.p/44"][:-1] + b"\x00"
    with pytest.raises(FormatError, match="bad-entry-bundle"):
        load_tree(size, fetch)
    del files["tile/0/001.p/44"]
    with pytest.raises(SourceError):
        load_tree(size, fetch)
