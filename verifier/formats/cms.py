"""The one shape of CMS SignedData that this house writes and accepts, for page seals and time-stamp tokens.

Sources: RFC 5652 (CMS), RFC 5035 (signing-certificate-v2), RFC 5754 (SHA-2 in CMS), ETSI EN 319 122-1
(CAdES).
Profile: one signer named by issuer and serial, SHA-256, ECDSA on P-256; signed attributes exactly
contentType, messageDigest and signingCertificateV2; no signed time (a page carries it in /M, a token in its
TSTInfo); unsigned attributes none, or exactly one signature-time-stamp. Every octet is a constant, is signed,
or is compared here: parsing writes the result back and compares, so that a structure has one encoding. Paths
and trust are the business of `x509_path`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from verifier.errors import FormatError, LimitError
from verifier.formats import der
from verifier.formats.encoding import sha256
from verifier.formats.x509_path import parse_certificate

MAX_CMS_BYTES: Final = 32 << 10
MAX_CMS_CERTIFICATES: Final = 4

ID_DATA: Final = "1.2.840.113549.1.7.1"
ID_TST_INFO: Final = "1.2.840.113549.1.9.16.1.4"
_ID_SIGNED_DATA: Final = der.encode_oid("1.2.840.113549.1.7.2")
_ID_CONTENT_TYPE: Final = der.encode_oid("1.2.840.113549.1.9.3")
_ID_MESSAGE_DIGEST: Final = der.encode_oid("1.2.840.113549.1.9.4")
_ID_SIGNING_CERTIFICATE_V2: Final = der.encode_oid("1.2.840.113549.1.9.16.2.47")
_ID_SIGNATURE_TIME_STAMP: Final = der.encode_oid("1.2.840.113549.1.9.16.2.14")
_SHA256: Final = der.encode(der.SEQUENCE, der.encode_oid("2.16.840.1.101.3.4.2.1"))
_ECDSA_SHA256: Final = der.encode(der.SEQUENCE, der.encode_oid("1.2.840.10045.4.3.2"))


@dataclass(frozen=True, slots=True)
class SignedData:
    """A signature of our profile, parsed; nothing is verified until `verify_signed_data` has returned.

    content_type       dotted OID of what was signed (`ID_DATA`, `ID_TST_INFO`)
    content            the signed octets, or None when they lie elsewhere (detached)
    certificates       DER, in the order of the SET
    issuer, serial     who signed: DER Name of the issuer and serial number
    message_digest     SHA-256 of the content, as signed
    certificate_hash   SHA-256 of the signer's certificate, as signed
    signed_attributes  the octets under the signature (DER with the SET OF tag)
    signature          ECDSA-Sig-Value in DER; SHA-256 of it is what a signature-time-stamp covers
    timestamp_token    DER of the signature-time-stamp, or None
    """

    content_type: str
    content: bytes | None
    certificates: tuple[bytes, ...]
    issuer: bytes
    serial: int
    message_digest: bytes
    certificate_hash: bytes
    signed_attributes: bytes
    signature: bytes
    timestamp_token: bytes | None


def format_signed_attributes(content_type: str, message_digest: bytes, certificate: bytes) -> bytes:
    """What the signer signs: the three attributes, DER, with the SET OF tag. Hash it with SHA-256 for the
    signature."""
    return _signed_attributes(content_type, message_digest, sha256(certificate))


def format_signed_data(
    *,
    content_type: str,
    content: bytes | None,
    certificates: Sequence[bytes],
    signer: x509.Certificate,
    message_digest: bytes,
    signature: bytes,
    timestamp_token: bytes | None = None,
) -> bytes:
    """The ContentInfo. `signature`: r ‖ s, 64 bytes, over `format_signed_attributes`; `signer` need not be
    included."""
    encoded = signer.public_bytes(serialization.Encoding.DER)
    return _format(
        SignedData(
            content_type,
            content,
            tuple(sorted(certificates)),
            signer.issuer.public_bytes(),
            signer.serial_number,
            message_digest,
            sha256(encoded),
            format_signed_attributes(content_type, message_digest, encoded),
            format_signature(signature),
            timestamp_token,
        )
    )


def format_signature(signature: bytes) -> bytes:
    """r ‖ s (64 bytes) as ECDSA-Sig-Value in DER."""
    if len(signature) != 64:
        raise FormatError("bad-signature-form", "a P-256 signature has 64 bytes")
    return encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))


def parse_signed_data(data: bytes, *, content_type: str, max_bytes: int = MAX_CMS_BYTES) -> SignedData:
    """A ContentInfo of our profile over content of `content_type`. Raises: FormatError, LimitError."""
    if len(data) > max_bytes:
        raise LimitError("cms-too-large", f"more than {max_bytes} bytes")
    info = der.read_single(data, der.SEQUENCE)
    _expect(info, _ID_SIGNED_DATA)
    explicit = info.enter(der.CONTEXT_0)
    info.end()
    signed = explicit.enter(der.SEQUENCE)
    explicit.end()
    _expect(signed, der.encode_integer(_version(content_type)))
    _expect(signed, der.encode(der.SET, _SHA256))
    content = _parse_content(signed.enter(der.SEQUENCE), content_type)
    certificates = _parse_certificates(signed.take_optional(der.CONTEXT_0))
    signers = signed.enter(der.SET)
    signed.end()
    signer = signers.enter(der.SEQUENCE)
    signers.end()
    result = _parse_signer(signer, content_type, content, certificates)
    if _format(result) != data:
        raise FormatError("bad-cms", "not the one encoding of this signature")
    return result


def verify_signed_data(
    signed: SignedData, *, message_digest: bytes, certificate: bytes | None = None
) -> x509.Certificate:
    """Check digest, signing certificate and signature; the signer's certificate is returned, its path not yet
    trusted.

    `message_digest`: SHA-256 of the content, made by the caller. `certificate`: DER, when the signature does
    not carry it.
    Raises: FormatError("digest-mismatch" | "no-signing-certificate" | "bad-signature" | "bad-certificate").
    """
    if signed.message_digest != message_digest:
        raise FormatError("digest-mismatch", "the signature belongs to other content")
    candidates = signed.certificates if certificate is None else (certificate,)
    matching = [candidate for candidate in candidates if sha256(candidate) == signed.certificate_hash]
    if len(matching) != 1:
        raise FormatError("no-signing-certificate", "the signing certificate is missing")
    signer = parse_certificate(matching[0])
    if signer.issuer.public_bytes() != signed.issuer or signer.serial_number != signed.serial:
        raise FormatError("no-signing-certificate", "the signer is named in two different ways")
    key = signer.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise FormatError("bad-signature", "the signing key is not on P-256")
    try:
        key.verify(signed.signature, signed.signed_attributes, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise FormatError("bad-signature", "the signature does not belong to these attributes") from error
    return signer


def _version(content_type: str) -> int:
    # RFC 5652 section 5.1: 3 when the content is not id-data.
    return 1 if content_type == ID_DATA else 3


def _expect(reader: der.DerReader, encoded: bytes) -> None:
    if reader.take_any().encoded != encoded:
        raise FormatError("bad-cms", "a constant of the profile differs")


def _parse_content(reader: der.DerReader, content_type: str) -> bytes | None:
    _expect(reader, der.encode_oid(content_type))
    explicit = reader.take_optional(der.CONTEXT_0)
    reader.end()
    if explicit is None:
        return None
    inner = der.DerReader(explicit.content)
    content = inner.take(der.OCTET_STRING).content
    inner.end()
    return content


def _parse_certificates(element: der.Element | None) -> tuple[bytes, ...]:
    if element is None:
        return ()
    members = der.parse_set_of(element)
    if not 1 <= len(members) <= MAX_CMS_CERTIFICATES or any(m.tag != der.SEQUENCE for m in members):
        raise FormatError("bad-cms", "the set of certificates is empty, too large or holds something else")
    return tuple(member.encoded for member in members)


def _parse_signer(
    reader: der.DerReader, content_type: str, content: bytes | None, certificates: tuple[bytes, ...]
) -> SignedData:
    _expect(reader, der.encode_integer(1))
    identifier = reader.enter(der.SEQUENCE)
    issuer = identifier.take(der.SEQUENCE).encoded
    serial = der.parse_integer(identifier.take(der.INTEGER))
    identifier.end()
    _expect(reader, _SHA256)
    signed_attributes = reader.take(der.CONTEXT_0)
    _expect(reader, _ECDSA_SHA256)
    signature = reader.take(der.OCTET_STRING).content
    unsigned = reader.take_optional(der.CONTEXT_1)
    reader.end()
    attributes = _parse_attributes(signed_attributes)
    if set(attributes) != {_ID_CONTENT_TYPE, _ID_MESSAGE_DIGEST, _ID_SIGNING_CERTIFICATE_V2}:
        raise FormatError("bad-cms", "other signed attributes than those of the profile")
    if attributes[_ID_CONTENT_TYPE].encoded != der.encode_oid(content_type):
        raise FormatError("bad-cms", "the signed content type differs")
    _check_signature_form(signature)
    return SignedData(
        content_type,
        content,
        certificates,
        issuer,
        serial,
        _digest(attributes[_ID_MESSAGE_DIGEST]),
        _certificate_hash(attributes[_ID_SIGNING_CERTIFICATE_V2]),
        der.encode(der.SET, signed_attributes.content),
        signature,
        _parse_timestamp(unsigned),
    )


def _parse_attributes(element: der.Element) -> dict[bytes, der.Element]:
    # Each attribute is SEQUENCE { OID, SET OF value } with exactly one value here.
    attributes: dict[bytes, der.Element] = {}
    for member in der.parse_set_of(element):
        reader = der.read_single(member.encoded, der.SEQUENCE)
        name = reader.take(der.OID).encoded
        values = reader.enter(der.SET)
        reader.end()
        value = values.take_any()
        values.end()
        if name in attributes:
            raise FormatError("bad-cms", "an attribute appears twice")
        attributes[name] = value
    return attributes


def _digest(element: der.Element) -> bytes:
    if element.tag != der.OCTET_STRING or len(element.content) != 32:
        raise FormatError("bad-cms", "not a SHA-256 digest")
    return element.content


def _certificate_hash(element: der.Element) -> bytes:
    # SigningCertificateV2 { certs SEQUENCE { ESSCertIDv2 { certHash } } }: SHA-256 is the default and so not
    # written.
    outer = der.read_single(element.encoded, der.SEQUENCE)
    certificates = outer.enter(der.SEQUENCE)
    outer.end()
    identifier = certificates.enter(der.SEQUENCE)
    certificates.end()
    value = _digest(identifier.take(der.OCTET_STRING))
    identifier.end()
    return value


def _check_signature_form(signature: bytes) -> None:
    reader = der.read_single(signature, der.SEQUENCE)
    values = [der.parse_integer(reader.take(der.INTEGER)) for _ in range(2)]
    reader.end()
    if not all(0 < value < 1 << 256 for value in values):
        raise FormatError("bad-cms", "not an ECDSA signature on P-256")


def _parse_timestamp(element: der.Element | None) -> bytes | None:
    if element is None:
        return None
    attributes = _parse_attributes(element)
    if set(attributes) != {_ID_SIGNATURE_TIME_STAMP}:
        raise FormatError("bad-cms", "another unsigned attribute than a signature-time-stamp")
    return attributes[_ID_SIGNATURE_TIME_STAMP].encoded


def _attribute(name: bytes, value: bytes) -> bytes:
    return der.encode(der.SEQUENCE, name, der.encode(der.SET, value))


def _signed_attributes(content_type: str, message_digest: bytes, certificate_hash: bytes) -> bytes:
    identifier = der.encode(der.SEQUENCE, der.encode(der.OCTET_STRING, certificate_hash))
    return der.encode_set_of(
        (
            _attribute(_ID_CONTENT_TYPE, der.encode_oid(content_type)),
            _attribute(_ID_MESSAGE_DIGEST, der.encode(der.OCTET_STRING, message_digest)),
            _attribute(
                _ID_SIGNING_CERTIFICATE_V2,
                der.encode(der.SEQUENCE, der.encode(der.SEQUENCE, identifier)),
            ),
        )
    )


def _format(signed: SignedData) -> bytes:
    attributes = _signed_attributes(signed.content_type, signed.message_digest, signed.certificate_hash)
    unsigned = b""
    if signed.timestamp_token is not None:
        unsigned = der.encode(der.CONTEXT_1, _attribute(_ID_SIGNATURE_TIME_STAMP, signed.timestamp_token))
    signer = der.encode(
        der.SEQUENCE,
        der.encode_integer(1),
        der.encode(der.SEQUENCE, signed.issuer, der.encode_integer(signed.serial)),
        _SHA256,
        bytes((der.CONTEXT_0,)) + attributes[1:],
        _ECDSA_SHA256,
        der.encode(der.OCTET_STRING, signed.signature),
        unsigned,
    )
    content = b""
    if signed.content is not None:
        content = der.encode(der.CONTEXT_0, der.encode(der.OCTET_STRING, signed.content))
    certificates = b""
    if signed.certificates:
        certificates = der.encode_set_of(signed.certificates, tag=der.CONTEXT_0)
    body = der.encode(
        der.SEQUENCE,
        der.encode_integer(_version(signed.content_type)),
        der.encode(der.SET, _SHA256),
        der.encode(der.SEQUENCE, der.encode_oid(signed.content_type), content),
        certificates,
        der.encode(der.SET, signer),
    )
    return der.encode(der.SEQUENCE, _ID_SIGNED_DATA, der.encode(der.CONTEXT_0, body))
