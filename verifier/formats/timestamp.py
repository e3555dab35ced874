"""RFC 3161 time-stamps: build a query, read a reply and a token strictly, verify a token.

Sources: RFC 3161, RFC 5816 (signing-certificate-v2). Profile of the token: SHA-256 imprint, accuracy given,
no ordering, no tsa name, no extensions; signed in the shape of `cms` with exactly the authority's certificate
included. Every octet of a token is signed, compared or a constant. A time-stamp proves "existed at that time"
on the authority's word; the path of its certificate is checked with `x509_path` and usage TIME_STAMP.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from verifier.errors import FormatError, LimitError
from verifier.formats import der
from verifier.formats.cms import ID_TST_INFO, SignedData, parse_signed_data, verify_signed_data
from verifier.formats.encoding import sha256

MAX_TOKEN_BYTES: Final = 8 << 10
MAX_QUERY_BYTES: Final = 1 << 10
MAX_NONCE: Final = 1 << 128
MAX_ACCURACY: Final = timedelta(seconds=60)

_SHA256_NULL: Final = der.encode(der.SEQUENCE, der.encode_oid("2.16.840.1.101.3.4.2.1"), der.encode(der.NULL))
_SHA256_BARE: Final = der.encode(der.SEQUENCE, der.encode_oid("2.16.840.1.101.3.4.2.1"))
_VERSION: Final = der.encode_integer(1)
_TRUE: Final = der.encode(der.BOOLEAN, b"\xff")
_GRANTED: Final = der.encode(der.SEQUENCE, der.encode_integer(0))


@dataclass(frozen=True, slots=True)
class TimestampQuery:
    """A TimeStampReq for SHA-256.

    digest    32 bytes
    imprint   the MessageImprint as it was sent (its algorithm may carry NULL or nothing; a reply repeats it)
    policy    dotted OID asked for, or None
    nonce     or None
    with_certificate  whether the token must include the authority's certificate
    """

    digest: bytes
    imprint: bytes
    policy: str | None
    nonce: int | None
    with_certificate: bool


@dataclass(frozen=True, slots=True)
class TimestampToken:
    """A token, parsed; nothing is verified until `verify_token` has returned.

    time      genTime, UTC
    accuracy  how far the true time may lie from it, on the authority's word
    policy    dotted OID; serial: the authority's number; nonce: repeated from the query, or None
    digest    32 bytes: what was stamped
    encoded   the whole token
    signed    its CMS structure
    """

    time: datetime
    accuracy: timedelta
    policy: str
    serial: int
    digest: bytes
    nonce: int | None
    encoded: bytes
    signed: SignedData


def build_query(digest: bytes, nonce: int | None) -> bytes:
    """A TimeStampReq (DER) over a SHA-256 `digest`, asking for the certificate. `nonce`: random, 64 bits or
    more."""
    if len(digest) != 32:
        raise FormatError("bad-digest", "a SHA-256 digest has 32 bytes")
    parts = [_VERSION, format_imprint(digest)]
    if nonce is not None:
        parts.append(der.encode_integer(nonce))
    return der.encode(der.SEQUENCE, *parts, _TRUE)


def format_imprint(digest: bytes) -> bytes:
    """The MessageImprint that this house writes."""
    return der.encode(der.SEQUENCE, _SHA256_NULL, der.encode(der.OCTET_STRING, digest))


def parse_query(data: bytes) -> TimestampQuery:
    """A TimeStampReq, as a time-stamping authority reads it: SHA-256 only, no extensions.

    Raises: FormatError("unsupported-digest") for another algorithm, other codes for other shapes; LimitError.
    """
    if len(data) > MAX_QUERY_BYTES:
        raise LimitError("query-too-large", f"more than {MAX_QUERY_BYTES} bytes")
    reader = der.read_single(data, der.SEQUENCE)
    _expect(reader, _VERSION)
    imprint = reader.take(der.SEQUENCE)
    digest = _parse_imprint(imprint)
    policy = reader.take_optional(der.OID)
    nonce = _parse_nonce(reader.take_optional(der.INTEGER))
    flag = reader.take_optional(der.BOOLEAN)
    reader.end()
    # FALSE is the default: written out it is not DER, but one common client does; it changes nothing here.
    if flag is not None and flag.content not in (b"\xff", b"\x00"):
        raise FormatError("bad-der", "not a BOOLEAN")
    return TimestampQuery(
        digest,
        imprint.encoded,
        None if policy is None else der.parse_oid(policy),
        nonce,
        flag is not None and flag.content == b"\xff",
    )


def parse_response(data: bytes) -> TimestampToken:
    """The token of a TimeStampResp whose status is plainly "granted".

    Raises: FormatError("time-stamp-refused") for any other status, other codes for other shapes; LimitError.
    """
    if len(data) > MAX_TOKEN_BYTES + 64:
        raise LimitError("token-too-large", f"more than {MAX_TOKEN_BYTES} bytes")
    reader = der.read_single(data, der.SEQUENCE)
    if reader.take(der.SEQUENCE).encoded != _GRANTED:
        raise FormatError("time-stamp-refused", "the authority did not grant a token")
    token = reader.take(der.SEQUENCE).encoded
    reader.end()
    return parse_token(token)


def parse_token(data: bytes) -> TimestampToken:
    """A TimeStampToken of our profile. Raises: FormatError, LimitError."""
    signed = parse_signed_data(data, content_type=ID_TST_INFO, max_bytes=MAX_TOKEN_BYTES)
    if signed.content is None or signed.timestamp_token is not None:
        raise FormatError("bad-time-stamp", "a token holds its TSTInfo and no time-stamp of its own")
    reader = der.read_single(signed.content, der.SEQUENCE)
    _expect(reader, _VERSION)
    policy = der.parse_oid(reader.take(der.OID))
    digest = _parse_imprint(reader.take(der.SEQUENCE))
    serial = der.parse_integer(reader.take(der.INTEGER))
    time = der.parse_generalized_time(reader.take(der.GENERALIZED_TIME))
    accuracy = _parse_accuracy(reader.enter(der.SEQUENCE))
    nonce = _parse_nonce(reader.take_optional(der.INTEGER))
    reader.end()
    if len(signed.certificates) != 1:
        raise FormatError("bad-time-stamp", "a token holds exactly the authority's certificate")
    return TimestampToken(time, accuracy, policy, serial, digest, nonce, data, signed)


def verify_token(token: TimestampToken, *, digest: bytes, nonce: int | None = None) -> x509.Certificate:
    """Check what was stamped, the nonce (when given) and the signature; returns the authority's certificate.

    The certificate's path is not yet trusted: `x509_path.verify_path(…, at=token.time,
    usage=Usage.TIME_STAMP)`.
    Raises: FormatError("wrong-imprint" | "wrong-nonce" | "bad-signature" | …).
    """
    if token.digest != digest:
        raise FormatError("wrong-imprint", "the time-stamp belongs to something else")
    if nonce is not None and token.nonce != nonce:
        raise FormatError("wrong-nonce", "the time-stamp answers another query")
    if token.signed.content is None:
        raise FormatError("bad-time-stamp", "no TSTInfo")
    return verify_signed_data(token.signed, message_digest=sha256(token.signed.content))


def _expect(reader: der.DerReader, encoded: bytes) -> None:
    if reader.take_any().encoded != encoded:
        raise FormatError("bad-time-stamp", "a constant of the profile differs")


def _parse_imprint(element: der.Element) -> bytes:
    reader = der.DerReader(element.content)
    algorithm = reader.take(der.SEQUENCE).encoded
    digest = reader.take(der.OCTET_STRING).content
    reader.end()
    if algorithm not in (_SHA256_NULL, _SHA256_BARE):
        raise FormatError("unsupported-digest", "only SHA-256 is stamped")
    if len(digest) != 32:
        raise FormatError("bad-digest", "a SHA-256 digest has 32 bytes")
    return digest


def _parse_nonce(element: der.Element | None) -> int | None:
    if element is None:
        return None
    nonce = der.parse_integer(element)
    if not 0 <= nonce < MAX_NONCE:
        raise LimitError("nonce-too-large", "a nonce has at most 128 bits")
    return nonce


def _parse_accuracy(reader: der.DerReader) -> timedelta:
    # Accuracy { seconds INTEGER, millis [0], micros [1] }: whole seconds only in this profile.
    seconds = der.parse_integer(reader.take(der.INTEGER))
    reader.end()
    if not 0 < seconds <= MAX_ACCURACY.total_seconds():
        raise FormatError("bad-time-stamp", "an accuracy that is no use")
    return timedelta(seconds=seconds)
