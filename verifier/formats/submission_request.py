"""The request descriptor: an employer asks a resident for a certificate.

A compact JWS (ES256 by the desk's signing key, typ akashi-submission-request+jwt) says who asks, why, for
what, until when the copy is kept, and to which keys it is to be encrypted. k = SHA-256 of the descriptor is
the only secret of the QR code; from it come the key under which the street door stores the descriptor and
the token that allows an upload. So the door knows neither who asks nor who submits.

    QR = https://<host>/r/<10 base32>#k=<base64url k>           (at most 85 characters)

The descriptor is signed by the key that it contains: that shows it is whole, not who made it. Who made it
is said by the recipient statement of the city (`verifier.formats.recipient`).
"""

from __future__ import annotations

import datetime as dt
import hmac
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import JSON, base64url_decode, base64url_encode, canonical_json, sha256
from verifier.formats.jose import SignDigest, build_jws, format_jwk, parse_jwk, parse_jws, thumbprint
from verifier.formats.key_binding import audience
from verifier.formats.leaf import parse_date
from verifier.formats.names import SUBMISSION_REQUEST_TYP
from verifier.formats.recipient import check_corporate_number, check_upload

MAX_DESCRIPTOR_BYTES: Final = 16 << 10
MAX_KEYS: Final = 8
MAX_ITEMS: Final = 64
MAX_TEXT_LENGTH: Final = 400
ALL_ITEMS: Final = "all"
"""Everything, page included. Other items are claim paths ("income.total", "tax") or "page"."""
SALT_SIZE: Final = 16
MAX_QR_LENGTH: Final = 85

_KEY_INFO: Final = b"akashi/request/v1/key"
_UPLOAD_INFO: Final = b"akashi/request/v1/upload"
_NONCE_SIZE: Final = 12
_REQUIRED: Final = frozenset(
    {"v", "recipient", "purpose", "items", "keep_until", "keys", "upload", "expires", "salt", "signing_jwk"}
)
_OPTIONAL: Final = frozenset({"id_hint", "mail"})
_ITEM: Final = re.compile(r"[a-z0-9_]{1,64}(\.[a-z0-9_]{1,64}){0,3}")
_QR: Final = re.compile(r"https://([0-9A-Za-z.:-]{1,64})/r/([0-9A-Za-z]{10})#k=([0-9A-Za-z_-]{43})")
_MAIL: Final = re.compile(r"[!-?A-~]{1,64}@[0-9A-Za-z.-]{1,190}")


@dataclass(frozen=True, slots=True)
class SubmissionRequest:
    """What an employer asks for.

    name, corporate_number?, statement? (recipient statement, JWS text), purpose, items, keep_until (last
    day), keys (encryption, 1 to 8, the first one names the audience), signing_key, upload ("https://host"),
    expires (UTC, whole seconds), salt (16 random bytes), mail?, id_hint?
    """

    name: str
    purpose: str
    items: tuple[str, ...]
    keep_until: dt.date
    keys: tuple[ec.EllipticCurvePublicKey, ...]
    signing_key: ec.EllipticCurvePublicKey
    upload: str
    expires: dt.datetime
    salt: bytes
    corporate_number: str | None = None
    statement: str | None = None
    mail: str | None = None
    id_hint: str | None = None

    def audience(self) -> str:
        """The `aud` that key bindings for this request carry."""
        return audience(self.keys[0])

    def asks_for_page(self) -> bool:
        """Whether the page itself may leave the phone."""
        return ALL_ITEMS in self.items or "page" in self.items


def build_submission_request(request: SubmissionRequest, sign: SignDigest) -> bytes:
    """The descriptor; `sign` is the desk's signing key. Raises: LimitError, FormatError."""
    recipient: dict[str, JSON] = {"name": request.name}
    if request.corporate_number is not None:
        recipient["corporate_number"] = request.corporate_number
    if request.statement is not None:
        recipient["statement"] = request.statement
    payload: dict[str, JSON] = {
        "v": 1,
        "recipient": recipient,
        "purpose": request.purpose,
        "items": list(request.items),
        "keep_until": request.keep_until.isoformat(),
        "keys": [format_jwk(key) for key in request.keys],
        "upload": request.upload,
        "expires": format_instant(request.expires),
        "salt": base64url_encode(request.salt),
        "signing_jwk": format_jwk(request.signing_key),
    }
    if request.mail is not None:
        payload["mail"] = request.mail
    if request.id_hint is not None:
        payload["id_hint"] = request.id_hint
    header = {"typ": SUBMISSION_REQUEST_TYP, "kid": thumbprint(request.signing_key)}
    data = build_jws(header, canonical_json(payload), sign)
    parse_submission_request(data)
    return data


