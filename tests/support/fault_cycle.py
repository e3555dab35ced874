"""One turn of a log's work for file-system faults: `python -m tests.support.fault_cycle DIRECTORY SEED LIMIT [MISTAKE]`.

A turn opens the log by its one start-up function, appends two batches (the second crosses a tile), repeats one, brings the
files to the street and anchors them on a made-up chain; the log's cosigned notes are staged as with witnesses. It is run

  1  once with every call counted;
  2  once for each call and each thing that can go wrong there (`file_faults.VARIANTS`), in a forked process on a fresh copy
     of the same log; LIMIT bounds how many, 0 means all, and then one more call than there are is tried too;
  3  after each fault once more, in a new process without fault, as after a restart: it must need no human hand.

Then `log_history.examine` looks at log, street, chain, signer and what was acknowledged in either turn. Signer, chain and
acknowledgements are kept in files outside the log's directory: they are other processes, and no fault is theirs.
Prints one JSON line a fault: number, kind, name, variant, whether it hit, and every broken rule in words. With MISTAKE the
log has one line wrong (`MISTAKES`) and meets only the faults that must show it.
"""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from chain import leaf_index
from chain.anchorer import Anchorer
from chain.anchoring import Rules
from chain.checkpoint_key import SoftwareSigner
from chain.cosigning import LogHistory
from chain.errors import LogRefused, LogUnavailable
from chain.files import FileTree
from chain.log import Log, create_log
from chain.publisher import DirectoryFiles, Publisher
from chain.stores import Staging
from chain.transactions import SignedTransaction, compute_origin_id
from tests.integration.test_chain_anchorer import CHAIN_ID, KEY, ORIGIN, PRIVATE, FakeChain
from tests.support.file_faults import DIE_BEFORE, SHORT, VARIANTS, Call, Injector
from tests.support.log_history import Anchored, Chain, Evidence, examine
from verifier.formats.checkpoint import parse_checkpoint_text
from verifier.formats.encoding import sha256

PREPARED: Final = 250  # entries before the turn; the turn's second batch crosses 256, the width of a tile
BATCHES: Final = (3, 9)
TRIES: Final = 4
RULES: Final = Rules(interval=0, confirmations=1, resend_after=5, replace_after=20, lost_after=10)
PREFIX: Final = ORIGIN.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one fault."""

    number: int
    kind: str
    name: str
    variant: str
    has_hit: bool
    planned: int  # how many faults this run has
    ending: str  # of the faulty turn: done, killed, refused …
    faults: tuple[str, ...]


class KeptSigner(SoftwareSigner):
    """Signs, and never forgets what it has signed."""

    def __init__(self, path: Path) -> None:
        super().__init__(PRIVATE)
        self._path = path

    def sign(self, note_text: str) -> bytes:
        _keep(self._path, {"note": note_text})
        return super().sign(note_text)


class KeptChain(FakeChain):
    """A chain that outlives the process: its blocks lie in a file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        if path.exists():
            kept = json.loads(path.read_text())
            self.blocks = [[base64.b64decode(raw) for raw in block] for block in kept]

    def broadcast(self, transaction: SignedTransaction) -> None:
        super().broadcast(transaction)
        self.mine()
        kept = [[base64.b64encode(raw).decode() for raw in block] for block in self.blocks]
        self._path.write_text(json.dumps(kept))


class StagedOnly:
    """Cosigning without witnesses: what it adds is the staged note, one more durable step."""

    sources = ()

    def cosign(self, note: bytes, history: LogHistory) -> bytes:
        del history
        return note

    def is_cosigned(self, note: bytes, text: str) -> bool:
        return note.startswith(f"{text}\n".encode())


