"""Tiles of a log (C2SP tlog-tiles): their paths, their bytes, and the proofs that can be computed from them.

A tile holds 256 hashes (8,192 bytes); level 0 has leaf hashes, level L+1 the roots of full tiles of level L.
Only the right edge has partial tiles (`.p/<W>`). Entry bundles sit beside them: big-endian 16-bit length,
entry, and so on. `TileReader` computes roots, inclusion and consistency paths for one tree size through a
`fetch(path) -> bytes` callable that is handed in (files, HTTP, a dictionary). It trusts nobody and verifies
nothing: what it computes must be checked against a signed root with `merkle.verify_inclusion` or
`merkle.verify_consistency`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from verifier.errors import FormatError, SourceError
from verifier.formats.merkle import EMPTY_ROOT, HASH_BYTES, MAX_TREE_SIZE, node_hash, node_hashes

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
MAX_TILE_LEVEL: Final = 63
MAX_ENTRY_BYTES: Final = 0xFFFF

# Gets a path below the log's address; answers the file's bytes or raises SourceError (also for "there is
# none").
Fetch = Callable[[str], bytes]


def tile_path(level: int, number: int, width: int = TILE_WIDTH) -> str:
    """Path of a tile of hashes below the log's address, for example `tile/0/x001/234.p/56`."""
    if not 0 <= level <= MAX_TILE_LEVEL:
        raise FormatError("bad-tile-path", "no such level")
    return f"tile/{level}/{_numbered(number, width)}"


def entries_path(number: int, width: int = TILE_WIDTH) -> str:
    """Path of an entry bundle below the log's address, for example `tile/entries/x001/234`."""
    return f"tile/entries/{_numbered(number, width)}"


def tile_width(size: int, level: int, number: int) -> int:
    """How many hashes tile `number` of `level` has in a tree of `size` leaves; 0 if there is no such tile."""
    return max(0, min(TILE_WIDTH, (size >> (TILE_HEIGHT * level)) - number * TILE_WIDTH))


def list_tiles(size: int) -> Iterator[tuple[int, int, int]]:
    """Every tile (level, number, width) of a tree of `size` leaves, lowest level first."""
    level = 0
    while (count := size >> (TILE_HEIGHT * level)) > 0:
        for number in range((count + TILE_WIDTH - 1) // TILE_WIDTH):
            yield level, number, tile_width(size, level, number)
        level += 1


def parse_tile(data: bytes, width: int) -> list[bytes]:
    """The `width` hashes of a tile.

    Raises: FormatError("bad-tile").
    """
    if not 0 < width <= TILE_WIDTH or len(data) != width * HASH_BYTES:
        raise FormatError("bad-tile", f"a tile that has not {width} hashes")
    return [data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES)]


def parse_entries(data: bytes, width: int) -> list[bytes]:
    """The `width` entries of a bundle.

    Raises: FormatError("bad-entry-bundle").
    """
    entries: list[bytes] = []
    start = 0
    while start < len(data) and len(entries) <= width:
        length = int.from_bytes(data[start : start + 2], "big")
        entry = data[start + 2 : start + 2 + length]
        if start + 2 > len(data) or len(entry) != length:
            raise FormatError("bad-entry-bundle", "an entry is cut short")
        entries.append(entry)
        start += 2 + length
    if len(entries) != width:
        raise FormatError("bad-entry-bundle", f"a bundle that has not {width} entries")
    return entries


def format_entries(entries: Sequence[bytes]) -> bytes:
    """Inverse of `parse_entries`; each entry at most 65,535 bytes."""
    lengths = set(map(len, entries))
    if max(lengths, default=0) > MAX_ENTRY_BYTES:
        raise FormatError("bad-entry-bundle", "an entry is too long for a bundle")
    if len(lengths) == 1:
        prefix = lengths.pop().to_bytes(2, "big")
        return prefix + prefix.join(entries)
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def fold(hashes: Sequence[bytes]) -> bytes:
    """Root of a tree whose perfect subtrees have these roots, largest (leftmost) first."""
    if not hashes:
        return EMPTY_ROOT
    result = hashes[-1]
    for left in reversed(hashes[:-1]):
        result = node_hash(left, result)
    return result


