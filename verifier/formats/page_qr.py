"""The code on the printed page: a signed statement of fixed length, checked with a camera and no network.

    https://door.mihon.example/v#AQ8jC…        {public_url}/v# + base64url(statement ‖ signature)

The statement is a struct of STATEMENT_BYTES bytes (layout in docs/formats/page-qr.md), the signature the 64
bytes r ‖ s of ECDSA P-256 with SHA-256 (FIPS 186-5) by the city's *credential* key over
PAGE_QR_LABEL ‖ statement. What follows `#` is a fragment (RFC 3986 section 3.5): a browser shows it to the
page, never to a server. One statement has exactly one encoding; every other byte string is refused. The
length depends on `public_url` only, so that one deployment always draws the same QR version.

The code says what the city once signed. It does not say that the certificate is still in force (that needs
the status list) and it is no substitute for the sealed file. This module holds no key, no clock and no trust.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import base64url_decode, base64url_encode
from verifier.formats.jose import thumbprint, verify_es256
from verifier.formats.names import PAGE_QR_LABEL

MAX_PAGE_QR_BYTES: Final = 412  # byte capacity of QR version 15, error correction M (ISO/IEC 18004 table 7)
STATEMENT_VERSION: Final = 1
CERTIFICATE_ID_BYTES: Final = 16
NAME_BYTES: Final = 96
KEY_ID_BYTES: Final = 8
SIGNATURE_BYTES: Final = 64
STATEMENT_BYTES: Final = 158
PAGE_QR_BYTES: Final = STATEMENT_BYTES + SIGNATURE_BYTES  # 222 = 3 × 74: base64url without spare bits

# Codes are part of the format: append, never renumber.
DOCUMENT_KINDS: Final[Mapping[str, int]] = {"income_certificate": 1}
MAX_FIGURE: Final = (1 << 47) - 1  # signed 48-bit integers: 140 trillion yen either way

_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_FLAG_EXEMPT: Final = 0x01
_FLAG_NAME_TRUNCATED: Final = 0x02
_PATH: Final = "/v#"
_PUBLIC_URL: Final = re.compile(
    r"https://[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*(?::[1-9][0-9]{0,4})?"
)
# A cluster (base and variation selector) is at most 8 bytes, so a name that did not fit fills at least this.
_SHORTEST_TRUNCATED_NAME: Final = NAME_BYTES - 7


@dataclass(frozen=True, slots=True)
class PageStatement:
    """What the code on the page says."""

    city_code: str
    """Six digits (全国地方公共団体コード)."""
    certificate_id: bytes
    """16 random bytes; the printed number derives from them."""
    document_kind: str
    """A key of DOCUMENT_KINDS."""
    exempt: bool
    """True for a 非課税証明書."""
    fiscal_year: int
    """年度, Common Era."""
    name: str
    """As printed, exact code points; shortened if `name_truncated`."""
    name_truncated: bool
    birthdate: date
    income_total: int
    """合計所得金額, yen."""
    gross_total: int
    """総所得金額等, yen."""
    annual_tax_total: int
    """年税額, yen."""
    issued_on: date
    """Legal day in Asia/Tokyo."""
    valid_until: date
    """Last day of validity, Asia/Tokyo."""
    key_id: bytes
    """First 8 bytes of the RFC 7638 SHA-256 thumbprint of the credential key."""


@dataclass(frozen=True, slots=True)
class SignedPageStatement:
    """A statement read from a code. Nothing in it is true until `verify_page_signature` returned."""

    public_url: str
    statement: PageStatement
    signature: bytes
    """r ‖ s, 64 bytes."""


def page_key_id(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """The first 8 bytes of the RFC 7638 SHA-256 thumbprint of a P-256 key: to find the key, not to trust it.

    The base64url text of the full thumbprint (the `kid` elsewhere) begins with the same ten characters.
    Raises: FormatError("bad-jwk") for another curve.
    """
    return base64url_decode(thumbprint(public_key))[:KEY_ID_BYTES]


def build_statement_from(data: Mapping[str, Any], certificate_id: bytes, key_id: bytes) -> PageStatement:
    """The statement for the certificate `data` (the contents of certificate.json).

    A name longer than NAME_BYTES is cut at a cluster boundary (a variation selector stays with its base).
    Raises: FormatError when a value is missing or has no encoding.
    """
    try:
        name, truncated = _fit_name(data["subject"]["name"])
        statement = PageStatement(
            city_code=data["issuing_authority"]["code"],
            certificate_id=certificate_id,
            document_kind=data["document_kind"],
            exempt=data["tax"]["exempt"],
            fiscal_year=data["fiscal_year"],
            name=name,
            name_truncated=truncated,
            birthdate=date.fromisoformat(data["subject"]["birthdate"]),
            income_total=data["income"]["total"],
            gross_total=data["income"]["gross_total"],
            annual_tax_total=data["tax"]["annual_total"],
            issued_on=date.fromisoformat(data["issued_on"]),
            valid_until=date.fromisoformat(data["valid_until"]),
            key_id=key_id,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError("bad-page-statement", "the certificate lacks what the page code states") from error
    _format_statement(statement)
    return statement


def statement_to_be_signed(statement: PageStatement) -> bytes:
    """PAGE_QR_LABEL ‖ statement: the message of the signature; its SHA-256 is what the signer signs.

    Raises: FormatError.
    """
    return PAGE_QR_LABEL + _format_statement(statement)


def page_qr_length(public_url: str) -> int:
    """Length in bytes of every code text below `public_url`.

    Raises: FormatError, LimitError.
    """
    if not _PUBLIC_URL.fullmatch(public_url):
        raise FormatError("bad-public-url", "public_url must be https://host[:port] in lower case")
    length = len(public_url) + len(_PATH) + PAGE_QR_BYTES * 4 // 3
    if length > MAX_PAGE_QR_BYTES:
        raise LimitError("page-qr-too-long", f"more than {MAX_PAGE_QR_BYTES} bytes")
    return length


def format_page_qr(public_url: str, statement: PageStatement, signature: bytes) -> str:
    """The text of the code: ASCII, always `page_qr_length(public_url)` characters.

    Raises: FormatError, LimitError.
    """
    page_qr_length(public_url)
    _check_signature_range(signature)
    return public_url + _PATH + base64url_encode(_format_statement(statement) + signature)


def parse_page_qr(text: str) -> SignedPageStatement:
    """Inverse of `format_page_qr`; accepts nothing that it would not write.

    Raises: FormatError, LimitError.
    """
    if len(text) > MAX_PAGE_QR_BYTES:
        raise LimitError("page-qr-too-long", f"more than {MAX_PAGE_QR_BYTES} characters")
    public_url, separator, fragment = text.partition(_PATH)
    if not separator or len(text) != page_qr_length(public_url):
        raise FormatError("bad-page-qr", "not the text of a page code")
    payload = base64url_decode(fragment)
    if len(payload) != PAGE_QR_BYTES:
        raise FormatError("bad-page-qr", "not the length of a signed statement")
    signature = payload[STATEMENT_BYTES:]
    _check_signature_range(signature)
    return SignedPageStatement(public_url, _parse_statement(payload[:STATEMENT_BYTES]), signature)


def verify_page_signature(signed: SignedPageStatement, public_key: ec.EllipticCurvePublicKey) -> None:
    """Check that `public_key` (P-256) is the key the statement names and made the signature.

    Whether the key is the city's is the caller's question (trust list).
    Raises: FormatError("other-key"), FormatError("bad-signature").
    """
    if page_key_id(public_key) != signed.statement.key_id:
        raise FormatError("other-key", "the statement names another key")
    verify_es256(public_key, signed.signature, statement_to_be_signed(signed.statement))


def _format_statement(statement: PageStatement) -> bytes:
    s = statement
    try:
        name = s.name.encode("utf-8")
    except (UnicodeEncodeError, AttributeError) as error:
        raise FormatError("bad-page-statement", "the name is not valid Unicode text") from error
    _check_statement(s, len(name))
    flags = _FLAG_EXEMPT * s.exempt | _FLAG_NAME_TRUNCATED * s.name_truncated
    return b"".join(
        (
            bytes((STATEMENT_VERSION,)),
            int(s.city_code).to_bytes(3, "big"),
            s.certificate_id,
            bytes((DOCUMENT_KINDS[s.document_kind], flags)),
            s.fiscal_year.to_bytes(2, "big"),
            name.ljust(NAME_BYTES, b"\x00"),
            _format_date(s.birthdate),
            s.income_total.to_bytes(6, "big", signed=True),
            s.gross_total.to_bytes(6, "big", signed=True),
            s.annual_tax_total.to_bytes(6, "big", signed=True),
            _format_date(s.issued_on),
            _format_date(s.valid_until),
            s.key_id,
        )
    )


def _parse_statement(data: bytes) -> PageStatement:
    if data[0] != STATEMENT_VERSION:
        raise FormatError("bad-page-statement", "unknown version")
    kind = next((name for name, code in DOCUMENT_KINDS.items() if code == data[20]), None)
    flags = data[21]
    if kind is None or flags & ~(_FLAG_EXEMPT | _FLAG_NAME_TRUNCATED):
        raise FormatError("bad-page-statement", "unknown kind of document or flag")
    try:
        name = data[24:120].rstrip(b"\x00").decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("bad-page-statement", "the name is not UTF-8") from error
    statement = PageStatement(
        city_code=f"{int.from_bytes(data[1:4], 'big'):06d}",
        certificate_id=data[4:20],
        document_kind=kind,
        exempt=bool(flags & _FLAG_EXEMPT),
        fiscal_year=int.from_bytes(data[22:24], "big"),
        name=name,
        name_truncated=bool(flags & _FLAG_NAME_TRUNCATED),
        birthdate=_parse_date(data[120:124]),
        income_total=int.from_bytes(data[124:130], "big", signed=True),
        gross_total=int.from_bytes(data[130:136], "big", signed=True),
        annual_tax_total=int.from_bytes(data[136:142], "big", signed=True),
        issued_on=_parse_date(data[142:146]),
        valid_until=_parse_date(data[146:150]),
        key_id=data[150:158],
    )
    # The encoder is the definition of the one valid encoding: whatever it would write differently is refused.
    if _format_statement(statement) != data:
        raise FormatError("bad-page-statement", "not the canonical encoding")
    return statement


def _check_statement(s: PageStatement, name_length: int) -> None:
    figures = (s.income_total, s.gross_total, s.annual_tax_total)
    if not (
        isinstance(s.city_code, str)
        and re.fullmatch(r"[0-9]{6}", s.city_code)
        and isinstance(s.certificate_id, bytes)
        and len(s.certificate_id) == CERTIFICATE_ID_BYTES
        and isinstance(s.key_id, bytes)
        and len(s.key_id) == KEY_ID_BYTES
        and s.document_kind in DOCUMENT_KINDS
        and type(s.exempt) is bool
        and type(s.name_truncated) is bool
        and type(s.fiscal_year) is int
        and 1950 <= s.fiscal_year <= 9999
        and all(type(figure) is int and abs(figure) <= MAX_FIGURE for figure in figures)
        and s.annual_tax_total >= 0
        and s.issued_on <= s.valid_until
    ):
        raise FormatError("bad-page-statement", "a value outside its range")
    # Control characters have no place in a name and would let a screen show something else than the page.
    if any(c < " " or "\x7f" <= c <= "\x9f" for c in s.name):
        raise FormatError("bad-page-statement", "a control character in the name")
    shortest = _SHORTEST_TRUNCATED_NAME if s.name_truncated else 1
    if not shortest <= name_length <= NAME_BYTES:
        raise FormatError("bad-page-statement", "a name of the wrong length")


def _check_signature_range(signature: bytes) -> None:
    if len(signature) != SIGNATURE_BYTES or not all(
        0 < int.from_bytes(half, "big") < _P256_ORDER for half in (signature[:32], signature[32:])
    ):
        raise FormatError("bad-signature-value", "not r ‖ s of P-256")


def _format_date(day: date) -> bytes:
    return (day.year * 10000 + day.month * 100 + day.day).to_bytes(4, "big")


def _parse_date(data: bytes) -> date:
    number = int.from_bytes(data, "big")
    try:
        return date(number // 10000, number // 100 % 100, number % 100)
    except ValueError as error:
        raise FormatError("bad-page-statement", "not a date") from error


def _fit_name(name: str) -> tuple[str, bool]:
    if len(name.encode("utf-8")) <= NAME_BYTES:
        return name, False
    kept = ""
    for cluster in re.findall(r"(?s:.)[\uFE00-\uFE0F\U000E0100-\U000E01EF]?", name):
        if len((kept + cluster).encode("utf-8")) > NAME_BYTES:
            break
        kept += cluster
    return kept, True
