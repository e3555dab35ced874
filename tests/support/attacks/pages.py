"""Attacks on the bytes of a sealed page: something appended, altered, hidden or active.

In a bundle the log entry binds every byte of the page; these attacks are made on the page as a file of its own
or with an entry of its own, so that the reader of pages has to see them.
"""

from __future__ import annotations

from collections.abc import Callable

from app.sealing import page_seal
from app.sealing.archive_copy import build_archive_copy
from tests.support.attacks.case import Attempt, attack, control
from tests.support.mini_city import NOW, city, drawn
from tests.support.verifier_bundles import changed
from verifier.formats.cms import ID_DATA, format_signed_attributes, format_signed_data
from verifier.formats.encoding import sha256
from verifier.formats.pdf_objects import Name, Object, Ref, Stream, format_section, parse_section


@control
def bare_page() -> Attempt:
    """Nothing wrong, and nothing more than undetermined: a page alone cannot say whether it is in force."""
    return Attempt(_page())


@control
def archive_copy() -> Attempt:
    """The page with an increment of DSS and DocTimeStamp: the seal and the leaf are taken by truncation."""
    lists = city().material().crls[:1]
    return Attempt(build_archive_copy(_page(), crls=lists, timestamp=city().stamp()))


@control
def page_sealed_with_a_harmless_object() -> Attempt:
    """The way of making signed pages with other objects is sound."""
    return Attempt(_signed_with(lambda objects: objects.update({len(objects) + 1: [1, 2]})))


@attack
def page_with_one_changed_byte() -> Attempt:
    return Attempt(_with_changed_content())


@attack
def bundle_with_one_changed_byte_of_the_page() -> Attempt:
    return Attempt(changed(city().bundle, page=_with_changed_content()))


@attack
def page_with_appended_content() -> Attempt:
    known = _numbers()
    return Attempt(_appended({known["contents"]: Stream({}, b"BT (0) Tj ET")}))


@attack
def bundle_with_appended_content() -> Attempt:
    known = _numbers()
    page = _appended({known["contents"]: Stream({}, b"BT (0) Tj ET")})
    return Attempt(changed(city().bundle, page=page))


@attack
def page_with_appended_annotation() -> Attempt:
    note = {"Type": Name("Annot"), "Subtype": Name("FreeText"), "Rect": [0, 0, 300, 300], "Contents": b"0"}
    return Attempt(_appended({_numbers()["size"]: note}))


@attack
def page_with_appended_second_signature() -> Attempt:
    """Another city's proper signature over the whole file, in a field of its own."""
    section = parse_section(_page())
    known = _numbers()
    size = known["size"]
    signature = {
        "Type": Name("Sig"),
        "Filter": Name("Adobe.PPKLite"),
        "SubFilter": Name("ETSI.CAdES.detached"),
        "M": b"D:20261120030000Z",
        "ByteRange": [0, 0, 0, 0],
        "Contents": bytes(8192),
    }
    form = section.objects[known["form"]]
    field = {
        "FT": Name("Sig"),
        "T": b"second",
        "V": Ref(size),
        "Subtype": Name("Widget"),
        "Rect": [0, 0, 9, 9],
    }
    objects = {
        known["form"]: {**form, "Fields": [*form["Fields"], Ref(size + 1)]},
        size: signature,
        size + 1: {**field, "Type": Name("Annot")},
    }
    trailer = {**section.trailer, "Size": size + 2, "Prev": section.table}
    document, gap = page_seal.write_with_gap(objects, trailer, signature, before=_page())
    return Attempt(_filled(document, gap, by="twin"))


@attack
def page_with_bytes_after_its_end() -> Attempt:
    return Attempt(_page() + b"\n%%EOF\n")


@attack
def bundle_with_an_archive_copy() -> Attempt:
    return Attempt(changed(city().bundle, page=archive_copy().file))


