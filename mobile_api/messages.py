"""What the mailbox carries: requests of a device to the city, answers of the city to a device, sealed and
signed.

Both directions: a JWS by the sender (device signing key; city statement key) inside a package (JWE) to the
receiver (city envelope key; device encryption key). The strict codecs of the bodies are in
`message_codecs`, the card's statement in `card_statement`; this module is the door to all three. It opens
no key: signing and key agreement are lent by the caller, so the city's keys stay in the signer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from mobile_api.card_statement import (
    NO_REQUEST,
    CardStatement,
    format_instant,
    format_statement,
    parse_instant,
    parse_statement,
)
from mobile_api.counter_bodies import RegisterByCode, format_counter_qr, parse_counter_qr
from mobile_api.device_bodies import DeviceEntry, Devices, ListDevices, LockDevices
from mobile_api.mandate_bodies import (
    AcceptMandate,
    ConfirmMandate,
    EndMandate,
    GiveMandate,
    ListMandates,
    MandateCode,
    MandateCodeWish,
    MandateEntry,
    MandateRecord,
    Mandates,
    MandateWish,
    RequestByMandate,
    format_record,
    parse_record,
)
from mobile_api.message_bodies import (
    STAGES,
    CertificateRequest,
    ConfirmMail,
    History,
    HistoryEntry,
    HistoryWish,
    Notice,
    PackageReady,
    Progress,
    Refused,
    Register,
    Registered,
    RequestCertificate,
    StopDevice,
)
from mobile_api.message_codecs import (
    AnswerBody,
    DeviceBody,
    format_answer_body,
    format_device_body,
    parse_answer_body,
    parse_device_body,
)
from mobile_api.wallet_bodies import MAX_COPIES, OFFER_SCHEME, OfferReady, RequestOffer, WalletWish
from verifier.errors import FormatError
from verifier.formats.encoding import JSON, base64url_decode, base64url_encode, canonical_json
from verifier.formats.jose import Jws, SignDigest, build_jws, parse_jws, same_thumbprint, thumbprint
from verifier.formats.names import (
    ANSWER_TYPE,
    CITY_ANSWER_TYP,
    DEVICE_REQUEST_TYP,
    ENVELOPE_TYPE,
)
from verifier.formats.package import KeyAgreement, open_package, pack

__all__ = [
    "BRINGS_ITS_KEY",
    "MAX_COPIES",
    "NO_REQUEST",
    "OFFER_SCHEME",
    "STAGES",
    "AcceptMandate",
    "AnswerBody",
    "CardStatement",
    "CertificateRequest",
    "CityAnswer",
    "ConfirmMail",
    "ConfirmMandate",
    "DeviceBody",
    "DeviceEntry",
    "DeviceRequest",
    "Devices",
    "EndMandate",
    "GiveMandate",
    "History",
    "HistoryEntry",
    "HistoryWish",
    "ListDevices",
    "ListMandates",
    "LockDevices",
    "MandateCode",
    "MandateCodeWish",
    "MandateEntry",
    "MandateRecord",
    "MandateWish",
    "Mandates",
    "Notice",
    "OfferReady",
    "PackageReady",
    "Progress",
    "Refused",
    "Register",
    "RegisterByCode",
    "Registered",
    "RequestByMandate",
    "RequestCertificate",
    "RequestOffer",
    "StopDevice",
    "WalletWish",
    "build_answer",
    "build_device_request",
    "format_answer_body",
    "format_counter_qr",
    "format_device_body",
    "format_instant",
    "format_record",
    "format_statement",
    "new_message_id",
    "open_answer",
    "open_envelope",
    "parse_answer_body",
    "parse_counter_qr",
    "parse_instant",
    "parse_record",
    "parse_statement",
    "peek_device_request",
    "seal_answer",
    "seal_envelope",
    "verify_answer",
    "verify_device_request",
]

VERSION: Final = 1
MAX_MESSAGE_BYTES: Final = 64 << 10
_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_CITY: Final = re.compile(r"[0-9]{6}")
_REQUEST_MEMBERS: Final = {"v", "kind", "city", "account", "message_id", "iat", "body"}
_ANSWER_MEMBERS: Final = {"v", "city", "account", "in_reply_to", "sequence", "iat", "kind", "body"}

BRINGS_ITS_KEY: Final = (Register, RegisterByCode)
"""Messages of a device without an account: checked with the signing key, answered to the encryption key they bring."""

FindKey = Callable[[str, str], ec.EllipticCurvePublicKey | None]
"""(account, thumbprint) → the device key that the city has bound to this account, or None."""


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """One message of a device. account, message_id: 16 random bytes as base64url; issued_at: UTC, whole
    seconds.
    """

    city: str
    account: str
    message_id: str
    issued_at: datetime
    body: DeviceBody


@dataclass(frozen=True, slots=True)
class CityAnswer:
    """One message of the city.

    in_reply_to  message_id of the device's message; None for a notice that answers nothing
    sequence     grows with every answer to this account, from 1
    """

    city: str
    account: str
    in_reply_to: str | None
    sequence: int
    issued_at: datetime
    body: AnswerBody


def new_message_id(random: Callable[[int], bytes]) -> str:
    """A fresh id of 16 random bytes."""
    raw = random(16)
    # A request's id is typed on a command line, where a leading "-" would read as an option: its first bit stays 0.
    return base64url_encode(bytes([raw[0] & 0x7F]) + raw[1:])


def build_device_request(request: DeviceRequest, kid: str, sign: SignDigest) -> bytes:
    """The JWS of a device's message; `kid` is the thumbprint of the signing key."""
    kind, body = format_device_body(request.body)
    payload = {
        "account": request.account,
        "body": body,
        "city": request.city,
        "iat": int(request.issued_at.timestamp()),
        "kind": kind,
        "message_id": request.message_id,
        "v": VERSION,
    }
    return build_jws({"kid": kid, "typ": DEVICE_REQUEST_TYP}, canonical_json(payload), sign)


