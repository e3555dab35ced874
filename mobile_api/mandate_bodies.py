"""Bodies about mandates (電子委任状): a resident, the giver, lets another resident, the agent, ask for certificates.

The record is what the giver's card signs: scope, dates, and the agent's hand-over code. docs/formats/mandate.md shows it.
What a mandate allows is decided by the register gate; this module only reads and writes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from mobile_api.body_fields import (
    IDENTIFIER,
    Codec,
    card_signature,
    matching,
    members,
    sentence,
    text,
    x509,
)
from mobile_api.card_statement import MAX_STATEMENT_BYTES, format_instant, parse_instant
from mobile_api.message_bodies import DOCUMENT_KINDS, MAX_PURPOSE
from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import (
    JSON,
    base64_encode,
    base64url_decode,
    base64url_encode,
    canonical_json,
    sha256,
)

VERSION: Final = 1
MAX_YEARS: Final = 10
MAX_DAYS: Final = 366
"""A mandate lasts one year at most, both ends counted."""
MAX_MANDATES: Final = 100
ROLES: Final = ("giver", "agent")
STATES: Final = ("offered", "accepted", "confirmed", "in-force", "ended")
CAUSES: Final = ("revoked", "returned", "expired", "ended")
"""Why a mandate ended, as far as this side may know: by the giver, by the agent, by its dates, otherwise."""

_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}")
CODE_FORM: Final = re.compile(r"[2-9A-HJ-NP-Z]{12}")
"""A hand-over code: 12 of 32 characters that are not mistaken for each other (60 bits)."""
LETTER_FORM: Final = re.compile(r"[0-9]{8}")
_RECORD: Final = {
    "v", "mandate", "city", "agent_code", "document_kind", "fiscal_years", "purpose", "valid_from", "valid_until",
    "created",
}  # fmt: skip
_CITY: Final = re.compile(r"[0-9]{6}")


@dataclass(frozen=True, slots=True)
class MandateRecord:
    """What the giver signs.

    mandate             16 random bytes, base64url: the mandate's id
    city                six digits
    agent_code          the agent's hand-over code, made by the city for the agent's binding
    document_kind       one of DOCUMENT_KINDS
    fiscal_years        1 to MAX_YEARS years of the Common Era, ascending
    purpose             what it is for; a request must name exactly this
    valid_from, -until  legal days, both included; one year at most
    created             UTC, whole seconds, by the giver's phone
    """

    mandate: str
    city: str
    agent_code: str
    document_kind: str
    fiscal_years: tuple[int, ...]
    purpose: str
    valid_from: date
    valid_until: date
    created: datetime

    def digest(self) -> str:
        """`request_digest` of the card's statement: base64url SHA-256 of the canonical JSON."""
        return base64url_encode(sha256(canonical_json(format_record(self))))


@dataclass(frozen=True, slots=True)
class MandateCodeWish:
    """The agent asks for a hand-over code."""


@dataclass(frozen=True, slots=True)
class GiveMandate:
    """The giver's record with the signature of the 署名用 certificate over a statement of purpose `mandate`."""

    record: MandateRecord
    statement: str
    signature_cert: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class AcceptMandate:
    """The agent takes it on."""

    mandate: str


@dataclass(frozen=True, slots=True)
class ConfirmMandate:
    """The giver confirms, on a device of their own or with the eight digits of the city's letter."""

    mandate: str
    letter_code: str | None = None


@dataclass(frozen=True, slots=True)
class EndMandate:
    """Giver or agent ends it. No card."""

    mandate: str


@dataclass(frozen=True, slots=True)
class ListMandates:
    """Ask for every mandate given or held."""


@dataclass(frozen=True, slots=True)
class MandateWish:
    """A certificate wish under a mandate: the members of `CertificateRequest`, and the mandate's id."""

    document_kind: str
    fiscal_year: int
    purpose: str
    idempotency_key: str
    mandate: str

    def digest(self) -> str:
        """`request_digest` of the agent's card statement (purpose `request_by_mandate`)."""
        return base64url_encode(sha256(canonical_json(_format_wish(self))))


@dataclass(frozen=True, slots=True)
class RequestByMandate:
    """The wish with the authentication of the agent's card over it."""

    request: MandateWish
    statement: str
    auth_cert: bytes
    auth_signature: bytes


@dataclass(frozen=True, slots=True)
class MandateCode:
    """The agent's hand-over code, good once until `expires` (UTC)."""

    code: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class MandateEntry:
    """One mandate as one side sees it. `cause` only of an ended one; nothing about the other person."""

    mandate: str
    role: str
    document_kind: str
    fiscal_years: tuple[int, ...]
    purpose: str
    valid_from: date
    valid_until: date
    state: str
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Mandates:
    """Oldest first."""

    entries: tuple[MandateEntry, ...]


