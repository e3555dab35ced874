"""What a sealed page may hold: the shape of its catalogue, form, signature dictionary, attachment and
security store.

Sources: ISO 32000-1 sections 7.11, 12.6 and 12.8, ISO 32000-2 section 12.8.4.3. Everything that a reader
could run, follow, hide or fetch is refused wherever in the file it stands, reachable or not.
This module checks no digest and no signature: `pdf_seal` does.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Final

from verifier.errors import FormatError, LimitError
from verifier.formats.pdf_objects import Name, Object, Ref, Section, Stream, Value, format_value

ATTACHMENT_NAME: Final = b"certificate.json"
MAX_ATTACHMENT_BYTES: Final = 256 << 10
MAX_DSS_STREAMS: Final = 16

_CATALOG_KEYS: Final = frozenset(
    {
        "AF",
        "AcroForm",
        "DSS",
        "Extensions",
        "Lang",
        "MarkInfo",
        "Metadata",
        "Names",
        "Outlines",
        "OutputIntents",
        "PageLayout",
        "PageMode",
        "Pages",
        "Perms",
        "StructTreeRoot",
        "Type",
        "Version",
        "ViewerPreferences",
    }
)
_WIDGET_KEYS: Final = frozenset(
    {"AP", "F", "FT", "P", "Rect", "StructParent", "Subtype", "T", "TU", "Type", "V"}
)
_SIGNATURE_KEYS: Final = frozenset(
    {"ByteRange", "Contents", "Filter", "Location", "M", "Name", "Reason", "Reference", "SubFilter", "Type"}
)
# Keys that start something, reach outside, or hide content. They are refused in every dictionary of the file.
_FORBIDDEN_KEYS: Final = frozenset(
    {
        "AA",
        "Collection",
        "EmbeddedFDFs",
        "Encrypt",
        "FFilter",
        "FDecodeParms",
        "JS",
        "JavaScript",
        "NeedAppearances",
        "OC",
        "OCProperties",
        "OpenAction",
        "PresSteps",
        "Requirements",
        "RichMediaContent",
        "SpiderInfo",
        "URI",
        "URLS",
        "XFA",
    }
)
_FORBIDDEN_ACTIONS: Final = frozenset(
    {
        "GoTo3DView",
        "GoToE",
        "GoToR",
        "Hide",
        "ImportData",
        "JavaScript",
        "Launch",
        "Movie",
        "Named",
        "Rendition",
        "ResetForm",
        "RichMediaExecute",
        "SetOCGState",
        "Sound",
        "SubmitForm",
        "Thread",
        "Trans",
        "URI",
    }
)
DOC_MDP: Final[list[Value]] = [
    {
        "Type": Name("SigRef"),
        "TransformMethod": Name("DocMDP"),
        "TransformParams": {"Type": Name("TransformParams"), "P": 1, "V": Name("1.2")},
    }
]


class PageProfile:
    """The signed revision with the questions that `pdf_seal.parse_sealed_page` asks it. All raise
    FormatError."""

    def __init__(self, section: Section) -> None:
        self._objects = section.objects
        trailer = section.trailer
        if set(section.objects) != set(range(1, len(section.objects) + 1)):
            raise FormatError("bad-seal", "the objects are not numbered without a gap")
        if set(trailer) - {"Info"} != {"Size", "Root", "ID"} or trailer["Size"] != len(section.objects) + 1:
            raise FormatError("bad-seal", "the trailer is not that of a first revision")
        self.catalog = self.dictionary(reference_number(trailer["Root"]))
        if set(self.catalog) - _CATALOG_KEYS or self.catalog.get("Type") != "Catalog":
            raise FormatError("bad-seal", "the catalogue holds something that the profile has not")

    def dictionary(self, number: int) -> Mapping[str, Value]:
        value = self._objects.get(number)
        if not isinstance(value, dict):
            raise FormatError("bad-seal", f"object {number} is not a dictionary")
        return value

    def stream(self, number: int) -> Stream:
        value = self._objects.get(number)
        if not isinstance(value, Stream):
            raise FormatError("bad-seal", f"object {number} is not a stream")
        return value

    def resolve(self, value: Value) -> Value:
        """The value itself, or the dictionary or array that it refers to."""
        if not isinstance(value, Ref):
            return value
        found = self._objects.get(value.number)
        if isinstance(found, Stream):
            raise FormatError("bad-seal", "a stream where none belongs")
        return found

    def refuse_active_content(self) -> None:
        """Look into every dictionary of the file, reachable or not."""
        fields = signatures = files = widgets = 0
        for value in self._objects.values():
            if isinstance(value, Stream) and ("F" in value.dictionary or "FFilter" in value.dictionary):
                raise FormatError("bad-seal", "a stream that lies outside the file")
            for item in _dictionaries(value):
                if forbidden := _FORBIDDEN_KEYS & set(item):
                    raise FormatError("active-content", f"/{min(forbidden)}")
                action = item.get("S")
                if isinstance(action, Name) and action in _FORBIDDEN_ACTIONS:
                    raise FormatError("active-content", f"action {action}")
                fields += "FT" in item
                signatures += "ByteRange" in item or item.get("Type") in ("Sig", "DocTimeStamp")
                files += "EF" in item or item.get("Type") == "EmbeddedFile"
                widgets += item.get("Type") == "Annot" or ("Subtype" in item and "Rect" in item)
        # One file is one specification and one stream.
        if (fields, signatures, widgets, files) != (1, 1, 1, 2):
            raise FormatError("bad-seal", "not exactly one field, signature, annotation and embedded file")

    def only_field(self) -> tuple[int, Mapping[str, Value]]:
        form = self.resolve(self.catalog.get("AcroForm"))
        if not isinstance(form, dict) or set(form) != {"Fields", "SigFlags"} or form["SigFlags"] != 3:
            raise FormatError("bad-seal", "the form holds more than the seal")
        number = _onlyreference_number(form["Fields"])
        field = self.dictionary(number)
        if not set(field) <= _WIDGET_KEYS or field.get("FT") != "Sig" or field.get("Subtype") != "Widget":
            raise FormatError("bad-seal", "the field is not the seal's widget")
        return number, field

    def check_certification(self, number: int, signature: Mapping[str, Value]) -> None:
        if not set(signature) <= _SIGNATURE_KEYS or "Contents" not in signature:
            raise FormatError("bad-seal", "the signature dictionary differs from the profile")
        kind = tuple(signature.get(key) for key in ("Type", "Filter", "SubFilter"))
        if kind != ("Sig", "Adobe.PPKLite", "ETSI.CAdES.detached"):
            raise FormatError("bad-seal", "not a PAdES signature")
        # Compared as written: in Python `true` would equal 1.
        certifies = format_value(signature.get("Reference")) == format_value(DOC_MDP)
        if not certifies or self.catalog.get("Perms") != {"DocMDP": Ref(number)}:
            raise FormatError("bad-seal", "not a certification signature that forbids every change")

    def check_page_tree(self, field_number: int) -> None:
        """The seal's widget is the only annotation of any page."""
        annotations: list[Value] = []
        for value in self._objects.values():
            for item in _dictionaries(value):
                listed = self.resolve(item.get("Annots"))
                annotations += listed if isinstance(listed, list) else []
        if annotations != [Ref(field_number)]:
            raise FormatError("bad-seal", "another annotation than the seal")

    def attachment(self) -> bytes:
        names = self.resolve(self.catalog.get("Names"))
        files = self.resolve(names.get("EmbeddedFiles")) if isinstance(names, dict) else None
        pairs = self.resolve(files.get("Names")) if isinstance(files, dict) else None
        if not isinstance(names, dict) or not set(names) <= {"EmbeddedFiles", "Dests"}:
            raise FormatError("bad-seal", "the name tree holds more than the attachment")
        if not isinstance(pairs, list) or len(pairs) != 2 or pairs[0] != ATTACHMENT_NAME:
            raise FormatError("bad-attachment", "not exactly one embedded file named certificate.json")
        if self.resolve(self.catalog.get("AF")) != [pairs[1]]:
            raise FormatError("bad-attachment", "the embedded file is not the associated file")
        specification = self.dictionary(reference_number(pairs[1]))
        if specification.get("AFRelationship") != "Data" or specification.get("F") != ATTACHMENT_NAME:
            raise FormatError("bad-attachment", "not the data of the page")
        embedded = self.resolve(specification.get("EF"))
        if not isinstance(embedded, dict) or not set(embedded) <= {"F", "UF"} or "F" not in embedded:
            raise FormatError("bad-attachment", "not one embedded file")
        if embedded.get("UF", embedded["F"]) != embedded["F"]:
            raise FormatError("bad-attachment", "two embedded files under one name")
        return _decoded(self.stream(reference_number(embedded["F"])), MAX_ATTACHMENT_BYTES)

    def validation_material(self) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        store = self.dictionary(reference_number(self.catalog.get("DSS")))
        if set(store) != {"Type", "Certs", "CRLs"} or store["Type"] != "DSS":
            raise FormatError("bad-seal", "the security store differs from the profile")
        return self._streams(store["Certs"]), self._streams(store["CRLs"])

    def extensible_objects(self) -> frozenset[int]:
        """Numbers of the objects that an archive increment may write anew: the form and the security
        store."""
        return frozenset(
            value.number
            for value in (self.catalog.get("AcroForm"), self.catalog.get("DSS"))
            if isinstance(value, Ref)
        )

    def _streams(self, value: Value) -> tuple[bytes, ...]:
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_DSS_STREAMS:
            raise FormatError("bad-seal", "the security store is empty or too large")
        streams = [self.stream(reference_number(item)) for item in value]
        if any(stream.dictionary for stream in streams):
            raise FormatError("bad-seal", "the security store holds encoded streams")
        return tuple(stream.data for stream in streams)


