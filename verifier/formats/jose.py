"""P-256 keys as JWK and compact JWS with ES256: the one signature form of this house's JSON messages.

Sources: RFC 7517 (JWK), RFC 7638 (thumbprint), RFC 7515 (JWS compact), RFC 7518 sections 3.4 and 6.2.
Of the two values of an ECDSA signature, (r, s) and (r, n - s), both are taken: no signer of ours chooses, and nothing is
told apart by the bytes of a signature. The algorithm is fixed, so a header cannot choose it; `crit`, `b64`, `jku`,
`x5u` and `zip` are refused.
This module finds no key and decides no trust: who calls says which key must have signed.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import (
    JSON,
    base64url_decode,
    base64url_encode,
    canonical_json,
    parse_json,
    sha256,
)

ALGORITHM: Final = "ES256"
COORDINATE_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
MAX_JWS_BYTES: Final = 1 << 20
MAX_HEADER_BYTES: Final = 16 << 10

_ECDSA_SHA256: Final = ec.ECDSA(hashes.SHA256())
_JWK_MEMBERS: Final = {"crv", "kty", "x", "y"}
_FORBIDDEN_HEADERS: Final = frozenset({"crit", "b64", "jku", "x5u", "zip", "enc"})

SignDigest = Callable[[bytes], bytes]
"""Takes the SHA-256 digest (32 bytes) of the signing input, returns r ‖ s (64 bytes)."""


@dataclass(frozen=True, slots=True)
class Jws:
    """A compact JWS taken apart; nothing in it is verified until `verify` has returned.

    header         the protected header, parsed strictly
    payload        raw payload bytes
    signing_input  the ASCII bytes that were signed
    signature      r ‖ s, 64 bytes
    """

    header: Mapping[str, JSON]
    payload: bytes
    signing_input: bytes
    signature: bytes

    def verify(self, key: ec.EllipticCurvePublicKey) -> None:
        """Raises FormatError("bad-signature") unless `key` made the signature."""
        verify_es256(key, self.signature, self.signing_input)

    def payload_object(self) -> dict[str, JSON]:
        """The payload as a JSON object. Raises: FormatError."""
        value = parse_json(self.payload)
        if not isinstance(value, dict):
            raise FormatError("bad-jws-payload", "the payload is not a JSON object")
        return value


def parse_jwk(value: JSON) -> ec.EllipticCurvePublicKey:
    """A P-256 public key from exactly {"crv":"P-256","kty":"EC","x":…,"y":…} (RFC 7518 section 6.2).

    Other members (also "d", "alg", "kid") are refused, so that a key has one form.
    Raises: FormatError("bad-jwk").
    """
    if not isinstance(value, dict) or set(value) != _JWK_MEMBERS:
        raise FormatError("bad-jwk", "a public P-256 JWK has exactly crv, kty, x and y")
    if value["kty"] != "EC" or value["crv"] != "P-256":
        raise FormatError("bad-jwk", "not a P-256 key")
    x, y = (_coordinate(value[name]) for name in ("x", "y"))
    try:
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError as error:
        raise FormatError("bad-jwk", "the point is not on P-256") from error


def format_jwk(key: ec.EllipticCurvePublicKey) -> dict[str, JSON]:
    """The JWK of a P-256 key; coordinates always 32 bytes, leading zeros kept.

    Raises: FormatError("bad-jwk") for another curve.
    """
    if not isinstance(key.curve, ec.SECP256R1):
        raise FormatError("bad-jwk", "not a P-256 key")
    numbers = key.public_numbers()
    return {
        "crv": "P-256",
        "kty": "EC",
        "x": base64url_encode(numbers.x.to_bytes(COORDINATE_SIZE, "big")),
        "y": base64url_encode(numbers.y.to_bytes(COORDINATE_SIZE, "big")),
    }


def thumbprint(key: ec.EllipticCurvePublicKey) -> str:
    """RFC 7638 thumbprint, SHA-256, base64url (43 characters)."""
    return base64url_encode(sha256(canonical_json(format_jwk(key))))


def parse_thumbprint(value: JSON) -> str:
    """A thumbprint as text, checked for form only. Raises: FormatError("bad-thumbprint")."""
    if not isinstance(value, str) or len(value) != 43 or len(base64url_decode(value)) != 32:
        raise FormatError("bad-thumbprint", "not a base64url SHA-256 thumbprint")
    return value


def same_thumbprint(one: str, other: str) -> bool:
    """Constant-time comparison of two thumbprints."""
    return hmac.compare_digest(one.encode(), other.encode())


def parse_jws(text: bytes | str, *, typ: str | None = None, max_bytes: int = MAX_JWS_BYTES) -> Jws:
    """Take a compact JWS apart: three base64url parts, header alg ES256 and, if given, header typ `typ`.

    Raises: LimitError, FormatError.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
    if len(raw) > max_bytes:
        raise LimitError("jws-too-large", f"more than {max_bytes} bytes")
    parts = raw.split(b".")
    if len(parts) != 3 or not raw.isascii():
        raise FormatError("bad-jws", "a compact JWS has three parts")
    if len(parts[0]) > MAX_HEADER_BYTES:
        raise LimitError("jws-header-too-large", f"more than {MAX_HEADER_BYTES} bytes")
    header_raw, payload, signature = (base64url_decode(part.decode("ascii")) for part in parts)
    header = parse_json(header_raw)
    if not isinstance(header, dict):
        raise FormatError("bad-jws-header", "the header is not a JSON object")
    if header.get("alg") != ALGORITHM:
        raise FormatError("bad-alg", "only ES256 is accepted")
    if forbidden := sorted(_FORBIDDEN_HEADERS & set(header)):
        raise FormatError("bad-jws-header", f"header {forbidden[0]} is not accepted")
    if typ is not None and header.get("typ") != typ:
        raise FormatError("bad-typ", f"header typ is not {typ}")
    if len(signature) != SIGNATURE_SIZE:
        raise FormatError("bad-signature-form", "an ES256 signature has 64 bytes")
    return Jws(header, payload, parts[0] + b"." + parts[1], signature)


