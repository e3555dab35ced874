"""The log process's own small database: one SQLite file, opened so that a commit survives a power cut.

Tables (times are integer Unix seconds UTC):
  head      one row a log: the compare-and-swap of committed size, root, frontier and staged bytes; then the
  signature upload    files the street door does not have yet, in the order in which it must get them
  stamp     published checkpoints that have no time stamp yet
  target    the chain and contract that the outbox below belongs to
  outbox    each transaction ever stored for sending: nonce, raw bytes, hash, what became of it

No row a leaf: the log's truth is its files. The SQL is what PostgreSQL accepts too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from chain.errors import LogRefused, LogUnavailable
from chain.sqlite_file import connect_file

SCHEMA_VERSION: Final = 1
_DISK_FAILURES: Final = ("SQLITE_IOERR", "SQLITE_FULL", "SQLITE_CANTOPEN", "SQLITE_BUSY", "SQLITE_READONLY")

metadata = sa.MetaData()
_row_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")

schema = sa.Table("schema", metadata, sa.Column("version", sa.Integer, primary_key=True))

head = sa.Table(
    "head",
    metadata,
    sa.Column("origin", sa.String(255), primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("root", sa.LargeBinary(32), nullable=False),
    sa.Column("frontier", sa.LargeBinary, nullable=False),  # roots of the perfect subtrees, largest first
    sa.Column("previous_size", sa.BigInteger, nullable=False),
    sa.Column("staged_sha256", sa.LargeBinary(32), nullable=False),  # of the staged entries; empty at size 0
    sa.Column("signature", sa.LargeBinary(64), nullable=True),  # of the note over (origin, size, root)
)

upload = sa.Table(
    "upload",
    metadata,
    sa.Column("id", _row_id, primary_key=True, autoincrement=True),
    sa.Column("path", sa.String(255), nullable=False),  # below the log's own directory
    sa.Column("data", sa.LargeBinary, nullable=True),  # for names that change (checkpoint): the bytes of then
    sqlite_autoincrement=True,
)

stamp = sa.Table(
    "stamp",
    metadata,
    sa.Column("size", sa.BigInteger, primary_key=True),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),  # SHA-256 of the checkpoint note
)

target = sa.Table(
    "target",
    metadata,
    sa.Column("id", _row_id, primary_key=True, autoincrement=True),
    sa.Column("chain_id", sa.BigInteger, nullable=False),
    sa.Column("contract", sa.LargeBinary(20), nullable=False),
    sa.Column("genesis", sa.LargeBinary(32), nullable=False),  # hash of block 0: another one is another chain
    sqlite_autoincrement=True,
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", _row_id, primary_key=True, autoincrement=True),
    sa.Column("target_id", sa.ForeignKey("target.id"), nullable=False),
    sa.Column("nonce", sa.BigInteger, nullable=False),
    sa.Column("max_fee", sa.String(78), nullable=False),  # wei, decimal: more than 64 bits are possible
    sa.Column("priority_fee", sa.String(78), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("root", sa.LargeBinary(32), nullable=False),
    sa.Column("raw", sa.LargeBinary, nullable=False),  # signed transaction, broadcast again byte for byte
    sa.Column("tx_hash", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("state", sa.String(10), nullable=False),  # open, mined, final, reverted, lost
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("sent", sa.BigInteger, nullable=True),  # when last broadcast
    sa.Column("block_number", sa.BigInteger, nullable=True),
    sa.Column("block_hash", sa.LargeBinary(32), nullable=True),
    sa.Column("log_index", sa.BigInteger, nullable=True),
    sa.Column("has_receipt", sa.Boolean, nullable=False),  # receipts/<size> is written
    sqlite_autoincrement=True,
)
sa.Index("outbox_by_nonce", outbox.c.target_id, outbox.c.nonce)
sa.Index("outbox_by_state", outbox.c.target_id, outbox.c.state)


def create_database(path: Path) -> Engine:
    """Make the database of a new log.

    Raises: LogRefused("database-exists"): a log is created once.
    """
    if path.exists():
        raise LogRefused("database-exists", f"{path.name} is there already")
    engine = connect_file(path)
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(schema).values(version=SCHEMA_VERSION))
    return engine


def open_database(path: Path) -> Engine:
    """Open the database of an existing log.

    Raises: LogRefused("database-missing", "database-unreadable", "other-schema"): a log without it is never
    started anew by itself; LogUnavailable("store-away") when the disk fails: the next start may go through.
    """
    if not path.is_file():
        raise LogRefused("database-missing", f"{path.name} is missing: its log must not be continued")
    engine = connect_file(path)
    try:
        with engine.begin() as connection:
            versions = connection.execute(sa.select(schema.c.version)).scalars().all()
    except sa.exc.DatabaseError as error:
        if str(getattr(error.orig, "sqlite_errorname", "")).startswith(_DISK_FAILURES):
            raise LogUnavailable("store-away", f"{path.name} cannot be read now") from error
        raise LogRefused("database-unreadable", f"{path.name} cannot be read") from error
    if versions != [SCHEMA_VERSION]:
        raise LogRefused("other-schema", f"{path.name} has a schema this version does not know")
    return engine
