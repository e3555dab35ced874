"""Telling the story on a terminal: chapters, steps with their times, verdicts with exit codes, what went wrong."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from app.house.employer import Answer


class Narrator:
    """Prints each line as it happens and remembers those that ended otherwise than they must."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since the story began."""
        return time.perf_counter() - self._started

    def chapter(self, title: str) -> None:
        """A new chapter."""
        print(f"\n== {title}", flush=True)

    def tell(self, line: str) -> None:
        """A remark under the step before."""
        print(f"      {line}", flush=True)

    def step(self, what: str, act: Callable[[], object]) -> None:
        """Do something and say how long it took."""
        started = time.perf_counter()
        act()
        print(f"  ✓ {what}  {time.perf_counter() - started:.2f} s", flush=True)

    def expect(self, what: str, answer: Answer, code: int, *, seconds: float | None = None) -> None:
        """A program's answer that must have this exit code."""
        right = answer.code == code
        took = "" if seconds is None else f"  {seconds:.2f} s"
        print(f"  {'✓' if right else '✗ WRONG'} {what}{took}")
        self.tell(f"→ {answer.sentence} [exit {answer.code}]")
        if not right:
            self.wrong.append(what)
            print(answer.out + answer.told, file=sys.stderr)

    def note(self, what: str, said: str, *, right: bool) -> None:
        """Somebody's words, right or wrong."""
        print(f"  {'✓' if right else '✗ WRONG'} {what}")
        self.tell(f"→ {said}")
        if not right:
            self.wrong.append(what)
