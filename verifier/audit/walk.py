"""The walk: every entry bundle and every tile of a log, read once, left to right, recomputed from the entries up.

Kept in memory is the right edge (at most 255 hashes a level), so that a log of any size fits; roots of earlier sizes
are computed in passing. Where an entry bundle and its tile disagree, the tile above (or the signed root) decides which
of them was changed, and the walk goes on with the other. A walk may begin at an edge that an earlier audit computed.
Sources: C2SP tlog-tiles, RFC 9162 section 2.1. It asks for no signature: `auditor` compares the roots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from verifier.audit.findings import Findings
from verifier.audit.log_source import NOT_FOUND, LogSource
from verifier.errors import FormatError, LimitError, SourceError
from verifier.formats.merkle import EMPTY_ROOT, HASH_BYTES, leaf_hash, node_hash
from verifier.formats.tiles import (
    TILE_HEIGHT,
    TILE_WIDTH,
    entries_path,
    fold,
    parse_entries,
    parse_tile,
    tile_path,
    tile_width,
)

ENTRY_BYTES: Final = 32
MAX_TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES
MAX_BUNDLE_BYTES: Final = TILE_WIDTH * (2 + ENTRY_BYTES)
MAX_MORE: Final = 900
"""Findings beyond the listed ones after which a walk ends: a log that is all faults needs no further reading."""

Progress = Callable[[int, int], None]


class WalkBrokenError(Exception):
    """Neither an entry bundle nor its tile can be had, or nothing but faults: the rest cannot be recomputed."""


class Walk:
    """One walk from `start_size` leaves (whose perfect subtrees have the roots `frontier`) to `size` leaves.

    `wanted` are sizes whose roots are to be kept. After `run`, `roots` has them and `root` the whole tree's;
    `position` and `frontier()` say how far the walk came, also when it was interrupted by SourceError.
    """

    def __init__(
        self,
        source: LogSource,
        size: int,
        signed_root: bytes,
        findings: Findings,
        *,
        wanted: Iterable[int] = (),
        progress: Progress = lambda _done, _total: None,
    ) -> None:
        self._source, self._findings, self._progress = source, findings, progress
        self.size, self._signed_root = size, signed_root
        self._wanted = sorted({item for item in wanted if 0 < item <= size}, reverse=True)
        self._edge: list[list[bytes]] = []
        self._done: list[list[bytes]] = []  # the edge at `position`; hashes in it are never changed
        self.position = 0
        self.root = EMPTY_ROOT
        self.roots: dict[int, bytes] = {}
        self.files = 0

    def resume(self, start_size: int, frontier: Sequence[bytes]) -> bool:
        """Begin at an earlier audit's edge: the open tiles are read again and must lead to its hashes.

        Answers False, and begins at the first leaf, if they do not: the whole walk then says what was changed.
        Raises: SourceError.
        """
        edge: list[list[bytes]] = []
        try:
            for level in range((start_size.bit_length() + TILE_HEIGHT - 1) // TILE_HEIGHT):
                number, width = divmod(start_size >> (TILE_HEIGHT * level), TILE_WIDTH)
                edge.append(self._read_tile(level, number)[:width] if width else [])
        except FormatError:
            return False
        except SourceError as error:
            if error.code != NOT_FOUND:
                raise
            return False
        if list(_frontier(edge)) != list(frontier):
            return False
        self._edge, self._done, self.position = edge, list(edge), start_size
        self._wanted = [item for item in self._wanted if item > start_size]
        return True

    def run(self) -> None:
        """Walk to the end. Raises: SourceError (an outage; may be resumed), WalkBrokenError."""
        for number in range(self.position // TILE_WIDTH, (self.size + TILE_WIDTH - 1) // TILE_WIDTH):
            if self._findings.more > MAX_MORE:
                raise WalkBrokenError("too many faults to go on")
            width = tile_width(self.size, 0, number)
            leaves = self._leaves(number, width)
            self._keep_roots(number * TILE_WIDTH, leaves)
            self._set(0, leaves)
            if width == TILE_WIDTH:
                self._carry()
                self._done, self.position = list(self._edge), (number + 1) * TILE_WIDTH
                self._progress(self.position, self.size)
        for level in range(1, len(self._edge)):
            if self._edge[level]:
                self._compare(level, (self.size >> (TILE_HEIGHT * level)) // TILE_WIDTH, self._edge[level])
        self._done, self.position = list(self._edge), self.size
        self.root = fold(self.frontier())
        self._progress(self.size, self.size)

    def frontier(self) -> list[bytes]:
        """Roots of the perfect subtrees of the tree of `position` leaves, largest first."""
        return list(_frontier(self._done))

    # -- upwards -------------------------------------------------------------------------------------------

    def _set(self, level: int, hashes: list[bytes]) -> None:
        while len(self._edge) <= level:
            self._edge.append([])
        self._edge[level] = hashes

    def _carry(self) -> None:
        # full tiles become one hash of the level above, which may become full by it
        level = 0
        while len(self._edge[level]) == TILE_WIDTH:
            above = self._edge[level + 1] if level + 1 < len(self._edge) else []
            self._set(level + 1, [*above, _perfect_root(self._edge[level])])
            self._edge[level] = []
            level += 1
            if len(self._edge[level]) == TILE_WIDTH:
                done = (self.position // TILE_WIDTH + 1) * TILE_WIDTH
                self._compare(level, (done >> (TILE_HEIGHT * (level + 1))) - 1, self._edge[level])

    def _keep_roots(self, start: int, leaves: list[bytes]) -> None:
        above = self._edge[1:]
        while self._wanted and self._wanted[-1] <= start + len(leaves):
            size = self._wanted.pop()
            self.roots[size] = fold([*_frontier([leaves[: size - start], *above])])

    # -- reading -------------------------------------------------------------------------------------------

    def _leaves(self, number: int, width: int) -> list[bytes]:
        """The leaf hashes below tile `number` of level 0, after bundle and tile were held against each other."""
        bundle, tile = entries_path(number, width), tile_path(0, number, width)
        from_bundle = self._judged("entries", bundle, lambda: self._read_bundle(number, width))
        from_tile = self._judged("tile", tile, lambda: self._read_tile(0, number))
        leaves = self._decided(number, from_bundle, from_tile, (bundle, tile))
        self._check_partials(entries_path(number), leaves, is_bundle=True)
        self._check_partials(tile_path(0, number), leaves)
        return leaves

    def _decided(
        self,
        number: int,
        from_bundle: list[bytes] | None,
        from_tile: list[bytes] | None,
        paths: tuple[str, str],
    ) -> list[bytes]:
        if from_bundle is None and from_tile is None:
            raise WalkBrokenError(paths[1])
        if from_bundle is None or from_tile is None or from_bundle == from_tile:
            return from_bundle or from_tile or []
        difference = _first_difference(number, from_bundle, from_tile)
        if self._is_tile_right(number, from_bundle, from_tile):
            self._findings.add("entries-mismatch", paths[0], difference)
            return from_tile
        self._findings.add("tile-mismatch", paths[1], difference)
        return from_bundle

    def _is_tile_right(self, number: int, from_bundle: list[bytes], from_tile: list[bytes]) -> bool:
        if len(from_tile) < TILE_WIDTH:  # the last one: the signed root decides
            above = self._edge[1:]
            return fold(list(_frontier([from_tile, *above]))) == self._signed_root
        try:
            above_hash = self._read_tile(1, number // TILE_WIDTH)[number % TILE_WIDTH]
        except FormatError:
            return False
        except SourceError as error:
            if error.code != NOT_FOUND:
                raise
            return False
        return _perfect_root(from_tile) == above_hash != _perfect_root(from_bundle)

    def _compare(self, level: int, number: int, computed: list[bytes]) -> None:
        path = tile_path(level, number, len(computed))
        found = self._judged("tile", path, lambda: self._read_tile(level, number))
        self._check_partials(tile_path(level, number), computed)
        if found is not None and found != computed:
            self._findings.add("tile-mismatch", path, "not the roots of the tiles below it")

    def _judged(self, what: str, path: str, read: Callable[[], list[bytes]]) -> list[bytes] | None:
        try:
            return read()
        except FormatError as error:
            self._findings.add(f"{what}-malformed", path, error.detail)
        except SourceError as error:
            if error.code != NOT_FOUND:
                raise
            self._findings.add(f"{what}-missing", path)
        return None

    def _read_tile(self, level: int, number: int) -> list[bytes]:
        width = tile_width(self.size, level, number)
        data = self._fetch(
            tile_path(level, number, width), tile_path(level, number), MAX_TILE_BYTES, width * HASH_BYTES
        )
        return parse_tile(data, width)

    def _read_bundle(self, number: int, width: int) -> list[bytes]:
        entry_size = 2 + ENTRY_BYTES
        data = self._fetch(
            entries_path(number, width), entries_path(number), MAX_BUNDLE_BYTES, width * entry_size
        )
        return _hash_entries(data, width)

    def _fetch(self, path: str, full_path: str, max_bytes: int, length: int) -> bytes:
        self.files += 1
        try:
            return self._source.fetch(path, max_bytes)
        except SourceError as error:
            if error.code != NOT_FOUND or path == full_path:
                raise
        # a log may drop a partial file once the full one exists; it begins with the same bytes
        data = self._source.fetch(full_path, max_bytes)
        if len(data) != max_bytes:
            raise FormatError("bad-tile", f"{full_path} is not full")
        return data[:length]

    def _check_partials(self, path: str, hashes: list[bytes], *, is_bundle: bool = False) -> None:
        for width in self._source.list_widths(path):
            if width >= len(hashes):
                continue
            name = f"{path}.p/{width}"
            try:
                data = self._source.fetch(name, MAX_BUNDLE_BYTES)
                older = _hash_entries(data, width) if is_bundle else parse_tile(data, width)
            except (FormatError, SourceError):
                older = []
            if older != hashes[:width]:
                self._findings.add("partial-mismatch", name)


def _hash_entries(data: bytes, width: int) -> list[bytes]:
    entries = parse_entries(data, width)
    if any(len(entry) != ENTRY_BYTES for entry in entries):
        raise LimitError("bad-entry", f"an entry that has not {ENTRY_BYTES} bytes")
    return [leaf_hash(entry) for entry in entries]


def _perfect_root(hashes: Sequence[bytes]) -> bytes:
    layer = list(hashes)
    while len(layer) > 1:
        layer = [node_hash(layer[i], layer[i + 1]) for i in range(0, len(layer), 2)]
    return layer[0]


def _frontier(edge: Sequence[Sequence[bytes]]) -> Iterator[bytes]:
    # the open tiles from the highest level down, each cut into its perfect subtrees, largest first
    for hashes in reversed(edge):
        start = 0
        while start < len(hashes):
            width = 1 << ((len(hashes) - start).bit_length() - 1)
            yield _perfect_root(hashes[start : start + width])
            start += width


def _first_difference(number: int, one: list[bytes], other: list[bytes]) -> str:
    position = next(i for i, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1])
    return f"first at leaf {number * TILE_WIDTH + position}"
