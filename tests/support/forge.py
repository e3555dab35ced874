"""Processes that start in milliseconds: forked from one that has the heavy libraries imported already.

    with Forge(stderr) as forge:
        process = forge.start("chain.service", environment, out)   # as `python -m chain.service`
        process.kill()                                             # SIGKILL, and waits for the end

A forked process runs the module as `python -m` does, from its first line, in its own session; only the imports of
libraries are behind it. A fault test that kills a process thousands of times would otherwise measure Python's imports.
Whatever was started ends with the forge, and the forge ends with the process that made it, however that ends.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
# everything that chain.service, chain.devnode and chain.witness import, but not those modules themselves
LIBRARIES: Final = (
    "chain.anchorer",
    "chain.client",
    "chain.cosigning",
    "chain.devnode.accounts",
    "chain.devnode.blockchain",
    "chain.devnode.rpc",
    "chain.devnode.server",
    "chain.ethereum",
    "chain.log",
    "chain.monitor",
    "chain.publisher",
    "chain.sequencer",
    "chain.settings",
    "chain.timestamps",
    "chain.witness_keys",
    "chain.witness_rules",
    "chain.witness_store",
)
_PR_SET_PDEATHSIG: Final = 1


class ForgedProcess:
    """One process of a forge."""

    def __init__(self, forge: Forge, pid: int, out: Path) -> None:
        self._forge = forge
        self.pid = pid
        self.out = out  # what it writes to stdout
        self.status: int | None = None

    def is_ready(self) -> bool:
        """Whether it has written its first line."""
        return b"\n" in self.out.read_bytes()

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        self.end(signal.SIGKILL)

    def end(self, signal_number: int) -> int:
        """Send a signal and wait for the end; answers the wait status as os.waitpid has it."""
        if self.status is None:
            # it is a child of the forge that nobody has waited for, so the number is still its own
            os.kill(self.pid, signal_number)
            self.status = self._forge.wait(self.pid)
        return self.status


class Forge:
    """The process with the imports, and what it has started."""

    def __init__(self, stderr: Path) -> None:
        """`stderr`: where the forge and everything it starts write their errors."""
        self._lock = threading.Lock()
        self._errors = stderr.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forge"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._ask(None)

    def __enter__(self) -> Forge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(
        self, module: str, environment: Mapping[str, str], out: Path, arguments: tuple[str, ...] = ()
    ) -> ForgedProcess:
        """Run `module` as `python -m` would, with this environment and no other."""
        out.write_bytes(b"")
        request = {
            "run": module,
            "arguments": list(arguments),
            "environment": dict(environment),
            "out": str(out),
        }
        return ForgedProcess(self, self._ask(request)["pid"], out)

    def wait(self, pid: int) -> int:
        """Wait for a process that ends now."""
        return int(self._ask({"wait": pid})["status"])

    def close(self) -> None:
        """End the forge and everything it started."""
        if self._process.stdin is not None and self._process.stdout is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()
        self._errors.close()

    def _ask(self, request: dict[str, Any] | None) -> dict[str, Any]:
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            if request is not None:
                self._process.stdin.write(json.dumps(request) + "\n")
                self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the forge has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


def serve() -> int:
    """The forge's own side: requests on stdin, answers on stdout; ends with stdin."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    children: set[int] = set()
    _answer({"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            children.discard(request["wait"])
            _answer({"status": status})
            continue
        pid = os.fork()
        if pid == 0:
            _become(request)
        children.add(pid)
        _answer({"pid": pid})
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    return 0


def _answer(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


def _become(request: dict[str, Any]) -> None:
    status = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:
            return  # the forge ended before it could be told
        os.setsid()
        out = os.open(request["out"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(out, 1)
        sys.stdin = open(0)  # noqa: SIM115 - the descriptor, not the forge's pipe
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv = [request["run"], *request["arguments"]]
        runpy.run_module(request["run"], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    sys.exit(serve())
