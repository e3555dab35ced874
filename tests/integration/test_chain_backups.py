"""A log restored from any backup signs nothing while somebody has seen more; and what it does when nobody answers.

A hundred backups are taken from one log's life, between its batches and in the middle of them, while witnesses cosign and
the contract follows behind. Slow (half a minute, more on a busy machine): witnesses and chain are real processes, and a
hundred logs are opened and asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chain.anchorer import Anchorer
from chain.anchoring import Rules
from chain.checkpoint_key import SoftwareSigner
from chain.cosigning import Cosigning, build_cosigning
from chain.devnode.accounts import load_accounts
from chain.errors import LogRefused, LogUnavailable
from chain.ethereum import ContractHead, EthereumClient, deploy_registry
from chain.floor import HeadSource, PublicCopy
from chain.log import Log, create_log
from chain.transactions import compute_origin_id
from tests.integration.test_chain_service import City, entry
from tests.integration.test_witness_service import Witnesses
from tests.support.forge import Forge, ForgedProcess
from tests.support.log_history import read_events
from tests.support.log_signer import KEY, ORIGIN, PRIVATE
from tests.support.watched_processes import watched
from verifier.formats.checkpoint import parse_checkpoint_text

pytestmark = pytest.mark.slow

CHAIN_ID = 992011
SEED = int(os.environ.get("AKASHI_SOAK_SEED") or 20261120)
BACKUPS = 100
BATCHES = 60
MIDDLE = 0.3  # chance of a backup after a step in the middle of a batch
ANCHORED_BATCHES = (20, 40)  # after these the contract is brought up; it knows nothing of the last third


class Signer(SoftwareSigner):
    """Remembers what it was asked to sign."""

    def __init__(self) -> None:
        super().__init__(PRIVATE)
        self.texts: list[str] = []

    def sign(self, note_text: str) -> bytes:
        self.texts.append(note_text)
        return super().sign(note_text)

    def roots(self) -> dict[int, bytes]:
        heads = [parse_checkpoint_text(text) for text in self.texts if text.count("\n") == 3]
        return {head.size: head.root for head in heads}


@dataclass
class Life:
    """One log's life, its witnesses and its contract, and the backups that were taken on the way."""

    root: Path
    ethereum: EthereumClient
    cosigning: Callable[[], Cosigning]
    roots: dict[int, bytes] = field(default_factory=dict)
    backups: list[tuple[Path, int]] = field(default_factory=list)  # and the committed size in each
    size: int = 0
    anchored: int = 0
    checkpoint: bytes = b""

    def back_up(self, committed: int) -> None:
        target = self.root / f"backup {len(self.backups)}"
        shutil.copytree(self.root / "log", target)
        self.backups.append((target, committed))

    def restore(self, backup: Path, signer: Signer, kind: str) -> Log:
        """The backup as a log again; `kind` says who can be asked."""
        target = self.root / f"restored {backup.name} {kind}"
        shutil.copytree(backup, target)
        away = EthereumClient("http://127.0.0.1:1", self.ethereum.contract)
        contract = ContractHead(self.ethereum if "contract" in kind else away, ORIGIN, CHAIN_ID)
        sources: list[HeadSource] = [] if kind == "nobody" else [contract]
        if "street" in kind:
            sources.append(PublicCopy({"checkpoint": self.checkpoint}.__getitem__, KEY))
        cosigning = self.cosigning() if "witnesses" in kind else None
        return Log(target, KEY, signer, sources=sources, cosigning=cosigning)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Forge, Witnesses]]:
    """A forge for the chain, and three witnesses of which two make the quorum."""
    root = tmp_path_factory.mktemp("life")
    (root / "witnesses").mkdir()
    with watched(root), pytest.MonkeyPatch.context() as patch, Forge(root / "stderr") as forge:
        patch.setenv("AKASHI_PROFILE", "demo")
        witnesses = Witnesses(root / "witnesses")
        yield root, forge, witnesses
        for name in list(witnesses.processes):
            witnesses.kill(name)


def start_node(root: Path, forge: Forge, port: int = 0) -> tuple[ForgedProcess, str]:
    """A chain below `root`, and its address."""
    arguments = ("--data", str(root / "chain"), "--port", str(port))
    process = forge.start("chain.devnode", os.environ, root / "node.out", arguments)
    while not process.is_ready():
        time.sleep(0.01)
    return process, process.out.read_text().split('"rpc": "', 1)[1].split('"', 1)[0]


