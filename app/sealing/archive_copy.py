"""The archive copy of a sealed page: B-LTA, by one increment with newer revocation lists and a document
time-stamp.

Sources: ETSI EN 319 142-1 (B-LTA), ISO 32000-2 section 12.8.5. The signed revision stays byte for byte at the
front: its digest, its leaf and its seal are untouched, and readers of ours cut the increment off. The
time-stamp's field has no widget, so that nothing is added to what can be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from app.sealing.errors import PageError
from app.sealing.page_seal import write_with_gap
from verifier.errors import FormatError
from verifier.formats.encoding import sha256
from verifier.formats.pdf_objects import Name, Object, Ref, Stream, Value, parse_section
from verifier.formats.pdf_seal import parse_sealed_page

TIMESTAMP_DIGITS: Final = 8_192
TIMESTAMP_FIELD: Final = b"ArchiveTimeStamp"


def build_archive_copy(sealed: bytes, *, crls: Sequence[bytes], timestamp: Callable[[bytes], bytes]) -> bytes:
    """`sealed` with one archive increment. `crls`: newer lists (DER; may be empty); `timestamp`: digest →
    token (DER).

    Raises: PageError("unsuitable-page" | "seal-too-large"), and what `timestamp` raises.
    """
    try:
        if parse_sealed_page(sealed).increments:
            raise PageError("unsuitable-page", "an archive copy already")
        return _append(sealed, crls, timestamp)
    except FormatError as error:
        raise PageError("unsuitable-page", f"{error.code}: {error.detail}") from error


def _append(sealed: bytes, crls: Sequence[bytes], timestamp: Callable[[bytes], bytes]) -> bytes:
    first = parse_section(sealed)
    catalog = _dictionary(first.objects, first.trailer["Root"])
    form_ref, store_ref = catalog["AcroForm"], catalog["DSS"]
    form, store = _dictionary(first.objects, form_ref), _dictionary(first.objects, store_ref)
    if not isinstance(form_ref, Ref) or not isinstance(store_ref, Ref):
        raise PageError("unsuitable-page", "form and store are not objects of their own")
    number = len(first.objects) + 1
    signature: dict[str, Value] = {
        "Type": Name("DocTimeStamp"),
        "Filter": Name("Adobe.PPKLite"),
        "SubFilter": Name("ETSI.RFC3161"),
        "ByteRange": [0, 0, 0, 0],
        "Contents": bytes(TIMESTAMP_DIGITS // 2),
    }
    field: dict[str, Value] = {"FT": Name("Sig"), "T": TIMESTAMP_FIELD, "V": Ref(number)}
    objects: dict[int, Object] = {
        form_ref.number: {**form, "Fields": [*_array(form["Fields"]), Ref(number + 1)]},
        number: signature,
        number + 1: field,
    }
    if crls:
        added: list[Value] = [Ref(number + 2 + index) for index in range(len(crls))]
        objects[store_ref.number] = {**store, "CRLs": [*_array(store["CRLs"]), *added]}
        objects |= {number + 2 + index: Stream({}, crl) for index, crl in enumerate(crls)}
    trailer = {**first.trailer, "Size": number + 2 + len(crls), "Prev": first.table}
    document, (start, end) = write_with_gap(objects, trailer, signature, before=sealed)
    token = timestamp(sha256(document[:start] + document[end:])).hex().encode("ascii")
    if len(token) > TIMESTAMP_DIGITS:
        raise PageError("seal-too-large", "the time-stamp does not fit into its gap")
    archived = document[:start] + b"<" + token.ljust(TIMESTAMP_DIGITS, b"0") + b">" + document[end:]
    if parse_sealed_page(archived).revision != sealed:
        raise PageError("unsuitable-page", "the sealed revision changed")
    return archived


def _dictionary(objects: object, reference: Value) -> dict[str, Value]:
    found = (
        objects.get(reference.number) if isinstance(objects, dict) and isinstance(reference, Ref) else None
    )
    if not isinstance(found, dict):
        raise PageError("unsuitable-page", "a dictionary is missing")
    return found


def _array(value: Value) -> list[Value]:
    if not isinstance(value, list):
        raise PageError("unsuitable-page", "an array is missing")
    return value
