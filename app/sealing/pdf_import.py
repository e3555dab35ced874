"""A drawn page (Typst, or any sound PDF/A) read into the plain objects that a sealed page is written from.

pyHanko reads, because the drawing program may use any legal file structure; what comes out is the object
model of
`verifier.formats.pdf_objects`, numbered in the order in which the catalogue reaches the objects. Stream bytes
(XMP, fonts, attachment) are copied as stored. The same input gives the same objects.
This module adds nothing to the page: `page_seal` does.
"""

from __future__ import annotations

import io
from collections import deque
from decimal import Decimal
from typing import Any, Final

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.pdf_utils.reader import PdfFileReader

from app.sealing.errors import PageError
from verifier.formats.pdf_objects import (
    MAX_PDF_BYTES,
    MAX_PDF_OBJECTS,
    Name,
    Object,
    Real,
    Ref,
    Stream,
    Value,
)

ROOT_NUMBER: Final = 1


class PageObjects:
    """The objects of one page document: `catalog` is object 1; `add` gives new ones the next number."""

    def __init__(self, objects: dict[int, Object], info: Ref | None) -> None:
        self.objects = objects
        self.info = info

    @property
    def catalog(self) -> dict[str, Value]:
        """The document catalogue."""
        return self.dictionary(Ref(ROOT_NUMBER))

    def add(self, value: Object) -> Ref:
        """Take a new object in."""
        number = len(self.objects) + 1
        self.objects[number] = value
        return Ref(number)

    def dictionary(self, value: Value) -> dict[str, Value]:
        """The dictionary that `value` is or refers to. Raises: PageError."""
        found = self.objects.get(value.number) if isinstance(value, Ref) else value
        if not isinstance(found, dict):
            raise PageError("unsuitable-page", "a dictionary is missing")
        return found

    def array(self, value: Value) -> list[Value]:
        """The array that `value` is or refers to. Raises: PageError."""
        found = self.objects.get(value.number) if isinstance(value, Ref) else value
        if not isinstance(found, list):
            raise PageError("unsuitable-page", "an array is missing")
        return found


def import_page(pdf: bytes) -> PageObjects:
    """Read `pdf`. Raises: PageError("unreadable-page" | "page-too-large" | "unsuitable-page")."""
    if len(pdf) > MAX_PDF_BYTES:
        raise PageError("page-too-large", f"more than {MAX_PDF_BYTES} bytes")
    try:
        return _Importer(PdfFileReader(io.BytesIO(pdf))).run()
    except (PdfError, ValueError, KeyError, RecursionError) as error:
        raise PageError("unreadable-page", type(error).__name__) from error


class _Importer:
    def __init__(self, reader: PdfFileReader) -> None:
        self._reader = reader
        self._numbers: dict[int, int] = {}
        self._waiting: deque[Any] = deque()

    def run(self) -> PageObjects:
        if self._reader.encrypted or self._reader.embedded_signatures:
            raise PageError("unsuitable-page", "encrypted, or signed already")
        self._number(self._reader.root_ref)
        info = self._reader.trailer_view.raw_get("/Info") if "/Info" in self._reader.trailer_view else None
        objects: dict[int, Object] = {}
        info_ref = Ref(self._number(info)) if isinstance(info, generic.IndirectObject) else None
        while self._waiting:
            source = self._waiting.popleft()
            objects[self._numbers[source.idnum]] = self._object(source.get_object())
            if len(objects) > MAX_PDF_OBJECTS:
                raise PageError("page-too-large", f"more than {MAX_PDF_OBJECTS} objects")
        return PageObjects(objects, info_ref)

    def _number(self, source: Any) -> int:
        if source.idnum not in self._numbers:
            self._numbers[source.idnum] = len(self._numbers) + 1
            self._waiting.append(source)
        return self._numbers[source.idnum]

    def _object(self, value: Any) -> Object:
        if isinstance(value, generic.StreamObject):
            entries = {
                key[1:]: self._value(item)
                for key in value
                if key != "/Length" and not isinstance(item := value.raw_get(key), generic.NullObject)
            }
            return Stream(entries, value.encoded_data)
        return self._value(value)

    def _value(self, value: Any) -> Value:
        if isinstance(value, generic.IndirectObject):
            return Ref(self._number(value))
        if isinstance(value, generic.DictionaryObject):
            return {key[1:]: self._value(value.raw_get(key)) for key in value}
        if isinstance(value, generic.ArrayObject):
            return [self._value(value.raw_get(index)) for index in range(len(value))]
        if isinstance(value, generic.BooleanObject):
            return bool(value.value)
        if isinstance(value, generic.NullObject):
            return None
        if isinstance(value, generic.NameObject):
            return Name(value[1:])
        if isinstance(value, generic.TextStringObject):
            return bytes(value.original_bytes)
        if isinstance(value, generic.ByteStringObject):
            return bytes(value)
        if isinstance(value, generic.NumberObject):
            return int(value)
        if isinstance(value, (generic.FloatObject, Decimal)):
            return _real(Decimal(value))
        raise PageError("unsuitable-page", f"a value of type {type(value).__name__}")


def _real(value: Decimal) -> Value:
    # Typst writes at most 8 decimals; more than 11 would be more than the profile's one form allows.
    text = f"{value:.11f}".rstrip("0").rstrip(".")
    if "." in text:
        return Real(text)
    return int(text)
