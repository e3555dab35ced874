"""Both distributions build, the verifier's is small and installs everywhere it was promised, requirements
are pinned by hash.

The registry is asked only whether wheels for Windows exist; without it that one test is skipped and says so.
"""

from __future__ import annotations

import ast
import email
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Modules of the standard library that Windows does not have.
POSIX_ONLY = {
    "_posixsubprocess", "crypt", "fcntl", "grp", "nis", "ossaudiodev", "posix", "pty", "pwd", "readline",
    "resource", "spwd",
    "syslog", "termios", "tty",
}  # fmt: skip
POSIX_NAMES = {
    "fork", "geteuid", "getuid", "getgid", "setuid", "setgid", "chown", "fchmod", "mkfifo", "openpty",
    "AF_UNIX", "SIGKILL",
    "SIGHUP", "SIGUSR1", "alarm", "setitimer", "O_NOFOLLOW", "O_CLOEXEC", "killpg", "wait4", "sysconf",
    "getpgid",
}  # fmt: skip
IGNORED = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist")


def _copy(target: Path, *names: str) -> Path:
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=IGNORED)
        elif source.exists():
            shutil.copy(source, target / name)
    return target


def _build(source: Path, out: Path) -> Path:
    # Built from a copy, so that the tree stays clean; without isolation, so that nothing is fetched.
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def verifier_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("verifier")
    return _build(_copy(work, "verifier") / "verifier", work / "out")


@pytest.fixture(scope="module")
def akashi_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("akashi")
    names = (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "app",
        "chain",
        "mobile_api",
        "verifier",
        "tests",
        "docker",
        "contracts",
    )
    return _build(_copy(work, *names), work / "out")


def _names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def _metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def _sources(*rooms: str) -> set[str]:
    """Everything a wheel has to carry: code, and what lies beside it and is read at run time."""
    suffixes = {
        ".py",
        ".json",
        ".html",
        ".css",
        ".js",
        ".mjs",
        ".svg",
        ".typ",
        ".ttf",
        ".mako",
        ".icc",
        ".csv",
    }
    return {
        path.relative_to(ROOT).as_posix()
        for room in rooms
        for path in (ROOT / room).rglob("*")
        if path.suffix in suffixes and "__pycache__" not in path.parts
    }


def test_the_verifiers_wheel_holds_the_verifier_only(verifier_wheel: Path) -> None:
    names = _names(verifier_wheel)
    assert verifier_wheel.name.endswith("-py3-none-any.whl")
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"verifier"}
    assert sorted(_sources("verifier") - set(names)) == []


def test_the_verifiers_wheel_asks_for_little(verifier_wheel: Path) -> None:
    metadata = _metadata(verifier_wheel)
    needed = {
        re.split(r"[<>=; ]", line)[0]
        for line in metadata.get_all("Requires-Dist", [])
        if "extra ==" not in line
    }
    assert needed == {"cryptography", "orjson", "qrcode"}
    assert metadata["Name"] == "akashi-verifier"


def test_the_citys_wheel_holds_its_rooms_and_no_verifier(akashi_wheel: Path) -> None:
    names = _names(akashi_wheel)
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"app", "chain", "mobile_api"}
    assert sorted(_sources("app", "chain", "mobile_api") - set(names)) == []


def test_the_two_wheels_belong_together(akashi_wheel: Path, verifier_wheel: Path) -> None:
    city, verifier = _metadata(akashi_wheel), _metadata(verifier_wheel)
    assert city["Version"] == verifier["Version"]
    assert f"akashi-verifier=={verifier['Version']}" in city.get_all("Requires-Dist", [])
    assert city["License-Expression"] == verifier["License-Expression"] == "Apache-2.0"