def build_jws(header: Mapping[str, JSON], payload: bytes, sign: SignDigest) -> bytes:
    """Make a compact JWS; `alg` is set here. `sign` gets the digest of the signing input and returns r ‖ s.

    Raises: FormatError when the header has no canonical form or the signature has not 64 bytes.
    """
    protected = canonical_json({**header, "alg": ALGORITHM})
    signing_input = f"{base64url_encode(protected)}.{base64url_encode(payload)}".encode("ascii")
    signature = sign(sha256(signing_input))
    if len(signature) != SIGNATURE_SIZE:
        raise FormatError("bad-signature-form", "an ES256 signature has 64 bytes")
    return signing_input + b"." + base64url_encode(signature).encode("ascii")


def es256_signer(key: ec.EllipticCurvePrivateKey) -> SignDigest:
    """A `SignDigest` with a software key (the desk's, a phone's, a test's)."""

    def sign(digest: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
        return r.to_bytes(COORDINATE_SIZE, "big") + s.to_bytes(COORDINATE_SIZE, "big")

    return sign


def verify_es256(key: ec.EllipticCurvePublicKey, signature: bytes, message: bytes) -> None:
    """Check a 64-byte r ‖ s signature over SHA-256 of `message` (RFC 7518 section 3.4).

    Raises: FormatError("bad-signature").
    """
    if len(signature) != SIGNATURE_SIZE or not isinstance(key.curve, ec.SECP256R1):
        raise FormatError("bad-signature", "not an ES256 signature by a P-256 key")
    r = int.from_bytes(signature[:COORDINATE_SIZE], "big")
    s = int.from_bytes(signature[COORDINATE_SIZE:], "big")
    try:
        key.verify(encode_dss_signature(r, s), message, _ECDSA_SHA256)
    except InvalidSignature as error:
        raise FormatError("bad-signature", "the signature does not belong to this text and key") from error


def agreement(key: ec.EllipticCurvePrivateKey) -> Callable[[ec.EllipticCurvePublicKey], bytes]:
    """The ECDH function of a software key: takes a public key, returns the shared x coordinate (32 bytes)."""
    return lambda public: key.exchange(ec.ECDH(), public)


def _coordinate(value: JSON) -> int:
    if not isinstance(value, str):
        raise FormatError("bad-jwk", "a coordinate is text")
    data = base64url_decode(value)
    if len(data) != COORDINATE_SIZE:
        raise FormatError("bad-jwk", "a P-256 coordinate has 32 bytes")
    return int.from_bytes(data, "big")