def format_record(record: MandateRecord) -> JSON:
    """The record as JSON; its canonical form is what is hashed. `parse_record` checks it."""
    years: JSON = list(record.fiscal_years)
    return {
        "agent_code": record.agent_code,
        "city": record.city,
        "created": format_instant(record.created),
        "document_kind": record.document_kind,
        "fiscal_years": years,
        "mandate": record.mandate,
        "purpose": record.purpose,
        "v": VERSION,
        "valid_from": record.valid_from.isoformat(),
        "valid_until": record.valid_until.isoformat(),
    }


def parse_record(value: JSON) -> MandateRecord:
    """Inverse of `format_record`. Raises: FormatError, LimitError."""
    body = members(value, _RECORD)
    if type(body["v"]) is not int or body["v"] != VERSION:
        raise FormatError("unknown-version", f"only version {VERSION} is known")
    first, last = _day(body["valid_from"]), _day(body["valid_until"])
    if last < first:
        raise FormatError("bad-body", "a mandate ends after it begins")
    if last - first >= timedelta(days=MAX_DAYS):
        raise LimitError("mandate-too-long", "a mandate lasts one year at most")
    return MandateRecord(
        mandate_id(body["mandate"]),
        matching(_CITY, body["city"], "city"),
        matching(CODE_FORM, body["agent_code"], "agent_code"),
        _document_kind(body["document_kind"]),
        _years(body["fiscal_years"]),
        sentence(body["purpose"], MAX_PURPOSE),
        first,
        last,
        parse_instant(body["created"]),
    )


def mandate_id(value: JSON) -> str:
    """16 bytes in base64url. Raises: FormatError."""
    found = matching(_ID, value, "mandate")
    if len(base64url_decode(found)) != 16:
        raise FormatError("bad-body", "a mandate's id is 16 bytes in base64url")
    return found


def _document_kind(value: JSON) -> str:
    if not isinstance(value, str) or value not in DOCUMENT_KINDS:
        raise FormatError("bad-body", "unknown document_kind")
    return value