@attack
def page_with_a_script_sealed_by_the_city() -> Attempt:
    def script(objects: dict[int, Object]) -> None:
        _find(objects, "Type", "Catalog")["OpenAction"] = {"S": Name("JavaScript"), "JS": b"app.alert(1)"}

    return Attempt(_signed_with(script))


@attack
def page_with_a_second_attachment_sealed_by_the_city() -> Attempt:
    def second(objects: dict[int, Object]) -> None:
        names = _find(objects, "Type", "Catalog")["Names"]["EmbeddedFiles"]["Names"]
        names += [b"other.json", names[1]]

    return Attempt(_signed_with(second))


@attack
def page_that_allows_changes_sealed_by_the_city() -> Attempt:
    def allow(objects: dict[int, Object]) -> None:
        _find(objects, "Type", "Sig")["Reference"][0]["TransformParams"]["P"] = 2

    return Attempt(_signed_with(allow))


@attack
def page_stamped_over_other_bytes() -> Attempt:
    return Attempt(_signed_with(lambda objects: None, stamped=bytes(32)))


@attack
def page_without_its_seal() -> Attempt:
    return Attempt(drawn(city().hanako.certificate))


@attack
def page_cut_in_half() -> Attempt:
    return Attempt(_page()[: len(_page()) // 2])


def _page() -> bytes:
    return city().page(city().hanako)


def _with_changed_content() -> bytes:
    content = parse_section(_page()).objects[_numbers()["contents"]].data
    page, place = bytearray(_page()), _page().index(content) + len(content) // 2
    page[place] ^= 1
    return bytes(page)


def _appended(objects: dict[int, Object]) -> bytes:
    first = parse_section(_page())
    size = max({*first.objects, *objects}) + 1
    trailer = {**first.trailer, "Size": size, "Prev": first.table}
    return _page() + format_section(objects, trailer, start=len(_page()))


def _numbers() -> dict[str, int]:
    objects = parse_section(_page()).objects
    page = _find(objects, "Type", "Page")
    form = next(n for n, value in objects.items() if isinstance(value, dict) and value.get("SigFlags") == 3)
    return {"contents": page["Contents"].number, "form": form, "size": len(objects) + 1}


def _find(objects, key: str, value: str):
    return next(item for item in objects.values() if isinstance(item, dict) and item.get(key) == value)


def _signed_with(change: Callable[[dict[int, Object]], None], *, stamped: bytes | None = None) -> bytes:
    """A page whose objects are changed **before** the city seals it; the room's own strict check is left out."""
    prepared = page_seal.prepare_page_seal(
        drawn(city().hanako.certificate),
        at=NOW,
        material=city().material(),
        field=page_seal.SealField(rectangle=(476.22, 76.54, 544.25, 144.57)),
    )
    section = parse_section(prepared.document)
    objects = dict(section.objects)
    signature = _find(objects, "Type", "Sig")
    change(objects)
    trailer = {**section.trailer, "Size": len(objects) + 1}
    document, gap = page_seal.write_with_gap(objects, trailer, signature)
    return _filled(document, gap, stamped=stamped)


def _filled(
    document: bytes, gap: tuple[int, int], *, by: str = "city", stamped: bytes | None = None
) -> bytes:
    pki = city().twin.pki if by == "twin" else city().pki
    party = city().party("page-seal-1", pki)
    start, end = gap
    digest = sha256(document[:start] + document[end:])
    signature = party.sign(sha256(format_signed_attributes(ID_DATA, digest, party.chain[0])))
    covered = sha256(page_seal.format_signature(signature))
    cms = format_signed_data(
        content_type=ID_DATA,
        content=None,
        certificates=party.chain,
        signer=pki.certificates["page-seal-1"],
        message_digest=digest,
        signature=signature,
        timestamp_token=city().stamp()(stamped or covered),
    )
    return document[: start + 1] + cms.hex().encode().ljust(end - start - 2, b"0") + document[end - 1 :]
