"""The certificate of a desk's request-signing key: what `x509_hash` of OpenID4VP wants, and nothing that says who asks.

Two levels, because HAIP wants no self-signed certificate: an authority made for this one certificate, whose key is thrown
away, and the leaf for the desk's signing key. Everybody can make such a pair. Who asks is said by the city's recipient
statement, which names the key (`verifier.formats.recipient`), never by this certificate: its names are the same everywhere.
A wallet that is told to trust certain authorities can be given the second certificate of the file.

The file is PEM, leaf first, beside the key file (`desk.key` → `desk.key.crt`). It is public.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import secrets
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from verifier.errors import FormatError, LimitError, UsageError
from verifier.formats.encoding import base64_decode, base64_encode
from verifier.formats.jose import same_thumbprint, thumbprint
from verifier.formats.x509_path import PathError, p256_key, parse_certificate

LIFETIME: Final = dt.timedelta(days=5 * 365)
MAX_CERTIFICATE_FILE_BYTES: Final = 16 << 10
SUFFIX: Final = ".crt"
_EARLIER: Final = dt.timedelta(hours=1)
"""Clocks of wallets may be behind that of the desk."""
_BLOCK: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]{1,12000})-----END CERTIFICATE-----"
)
_USAGES: Final = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


def certificate_path(key_file: Path) -> Path:
    """Where the certificate of a key file lies."""
    return key_file.with_name(key_file.name + SUFFIX)


def make_certificate(key: ec.EllipticCurvePublicKey, now: dt.datetime) -> tuple[bytes, bytes]:
    """(leaf, authority) in DER for the signing key `key`, valid for five years from `now` (UTC)."""
    authority_key = ec.generate_private_key(ec.SECP256R1())  # lives in this function only
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
        for text in ("akashi desk authority (no identity)", "akashi desk (no identity)")
    ]
    begin, end = now.replace(microsecond=0) - _EARLIER, now.replace(microsecond=0) + LIFETIME
    authority = _sign(
        names[0], authority_key.public_key(), names[0], authority_key, (begin, end), is_authority=True
    )
    leaf = _sign(names[1], key, names[0], authority_key, (begin, end), is_authority=False)
    return leaf, authority


def format_certificates(ders: tuple[bytes, ...]) -> bytes:
    """PEM blocks in this order (RFC 7468)."""
    blocks = []
    for der in ders:
        text = base64_encode(der)
        lines = "\n".join(text[place : place + 64] for place in range(0, len(text), 64))
        blocks.append(f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
    return "".join(blocks).encode("ascii")


def parse_certificates(data: bytes) -> tuple[bytes, ...]:
    """Inverse of `format_certificates`; text around the blocks is tolerated. Raises: LimitError, FormatError."""
    if len(data) > MAX_CERTIFICATE_FILE_BYTES:
        raise LimitError("certificate-too-large", f"more than {MAX_CERTIFICATE_FILE_BYTES} bytes")
    ders = tuple(base64_decode(b"".join(body.split()).decode("ascii")) for body in _BLOCK.findall(data))
    if not 1 <= len(ders) <= 2:
        raise FormatError("bad-certificate-file", "a file with the desk's certificate, and its authority's")
    return ders


def desk_certificate(path: Path, key: ec.EllipticCurvePublicKey, now: dt.datetime) -> bytes:
    """The leaf (DER) in `path`; a file that is missing, or whose certificate has ended, is made anew.

    Raises: LimitError, FormatError, UsageError("other-key" | "cannot-read" | "cannot-write").
    """
    try:
        present = path.read_bytes()
    except FileNotFoundError:
        return _make(path, key, now)
    except OSError as error:
        raise UsageError("cannot-read", f"{path.name}: {error.strerror}") from error
    leaf = parse_certificates(present)[0]
    certificate = parse_certificate(leaf)
    try:
        own = same_thumbprint(thumbprint(p256_key(certificate)), thumbprint(key))
    except PathError as error:
        raise FormatError(error.code, error.detail) from error
    if not own:
        raise UsageError("other-key", f"{path.name} is the certificate of another key; move it away")
    if now >= certificate.not_valid_after_utc:
        return _make(path, key, now)
    return leaf


def _make(path: Path, key: ec.EllipticCurvePublicKey, now: dt.datetime) -> bytes:
    made = make_certificate(key, now)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        try:
            fresh.write_bytes(format_certificates(made))
            fresh.replace(path) if path.exists() else os.link(fresh, path)
        except FileExistsError:
            return desk_certificate(path, key, now)  # another process was faster: one certificate a desk
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError("cannot-write", f"{path.name}: {error.strerror}") from error
    return made[0]


def _sign(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    period: tuple[dt.datetime, dt.datetime],
    *,
    is_authority: bool,
) -> bytes:
    allowed = {"key_cert_sign"} if is_authority else {"digital_signature"}
    constraints = x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None)
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(period[0])
        .not_valid_after(period[1])
        .add_extension(constraints, critical=True)
        .add_extension(x509.KeyUsage(**{name: name in allowed for name in _USAGES}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(authority_id, critical=False)
        .sign(issuer_key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
