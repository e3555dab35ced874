"""The wheel of `verifier/`, alone in an environment of its own, against the whole catalogue of attacks.

It is built and installed as the employer's computer of the story does it. One process of that environment runs the
entry point of `akashi-verify` once for each case, as a person would call it, and tells the exit codes; some cases are
run as programs of their own. Takes 20 to 25 s, most of it building and installing.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.house.employer import EmployerComputer
from tests.support.attacks.case import PAGE_CODE, STATEMENT, TRUST_ADD, TRUST_UPDATE, Attempt
from tests.support.attacks.catalogue import EXIT_CODES, load_builders, read_list, stories
from tests.support.mini_city import city
from verifier.formats.submission_request import format_instant
from verifier.key_file import DeskKeys, format_desk_keys
from verifier.trust import load_trust_list

# The rest needs a network of its own, or is met by the phone alone: tests/unit/test_attacks_catalogue.py runs it.
STORIES = {s.name: s for s in stories() if s.policy == "offline" and s.door != STATEMENT}
CONTROLS = {
    item["name"]: item
    for item in read_list()["controls"]
    if item["policy"] == "offline" and item["door"] != STATEMENT
}

DRIVER = """
import contextlib, importlib.util, io, json, sys
assert all(importlib.util.find_spec(name) is None for name in ("app", "chain", "mobile_api", "tests", "web3", "sqlalchemy"))
from verifier.cli import main
results = {}
for name, arguments in json.load(open(sys.argv[1], encoding="utf-8")).items():
    out, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
        code = main(arguments)
    results[name] = [code, out.getvalue(), told.getvalue()]
json.dump(results, sys.stdout)
"""


@dataclass(frozen=True)
class Told:
    """What the program said."""

    code: int
    out: str
    told: str


@pytest.fixture(scope="module")
def computer(tmp_path_factory) -> EmployerComputer:
    computer = EmployerComputer(tmp_path_factory.mktemp("employer") / "computer")
    computer.install()
    return computer


@pytest.fixture(scope="module")
def home(computer) -> Path:
    return computer._directory


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Desk:
    return Desk(tmp_path_factory.mktemp("desk"))


@pytest.fixture(scope="module")
def results(home, desk) -> dict[str, Told]:
    """Every attack and control that has a command, run in one process of the environment."""
    attacks, controls = load_builders()
    builders = {
        name: build for name, build in {**attacks, **controls}.items() if name in {*STORIES, *CONTROLS}
    }
    made = {name: desk.arguments(name, build()) for name, build in builders.items()}
    cases = desk.folder / "cases.json"
    cases.write_text(json.dumps(made), encoding="utf-8")
    done = _python(home, "-c", DRIVER, str(cases))
    assert done.returncode == 0, done.stderr
    return {name: Told(*answer) for name, answer in json.loads(done.stdout).items()}


class Desk:
    """The employer's files, and the command that a person would type for each case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = folder / "desk.key"
        self._key.write_bytes(format_desk_keys(DeskKeys(city().base.desk, city().base.desk_signing)))

    def arguments(self, name: str, attempt: Attempt) -> list[str]:
        """What is typed after `akashi-verify`."""
        folder = self.folder / name
        folder.mkdir()
        trust = ["--trust", str(folder / "trust")]
        at = ["--at", format_instant(attempt.at)]
        if attempt.door == PAGE_CODE:
            self._trust(folder, attempt)
            return ["verify-qr", attempt.file.decode(), *trust, *at]
        file = folder / "file"
        file.write_bytes(attempt.file)
        if attempt.door == TRUST_ADD:
            return ["trust", "add", str(file), "--fingerprint", attempt.fingerprint, *trust]
        self._trust(folder, attempt)
        if attempt.door == TRUST_UPDATE:
            return ["trust", "update", str(file), "--city", "992011", *trust]
        arguments = ["verify", str(file), "--offline", *trust, *at]
        if attempt.key is not None:
            arguments += ["--key", str(self._key)]
        if attempt.request is not None:
            (folder / "request").write_bytes(attempt.request)
            arguments += ["--request", str(folder / "request")]
        return arguments

    def _trust(self, folder: Path, attempt: Attempt) -> None:
        (folder / "trust").mkdir()
        for data in attempt.trust_lists:
            name = f"{load_trust_list(data).content.city}.root.json"
            (folder / "trust" / name).write_bytes(data)


def _python(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(home / "bin" / "python"), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        cwd=home,
        env={"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONUTF8": "1", **environment},
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("name", ["app", "chain", "mobile_api", "web3", "sqlalchemy"])
def test_it_really_is_alone(home, name):
    done = _python(home, "-c", f"import {name}")
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr


def test_the_good_bundle_is_valid(results):
    good = results["bundle"]
    assert good.code == 0
    assert good.out.startswith("✓ 【模擬】有効")
    assert city().hanako.data["subject"]["name"] in good.out


def test_nearly_the_whole_catalogue_is_run(results):
    assert set(results) == {*STORIES, *CONTROLS}
    assert len(stories()) - len(STORIES) < 20
    assert len(STORIES) >= 40


@pytest.mark.parametrize("name", STORIES)
def test_the_attack_is_refused_with_its_exit_code(results, name):
    answer, story = results[name], STORIES[name]
    assert answer.code == story.exit_code, answer.out + answer.told
    assert answer.code in (1, 3)
    assert "Traceback" not in answer.out + answer.told
    assert "internal error" not in answer.told
    # The reason is told, and nothing of the certificate.
    codes = [finding.partition(":")[2] for finding in story.findings]
    assert all(f"[{code}]" in answer.out or f"{code}:" in answer.told for code in codes), (
        answer.out + answer.told
    )
    assert "佐藤" not in answer.out + answer.told
    assert "3560000" not in answer.out + answer.told


@pytest.mark.parametrize("name", CONTROLS)
def test_the_control_is_accepted(results, name):
    assert results[name].code == EXIT_CODES[CONTROLS[name]["verdict"]], results[name].told


PROGRAMS = [
    ("bundle", 0),
    ("package", 0),
    ("seal-with-a-revoked-certificate", 1),
    ("page-with-appended-content", 1),
    ("archive-bomb", 1),
    ("list-of-eight-days-ago", 3),
]


@pytest.mark.parametrize(("name", "code"), PROGRAMS)
def test_as_a_program_of_its_own(computer, desk, results, name, code):
    answer = computer.run(*_arguments(desk, name))
    assert (answer.code, answer.out) == (code, results[name].out)


@pytest.mark.parametrize(("name", "code"), PROGRAMS)
def test_on_a_japanese_console_of_windows(home, desk, results, name, code):
    """cp932 lacks 𠮷 and ✓: what the console cannot write is replaced, never a crash."""
    program = "import sys; from verifier.cli import main; sys.exit(main(sys.argv[1:]))"
    done = _python(home, "-c", program, *_arguments(desk, name), PYTHONUTF8="0", PYTHONIOENCODING="cp932")
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_json_on_a_japanese_console_of_windows(home, desk, results):
    program = "import sys; from verifier.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = [*_arguments(desk, "bundle"), "--json"]
    done = _python(home, "-c", program, *arguments, PYTHONUTF8="0", PYTHONIOENCODING="cp932")
    assert done.returncode == 0
    assert json.loads(done.stdout)["certificate"]["subject"]["name"] == city().hanako.data["subject"]["name"]


def _arguments(desk: Desk, name: str) -> list[str]:
    cases: dict[str, list[str]] = json.loads((desk.folder / "cases.json").read_text(encoding="utf-8"))
    return cases[name]
