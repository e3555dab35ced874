"""Sets a text into a field: breaks lines and, if needed, takes a smaller size; fails rather than overflow.

The layout engine gets finished lines, so what fits is decided here and can be tested without drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.rendering.errors import NoRoomError
from app.rendering.font_set import FontSet, Run, split_clusters

LEADING: Final = 0.25
"""Space between lines, in em; the template sets the same."""
_SMALLEST: Final = 5.5
_STEP: Final = 0.5
_SLACK: Final = 0.5
"""Points kept free so that rounding in the layout engine never breaks a line once more."""
_NEVER_FIRST: Final = frozenset(
    "、。，．・：；？！）」』】〕〉》〟ー々ゝゞヽヾぁぃぅぇぉっゃゅょァィゥェォッャュョ)],.:;!?"
)


@dataclass(frozen=True, slots=True)
class Field:
    """A place on the form, in points, and the size a text has there if it is short."""

    name: str
    width: float
    height: float
    size: float


@dataclass(frozen=True, slots=True)
class FittedText:
    """Lines of runs at one size in points. Joined, the runs are the text, unchanged."""

    size: float
    lines: tuple[tuple[Run, ...], ...]

    def as_json(self) -> dict[str, Any]:
        """What the template reads: {"size": 9.5, "lines": [[["family", "text"], …], …]}."""
        return {
            "size": self.size,
            "lines": [[[run.family, run.text] for run in line] for line in self.lines],
        }


def fit_text(fonts: FontSet, text: str, field: Field) -> FittedText:
    """The largest size (steps of half a point, not below 5.5) at which `text` fits `field`.

    Raises: UnprintableError, NoRoomError.
    """
    runs = fonts.runs(text)
    clusters = [
        (run.family, c, fonts.width((Run(run.family, c),))) for run in runs for c in split_clusters(run.text)
    ]
    size = field.size
    while size >= _SMALLEST:
        lines = _break(clusters, (field.width - _SLACK) / size)
        if len(lines) * size + (len(lines) - 1) * LEADING * size <= field.height:
            return FittedText(size, tuple(_join(line) for line in lines))
        size -= _STEP
    raise NoRoomError(field.name)


def _break(clusters: Sequence[tuple[str, str, float]], width: float) -> list[list[tuple[str, str, float]]]:
    lines: list[list[tuple[str, str, float]]] = [[]]
    used = 0.0
    for cluster in clusters:
        if used + cluster[2] > width and lines[-1]:
            tail = _carried(lines[-1], cluster[1])
            used = sum(c[2] for c in tail)
            # A word longer than a line is cut: it must be printed whole, and there is nothing else to do.
            if len(tail) == len(lines[-1]) or used + cluster[2] > width:
                tail, used = [], 0.0
            del lines[-1][len(lines[-1]) - len(tail) :]
            lines.append(tail)
        lines[-1].append(cluster)
        used += cluster[2]
    return lines


def _carried(line: list[tuple[str, str, float]], following: str) -> list[tuple[str, str, float]]:
    """What moves to the next line with `following`: a Latin word, or the character before a 、."""
    tail: list[tuple[str, str, float]] = []
    while len(tail) < len(line) and not _may_break(
        line[-1 - len(tail)][1], tail[0][1] if tail else following
    ):
        tail.insert(0, line[-1 - len(tail)])
    return tail


def _may_break(before: str, after: str) -> bool:
    if after[0] in _NEVER_FIRST or after[0] in " 　":
        return False
    return before[0] in " 　" or not (_is_word(before[0]) and _is_word(after[0]))


def _is_word(character: str) -> bool:
    return ord(character) < 0x2E80 and not character.isspace()


def _join(line: Sequence[tuple[str, str, float]]) -> tuple[Run, ...]:
    runs: list[Run] = []
    for family, text, _ in line:
        if runs and runs[-1].family == family:
            runs[-1] = Run(family, runs[-1].text + text)
        else:
            runs.append(Run(family, text))
    return tuple(runs)
