"""Copies of the embedded chain: whole, checked, never over something, and what the anchorer makes of an older one."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chain import cli
from chain.anchorer import Anchorer
from chain.anchoring import Rules
from chain.checkpoint_key import SoftwareSigner
from chain.devnode.accounts import FUNDS, load_accounts, load_or_create_accounts
from chain.devnode.backup import back_up_chain, restore_chain
from chain.devnode.blockchain import Blockchain
from chain.devnode.rpc import Methods
from chain.devnode.server import RpcServer
from chain.errors import SettingsError
from chain.ethereum import EthereumClient, deploy_registry
from chain.floor import SeenHead
from chain.log import Log, create_log
from chain.transactions import compute_origin_id
from verifier.formats.chain_anchor import verify_anchor_receipt
from verifier.formats.signed_note import build_vkey

ORIGIN = "door.mihon.example/992011/log/1"
CHAIN_ID = 992011
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
KEY = build_vkey(ORIGIN, PRIVATE.public_key().public_bytes_raw())
RULES = Rules(interval=0, confirmations=1, resend_after=1, replace_after=100, lost_after=2)


def open_chain(data: Path) -> Blockchain:
    data.mkdir(exist_ok=True)
    accounts = load_or_create_accounts(data / "accounts.json")
    funded = {account.address: FUNDS for account in accounts.values()}
    return Blockchain(data / "chain.sqlite", lambda: 1_800_000_000, chain_id=CHAIN_ID, funded=funded)


@contextlib.contextmanager
def serving(chain: Blockchain) -> Iterator[str]:
    """The chain behind its RPC door; closed at the end."""
    server = RpcServer(Methods(chain), 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        chain.close()


class City:
    """A log, its anchorer and the embedded chain behind its RPC door, which can be stopped."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "chain"
        self.now = 1_800_000_000
        with serving(open_chain(self.data)) as url:
            accounts = load_accounts(self.data / "accounts.json")
            self.contract, _ = deploy_registry(url, accounts["owner"].key, accounts["sealer"].address)
        create_log(directory / "log", ORIGIN)
        self.signer = SoftwareSigner(PRIVATE)
        self.log = Log(directory / "log", KEY, self.signer, padding=1)

    def anchor(self, number: int | None = None) -> None:
        """Start the chain, append, let the anchorer work until it is at peace, stop the chain."""
        if number is not None:
            self.log.append([hashlib.sha256(bytes([number, i])).digest() for i in range(3)])
        with serving(open_chain(self.data)) as url:
            key = load_accounts(self.data / "accounts.json")["sealer"].key
            client = EthereumClient(url, self.contract, key)
            anchorer = Anchorer(self.log, client, CHAIN_ID, self.signer, lambda: self.now, RULES)
            for _ in range(20):
                self.now += 3
                anchorer.run()
                if anchorer.reason == "":
                    break
            assert anchorer.reason == ""
            published = self.log.published
            assert client.head(compute_origin_id(ORIGIN)) == SeenHead(published.size, published.root)
            for path in sorted((self.log.files.directory / "receipts").iterdir()):
                receipt = verify_anchor_receipt(path.read_bytes(), KEY, CHAIN_ID, self.contract)
                assert client.block_hash(receipt.block_number) == receipt.block_hash, path.name
                assert client.find_inclusion(receipt.transaction).size == receipt.size


@pytest.fixture
def city(tmp_path: Path):
    city = City(tmp_path)
    yield city
    city.log.close()


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers(dest="command", required=True))
    options = parser.parse_args(["chain", *arguments])
    status = options.run(options)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_an_older_copy_is_put_back_and_gets_its_history_again(city: City, tmp_path: Path, capsys) -> None:
    city.anchor(0)
    status, out, _ = run(capsys, "devnode-backup", "--data", str(city.data), "--out", str(tmp_path / "copy"))
    mark = json.loads(out)
    assert (status, mark["chain_id"], mark["block"]) == (0, CHAIN_ID, 2)
    city.anchor(1)
    city.anchor(2)
    shutil.rmtree(city.data)
    status, out, _ = run(
        capsys, "devnode-restore", "--copy", str(tmp_path / "copy"), "--data", str(city.data)
    )
    assert (status, json.loads(out)) == (0, mark)
    assert (city.data / "accounts.json").stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.part"))
    city.anchor()  # asserts that every receipt leads to a block of the chain as it is now
    city.anchor(3)
    assert sorted(int(path.name) for path in (city.log.files.directory / "receipts").iterdir()) == [
        3,
        6,
        9,
        12,
    ]