def parse_submission_request(data: bytes) -> SubmissionRequest:
    """The request, its signature checked with the key that it contains. Raises: LimitError, FormatError."""
    jws = parse_jws(data, typ=SUBMISSION_REQUEST_TYP, max_bytes=MAX_DESCRIPTOR_BYTES)
    payload = jws.payload_object()
    if not _REQUIRED <= set(payload) <= _REQUIRED | _OPTIONAL or payload["v"] != 1 or payload["v"] is True:
        raise FormatError("bad-request", "wrong members or version")
    recipient, items, keys = payload["recipient"], payload["items"], payload["keys"]
    if not isinstance(recipient, dict) or not {"name"} <= set(recipient) <= {
        "name",
        "corporate_number",
        "statement",
    }:
        raise FormatError("bad-request", "recipient has wrong members")
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
        raise FormatError("bad-request", f"items holds 1 to {MAX_ITEMS} names")
    if not all(isinstance(item, str) and _ITEM.fullmatch(item) for item in items):
        raise FormatError("bad-request", "an item is a claim path")
    if not isinstance(keys, list) or not 1 <= len(keys) <= MAX_KEYS:
        raise FormatError("bad-request", f"keys holds 1 to {MAX_KEYS} keys")
    mail = _optional_text(payload, "mail", MAX_TEXT_LENGTH)
    if mail is not None and not _MAIL.fullmatch(mail):
        raise FormatError("bad-request", "mail is one plain address")
    salt = base64url_decode(_text(payload, "salt", 64))
    if len(salt) != SALT_SIZE:
        raise FormatError("bad-request", "the salt has 16 bytes")
    signing_key = parse_jwk(payload["signing_jwk"])
    jws.verify(signing_key)
    return SubmissionRequest(
        name=_text(recipient, "name", MAX_TEXT_LENGTH),
        purpose=_text(payload, "purpose", MAX_TEXT_LENGTH),
        items=tuple(items),
        keep_until=parse_date(_text(payload, "keep_until", 10)),
        keys=tuple(parse_jwk(key) for key in keys),
        signing_key=signing_key,
        upload=check_upload(payload["upload"]),
        expires=parse_instant(_text(payload, "expires", 20)),
        salt=salt,
        corporate_number=check_corporate_number(recipient["corporate_number"])
        if "corporate_number" in recipient
        else None,
        statement=_optional_text(recipient, "statement", MAX_DESCRIPTOR_BYTES),
        mail=mail,
        id_hint=_optional_text(payload, "id_hint", 10),
    )


def request_secret(descriptor: bytes) -> bytes:
    """k: SHA-256 of the descriptor, 32 bytes. Whoever has it may read the request and submit to it."""
    return sha256(descriptor)


def request_nonce(descriptor: bytes) -> str:
    """The `nonce` of key bindings for this descriptor: base64url of `request_secret`."""
    return base64url_encode(request_secret(descriptor))


def upload_token(secret: bytes) -> str:
    """The right to upload to the request with secret k: base64url of 32 bytes (header Akashi-Upload)."""
    return base64url_encode(_derive(secret, _UPLOAD_INFO))


def upload_token_hash(secret: bytes) -> bytes:
    """What the street door stores instead of the upload token: SHA-256 of its 32 bytes."""
    return sha256(_derive(secret, _UPLOAD_INFO))


def encrypt_descriptor(descriptor: bytes, *, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """The descriptor as the street door stores it: 12-byte nonce ‖ AES-256-GCM ciphertext and tag."""
    nonce = random(_NONCE_SIZE)
    key = _derive(request_secret(descriptor), _KEY_INFO)
    return nonce + AESGCM(key).encrypt(nonce, descriptor, None)


def decrypt_descriptor(data: bytes, secret: bytes) -> bytes:
    """The descriptor whose SHA-256 is `secret`. Raises: LimitError, FormatError("decryption-failed")."""
    if len(data) > MAX_DESCRIPTOR_BYTES + 64:
        raise LimitError("request-too-large", f"more than {MAX_DESCRIPTOR_BYTES} bytes")
    try:
        descriptor = AESGCM(_derive(secret, _KEY_INFO)).decrypt(data[:_NONCE_SIZE], data[_NONCE_SIZE:], None)
    except (InvalidTag, ValueError) as error:
        raise FormatError("decryption-failed", "not the request that the QR code names") from error
    if not hmac.compare_digest(request_secret(descriptor), secret):
        raise FormatError("decryption-failed", "not the request that the QR code names")
    return descriptor


def format_request_qr(public_url: str, request_id: str, secret: bytes) -> str:
    """The text of the QR code. Raises: FormatError("bad-request-qr") when it is not at most 85 characters."""
    text = f"{public_url}/r/{request_id}#k={base64url_encode(secret)}"
    if len(text) > MAX_QR_LENGTH or not _QR.fullmatch(text):
        raise FormatError("bad-request-qr", f"not a request address of at most {MAX_QR_LENGTH} characters")
    return text


def parse_request_qr(text: str) -> tuple[str, str, bytes]:
    """(public_url, request id, secret) of the text of a QR code. Raises: FormatError("bad-request-qr")."""
    match = _QR.fullmatch(text)
    if match is None or len(text) > MAX_QR_LENGTH:
        raise FormatError("bad-request-qr", "not the address of a request")
    return f"https://{match[1]}", match[2], base64url_decode(match[3])


def format_instant(value: dt.datetime) -> str:
    """2026-11-20T01:02:03Z. Raises: FormatError("bad-instant") unless UTC with whole seconds."""
    if value.tzinfo is None or value.utcoffset() != dt.timedelta(0) or value.microsecond:
        raise FormatError("bad-instant", "instants are UTC with whole seconds")
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if value.year >= 1000 else _bad_instant()


def parse_instant(text: str) -> dt.datetime:
    """Inverse of `format_instant`. Raises: FormatError("bad-instant")."""
    try:
        value = dt.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC)
    except ValueError as error:
        raise FormatError("bad-instant", "not an instant in the form 2026-11-20T01:02:03Z") from error
    if format_instant(value) != text:
        raise FormatError("bad-instant", "not an instant in the form 2026-11-20T01:02:03Z")
    return value


def _bad_instant() -> str:
    raise FormatError("bad-instant", "not a year of this format")


def _derive(secret: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), length=32, salt=None, info=info).derive(secret)


def _text(value: dict[str, JSON], name: str, limit: int) -> str:
    text = value.get(name)
    if not isinstance(text, str) or not 1 <= len(text) <= limit or any(c < " " for c in text):
        raise FormatError("bad-request", f"{name} is text of at most {limit} characters")
    return text


def _optional_text(value: dict[str, JSON], name: str, limit: int) -> str | None:
    return _text(value, name, limit) if name in value else None
