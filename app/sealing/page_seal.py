"""The page seal: a drawn page in, a page sealed with PAdES B-LT out, all in one revision.

Sources: ISO 32000-1 section 12.8, ETSI EN 319 142-1, PDF/A-3 (ISO 19005-3) section 6.4.3, PDF/UA-1 section
7.18. Profile and strict reader: `verifier.formats.pdf_seal`. The page is written anew in the one form of that
profile; its content, XMP, fonts and attachment are copied as they are. Added are the seal's field (one
widget, tagged as Form), the form, DocMDP, and a security store with the chain and the revocation lists.

Two halves, because the digest must be authorised between them:

    prepared = prepare_page_seal(pdf, at=…, material=…, field=…)     no key, no network; same input, same
    digest signature = … gate authorises prepared.digest, signer signs it …  (r ‖ s)
    token = … time-stamp over prepared.timestamp_digest(signature) …
    page = finish_page_seal(prepared, signature, token)

`PreparedSeal` is plain bytes: who stores `document` can finish after a crash with a new signature over the
same digest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509

from app.sealing.errors import PageError
from app.sealing.pdf_import import PageObjects, import_page
from app.sealing.seal_field import SealField, add_field
from app.sealing.validation_material import ValidationMaterial
from verifier.errors import FormatError
from verifier.formats.cms import (
    ID_DATA,
    format_signature,
    format_signed_attributes,
    format_signed_data,
)
from verifier.formats.encoding import sha256
from verifier.formats.pdf_objects import Name, Object, Ref, Stream, Value, format_section, parse_section
from verifier.formats.pdf_profile import DOC_MDP
from verifier.formats.pdf_seal import CONTENTS_DIGITS, parse_sealed_page, verify_sealed_page

REASON: Final = "発行者のeシール / e-seal of the issuing city"


@dataclass(frozen=True, slots=True)
class PreparedSeal:
    """A page that lacks only its signature.

    document           the whole file, its gap filled with zeros
    gap                offsets of `<` and after `>` of the signature's text
    digest_to_sign     SHA-256 over the signed attributes: what the signer signs (32 bytes)
    message_digest     SHA-256 over the document without the gap (32 bytes)
    seal_certificate   DER; issuing_certificate: DER
    """

    document: bytes
    gap: tuple[int, int]
    digest_to_sign: bytes
    message_digest: bytes
    seal_certificate: bytes
    issuing_certificate: bytes

    def timestamp_digest(self, signature: bytes) -> bytes:
        """What the time-stamp covers: SHA-256 of the signature value (ECDSA-Sig-Value in DER)."""
        return sha256(format_signature(signature))


@dataclass(frozen=True, slots=True)
class SealedBytes:
    """A sealed page: the file, its SHA-256 (the credential's page_digest), and the time of its time-stamp."""

    data: bytes
    page_digest: bytes
    sealed_at: datetime


def prepare_page_seal(
    pdf: bytes, *, at: datetime, material: ValidationMaterial, field: SealField | None = None
) -> PreparedSeal:
    """Write the page in its sealed form, without the signature. `at`: the claimed signing time (UTC, whole
    seconds kept).

    The same arguments give the same bytes. Raises: PageError.
    """
    page = import_page(pdf)
    widget = add_field(page, field or SealField())
    store = page.add(
        {
            "Type": Name("DSS"),
            "Certs": [page.add(Stream({}, der)) for der in material.certificates],
            "CRLs": [page.add(Stream({}, der)) for der in material.crls],
        }
    )
    catalog = page.catalog
    form: dict[str, Value] = {"Fields": [widget], "SigFlags": 3}
    catalog["AcroForm"] = page.add(form)
    catalog["DSS"] = store
    catalog["Extensions"] = {"ESIC": {"BaseVersion": Name("1.7"), "ExtensionLevel": 5}}
    try:
        document, gap = _write(page, widget, at)
    except FormatError as error:
        raise PageError("unsuitable-page", f"{error.code}: {error.detail}") from error
    return _prepared(document, gap, material.seal_certificate, material.issuing_certificate)


def reopen_prepared_seal(document: bytes) -> PreparedSeal:
    """A stored `PreparedSeal.document` made ready again: the same digest, to be authorised and signed anew.

    Raises: PageError("not-prepared").
    """
    try:
        section = parse_section(document)
        dictionaries = [value for value in section.objects.values() if isinstance(value, dict)]
        (signature,) = [value for value in dictionaries if value.get("Type") == "Sig"]
        (store,) = [value for value in dictionaries if value.get("Type") == "DSS"]
        streams = [section.objects[ref.number] for ref in store["Certs"][:2]]  # type: ignore[index, union-attr]
        seal, issuing = (stream.data for stream in streams)  # type: ignore[union-attr]
        _, start, end, length = (int(str(n)) for n in signature["ByteRange"])  # type: ignore[union-attr]
    except (FormatError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PageError("not-prepared", "not the document of a prepared seal") from error
    gap = b"<" + b"0" * CONTENTS_DIGITS + b">"
    if end + length != len(document) or document[start:end] != gap:
        raise PageError("not-prepared", "not the document of a prepared seal")
    return _prepared(document, (start, end), seal, issuing)


def finish_page_seal(prepared: PreparedSeal, signature: bytes, timestamp_token: bytes) -> SealedBytes:
    """Put signature (r ‖ s, 64 bytes) and time-stamp token (DER) in, and read the result back with the strict
    reader.

    Raises: PageError("seal-too-large" | "seal-not-sound") – a wrong signature or token comes out here.
    """
    cms = format_signed_data(
        content_type=ID_DATA,
        content=None,
        certificates=(prepared.seal_certificate, prepared.issuing_certificate),
        signer=x509.load_der_x509_certificate(prepared.seal_certificate),
        message_digest=prepared.message_digest,
        signature=signature,
        timestamp_token=timestamp_token,
    )
    digits = cms.hex().encode("ascii")
    if len(digits) > CONTENTS_DIGITS:
        raise PageError("seal-too-large", "the signature does not fit into its gap")
    start, end = prepared.gap
    text = b"<" + digits.ljust(CONTENTS_DIGITS, b"0") + b">"
    data = prepared.document[:start] + text + prepared.document[end:]
    try:
        page = parse_sealed_page(data)
        verified = verify_sealed_page(page)
    except FormatError as error:
        raise PageError("seal-not-sound", f"{error.code}: {error.detail}") from error
    return SealedBytes(data, page.page_digest, verified.sealed_at)


def seal_page(
    pdf: bytes,
    *,
    at: datetime,
    material: ValidationMaterial,
    sign_digest: Callable[[bytes], bytes],
    timestamp: Callable[[bytes], bytes],
    field: SealField | None = None,
) -> SealedBytes:
    """Both halves at once. `sign_digest`: digest → r ‖ s; `timestamp`: SHA-256 digest → token (DER).

    Raises: PageError, and what the two callables raise.
    """
    prepared = prepare_page_seal(pdf, at=at, material=material, field=field)
    signature = sign_digest(prepared.digest_to_sign)
    return finish_page_seal(prepared, signature, timestamp(prepared.timestamp_digest(signature)))


def _prepared(document: bytes, gap: tuple[int, int], seal: bytes, issuing: bytes) -> PreparedSeal:
    message_digest = sha256(document[: gap[0]] + document[gap[1] :])
    attributes = format_signed_attributes(ID_DATA, message_digest, seal)
    return PreparedSeal(document, gap, sha256(attributes), message_digest, seal, issuing)


def _write(page: PageObjects, widget: Ref, at: datetime) -> tuple[bytes, tuple[int, int]]:
    """The file with a gap of zeros and the right /ByteRange, whose digits are themselves part of the file."""
    moment = at.astimezone(UTC).strftime("D:%Y%m%d%H%M%SZ").encode("ascii")
    signature: dict[str, Value] = {
        "Type": Name("Sig"),
        "Filter": Name("Adobe.PPKLite"),
        "SubFilter": Name("ETSI.CAdES.detached"),
        "M": moment,
        "Reason": b"\xfe\xff" + REASON.encode("utf-16-be"),
        "Reference": DOC_MDP,
        "ByteRange": [0, 0, 0, 0],
        "Contents": bytes(CONTENTS_DIGITS // 2),
    }
    reference = page.add(signature)
    page.dictionary(widget)["V"] = reference
    page.catalog["Perms"] = {"DocMDP": reference}
    return write_with_gap(page.objects, _trailer(page, moment), signature)


def write_with_gap(
    objects: dict[int, Object], trailer: dict[str, Value], signature: dict[str, Value], *, before: bytes = b""
) -> tuple[bytes, tuple[int, int]]:
    """Write a revision after `before` and set the /ByteRange of `signature`, one of its objects, to all but
    its gap.

    Returns the whole file and the offsets of the gap. Raises: PageError, FormatError.
    """
    contents = signature["Contents"]
    if not isinstance(contents, bytes):
        raise PageError("unsuitable-page", "a signature without contents")
    gap = b"<" + b"0" * (2 * len(contents)) + b">"
    # Longer numbers move what they count: the second or third round finds them standing still.
    for _ in range(5):
        document = before + format_section(objects, trailer, start=len(before))
        start = document.rindex(gap)
        end = start + len(gap)
        ranges: list[Value] = [0, start, end, len(document) - end]
        if signature["ByteRange"] == ranges:
            return document, (start, end)
        signature["ByteRange"] = ranges
    raise PageError("unsuitable-page", "the byte range does not settle")


def _trailer(page: PageObjects, moment: bytes) -> dict[str, Value]:
    # The identifier depends on the content alone, so that the same page at the same time is the same file.
    identifier = sha256(format_section(page.objects, {"M": moment}))[:16]
    trailer: dict[str, Value] = {
        "Size": len(page.objects) + 1,
        "Root": Ref(1),
        "ID": [identifier, identifier],
    }
    if page.info is not None:
        trailer["Info"] = page.info
    return trailer
