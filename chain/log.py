"""The log: one append-only tree for one origin, published as static files after C2SP tlog-tiles.

    <directory>/log.sqlite     committed head, queues, outbox (chain.database)
    <directory>/index/         leaf → first index, a cache (chain.leaf_index)
    <directory>/staging/       the batch being added
    <directory>/public/        checkpoint, tile/…, receipts/…, timestamps/…: everything here is for everybody

One batch, and what is left if the process dies right after each step:
  1  stage: the entries, durable                     an unused file; the entries were not acknowledged
  2  commit: compare-and-swap of size and root       an unsigned root; exactly this root is signed next
  3  sign: asked from the signer, stored             a signature; the files follow
     (with witnesses: signed, cosigned by their quorum, the cosigned note staged, then stored)
  4  publish: tiles, then the checkpoint             files ahead of the checkpoint; written again, same bytes
  5  index, drop the staged batch                    a cache that is behind; filled at start
`_finish` does 3 to 5, after step 2 and at start alike. Two roots for one size cannot come to be: a root is
committed before it is signed and the signature is stored before anybody sees it. On doubt nothing is
repaired: LogRefused. The class is for one thread at a time to append; reading (`prove`, `published`) is for
any thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from chain import database
from chain.checkpoint_key import CheckpointSigner, build_signed_note, sign_note
from chain.cosigning import Cosigning, LogHistory
from chain.errors import LogRefused, LogUnavailable
from chain.files import FileTree
from chain.floor import HeadSource, check_floor
from chain.leaf_index import LeafIndex
from chain.stores import HeadStore, Staging
from chain.tree import EMPTY_TREE, Extension, Tree, extend, load_tree
from verifier.errors import FormatError, SourceError
from verifier.formats.checkpoint import Checkpoint, format_checkpoint_text, verify_public_checkpoint
from verifier.formats.encoding import sha256
from verifier.formats.merkle import EMPTY_ROOT, leaf_hash, leaf_hashes
from verifier.formats.names import DUMMY_LEAF_LABEL
from verifier.formats.signed_note import VerifierKey
from verifier.formats.tiles import TILE_WIDTH, TileReader
from verifier.formats.tlog_proof import TlogProof

MAX_BATCH: Final = 65_536
DEFAULT_PADDING: Final = 8
_DUMMY_SALT_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Published:
    """The newest checkpoint that everybody can see."""

    size: int
    root: bytes
    checkpoint: bytes  # the signed note; empty at size 0, when nothing is published yet


def create_log(directory: Path, origin: str) -> None:
    """Begin a new log in an empty directory. A log is begun once: a lost one is followed by the next log
    number.

    Raises: LogRefused("database-exists", "directory-in-use").
    """
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise LogRefused("directory-in-use", "a log is begun in an empty directory")
    engine = database.create_database(directory / "log.sqlite")
    HeadStore(engine, origin).create()
    engine.dispose()


def build_dummy(random: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
    """An entry that commits to nothing; its salt is forgotten, so that nobody can tell it from a real one."""
    return sha256(DUMMY_LEAF_LABEL + random(_DUMMY_SALT_BYTES))


class Log:
    """An opened log. Opening recovers what a crash left behind, or refuses."""

    def __init__(
        self,
        directory: Path,
        key: VerifierKey,
        signer: CheckpointSigner,
        *,
        sources: Sequence[HeadSource] = (),
        cosigning: Cosigning | None = None,
        padding: int = DEFAULT_PADDING,
        mix: bool = True,
    ) -> None:
        """Open the log of `key.name` (its origin) in `directory`.

        `cosigning`: witnesses whose quorum every checkpoint needs before it is published; their memory joins
        `sources`.
        `padding`: each batch is filled with salted dummies to a multiple of this (0 and 1: none). `mix`: the
        leaves of a batch stand in the order of their own values, so that their order says nothing of when
        each came.
        Raises: LogRefused on doubt; LogUnavailable("store-away") when the disk or database fails. A signer or source
        that is away does not raise: the log opens and signs later.
        """
        self.origin = key.name
        self.key = key
        self._signer = signer
        self._sources = (*sources, *(() if cosigning is None else cosigning.sources))
        self._cosigning = cosigning
        self._asked: tuple[str, bytes] = ("", b"")  # the log's own note that waits for its quorum
        self._padding = max(1, padding)
        self._mix = mix
        self._lock = threading.Lock()
        try:
            self._owner = _own(directory)
        except OSError as error:
            raise _store_away(error) from error
        try:
            self._open(directory)
        except (OSError, SQLAlchemyError) as error:
            self._owner.close()
            raise _store_away(error) from error
        except BaseException:
            self._owner.close()
            raise

    def _open(self, directory: Path) -> None:
        self.engine: Engine = database.open_database(directory / "log.sqlite")
        self.store = HeadStore(self.engine, self.origin)
        self.files = FileTree(directory / "public")
        self._staging = Staging(FileTree(directory / "staging"))
        self.index = LeafIndex(directory / "index", self._read_leaves)
        self._is_cleared = False
        self._refusal: LogRefused | None = None
        self._is_uncertain = False  # a step failed in a way that leaves open whether it happened
        self._head = self.store.read()
        self._tree: Tree = EMPTY_TREE
        self._pending: Extension | None = None
        self._show(Published(0, EMPTY_ROOT, b""))
        self._recover()

    # -- reading
    # -----------------------------------------------------------------------------------------------

    @property
    def published(self) -> Published:
        """The newest published checkpoint."""
        return self._published

    @property
    def refusal(self) -> LogRefused | None:
        """Why this log signs no more, if so."""
        return self._refusal

    def find(self, entry: bytes) -> int | None:
        """First index of an entry, if it is under the published checkpoint."""
        leaf = leaf_hash(entry)
        return self.index.find([leaf]).get(leaf)

    def prove(self, index: int) -> TlogProof:
        """Inclusion proof of a published entry under the newest checkpoint.

        Raises: FormatError("index-outside-tree").
        """
        reader, published = self._snapshot()
        return TlogProof(index, reader.inclusion_path(index), published.checkpoint)

    def consistency_path(self, old_size: int) -> tuple[Published, tuple[bytes, ...]]:
        """The newest checkpoint, and the path that shows it to extend the tree of `old_size`."""
        reader, published = self._snapshot()
        return published, reader.consistency_path(old_size)

    def history(self) -> LogHistory:
        """The published tree as witnesses are shown it."""
        return _History(self, self._published.size, self._fetch_older)

    def root_at(self, size: int) -> bytes:
        """Our root when the log had `size` leaves, from the published tiles.

        Raises: LogUnavailable("not-published") for a larger size.
        """
        if size > self._published.size:
            raise LogUnavailable("not-published", f"size {size} is not published yet")
        # tiles of the newest tree serve every smaller one: partial tiles are read from the wider ones
        return TileReader(size, self._fetch_older).root()

    # -- writing
    # -----------------------------------------------------------------------------------------------

    def append(self, entries: Sequence[bytes], *, cover: bool = False) -> list[int]:
        """Add entries and publish the checkpoint that contains them; answers the first index of each.

        Entries that are in the log already are not added again. With nothing new no batch is made, unless
        `cover` asks for one of dummies only. Either all entries are published when this returns, or it
        raises; after an error the same entries may be sent again.
        Raises: FormatError("bad-entry"), LogUnavailable, LogRefused, SigningError.
        """
        with self._lock, self._guarded():
            self._finish_pending()
            leaves = leaf_hashes(entries)
            known = self.index.find(leaves)
            new = {leaf: entry for leaf, entry in zip(leaves, entries, strict=True) if leaf not in known}
            if len(new) > MAX_BATCH:
                raise LogUnavailable("batch-too-large", f"at most {MAX_BATCH} new entries a batch")
            if new or cover:
                self._clear_floor()  # before anything is committed, so that a lost history is not built upon
                start, batch = self._add(list(new.values()))
                known.update(zip(batch, range(start, start + len(batch)), strict=True))
            return [known[leaf] for leaf in leaves]

    def resume(self) -> bool:
        """Finish a batch that a crash or an absent signer left behind, if there is one; answers whether all
        is done.

        Raises: LogRefused, SigningError.
        """
        try:
            with self._lock, self._guarded():
                self._finish_pending()
        except LogUnavailable:
            return False
        return True

    def refuse(self, refusal: LogRefused) -> None:
        """Sign nothing more in this process: somebody has seen another history than ours."""
        self._refusal = self._refusal or refusal

    def close(self) -> None:
        """Let go of the directory."""
        self.index.close()
        self.engine.dispose()
        self._owner.close()

    def _add(self, entries: list[bytes]) -> tuple[int, tuple[bytes, ...]]:
        batch = entries + [build_dummy() for _ in range(self._dummies(len(entries)))]
        if self._mix:
            batch.sort()
        extension = extend(self._tree, batch)
        digest = self._staging.write(self._head.size, batch)
        self._head = self.store.commit(self._head, extension.tree, digest)
        self._pending = extension
        self._finish_pending()
        return self._head.previous_size, extension.leaves

    def _dummies(self, count: int) -> int:
        return -count % self._padding if count else self._padding

    def _finish_pending(self) -> None:
        if self._is_uncertain:
            self._recover()
            self._is_uncertain = False
        if self._pending is not None:
            self._finish(self._pending)
            self._pending = None

    def _finish(self, extension: Extension) -> None:
        head = self._head
        text = format_checkpoint_text(Checkpoint(self.origin, head.size, head.root))
        if head.signature is None:
            self._clear_floor()
            note = self._cosign(text, self._sign(text), extension)
            self._head = self.store.sign(head, note, [path for path, _ in extension.files])
        else:
            note = self._cosign(text, build_signed_note(text, self.key, head.signature), extension)
        self.files.create(extension.files)
        self.files.replace("checkpoint", note)
        self.index.add(head.previous_size, extension.leaves)
        self._tree = extension.tree
        self._show(Published(head.size, head.root, note))
        self._staging.clear(head.previous_size)
        for path in extension.obsolete:
            self.files.remove(path)

    def _sign(self, text: str) -> bytes:
        # asked once a text: while the quorum is missing every beat comes by here
        if self._asked[0] != text:
            self._asked = (text, sign_note(text, self.key, self._signer))
        return self._asked[1]

    def _cosign(self, text: str, note: bytes, extension: Extension) -> bytes:
        if self._cosigning is None:
            return note
        start = self._head.previous_size
        staged = self._staging.find_note(start)
        if staged is not None and self._cosigning.is_cosigned(staged, text):
            return staged
        files = dict(extension.files)

        def fetch(path: str) -> bytes:
            return files[path] if path in files else self._fetch_older(path)

        try:
            cosigned = self._cosigning.cosign(note, _History(self, extension.tree.size, fetch))
        except LogUnavailable:
            # ask everybody again what they have seen before the next signature: without chain and quorum there is none
            self._is_cleared = False
            raise
        self._staging.write_note(start, cosigned)
        return cosigned

    def _clear_floor(self) -> None:
        if not self._is_cleared:
            check_floor(self._sources, self._head.size, self.signed_root_at)
            self._is_cleared = True

    def signed_root_at(self, size: int) -> bytes:
        """Our root at a size that we have signed, or are about to sign.

        Raises: LogRefused("seen-unknown").
        """
        # the committed head is not published yet; between the two sizes no checkpoint was ever signed
        if size == self._head.size:
            return self._head.root
        if size > self._published.size:
            raise LogRefused("seen-unknown", f"somebody has seen size {size}, which we never signed")
        return self.root_at(size)

    # -- start
    # -------------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        self._head = self.store.read()
        self._pending = None
        published = self._read_published()
        self._show(published)
        base = self._load_base(published)
        if published.size > self._head.size:
            raise LogRefused("published-ahead", "the published checkpoint is newer than the committed head")
        if published.size == self._head.size:
            if published.root != self._head.root or tuple(base.frontier()) != self._head.frontier:
                raise LogRefused("hash-mismatch", "the published root is not the committed one")
            if self._head.signature is None:
                raise LogRefused("hash-mismatch", "a checkpoint is published that was never signed")
            self._staging.clear(self._head.previous_size)
        elif published.size != self._head.previous_size:
            raise LogRefused(
                "published-behind", "the published checkpoint is not the one before the committed head"
            )
        else:
            staged = self._staging.read(published.size, self._head.staged_sha256)
            extension = extend(base, staged)
            if extension.tree.size != self._head.size or extension.tree.root() != self._head.root:
                raise LogRefused("hash-mismatch", "the staged batch does not lead to the committed root")
            self._pending = extension
        self._tree = base
        self._fill_index()

    def _read_published(self) -> Published:
        data = self.files.find("checkpoint")
        if data is None:
            # legitimate only while nothing was ever published: the first batch may be on its way
            if self._head.size and self._head.previous_size:
                raise LogRefused("checkpoint-missing", "the published checkpoint is missing")
            return Published(0, EMPTY_ROOT, b"")
        try:
            checkpoint = verify_public_checkpoint(data, self.key).checkpoint
        except FormatError as error:
            raise LogRefused(
                "checkpoint-damaged", f"the published checkpoint is not ours: {error}"
            ) from error
        return Published(checkpoint.size, checkpoint.root, data)

    def _load_base(self, published: Published) -> Tree:
        if published.size == 0:
            return EMPTY_TREE
        try:
            tree = load_tree(published.size, self.files.read)
        except (SourceError, FormatError) as error:
            raise LogRefused("tiles-damaged", f"the right edge cannot be read: {error}") from error
        if tree.root() != published.root:
            raise LogRefused("hash-mismatch", "the tiles do not lead to the published root")
        return tree

    def _fill_index(self) -> None:
        size = self._published.size
        if self.index.covered() > size:
            self.index.clear()
        start = self.index.covered()
        while start < size:
            number = start // TILE_WIDTH
            hashes = TileReader(size, self.files.read).tile(0, number)
            self.index.add(start, hashes[start - number * TILE_WIDTH :])
            start = number * TILE_WIDTH + len(hashes)

    # -- shared
    # ------------------------------------------------------------------------------------------------

    def _show(self, published: Published) -> None:
        # one assignment, so that other threads see the old pair or the new one
        reader = TileReader(published.size, self.files.read)
        self._reader = reader
        self._published = published

    def _snapshot(self) -> tuple[TileReader, Published]:
        while True:
            reader, published = self._reader, self._published
            if reader.size == published.size:
                return reader, published

    def _read_leaves(self, numbers: Collection[int]) -> dict[int, bytes]:
        # the index asks what is really there (leaf_index.ReadLeaves)
        reader, leaves = self._reader, {}
        number_now, tile = -1, []
        try:
            for index in sorted(index for index in numbers if index < reader.size):
                number, position = divmod(index, TILE_WIDTH)
                if number != number_now:
                    number_now, tile = number, reader.read_tile(0, number)
                leaves[index] = tile[position]
        except (SourceError, FormatError) as error:
            raise LogRefused("tiles-damaged", f"a tile of leaves cannot be read: {error}") from error
        return leaves

    def _fetch_older(self, path: str) -> bytes:
        data = self.files.find(path)
        if data is not None or ".p/" not in path:
            return self.files.read(path)
        # a partial tile of a size that was never published: cut it from the widest one there is
        base, _, width = path.partition(".p/")
        _, level, rest = base.split("/", 2)
        number = int(rest.replace("x", "").replace("/", ""))
        return b"".join(self._snapshot()[0].tile(int(level), number)[: int(width)])

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        # a refusal, once met, holds until a person has looked; a failing disk or database leaves open whether
        # the step happened, so the next attempt begins with the recovery of a start
        if self._refusal is not None:
            raise self._refusal
        try:
            yield
        except LogRefused as refusal:
            self.refuse(refusal)
            raise
        except (OSError, SQLAlchemyError) as error:
            self._is_uncertain = True
            raise _store_away(error) from error


class _History:
    """A tree of this log, and the roots of the smaller ones (a `cosigning.LogHistory`)."""

    def __init__(self, log: Log, size: int, fetch: Callable[[str], bytes]) -> None:
        self._size = size
        self._fetch = fetch
        self.root_at = log.signed_root_at

    def path_from(self, old_size: int) -> tuple[bytes, ...]:
        return TileReader(self._size, self._fetch).consistency_path(old_size)


def _store_away(error: Exception) -> LogUnavailable:
    return LogUnavailable("store-away", f"the log's files or database fail: {error}")


def _own(directory: Path) -> IO[bytes]:
    # one process a log; the lock goes away with the process, however it ends
    try:
        file = (directory / "owner.lock").open("ab")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LogRefused("database-missing", f"there is no log in {directory.name}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise LogRefused("log-in-use", "another process owns this log") from error
    return file
