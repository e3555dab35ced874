"""A witness's memory: one SQLite file, opened so that a commit survives a power cut.

Tables (times are integer Unix seconds UTC):
  latest     one row a log: the newest checkpoint it cosigned, and the note it shows to everybody
  cosigned   size → root of the checkpoints it cosigned; the newest KEEP of each log
  evidence   checkpoints with the log's own signature that contradict what was cosigned: proof of a fork

`extend` is the one way in: it reads the latest checkpoint and stores the next one in one transaction, so that
neither a race nor a crash lets the witness go back. The file is made once, with the keys; it is never made anew by
itself. The SQL is what PostgreSQL accepts too.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import sqlalchemy as sa

from chain.errors import LogUnavailable, SettingsError
from chain.sqlite_file import connect_file
from verifier.formats.merkle import EMPTY_ROOT

SCHEMA_VERSION: Final = 1
KEEP: Final = 100_000
PRUNE_EVERY: Final = 1_000
MAX_EVIDENCE: Final = 100
DATABASE_FILE: Final = "witness.sqlite"

metadata = sa.MetaData()
schema = sa.Table("schema", metadata, sa.Column("version", sa.Integer, primary_key=True))
latest = sa.Table(
    "latest",
    metadata,
    sa.Column("origin", sa.String(255), primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("root", sa.LargeBinary(32), nullable=False),
    sa.Column("note", sa.LargeBinary, nullable=False),
)
cosigned = sa.Table(
    "cosigned",
    metadata,
    sa.Column("origin", sa.String(255), primary_key=True),
    sa.Column("size", sa.BigInteger, primary_key=True),
    sa.Column("root", sa.LargeBinary(32), nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),  # of the first cosignature
)
evidence = sa.Table(
    "evidence",
    metadata,
    sa.Column("origin", sa.String(255), primary_key=True),
    sa.Column("size", sa.BigInteger, primary_key=True),
    sa.Column("root", sa.LargeBinary(32), primary_key=True),
    sa.Column("note", sa.LargeBinary, nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """The newest checkpoint that was cosigned; size 0 and the empty root if there is none."""

    size: int
    root: bytes
    note: bytes


NOTHING: Final = Recorded(0, EMPTY_ROOT, b"")


def create_store(directory: Path) -> None:
    """Begin the memory of a new witness. Raises: SettingsError("memory-exists")."""
    path = directory / DATABASE_FILE
    if path.exists():
        raise SettingsError("memory-exists", f"{path.name} is there already")
    engine = connect_file(path)
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(schema).values(version=SCHEMA_VERSION))
    engine.dispose()


class WitnessStore:
    """One witness's opened memory; any thread may use it."""

    def __init__(self, directory: Path) -> None:
        """Raises: SettingsError("memory-missing", "memory-unreadable", "memory-in-use")."""
        path = directory / DATABASE_FILE
        if not path.is_file():
            raise SettingsError(
                "memory-missing",
                "without its memory this witness could sign a second history: make a new one",
            )
        self._owner = _own(directory)
        self._engine = connect_file(path)
        try:
            with self._engine.begin() as connection:
                versions = connection.execute(sa.select(schema.c.version)).scalars().all()
        except sa.exc.DatabaseError as error:
            self.close()
            raise SettingsError("memory-unreadable", f"{path.name} cannot be read") from error
        if versions != [SCHEMA_VERSION]:
            self.close()
            raise SettingsError("memory-unreadable", f"{path.name} has a schema this version does not know")

    def read(self, origin: str) -> Recorded:
        """The newest checkpoint of a log. Raises: LogUnavailable("store-away")."""
        with self._begin() as connection:
            return _read(connection, origin)

    def extend(self, origin: str, decide: Callable[[Recorded], Recorded], time: int) -> Recorded:
        """Replace the latest checkpoint by what `decide` makes of it, in one transaction, durable on return.

        What `decide` raises leaves everything as it was. Raises: LogUnavailable("store-away").
        """
        with self._begin() as connection:
            before = _read(connection, origin)
            after = decide(before)
            row = {"size": after.size, "root": after.root, "note": after.note}
            if before.note:
                connection.execute(sa.update(latest).where(latest.c.origin == origin).values(row))
            else:
                connection.execute(sa.insert(latest).values(origin=origin, **row))
            if not before.note or before.size != after.size:
                values = {"origin": origin, "size": after.size, "root": after.root, "time": time}
                connection.execute(sa.insert(cosigned).values(values))
                self._prune(connection, origin, before.size, after.size)
        return after

    def cosigned_root(self, origin: str, size: int) -> bytes | None:
        """Root of the checkpoint of this size that was cosigned. Raises: LogUnavailable("store-away")."""
        query = sa.select(cosigned.c.root).where(cosigned.c.origin == origin, cosigned.c.size == size)
        with self._begin() as connection:
            found: bytes | None = connection.execute(query).scalar_one_or_none()
        return found

    def keep_evidence(self, origin: str, size: int, root: bytes, note: bytes, time: int) -> bool:
        """Keep a signed contradiction, the first MAX_EVIDENCE of a log; answers whether it is new."""
        same = (evidence.c.origin == origin, evidence.c.size == size, evidence.c.root == root)
        with self._begin() as connection:
            if connection.execute(sa.select(evidence.c.size).where(*same)).first() is not None:
                return False
            count = sa.select(sa.func.count()).select_from(evidence).where(evidence.c.origin == origin)
            if connection.execute(count).scalar_one() >= MAX_EVIDENCE:
                return False
            values = {"origin": origin, "size": size, "root": root, "note": note, "time": time}
            connection.execute(sa.insert(evidence).values(values))
        return True

    def evidence(self, origin: str) -> list[bytes]:
        """The signed contradictions that were kept, as notes."""
        query = sa.select(evidence.c.note).where(evidence.c.origin == origin).order_by(evidence.c.size)
        with self._begin() as connection:
            return list(connection.execute(query).scalars())

    def close(self) -> None:
        """Let go of the directory."""
        self._engine.dispose()
        self._owner.close()

    @staticmethod
    def _prune(connection: sa.Connection, origin: str, before: int, after: int) -> None:
        # now and then is enough; sizes pass a multiple of PRUNE_EVERY at least as often as that many checkpoints
        if before // PRUNE_EVERY == after // PRUNE_EVERY:
            return
        oldest = (
            sa.select(cosigned.c.size)
            .where(cosigned.c.origin == origin)
            .order_by(cosigned.c.size.desc())
            .offset(KEEP)
            .limit(1)
        )
        limit = connection.execute(oldest).scalar_one_or_none()
        if limit is not None:
            connection.execute(
                sa.delete(cosigned).where(cosigned.c.origin == origin, cosigned.c.size <= limit)
            )

    def _begin(self) -> _Transaction:
        return _Transaction(self._engine)


class _Transaction:
    """`engine.begin()` whose database errors come out as LogUnavailable."""

    def __init__(self, engine: sa.Engine) -> None:
        self._context = engine.begin()

    def __enter__(self) -> sa.Connection:
        try:
            return self._context.__enter__()
        except sa.exc.SQLAlchemyError as error:
            raise LogUnavailable("store-away", "the witness's memory cannot be read") from error

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            self._context.__exit__(kind, error, trace)
        except sa.exc.SQLAlchemyError as failure:
            raise LogUnavailable("store-away", "the witness's memory cannot be written") from failure
        if isinstance(error, sa.exc.SQLAlchemyError):
            raise LogUnavailable("store-away", "the witness's memory fails") from error


def _read(connection: sa.Connection, origin: str) -> Recorded:
    row = connection.execute(sa.select(latest).where(latest.c.origin == origin)).mappings().one_or_none()
    return NOTHING if row is None else Recorded(row["size"], row["root"], row["note"])


def _own(directory: Path) -> IO[bytes]:
    # one process a witness; the lock goes away with the process, however it ends
    file = (directory / "owner.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise SettingsError("memory-in-use", "another process owns this witness") from error
    return file
