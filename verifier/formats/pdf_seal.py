"""A sealed page taken apart: one signed revision, one certification signature, one attachment, nothing
active.

Sources: ISO 32000-1 section 12.8, ISO 32000-2 section 12.8.4.3 (DSS), ETSI EN 319 142-1 (PAdES B-LT).
Profile, on top of
`pdf_objects`: one signature field that is the one widget of the document; DocMDP with P 1; /ByteRange over
the whole revision but the signature's own hexadecimal text; chain and revocation lists in a DSS inside the
signed revision; exactly one embedded file, `certificate.json`. Scripts, forms, actions, links, optional
content and external files are refused, as is anything that only a later increment shows: increments may hold
DSS and DocTimeStamp objects alone, and are cut off.

`parse_sealed_page` reads; `verify_sealed_page` checks the digest, the signature and the time-stamp. Trust in
the certificates is not decided here: `x509_path` does that with the anchors of the caller.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509

from verifier.errors import FormatError
from verifier.formats.cms import ID_DATA, SignedData, parse_signed_data, verify_signed_data
from verifier.formats.encoding import sha256
from verifier.formats.pdf_increments import parse_increments
from verifier.formats.pdf_objects import Value, parse_section
from verifier.formats.pdf_profile import PageProfile, reference_number
from verifier.formats.timestamp import TimestampToken, parse_token, verify_token

CONTENTS_DIGITS: Final = 16_384
_DATE: Final = re.compile(rb"D:(\d{14})Z")


@dataclass(frozen=True, slots=True)
class SealedPage:
    """A sealed page, parsed; nothing is verified until `verify_sealed_page` has returned.

    revision       the signed revision: the bytes whose SHA-256 is `page_digest` and goes into the leaf
    signed_digest  SHA-256 over the two ranges of /ByteRange (32 bytes)
    claimed_time   /M, on the signer's word
    cms            the signature
    timestamp      its signature-time-stamp
    attachment     the bytes of certificate.json
    certificates   DER, from the DSS
    crls           DER, from the DSS
    increments     how many increments were cut off
    """

    revision: bytes
    signed_digest: bytes
    claimed_time: datetime
    cms: SignedData
    timestamp: TimestampToken
    attachment: bytes
    certificates: tuple[bytes, ...]
    crls: tuple[bytes, ...]
    increments: int

    @property
    def page_digest(self) -> bytes:
        """SHA-256 of the signed revision."""
        return sha256(self.revision)


@dataclass(frozen=True, slots=True)
class VerifiedSeal:
    """What the signatures of a page say; whether to believe the certificates is still open.

    signer      the page-seal certificate
    authority   the time-stamping authority's certificate
    sealed_at   the time of the time-stamp: the time for which the path of `signer` is to be checked
    """

    signer: x509.Certificate
    authority: x509.Certificate
    sealed_at: datetime


def parse_sealed_page(data: bytes) -> SealedPage:
    """Read a sealed page of our profile. Raises: FormatError, LimitError."""
    section = parse_section(data)
    page = PageProfile(section)
    page.refuse_active_content()
    field_number, field = page.only_field()
    signature_number = reference_number(field.get("V"))
    signature = page.dictionary(signature_number)
    page.check_certification(signature_number, signature)
    page.check_page_tree(field_number)
    contents = signature["Contents"]
    if not isinstance(contents, bytes) or len(contents) != CONTENTS_DIGITS // 2:
        raise FormatError("bad-seal", "the signature has another size than the profile's")
    revision = data[: section.end]
    gap_start, gap_end = _gap(signature.get("ByteRange"), contents, revision)
    cms = parse_signed_data(_unpadded(contents), content_type=ID_DATA)
    if cms.content is not None or cms.timestamp_token is None:
        raise FormatError("bad-seal", "the signature is not detached, or has no time-stamp")
    certificates, crls = page.validation_material()
    # The certificates beside the signature lie outside the signed bytes; their twins in the DSS do not.
    if len(cms.certificates) != 2 or not set(cms.certificates) <= set(certificates):
        raise FormatError("bad-seal", "the signature holds other certificates than the signed revision")
    return SealedPage(
        revision=revision,
        signed_digest=sha256(revision[:gap_start] + revision[gap_end:]),
        claimed_time=_date(signature.get("M")),
        cms=cms,
        timestamp=parse_token(cms.timestamp_token),
        attachment=page.attachment(),
        certificates=certificates,
        crls=crls,
        increments=parse_increments(data, section, page.extensible_objects()),
    )


def verify_sealed_page(page: SealedPage) -> VerifiedSeal:
    """Check the digest of the page, the signature over it and the time-stamp over the signature.

    Raises: FormatError("digest-mismatch" | "bad-signature" | "wrong-imprint" | "no-signing-certificate" | …).
    """
    signer = verify_signed_data(page.cms, message_digest=page.signed_digest)
    authority = verify_token(page.timestamp, digest=sha256(page.cms.signature))
    return VerifiedSeal(signer, authority, page.timestamp.time)


def _gap(value: Value, contents: bytes, revision: bytes) -> tuple[int, int]:
    """Where the signature's text lies; it must be exactly what /ByteRange leaves out."""
    if not isinstance(value, list) or len(value) != 4:
        raise FormatError("bad-byte-range", "not two ranges")
    numbers = [item for item in value if type(item) is int]
    if len(numbers) != 4:
        raise FormatError("bad-byte-range", "not two ranges")
    start, first, second, length = numbers
    text = b"<%b>" % contents.hex().encode("ascii")
    if start != 0 or second != first + len(text) or second + length != len(revision):
        raise FormatError("bad-byte-range", "the ranges do not cover the revision")
    if first < 0 or revision[first:second] != text:
        raise FormatError("bad-byte-range", "the ranges leave out something else than the signature")
    return first, second


def _unpadded(contents: bytes) -> bytes:
    """The DER structure at the front of the zero-filled contents."""
    if contents[:1] != b"\x30" or not 0x81 <= contents[1] <= 0x83:
        raise FormatError("bad-seal", "the contents do not begin with a structure")
    octets = contents[1] & 0x7F
    size = 2 + octets + int.from_bytes(contents[2 : 2 + octets], "big")
    if any(contents[size:]) or size > len(contents):
        raise FormatError("bad-seal", "something follows the signature in its contents")
    return contents[:size]


def _date(value: Value) -> datetime:
    match = _DATE.fullmatch(value) if isinstance(value, bytes) else None
    if match is None:
        raise FormatError("bad-seal", "the signing time is not a UTC date")
    try:
        return datetime.strptime(match[1].decode("ascii"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise FormatError("bad-seal", "the signing time is not a date") from error
