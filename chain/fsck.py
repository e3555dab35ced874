"""Re-derive the whole log from its entries and compare with everything it has published.

Every entry bundle is hashed into leaves, every leaf into tiles, every tile into the root; the checkpoint's
signature, each receipt and, if given, the committed head must agree. Reads only; works on a copy, and while
the log runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chain.files import FileTree
from chain.tree import perfect_root
from verifier.errors import FormatError, SourceError
from verifier.formats.chain_anchor import parse_receipt_text
from verifier.formats.checkpoint import verify_public_checkpoint
from verifier.formats.merkle import leaf_hash
from verifier.formats.signed_note import VerifierKey, parse_note, verify_exact
from verifier.formats.tiles import (
    TILE_WIDTH,
    TileReader,
    entries_path,
    list_tiles,
    parse_entries,
    parse_tile,
    tile_path,
)

MAX_FINDINGS: Final = 100


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What was read, and what does not fit; a sound log has no findings."""

    size: int
    tiles: int
    receipts: int
    findings: tuple[str, ...]


def check_log(directory: Path, key: VerifierKey) -> FsckReport:
    """Check the public files below `directory` (the one that holds `checkpoint`)."""
    files = FileTree(directory)
    try:
        checkpoint = verify_public_checkpoint(files.read("checkpoint"), key).checkpoint
    except (SourceError, FormatError) as error:
        return FsckReport(0, 0, 0, (f"checkpoint: {error}",))
    size, level_now, tiles = checkpoint.size, 0, 0
    findings: list[str] = []
    roots: dict[int, bytes] = {}  # of the full tiles of this level, by number
    below: dict[int, bytes] = {}  # and of the level below
    for level, number, width in list_tiles(size):
        if level != level_now:
            level_now, below, roots = level, roots, {}
        try:
            hashes = parse_tile(_read(files, tile_path(level, number, width), width * 32), width)
            expected = (
                _leaves(files, number, width)
                if level == 0
                else [below[number * TILE_WIDTH + position] for position in range(width)]
            )
            if hashes != expected:
                findings.append(f"{tile_path(level, number, width)} is not what lies below it")
            if width == TILE_WIDTH:
                roots[number] = perfect_root(expected)
        except (SourceError, FormatError, KeyError) as error:
            findings.append(f"{tile_path(level, number, width)}: {error}")
        tiles += 1
        if len(findings) >= MAX_FINDINGS:
            return FsckReport(size, tiles, 0, tuple(findings))
    if not findings and TileReader(size, files.read).root() != checkpoint.root:
        findings.append("the tiles do not lead to the checkpoint's root")
    receipts = sorted((directory / "receipts").glob("[0-9]*")) if (directory / "receipts").is_dir() else []
    for path in receipts:
        findings += _check_receipt(files, path.name, key, size)
    return FsckReport(size, tiles, len(receipts), tuple(findings))


def _check_receipt(files: FileTree, name: str, key: VerifierKey, size: int) -> list[str]:
    try:
        note = parse_note(files.read(f"receipts/{name}"))
        verify_exact(note, [key])
        receipt = parse_receipt_text(note.text)
        if str(receipt.size) != name or receipt.origin != key.name or receipt.size > size:
            return [f"receipts/{name} is of another checkpoint"]
        if _root_at(files, receipt.size, size) != receipt.root:
            return [f"receipts/{name} has another root than the log had at that size"]
    except (SourceError, FormatError) as error:
        return [f"receipts/{name}: {error}"]
    return []


def _root_at(files: FileTree, size: int, whole: int) -> bytes:
    newest = TileReader(whole, files.read)

    def fetch(path: str) -> bytes:
        base, _, width = path.partition(".p/")
        _, level, rest = base.split("/", 2)
        number = int(rest.replace("x", "").replace("/", ""))
        return b"".join(newest.tile(int(level), number)[: int(width or TILE_WIDTH)])

    return TileReader(size, fetch).root()


def _leaves(files: FileTree, number: int, width: int) -> list[bytes]:
    data = files.find(entries_path(number, width))
    if data is None:
        return [leaf_hash(entry) for entry in parse_entries(files.read(entries_path(number)), TILE_WIDTH)][
            :width
        ]
    return [leaf_hash(entry) for entry in parse_entries(data, width)]


def _read(files: FileTree, path: str, length: int) -> bytes:
    data = files.find(path)
    return files.read(path.partition(".p/")[0])[:length] if data is None else data