def _years(value: JSON) -> tuple[int, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_YEARS:
        raise LimitError("mandate-years", f"1 to {MAX_YEARS} fiscal years")
    if not all(type(year) is int and 1989 <= year <= 2999 for year in value):
        raise FormatError("bad-body", "a fiscal year is a year of the Common Era")
    if value != sorted(set(value)):
        raise FormatError("bad-body", "fiscal years ascend and none is there twice")
    return tuple(value)


def _day(value: JSON) -> date:
    try:
        day = date.fromisoformat(text(value, 10))
    except ValueError as error:
        raise FormatError("bad-body", "a day is like 2026-11-20") from error
    if day.isoformat() != value:
        raise FormatError("bad-body", "a day is like 2026-11-20")
    return day


def _format_wish(wish: MandateWish) -> JSON:
    return {
        "document_kind": wish.document_kind,
        "fiscal_year": wish.fiscal_year,
        "idempotency_key": wish.idempotency_key,
        "mandate": wish.mandate,
        "purpose": wish.purpose,
    }


def _format_give(body: GiveMandate) -> JSON:
    return {
        "record": format_record(body.record),
        "signature": base64_encode(body.signature),
        "signature_cert": base64_encode(body.signature_cert),
        "statement": body.statement,
    }


def _parse_give(value: JSON) -> GiveMandate:
    body = members(value, {"record", "statement", "signature_cert", "signature"})
    return GiveMandate(
        parse_record(body["record"]),
        text(body["statement"], MAX_STATEMENT_BYTES),
        x509(body["signature_cert"]),
        card_signature(body["signature"]),
    )


def _format_request(body: RequestByMandate) -> JSON:
    return {
        "auth_cert": base64_encode(body.auth_cert),
        "auth_signature": base64_encode(body.auth_signature),
        "request": _format_wish(body.request),
        "statement": body.statement,
    }


def _parse_request(value: JSON) -> RequestByMandate:
    body = members(value, {"request", "statement", "auth_cert", "auth_signature"})
    wish = members(body["request"], {"document_kind", "fiscal_year", "purpose", "idempotency_key", "mandate"})
    (year,) = _years([wish["fiscal_year"]])
    return RequestByMandate(
        MandateWish(
            _document_kind(wish["document_kind"]),
            year,
            sentence(wish["purpose"], MAX_PURPOSE),
            matching(IDENTIFIER, wish["idempotency_key"], "idempotency_key"),
            mandate_id(wish["mandate"]),
        ),
        text(body["statement"], MAX_STATEMENT_BYTES),
        x509(body["auth_cert"]),
        card_signature(body["auth_signature"]),
    )


def _format_confirm(body: ConfirmMandate) -> JSON:
    code: JSON = {} if body.letter_code is None else {"letter_code": body.letter_code}
    return {"mandate": body.mandate, **code}


def _parse_confirm(value: JSON) -> ConfirmMandate:
    body = members(value, {"mandate"}, {"letter_code"})
    code = matching(LETTER_FORM, body["letter_code"], "letter_code") if "letter_code" in body else None
    return ConfirmMandate(mandate_id(body["mandate"]), code)


def _format_one(body: AcceptMandate | EndMandate) -> JSON:
    return {"mandate": body.mandate}


def _parse_accept(value: JSON) -> AcceptMandate:
    return AcceptMandate(mandate_id(members(value, {"mandate"})["mandate"]))


def _parse_end(value: JSON) -> EndMandate:
    return EndMandate(mandate_id(members(value, {"mandate"})["mandate"]))


def _empty(_body: object) -> JSON:
    return {}


def _parse_list(value: JSON) -> ListMandates:
    members(value, set())
    return ListMandates()


def _parse_code_wish(value: JSON) -> MandateCodeWish:
    members(value, set())
    return MandateCodeWish()


def _format_code(body: MandateCode) -> JSON:
    return {"code": body.code, "expires": format_instant(body.expires)}


def _parse_code(value: JSON) -> MandateCode:
    body = members(value, {"code", "expires"})
    return MandateCode(matching(CODE_FORM, body["code"], "code"), parse_instant(body["expires"]))


def _format_mandates(body: Mandates) -> JSON:
    return {"mandates": [_format_entry(entry) for entry in body.entries]}


def _format_entry(entry: MandateEntry) -> JSON:
    cause: JSON = {} if entry.cause is None else {"cause": entry.cause}
    years: JSON = list(entry.fiscal_years)
    return {
        **cause,
        "document_kind": entry.document_kind,
        "fiscal_years": years,
        "mandate": entry.mandate,
        "purpose": entry.purpose,
        "role": entry.role,
        "state": entry.state,
        "valid_from": entry.valid_from.isoformat(),
        "valid_until": entry.valid_until.isoformat(),
    }


def _parse_mandates(value: JSON) -> Mandates:
    entries = members(value, {"mandates"})["mandates"]
    if not isinstance(entries, list) or len(entries) > MAX_MANDATES:
        raise LimitError("too-many-mandates", f"a list of at most {MAX_MANDATES} mandates")
    return Mandates(tuple(_parse_entry(entry) for entry in entries))


def _parse_entry(value: JSON) -> MandateEntry:
    names = {
        "mandate", "role", "document_kind", "fiscal_years", "purpose", "valid_from", "valid_until", "state",
    }  # fmt: skip
    body = members(value, names, {"cause"})
    cause = body.get("cause")
    if body["role"] not in ROLES or body["state"] not in STATES:
        raise FormatError("bad-body", "unknown role or state")
    if (cause is not None) != (body["state"] == "ended") or (cause is not None and cause not in CAUSES):
        raise FormatError("bad-body", "an ended mandate has a cause, no other has")
    return MandateEntry(
        mandate_id(body["mandate"]),
        body["role"],
        _document_kind(body["document_kind"]),
        _years(body["fiscal_years"]),
        sentence(body["purpose"], MAX_PURPOSE),
        _day(body["valid_from"]),
        _day(body["valid_until"]),
        body["state"],
        cause,
    )


DEVICE_CODECS: Final = (
    Codec("mandate_code", MandateCodeWish, _empty, _parse_code_wish),
    Codec("mandate_give", GiveMandate, _format_give, _parse_give),
    Codec("mandate_accept", AcceptMandate, _format_one, _parse_accept),
    Codec("mandate_confirm", ConfirmMandate, _format_confirm, _parse_confirm),
    Codec("mandate_end", EndMandate, _format_one, _parse_end),
    Codec("list_mandates", ListMandates, _empty, _parse_list),
    Codec("request_by_mandate", RequestByMandate, _format_request, _parse_request),
)
ANSWER_CODECS: Final = (
    Codec("mandate_code", MandateCode, _format_code, _parse_code),
    Codec("mandates", Mandates, _format_mandates, _parse_mandates),
)