def test_the_verifiers_wheel_starts_alone(verifier_wheel: Path, tmp_path: Path) -> None:
    """Unpacked into an empty folder, the command answers, though no other room exists."""
    with zipfile.ZipFile(verifier_wheel) as archive:
        archive.extractall(tmp_path)
    probe = ROOT / "tests" / "support" / "docs_start_probe.py"
    ended = subprocess.run(
        [sys.executable, "-B", str(probe), str(tmp_path), "verifier.cli"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.strip() == "outside:"


# --- Windows
# ---------------------------------------------------------------------------------------------------


def posix_faults(root: Path) -> list[str]:
    """Imports that Windows does not have, and names of os, socket and signal that it does not have, unless
    asked for by hasattr,
    getattr, or under a look at the platform."""
    faults = []
    for path in sorted(root.rglob("*.py")):
        syntax = ast.parse(path.read_text(encoding="utf-8"))
        guarded = {
            id(inner)
            for node in ast.walk(syntax)
            if isinstance(node, ast.If | ast.IfExp)
            and re.search(r"sys\.platform|os\.name|hasattr", ast.unparse(node.test))
            for inner in ast.walk(node)
        }
        for node in ast.walk(syntax):
            if id(node) in guarded:
                continue
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            names = {module.split(".")[0] for module in modules} & POSIX_ONLY
            if isinstance(node, ast.Attribute) and node.attr in POSIX_NAMES:
                names = {node.attr}
            faults += [f"{path.relative_to(root)}:{node.lineno}: {name}" for name in sorted(names)]
    return faults


def test_the_verifier_imports_nothing_that_windows_lacks() -> None:
    assert posix_faults(ROOT / "verifier") == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("import fcntl\n", 1),
        ("from termios import tcgetattr\n", 1),
        ("import os\nos.fork()\n", 1),
        ("import os\nif hasattr(os, 'fork'):\n    os.fork()\n", 0),
        ("import sys\nif sys.platform != 'win32':\n    import resource\n", 0),
        ("import os\nos.replace('a', 'b')\n", 0),
    ],
)
def test_a_posix_only_import_is_found(text: str, number: int, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(text)
    assert len(posix_faults(tmp_path)) == number


def test_no_file_of_the_verifier_has_a_name_that_windows_refuses() -> None:
    reserved = {
        "con",
        "prn",
        "aux",
        "nul",
        *(f"com{n}" for n in range(1, 10)),
        *(f"lpt{n}" for n in range(1, 10)),
    }
    names = [path.relative_to(ROOT / "verifier") for path in (ROOT / "verifier").rglob("*")]
    assert [
        name for name in names if name.stem.lower() in reserved or re.search(r'[<>:"|?*]|[. ]$', name.name)
    ] == []
    assert len({str(name).lower() for name in names}) == len(names)


def test_every_package_of_the_verifier_has_a_wheel_for_windows(tmp_path: Path) -> None:
    """Every pinned package that applies there, as a wheel for win_amd64 and CPython 3.11, with the pinned
    hashes.
    """
    pinned = _windows_requirements(ROOT / "requirements" / "verifier.txt")
    assert any(line.startswith("cryptography==") for line in pinned)
    (tmp_path / "windows.txt").write_text("\n".join(pinned))
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--require-hashes",
        "--platform", "win_amd64", "--python-version", "3.11", "--implementation", "cp",
        "--only-binary=:all:", "--retries", "1",
        "--timeout", "20", "--dest", str(tmp_path / "wheels"), "--requirement", str(tmp_path / "windows.txt"),
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if ended.returncode and re.search(
        r"Connection|Temporary failure|timed out|ProxyError|Network is unreachable", ended.stderr
    ):
        pytest.skip("the package registry cannot be reached from here")
    assert ended.returncode == 0, ended.stderr[-2000:]
    wheels = [path.name for path in (tmp_path / "wheels").iterdir()]
    assert len(wheels) == len(pinned)
    assert all(name.endswith(("-win_amd64.whl", "-none-any.whl")) for name in wheels), wheels


def _windows_requirements(path: Path) -> list[str]:
    """The requirements whose markers hold on Windows with CPython 3.11, each on one line without its
    marker.
    """
    from packaging.requirements import Requirement

    world = {
        "sys_platform": "win32",
        "platform_system": "Windows",
        "os_name": "nt",
        "platform_machine": "AMD64",
        "python_version": "3.11",
        "python_full_version": "3.11.9",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    lines = []
    for logical in _logical_lines(path):
        text, *hashes = re.split(r"\s+--hash=", logical)
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(world):
            pinned = f"{requirement.name}{requirement.specifier}"
            lines.append(" ".join([pinned, *(f"--hash={value}" for value in hashes)]))
    return lines


def _logical_lines(path: Path) -> list[str]:
    text = re.sub(r"\\\n", " ", path.read_text(encoding="utf-8"))
    return [line.strip() for line in text.split("\n") if line.strip() and not line.strip().startswith("#")]


# --- requirements
# ----------------------------------------------------------------------------------------------


def requirement_faults(path: Path) -> list[str]:
    """Lines that are not exactly one version with hashes, and lines that name a registry or a place."""
    return [f"{path.name}: {line[:60]}" for line in _logical_lines(path) if not _is_pinned(line)]


def _is_pinned(line: str) -> bool:
    if line.startswith("-") or "://" in line or " @ " in line or "--hash=sha256:" not in line:
        return False
    return re.match(r"[A-Za-z0-9._-]+(\[[a-z0-9,-]+\])?==[^\s;]+", line) is not None


@pytest.mark.parametrize("name", ["runtime", "test", "verifier"])
def test_requirements_are_pinned_by_hash_and_name_no_registry(name: str) -> None:
    assert requirement_faults(ROOT / "requirements" / f"{name}.txt") == []


@pytest.mark.parametrize(
    "line",
    ["flask>=3", "flask==3.1.3", "--pre", "flask @ https://x/y.whl", "-r other.txt --hash=sha256:0"],
)
def test_an_unpinned_requirement_is_found(line: str, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text(f"# a comment\n{line}\n")
    assert len(requirement_faults(tmp_path / "r.txt")) == 1


def test_the_pinned_files_hold_what_the_projects_ask_for() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    for project, file in (("pyproject.toml", "runtime.txt"), ("verifier/pyproject.toml", "verifier.txt")):
        pinned = {}
        for line in _logical_lines(ROOT / "requirements" / file):
            requirement = Requirement(re.split(r"\s+--hash=", line)[0])
            pinned[canonicalize_name(requirement.name)] = str(requirement.specifier).removeprefix("==")
        with (ROOT / project).open("rb") as opened:
            dependencies = tomllib.load(opened)["project"]["dependencies"]
        for text in dependencies:
            requirement = Requirement(text)
            name = canonicalize_name(requirement.name)
            if name != "akashi-verifier":
                assert name in pinned, f"{file} does not pin {name}: make lock"
                assert requirement.specifier.contains(pinned[name], prereleases=True), (file, text)


def test_everything_the_verifier_pins_the_city_pins_alike() -> None:
    def versions(file: str) -> dict[str, str]:
        lines = [re.split(r"[\s;]", line)[0] for line in _logical_lines(ROOT / "requirements" / file)]
        return dict(line.split("==") for line in lines)

    small, large = versions("verifier.txt"), versions("runtime.txt")
    assert {name: version for name, version in small.items() if large.get(name) != version} == {}


def test_a_build_leaves_no_trace_in_the_tree(verifier_wheel: Path, akashi_wheel: Path) -> None:
    assert verifier_wheel.exists()
    assert akashi_wheel.exists()
    for name in ("build", "dist", "verifier/build", "verifier/dist"):
        assert not (ROOT / name).exists() or not list((ROOT / name).iterdir()), name
