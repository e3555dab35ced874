"""The picture of the mayor's seal, drawn from glyph outlines and marked 模擬/MOCK.

It is a picture only: nobody may rely on it (the seal that counts is the signature in the file).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.pens.transformPen import TransformPen
from fontTools.ttLib import TTFont, TTLibError

from app.rendering.errors import FontError

_COLOUR: Final = "#c3262f"
_SIDE: Final = 240
_FRAME: Final = 8
_COLUMNS: Final = 3
_ROWS: Final = 2
_STRIP: Final = 52
"""Height of the strip at the foot that says 模擬 MOCK."""


def draw_seal_svg(text: str, font: Path) -> str:
    """A square seal: six characters in three columns from right to left, at the foot 「模擬 MOCK」.

    Raises: FontError when `font` lacks one of the characters.
    """
    width = (_SIDE - 4 * _FRAME) / _COLUMNS
    height = (_SIDE - 3 * _FRAME - _STRIP) / _ROWS
    glyphs = []
    try:
        with TTFont(font, lazy=True) as face:
            for index, character in enumerate(text):
                column, row = divmod(index, _ROWS)
                left = 2 * _FRAME + (_COLUMNS - 1 - column) * width
                glyphs.append(_outline(face, character, left, 1.25 * _FRAME + row * height, width, height))
            strip = "".join(
                _outline(face, character, 20 + 29 * index + (14 if index > 1 else 0), _SIDE - 55, 30, 40)
                for index, character in enumerate("模擬MOCK")
            )
    except (OSError, TTLibError, KeyError) as error:
        raise FontError("bad-font", "the seal cannot be drawn with this font") from error
    inner = _SIDE - 2 * _FRAME
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SIDE} {_SIDE}">'
        f'<rect x="{_FRAME / 2}" y="{_FRAME / 2}" width="{_SIDE - _FRAME}" height="{_SIDE - _FRAME}" '
        f'fill="none" stroke="{_COLOUR}" stroke-width="{_FRAME}"/>'
        f'<path d="{"".join(glyphs)}" fill="{_COLOUR}"/>'
        f'<rect x="{_FRAME}" y="{_SIDE - _FRAME - _STRIP}" width="{inner}" height="{_STRIP}" '
        f'fill="{_COLOUR}"/>'
        f'<path d="{strip}" fill="#fff"/></svg>'
    )


def _outline(face: TTFont, character: str, left: float, top: float, width: float, height: float) -> str:
    """The glyph as path data, stretched so that its em square fills the given box."""
    glyphs = face.getGlyphSet()
    name = face.getBestCmap()[ord(character)]
    em = face["head"].unitsPerEm
    advance = glyphs[name].width
    descent = 0.12 * em
    pen = SVGPathPen(glyphs, ntos=lambda number: f"{number:.1f}".rstrip("0").rstrip("."))
    x, y = width / advance, height / em
    glyphs[name].draw(TransformPen(pen, (x, 0, 0, -y, left, top + height - descent * y)))
    return str(pen.getCommands())
