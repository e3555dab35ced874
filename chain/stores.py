"""Stores of the log: the head (compare-and-swap), the queues behind it, the staged batch.

What each keeps and what its loss means:
  HeadStore      the committed (size, root) and its signature. Durable before it answers. Losing it ends the log.
  upload, stamp  rows of the same transaction as the signature: what is signed will be uploaded and stamped.
  Staging        the entries of the batch being added, durable before the head moves; useless once it is published.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from chain import database
from chain.errors import LogRefused
from chain.files import FileTree
from chain.tree import ENTRY_BYTES, Tree
from verifier.formats.encoding import sha256
from verifier.formats.merkle import EMPTY_ROOT, HASH_BYTES
from verifier.formats.signed_note import parse_note

MAX_WAITING_STAMPS: Final = 1000


@dataclass(frozen=True, slots=True)
class Head:
    """The committed head of the log. Without a signature it is the root that will be signed next, and no
    other.
    """

    size: int
    root: bytes
    frontier: tuple[bytes, ...]
    previous_size: int
    staged_sha256: bytes
    signature: bytes | None


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that the street door must get."""

    number: int
    path: str
    data: bytes | None  # None: the bytes are in the log's directory and never change


class HeadStore:
    """Compare-and-swap of the head of one origin, and the queues that move with it."""

    def __init__(self, engine: Engine, origin: str) -> None:
        self.engine = engine
        self.origin = origin

    def create(self) -> None:
        """Begin the log: size 0, nothing to sign."""
        row = {
            "origin": self.origin,
            "size": 0,
            "root": EMPTY_ROOT,
            "frontier": b"",
            "previous_size": 0,
            "staged_sha256": b"",
            "signature": b"",
        }
        with self.engine.begin() as connection:
            connection.execute(sa.insert(database.head).values(row))

    def read(self) -> Head:
        """The committed head.

        Raises: LogRefused("no-head").
        """
        query = sa.select(database.head).where(database.head.c.origin == self.origin)
        with self.engine.begin() as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise LogRefused("no-head", f"this database does not belong to {self.origin}")
        frontier = row["frontier"]
        return Head(
            size=row["size"],
            root=row["root"],
            frontier=tuple(frontier[i : i + HASH_BYTES] for i in range(0, len(frontier), HASH_BYTES)),
            previous_size=row["previous_size"],
            staged_sha256=row["staged_sha256"],
            signature=row["signature"],
        )

    def commit(self, old: Head, tree: Tree, staged_sha256: bytes) -> Head:
        """Move the head from `old`, which must be signed, to `tree`, unsigned. Durable when it returns.

        Raises: LogRefused("head-moved"): another process owns this log.
        """
        new = Head(tree.size, tree.root(), tuple(tree.frontier()), old.size, staged_sha256, None)
        change = (
            sa.update(database.head)
            .where(
                database.head.c.origin == self.origin,
                database.head.c.size == old.size,
                database.head.c.root == old.root,
                database.head.c.signature.is_not(None),
            )
            .values(
                size=new.size,
                root=new.root,
                frontier=b"".join(new.frontier),
                previous_size=new.previous_size,
                staged_sha256=staged_sha256,
                signature=None,
            )
        )
        with self.engine.begin() as connection:
            if connection.execute(change).rowcount != 1:
                raise LogRefused("head-moved", "the head is not the one this process knows")
        return new

    def sign(self, head: Head, checkpoint: bytes, paths: Iterable[str]) -> Head:
        """Store the signature of the committed head, taken from its note.

        In the same transaction its files and its time stamp are queued.
        Raises: LogRefused("head-moved").
        """
        signature = parse_note(checkpoint).signatures[0].signature
        change = (
            sa.update(database.head)
            .where(
                database.head.c.origin == self.origin,
                database.head.c.size == head.size,
                database.head.c.root == head.root,
                database.head.c.signature.is_(None),
            )
            .values(signature=signature)
        )
        rows: list[dict[str, str | bytes | None]] = [{"path": path, "data": None} for path in paths]
        rows.append({"path": "checkpoint", "data": checkpoint})
        with self.engine.begin() as connection:
            if connection.execute(change).rowcount != 1:
                raise LogRefused("head-moved", "the head is not the one this process knows")
            connection.execute(sa.insert(database.upload), rows)
            connection.execute(
                sa.insert(database.stamp).values(size=head.size, digest=sha256(checkpoint)),
            )
        return dataclasses.replace(head, signature=signature)

    def queue_upload(self, path: str) -> None:
        """Queue one more file that never changes (receipt, time stamp); twice does no harm."""
        with self.engine.begin() as connection:
            connection.execute(sa.insert(database.upload).values(path=path, data=None))

    def queue_replacement(self, path: str, data: bytes) -> None:
        """Queue a file that replaces its predecessor (`anchored`), with its bytes of now."""
        with self.engine.begin() as connection:
            connection.execute(sa.insert(database.upload).values(path=path, data=data))

    def next_uploads(self, limit: int) -> list[Upload]:
        """The oldest queued files, in order."""
        query = sa.select(database.upload).order_by(database.upload.c.id).limit(limit)
        with self.engine.begin() as connection:
            rows = connection.execute(query).mappings().all()
        return [Upload(row["id"], row["path"], row["data"]) for row in rows]

    def finish_uploads(self, through: int) -> None:
        """Drop the queued files up to and including this number: the street door has them."""
        with self.engine.begin() as connection:
            connection.execute(sa.delete(database.upload).where(database.upload.c.id <= through))

    def count_uploads(self) -> int:
        """How many files the street door does not have yet."""
        with self.engine.begin() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(database.upload)).scalar_one()

    def next_stamp(self) -> tuple[int, bytes] | None:
        """The newest checkpoint (size, digest) without a time stamp; the newest is the one somebody waits
        for.
        """
        query = sa.select(database.stamp).order_by(database.stamp.c.size.desc()).limit(1)
        with self.engine.begin() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else (row["size"], row["digest"])

    def finish_stamp(self, size: int) -> None:
        """Drop a checkpoint that has its stamp, and the oldest ones beyond the limit: they will never get
        one.
        """
        table = database.stamp
        keep = sa.select(table.c.size).order_by(table.c.size.desc()).limit(MAX_WAITING_STAMPS)
        with self.engine.begin() as connection:
            connection.execute(sa.delete(table).where(table.c.size == size))
            connection.execute(sa.delete(table).where(table.c.size.not_in(keep)))


