"""What can go wrong while drawing, as one small tree.

RenderingError
├── UnprintableError    no font of the city has a glyph for these code points; install another font
├── NoRoomError         a text does not fit its field at the smallest readable size
├── FormDataError       the data is not what the form prints
├── FontError           a font file is missing, damaged or not the one that was asked for
└── PageError           the drawn file cannot be read back (the gate's own failure, not a difference)

Drawing fails closed: there is no page with a replaced, missing or cut character.
"""

from __future__ import annotations

from app.errors import CityError


class RenderingError(CityError):
    """No page came out."""


class UnprintableError(RenderingError):
    """`clusters` are the code points without a glyph, one tuple for each base with its selector and marks."""

    def __init__(self, clusters: tuple[tuple[int, ...], ...]) -> None:
        names = ", ".join(" ".join(f"U+{code:04X}" for code in cluster) for cluster in clusters)
        super().__init__("no-glyph", f"no font has {names}")
        self.clusters = clusters


class NoRoomError(RenderingError):
    """`field` is the place on the form."""

    def __init__(self, field: str) -> None:
        super().__init__("no-room", f"the text of {field} does not fit its place on the form")
        self.field = field


class FormDataError(RenderingError):
    """`path` is the place in the data."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__("bad-form-data", f"{path}: {detail}")
        self.path = path


class FontError(RenderingError):
    """The fonts are not as configured."""


class PageError(RenderingError):
    """The drawn file is not a page of ours."""
