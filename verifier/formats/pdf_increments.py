"""What may follow a sealed revision: archive increments of DSS and DocTimeStamp objects, and nothing else.

Source: ISO 32000-2 sections 12.8.4.3 and 12.8.5, ETSI EN 319 142-1 (B-LTA). Each increment has the shape of
`pdf_objects`. It may write the form (to list a time-stamp field) and the security store anew, and add
streams, DocTimeStamp dictionaries and their fields; fields have no widget, so nothing of it can be seen on
the page. What an increment says is not evidence here: the signed revision is judged alone, this module only
refuses to be shown anything else with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from verifier.errors import FormatError, LimitError
from verifier.formats.pdf_objects import Object, Ref, Section, Stream, Value, parse_section

MAX_INCREMENTS: Final = 8

_TIMESTAMP_KEYS: Final = frozenset({"ByteRange", "Contents", "Filter", "SubFilter", "Type"})
_FIELD_KEYS: Final = frozenset({"FT", "T", "TU", "V"})


def parse_increments(data: bytes, first: Section, extensible: frozenset[int]) -> int:
    """How many increments follow the revision `first` in `data`. `extensible`: numbers of the form and the
    store.

    Raises: FormatError("bad-increment" | "bad-pdf"), LimitError.
    """
    count = 0
    section = first
    known = set(first.objects)
    form_fields = _fields(first.objects, extensible)
    while section.end != len(data):
        count += 1
        if count > MAX_INCREMENTS:
            raise LimitError("too-many-increments", f"more than {MAX_INCREMENTS}")
        before = section
        section = parse_section(data, before.end)
        _check_trailer(section, before, len(known | set(section.objects)) + 1)
        for number, value in section.objects.items():
            if number in known:
                _check_rewritten(number, value, extensible, form_fields)
            else:
                _check_added(value)
        form_fields = _fields(section.objects, extensible) or form_fields
        known |= set(section.objects)
    return count


def _check_trailer(section: Section, before: Section, size: int) -> None:
    trailer = {key: value for key, value in section.trailer.items() if key != "Prev"}
    expected = {key: value for key, value in before.trailer.items() if key != "Prev"} | {"Size": size}
    if trailer != expected or section.trailer.get("Prev") != before.table:
        raise FormatError("bad-increment", "the trailer differs from the one before")


def _fields(objects: Mapping[int, Object], extensible: frozenset[int]) -> list[Value]:
    for number in extensible & set(objects):
        value = objects[number]
        if isinstance(value, dict) and isinstance(listed := value.get("Fields"), list):
            return listed
    return []


def _check_rewritten(number: int, value: Object, extensible: frozenset[int], fields: list[Value]) -> None:
    if number not in extensible or not isinstance(value, dict):
        raise FormatError("bad-increment", f"object {number} is changed after the seal")
    if value.get("Type") == "DSS":
        lists = [value[key] for key in ("Certs", "CRLs", "OCSPs") if key in value]
        if set(value) <= {"Type", "Certs", "CRLs", "OCSPs"} and all(map(_is_references, lists)):
            return
    elif set(value) == {"Fields", "SigFlags"} and value["SigFlags"] == 3 and _is_references(value["Fields"]):
        listed = value["Fields"]
        if isinstance(listed, list) and listed[: len(fields)] == fields:
            return
    raise FormatError("bad-increment", f"object {number} is changed after the seal")


def _is_references(value: Value) -> bool:
    return isinstance(value, list) and all(isinstance(item, Ref) for item in value)


def _check_added(value: Object) -> None:
    if isinstance(value, Stream) and not value.dictionary:
        return
    if isinstance(value, dict):
        stamp = tuple(value.get(key) for key in ("Type", "Filter", "SubFilter"))
        if stamp == ("DocTimeStamp", "Adobe.PPKLite", "ETSI.RFC3161") and set(value) == _TIMESTAMP_KEYS:
            return
        if set(value) <= _FIELD_KEYS and value.get("FT") == "Sig" and isinstance(value.get("V"), Ref):
            return
    raise FormatError("bad-increment", "something else than a time-stamp or validation material was added")
