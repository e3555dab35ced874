"""The bodies of the mailbox's messages: one frozen dataclass a kind, strict codecs, every limit a constant.

Unknown kinds and members are refused. Signatures, addresses and order are `messages`' part; kinds that belong to one
subject (wallets of others, mandates …) have a module of their own, and `message_codecs` collects them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from mobile_api.body_fields import (
    CODE,
    IDENTIFIER,
    MAX_SENTENCE,
    card_signature,
    matching,
    members,
    sentence,
    text,
    x509,
)
from mobile_api.card_statement import MAX_STATEMENT_BYTES, format_instant, parse_instant
from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import (
    JSON,
    base64_encode,
    base64url_decode,
    base64url_encode,
    canonical_json,
    sha256,
)
from verifier.formats.jose import format_jwk, parse_jwk, parse_thumbprint

MAX_PURPOSE: Final = 200
MAX_MAIL: Final = 254
MAX_HISTORY: Final = 200
DOCUMENT_KINDS: Final = frozenset({"income_certificate"})
STAGES: Final = ("accepted", "figures", "page", "sealed", "logged", "ready")
"""Stages of a request in their order; an answer names the one just reached."""

_REGISTER: Final = {"signing_jwk", "encryption_jwk", "statement"} | {
    "signature_cert",
    "signature",
    "auth_cert",
    "auth_signature",
}
_MAIL_CODE: Final = re.compile(r"[0-9A-Z]{4,16}")
_MAIL: Final = re.compile(r"[!-?A-~]{1,64}@[A-Za-z0-9.-]{1,189}")


@dataclass(frozen=True, slots=True)
class Register:
    """Bind a card to a new device. Certificates DER; signatures 256 bytes over the statement's UTF-8."""

    signing_key: ec.EllipticCurvePublicKey
    encryption_key: ec.EllipticCurvePublicKey
    statement: str
    signature_cert: bytes
    signature: bytes
    auth_cert: bytes
    auth_signature: bytes
    mail: str | None = None


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """What is wanted. `fiscal_year` of the Common Era; `idempotency_key` 16 random bytes, base64url."""

    document_kind: str
    fiscal_year: int
    purpose: str
    idempotency_key: str

    def digest(self) -> str:
        """`request_digest` of the card's statement: base64url SHA-256 of the canonical JSON."""
        return base64url_encode(sha256(canonical_json(_request_json(self))))


@dataclass(frozen=True, slots=True)
class RequestCertificate:
    """A request with the card's authentication over it."""

    request: CertificateRequest
    statement: str
    auth_cert: bytes
    auth_signature: bytes


@dataclass(frozen=True, slots=True)
class ConfirmMail:
    """The code from the mail."""

    code: str


@dataclass(frozen=True, slots=True)
class StopDevice:
    """Stop the device of this signing key."""

    thumbprint: str


@dataclass(frozen=True, slots=True)
class HistoryWish:
    """Ask for the list of everything done with this account's card."""


@dataclass(frozen=True, slots=True)
class Registered:
    """The card is bound to this account and these keys."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The city says no. `retry`: whether the same wish may succeed later."""

    code: str
    message_ja: str
    message_en: str
    retry: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """A stage reached. `request_id` is the city's; `stage` one of STAGES."""

    request_id: str
    stage: str


@dataclass(frozen=True, slots=True)
class PackageReady:
    """The package lies at the street door; `sha256` (32 bytes) is the hash of exactly its bytes."""

    request_id: str
    package_id: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the resident should know (a new device, an expiry, mail confirmed)."""

    code: str
    message_ja: str
    message_en: str


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One line of the history: when (UTC), a stable word, a sentence in two languages."""

    at: datetime
    code: str
    message_ja: str
    message_en: str


@dataclass(frozen=True, slots=True)
class History:
    """Newest last."""

    entries: tuple[HistoryEntry, ...]


DeviceBody = Register | RequestCertificate | ConfirmMail | StopDevice | HistoryWish
AnswerBody = Registered | Refused | Progress | PackageReady | Notice | History


def format_device_body(body: DeviceBody) -> tuple[str, JSON]:
    """Kind and JSON body. Raises: FormatError when a member breaks a limit."""
    if isinstance(body, Register):
        value: JSON = {
            "auth_cert": base64_encode(body.auth_cert),
            "auth_signature": base64_encode(body.auth_signature),
            "encryption_jwk": format_jwk(body.encryption_key),
            "signature": base64_encode(body.signature),
            "signature_cert": base64_encode(body.signature_cert),
            "signing_jwk": format_jwk(body.signing_key),
            "statement": body.statement,
        }
        if body.mail is not None:
            value["mail"] = body.mail
        return _checked("register", value, parse_device_body)
    if isinstance(body, RequestCertificate):
        value = {
            "auth_cert": base64_encode(body.auth_cert),
            "auth_signature": base64_encode(body.auth_signature),
            "request": _request_json(body.request),
            "statement": body.statement,
        }
        return _checked("request_certificate", value, parse_device_body)
    if isinstance(body, ConfirmMail):
        return _checked("confirm_mail", {"code": body.code}, parse_device_body)
    if isinstance(body, StopDevice):
        return _checked("stop_device", {"thumbprint": body.thumbprint}, parse_device_body)
    return "history", {}


