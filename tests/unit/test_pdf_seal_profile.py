"""The profile of a sealed page: what the strict reader gives, and what it refuses however well it is
signed."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest

from app.sealing import page_seal
from app.sealing.archive_copy import build_archive_copy
from app.sealing.errors import PageError
from app.sealing.page_seal import (
    SealField,
    finish_page_seal,
    prepare_page_seal,
    reopen_prepared_seal,
)
from tests.support.sealing_world import DATA, NOW, RECTANGLE, drawn_page, sealed_page, world
from verifier.errors import FormatError
from verifier.formats.pdf_objects import Name, Real, Ref, Stream, format_section, parse_section
from verifier.formats.pdf_seal import parse_sealed_page, verify_sealed_page


def test_a_sealed_page_gives_everything_back():
    data = sealed_page()
    page = parse_sealed_page(data)
    seal = verify_sealed_page(page)
    assert page.attachment == DATA
    assert page.revision == data
    assert page.page_digest == hashlib.sha256(data).digest()
    assert page.claimed_time == seal.sealed_at == NOW
    assert seal.signer == world().certificate("page-seal-1")
    assert seal.authority == world().certificate("tsa")
    assert page.certificates == world().pki.page_chain
    assert page.crls == world().material.crls
    assert page.increments == 0


def test_an_invisible_field_is_possible_too():
    page = parse_sealed_page(world().seal(field=SealField()).data)
    assert verify_sealed_page(page).sealed_at == NOW


def test_the_same_page_at_the_same_time_has_the_same_digest():
    one = prepare_page_seal(drawn_page(), at=NOW, material=world().material)
    two = prepare_page_seal(drawn_page(), at=NOW, material=world().material)
    assert one == two
    later = prepare_page_seal(drawn_page(), at=NOW + timedelta(seconds=1), material=world().material)
    assert later.digest_to_sign != one.digest_to_sign


def test_a_stored_preparation_is_finished_after_a_crash():
    prepared = prepare_page_seal(drawn_page(), at=NOW, material=world().material)
    again = reopen_prepared_seal(prepared.document)
    assert again == prepared
    signature = world().seal_key.sign_digest(again.digest_to_sign)
    assert signature == world().seal_key.sign_digest(prepared.digest_to_sign)
    sealed = finish_page_seal(again, signature, world().timestamp(again.timestamp_digest(signature)))
    verify_sealed_page(parse_sealed_page(sealed.data))


def test_only_a_prepared_document_is_reopened():
    prepared = prepare_page_seal(drawn_page(), at=NOW, material=world().material).document
    for document in (b"", drawn_page(), sealed_page(), prepared + b"\n", prepared.replace(b"/DSS", b"/DSX")):
        with pytest.raises(PageError, match="not-prepared"):
            reopen_prepared_seal(document)


def test_a_wrong_signature_or_token_does_not_leave_the_room():
    prepared = prepare_page_seal(drawn_page(), at=NOW, material=world().material)
    signature = world().seal_key.sign_digest(prepared.digest_to_sign)
    other = world().seal_key.sign_digest(bytes(32))
    token = world().timestamp(prepared.timestamp_digest(signature))
    for given, stamp in ((other, token), (signature, world().timestamp(bytes(32))), (signature, b"\x30\x00")):
        with pytest.raises(PageError, match="seal-not-sound"):
            finish_page_seal(prepared, given, stamp)


@pytest.mark.parametrize("pdf", [b"", b"%PDF-1.7\n", b"\x00" * 100])
def test_what_is_no_pdf_is_refused(pdf):
    with pytest.raises(PageError):
        prepare_page_seal(pdf, at=NOW, material=world().material)


def test_a_sealed_page_is_not_sealed_again():
    with pytest.raises(PageError):
        prepare_page_seal(sealed_page(), at=NOW, material=world().material)


def test_a_page_with_a_link_is_refused():
    linked = drawn_page('#link("https://example.com/")[go]')
    with pytest.raises(PageError, match="annotations"):
        prepare_page_seal(linked, at=NOW, material=world().material)


def test_a_page_that_is_not_there_is_refused():
    with pytest.raises(PageError, match="no such page"):
        prepare_page_seal(drawn_page(), at=NOW, material=world().material, field=SealField(page=1))


def test_several_pages_are_sealed_as_one():
    page = parse_sealed_page(world().seal(drawn_page("#pagebreak()\n第二頁")).data)
    assert verify_sealed_page(page).sealed_at == NOW


# What follows is signed correctly by the real key, and refused for what it holds.


def sealed_with(change):
    """A page whose objects `change` has altered before it was signed; the strict check of the room is left
    out."""
    prepared = prepare_page_seal(drawn_page(), at=NOW, material=world().material, field=SealField(RECTANGLE))
    section = parse_section(prepared.document)
    objects, trailer = dict(section.objects), dict(section.trailer)
    number = next(n for n, v in objects.items() if isinstance(v, dict) and v.get("Type") == "Sig")
    change(objects, trailer)
    trailer.setdefault("Size", len(objects) + 1)
    if trailer["Size"] == section.trailer["Size"]:
        trailer["Size"] = len(objects) + 1
    document, (start, end) = page_seal.write_with_gap(objects, trailer, objects[number])
    message_digest = hashlib.sha256(document[:start] + document[end:]).digest()
    attributes = page_seal.format_signed_attributes(
        page_seal.ID_DATA, message_digest, prepared.seal_certificate
    )
    signature = world().seal_key.sign_digest(hashlib.sha256(attributes).digest())
    cms = page_seal.format_signed_data(
        content_type=page_seal.ID_DATA,
        content=None,
        certificates=(prepared.seal_certificate, prepared.issuing_certificate),
        signer=world().certificate("page-seal-1"),
        message_digest=message_digest,
        signature=signature,
        timestamp_token=world().timestamp(prepared.timestamp_digest(signature)),
    )
    digits = cms.hex().encode().ljust(end - start - 2, b"0")
    return document[: start + 1] + digits + document[end - 1 :]


def find(objects, kind, value):
    return next(v for v in objects.values() if isinstance(v, dict) and v.get(kind) == value)


def add(objects, value):
    objects[len(objects) + 1] = value
    return Ref(len(objects))


def script(objects, _):
    find(objects, "Type", "Catalog")["OpenAction"] = {"S": Name("JavaScript"), "JS": b"app.alert(1)"}


def hidden_script(objects, _):
    add(objects, [{"S": Name("JavaScript"), "JS": b"app.alert(1)"}])


def additional_actions(objects, _):
    find(objects, "Type", "Page")["AA"] = {}


def launch(objects, _):
    add(objects, {"Type": Name("Action"), "S": Name("Launch"), "P": 1})


def remote(objects, _):
    add(objects, {"S": Name("GoToR")})


def forms_xfa(objects, _):
    find(objects, "SigFlags", 3)["XFA"] = b""


def second_field(objects, _):
    field = add(objects, {"FT": Name("Tx"), "T": b"text"})
    find(objects, "SigFlags", 3)["Fields"].append(field)


def second_annotation(objects, _):
    link = {"Type": Name("Annot"), "Subtype": Name("Link"), "Rect": [0, 0, 1, 1]}
    find(objects, "Type", "Page")["Annots"].append(add(objects, link))


def untyped_annotation(objects, _):
    find(objects, "Type", "Page")["Annots"].append({"Subtype": Name("Square")})


def second_file(objects, _):
    add(objects, Stream({"Type": Name("EmbeddedFile")}, b"{}"))


def second_file_name(objects, _):
    names = find(objects, "Type", "Catalog")["Names"]["EmbeddedFiles"]["Names"]
    names += [b"other.json", names[1]]


def other_file_name(objects, _):
    find(objects, "Type", "Catalog")["Names"]["EmbeddedFiles"]["Names"][0] = b"other.json"


def no_attachment(objects, _):
    find(objects, "Type", "Catalog").pop("Names")


def javascript_names(objects, _):
    find(objects, "Type", "Catalog")["Names"]["JavaScript"] = {}


def layers(objects, _):
    find(objects, "Type", "Catalog")["OCProperties"] = {}


def external_stream(objects, _):
    add(objects, Stream({"F": b"outside.bin"}, b""))


def changes_allowed(objects, _):
    find(objects, "Type", "Sig")["Reference"][0]["TransformParams"]["P"] = 2


def true_is_not_one(objects, _):
    find(objects, "Type", "Sig")["Reference"][0]["TransformParams"]["P"] = True


def no_certification(objects, _):
    find(objects, "Type", "Catalog").pop("Perms")


def second_signature(objects, _):
    add(objects, {"Type": Name("Sig"), "Contents": b""})


def other_filter(objects, _):
    find(objects, "Type", "Sig")["SubFilter"] = Name("adbe.pkcs7.detached")


def signed_time_without_zone(objects, _):
    find(objects, "Type", "Sig")["M"] = b"D:20261120010203+09'00'"


def no_lists(objects, _):
    find(objects, "Type", "DSS").pop("CRLs")


def vri(objects, _):
    find(objects, "Type", "DSS")["VRI"] = {}


def encrypted(_, trailer):
    trailer["Encrypt"] = {}


def previous_revision(_, trailer):
    trailer["Prev"] = 15


def object_without_number(objects, _):
    objects[len(objects) + 2] = []


def needs_appearances(objects, _):
    find(objects, "SigFlags", 3)["NeedAppearances"] = True


def chain_not_in_the_store(objects, _):
    store = find(objects, "Type", "DSS")
    store["Certs"] = store["Certs"][2:]


CHANGES = [
    script,
    hidden_script,
    additional_actions,
    launch,
    remote,
    forms_xfa,
    second_field,
    second_annotation,
    untyped_annotation,
    second_file,
    second_file_name,
    other_file_name,
    no_attachment,
    javascript_names,
    layers,
    external_stream,
    changes_allowed,
    true_is_not_one,
    no_certification,
    second_signature,
    other_filter,
    signed_time_without_zone,
    no_lists,
    vri,
    encrypted,
    previous_revision,
    object_without_number,
    needs_appearances,
    chain_not_in_the_store,
]


def test_a_harmless_change_before_signing_passes():
    """The positive twin of the refusals below: the way of making them is sound."""
    page = parse_sealed_page(sealed_with(lambda objects, _: add(objects, [Real("0.5")])))
    assert verify_sealed_page(page).sealed_at == NOW


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_content_outside_the_profile_is_refused_although_signed(change):
    with pytest.raises(FormatError):
        parse_sealed_page(sealed_with(change))


# Increments


def archived():
    return build_archive_copy(sealed_page(), crls=world().material.crls[:1], timestamp=world().timestamp)


def increment(objects, **trailer):
    data = sealed_page()
    first = parse_section(data)
    size = max({*first.objects, *objects}) + 1
    full = {**first.trailer, "Size": size, "Prev": first.table, **trailer}
    return data + format_section(objects, full, start=len(data))


def test_an_archive_increment_is_cut_off():
    page = parse_sealed_page(archived())
    assert page.increments == 1
    assert page.revision == sealed_page()
    assert page.page_digest == hashlib.sha256(sealed_page()).digest()
    verify_sealed_page(page)


def test_an_archive_copy_is_not_archived_again():
    with pytest.raises(PageError):
        build_archive_copy(archived(), crls=(), timestamp=world().timestamp)


def test_a_harmless_increment_passes():
    size = parse_section(sealed_page()).trailer["Size"]
    assert parse_sealed_page(increment({size: Stream({}, b"more evidence")})).increments == 1


def numbers():
    objects = parse_section(sealed_page()).objects
    kinds = {v.get("Type"): n for n, v in objects.items() if isinstance(v, dict)}
    form = next(n for n, v in objects.items() if isinstance(v, dict) and v.get("SigFlags") == 3)
    return {**kinds, "Form": form, "Objects": objects, "Size": len(objects) + 1}


def changed_page():
    known = numbers()
    return {known["Page"]: {**known["Objects"][known["Page"]], "Rotate": 90}}


def changed_content():
    known = numbers()
    number = known["Objects"][known["Page"]]["Contents"].number
    return {number: Stream({}, b"")}


def dropped_seal_field():
    return {numbers()["Form"]: {"Fields": [], "SigFlags": 3}}


def store_with_vri():
    known = numbers()
    return {known["DSS"]: {**known["Objects"][known["DSS"]], "VRI": {}}}


def new_annotation():
    return {numbers()["Size"]: {"Type": Name("Annot"), "Subtype": Name("Stamp"), "Rect": [0, 0, 9, 9]}}


def field_with_widget():
    field = {"FT": Name("Sig"), "T": b"X", "V": Ref(1), "Subtype": Name("Widget"), "Rect": [0, 0, 9, 9]}
    return {numbers()["Size"]: field}


def new_signature():
    return {numbers()["Size"]: {"Type": Name("Sig"), "ByteRange": [0, 0, 0, 0], "Contents": b""}}


@pytest.mark.parametrize(
    "objects",
    [
        changed_page,
        changed_content,
        dropped_seal_field,
        store_with_vri,
        new_annotation,
        field_with_widget,
        new_signature,
    ],
    ids=lambda change: change.__name__,
)
def test_other_increments_are_refused(objects):
    with pytest.raises(FormatError, match="bad-increment"):
        parse_sealed_page(increment(objects()))


def test_the_trailer_of_an_increment_is_bound_to_the_one_before():
    size = numbers()["Size"]
    good = {size: Stream({}, b"")}
    for trailer in ({"Root": Ref(2)}, {"Prev": 15}, {"Size": size + 7}, {"Encrypt": {}}):
        with pytest.raises(FormatError):
            parse_sealed_page(increment(good, **trailer))


@pytest.mark.parametrize("tail", [b"\n", b"\x00", b"%%EOF\n", b"xref\n", b"1 0 obj\n[ ]\nendobj\n"])
def test_nothing_else_follows_the_last_revision(tail):
    for data in (sealed_page(), archived()):
        with pytest.raises(FormatError):
            parse_sealed_page(data + tail)
