"""The log process and the chain process killed at random while entries go in, and the calm after it.

    with LogStorm(directory, Plan(seed=1, kills=200, entries=2000)) as storm:
        storm.rage()                  # kill and start again, again and again
        storm.settle(60.0)            # no more faults: everything in, published, uploaded, anchored; TimeoutError
        faults = examine(storm.evidence())

Four clients send through the door and retry; some entries are sent by two of them at once and some again much later.
The signer lives here and is never killed. Entries are given out as the kills go on, so that all of the killing happens
while entries go in. When things happen depends on the machine; what is decided by dice comes from the seed.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chain.client import LogClient
from chain.devnode.accounts import load_accounts
from chain.errors import ChainError
from chain.ethereum import deploy_registry
from chain.log import create_log
from tests.support.forge import ROOT, Forge, ForgedProcess
from tests.support.log_history import Chain, Evidence, call_node, read_events
from tests.support.log_signer import KEY, ORIGIN, SIGNER_TOKEN, Signer
from tests.support.log_stage import read_stages

CHAIN_ID: Final = 992011
DOOR_TOKEN: Final = "door-token-for-tests-only"
CLIENTS: Final = 4
START_SECONDS: Final = 30.0
LONGEST_LIFE: Final = 2.0
LAG_ENTRIES: Final = (
    100  # a life is made longer when fewer entries are in than the kills so far should have let in
)
# below the range from which the system gives out ports for outgoing connections: nobody takes it while the node is dead
PORTS: Final = range(20_000, 32_000)


@dataclass(frozen=True, slots=True)
class Plan:
    """How hard, and how long."""

    seed: int
    kills: int  # of the log process
    entries: int
    seconds: float = float("inf")  # the raging ends here, whatever the count
    lives: tuple[float, ...] = (0.05, 0.15, 0.6)  # mean seconds between ready and the kill, each as often
    unready: float = 0.2  # share of kills that come before the process is ready
    fresh_every: int = 60  # each so manieth start is a new interpreter instead of a fork
    chain_pause: float = 1.0  # mean seconds between kills of the chain
    module: str = "chain.service"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a storm has come."""

    seed: int
    kills: int
    chain_kills: int
    acknowledged: int
    published: int
    anchored: int
    seconds: float


class FreshProcess:
    """A process with an interpreter of its own; the same interface as `ForgedProcess`."""

    def __init__(self, module: str, environment: dict[str, str], out: Path, errors: Path) -> None:
        self.out = out
        out.write_bytes(b"")
        with out.open("ab") as stdout, errors.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module], cwd=ROOT, env=environment, stdout=stdout, stderr=stderr
            )
        self.pid = self._process.pid

    def is_ready(self) -> bool:
        return b"\n" in self.out.read_bytes()

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def end(self, signal_number: int) -> int:
        self._process.send_signal(signal_number)
        status = self._process.wait()
        return status << 8 if status >= 0 else -status


