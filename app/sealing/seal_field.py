"""The seal's field on the drawn page: one widget, on its page, in its form and in the structure tree.

Sources: ISO 32000-1 sections 12.5.6.19 and 12.7, PDF/A-3 (ISO 19005-3) section 6.4, PDF/UA-1 section 7.18.4.
The picture of the seal belongs to the drawn page; the field over it is transparent, so that clicking the
picture opens the signature.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from app.sealing.errors import PageError
from app.sealing.pdf_import import PageObjects
from verifier.formats.pdf_objects import Name, Real, Ref, Stream, Value

FIELD_NAME: Final = b"CitySeal"
# Print and Locked (ISO 32000-1 section 12.5.3): PDF/A wants the seal printed, nobody may move it.
_WIDGET_FLAGS: Final = 4 | 128

Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class SealField:
    """Where on the page the seal can be clicked.

    rectangle    (left, bottom, right, top) in points; None = invisible (0 0 0 0). The picture of the seal is
    part of the
                 drawn page: the field over it is transparent.
    description  for assistive technology (/TU and the structure element's /Alt)
    page         index of the page
    """

    rectangle: Rectangle | None = None
    description: str = "見本市のeシール（電子署名）MOCK/模擬 / e-seal of the city"
    page: int = 0


def add_field(page: PageObjects, field: SealField) -> Ref:
    """The widget, on its page and in the structure tree. Its /V is set when the signature is written."""
    if page.catalog.keys() & {"AcroForm", "DSS", "Perms", "Extensions"}:
        raise PageError("unsuitable-page", "the drawn page brings a form or a signature of its own")
    leaves = _page_refs(page)
    if not 0 <= field.page < len(leaves):
        raise PageError("unsuitable-page", "no such page")
    leaf = leaves[field.page]
    if any("Annots" in page.dictionary(other) for other in leaves):
        raise PageError("unsuitable-page", "the drawn page has annotations")
    description = b"\xfe\xff" + field.description.encode("utf-16-be")
    left, bottom, right, top = field.rectangle or (0.0, 0.0, 0.0, 0.0)
    widget: dict[str, Value] = {
        "Type": Name("Annot"),
        "Subtype": Name("Widget"),
        "FT": Name("Sig"),
        "T": FIELD_NAME,
        "TU": description,
        "F": _WIDGET_FLAGS,
        "Rect": [_number(value) for value in (left, bottom, right, top)],
        "P": leaf,
    }
    if field.rectangle is not None:
        box: list[Value] = [0, 0, _number(right - left), _number(top - bottom)]
        appearance: dict[str, Value] = {
            "Type": Name("XObject"),
            "Subtype": Name("Form"),
            "BBox": box,
            "Resources": {},
        }
        widget["AP"] = {"N": page.add(Stream(appearance, b""))}
    reference = page.add(widget)
    target = page.dictionary(leaf)
    target["Annots"] = [reference]
    target["Tabs"] = Name("S")
    _tag_field(page, reference, widget, leaf, description)
    return reference


def _tag_field(
    page: PageObjects, reference: Ref, widget: dict[str, Value], leaf: Ref, description: bytes
) -> None:
    """PDF/UA-1 section 7.18.4: a widget is nested within a Form element, found from it by the parent tree."""
    tree_ref = page.catalog.get("StructTreeRoot")
    if not isinstance(tree_ref, Ref):
        raise PageError("unsuitable-page", "the drawn page is not tagged")
    tree = page.dictionary(tree_ref)
    kids = tree.get("K")
    top_ref = kids if isinstance(kids, Ref) else page.array(kids)[0]
    top = page.dictionary(top_ref)
    if not isinstance(top_ref, Ref) or top.get("S") != "Document":
        raise PageError("unsuitable-page", "the structure does not begin with a Document")
    element = page.add(
        {
            "Type": Name("StructElem"),
            "S": Name("Form"),
            "P": top_ref,
            "Pg": leaf,
            "Alt": description,
            "K": [{"Type": Name("OBJR"), "Obj": reference, "Pg": leaf}],
        }
    )
    top["K"] = [*page.array(top.get("K")), element]
    parents = page.dictionary(tree.get("ParentTree"))
    numbers = _flat_numbers(page, parents)
    key = max([n for n in numbers[::2] if isinstance(n, int)], default=-1) + 1
    parents.pop("Kids", None)
    parents.pop("Limits", None)
    parents["Nums"] = [*numbers, key, element]
    tree["ParentTreeNextKey"] = key + 1
    widget["StructParent"] = key


def _flat_numbers(page: PageObjects, node: dict[str, Value], depth: int = 0) -> list[Value]:
    if depth > 8:
        raise PageError("unsuitable-page", "the parent tree is too deep")
    numbers = list(page.array(node["Nums"])) if "Nums" in node else []
    for kid in page.array(node["Kids"]) if "Kids" in node else []:
        numbers += _flat_numbers(page, page.dictionary(kid), depth + 1)
    return numbers


def _page_refs(page: PageObjects) -> list[Ref]:
    leaves: list[Ref] = []

    def walk(value: Value, depth: int) -> None:
        node = page.dictionary(value)
        if depth > 16 or not isinstance(value, Ref):
            raise PageError("unsuitable-page", "the page tree has another form")
        if node.get("Type") == "Page":
            leaves.append(value)
            return
        for kid in page.array(node.get("Kids")):
            walk(kid, depth + 1)

    walk(page.catalog.get("Pages"), 0)
    return leaves


def _number(value: float) -> Value:
    rounded = Decimal(str(value)).quantize(Decimal("0.0001")).normalize()
    return int(rounded) if rounded == rounded.to_integral_value() else Real(f"{rounded:f}")