def _dictionaries(value: Object) -> Iterator[Mapping[str, Value]]:
    if isinstance(value, Stream):
        yield from _dictionaries(dict(value.dictionary))
    elif isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _dictionaries(item)
    elif isinstance(value, list):
        for item in value:
            yield from _dictionaries(item)


def reference_number(value: Value) -> int:
    if not isinstance(value, Ref):
        raise FormatError("bad-seal", "a reference is missing")
    return value.number


def _onlyreference_number(value: Value) -> int:
    if not isinstance(value, list) or len(value) != 1:
        raise FormatError("bad-seal", "not exactly one")
    return reference_number(value[0])


def _decoded(stream: Stream, limit: int) -> bytes:
    filters = stream.dictionary.get("Filter")
    if "DecodeParms" in stream.dictionary or filters not in (None, "FlateDecode"):
        raise FormatError("bad-attachment", "an encoding that the profile has not")
    if filters is None:
        data = stream.data
    else:
        inflater = zlib.decompressobj()
        try:
            data = inflater.decompress(stream.data, limit + 1)
        except zlib.error as error:
            raise FormatError("bad-attachment", "the embedded file is damaged") from error
        if len(data) <= limit and (not inflater.eof or inflater.unused_data):
            raise FormatError("bad-attachment", "the embedded file is damaged")
    if len(data) > limit:
        raise LimitError("attachment-too-large", f"more than {limit} bytes")
    return data
