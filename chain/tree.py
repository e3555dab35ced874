"""The growing Merkle tree: only its right edge, and the files that each batch of entries adds to it.

A tree of any size is kept as the open (partial) tile of each level and the open entry bundle: at most 256
hashes a level. `extend` answers a new tree and the full and partial tiles that the batch brings, and leaves
the old tree as it was, so that nothing has to be undone when a later step fails. Hash rules are
`verifier.formats.merkle`'s. This module touches no disk and holds no lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from verifier.errors import FormatError
from verifier.formats.merkle import leaf_hashes, node_hashes
from verifier.formats.tiles import (
    TILE_HEIGHT,
    TILE_WIDTH,
    Fetch,
    TileReader,
    entries_path,
    fold,
    format_entries,
    parse_entries,
    tile_path,
)

ENTRY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Tree:
    """The right edge of a tree of `size` leaves."""

    size: int
    open_tiles: tuple[tuple[bytes, ...], ...]  # by level, without an empty highest level
    open_entries: tuple[
        bytes, ...
    ]  # entries of the open bundle, as many as the open tile of level 0 has hashes

    def frontier(self) -> list[bytes]:
        """Roots of the perfect subtrees that the tree consists of, largest first."""
        hashes: list[bytes] = []
        for hashes_of_level in reversed(self.open_tiles):
            start = 0
            while start < len(hashes_of_level):
                width = 1 << ((len(hashes_of_level) - start).bit_length() - 1)
                hashes.append(perfect_root(hashes_of_level[start : start + width]))
                start += width
        return hashes

    def root(self) -> bytes:
        """Root hash, 32 bytes; of the empty tree SHA-256 of nothing."""
        return fold(self.frontier())


EMPTY_TREE = Tree(0, (), ())


@dataclass(frozen=True, slots=True)
class Extension:
    """What a batch of entries makes of a tree."""

    tree: Tree
    leaves: tuple[bytes, ...]  # leaf hashes of the batch, in order
    files: tuple[tuple[str, bytes], ...]  # (path, bytes) of every tile and bundle the batch brings
    obsolete: tuple[str, ...]  # directories of partial tiles whose full tile now exists


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Root over a power of two of hashes."""
    layer = hashes
    while len(layer) > 1:
        layer = node_hashes(layer)
    return layer[0]


def extend(tree: Tree, entries: Sequence[bytes]) -> Extension:
    """Append entries to `tree`.

    Raises: FormatError("bad-entry") on an entry that has not 32 bytes.
    """
    if set(map(len, entries)) - {ENTRY_BYTES}:
        raise FormatError("bad-entry", "an entry of this log has 32 bytes")
    files: list[tuple[str, bytes]] = []
    obsolete: list[str] = []
    bundle = list(tree.open_entries)
    number = (tree.size - len(bundle)) // TILE_WIDTH
    bundle += entries
    while len(bundle) >= TILE_WIDTH:
        files.append((entries_path(number), format_entries(bundle[:TILE_WIDTH])))
        obsolete.append(f"{entries_path(number)}.p")
        del bundle[:TILE_WIDTH]
        number += 1
    if bundle:
        files.append((entries_path(number, len(bundle)), format_entries(bundle)))

    leaves = tuple(leaf_hashes(entries))
    size = tree.size + len(leaves)
    arriving = list(leaves)
    tiles: list[tuple[bytes, ...]] = []
    for level in range((size.bit_length() + TILE_HEIGHT - 1) // TILE_HEIGHT):
        hashes = list(tree.open_tiles[level]) if level < len(tree.open_tiles) else []
        before = tree.size >> (TILE_HEIGHT * level)
        number = (before - len(hashes)) // TILE_WIDTH
        is_changed = bool(arriving)
        hashes += arriving
        arriving = []
        start = 0
        while len(hashes) - start >= TILE_WIDTH:
            full = hashes[start : start + TILE_WIDTH]
            files.append((tile_path(level, number), b"".join(full)))
            obsolete.append(f"{tile_path(level, number)}.p")
            arriving.append(perfect_root(full))
            start += TILE_WIDTH
            number += 1
        hashes = hashes[start:]
        if hashes and is_changed:
            files.append((tile_path(level, number, len(hashes)), b"".join(hashes)))
        tiles.append(tuple(hashes))
    while tiles and not tiles[-1]:
        tiles.pop()
    return Extension(Tree(size, tuple(tiles), tuple(bundle)), leaves, tuple(files), tuple(obsolete))


def load_tree(size: int, fetch: Fetch) -> Tree:
    """Read the right edge of a tree of `size` leaves from its files.

    The caller compares `root()` with what was signed. Raises: SourceError, FormatError.
    """
    tiles: list[tuple[bytes, ...]] = []
    reader = TileReader(size, fetch)
    level = 0
    while size >> (TILE_HEIGHT * level):
        count = size >> (TILE_HEIGHT * level)
        tiles.append(tuple(reader.tile(level, count // TILE_WIDTH)) if count % TILE_WIDTH else ())
        level += 1
    while tiles and not tiles[-1]:
        tiles.pop()
    number, width = divmod(size, TILE_WIDTH)
    if not width:
        return Tree(size, tuple(tiles), ())
    entries = parse_entries(fetch(entries_path(number, width)), width)
    if leaf_hashes(entries) != list(tiles[0]):
        raise FormatError("bad-entry-bundle", "the open bundle does not hash to the open tile")
    return Tree(size, tuple(tiles), tuple(entries))