def peek_device_request(data: bytes) -> DeviceRequest:
    """Read a message without checking who signed it. Raises: FormatError, LimitError."""
    return _device_request(parse_jws(data, typ=DEVICE_REQUEST_TYP, max_bytes=MAX_MESSAGE_BYTES))


def verify_device_request(data: bytes, find_key: FindKey) -> DeviceRequest:
    """Read a message and check its signature.

    A `register` or `register_by_code` message is checked with the key it brings (which the card's statement must
    name: that is checked later); every other one with the key the city has bound to the account. Still the caller's
    part: that `city` and `account` are the ones of the envelope, that `message_id` is new, and that a nonce is
    consumed first. Raises: FormatError("unknown-device"), FormatError("bad-signature"), other FormatErrors.
    """
    jws = parse_jws(data, typ=DEVICE_REQUEST_TYP, max_bytes=MAX_MESSAGE_BYTES)
    request = _device_request(jws)
    kid = _kid(jws)
    if isinstance(request.body, BRINGS_ITS_KEY):
        key: ec.EllipticCurvePublicKey | None = request.body.signing_key
    else:
        key = find_key(request.account, kid)
    if key is None or not same_thumbprint(thumbprint(key), kid):
        raise FormatError("unknown-device", "this key is not bound to this account")
    jws.verify(key)
    return request


def build_answer(answer: CityAnswer, kid: str, sign: SignDigest) -> bytes:
    """The JWS of an answer; `sign` is the city's statement key in the signer, `kid` its thumbprint."""
    kind, body = format_answer_body(answer.body)
    payload = {
        "account": answer.account,
        "body": body,
        "city": answer.city,
        "iat": int(answer.issued_at.timestamp()),
        "in_reply_to": answer.in_reply_to,
        "kind": kind,
        "sequence": answer.sequence,
        "v": VERSION,
    }
    return build_jws({"kid": kid, "typ": CITY_ANSWER_TYP}, canonical_json(payload), sign)


