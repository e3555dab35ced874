"""Copies of the embedded chain: made while no process owns it, checked, and put back only where nothing lies.

    <copy>/chain.sqlite    the chain, one file
    <copy>/accounts.json   the demo accounts, if they lay beside it; mode 0600
    <copy>/manifest.json   {"mock", "chain_id", "genesis", "block", "block_hash", "files": {name: SHA-256}}

This is about the demo's chain only. A log is never put back from a copy: the next log number is begun. A chain that
comes back older than it was is a chain that has gone back: the anchorer sees it and sends again what is missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from chain.errors import SettingsError
from verifier.errors import FormatError
from verifier.formats.encoding import parse_json, sha256

CHAIN: Final = "chain.sqlite"
ACCOUNTS: Final = "accounts.json"
MANIFEST: Final = "manifest.json"
MAX_MANIFEST: Final = 4096


@dataclass(frozen=True, slots=True)
class ChainMark:
    """Where a chain stands: hashes as 0x…"""

    chain_id: int
    genesis: str
    block: int
    block_hash: str


def back_up_chain(data: Path, out: Path, chain_id: int) -> ChainMark:
    """Copy the chain of directory `data` into the new directory `out`; answers where it stands.

    Raises: SettingsError("no-chain", "chain-in-use", "chain-damaged", "directory-in-use").
    """
    if not (data / CHAIN).is_file():
        raise SettingsError("no-chain", f"there is no {CHAIN} in {data.name}")
    with _new_directory(out) as part:
        _copy_database(data / CHAIN, part / CHAIN)
        if (data / ACCOUNTS).is_file():
            _copy(data / ACCOUNTS, part / ACCOUNTS)
        mark = read_mark(part / CHAIN, chain_id)
        files = {name: _digest(part / name) for name in (CHAIN, ACCOUNTS) if (part / name).is_file()}
        document = {"mock": True, **asdict(mark), "files": files}
        _write(part / MANIFEST, json.dumps(document, indent=1).encode() + b"\n")
    return mark


def restore_chain(copy: Path, data: Path) -> ChainMark:
    """Put a copy back as the new directory `data`; answers where the chain stands now.

    Raises: SettingsError("no-chain", "bad-copy", "chain-damaged", "directory-in-use").
    """
    document = _read_manifest(copy)
    with _new_directory(data) as part:
        for name in document["files"]:
            _copy(copy / name, part / name)
        if {name: _digest(part / name) for name in document["files"]} != document["files"]:
            raise SettingsError("bad-copy", "a file of the copy is not the one that was copied")
        mark = read_mark(part / CHAIN, document["chain_id"])
        if asdict(mark) != {name: document[name] for name in asdict(mark)}:
            raise SettingsError("bad-copy", "the chain does not stand where the copy says")
    return mark


def read_mark(path: Path, chain_id: int) -> ChainMark:
    """Walk a chain from its newest block to block 0 and open its newest state.

    Raises: SettingsError("chain-damaged").
    """
    # the EVM library takes 0.7 s to import: only for those who need it
    from chain.devnode.blockchain import Blockchain

    try:
        blockchain = Blockchain(path, _no_clock, chain_id=chain_id)
    except (sqlite3.Error, AssertionError) as error:
        raise SettingsError("chain-damaged", "the chain's file cannot be read") from error
    try:
        head = newer = blockchain.head()
        while newer.block_number:
            older = blockchain.header(newer.block_number - 1)
            if older is None or older.hash != newer.parent_hash or not blockchain.receipts(newer):
                raise SettingsError("chain-damaged", f"block {newer.block_number} does not follow")
            newer = older
        blockchain.state(head).get_balance(bytes(20))
        return ChainMark(chain_id, "0x" + newer.hash.hex(), head.block_number, "0x" + head.hash.hex())
    except SettingsError:
        raise
    except Exception as error:  # py-evm's errors of a missing node have no common base
        raise SettingsError("chain-damaged", "a block or the state cannot be read") from error
    finally:
        blockchain.close()


def _no_clock() -> int:
    raise SettingsError("chain-damaged", "the file holds no chain")


def _copy_database(source: Path, target: Path) -> None:
    # the same lock as the owning process takes: whoever has it knows that nobody writes
    try:
        with (
            contextlib.closing(sqlite3.connect(source, timeout=1, isolation_level=None)) as reader,
            contextlib.closing(sqlite3.connect(target, isolation_level=None)) as writer,
        ):
            reader.execute("PRAGMA locking_mode=EXCLUSIVE")
            reader.execute("BEGIN EXCLUSIVE")
            reader.execute("COMMIT")
            reader.backup(writer)
            writer.execute("PRAGMA journal_mode=DELETE")
            if writer.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                raise SettingsError("chain-damaged", "the database is damaged")
    except sqlite3.OperationalError as error:
        raise SettingsError("chain-in-use", "another process owns this chain: stop it first") from error
    except sqlite3.DatabaseError as error:
        raise SettingsError("chain-damaged", "the chain's file is no database") from error
    target.chmod(0o600)
    _sync(target)


def _read_manifest(copy: Path) -> dict[str, Any]:
    try:
        document = parse_json((copy / MANIFEST).read_bytes(), max_bytes=MAX_MANIFEST)
    except (OSError, FormatError) as error:
        raise SettingsError("no-chain", f"there is no copy of a chain in {copy.name}") from error
    expected = {"mock": bool, "chain_id": int, "genesis": str, "block": int, "block_hash": str, "files": dict}
    if (
        not isinstance(document, dict)
        or document.keys() != expected.keys()
        or not all(isinstance(document[name], kind) for name, kind in expected.items())
        or not {CHAIN} <= document["files"].keys() <= {CHAIN, ACCOUNTS}
    ):
        raise SettingsError("bad-copy", f"{MANIFEST} is not one of a copy")
    return document


@contextlib.contextmanager
def _new_directory(path: Path) -> Any:
    # whole or not at all: made under another name, renamed when everything in it is durable
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise SettingsError("directory-in-use", f"{path.name} is not an empty directory")
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True, mode=0o700)
    try:
        yield part
        _sync(part)
        part.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise SettingsError("bad-copy", f"a file cannot be copied: {error.strerror}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    _write(target, source.read_bytes())


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hex()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