@pytest.fixture(scope="module")
def life(parts: tuple[Path, Forge, Witnesses]) -> Life:
    print(f"AKASHI_SOAK_SEED={SEED}")
    root, forge, witnesses = parts
    _, rpc = start_node(root, forge)
    accounts = load_accounts(root / "chain" / "accounts.json")
    contract, _ = deploy_registry(rpc, accounts["owner"].key, accounts["sealer"].address)
    urls = {name: f"http://127.0.0.1:{port}" for name, port in witnesses.ports.items()}
    life = Life(
        root,
        EthereumClient(rpc, contract, accounts["sealer"].key),
        lambda: build_cosigning(witnesses.policy, urls, KEY),
    )
    dice, signer, cosigning = random.Random(SEED), Signer(), life.cosigning()
    create_log(root / "log", ORIGIN)
    contract_head = ContractHead(life.ethereum, ORIGIN, CHAIN_ID)
    log = Log(root / "log", KEY, signer, sources=[contract_head], cosigning=cosigning)
    rules = Rules(interval=0, confirmations=1)
    anchorer = Anchorer(log, life.ethereum, CHAIN_ID, signer, lambda: int(time.time()), rules, cosigning)

    def back_up() -> None:
        life.back_up(log.store.read().size)

    for owner, name in (
        (log._staging, "write"),
        (log.store, "commit"),
        (log.store, "sign"),
        (log.files, "replace"),
    ):
        _back_up_after(owner, name, lambda: dice.random() < MIDDLE and back_up())
    for number in range(1, BATCHES + 1):
        log.append([entry(SEED, number, i) for i in range(dice.randint(1, 12))])
        back_up()
        if number in ANCHORED_BATCHES:
            anchorer.run()
            assert anchorer.reason == ""
            life.anchored = log.published.size
    life.size, life.checkpoint, life.roots = log.published.size, log.published.checkpoint, signer.roots()
    log.close()
    life.back_up(life.size)
    return life


def _back_up_after(owner: Any, name: str, back_up: Callable[[], object]) -> None:
    original = getattr(owner, name)

    def wrapped(*arguments: Any, **options: Any) -> Any:
        answer = original(*arguments, **options)
        back_up()
        return answer

    setattr(owner, name, wrapped)


def older(life: Life) -> list[tuple[Path, int]]:
    """A hundred backups by the dice, each of a time when the log had committed less than it has now."""
    smaller = [(backup, committed) for backup, committed in life.backups if committed < life.size]
    return random.Random(SEED).sample(smaller, BACKUPS)


def test_a_hundred_restored_backups_sign_nothing(life: Life) -> None:
    """Whoever has seen more refuses for all: the contract as far as it has followed, witnesses and street to the end."""
    head = life.ethereum.head(compute_origin_id(ORIGIN))
    assert 0 < head.size == life.anchored < life.size
    refused: dict[str, int] = {}
    for number, (backup, committed) in enumerate(older(life)):
        kinds = ["witnesses", "contract and witnesses", "contract and street"]
        if committed < life.anchored:
            kinds.append("contract")
        kind = kinds[number % len(kinds)]
        signer = Signer()
        log = life.restore(backup, signer, kind)
        # a signature that the log had already given for a larger size may come out, a new one may not
        for attempt in ([entry("another history")], [entry(SEED, 1, 0), entry("more")]):
            with pytest.raises(LogRefused) as caught:
                log.append(attempt)
            assert caught.value.code == "seen-larger", (backup, kind)
        assert signer.texts == []
        assert log.refusal is not None
        published = log.published
        assert published.size == 0 or life.roots[published.size] == published.root
        log.close()
        refused[kind] = refused.get(kind, 0) + 1
        shutil.rmtree(log.files.directory.parent)
    assert sum(refused.values()) == BACKUPS
    assert len(refused) == 4
    assert life.ethereum.head(compute_origin_id(ORIGIN)) == head


def test_the_newest_copy_goes_on(life: Life) -> None:
    """The control: nobody has seen more than this one, so it is no old backup, and it signs."""
    signer = Signer()
    backup = life.root / "once more"
    shutil.copytree(life.backups[-1][0], backup)
    log = life.restore(backup, signer, "contract and street")
    log.append([entry("newest", 1)])
    assert log.published.size > life.size
    assert signer.texts
    log.close()