def test_a_chain_that_somebody_owns_is_not_copied(city: City, tmp_path: Path, capsys) -> None:
    chain = open_chain(city.data)
    status, out, err = run(
        capsys, "devnode-backup", "--data", str(city.data), "--out", str(tmp_path / "copy")
    )
    assert (status, out, "chain-in-use" in err) == (2, "", True)
    assert not (tmp_path / "copy").exists()
    chain.close()
    back_up_chain(city.data, tmp_path / "copy", CHAIN_ID)


def test_nothing_is_overwritten(city: City, tmp_path: Path) -> None:
    back_up_chain(city.data, tmp_path / "copy", CHAIN_ID)
    before = (city.data / "chain.sqlite").read_bytes()
    for act in (
        lambda: back_up_chain(city.data, tmp_path / "copy", CHAIN_ID),
        lambda: restore_chain(tmp_path / "copy", city.data),
    ):
        with pytest.raises(SettingsError, match="directory-in-use"):
            act()
    assert (city.data / "chain.sqlite").read_bytes() == before
    with pytest.raises(SettingsError, match="no-chain"):
        back_up_chain(tmp_path / "nowhere", tmp_path / "copy 2", CHAIN_ID)
    with pytest.raises(SettingsError, match="no-chain"):
        restore_chain(tmp_path / "nowhere", tmp_path / "chain 2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chain", "copy", "log"]


def flip(copy: Path) -> None:
    data = bytearray((copy / "chain.sqlite").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "chain.sqlite").write_bytes(data)


def cut(copy: Path) -> None:
    (copy / "chain.sqlite").write_bytes((copy / "chain.sqlite").read_bytes()[:-4096])


def claim(copy: Path, **changes) -> None:
    document = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(document | changes))


def lose_a_block(copy: Path) -> None:
    """A row less, with the manifest made to fit: only the walk from block to block can tell."""
    with contextlib.closing(sqlite3.connect(copy / "chain.sqlite", isolation_level=None)) as database:
        name = (b"block-number-to-hash:1",)
        (encoded,) = database.execute("SELECT value FROM pair WHERE key = ?", name).fetchone()
        gone = database.execute("DELETE FROM pair WHERE key = ?", (encoded[1:],))
        assert gone.rowcount == 1
    digest = hashlib.sha256((copy / "chain.sqlite").read_bytes()).hexdigest()
    files = json.loads((copy / "manifest.json").read_text())["files"]
    claim(copy, files=files | {"chain.sqlite": digest})


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (flip, "bad-copy"),
        (cut, "bad-copy"),
        (lambda copy: (copy / "accounts.json").unlink(), "bad-copy"),
        (lambda copy: claim(copy, block=1), "bad-copy"),
        (lambda copy: claim(copy, genesis="0x" + "00" * 32), "bad-copy"),
        (lambda copy: claim(copy, files={"../chain.sqlite": "00"}), "bad-copy"),
        (lambda copy: claim(copy, more=1), "bad-copy"),
        (lambda copy: (copy / "manifest.json").write_text("{"), "no-chain"),
        (lose_a_block, "chain-damaged"),
    ],
)
def test_a_copy_that_is_not_whole_is_not_put_back(
    city: City, tmp_path: Path, damage: Callable[[Path], None], code: str
) -> None:
    city.anchor(0)
    back_up_chain(city.data, tmp_path / "copy", CHAIN_ID)
    restore_chain(tmp_path / "copy", tmp_path / "good")
    damage(tmp_path / "copy")
    with pytest.raises(SettingsError, match=code):
        restore_chain(tmp_path / "copy", tmp_path / "bad")
    assert not (tmp_path / "bad").exists()


def test_a_damaged_chain_is_not_copied(city: City, tmp_path: Path) -> None:
    (city.data / "chain.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(SettingsError, match="chain-damaged"):
        back_up_chain(city.data, tmp_path / "copy", CHAIN_ID)
    assert not (tmp_path / "copy").exists()
