"""The Merkle tree of the log: RFC 9162 section 2.1 with SHA-256. Hashes and proof checks, nothing else.

leaf = SHA-256(0x00 ‖ entry), node = SHA-256(0x01 ‖ left ‖ right), the empty tree is SHA-256("").
A proof either fits or raises: ignoring the outcome would be wrong, so there is nothing to ignore.
This module builds no trees (`chain.tree` does), reads no tiles (`tiles` does) and knows no signature.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Final

from verifier.errors import FormatError

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
MAX_TREE_SIZE: Final = (1 << 63) - 1
# An inclusion path has at most 63 hashes below 2**63 leaves; a consistency path at most one more.
MAX_PATH: Final = 64


class ProofError(FormatError):
    """A Merkle proof is malformed or does not lead to the root it should lead to."""


class InclusionError(ProofError):
    """The leaf is not shown to be in the tree."""


class ConsistencyError(ProofError):
    """The newer tree is not shown to be an extension of the older one."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one log entry as a leaf, 32 bytes (RFC 9162 section 2.1.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node, 32 bytes (RFC 9162 section 2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """`leaf_hash` of each entry; for many, as a call for each costs as much as the hash."""
    sha256 = hashlib.sha256
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def node_hashes(hashes: Sequence[bytes]) -> list[bytes]:
    """`node_hash` of each two neighbours: the layer above `hashes`; a last one without neighbour is left out."""
    sha256 = hashlib.sha256
    pairs = zip(hashes[::2], hashes[1::2], strict=False)
    return [sha256(b"\x01" + left + right).digest() for left, right in pairs]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf` (a leaf hash) is number `index` of the tree of `size` leaves under `root`.

    RFC 9162 section 2.1.3.2. `path` runs from the leaf's sibling upwards.
    Raises: InclusionError("index-outside-tree", "bad-hash-length", "path-too-long", "path-too-short",
    "root-mismatch").
    """
    if not 0 <= index < size <= MAX_TREE_SIZE:
        raise InclusionError("index-outside-tree", f"leaf {index} is not in a tree of {size} leaves")
    _check_hashes(InclusionError, leaf, root, *path)
    position, last, computed = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise InclusionError("path-too-long", "the inclusion path is too long for this tree")
        if position & 1 or position == last:
            computed = node_hash(sibling, computed)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, sibling)
        position >>= 1
        last >>= 1
    if last:
        raise InclusionError("path-too-short", "the inclusion path is too short for this tree")
    if not hmac.compare_digest(computed, root):
        raise InclusionError("root-mismatch", "the inclusion path does not lead to the root")


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> None:
    """Check that the tree (`new_size`, `new_root`) extends the tree (`old_size`, `old_root`).

    RFC 9162 section 2.1.4.2. Equal sizes need equal roots and an empty path. The empty tree is extended by
    every tree, so that nothing could be shown: an `old_size` of 0 is refused unless both trees are empty.
    Raises: ConsistencyError("sizes-not-growing", "nothing-to-prove", "bad-hash-length",
    "path-too-long", "path-too-short", "root-mismatch").
    """
    if not 0 <= old_size <= new_size <= MAX_TREE_SIZE:
        raise ConsistencyError("sizes-not-growing", f"{new_size} does not extend {old_size}")
    _check_hashes(ConsistencyError, old_root, new_root, *path)
    if old_size == new_size:
        if path:
            raise ConsistencyError("path-too-long", "there is nothing to prove here, yet a path is given")
        is_fixed = old_size > 0 or hmac.compare_digest(old_root, EMPTY_ROOT)
        if not is_fixed or not hmac.compare_digest(old_root, new_root):
            raise ConsistencyError("root-mismatch", "two roots for one size")
        return
    if old_size == 0:
        raise ConsistencyError("nothing-to-prove", "every tree extends the empty tree")
    hashes = list(path)
    if old_size & (old_size - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        raise ConsistencyError("path-too-short", "the consistency path is empty")
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old_computed = new_computed = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise ConsistencyError("path-too-long", "the consistency path is too long")
        if position & 1 or position == last:
            old_computed = node_hash(sibling, old_computed)
            new_computed = node_hash(sibling, new_computed)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            new_computed = node_hash(new_computed, sibling)
        position >>= 1
        last >>= 1
    if last:
        raise ConsistencyError("path-too-short", "the consistency path is too short")
    if not hmac.compare_digest(old_computed, old_root):
        raise ConsistencyError("root-mismatch", "the path does not lead to the older root")
    if not hmac.compare_digest(new_computed, new_root):
        raise ConsistencyError("root-mismatch", "the path does not lead to the newer root")


def _check_hashes(error: type[ProofError], *hashes: bytes) -> None:
    if len(hashes) > MAX_PATH + 2:
        raise error("path-too-long", f"more than {MAX_PATH} hashes")
    if any(len(item) != HASH_BYTES for item in hashes):
        raise error("bad-hash-length", "a hash does not have 32 bytes")