def test_without_anybody_to_ask_an_old_backup_would_fork(life: Life) -> None:
    """The danger is real: the same backups with no memory but their own sign a second root for a size that is taken."""
    forks = 0
    for backup, _ in older(life)[:5]:
        signer = Signer()
        log = life.restore(backup, signer, "nobody")
        with contextlib.suppress(LogUnavailable):
            while log.published.size < life.size:
                log.append([hashlib.sha256(os.urandom(8)).digest()])
        forks += sum(1 for size, root in signer.roots().items() if life.roots.get(size, root) != root)
        log.close()
    assert forks >= 5


def waiting_city(tmp_path: Path, witnesses: Witnesses, rpc: str, contract: bytes, accounts: Path) -> City:
    city = City(tmp_path)
    city.environment |= {
        "AKASHI_LOG_WITNESS_POLICY": str(witnesses.root / "policy"),
        "AKASHI_LOG_WITNESS_URLS": str(witnesses.root / "urls"),
        "AKASHI_LOG_WITNESS_SECONDS": "1",
        "AKASHI_LOG_APPEND_SECONDS": "1",
        "AKASHI_LOG_ANCHORING": "ethereum",
        "AKASHI_LOG_RPC": rpc,
        "AKASHI_LOG_CHAIN_ID": str(CHAIN_ID),
        "AKASHI_LOG_CONTRACT": "0x" + contract.hex(),
        "AKASHI_LOG_ACCOUNTS": str(accounts),
        "AKASHI_LOG_ANCHOR_SECONDS": "0",
    }
    return city


def send_until_logged(city: City, entries: Sequence[bytes]) -> None:
    while True:
        with contextlib.suppress(LogUnavailable):
            city.client.append(entries)
            return


def test_with_chain_and_quorum_away_the_log_starts_queues_and_signs_nothing(
    parts: tuple[Path, Forge, Witnesses], tmp_path: Path
) -> None:
    """Then the quorum comes back and it signs, the chain still away; then the chain, and all is anchored."""
    _, forge, _ = parts
    (tmp_path / "witnesses").mkdir()
    with watched(tmp_path), contextlib.ExitStack() as stack:
        witnesses = Witnesses(tmp_path / "witnesses")
        stack.callback(lambda: [witnesses.kill(name) for name in list(witnesses.processes)])
        node, rpc = start_node(tmp_path, forge)
        accounts_file = tmp_path / "chain" / "accounts.json"
        accounts = load_accounts(accounts_file)
        contract, _ = deploy_registry(rpc, accounts["owner"].key, accounts["sealer"].address)
        city = waiting_city(tmp_path, witnesses, rpc, contract, accounts_file)
        stack.callback(city.signer.server_close)
        stack.callback(city.signer.shutdown)
        stack.callback(lambda: city.process is not None and city.process.poll() is None and city.kill())
        for name in ("w1", "w2"):
            witnesses.kill(name)
        node.kill()

        city.start()
        for number in range(3):
            with pytest.raises(LogUnavailable):
                city.client.append([entry("queued", number)])
        state = city.client.state()
        assert state["waiting"] == 3, "what was sent is kept for when somebody answers"
        assert (state["size"], state["refusal"], state["healthy"]) == (0, "", False)
        assert "nobody-to-ask" in state["beat"]
        assert city.signer.signed == {}
        assert not (city.public / "checkpoint").exists()

        witnesses.start("w2")
        city.wait_until(lambda: city.client.state()["waiting"] == 0)
        send_until_logged(city, [entry("queued", number) for number in range(3)])
        state = city.client.state()
        assert state["size"] == 8, "three entries and five dummies, once"
        assert "chain-away" in state["anchoring"]
        assert state["lag"] == state["size"]
        assert set(city.signer.signed) == {8}

        # away again, and a restart: what the log remembers of itself is not enough
        witnesses.kill("w2")
        city.kill()
        city.start()
        with pytest.raises(LogUnavailable):
            city.client.append([entry("later")])
        assert city.client.state()["waiting"] == 1
        assert set(city.signer.signed) == {8}

        # the chain alone may be asked too, but without a quorum nothing is published
        node, _ = start_node(tmp_path, forge, int(rpc.rpartition(":")[2]))
        city.wait_until(lambda: city.client.state()["anchored_size"] == 8)
        city.wait_until(lambda: "quorum-missing" in city.client.state()["beat"])
        assert city.client.state()["size"] == 8
        witnesses.start("w1")
        send_until_logged(city, [entry("later")])
        city.wait_until(lambda: city.client.state()["lag"] == 0)
        assert city.signer.violations == []
        events = read_events(rpc, contract, ORIGIN)
        assert [event.size for event in events] == [8, 16]
        assert city.stop() == 0
        node.kill()