def verify_answer(data: bytes, keys: Mapping[str, ec.EllipticCurvePublicKey]) -> CityAnswer:
    """Read an answer signed by one of the city's statement keys (by thumbprint).

    Still the caller's part: city, account, in_reply_to and sequence must fit what it knows.
    Raises: FormatError("unknown-city-key"), FormatError("bad-signature"), other FormatErrors.
    """
    jws = parse_jws(data, typ=CITY_ANSWER_TYP, max_bytes=MAX_MESSAGE_BYTES)
    key = keys.get(_kid(jws))
    if key is None:
        raise FormatError("unknown-city-key", "not a statement key of the trust list")
    jws.verify(key)
    value = _payload(jws, _ANSWER_MEMBERS)
    reply, sequence = value["in_reply_to"], value["sequence"]
    if reply is not None:
        _identifier(reply)
    if type(sequence) is not int or sequence < 1:
        raise FormatError("bad-message", "sequence is a positive integer")
    return CityAnswer(
        _city(value["city"]),
        _identifier(value["account"]),
        reply,
        sequence,
        _instant(value["iat"]),
        parse_answer_body(value["kind"], value["body"]),
    )


def seal_envelope(
    message: bytes, city_key: ec.EllipticCurvePublicKey, random: Callable[[int], bytes]
) -> bytes:
    """The package that the street door carries to the city."""
    return pack(message, [city_key], content_type=DEVICE_REQUEST_TYP, typ=ENVELOPE_TYPE, random=random)


def open_envelope(data: bytes, kid: str, agree: KeyAgreement) -> bytes:
    """The device's message (JWS) out of an envelope. Raises: FormatError, LimitError."""
    return _open(data, kid, agree, ENVELOPE_TYPE, DEVICE_REQUEST_TYP)


def seal_answer(
    message: bytes, device_key: ec.EllipticCurvePublicKey, random: Callable[[int], bytes]
) -> bytes:
    """The package that the street door keeps for the phone."""
    return pack(message, [device_key], content_type=CITY_ANSWER_TYP, typ=ANSWER_TYPE, random=random)


def open_answer(data: bytes, kid: str, agree: KeyAgreement) -> bytes:
    """The city's message (JWS) out of an answer. Raises: FormatError, LimitError."""
    return _open(data, kid, agree, ANSWER_TYPE, CITY_ANSWER_TYP)


def _open(data: bytes, kid: str, agree: KeyAgreement, typ: str, content_type: str) -> bytes:
    opened = open_package(data, kid, agree, max_bytes=2 * MAX_MESSAGE_BYTES)
    # typ and cty are authenticated: an answer cannot pass as a certificate's package, or the reverse.
    if (opened.typ, opened.content_type) != (typ, content_type):
        raise FormatError("wrong-package-type", f"not of type {typ}")
    return opened.plaintext


def _device_request(jws: Jws) -> DeviceRequest:
    value = _payload(jws, _REQUEST_MEMBERS)
    return DeviceRequest(
        _city(value["city"]),
        _identifier(value["account"]),
        _identifier(value["message_id"]),
        _instant(value["iat"]),
        parse_device_body(value["kind"], value["body"]),
    )


def _payload(jws: Jws, members: set[str]) -> dict[str, JSON]:
    value = jws.payload_object()
    if set(value) != members:
        raise FormatError("bad-message", "wrong members")
    if type(value["v"]) is not int or value["v"] != VERSION:
        raise FormatError("unknown-version", f"only version {VERSION} is known")
    return value


def _kid(jws: Jws) -> str:
    kid = jws.header.get("kid")
    if set(jws.header) != {"alg", "kid", "typ"} or not isinstance(kid, str):
        raise FormatError("bad-message", "the header has exactly alg, kid and typ")
    return kid


def _identifier(value: JSON) -> str:
    if not isinstance(value, str) or _ID.fullmatch(value) is None or len(base64url_decode(value)) != 16:
        raise FormatError("bad-message", "an id is 16 bytes in base64url")
    return value


def _city(value: JSON) -> str:
    if not isinstance(value, str) or _CITY.fullmatch(value) is None:
        raise FormatError("bad-message", "city is six digits")
    return value


def _instant(value: JSON) -> datetime:
    if type(value) is not int or not 0 <= value < 1 << 36:
        raise FormatError("bad-message", "iat is Unix seconds")
    return datetime.fromtimestamp(value, UTC)
