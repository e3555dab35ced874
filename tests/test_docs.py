"""The documents say what is: links, commands, make targets, formats, decisions, glossary, changelog.

Each rule is tried on this tree and on a planted one, so that a rule that sees nothing is found out.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.support.docs_commands import catch_parser, command_fault, named_commands
from tests.support.docs_text import SKIPPED, Page, broken_links, read_pages

ROOT = Path(__file__).resolve().parents[1]
PROGRAMMES = {"akashi": "app.cli", "akashi-verify": "verifier.cli"}
TEXT_SUFFIXES = {
    ".py", ".md", ".toml", ".txt", ".in", ".yml", ".yaml", ".env", ".conf", ".html", ".css", ".js", ".mjs",
    ".json", ".vy",
    ".typ", ".sh", ".ini", ".mako", "",
}  # fmt: skip
# Built from halves, so that this file does not contain what it forbids.
FORBIDDEN = [
    re.escape(word)
    for word in (
        "pypi" + ".org",
        "python" + "hosted",
        "npmjs" + ".",
        "docker" + ".io",
        "ghcr" + ".io",
        "quay" + ".io",
        "deb.debian" + ".org",
        "--index" + "-url",
        "extra-index" + "-url",
        "find-links" + "=",
    )
]
FORBIDDEN += [r"(?<![\w.*-])/" + name + r"(?:/|\b)" for name in ("wo" + "rk", "ro" + "ot")]
FORBIDDEN += [r"(?<![\w.-])/" + "tm" + r"p\b"]


@pytest.fixture(scope="module")
def pages() -> list[Page]:
    return read_pages(ROOT)


def _page(name: str) -> Page:
    path = ROOT / name
    return Page(path, path.read_text(encoding="utf-8"))


# --- links ------------------------------------------------------------------------------------------------


def test_every_relative_link_resolves(pages: list[Page]) -> None:
    assert broken_links(ROOT, pages) == []


def test_a_broken_link_and_a_broken_heading_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(
        "# One thing\n\n[b](b.md) [c](c.md) [d](b.md#two) [e](#one-thing) [f](b.md#no)\n"
    )
    (tmp_path / "b.md").write_text("## Two\n\n```\n[not a link](nowhere.md)\n```\n[out](../../etc/hosts)\n")
    assert broken_links(tmp_path, read_pages(tmp_path)) == [
        "a.md: c.md",
        "a.md: no heading b.md#no",
        "b.md: ../../etc/hosts",
    ]


# --- commands ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("programme", PROGRAMMES)
def test_every_command_in_the_documents_exists(programme: str, pages: list[Page]) -> None:
    parser = catch_parser(PROGRAMMES[programme])
    faults = []
    for page in pages:
        for name, words in named_commands(page):
            if name == programme and (fault := command_fault(parser, words)):
                faults.append(f"{page.path.relative_to(ROOT)}: {name} {' '.join(words)}: {fault}")
    assert faults == []


def test_a_command_that_does_not_exist_is_found() -> None:
    import argparse

    parser = argparse.ArgumentParser(prog="akashi")
    add = parser.add_subparsers().add_parser("staff").add_subparsers().add_parser("add")
    add.add_argument("name")
    add.add_argument("--totp-out")
    page = Page(
        Path("x.md"), "`akashi staff add NAME --totp-out FILE` and\n\n    $ akashi staff remove hanako\n"
    )
    found = named_commands(page)
    assert sorted(words[1] for _name, words in found) == ["add", "remove"]
    assert command_fault(parser, ["staff", "add", "NAME", "--totp-out", "FILE"]) is None
    assert command_fault(parser, ["staff", "…"]) is None
    assert command_fault(parser, ["staff", "remove", "hanako"]) == "akashi staff has no command remove"
    assert command_fault(parser, ["staff", "add", "x", "--no"]) == "akashi staff add has no option --no"


def _make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_make_target_in_the_documents_exists(pages: list[Page]) -> None:
    targets = _make_targets()
    assert {"demo", "up", "test", "check", "bench"} <= targets
    faults = []
    for page in pages:
        for place in [*page.code().split("\n"), *page.spans()]:
            for target in re.findall(r"(?:^|[\s;&])make ([a-z][a-z-]*)\b", place.strip()):
                faults += [f"{page.path.relative_to(ROOT)}: make {target}"] if target not in targets else []
    assert faults == []


# --- formats ----------------------------------------------------------------------------------------------


def format_faults(page: Page, index: str = "") -> list[str]:
    """A page on a format shows an example; it, or its row in the index, names vectors that exist."""
    faults = [] if page.code().strip() else ["no example"]
    row = "".join(line for line in index.split("\n") if f"]({page.path.name})" in line)
    # A path, or a pattern such as tests/vectors/bad/*.akashi-bundle that some file fits.
    paths = re.findall(r"tests/(?:vectors|unit|properties|interop|integration)/[\w./*-]+", page.text + row)
    found = [path for path in paths if list(ROOT.glob(path.rstrip("/.").rstrip("*") + "*"))]
    if not found:
        faults.append("no vector")
    faults += [f"{path} does not exist" for path in paths if path not in found]
    return [f"{page.path.name}: {fault}" for fault in faults]


def _format_pages() -> list[Page]:
    return [page for page in read_pages(ROOT / "docs" / "formats") if page.path.name != "README.md"]


def test_every_format_has_an_example_and_a_vector() -> None:
    index = _page("docs/formats/README.md").text
    assert len(_format_pages()) > 5
    assert [fault for page in _format_pages() for fault in format_faults(page, index)] == []


def test_a_format_without_example_or_vector_is_found() -> None:
    assert format_faults(Page(Path("x.md"), "# X\n\nProse.\n")) == ["x.md: no example", "x.md: no vector"]
    named = Page(Path("y.md"), "```\na\n```\nsee `tests/vectors/none/such.json`\n")
    assert format_faults(named) == ["y.md: no vector", "y.md: tests/vectors/none/such.json does not exist"]
    by_index = format_faults(Page(Path("z.md"), "    a\n"), "| [z](z.md) | `tests/vectors/good` |")
    assert by_index == []


def test_the_index_of_formats_lists_every_page() -> None:
    listed = {target.partition("#")[0] for target in _page("docs/formats/README.md").links()}
    assert {page.path.name for page in _format_pages()} <= listed


def test_json_examples_parse(pages: list[Page]) -> None:
    faults = []
    for page in pages:
        for block in re.findall(r"^```json\n(.*?)^```", page.text, re.MULTILINE | re.DOTALL):
            try:
                json.loads(block)
            except ValueError as error:
                faults.append(f"{page.path.relative_to(ROOT)}: {error}")
    assert faults == []


# --- architecture -----------------------------------------------------------------------------------------


def test_every_invariant_names_a_test_that_exists() -> None:
    rows = _page("docs/architecture.md").rows("Invariants")
    assert [row[0] for row in rows] == [str(number) for number in range(1, 16)]
    faults = []
    for number, _sentence, tests in rows:
        named = re.findall(r"`((?:tests/)[\w/]+\.py)(?:::(\w+))?`", tests)
        if not named and "not built yet" not in tests:
            faults.append(f"{number}: no test")
        for file, function in named:
            text = (ROOT / file).read_text() if (ROOT / file).exists() else ""
            if not text or (function and not re.search(rf"def {function}\b", text)):
                faults.append(f"{number}: {file}::{function}")
    assert faults == []


def _tables() -> dict[str, str]:
    """Every table of every store, and the module that owns it."""
    found = {}
    for room in ("app", "chain", "mobile_api", "verifier"):
        for path in (ROOT / room).rglob("*.py"):
            if "migrations" in str(path.relative_to(ROOT)):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                    name = (
                        node.func.attr
                        if isinstance(node.func, ast.Attribute)
                        else getattr(node.func, "id", "")
                    )
                    if name == "Table":
                        found[str(node.args[0].value)] = str(path.relative_to(ROOT))
    return found


def test_every_table_has_an_owner_in_the_document() -> None:
    rows = _page("docs/architecture.md").rows("State, owner, store")
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert sorted(set(_tables()) - listed) == []
    assert sorted(listed - set(_tables())) == []


def test_every_process_is_in_the_document() -> None:
    from tests.support.docs_processes import PROCESSES

    text = _page("docs/architecture.md").text
    assert [process.target for process in PROCESSES if f"`{process.target}`" not in text] == []


def test_every_threat_is_answered_by_a_test_or_open() -> None:
    rows = _page("docs/threat-model.md").rows("Threats")
    assert len(rows) >= 30
    assert [row[0] for row in rows] == [f"T{number}" for number in range(1, len(rows) + 1)]
    for number, _threat, _answer, where in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", where)
        assert named or where.startswith(("open", "not built yet")), number
        for file, function in named:
            assert (ROOT / file).exists(), (number, file)
            assert not function or re.search(rf"def {function}\b", (ROOT / file).read_text()), (
                number,
                function,
            )


# --- decisions, changelog, glossary -----------------------------------------------------------------------


def test_decisions_are_numbered_without_gaps_and_have_their_parts() -> None:
    files = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("0*.md"))
    assert [name[:4] for name in files] == [f"{number:04d}" for number in range(1, len(files) + 1)]
    index = _page("docs/decisions/README.md").links()
    assert [name for name in files if name not in index] == []
    for name in files:
        page = _page(f"docs/decisions/{name}")
        assert page.text.startswith(f"# {name[:4]} "), name
        assert re.search(
            r"^Status: (accepted|replaced by \[?\d{4}), ?\d{4}-\d\d-\d\d|^Status: replaced",
            page.text,
            re.MULTILINE,
        )
        for part in ("## In question", "## Choice", "## What it costs", "## When to look again"):
            assert part in page.text, (name, part)


def test_every_runtime_package_has_its_reason() -> None:
    text = _page("docs/decisions/0010-runtime-libraries.md").text
    named = set()
    for file in ("runtime.in", "verifier.in"):
        for line in (ROOT / "requirements" / file).read_text().split("\n"):
            if line and not line.startswith(("-", "#")):
                named.add(re.split(r"[<>=;\[ ]", line)[0].lower())
    missing = [
        name
        for name in sorted(named)
        if not re.search(rf"^\| [^|]*\b{re.escape(name)}\b", text, re.MULTILINE)
    ]
    assert missing == []


def test_the_changelog_has_its_shape() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    for heading in headings[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading), heading
    parts = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert parts <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Formats"}
    versions = set()
    for file in ("pyproject.toml", "verifier/pyproject.toml"):
        with (ROOT / file).open("rb") as opened:
            versions.add(tomllib.load(opened)["project"]["version"])
    assert len(versions) == 1


def test_the_glossary_is_used() -> None:
    """What the glossary calls a name in the code stands in the code or in a format."""
    source = "\n".join(
        path.read_text()
        for room in ("app", "chain", "mobile_api", "verifier")
        for path in (ROOT / room).rglob("*.py")
    )
    page = _page("docs/glossary.md")
    names = {name for name in page.spans() if re.fullmatch(r"[a-z_]+", name)}
    assert len(names) >= 15
    assert sorted(name for name in names if not re.search(rf"\b{name}s?\b", source)) == []


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in text
    assert "END OF TERMS AND CONDITIONS" in text


# --- words that have no place -----------------------------------------------------------------------------


def forbidden_words(root: Path) -> list[str]:
    """Registry hosts, index options and paths of one machine, in any text file of ours."""
    pattern = re.compile("|".join(FORBIDDEN))
    faults = []
    for path in root.rglob("*"):
        inside = path.relative_to(root)
        if SKIPPED & set(inside.parts) or path.suffix not in TEXT_SUFFIXES or not path.is_file():
            continue
        if (
            inside.parts[:2] == ("tests", "vectors")
            or inside.name.endswith(".egg-info")
            or "egg-info" in str(inside)
        ):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.split("\n"), 1):
            if match := pattern.search(line):
                faults.append(f"{inside}:{number}: {match.group()}")
    return faults


def test_no_registry_host_and_no_path_of_one_machine() -> None:
    assert forbidden_words(ROOT) == []


@pytest.mark.parametrize(
    "word", ["files.python" + "hosted.org/x", "see /wo" + "rk/main", "cd /ro" + "ot", "'/tm" + "p/x'"]
)
def test_a_word_that_has_no_place_is_found(word: str, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(f"first\n{word}\n")
    assert [fault.split(":")[1] for fault in forbidden_words(tmp_path)] == ["2"]


def test_ordinary_words_are_let_through(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(
        "the work/life of docs/root/tmp, framework/x and trust/root.json; a/root.json\n"
    )
    assert forbidden_words(tmp_path) == []
