"""Public metadata of wallets as it was made: kept, so that it can be put again without another signature."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from app.storage.wallet_tables import wallet_files


@dataclass(frozen=True, slots=True)
class WalletFile:
    """One file: path below the city's public files, digest (hex) of what it was made from, bytes, when (Unix seconds)."""

    path: str
    digest: str
    content: bytes
    made_at: int


def find_file(connection: Connection, path: str) -> WalletFile | None:
    """The file as it was made last."""
    f = wallet_files.c
    row = connection.execute(select(f.path, f.digest, f.content, f.made_at).where(f.path == path)).first()
    return None if row is None else WalletFile(row.path, row.digest, bytes(row.content), row.made_at)


def store_file(connection: Connection, file: WalletFile) -> None:
    """Keep a file in place of the one before."""
    connection.execute(delete(wallet_files).where(wallet_files.c.path == file.path))
    values = {name: getattr(file, name) for name in WalletFile.__slots__}
    connection.execute(insert(wallet_files).values(**values))
