"""Reading our own documents: pages, links, headings, code, tables. Enough Markdown for what we write, no
more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SKIPPED = {
    ".venv",
    "var",
    "build",
    "dist",
    "node_modules",
    ".git",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".hypothesis",
    "__pycache__",
}
LINK = re.compile(r"(?<!\!)\[[^\]\n]*\]\(([^)\s]+)\)|!\[[^\]\n]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~)")


@dataclass(frozen=True, slots=True)
class Page:
    """One document: its path and its lines, with the lines of code blocks apart."""

    path: Path
    text: str

    def blocks(self) -> Iterator[tuple[bool, str]]:
        """(is code, line) for every line; fenced blocks and blocks indented by four spaces are code."""
        fenced = False
        for line in self.text.split("\n"):
            if FENCE.match(line.strip()):
                fenced = not fenced
                continue
            yield fenced or line.startswith("    "), line

    def prose(self) -> str:
        """Everything that is not in a code block."""
        return "\n".join(line for is_code, line in self.blocks() if not is_code)

    def code(self) -> str:
        """Everything that is in a code block."""
        return "\n".join(line for is_code, line in self.blocks() if is_code)

    def spans(self) -> list[str]:
        """What stands in backticks in the prose."""
        return re.findall(r"`([^`\n]+)`", self.prose())

    def links(self) -> list[str]:
        """Targets of links and pictures."""
        return [one or other for one, other in LINK.findall(re.sub(r"`[^`\n]*`", "", self.prose()))]

    def anchors(self) -> set[str]:
        """Anchors of the headings, as public code hosts make them."""
        found = set()
        for line in self.prose().split("\n"):
            if match := re.match(r"#{1,6} (.+)", line):
                plain = re.sub(r"[^\w\- ]", "", match.group(1).strip().lower())
                found.add(plain.replace(" ", "-"))
        return found

    def rows(self, heading: str) -> list[list[str]]:
        """Cells of the first table below a heading that begins with `heading`, without its header rows."""
        lines = iter(self.text.split("\n"))
        for line in lines:
            if line.startswith("#") and line.lstrip("# ").startswith(heading):
                break
        rows: list[list[str]] = []
        for line in lines:
            if line.startswith("|"):
                rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
            elif rows or line.startswith("#"):
                break
        return rows[2:]


def read_pages(root: Path) -> list[Page]:
    """All documents below `root` that are ours."""
    paths = [path for path in root.rglob("*.md") if not SKIPPED & set(path.relative_to(root).parts)]
    return [Page(path, path.read_text(encoding="utf-8")) for path in sorted(paths)]


def broken_links(root: Path, pages: list[Page]) -> list[str]:
    """Links to files or headings that do not exist; addresses on the network are not followed."""
    by_path = {page.path.resolve(): page for page in pages}
    faults = []
    for page in pages:
        for target in page.links():
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            name, _hash, anchor = target.partition("#")
            path = (page.path.parent / name).resolve() if name else page.path.resolve()
            there = by_path.get(path)
            if not path.exists() or not path.is_relative_to(root.resolve()):
                faults.append(f"{page.path.relative_to(root)}: {target}")
            elif anchor and there is not None and anchor not in there.anchors():
                faults.append(f"{page.path.relative_to(root)}: no heading {target}")
    return faults
