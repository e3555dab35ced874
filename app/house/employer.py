"""The employer's own computer: the verifier's wheel, alone in an environment of its own, called as a program.

Nothing of the city is importable there; every verdict of the story is this program's exit code.
"""

from __future__ import annotations

import email
import email.policy
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.errors import CityError

VERDICTS: Final = {0: "VALID", 1: "NOT_VALID", 2: "USAGE", 3: "UNDETERMINED"}
_SOURCE: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the program said: exit code, stdout, stderr."""

    code: int
    out: str
    told: str

    @property
    def verdict(self) -> str:
        """The exit code in words."""
        return VERDICTS.get(self.code, str(self.code))

    @property
    def sentence(self) -> str:
        """The verdict sentence: the first line."""
        return self.out.splitlines()[0] if self.out else self.told.strip()


class EmployerComputer:
    """An environment at `directory` with nothing but akashi-verifier and what it needs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._program = directory / "bin" / "akashi-verify"

    def install(self) -> None:
        """Build the wheel, make the environment, install the wheel from a file. Does nothing if it is there."""
        if self._program.exists():
            return
        work = self._directory.with_name(self._directory.name + "-build")
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(self._directory, ignore_errors=True)
        # Built from a copy: setuptools leaves its traces beside the sources.
        shutil.copytree(
            _SOURCE / "verifier",
            work / "verifier",
            ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"),
        )
        _run(
            [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
             "--wheel-dir", str(work / "wheels"), str(work / "verifier")]
        )  # fmt: skip
        _run([sys.executable, "-m", "venv", str(self._directory)])
        pip = [
            str(self._directory / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        _run([*pip, "--require-hashes", "-r", str(_SOURCE / "requirements" / "verifier.txt")])
        wheel = next((work / "wheels").glob("akashi_verifier-*.whl"))
        _run([*pip, "--no-deps", "--no-index", str(wheel)])
        shutil.rmtree(work)

    def run(self, *arguments: str | Path) -> Answer:
        """Run `akashi-verify` with these arguments."""
        done = subprocess.run(  # noqa: S603
            [str(self._program), *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=self._directory,
            env={"PYTHONUTF8": "1", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            timeout=120,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)


def save_attachment(maildir: Path, target: Path) -> Path:
    """The encrypted attachment of the newest mail in a maildir."""
    mails = sorted((maildir / "new").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    if not mails:
        raise CityError("no-mail", "no mail has arrived")
    message = email.message_from_bytes(mails[-1].read_bytes(), policy=email.policy.default)
    for part in message.iter_attachments():
        target.write_bytes(part.get_payload(decode=True))
        return target
    raise CityError("no-attachment", "the mail carries no file")


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise CityError(
            "employer-computer", done.stderr.strip().splitlines()[-1] if done.stderr else "failed"
        )
