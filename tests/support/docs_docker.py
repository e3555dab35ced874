"""Reading our Dockerfile: its targets, what each copies, runs as, and starts from. Enough for what we
write.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Target:
    """One FROM … AS: instructions of this stage only, in order, as (word, rest)."""

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        """The rests of every instruction with this word."""
        return [rest for name, rest in self.instructions if name == word]


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """Arguments before the first FROM, and the targets by name."""

    arguments: dict[str, str]
    targets: dict[str, Target]

    def line_of(self, name: str) -> list[Target]:
        """A target and the targets it stands on, nearest first; the last one's base is an image."""
        found = [self.targets[name]]
        while found[-1].base in self.targets:
            found.append(self.targets[found[-1].base])
        return found

    def last(self, name: str, word: str) -> str | None:
        """The instruction in force for a target: its own, or the nearest inherited one."""
        for target in self.line_of(name):
            if target.all(word):
                return target.all(word)[-1]
        return None

    def copies(self, name: str) -> list[tuple[list[str], str]]:
        """(sources in our tree, destination) of every COPY from the build context, the bases' included."""
        found = []
        for target in self.line_of(name):
            for rest in target.all("COPY"):
                words = rest.split()
                if not words[0].startswith("--from="):
                    found.append((words[:-1], words[-1]))
        return found


def parse_dockerfile(text: str) -> Dockerfile:
    """Read it strictly: an unknown instruction or a stage without a name is an error."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    arguments: dict[str, str] = {}
    targets: dict[str, Target] = {}
    current: Target | None = None
    for line in joined.split("\n"):
        if not line.strip():
            continue
        word, _space, rest = line.strip().partition(" ")
        rest = rest.strip()
        if word == "FROM":
            match = re.fullmatch(r"(\S+) AS ([a-z-]+)", rest)
            if match is None or match[2] in targets:
                raise ValueError(f"a stage without a name of its own: {line}")
            current = targets[match[2]] = Target(match[2], match[1])
        elif current is None:
            if word != "ARG":
                raise ValueError(f"before the first stage: {line}")
            name, _equals, value = rest.partition("=")
            arguments[name] = value
        elif word in ("RUN", "ENV", "WORKDIR", "COPY", "USER", "EXPOSE", "ENTRYPOINT", "CMD"):
            current.instructions.append((word, rest))
        else:
            raise ValueError(f"unknown instruction: {line}")
    return Dockerfile(arguments, targets)


def room_faults(dockerfile: Dockerfile, name: str, rooms: tuple[str, ...], root: Path) -> list[str]:
    """Where what a target copies differs from its rooms, or lands elsewhere than in the same place."""
    copied: set[str] = set()
    faults = []
    for sources, destination in dockerfile.copies(name):
        for source in sources:
            if source.startswith(("requirements/", "docker/")):
                continue
            found = (
                sorted(path.relative_to(root).as_posix() for path in root.glob(source))
                if "*" in source
                else [source]
            )
            for path in found:
                if not (root / path).exists():
                    faults.append(f"{name}: {path} does not exist")
                place = Path(destination) if (root / path).is_dir() else Path(destination) / Path(path).name
                if place.as_posix().removeprefix("./") != path:
                    faults.append(f"{name}: {path} is copied to {destination}")
                copied.add(path)
    faults += [f"{name}: copies {path}, which is not its room" for path in sorted(copied - set(rooms))]
    return faults + [f"{name}: does not copy {path}" for path in sorted(set(rooms) - copied)]


def parse_form(text: str | None) -> list[str]:
    """The words of an ENTRYPOINT or CMD in its exec form; the shell form is an error."""
    words = json.loads(text or "[]")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError("not the exec form")
    return words