class LogStorm:
    """One log, its chain, its clients and what kills them."""

    def __init__(self, directory: Path, plan: Plan) -> None:
        self.plan = plan
        self.directory = directory
        self.entries = [
            hashlib.sha256(f"{plan.seed}/{number}".encode()).digest() for number in range(plan.entries)
        ]
        self.acknowledged: dict[bytes, list[tuple[int, bytes]]] = {}
        self.seen: set[bytes] = set()
        self.went_back: list[str] = []
        self.stages: Counter[str] = Counter()
        self.troubles: Counter[str] = Counter()
        self.kills = self.chain_kills = 0
        self.settled_after = float("nan")
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._cursor, self._allowed = 0, 0
        self._again: deque[list[bytes]] = deque()
        self._calm, self._closed = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []
        self._faults: list[BaseException] = []
        self._errors = directory / "stderr"
        self._log: ForgedProcess | FreshProcess | None = None
        self._node: ForgedProcess | None = None
        create_log(directory / "log", ORIGIN)
        self.signer = Signer(directory / "signer.sock")
        self._forge = Forge(self._errors)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> LogStorm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepare(self) -> None:
        root = self.directory
        for name, text in (("signer.token", SIGNER_TOKEN), ("door.token", DOOR_TOKEN)):
            (root / name).write_text(text)
            (root / name).chmod(0o600)
        self._port = _free_port(random.Random(self.plan.seed ^ os.getpid()))
        self.rpc = f"http://127.0.0.1:{self._port}"
        self._start_node()
        accounts_file = root / "chain" / "accounts.json"
        accounts = load_accounts(accounts_file)
        self.sealer = accounts["sealer"].address
        self.contract, _ = deploy_registry(self.rpc, accounts["owner"].key, self.sealer)
        self.environment = os.environ | {
            "AKASHI_PROFILE": "demo",
            "AKASHI_LOG_DIRECTORY": str(root / "log"),
            "AKASHI_LOG_ORIGIN": ORIGIN,
            "AKASHI_LOG_SIGNER_SOCKET": str(root / "signer.sock"),
            "AKASHI_LOG_SIGNER_TOKEN_FILE": str(root / "signer.token"),
            "AKASHI_LOG_TOKEN_FILE": str(root / "door.token"),
            "AKASHI_LOG_SOCKET": str(root / "door.sock"),
            "AKASHI_LOG_BEAT": "0.02",
            "AKASHI_LOG_APPEND_SECONDS": "3",
            "AKASHI_LOG_ANCHORING": "ethereum",
            "AKASHI_LOG_RPC": self.rpc,
            "AKASHI_LOG_CHAIN_ID": str(CHAIN_ID),
            "AKASHI_LOG_CONTRACT": "0x" + self.contract.hex(),
            "AKASHI_LOG_ACCOUNTS": str(accounts_file),
            "AKASHI_LOG_ANCHOR_SECONDS": "0",
            "AKASHI_LOG_RESEND_SECONDS": "2",
            "AKASHI_LOG_PUBLIC_DIRECTORY": str(root / "street"),
        }
        self.client = LogClient(f"unix:{root / 'door.sock'}", DOOR_TOKEN, timeout=5)

    @property
    def public(self) -> Path:
        """The log's own public files."""
        return self.directory / "log" / "public"

    @property
    def street(self) -> Path:
        """The copy that everybody reads."""
        return self.directory / "street" / ORIGIN.partition("/")[2]

    # -- the storm
    # ------------------------------------------------------------------------------------------------

    def rage(
        self,
        tell: Callable[[Progress], None] = lambda _: None,
        until: Callable[[], bool] = lambda: False,
    ) -> None:
        """Kill until the plan is done, its time is over or `until` says so. `tell` hears of each kill.

        Raises: whatever a client met that is not an outage.
        """
        dice = random.Random(self.plan.seed)
        for number in range(CLIENTS):
            self._spawn(lambda number=number: self._send(random.Random(f"{self.plan.seed}/client/{number}")))
        self._spawn(self._watch)
        self._spawn(lambda: self._rage_chain(random.Random(f"{self.plan.seed}/chain")))
        end = self._started + self.plan.seconds
        while self.kills < self.plan.kills and time.monotonic() < end and not (self._faults or until()):
            self._allowed = -(-self.plan.entries * (self.kills + 1) // self.plan.kills)
            self._start_log(is_fresh=self.kills % self.plan.fresh_every == self.plan.fresh_every // 2)
            if dice.random() < self.plan.unready:
                time.sleep(dice.uniform(0.0, 0.06))
            else:
                self._wait_ready()
                time.sleep(min(dice.expovariate(1 / dice.choice(self.plan.lives)), LONGEST_LIFE))
                self._wait_for_entries()
            assert self._log is not None
            self._log.kill()
            self._log = None
            self.kills += 1
            self.stages.update(read_stages(self.directory / "log"))
            tell(self.progress())
        self._calm.set()
        if self._faults:
            raise self._faults[0]

    def settle(self, seconds: float) -> None:
        """No more faults: everything must be in, published, uploaded, anchored and receipted within `seconds`.

        Raises: TimeoutError, and whatever a client met that is not an outage.
        """
        started = time.monotonic()
        with self._lock:
            if (
                self.kills < self.plan.kills
            ):  # ended by the clock: what was not given out is not sent any more
                del self.entries[self._cursor :]
            self._allowed = len(self.entries)
        for thread in self._threads[-1:]:
            thread.join()  # the one that kills the chain; it leaves it running
        self._start_log(is_fresh=True)
        while not self._is_settled():
            if self._faults:
                raise self._faults[0]
            if time.monotonic() > started + seconds:
                raise TimeoutError(f"not settled within {seconds:g} s: {self.describe()}")
            time.sleep(0.05)
        self.settled_after = time.monotonic() - started
        self._closed.set()
        for thread in self._threads:
            thread.join()
        assert self._log is not None
        status, self._log = self._log.end(signal.SIGTERM), None
        assert status == 0, f"the log ended with {status}: {self.error_tail()}"

    def progress(self) -> Progress:
        """The counts now."""
        return Progress(
            self.plan.seed,
            self.kills,
            self.chain_kills,
            len(self.acknowledged),
            _size_of(self.public / "checkpoint"),
            _size_of(self.street / "anchored"),
            time.monotonic() - self._started,
        )

    def evidence(self) -> Evidence:
        """Everything seen, after `settle`."""
        events = read_events(self.rpc, self.contract, ORIGIN)
        nonce = call_node(self.rpc, "eth_getTransactionCount", ["0x" + self.sealer.hex(), "latest"])
        return Evidence(
            key=KEY,
            public=self.public,
            street=self.street,
            entries=self.entries,
            acknowledged=self.acknowledged,
            seen=frozenset(self.seen),
            signed=dict(self.signer.signed),
            violations=tuple(self.signer.violations),
            went_back=tuple(self.went_back),
            chain=Chain(CHAIN_ID, self.contract, events, int(nonce, 16)),
        )

    def describe(self) -> str:
        """For failures: what is not done, in words."""
        with suppress(ChainError):
            state = self.client.state()
            state.pop("published")
            return f"seed {self.plan.seed}: {len(self.acknowledged)} of {len(self.entries)} entries; {state}"
        return f"seed {self.plan.seed}: the log does not answer: {self.error_tail()}"

    def error_tail(self) -> str:
        """The last lines of what the processes wrote to stderr."""
        return "\n".join(self._errors.read_text().splitlines()[-20:])

    def close(self) -> None:
        """End everything that was started."""
        self._calm.set()
        self._closed.set()
        for thread in self._threads:
            thread.join()
        if isinstance(self._log, FreshProcess):
            self._log.kill()
        self._forge.close()
        self.signer.shutdown()
        self.signer.server_close()

    # -- processes
    # ------------------------------------------------------------------------------------------------

    def _start_log(self, *, is_fresh: bool) -> None:
        out = self.directory / "log.out"
        if is_fresh:
            self._log = FreshProcess(self.plan.module, self.environment, out, self._errors)
        else:
            self._log = self._forge.start(self.plan.module, self.environment, out)

    def _start_node(self) -> None:
        arguments = ("--data", str(self.directory / "chain"), "--port", str(self._port))
        environment = os.environ | {"AKASHI_PROFILE": "demo"}
        self._node = self._forge.start("chain.devnode", environment, self.directory / "node.out", arguments)
        _wait_until_ready(self._node, self.error_tail)

    def _wait_ready(self) -> None:
        assert self._log is not None
        _wait_until_ready(self._log, self.error_tail)

    def _wait_for_entries(self) -> None:
        end = time.monotonic() + START_SECONDS
        while (
            len(self.acknowledged) < self._allowed - LAG_ENTRIES
            and time.monotonic() < end
            and not self._faults
        ):
            time.sleep(0.02)

    def _rage_chain(self, dice: random.Random) -> None:
        while not self._calm.wait(dice.expovariate(1 / self.plan.chain_pause)):
            assert self._node is not None
            self._node.kill()
            self.chain_kills += 1
            self._calm.wait(dice.choice((0.0, 0.0, 0.1, 0.5)))
            self._start_node()

    # -- clients and onlookers
    # -----------------------------------------------------------------------------------------

    def _spawn(self, run: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                run()
            except BaseException as error:
                self._faults.append(error)

        self._threads.append(threading.Thread(target=guarded, daemon=True))
        self._threads[-1].start()

    def _send(self, dice: random.Random) -> None:
        while not self._closed.is_set():
            chunk = self._take(dice)
            if chunk is None:
                time.sleep(0.01)
            else:
                self._append(chunk)

    def _take(self, dice: random.Random) -> list[bytes] | None:
        with self._lock:
            if self._again and dice.random() < 0.5:
                return self._again.popleft()
            chunk = self.entries[self._cursor : min(self._cursor + dice.randint(1, 4), self._allowed)]
            self._cursor += len(chunk)
            if not chunk:
                return self._again.popleft() if self._again else None
            if dice.random() < 0.1:
                self._again.append(chunk)  # another client sends the same, at once or after the answer
            if dice.random() < 0.05:
                self._again.append([dice.choice(self.entries[: self._cursor])])
            return chunk

    def _append(self, chunk: list[bytes]) -> None:
        while not self._closed.is_set():
            try:
                logged = self.client.append(chunk)
            except ChainError as error:
                self.troubles[error.code] += 1
                time.sleep(0.02)
                continue
            with self._lock:
                for entry, item in zip(chunk, logged, strict=True):
                    self.acknowledged.setdefault(entry, []).append((item.index, item.proof))
            return

    def _watch(self) -> None:
        """Look at the public places all the time; what is public never goes back."""
        places = {
            "log": self.public / "checkpoint",
            "street": self.street / "checkpoint",
            "anchored": self.street / "anchored",
        }
        sizes = dict.fromkeys(places, 0)
        while not self._closed.wait(0.005):
            for name, path in places.items():
                with suppress(FileNotFoundError):
                    note = path.read_bytes()
                    self.seen.add(note)
                    size = int(note.split(b"\n")[1])
                    if size < sizes[name]:
                        self.went_back.append(f"{name} went back from {sizes[name]} to {size}")
                    sizes[name] = size

    def _is_settled(self) -> bool:
        if len(self.acknowledged) < len(self.entries) or self._again:
            return False
        with suppress(ChainError):
            state = self.client.state()
            is_idle = not (state["lag"] or state["uploads"] or state["anchoring"] or state["waiting"])
            return bool(
                is_idle and state["size"] == state["anchored_size"] == _size_of(self.street / "anchored")
            )
        return False


def _size_of(path: Path) -> int:
    with suppress(FileNotFoundError):
        return int(path.read_bytes().split(b"\n")[1])
    return 0


def _wait_until_ready(process: ForgedProcess | FreshProcess, tail: Callable[[], str]) -> None:
    end = time.monotonic() + START_SECONDS
    while not process.is_ready():
        if time.monotonic() > end or _has_ended(process.pid):
            raise AssertionError(f"a process did not start: {tail()}")
        time.sleep(0.003)


def _has_ended(pid: int) -> bool:
    # dead and not waited for: state Z
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"


def _free_port(dice: random.Random) -> int:
    while True:
        port = dice.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