class Turn:
    """One process's work on the log below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root / "below" / "log"
        self.street = root / "below" / "street"
        self._now = 1_800_000_000
        with suppress(FileNotFoundError):
            self._now += 1000 * len((root / "turns").read_text())

    def run(self, batches: list[list[bytes]]) -> str:
        """How it ended: "done", or why not. A failing disk is tried again, as the beat and a restart would."""
        with (self.root / "turns").open("a") as turns:
            turns.write("x")
        trouble = ""
        for _ in range(TRIES):
            try:
                log = Log(
                    self.directory,
                    KEY,
                    KeptSigner(self.root / "signed"),
                    cosigning=StagedOnly(),  # type: ignore[arg-type]
                    padding=2,
                )
            except LogRefused as refusal:
                return f"refused at start: {refusal}"
            except (LogUnavailable, OSError, SQLAlchemyError) as error:
                trouble = f"{type(error).__name__} at start"
                continue
            try:
                return self._work(log, batches)
            except LogRefused as refusal:
                return f"refused: {refusal}"
            except (OSError, SQLAlchemyError) as error:
                trouble = type(error).__name__
            finally:
                with suppress(OSError, SQLAlchemyError):
                    log.close()
        return trouble

    def _work(self, log: Log, batches: list[list[bytes]]) -> str:
        publisher = Publisher(log, DirectoryFiles(self.street), PREFIX)
        chain = KeptChain(self.root / "blocks")
        anchorer = Anchorer(log, chain, CHAIN_ID, KeptSigner(self.root / "signed"), self._clock, RULES)
        for batch in batches:
            self._insist(lambda batch=batch: self._append(log, batch))
            self._insist(publisher.run)
            self._insist(anchorer.run)
        for _ in range(3 * TRIES):
            self._insist(log.resume)
            self._insist(anchorer.run)
            self._insist(publisher.run)
            is_idle = anchorer.reason == "" and publisher.trouble == "" and not log.store.count_uploads()
            if is_idle:
                return "done"
        return f"not idle: {anchorer.reason} {publisher.trouble}"

    def _insist(self, step: Callable[[], object]) -> None:
        # what the beat and the other threads of the process do: say it and try again
        for _ in range(TRIES):
            try:
                step()
                return
            except LogRefused:
                raise
            except (LogUnavailable, OSError, SQLAlchemyError):
                continue

    def _append(self, log: Log, batch: list[bytes]) -> None:
        indices = log.append(batch)
        for entry, index in zip(batch, indices, strict=True):
            proof = {"index": index, "entry": entry.hex(), "checkpoint": log.published.checkpoint.decode()}
            _keep(self.root / "acknowledged", proof)

    def _clock(self) -> int:
        self._now += 3
        return self._now


def entries(start: int, count: int) -> list[bytes]:
    """Entries of the turn, by number."""
    return [sha256(number.to_bytes(8)) for number in range(start, start + count)]


def turn_batches() -> list[list[bytes]]:
    """What a turn appends: two batches, and some of it again together with something new."""
    first = entries(PREPARED, BATCHES[0])
    second = entries(PREPARED + BATCHES[0], BATCHES[1])
    return [first, second, [*second[-2:], *first[:1], *entries(PREPARED + sum(BATCHES), 1)]]


def prepare(root: Path) -> None:
    """A log that has worked before, and its street and chain."""
    create_log(root / "below" / "log", ORIGIN)
    _in_process(lambda: _report_ending(root, Turn(root).run([entries(0, PREPARED)])))
    assert _ending(root) == "done", _ending(root)


def judge(root: Path, sent: list[bytes]) -> list[str]:
    """Every rule that does not hold below `root`."""
    texts = [line["note"] for line in _kept(root / "signed")]
    checkpoints = [parse_checkpoint_text(text) for text in texts if text.count("\n") == 3]
    signed: dict[int, bytes] = {}
    violations = [
        f"size {head.size}"
        for head in checkpoints
        if signed.setdefault(head.size, head.root) != head.root or head.size < max(signed)
    ]
    acknowledged: dict[bytes, list[tuple[int, bytes]]] = {}
    seen = set()
    for line in _kept(root / "acknowledged"):
        acknowledged.setdefault(bytes.fromhex(line["entry"]), []).append((line["index"], b""))
        seen.add(line["checkpoint"].encode())
    street = root / "below" / "street" / PREFIX
    chain = KeptChain(root / "blocks")
    faults = examine(
        Evidence(
            key=KEY,
            public=root / "below" / "log" / "public",
            street=street,
            entries=sent,
            acknowledged=acknowledged,
            seen=seen,
            signed=signed,
            violations=violations,
            chain=Chain(CHAIN_ID, chain.contract, _events(chain), sum(len(block) for block in chain.blocks)),
        ),
        has_answered_proofs=False,
    )
    newest = int((street / "checkpoint").read_bytes().split(b"\n")[1])
    if not signed or newest != max(signed):
        faults.append(f"lost: size {max(signed, default=0)} was signed, {newest} is published")
    head = chain.head(compute_origin_id(ORIGIN))
    if head.size != newest:
        faults.append(f"chain: {newest} entries are published, {head.size} are anchored")
    left = [path.name for path in (root / "below" / "log" / "staging").glob("*")]
    if left:
        faults.append(f"files: staged and forgotten: {left}")
    return faults


def _events(chain: KeptChain) -> list[Anchored]:
    events: list[Anchored] = []
    size, root = 0, bytes(32)
    heads: dict[bytes, Any] = {}
    for number, block in enumerate(chain.blocks, 1):
        for raw in block:
            tx = json.loads(raw)
            if not chain._apply(heads, tx):
                continue
            new = (tx["size"], bytes.fromhex(tx["root"]))
            events.append(Anchored(*new, size, root, number, chain.block_hash(number) or b"", sha256(raw), 0))
            size, root = new
    return events


# -- logs with one line wrong, and the faults that show it
# -----------------------------------------------------------------------------------------


def _write_half(self: FileTree, path: str, data: bytes) -> set[Any]:
    """A file as `FileTree._write` writes it, without a look at how much of it was taken."""
    target = self.directory / path
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(descriptor, data)
    os.fsync(descriptor)
    os.close(descriptor)
    temporary.replace(target)
    return set()


def _stage_nothing(_self: Staging, _size: int, batch: Sequence[bytes]) -> bytes:
    return sha256(b"".join(batch))


# name → what it replaces, with what, and the fault that it does not survive
MISTAKES: Final[dict[str, tuple[type, str, Callable[..., Any], tuple[str, str]]]] = {
    "half-written": (FileTree, "_write", _write_half, ("write", SHORT)),
    "unstaged": (Staging, "write", _stage_nothing, ("fsync", DIE_BEFORE)),
}


# -- processes
# -----------------------------------------------------------------------------------------------------------


def _in_process(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; answers its wait status."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException as error:  # the parent reads what happened from the report
            print(f"turn: {type(error).__name__}: {error}", file=sys.stderr)
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]


def _report_ending(root: Path, ending: str) -> None:
    (root / "ending").write_text(ending)


def _ending(root: Path) -> str:
    return (root / "ending").read_text() if (root / "ending").exists() else ""


def count_calls(prepared: Path, root: Path) -> list[Call]:
    """Every call of a turn without fault, in order."""
    shutil.copytree(prepared, root)
    calls = root / "calls"

    def work() -> None:
        with calls.open("a", buffering=1) as out:
            Injector(root / "below", 0, "", lambda call, _: _write(out.fileno(), asdict(call))).install()
            _report_ending(root, Turn(root).run(turn_batches()))

    assert _in_process(work) == 0
    assert _ending(root) == "done", _ending(root)
    found = [Call(**line) for line in _kept(calls)]
    shutil.rmtree(root)
    return found


def inject(prepared: Path, root: Path, call: Call, variant: str, planned: int = 1) -> Outcome:
    """Spoil one call, restart, judge."""
    shutil.copytree(prepared, root)
    hit = root / "hit"
    (root / "ending").unlink()

    def work() -> None:
        with hit.open("a", buffering=1) as out:

            def tell(found: Call, is_struck: bool) -> None:
                if is_struck:
                    _write(out.fileno(), asdict(found))

            Injector(root / "below", call.number, variant, tell).install()
            _report_ending(root, Turn(root).run(turn_batches()))

    status = _in_process(work)
    is_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    ending = "killed" if is_killed else _ending(root)
    faults = []
    hits = [Call(**line) for line in _kept(hit)]
    if call.kind and (not hits or (hits[0].kind, hits[0].number) != (call.kind, call.number)):
        faults.append(f"the fault did not hit {call.kind}: {hits}")
    if not call.kind and hits:
        faults.append(f"there are more calls than were counted: {hits}")
    if variant.startswith("die") and hits and not is_killed:
        faults.append("the process has outlived its end")
    if ending.startswith("refused"):
        faults.append(f"one failing call, and a person must look: {ending}")
    again = _in_process(lambda: _report_ending(root, Turn(root).run(turn_batches())))
    if again != 0 or _ending(root) != "done":
        faults.append(f"the next start did not get through: {_ending(root)}")
    else:
        faults += judge(root, [entry for batch in turn_batches() for entry in batch])
    if not faults:
        shutil.rmtree(root)
    return Outcome(call.number, call.kind, call.name, variant, bool(hits), planned, ending, tuple(faults))


def choose(calls: list[Call], seed: int, limit: int) -> list[tuple[Call, str]]:
    """Which faults, in an order of the dice: all, or each kind and variant once and then more up to `limit`."""
    every = [(call, variant) for call in calls for variant in VARIANTS[call.kind]]
    random.Random(seed).shuffle(every)
    if not limit:
        return every
    first: dict[tuple[str, str], tuple[Call, str]] = {}
    for call, variant in every:
        first.setdefault((call.kind, variant), (call, variant))
    chosen = list(first.values())
    rest = [item for item in every if first[item[0].kind, item[1]] != item]
    return chosen + rest[: max(0, limit - len(chosen))]


def run(directory: Path, seed: int, limit: int, mistake: str = "") -> Iterator[Outcome]:
    """Every chosen fault and what became of it."""
    leaf_index.PORTION = 8  # type: ignore[misc]  # so that the index is brought to the disk within the turn
    prepared = directory / "prepared"
    prepare(prepared)
    calls = count_calls(prepared, directory / "counted")
    chosen = choose(calls, seed, limit)
    if mistake:
        owner, name, wrong, shown_by = MISTAKES[mistake]
        setattr(owner, name, wrong)
        calls = count_calls(prepared, directory / "mistaken")
        chosen = [item for item in choose(calls, seed, 0) if (item[0].kind, item[1]) == shown_by]
        chosen = random.Random(seed).sample(chosen, limit)
    if not limit:
        chosen.append((Call(len(calls) + 1, "", ""), DIE_BEFORE))  # beyond the last call: must not hit
    for call, variant in chosen:
        yield inject(prepared, directory / f"{call.number} {variant}", call, variant, len(chosen))


def _keep(path: Path, value: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(value) + "\n")


def _write(descriptor: int, value: dict[str, Any]) -> None:
    os.write(descriptor, (json.dumps(value) + "\n").encode())


def _kept(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main(arguments: list[str]) -> int:
    """1 if any rule is broken."""
    directory, seed, limit, *mistake = (
        Path(arguments[0]),
        int(arguments[1]),
        int(arguments[2]),
        *arguments[3:],
    )
    is_sound = True
    for outcome in run(directory, seed, limit, *mistake):
        print(json.dumps(asdict(outcome)), flush=True)
        is_sound = is_sound and not outcome.faults
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