def parse_device_body(kind: JSON, value: JSON) -> DeviceBody:
    """Inverse of `format_device_body`. Raises: FormatError, LimitError."""
    if kind == "register":
        body = members(
            value,
            _REGISTER,
            {"mail"},
        )
        return Register(
            parse_jwk(body["signing_jwk"]),
            parse_jwk(body["encryption_jwk"]),
            text(body["statement"], MAX_STATEMENT_BYTES),
            x509(body["signature_cert"]),
            card_signature(body["signature"]),
            x509(body["auth_cert"]),
            card_signature(body["auth_signature"]),
            matching(_MAIL, body["mail"], "mail") if "mail" in body else None,
        )
    if kind == "request_certificate":
        body = members(value, {"request", "statement", "auth_cert", "auth_signature"})
        return RequestCertificate(
            _certificate_request(body["request"]),
            text(body["statement"], MAX_STATEMENT_BYTES),
            x509(body["auth_cert"]),
            card_signature(body["auth_signature"]),
        )
    if kind == "confirm_mail":
        return ConfirmMail(matching(_MAIL_CODE, members(value, {"code"})["code"], "code"))
    if kind == "stop_device":
        return StopDevice(parse_thumbprint(members(value, {"thumbprint"})["thumbprint"]))
    if kind == "history":
        members(value, set())
        return HistoryWish()
    raise FormatError("unknown-kind", "a message of an unknown kind")


def format_answer_body(body: AnswerBody) -> tuple[str, JSON]:
    """Kind and JSON body. Raises: FormatError when a member breaks a limit."""
    if isinstance(body, Refused):
        value: JSON = {**_sentences(body), "retry": body.retry}
        return _checked("refused", value, parse_answer_body)
    if isinstance(body, Progress):
        value = {"request_id": body.request_id, "stage": body.stage}
        return _checked("progress", value, parse_answer_body)
    if isinstance(body, PackageReady):
        value = {
            "package_id": body.package_id,
            "request_id": body.request_id,
            "sha256": base64url_encode(body.sha256),
        }
        return _checked("package_ready", value, parse_answer_body)
    if isinstance(body, Notice):
        return _checked("notice", _sentences(body), parse_answer_body)
    if isinstance(body, History):
        entries: JSON = [{**_sentences(entry), "at": format_instant(entry.at)} for entry in body.entries]
        return _checked("history", {"entries": entries}, parse_answer_body)
    return "registered", {}


def parse_answer_body(kind: JSON, value: JSON) -> AnswerBody:
    """Inverse of `format_answer_body`. Raises: FormatError, LimitError."""
    if kind == "registered":
        members(value, set())
        return Registered()
    if kind == "refused":
        body = members(value, {"code", "message_ja", "message_en", "retry"})
        if type(body["retry"]) is not bool:
            raise FormatError("bad-body", "retry is true or false")
        return Refused(*_read_sentences(body), body["retry"])
    if kind == "progress":
        body = members(value, {"request_id", "stage"})
        if body["stage"] not in STAGES:
            raise FormatError("bad-body", "unknown stage")
        return Progress(matching(IDENTIFIER, body["request_id"], "request_id"), body["stage"])
    if kind == "package_ready":
        body = members(value, {"request_id", "package_id", "sha256"})
        digest = base64url_decode(text(body["sha256"], 43))
        if len(digest) != 32:
            raise FormatError("bad-body", "sha256 has 32 bytes")
        return PackageReady(
            matching(IDENTIFIER, body["request_id"], "request_id"),
            matching(IDENTIFIER, body["package_id"], "package_id"),
            digest,
        )
    if kind == "notice":
        return Notice(*_read_sentences(members(value, {"code", "message_ja", "message_en"})))
    if kind == "history":
        entries = members(value, {"entries"})["entries"]
        if not isinstance(entries, list) or len(entries) > MAX_HISTORY:
            raise LimitError("history-too-long", f"a list of at most {MAX_HISTORY} entries")
        return History(tuple(_history_entry(entry) for entry in entries))
    raise FormatError("unknown-kind", "an answer of an unknown kind")


def _checked(kind: str, value: JSON, parse: Callable[[JSON, JSON], object]) -> tuple[str, JSON]:
    # What we would refuse to read we do not write.
    parse(kind, value)
    return kind, value


def _request_json(request: CertificateRequest) -> JSON:
    return {
        "document_kind": request.document_kind,
        "fiscal_year": request.fiscal_year,
        "idempotency_key": request.idempotency_key,
        "purpose": request.purpose,
    }


def _certificate_request(value: JSON) -> CertificateRequest:
    body = members(value, {"document_kind", "fiscal_year", "purpose", "idempotency_key"})
    year = body["fiscal_year"]
    if not isinstance(body["document_kind"], str) or body["document_kind"] not in DOCUMENT_KINDS:
        raise FormatError("bad-body", "unknown document_kind")
    if type(year) is not int or not 1989 <= year <= 2999:
        raise FormatError("bad-body", "fiscal_year is a year of the Common Era")
    return CertificateRequest(
        body["document_kind"],
        year,
        sentence(body["purpose"], MAX_PURPOSE, empty=True),
        matching(IDENTIFIER, body["idempotency_key"], "idempotency_key"),
    )


def _history_entry(value: JSON) -> HistoryEntry:
    body = members(value, {"at", "code", "message_ja", "message_en"})
    return HistoryEntry(parse_instant(body["at"]), *_read_sentences(body))


def _sentences(body: Refused | Notice | HistoryEntry) -> dict[str, JSON]:
    return {"code": body.code, "message_en": body.message_en, "message_ja": body.message_ja}


def _read_sentences(body: dict[str, JSON]) -> tuple[str, str, str]:
    return (
        matching(CODE, body["code"], "code"),
        sentence(body["message_ja"], MAX_SENTENCE),
        sentence(body["message_en"], MAX_SENTENCE),
    )
