"""The encrypted package (`.akashi`): one content, one content key, one to eight P-256 recipients.

JWE general JSON serialisation (RFC 7516 section 7.2.1) in exactly one encoding (canonical JSON),
ECDH-ES+A256KW with a fresh ephemeral key for each recipient (RFC 7518 section 4.6), A256GCM, never `zip`:
readable with bare WebCrypto. Concat KDF with empty apu and apv.
This module opens nothing by itself: the caller lends the key agreement, so a key may stay in a signer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import (
    JSON,
    base64url_decode,
    base64url_encode,
    canonical_json,
    parse_canonical_json,
)
from verifier.formats.jose import format_jwk, parse_jwk, parse_thumbprint, thumbprint
from verifier.formats.names import PACKAGE_TYPE

KEY_WRAPPING: Final = "ECDH-ES+A256KW"
ENCRYPTION: Final = "A256GCM"
MAX_RECIPIENTS: Final = 8
MAX_PACKAGE_BYTES: Final = 6 << 20
"""A bundle of 4 MiB grows by a third in base64."""
MAX_TYPE_LENGTH: Final = 100

_IV_SIZE: Final = 12
_TAG_SIZE: Final = 16
_CONTENT_KEY_SIZE: Final = 32
_WRAPPED_KEY_SIZE: Final = 40
_MAX_FRAME_BYTES: Final = 16 << 10  # everything but the ciphertext; eight recipients need about 3 kB
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

# In canonical JSON the ciphertext comes first, so it is cut out before the small rest is parsed.
_BEGIN: Final = b'{"ciphertext":"'

KeyAgreement = Callable[[ec.EllipticCurvePublicKey], bytes]
"""Takes the sender's ephemeral key, returns the raw ECDH shared x coordinate (32 bytes)."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient: `kid` (thumbprint of its key), the sender's `epk`, the wrapped key (40 bytes)."""

    kid: str
    epk: ec.EllipticCurvePublicKey
    encrypted_key: bytes


@dataclass(frozen=True, slots=True)
class Package:
    """A package taken apart, still closed. `protected` is the base64url text that is authenticated."""

    typ: str
    content_type: str
    protected: str
    recipients: tuple[Recipient, ...]
    iv: bytes
    ciphertext: bytes
    tag: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """What was inside. `typ` and `content_type` were authenticated together with `plaintext`."""

    typ: str
    content_type: str
    plaintext: bytes


def pack(
    plaintext: bytes,
    recipients: Sequence[ec.EllipticCurvePublicKey],
    *,
    content_type: str,
    typ: str = PACKAGE_TYPE,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """Encrypt `plaintext` to one to eight distinct P-256 keys.

    Raises: LimitError("recipients"), LimitError("package-too-large"), FormatError.
    """
    kids = [thumbprint(key) for key in recipients]
    if not 1 <= len(kids) <= MAX_RECIPIENTS:
        raise LimitError("recipients", f"a package has 1 to {MAX_RECIPIENTS} recipients")
    if len(set(kids)) != len(kids):
        raise FormatError("duplicate-recipient", "two recipients with one key")
    _check_type(typ)
    _check_type(content_type)
    content_key = random(_CONTENT_KEY_SIZE)
    iv = random(_IV_SIZE)
    protected = base64url_encode(canonical_json({"cty": content_type, "enc": ENCRYPTION, "typ": typ}))
    sealed = AESGCM(content_key).encrypt(iv, plaintext, protected.encode("ascii"))
    entries: list[JSON] = []
    for kid, key in zip(kids, recipients, strict=True):
        ephemeral = ec.derive_private_key(_scalar(random), ec.SECP256R1())
        wrapping_key = _wrapping_key(ephemeral.exchange(ec.ECDH(), key))
        header = {"alg": KEY_WRAPPING, "epk": format_jwk(ephemeral.public_key()), "kid": kid}
        wrapped = aes_key_wrap(wrapping_key, content_key)
        entries.append({"encrypted_key": base64url_encode(wrapped), "header": header})
    data = canonical_json(
        {
            "ciphertext": base64url_encode(sealed[:-_TAG_SIZE]),
            "iv": base64url_encode(iv),
            "protected": protected,
            "recipients": entries,
            "tag": base64url_encode(sealed[-_TAG_SIZE:]),
        }
    )
    if len(data) > MAX_PACKAGE_BYTES:
        raise LimitError("package-too-large", f"more than {MAX_PACKAGE_BYTES} bytes")
    return data


def parse_package(data: bytes, *, max_bytes: int = MAX_PACKAGE_BYTES) -> Package:
    """Take a package apart; only the encoding that `pack` writes is accepted.

    Raises: LimitError, FormatError.
    """
    if len(data) > max_bytes:
        raise LimitError("package-too-large", f"more than {max_bytes} bytes")
    if not data.startswith(_BEGIN):
        raise FormatError("bad-package", "not a package")
    end = data.find(b'"', len(_BEGIN))
    if end < 0:
        raise FormatError("bad-package", "not a package")
    frame = parse_canonical_json(_BEGIN + data[end:], max_bytes=_MAX_FRAME_BYTES)
    if set(frame) != {"ciphertext", "iv", "protected", "recipients", "tag"}:
        raise FormatError("bad-package", "wrong members")
    content_type, typ = _protected(frame["protected"])
    entries = frame["recipients"]
    if not isinstance(entries, list) or not entries:
        raise FormatError("bad-package", "recipients must be a list")
    if len(entries) > MAX_RECIPIENTS:
        raise LimitError("recipients", f"more than {MAX_RECIPIENTS} recipients")
    recipients = tuple(_recipient(entry) for entry in entries)
    if len({recipient.kid for recipient in recipients}) != len(recipients):
        raise FormatError("duplicate-recipient", "two recipients with one key")
    try:
        ciphertext = base64url_decode(data[len(_BEGIN) : end].decode("ascii"))
    except UnicodeDecodeError as error:
        raise FormatError("bad-base64url", "not base64url") from error
    return Package(
        typ,
        content_type,
        frame["protected"],
        recipients,
        _sized(frame["iv"], _IV_SIZE),
        ciphertext,
        _sized(frame["tag"], _TAG_SIZE),
    )


def open_package(data: bytes, kid: str, agree: KeyAgreement, *, max_bytes: int = MAX_PACKAGE_BYTES) -> Opened:
    """Open a package with the key whose thumbprint is `kid`; `agree` performs the ECDH with that key.

    Raises: LimitError, FormatError; FormatError("not-for-this-key"), FormatError("decryption-failed").
    What `agree` raises goes through.
    """
    package = parse_package(data, max_bytes=max_bytes)
    recipient = next((entry for entry in package.recipients if entry.kid == kid), None)
    if recipient is None:
        raise FormatError("not-for-this-key", "the package is not encrypted to this key")
    shared = agree(recipient.epk)
    try:
        content_key = aes_key_unwrap(_wrapping_key(shared), recipient.encrypted_key)
        plaintext = AESGCM(content_key).decrypt(
            package.iv, package.ciphertext + package.tag, package.protected.encode("ascii")
        )
    except (InvalidUnwrap, InvalidTag, ValueError) as error:
        raise FormatError(
            "decryption-failed", "the package was altered, or the key is another one"
        ) from error
    return Opened(package.typ, package.content_type, plaintext)


def _wrapping_key(shared: bytes) -> bytes:
    # RFC 7518 section 4.6.2: AlgorithmID, PartyUInfo and PartyVInfo length-prefixed, SuppPubInfo = key bits.
    algorithm = KEY_WRAPPING.encode("ascii")
    info = len(algorithm).to_bytes(4, "big") + algorithm + bytes(8) + (256).to_bytes(4, "big")
    return ConcatKDFHash(hashes.SHA256(), length=32, otherinfo=info).derive(shared)


def _scalar(random: Callable[[int], bytes]) -> int:
    # 48 bytes: the bias of the reduction is below 2**-128 (FIPS 186-5 appendix A.2.1).
    return int.from_bytes(random(48), "big") % (_P256_ORDER - 1) + 1


def _check_type(value: JSON) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TYPE_LENGTH or not value.isascii():
        raise FormatError("bad-package-type", "typ and cty are short ASCII text")
    return value


def _protected(value: JSON) -> tuple[str, str]:
    if not isinstance(value, str):
        raise FormatError("bad-package", "the protected header is text")
    header = parse_canonical_json(base64url_decode(value), max_bytes=_MAX_FRAME_BYTES)
    if not isinstance(header, dict) or set(header) != {"cty", "enc", "typ"}:
        raise FormatError("bad-package", "the protected header has exactly cty, enc and typ")
    if header["enc"] != ENCRYPTION:
        raise FormatError("bad-enc", "only A256GCM is accepted")
    return _check_type(header["cty"]), _check_type(header["typ"])


def _recipient(value: JSON) -> Recipient:
    if not isinstance(value, dict) or set(value) != {"encrypted_key", "header"}:
        raise FormatError("bad-package", "a recipient has exactly encrypted_key and header")
    header = value["header"]
    if not isinstance(header, dict) or set(header) != {"alg", "epk", "kid"}:
        raise FormatError("bad-package", "a recipient header has exactly alg, epk and kid")
    if header["alg"] != KEY_WRAPPING:
        raise FormatError("bad-alg", "only ECDH-ES+A256KW is accepted")
    return Recipient(
        parse_thumbprint(header["kid"]),
        parse_jwk(header["epk"]),
        _sized(value["encrypted_key"], _WRAPPED_KEY_SIZE),
    )


def _sized(value: JSON, size: int) -> bytes:
    if not isinstance(value, str):
        raise FormatError("bad-package", "base64url text expected")
    data = base64url_decode(value)
    if len(data) != size:
        raise FormatError("bad-package", f"{size} bytes expected")
    return data
