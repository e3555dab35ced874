"""Reads the text of a tagged PDF page back, element by element, the way a screen reader meets it.

Text is taken from the page's content through each font's ToUnicode map and /ActualText (ISO 32000-1 sections
9.10 and 14.9.4) and put together in the order of the structure tree (section 14.7), so that a cell of a table
is known as a cell. Independent of the engine that drew the page. It reads pages of this house: one page,
Identity-H fonts, everything visible that is tagged; anything else raises `PageError`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pikepdf

from app.rendering.errors import PageError

MAX_PAGE_BYTES: Final = 8 << 20
MAX_DEPTH: Final = 32
_OPERATORS: Final = "BDC BMC EMC Tf Tj TJ ' \" Tr"
_BLOCK: Final = re.compile(rb"begin(bfchar|bfrange)(.*?)end\1", re.DOTALL)
_TOKEN: Final = re.compile(rb"<([0-9A-Fa-f\s]*)>|(\[)|(\])")


@dataclass(frozen=True, slots=True)
class Element:
    """A structure element: its role (`P`, `TD`, …), the text below it in order, and its child elements."""

    role: str
    text: str
    children: tuple[Element, ...]

    def find_all(self, role: str) -> Iterator[Element]:
        """Every element of `role` at or below this one, in reading order."""
        if self.role == role:
            yield self
        for child in self.children:
            yield from child.find_all(role)


@dataclass(frozen=True, slots=True)
class TaggedPage:
    """What was read: the structure tree and the embedded files as (name, relationship, content)."""

    root: Element
    attachments: tuple[tuple[str, str, bytes], ...]


def read_tagged_page(pdf: bytes) -> TaggedPage:
    """Read a page of this house. Raises: PageError."""
    if len(pdf) > MAX_PAGE_BYTES:
        raise PageError("page-too-large", f"more than {MAX_PAGE_BYTES} bytes")
    try:
        with pikepdf.open(io.BytesIO(pdf)) as document:
            if len(document.pages) != 1:
                raise PageError("bad-page", "not one page")
            texts = _marked_texts(document.pages[0])
            root = document.Root.StructTreeRoot
            return TaggedPage(_element(root, texts, 0), tuple(_attachments(document)))
    except (pikepdf.PdfError, AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise PageError("bad-page", "not a tagged page that can be read") from error


def _element(node: Any, texts: dict[int, str], depth: int) -> Element:
    if depth > MAX_DEPTH:
        raise PageError("bad-page", "the structure tree is too deep")
    parts: list[str] = []
    children: list[Element] = []
    kids = node.get("/K")
    for kid in kids if isinstance(kids, pikepdf.Array) else [] if kids is None else [kids]:
        if isinstance(kid, int):
            parts.append(texts.get(kid, ""))
        elif kid.get("/Type") == pikepdf.Name.MCR:
            parts.append(texts.get(int(kid.MCID), ""))
        elif kid.get("/Type") != pikepdf.Name.OBJR:
            child = _element(kid, texts, depth + 1)
            children.append(child)
            parts.append(child.text)
    text = str(node.ActualText) if "/ActualText" in node else "".join(parts)
    return Element(str(node.get("/S", "/Root"))[1:], text, tuple(children))


def _marked_texts(page: pikepdf.Page) -> dict[int, str]:
    fonts = {name: _to_unicode(font) for name, font in page.resources.get("/Font", {}).items()}
    properties = page.resources.get("/Properties", {})
    texts: dict[int, str] = {}
    marks: list[tuple[int | None, str | None]] = []  # (MCID, ActualText) of each open marked-content sequence
    font: dict[int, str] = {}
    for operands, operator in pikepdf.parse_content_stream(page, _OPERATORS):
        match str(operator):
            case "BDC":
                mark = operands[1] if isinstance(operands[1], pikepdf.Dictionary) else properties[operands[1]]
                mcid = int(mark.MCID) if "/MCID" in mark else None
                marks.append((mcid, str(mark.ActualText) if "/ActualText" in mark else None))
                _add(texts, marks, "", opened=True)
            case "BMC":
                marks.append((None, None))
            case "EMC":
                marks.pop()
            case "Tf":
                font = fonts[str(operands[0])]
            case "Tr":
                if int(operands[0]) != 0:
                    raise PageError("bad-page", "text that is not simply filled")
            case "TJ":
                for item in operands[0]:
                    if isinstance(item, pikepdf.String):
                        _add(texts, marks, _decode(bytes(item), font))
            case _:
                _add(texts, marks, _decode(bytes(operands[-1]), font))
    return texts


def _add(
    texts: dict[int, str], marks: list[tuple[int | None, str | None]], text: str, *, opened: bool = False
) -> None:
    # The outermost replacement stands for all it encloses; it counts once, when its sequence is opened.
    index = next((i for i, (_, actual) in enumerate(marks) if actual is not None), None)
    if index is not None:
        text = marks[index][1] or "" if opened and index == len(marks) - 1 else ""
    owner = next((mcid for mcid, _ in reversed(marks) if mcid is not None), None)
    if owner is not None:
        texts[owner] = texts.get(owner, "") + text


def _decode(codes: bytes, font: dict[int, str]) -> str:
    try:
        return "".join(font[int.from_bytes(codes[i : i + 2], "big")] for i in range(0, len(codes), 2))
    except KeyError as error:
        raise PageError("unmapped-glyph", "a glyph that maps to no text") from error


def _to_unicode(font: Any) -> dict[int, str]:
    if font.get("/Encoding") != pikepdf.Name("/Identity-H"):
        raise PageError("bad-page", "a font that is not Identity-H")
    mapping: dict[int, str] = {}
    for kind, body in _BLOCK.findall(font.ToUnicode.read_bytes()):
        tokens = [
            open_ or close or bytes.fromhex(code.decode()) for code, open_, close in _TOKEN.findall(body)
        ]
        if kind == b"bfchar":
            for code, text in zip(tokens[::2], tokens[1::2], strict=True):
                mapping[int.from_bytes(code, "big")] = text.decode("utf-16-be")
        elif b"[" in tokens:
            raise PageError("bad-page", "an array in a ToUnicode range")
        else:
            for first, last, text in zip(tokens[::3], tokens[1::3], tokens[2::3], strict=True):
                start = int.from_bytes(first, "big")
                for step in range(int.from_bytes(last, "big") - start + 1):
                    units = text[:-2] + (int.from_bytes(text[-2:], "big") + step).to_bytes(2, "big")
                    mapping[start + step] = units.decode("utf-16-be")
    return mapping


def _attachments(document: pikepdf.Pdf) -> Iterator[tuple[str, str, bytes]]:
    # Every file specification with a file in it, whether or not the catalogue names it.
    for thing in document.objects:
        if isinstance(thing, pikepdf.Dictionary) and "/EF" in thing:
            content = thing.EF.F.read_bytes()
            yield str(thing.UF), str(thing.get("/AFRelationship", "")), content