class TileReader:
    """Roots and proofs of one tree size, computed from fetched tiles; each tile is fetched once.

    Its methods raise SourceError if a tile cannot be had and FormatError if it has the wrong length.
    """

    def __init__(self, size: int, fetch: Fetch) -> None:
        if not 0 <= size <= MAX_TREE_SIZE:
            raise FormatError("bad-number", "no such tree size")
        self.size = size
        self._fetch = fetch
        self._tiles: dict[tuple[int, int], list[list[bytes]]] = {}

    def root(self) -> bytes:
        """Root hash of the tree."""
        return self._range_hash(0, self.size)

    def leaf(self, index: int) -> bytes:
        """Leaf hash number `index`."""
        return self._subtree(0, index)

    def tile(self, level: int, number: int) -> list[bytes]:
        """The hashes of one tile as it is in this tree, as far as they exist."""
        return self._layers(level, number)[0]

    def read_tile(self, level: int, number: int) -> list[bytes]:
        """As `tile`, but read anew and not kept: for a glance at many tiles."""
        return self._read(level, number)

    def inclusion_path(self, index: int) -> tuple[bytes, ...]:
        """Inclusion path of leaf `index`, its sibling first (RFC 9162 section 2.1.3.1).

        Raises: FormatError("index-outside-tree"), SourceError.
        """
        if not 0 <= index < self.size:
            raise FormatError("index-outside-tree", f"leaf {index} is not in a tree of {self.size} leaves")
        begin, end, path = 0, self.size, []
        while end - begin > 1:
            middle = begin + _split(end - begin)
            if index < middle:
                path.append(self._range_hash(middle, end))
                end = middle
            else:
                path.append(self._range_hash(begin, middle))
                begin = middle
        return tuple(reversed(path))

    def consistency_path(self, old_size: int) -> tuple[bytes, ...]:
        """Consistency path from the tree of `old_size` leaves to this one (RFC 9162 section 2.1.4.1).

        Empty for `old_size` 0 and for equal sizes.
        Raises: FormatError("sizes-not-growing"), SourceError.
        """
        if not 0 <= old_size <= self.size:
            raise FormatError("sizes-not-growing", f"{self.size} does not extend {old_size}")
        if old_size in (0, self.size):
            return ()
        begin, end, path, is_whole = 0, self.size, [], True
        while old_size != end:
            middle = begin + _split(end - begin)
            if old_size <= middle:
                path.append(self._range_hash(middle, end))
                end = middle
            else:
                path.append(self._range_hash(begin, middle))
                begin, is_whole = middle, False
        if not is_whole:
            path.append(self._range_hash(begin, end))
        return tuple(reversed(path))

    def _range_hash(self, begin: int, end: int) -> bytes:
        return fold([self._subtree(height, start >> height) for height, start in _decompose(begin, end)])

    def _subtree(self, height: int, index: int) -> bytes:
        level, within = divmod(height, TILE_HEIGHT)
        number, position = divmod(index << within, TILE_WIDTH)
        return self._layers(level, number)[within][position >> within]

    def _layers(self, level: int, number: int) -> list[list[bytes]]:
        # layer k of a tile holds the roots of its complete subtrees of 2**k hashes
        layers = self._tiles.get((level, number))
        if layers is None:
            layers = [self._read(level, number)]
            while len(layers[-1]) > 1:
                layers.append(node_hashes(layers[-1]))
            self._tiles[level, number] = layers
        return layers

    def _read(self, level: int, number: int) -> list[bytes]:
        width = tile_width(self.size, level, number)
        try:
            data = self._fetch(tile_path(level, number, width))
        except SourceError:
            if width == TILE_WIDTH:
                raise
            # a log may drop a partial tile once the full one exists; its first hashes are the same
            data = self._fetch(tile_path(level, number))
            if len(data) != TILE_WIDTH * HASH_BYTES:
                raise FormatError("bad-tile", "a full tile that has not 256 hashes") from None
            data = data[: width * HASH_BYTES]
        return parse_tile(data, width)


def _decompose(begin: int, end: int) -> Iterator[tuple[int, int]]:
    # (height, first leaf) of the perfect subtrees of D[begin:end], largest first; begin is aligned by
    # construction
    while begin < end:
        height = (end - begin).bit_length() - 1
        yield height, begin
        begin += 1 << height


def _split(count: int) -> int:
    # the largest power of two below count (RFC 9162 section 2.1.1)
    return 1 << ((count - 1).bit_length() - 1)


def _numbered(number: int, width: int) -> str:
    if number < 0 or not 0 < width <= TILE_WIDTH:
        raise FormatError("bad-tile-path", "no such tile")
    text = f"{number % 1000:03d}"
    while number >= 1000:
        number //= 1000
        text = f"x{number % 1000:03d}/{text}"
    return text if width == TILE_WIDTH else f"{text}.p/{width}"