class Staging:
    """The batch being added: raw entries under the size they start at."""

    def __init__(self, files: FileTree) -> None:
        self._files = files

    def write(self, size: int, entries: Sequence[bytes]) -> bytes:
        """Store a batch durably; answers its SHA-256."""
        data = b"".join(entries)
        self._files.replace(f"{size}.entries", data)
        return sha256(data)

    def read(self, size: int, digest: bytes) -> list[bytes]:
        """The batch that starts at `size`.

        Raises: LogRefused("staging-lost").
        """
        data = self._files.find(f"{size}.entries")
        if data is None or sha256(data) != digest:
            raise LogRefused("staging-lost", f"the staged batch after {size} is missing or damaged")
        return [data[i : i + ENTRY_BYTES] for i in range(0, len(data), ENTRY_BYTES)]

    def write_note(self, size: int, note: bytes) -> None:
        """Store the cosigned checkpoint of the batch that starts at `size`, durably: its lines are had once only."""
        self._files.replace(f"{size}.note", note)

    def find_note(self, size: int) -> bytes | None:
        """The cosigned checkpoint of the batch that starts at `size`."""
        return self._files.find(f"{size}.note")

    def clear(self, size: int) -> None:
        """Forget a batch that is published."""
        self._files.remove(f"{size}.entries")
        self._files.remove(f"{size}.note")
