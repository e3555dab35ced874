"""The signer's own store: which authorisations are used up, and how far the log's checkpoints have come.

One writer: the signer process. Times are Unix seconds UTC. Whoever restores this store from an old copy would
let old authorisations live again (until they expire, ten minutes) and lower the floor of the checkpoints: it
belongs to the keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, Engine, Index, MetaData, String, Table, text

from app.sealing.authorisation import Authorisation
from app.storage.engine import upgrade_store
from verifier.formats.checkpoint import Checkpoint

metadata = MetaData()

used_authorisations = Table(
    "used_authorisations",
    metadata,
    Column("jti", String(64), primary_key=True),
    Column("purpose", String(32), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("serial", String(64), nullable=False),
    Column("used_at", BigInteger, nullable=False),
    Index("used_authorisations_serial", "purpose", "serial"),
)

checkpoint_heads = Table(
    "checkpoint_heads",
    metadata,
    Column("origin", String(255), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("root", String(64), nullable=False),
)

signed_checkpoints = Table(
    "signed_checkpoints",
    metadata,
    Column("origin", String(255), primary_key=True),
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("root", String(64), nullable=False),
)

MIGRATIONS: Final = Path(__file__).parent / "signer_migrations"

_CONSUME: Final = text(
    "INSERT INTO used_authorisations (jti, purpose, digest, request_id, serial, used_at) "
    "VALUES (:jti, :purpose, :digest, :request_id, :serial, :used_at) ON CONFLICT (jti) DO NOTHING"
)
_ADVANCE: Final = text(
    "INSERT INTO checkpoint_heads (origin, size, root) VALUES (:origin, :size, :root) "
    "ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root "
    "WHERE excluded.size > checkpoint_heads.size "
    "OR (excluded.size = checkpoint_heads.size AND excluded.root = checkpoint_heads.root)"
)
_REMEMBER: Final = text(
    "INSERT INTO signed_checkpoints (origin, size, root) VALUES (:origin, :size, :root) "
    "ON CONFLICT (origin, size) DO NOTHING"
)
_WAS_SIGNED: Final = text(
    "SELECT 1 FROM signed_checkpoints WHERE origin = :origin AND size = :size AND root = :root"
)


def upgrade_signer_store(engine: Engine) -> None:
    """Bring the signer's store to its newest revision."""
    upgrade_store(engine, MIGRATIONS)


def consume_authorisation(connection: Connection, authorisation: Authorisation, *, at: int) -> bool:
    """Use the authorisation up, in one statement; False if it was used before."""
    values = {
        "jti": authorisation.jti,
        "purpose": authorisation.purpose,
        "digest": authorisation.digest.hex(),
        "request_id": authorisation.request_id,
        "serial": authorisation.serial,
        "used_at": at,
    }
    return connection.execute(_CONSUME, values).rowcount == 1


def advance_checkpoint(connection: Connection, checkpoint: Checkpoint) -> bool:
    """Move the floor to `checkpoint`, in one statement; False if it lies below, or beside, what was
    signed."""
    values = _values(checkpoint)
    if connection.execute(_ADVANCE, values).rowcount != 1:
        return False
    connection.execute(_REMEMBER, values)
    return True


def has_signed_checkpoint(connection: Connection, checkpoint: Checkpoint) -> bool:
    """Whether exactly this checkpoint was signed here."""
    return connection.execute(_WAS_SIGNED, _values(checkpoint)).first() is not None


def _values(checkpoint: Checkpoint) -> dict[str, str | int]:
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()}
