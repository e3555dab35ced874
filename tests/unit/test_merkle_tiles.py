"""Merkle proofs against the recursive definition of RFC 9162, and tiles against their specification."""

from __future__ import annotations

import pytest

from verifier.errors import FormatError, SourceError
from verifier.formats import tiles
from verifier.formats.merkle import (
    EMPTY_ROOT,
    ConsistencyError,
    InclusionError,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)


def definition(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162 section 2.1.1, as written there."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(definition(leaves[:k]), definition(leaves[k:]))


def write_tiles(leaves: list[bytes]) -> dict[str, bytes]:
    """All tiles of a tree, made straight from the definition in C2SP tlog-tiles."""
    files = {}
    for level, number, width in tiles.list_tiles(len(leaves)):
        span = 256**level
        first = number * 256
        hashes = [definition(leaves[(first + i) * span : (first + i + 1) * span]) for i in range(width)]
        files[tiles.tile_path(level, number, width)] = b"".join(hashes)
    return files


def reader(files: dict[str, bytes], size: int) -> tiles.TileReader:
    def fetch(path: str) -> bytes:
        if path not in files:
            raise SourceError("not-found", path)
        return files[path]

    return tiles.TileReader(size, fetch)


LEAVES = [leaf_hash(bytes([i % 256, i // 256])) for i in range(600)]


@pytest.mark.parametrize("size", [*range(1, 18), 255, 256, 257, 511, 512, 600])
def test_every_proof_of_small_trees_verifies_and_no_neighbour_does(size: int) -> None:
    leaves = LEAVES[:size]
    root = definition(leaves)
    tree = reader(write_tiles(leaves), size)
    assert tree.root() == root
    for index in range(size) if size < 20 else (0, 1, size // 2, 255 % size, size - 1):
        path = tree.inclusion_path(index)
        verify_inclusion(leaves[index], index, size, path, root)
        for wrong in (index - 1, index + 1):
            if 0 <= wrong < size:
                with pytest.raises(InclusionError):
                    verify_inclusion(leaves[index], wrong, size, path, root)
        with pytest.raises(InclusionError):
            verify_inclusion(leaves[index], index, size, (*path, root), root)
        if path:
            with pytest.raises(InclusionError):
                verify_inclusion(leaves[index], index, size, path[:-1], root)
    for old in range(1, size + 1) if size < 20 else (1, 64, 128, 200, 254, size - 1, size):
        path = tree.consistency_path(old)
        verify_consistency(old, definition(leaves[:old]), size, root, path)
        with pytest.raises(ConsistencyError):
            verify_consistency(old, leaf_hash(b"other"), size, root, path)
        if old < size:
            with pytest.raises(ConsistencyError):
                verify_consistency(old, definition(leaves[:old]), size, root, path[:-1])
            with pytest.raises(ConsistencyError):
                verify_consistency(old, definition(leaves[:old]), size, leaf_hash(b"other"), path)


def test_the_empty_tree_proves_nothing_and_equal_sizes_need_equal_roots() -> None:
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, ())
    verify_consistency(3, definition(LEAVES[:3]), 3, definition(LEAVES[:3]), ())
    with pytest.raises(ConsistencyError, match="nothing-to-prove"):
        verify_consistency(0, EMPTY_ROOT, 3, definition(LEAVES[:3]), ())
    with pytest.raises(ConsistencyError, match="root-mismatch"):
        verify_consistency(0, LEAVES[0], 0, LEAVES[0], ())
    with pytest.raises(ConsistencyError, match="root-mismatch"):
        verify_consistency(3, LEAVES[0], 3, LEAVES[1], ())
    with pytest.raises(ConsistencyError, match="path-too-long"):
        verify_consistency(3, LEAVES[0], 3, LEAVES[0], (LEAVES[0],))
    with pytest.raises(ConsistencyError, match="sizes-not-growing"):
        verify_consistency(4, definition(LEAVES[:4]), 3, definition(LEAVES[:3]), ())


def test_hashes_of_another_length_are_refused() -> None:
    with pytest.raises(InclusionError, match="bad-hash-length"):
        verify_inclusion(LEAVES[0], 0, 2, (LEAVES[1][:31],), definition(LEAVES[:2]))
    with pytest.raises(InclusionError, match="index-outside-tree"):
        verify_inclusion(LEAVES[0], 2, 2, (LEAVES[1],), definition(LEAVES[:2]))


def test_paths_of_tiles_follow_the_examples_of_the_specification() -> None:
    assert tiles.tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert tiles.tile_path(2, 0, 1) == "tile/2/000.p/1"
    assert tiles.entries_path(273, 112) == "tile/entries/273.p/112"
    widths = {}
    for level, number, width in tiles.list_tiles(70_000):
        widths.setdefault(level, []).append(width)
        assert tiles.tile_width(70_000, level, number) == width
    assert widths == {0: [256] * 273 + [112], 1: [256, 17], 2: [1]}
    assert list(tiles.list_tiles(256)) == [(0, 0, 256), (1, 0, 1)]
    assert tiles.tile_width(70_000, 0, 274) == 0
    for bad in ((0, -1, 256), (64, 0, 256), (0, 0, 0), (0, 0, 257)):
        with pytest.raises(FormatError):
            tiles.tile_path(*bad)


def test_a_dropped_partial_tile_is_read_from_the_full_one() -> None:
    files = write_tiles(LEAVES[:300])
    older = reader(files, 200)  # its partial tile tile/0/000.p/200 does not exist any more
    assert older.root() == definition(LEAVES[:200])
    verify_inclusion(LEAVES[7], 7, 200, older.inclusion_path(7), definition(LEAVES[:200]))
    with pytest.raises(SourceError):
        reader(files, 290).root()  # the right edge is still partial and there is no full tile


def test_tiles_and_bundles_of_another_length_are_refused() -> None:
    files = write_tiles(LEAVES[:10])
    files[tiles.tile_path(0, 0, 10)] += b"\x00"
    with pytest.raises(FormatError, match="bad-tile"):
        reader(files, 10).root()
    entries = [b"a" * 32, b"", b"b" * 70]
    data = tiles.format_entries(entries)
    assert tiles.parse_entries(data, 3) == entries
    for bad, width in ((data, 2), (data, 4), (data[:-1], 3), (data + b"\x00", 3)):
        with pytest.raises(FormatError, match="bad-entry-bundle"):
            tiles.parse_entries(bad, width)
