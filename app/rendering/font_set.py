"""Which font draws which character: decided here, from the fonts' own tables, never by a fallback.

Layout engines fall back by base character and draw the *default* glyph when the font lacks a variation
sequence, without a warning. So the font is chosen for each cluster (base, variation selector, combining
marks): a sequence counts only if `cmap` format 14 of that font lists it. What no font has raises
`UnprintableError`. Two collections exist and never overlap for one base: Adobe-Japan1 (Noto) and Moji_Joho
(IPAmj, the one of municipal data). IPAmj Mincho and further fonts are optional: without them the printable
set is smaller, and `describe` says so. Text is never normalised.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fontTools.ttLib import TTFont, TTLibError

from app.rendering.errors import FontError, UnprintableError

NOTO_SERIF_JP: Final = Path(__file__).parent / "fonts" / "NotoSerifJP-Regular.ttf"
SPACES: Final = frozenset((0x20, 0x3000))


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of text drawn with one font."""

    family: str
    text: str


@dataclass(frozen=True, slots=True)
class Face:
    """One font file as plain tables. Advances are in 1/1000 em."""

    family: str
    version: str
    path: Path
    sha256: str
    advances: Mapping[int, float]
    """Code point → advance."""
    sequences: Mapping[tuple[int, int], float]
    """(base, variation selector) → advance."""

    def advance(self, cluster: str) -> float | None:
        """Width of a cluster, None if this font cannot draw it exactly."""
        codes = [ord(character) for character in cluster]
        if len(codes) > 1 and _is_selector(codes[1]):
            total, marks = self.sequences.get((codes[0], codes[1])), codes[2:]
        else:
            total, marks = self.advances.get(codes[0]), codes[1:]
        for mark in marks:
            extra = self.advances.get(mark)
            if total is None or extra is None:
                return None
            total += extra
        return total


@dataclass(frozen=True, slots=True)
class FontDescription:
    """What can be printed, for the operator's start-up line."""

    families: tuple[str, ...]
    versions: tuple[str, ...]
    sha256: tuple[str, ...]
    characters: int
    sequences: int
    sentence: str
    """Japanese first, English beside."""


class FontSet:
    """The city's fonts in order of preference. Immutable; build once at start-up (about a second)."""

    def __init__(self, faces: Sequence[Face]) -> None:
        if not faces or len({face.family for face in faces}) != len(faces):
            raise FontError("bad-fonts", "at least one font, and no two of one family")
        self.faces: Final = tuple(faces)

    @classmethod
    def load(cls, extra_fonts: Sequence[Path] = ()) -> FontSet:
        """Noto Serif JP (vendored), then `extra_fonts` (IPAmj Mincho, a supplement font) in that order.

        Raises: FontError.
        """
        return cls([_load_face(path) for path in (NOTO_SERIF_JP, *extra_fonts)])

    def runs(self, text: str) -> tuple[Run, ...]:
        """`text` split into runs, one font each; a text that one font can draw alone is one run.

        Raises: UnprintableError naming every cluster that no font has.
        """
        clusters = list(split_clusters(text))
        for face in self.faces:
            if all(_is_allowed(c) and face.advance(c) is not None for c in clusters):
                return (Run(face.family, text),) if text else ()
        runs: list[Run] = []
        missing: dict[tuple[int, ...], None] = {}
        for cluster in clusters:
            family = self._family_of(cluster)
            if family is None:
                missing[tuple(map(ord, cluster))] = None
            elif runs and runs[-1].family == family:
                runs[-1] = Run(family, runs[-1].text + cluster)
            else:
                runs.append(Run(family, cluster))
        if missing:
            raise UnprintableError(tuple(missing))
        return tuple(runs)

    def check_plain(self, text: str) -> None:
        """Check that the first font alone draws `text` (the form's own words). Raises: UnprintableError."""
        missing = [
            tuple(map(ord, cluster))
            for cluster in split_clusters(text)
            if not _is_allowed(cluster) or self.faces[0].advance(cluster) is None
        ]
        if missing:
            raise UnprintableError(tuple(dict.fromkeys(missing)))

    def width(self, runs: Sequence[Run]) -> float:
        """Width of `runs` at size 1, in em, without kerning."""
        faces = {face.family: face for face in self.faces}
        return sum(faces[r.family].advance(c) or 0.0 for r in runs for c in split_clusters(r.text)) / 1000

    def describe(self) -> FontDescription:
        """The printable set in figures, and a sentence on what is missing."""
        characters = len(set().union(*(face.advances for face in self.faces)))
        sequences = len(set().union(*(face.sequences for face in self.faces)))
        families = tuple(face.family for face in self.faces)
        if any("IPAmj" in family for family in families):
            sentence = "文字情報基盤(MJ)の異体字を印刷できます / Moji_Joho variants can be printed"
        else:
            sentence = (
                "IPAmj明朝がないため、文字情報基盤(MJ)の異体字は印刷できません(発行を止めます) / "
                "without IPAmj Mincho no Moji_Joho variant can be printed: such a certificate is refused"
            )
        return FontDescription(
            families,
            tuple(face.version for face in self.faces),
            tuple(face.sha256 for face in self.faces),
            characters,
            sequences,
            sentence,
        )

    def _family_of(self, cluster: str) -> str | None:
        if not _is_allowed(cluster):
            return None
        return next((face.family for face in self.faces if face.advance(cluster) is not None), None)


def split_clusters(text: str) -> Iterator[str]:
    """Base + variation selector + combining marks, in order; joined again they are `text`."""
    start = 0
    for index in range(1, len(text) + 1):
        if index == len(text) or not _extends(text[index]):
            yield text[start:index]
            start = index


def _extends(character: str) -> bool:
    return _is_selector(ord(character)) or unicodedata.category(character) in ("Mn", "Mc", "Me")


def _is_selector(code: int) -> bool:
    return 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF


def _is_allowed(cluster: str) -> bool:
    # Control, format, private-use and unassigned code points have no agreed appearance on paper, bidi
    # controls change that of their neighbours; private use would also need /ActualText for PDF/A level A.
    first, *rest = cluster
    category = unicodedata.category(first)
    if (category[0] in "CZ" and ord(first) not in SPACES) or category[0] == "M" or _is_selector(ord(first)):
        return False
    return not any(_is_selector(ord(character)) for character in rest[1:])


def _load_face(path: Path) -> Face:
    try:
        content = path.read_bytes()
        with TTFont(path, lazy=True) as font:
            return _read_tables(font, path, hashlib.sha256(content).hexdigest())
    except (OSError, TTLibError, KeyError, AttributeError) as error:
        raise FontError("bad-font", f"{path.name} is missing or not a font with the needed tables") from error


def _read_tables(font: TTFont, path: Path, digest: str) -> Face:
    cmap = font.getBestCmap()
    scale = 1000 / font["head"].unitsPerEm
    metrics = font["hmtx"].metrics
    advances = {code: metrics[glyph][0] * scale for code, glyph in cmap.items()}
    sequences: dict[tuple[int, int], float] = {}
    for table in font["cmap"].tables:
        if table.format != 14:
            continue
        for selector, pairs in table.uvsDict.items():
            for base, glyph in pairs:
                # None: the sequence is listed and drawn with the base's own glyph.
                name = glyph or cmap.get(base)
                if name is not None:
                    sequences[base, selector] = metrics[name][0] * scale
    names = font["name"]
    return Face(
        names.getBestFamilyName() or "", names.getDebugName(5) or "", path, digest, advances, sequences
    )
